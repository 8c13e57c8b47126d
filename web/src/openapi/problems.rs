//! Refusals as the document shows them: made from the errors themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::ResponseError;
use chrono::TimeDelta;
use engine::{Rejection, Standing};
use persistence::AccountKind;
use serde_json::Value;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{AllOfBuilder, Components, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{ApiError, FileRefusal, PROBLEM_JSON, Problem};
use crate::services::{AssistantError, PaymentError};

/// One error for each code.
fn errors() -> Vec<ApiError> {
    vec![
        ApiError::Unauthenticated,
        ApiError::Forbidden,
        ApiError::InvalidJson,
        ApiError::UnsupportedMediaType,
        ApiError::UnsupportedContentEncoding,
        ApiError::BodyTooLarge(64 * 1024),
        ApiError::BodyTooSlow,
        ApiError::HeadTooLarge(16 * 1024),
        ApiError::invalid("'email' is missing"),
        ApiError::Rejected(Rejection::DoctorNotFound),
        ApiError::Rejected(Rejection::BookingNotFound),
        ApiError::Rejected(Rejection::SlotFull),
        ApiError::Rejected(Rejection::AlreadyBooked),
        ApiError::Rejected(Rejection::SlotUnavailable),
        ApiError::Rejected(Rejection::TooManyBookings { limit: 10 }),
        ApiError::Rejected(Rejection::OutsideWindow),
        ApiError::Rejected(Rejection::SlotInPast),
        ApiError::EmailTaken(AccountKind::User),
        ApiError::File(FileRefusal::NoPhoto),
        ApiError::File(FileRefusal::DocumentTooLarge),
        ApiError::SubscriptionsFull,
        ApiError::SubscribersFull,
        ApiError::InvalidCredentials,
        ApiError::TooManyAttempts { retry_after: TimeDelta::seconds(29) },
        ApiError::TooManyRequests { retry_after: Duration::from_secs(1) },
        ApiError::Assistant(AssistantError::NotConfigured),
        ApiError::Assistant(AssistantError::Unreachable),
        ApiError::Assistant(AssistantError::TooSlow),
        ApiError::Assistant(AssistantError::Failed),
        ApiError::File(FileRefusal::TooLarge),
        ApiError::File(FileRefusal::NameTooLong),
        ApiError::File(FileRefusal::MetadataTooLarge),
        ApiError::File(FileRefusal::LockerFull),
        ApiError::File(FileRefusal::Exists),
        ApiError::File(FileRefusal::NotFound),
        ApiError::Payment(PaymentError::InvalidAmount),
        ApiError::Payment(PaymentError::NotFound),
        ApiError::Payment(PaymentError::BadSignature),
        ApiError::Payment(PaymentError::NotConfigured),
        ApiError::Payment(PaymentError::Refused),
        ApiError::Payment(PaymentError::Unavailable),
        ApiError::Payment(PaymentError::TooSlow),
        ApiError::Payment(PaymentError::Broken),
        ApiError::Busy,
        ApiError::Unavailable,
        ApiError::OutcomeUnknown,
        ApiError::ShuttingDown,
        ApiError::NotReady(Standing::StoreSilent),
        ApiError::NotReady(Standing::Deposed),
        ApiError::Misdirected,
        ApiError::PathNotFound,
        ApiError::internal("never shown"),
    ]
}

/// Every code, with its error.
pub(super) struct Catalogue(BTreeMap<String, ApiError>);

impl Catalogue {
    /// All that there are.
    pub(super) fn new() -> Self {
        Self(errors().into_iter().map(|error| (error.to_string(), error)).collect())
    }

    /// The status that a code comes with. A code that is none stands out under a status that is none.
    pub(super) fn status(&self, code: &str) -> String {
        self.0.get(code).map_or_else(|| code.to_owned(), |error| error.status_code().as_str().to_owned())
    }

    /// The answer that carries one of these codes.
    pub(super) fn response(&self, codes: &[String]) -> Response {
        let errors: Vec<&ApiError> = codes.iter().filter_map(|code| self.0.get(code)).collect();
        let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.to_vec()));
        let narrowed = AllOfBuilder::new()
            .item(Ref::from_schema_name(Problem::name()))
            .item(ObjectBuilder::new().property("code", code));
        let examples = errors.iter().map(|error| {
            let example = ExampleBuilder::new().value(Some(example(error))).build();
            (error.to_string(), RefOr::T(example))
        });
        let content = ContentBuilder::new().schema(Some(Schema::from(narrowed.build())));
        let content = content.examples_from_iter(examples).build();
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        let mut response =
            ResponseBuilder::new().description(codes.join(" or ")).content(PROBLEM_JSON, content);
        for name in errors.iter().flat_map(|error| header_names(error)) {
            response = response.header(name.clone(), header(&name));
        }
        response.build()
    }
}

/// Refers to an answer among the components.
pub(super) fn reference(name: &str) -> Ref {
    Ref::from_response_name(name)
}

/// Adds what every problem looks like.
pub(super) fn add_schema(components: &mut Components) {
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
}

fn example(error: &ApiError) -> Value {
    serde_json::from_slice(&error.body(Some("6f1ed002ab5595859014ebf0951522d9"))).unwrap_or_default()
}

/// The headers that tell a client what to do next.
fn header_names(error: &ApiError) -> Vec<String> {
    let response = error.error_response();
    let names = response.headers().keys().map(|name| name.as_str().to_owned());
    names.filter(|name| name != "content-type").collect()
}

fn header(name: &str) -> Header {
    let kind = if name == "retry-after" { Type::Integer } else { Type::String };
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind).build())).build()
}
