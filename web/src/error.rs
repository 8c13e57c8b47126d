//! What a caller is told when the answer is no: problem details (RFC 9457). The only file that knows status codes.

mod causes;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, ResponseError};
use chrono::TimeDelta;
use engine::{Rejection, Standing};
use persistence::AccountKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::security;
use crate::services::{AssistantError, PaymentError};

/// The content type of every failure.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// No token, or one that is not ours or has expired.
    Unauthenticated,
    /// The caller may not do this, or not for somebody else.
    Forbidden,
    /// The body is no JSON, or cut short, or not UTF-8, or nested too deeply.
    InvalidJson,
    /// The content type is not JSON.
    UnsupportedMediaType,
    /// The body is compressed.
    UnsupportedContentEncoding,
    /// The body is longer than this many bytes.
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The head is longer than this many bytes.
    HeadTooLarge(usize),
    /// JSON, but a value in it is not valid; the sentence names the field and repeats nothing of the value.
    InvalidValue(Cow<'static, str>),
    /// The rules of the calendar say no.
    Rejected(Rejection),
    /// A file cannot be had, or not be kept.
    File(FileRefusal),
    /// An account of this kind has the e-mail address.
    EmailTaken(AccountKind),
    /// The patient's list of doctors has no room for another.
    SubscriptionsFull,
    /// The doctor's list of subscribers has no room for another.
    SubscribersFull,
    /// No such account, or a wrong password: nobody is told which.
    InvalidCredentials,
    /// Too many failed log-ins.
    TooManyAttempts {
        /// When the next one is let through, at the earliest.
        retry_after: TimeDelta,
    },
    /// Too many requests.
    TooManyRequests {
        /// When the next one is let through, at the earliest.
        retry_after: Duration,
    },
    /// The assistant has no answer.
    Assistant(AssistantError),
    /// A payment is not made, shown or believed.
    Payment(PaymentError),
    /// A queue is full; nothing happened.
    Busy,
    /// The store does not answer, or another node owns the doctor; nothing happened.
    Unavailable,
    /// It may have happened; a repeat tells.
    OutcomeUnknown,
    /// The server is stopping; nothing happened.
    ShuttingDown,
    /// The node cannot book.
    NotReady(Standing),
    /// The `Host` is none that the admin address answers to.
    Misdirected,
    /// No such path.
    PathNotFound,
    /// The path exists, but takes these methods only.
    MethodNotAllowed(&'static str),
    /// Something that the framework refuses by itself.
    Refused(StatusCode),
    /// A bug, or a store that answers what makes no sense. The cause is logged, never sent.
    Internal(Box<dyn StdError + Send + Sync>),
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileRefusal {
    /// It is longer than allowed.
    TooLarge,
    /// A document is longer than allowed.
    DocumentTooLarge,
    /// What came as a photo is none.
    NoPhoto,
    /// What came as another document is neither a photo nor a PDF.
    NoPaper,
    /// The store cannot keep a name this long.
    NameTooLong,
    /// The store cannot keep this much metadata beside it.
    MetadataTooLarge,
    /// The user has as many as are kept.
    LockerFull,
    /// The user has one of this name.
    Exists,
    /// The user has none of this name.
    NotFound,
}

/// What becomes of an error on the wire.
struct Told {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// The body of a failure (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    r#type: &'static str,
    /// What the status means.
    title: &'static str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for a person.
    detail: &'a str,
    /// A word for a program.
    code: &'static str,
    /// Names the request, as `X-Request-Id` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = true, pattern = "^[0-9a-f]{32}$")]
    request_id: Option<&'a str>,
}

impl ApiError {
    /// A value that is not valid, in a sentence that names its field.
    pub(crate) fn invalid(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidValue(sentence.into())
    }

    /// A bug, or a store that answers what makes no sense.
    pub(crate) fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// What is logged and never sent.
    pub(crate) fn hidden_cause(&self) -> Option<&(dyn StdError + Send + Sync)> {
        if let Self::Internal(cause) = self { Some(cause.as_ref()) } else { None }
    }

    /// The answer, naming the request.
    pub(crate) fn respond(&self, request_id: Option<&str>) -> HttpResponse {
        let Told { status, header, .. } = self.told();
        let mut response = HttpResponse::build(status);
        response.content_type(PROBLEM_JSON);
        if let Some(header) = header {
            response.insert_header(header);
        }
        if matches!(self, Self::ShuttingDown) {
            response.force_close();
        }
        response.body(self.body(request_id))
    }

    /// The answer's body, naming the request.
    pub(crate) fn body(&self, request_id: Option<&str>) -> Vec<u8> {
        let Told { status, code, detail, .. } = self.told();
        let problem = Problem {
            // RFC 9457, 4.2.1: what `code` says is not said again in a URI.
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &detail,
            code,
            request_id,
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    fn told(&self) -> Told {
        use StatusCode as S;
        match self {
            Self::Unauthenticated => {
                let header = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                Told::new(S::UNAUTHORIZED, "unauthenticated", "Please log in").with(header)
            }
            Self::Forbidden => Told::new(S::FORBIDDEN, "forbidden", "You may not do this"),
            Self::InvalidJson => Told::new(S::BAD_REQUEST, "invalid_json", "The body is not valid JSON"),
            Self::UnsupportedMediaType => Told::new(
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The content type must be application/json",
            ),
            Self::UnsupportedContentEncoding => compressed(),
            Self::BodyTooLarge(bytes) => Told::new(
                S::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("The body is longer than {bytes} bytes"),
            ),
            Self::BodyTooSlow => {
                Told::new(S::REQUEST_TIMEOUT, "body_too_slow", "The body did not arrive in time")
            }
            Self::HeadTooLarge(bytes) => Told::new(
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                format!("The headers are longer than {bytes} bytes"),
            ),
            Self::InvalidValue(sentence) => {
                Told::new(S::UNPROCESSABLE_ENTITY, "invalid_value", sentence.clone())
            }
            Self::Rejected(rejection) => rejected(*rejection),
            Self::Assistant(error) => unanswered(*error),
            Self::File(refusal) => file(*refusal),
            Self::EmailTaken(kind) => Told::new(S::CONFLICT, "email_taken", email_taken(*kind)),
            Self::SubscriptionsFull => {
                Told::new(S::CONFLICT, "subscriptions_full", "You cannot subscribe to any more doctors")
            }
            Self::SubscribersFull => {
                Told::new(S::CONFLICT, "subscribers_full", "This doctor cannot take any more subscribers")
            }
            Self::InvalidCredentials => invalid_credentials(),
            Self::TooManyAttempts { retry_after } => too_many_attempts(*retry_after),
            Self::TooManyRequests { retry_after } => too_many_requests(*retry_after),
            Self::Payment(error) => payment(*error),
            Self::MethodNotAllowed(allowed) => {
                let header = (ALLOW, HeaderValue::from_static(allowed));
                let detail = format!("This path takes {allowed} only");
                Told::new(S::METHOD_NOT_ALLOWED, "method_not_allowed", detail).with(header)
            }
            Self::Misdirected => Told::new(
                S::MISDIRECTED_REQUEST,
                "misdirected_request",
                "The Host must be an IP address, localhost or a name in KOKORO_ADMIN_HOSTS",
            ),
            Self::PathNotFound => Told::new(S::NOT_FOUND, "not_found", "There is nothing under this path"),
            Self::Refused(status) => {
                Told::new(*status, "refused", status.canonical_reason().unwrap_or("Refused"))
            }
            Self::Internal(_) => Told::new(
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong on our side. It may have been done: please look before you try again",
            ),
            Self::Busy
            | Self::Unavailable
            | Self::OutcomeUnknown
            | Self::ShuttingDown
            | Self::NotReady(_) => self.unavailable(),
        }
    }

    /// The answers that say 503: each tells whether a retry is safe.
    fn unavailable(&self) -> Told {
        let told = |code, detail: &'static str| Told::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        match self {
            Self::Busy => told("busy", "Too busy right now. Nothing was changed: it is safe to try again")
                .retry_after(1),
            Self::OutcomeUnknown => told(
                "outcome_unknown",
                "The outcome is unknown: it may have been done. The request may be repeated, which will tell",
            ),
            Self::ShuttingDown => {
                told("shutting_down", "The server is stopping. Nothing was changed: it is safe to try again")
                    .retry_after(1)
            }
            Self::NotReady(Standing::StoreSilent) => {
                told("store_unreachable", "Not ready: the store does not answer").retry_after(1)
            }
            Self::NotReady(Standing::Deposed) => {
                told("deposed", "Not ready: another process has taken over; this one is about to stop")
            }
            Self::NotReady(Standing::Serving | Standing::Stopping) => {
                told("shutting_down", "Not ready: the server is stopping")
            }
            _ => told("unavailable", "Not available right now. Nothing was changed: it is safe to try again")
                .retry_after(2),
        }
    }
}

/// The header says what a client may send instead (RFC 9110, 15.5.16).
fn compressed() -> Told {
    let detail = "The body must not be compressed: send it without Content-Encoding";
    Told::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail)
        .with((ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

fn too_many_requests(retry_after: Duration) -> Told {
    let seconds = i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX).saturating_add(1);
    let detail = "Too many requests. Please try again in a moment";
    Told::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(seconds)
}

fn invalid_credentials() -> Told {
    let header = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Told::new(StatusCode::UNAUTHORIZED, "invalid_credentials", "Invalid email or password").with(header)
}

const fn email_taken(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::User => "Email already exists",
        AccountKind::Doctor => "Email already registered",
    }
}

fn rejected(rejection: Rejection) -> Told {
    use StatusCode as S;
    match rejection {
        Rejection::DoctorNotFound => Told::new(S::NOT_FOUND, "doctor_not_found", "Doctor not found"),
        Rejection::BookingNotFound => Told::new(S::NOT_FOUND, "booking_not_found", "Booking not found"),
        Rejection::SlotFull => Told::new(S::CONFLICT, "slot_full", "Slot full"),
        Rejection::AlreadyBooked => Told::new(S::CONFLICT, "already_booked", "User already booked"),
        Rejection::TooManyBookings { limit } => {
            let detail = match limit {
                1 => "You already have a booking to come with this doctor. Please cancel it first".to_owned(),
                _ => format!(
                    "You already have {limit} bookings to come with this doctor. Please cancel one of them first"
                ),
            };
            Told::new(S::CONFLICT, "too_many_bookings", detail)
        }
        Rejection::SlotUnavailable => {
            Told::new(S::CONFLICT, "slot_unavailable", "Selected slot is not available")
        }
        Rejection::OutsideWindow => Told::new(
            S::UNPROCESSABLE_ENTITY,
            "outside_booking_window",
            "The date must lie from today to 15 days ahead",
        ),
        Rejection::SlotInPast => {
            Told::new(S::UNPROCESSABLE_ENTITY, "slot_in_past", "This slot has already begun")
        }
    }
}

fn unanswered(error: AssistantError) -> Told {
    use StatusCode as S;
    match error {
        AssistantError::NotConfigured => {
            let detail = "There is no assistant here. Trying again does not help";
            Told::new(S::SERVICE_UNAVAILABLE, "assistant_not_configured", detail)
        }
        AssistantError::Unreachable => {
            let detail = "The assistant cannot be reached right now. It is safe to try again";
            Told::new(S::SERVICE_UNAVAILABLE, "assistant_unreachable", detail).retry_after(10)
        }
        AssistantError::TooSlow => {
            let detail = "The assistant took too long to answer. It is safe to try again";
            Told::new(S::GATEWAY_TIMEOUT, "assistant_too_slow", detail)
        }
        AssistantError::Failed => Told::new(S::BAD_GATEWAY, "assistant_failed", "AI response error"),
    }
}

fn file(refusal: FileRefusal) -> Told {
    use StatusCode as S;
    let invalid = |code, detail: &'static str| Told::new(S::UNPROCESSABLE_ENTITY, code, detail);
    match refusal {
        FileRefusal::TooLarge => {
            Told::new(S::PAYLOAD_TOO_LARGE, "file_too_large", "A file may be at most 10 MiB long")
        }
        FileRefusal::NameTooLong => {
            invalid("name_too_long", "The name of a file is too long for where files are kept")
        }
        FileRefusal::MetadataTooLarge => {
            invalid("metadata_too_large", "The metadata of a file may be at most 2 KiB long")
        }
        FileRefusal::DocumentTooLarge => {
            Told::new(S::PAYLOAD_TOO_LARGE, "document_too_large", "A document may be at most 5 MiB long")
        }
        FileRefusal::NoPhoto => {
            invalid("unsupported_document", "'profilePhoto' must be a JPEG, PNG or WebP image")
        }
        FileRefusal::NoPaper => {
            invalid("unsupported_document", "A certificate or proof must be a PDF, JPEG, PNG or WebP file")
        }
        FileRefusal::LockerFull => {
            let detail = "Your locker is full: delete files that you no longer need";
            Told::new(S::CONFLICT, "locker_full", detail)
        }
        FileRefusal::Exists => {
            Told::new(S::CONFLICT, "file_exists", "File with the same name already exists")
        }
        FileRefusal::NotFound => Told::new(S::NOT_FOUND, "file_not_found", "File not found"),
    }
}

fn too_many_attempts(retry_after: TimeDelta) -> Told {
    let seconds = retry_after.num_seconds().max(0) + 1;
    let detail = format!("Too many failed attempts. Please try again in {seconds} seconds");
    Told::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail).retry_after(seconds)
}

fn payment(error: PaymentError) -> Told {
    use StatusCode as S;
    let status = match error {
        PaymentError::InvalidAmount => S::UNPROCESSABLE_ENTITY,
        PaymentError::NotFound => S::NOT_FOUND,
        PaymentError::BadSignature => S::UNAUTHORIZED,
        PaymentError::NotConfigured | PaymentError::Unavailable => S::SERVICE_UNAVAILABLE,
        PaymentError::Refused | PaymentError::Broken => S::BAD_GATEWAY,
        PaymentError::TooSlow => S::GATEWAY_TIMEOUT,
    };
    let (code, detail) = error.told();
    Told::new(status, code, detail)
}

impl Told {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), header: None }
    }

    fn with(self, header: (HeaderName, HeaderValue)) -> Self {
        Self { header: Some(header), ..self }
    }

    fn retry_after(self, seconds: i64) -> Self {
        self.with((RETRY_AFTER, HeaderValue::from(seconds)))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.told().code)
    }
}

impl StdError for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.told().status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.respond(None)
    }
}

/// An error that knows which request it belongs to, for where no response can be made of it yet.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(crate) error: ApiError,
    pub(crate) request_id: String,
}

impl fmt::Display for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Identified {
    fn status_code(&self) -> StatusCode {
        self.error.status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = self.error.respond(Some(&self.request_id));
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
        }
        // It leaves no request behind that would say whether it came over TLS.
        security::add_headers(response.headers_mut(), false);
        response
    }
}
