//! What is the same for every call of its kind: sessions, aliases, operation ids, and refusals that nobody has to name.

use std::collections::BTreeMap;

use utoipa::Modify;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr, Response, SecurityRequirement};

use super::problems::{self, Catalogue};
use crate::auth::SESSION_COOKIE;
use crate::routes::{ADMIN, ALIASES, HEALTHZ, READYZ};

const BEARER: &str = "bearer";
const COOKIE: &str = "cookie";
/// The tag of calls that ask no store.
const SERVICE: &str = "service";

/// A call needs a token in one of its two places unless it says otherwise.
pub(super) struct Sessions;

impl Modify for Sessions {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let cookie = ApiKeyValue::with_description(SESSION_COOKIE, "Set by a log-in; not for scripts.");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let none: [String; 0] = [];
        document.security =
            Some([BEARER, COOKIE].map(|scheme| SecurityRequirement::new(scheme, none.clone())).into());
        for operation in operations(document) {
            // What the annotation can say is `[{}]`: clients take that for an optional token.
            if operation.security.as_deref() == Some(&[SecurityRequirement::default()]) {
                operation.security = Some(Vec::new());
            }
        }
    }
}

/// Each call under each of its names.
pub(super) struct Aliases;

impl Modify for Aliases {
    fn modify(&self, document: &mut OpenApi) {
        for (path, alias) in ALIASES {
            if let Some(item) = document.paths.paths.get(path).cloned() {
                document.paths.paths.insert(alias.to_owned(), item);
            }
        }
    }
}

/// An operation is called as its path, which no other one is: `auth_signupUser`.
pub(super) struct OperationIds;

impl Modify for OperationIds {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            let id = words.collect::<Vec<_>>().join("_");
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.operation_id = Some(id.clone());
            }
        }
    }
}

/// What may be left out of a request, a header or a body, is left out and not `null`.
pub(super) struct LeftOut;

impl Modify for LeftOut {
    fn modify(&self, document: &mut OpenApi) {
        for operation in operations(document) {
            for parameter in operation.parameters.iter_mut().flatten().filter_map(own) {
                if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
                    && let SchemaType::Array(types) = &schema.schema_type
                    && let Some(kind) = types.iter().find(|kind| **kind != Type::Null)
                {
                    schema.schema_type = SchemaType::Type(kind.clone());
                }
            }
            let Some(body) = operation.request_body.as_mut().and_then(own) else { continue };
            for content in body.content.values_mut().filter_map(own) {
                if let Some(RefOr::T(Schema::OneOf(either))) = &content.schema {
                    content.schema = either.items.iter().find(|schema| !is_null(schema)).cloned();
                }
            }
        }
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    let null = SchemaType::Type(Type::Null);
    matches!(schema, RefOr::T(Schema::Object(Object { schema_type, .. })) if *schema_type == null)
}

/// Every answer says what it is, and which request it belongs to.
pub(super) struct Answers;

impl Modify for Answers {
    fn modify(&self, document: &mut OpenApi) {
        let complete = |response: &mut Response| {
            if response.description.is_empty() {
                response.description = "Done".to_owned();
            }
            let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{32}$"));
            let header = HeaderBuilder::new().schema(Some(id.build())).description(Some("Names the request"));
            response.headers.insert("X-Request-Id".to_owned(), header.build().into());
        };
        let shared = document.components.iter_mut().flat_map(|components| components.responses.values_mut());
        shared.filter_map(own).for_each(complete);
        operations(document)
            .flat_map(|operation| operation.responses.responses.values_mut())
            .filter_map(own)
            .for_each(complete);
    }
}

/// Each refusal with its codes: those that an operation names, and those that come with its kind.
pub(super) struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut OpenApi) {
        let catalogue = Catalogue::new();
        let mut shared = BTreeMap::new();
        for (path, operation) in operations_with_paths(document) {
            let mut refusals = named(operation);
            for code in by_kind(path, operation) {
                let codes: &mut Vec<String> = refusals.entry(catalogue.status(code)).or_default();
                if !codes.iter().any(|named| named == code) {
                    codes.push(code.to_owned());
                }
            }
            for (status, codes) in refusals {
                let name = codes.join(".");
                shared.entry(name.clone()).or_insert_with(|| catalogue.response(&codes));
                operation.responses.responses.insert(status, RefOr::Ref(problems::reference(&name)));
            }
        }
        let components = document.components.get_or_insert_default();
        components.responses.extend(shared.into_iter().map(|(name, response)| (name, response.into())));
        problems::add_schema(components);
    }
}

/// The codes in the descriptions of an operation's refusals, by status.
fn named(operation: &Operation) -> BTreeMap<String, Vec<String>> {
    let responses = operation.responses.responses.iter();
    let refusals = responses.filter(|(status, _)| status.starts_with(['4', '5']));
    refusals
        .filter_map(|(status, response)| {
            let RefOr::T(response) = response else { return None };
            let codes = response.description.split(',').map(|code| code.trim().to_owned());
            Some((status.clone(), codes.collect()))
        })
        .collect()
}

/// The codes that every operation of this kind can answer.
fn by_kind(path: &str, operation: &Operation) -> Vec<&'static str> {
    let mut codes = vec!["headers_too_large", "internal"];
    if operation.request_body.is_some() {
        codes.extend(["unsupported_media_type", "unsupported_content_encoding", "body_too_large"]);
        codes.extend(["body_too_slow", "invalid_json", "invalid_value"]);
        // Of pages of foreign origins.
        codes.push("forbidden");
    }
    let is_for_anybody = operation.security.as_deref().is_some_and(<[_]>::is_empty);
    if !is_for_anybody {
        codes.extend(["unauthenticated", "forbidden"]);
    }
    if !operation.tags.iter().flatten().any(|tag| tag == SERVICE) {
        codes.extend(["busy", "unavailable", "outcome_unknown"]);
    }
    if ADMIN.contains(&path) {
        codes.extend(["forbidden", "misdirected_request"]);
    }
    if ![HEALTHZ, READYZ].contains(&path) {
        codes.extend(["too_many_requests", "shutting_down"]);
    }
    codes
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    operations_with_paths(document).map(|(_, operation)| operation)
}

fn operations_with_paths(document: &mut OpenApi) -> impl Iterator<Item = (&str, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        [&mut item.get, &mut item.post].into_iter().flatten().map(|operation| (path.as_str(), operation))
    })
}

/// What is described here, not referred to.
fn own<T>(described: &mut RefOr<T>) -> Option<&mut T> {
    match described {
        RefOr::T(described) => Some(described),
        RefOr::Ref(_) => None,
    }
}
