//! Bodies: read within bounds, checked step by step, so that the order of refusals is the contract's. The extractor
//! answers 415, 413 and 400; the handler then checks who may do it (403) against the raw fields, and only then turns
//! the fields into a request (422).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Number, Value};

use crate::body;
use crate::error::ApiError;

/// Up to here a floating-point number knows every whole number.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// How JSON is called in a head.
const JSON: &str = "application/json";

/// A body that is JSON, whatever it says.
pub(crate) struct JsonBody(Value);

/// The same for calls of which old clients send nothing at all: an empty body counts as `{}`.
pub(crate) struct JsonBodyOrNothing(JsonBody);

/// A body that is kept as it came: each digit of a number counts (a [`Value`] keeps a few of them only), and what a
/// request does not ask for takes no memory. To parse megabytes takes a while, and belongs on a thread that may block.
pub(crate) struct JsonText(Bytes);

impl JsonText {
    /// What `T` asks for; the whole body must be JSON all the same.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        let text = std::str::from_utf8(&self.0).map_err(|_| ApiError::InvalidJson)?;
        if !text.trim_start().starts_with('{') {
            return Err(if is_json(&self.0) { no_object() } else { ApiError::InvalidJson });
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let error = error.into_inner();
            match error.is_data() && is_json(&self.0) {
                true => ApiError::invalid(explain(&path, &error)),
                false => refuse_syntax(&self.0, &error),
            }
        })?;
        json.end().map_err(|_| ApiError::InvalidJson)?;
        Ok(parsed)
    }
}

impl JsonText {
    /// A request about whom its `field` names, whom `named` finds in it: `may` says whether the caller may ask so, before
    /// anything is said about its values. What is as it should be is read at once, the rest step by step, as
    /// [`JsonBody`] is.
    pub(crate) fn request<T: DeserializeOwned>(
        &self,
        field: &str,
        named: impl FnOnce(&T) -> Option<&str>,
        may: impl FnOnce(Option<&str>) -> Result<(), ApiError>,
    ) -> Result<T, ApiError> {
        let text = std::str::from_utf8(&self.0).ok().filter(|text| text.starts_with('{'));
        if let Some(request) = text.and_then(|text| serde_json::from_str(text).ok()) {
            return may(named(&request)).map(|()| request);
        }
        let body = decode(&self.0)?;
        may(body.raw(field))?;
        body.parse()
    }
}

impl From<Bytes> for JsonText {
    fn from(body: Bytes) -> Self {
        Self(body)
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonText(..)")
    }
}

impl fmt::Debug for JsonBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonBody(..)")
    }
}

impl JsonBodyOrNothing {
    /// The request that the fields make up.
    pub(crate) fn parse<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        self.0.parse()
    }
}

impl JsonBody {
    /// A field's text, before anything is known to be valid; `None` when it is absent or no text.
    pub(crate) fn raw(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    /// The request that the fields make up.
    pub(crate) fn parse<T: DeserializeOwned>(mut self) -> Result<T, ApiError> {
        if !self.0.is_object() {
            return Err(no_object());
        }
        make_whole(&mut self.0);
        // Where in the body it is wrong is asked only when it is.
        T::deserialize(&self.0).or_else(|_| serde_path_to_error::deserialize(self.0)).map_err(|error| {
            let path = error.path().to_string();
            ApiError::invalid(explain(&path, &error.into_inner()))
        })
    }
}

/// Makes `7.0` the whole number that it is, as JSON Schema has it: some clients know one kind of number only.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => make_number_whole(number),
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The same for one number.
pub(crate) fn make_number_whole(number: &mut Number) {
    let float = number.as_f64().filter(|_| number.is_f64());
    if let Some(whole) = float.filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX) {
        *number = Number::from(whole as i64);
    }
}

fn no_object() -> ApiError {
    ApiError::invalid("The body must be a JSON object")
}

/// Says which field is wrong, and nothing of what was in it.
fn explain(path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        Some(field) if path == "." => format!("'{field}' is missing"),
        Some(field) => format!("'{path}.{field}' is missing"),
        None => format!("'{path}' is not of the right type"),
    }
}

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

/// Reads a body that says it is JSON, and makes of it what is wanted.
fn extract<T: 'static>(
    request: &HttpRequest,
    payload: &mut Payload,
    make: impl FnOnce(Bytes) -> Result<T, ApiError> + 'static,
) -> Extracting<T> {
    let (request, payload) = (request.clone(), payload.take());
    Box::pin(async move {
        require_json(&request)?;
        make(without_mark(body::read(&request, payload).await?))
    })
}

impl FromRequest for JsonBody {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        extract(request, payload, |bytes| decode(&bytes))
    }
}

impl FromRequest for JsonText {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        extract(request, payload, |bytes| Ok(Self(bytes)))
    }
}

impl FromRequest for JsonBodyOrNothing {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let bytes = without_mark(body::read(&request, payload).await?);
            if bytes.is_empty() {
                return Ok(Self(JsonBody(Value::Object(serde_json::Map::new()))));
            }
            require_json(&request)?;
            decode(&bytes).map(Self)
        })
    }
}

/// The byte order mark that some clients put before UTF-8. A reader of JSON may skip it (RFC 8259, 8.1).
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn without_mark(body: Bytes) -> Bytes {
    if body.starts_with(BYTE_ORDER_MARK) { body.slice(BYTE_ORDER_MARK.len()..) } else { body }
}

/// Refuses a body that does not say it is JSON.
pub(crate) fn require_json(request: &HttpRequest) -> Result<(), ApiError> {
    // What nearly all say; to take it apart costs as much as to read a small body.
    if request.headers().get(CONTENT_TYPE).is_some_and(|said| said == JSON) {
        return Ok(());
    }
    let (kind, subtype) = request.content_type().trim().split_once('/').unwrap_or_default();
    let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    let is_json = kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json");
    if is_json { Ok(()) } else { Err(ApiError::UnsupportedMediaType) }
}

/// Reads a body that is all there.
pub(crate) fn decode(bytes: &[u8]) -> Result<JsonBody, ApiError> {
    serde_json::from_slice(bytes).map(JsonBody).map_err(|error| refuse_syntax(bytes, &error))
}

/// Whether all of it is JSON, whatever its values: a parser stops at the first value that it cannot use.
fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn refuse_syntax(bytes: &[u8], error: &serde_json::Error) -> ApiError {
    // Such a number is JSON nevertheless (RFC 8259, 6).
    if error.to_string().starts_with("number out of range") && is_json(bytes) {
        ApiError::invalid("A number in the body is too large")
    } else {
        ApiError::InvalidJson
    }
}

/// What holds for every body, whatever is asked of it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let whole: Result<Value, _> = serde_json::from_slice(bytes);
    match decode(bytes) {
        Ok(body) => {
            assert!(whole.is_ok());
            // No whole number is changed but in how it is written.
            let changed = |error| matches!(error, ApiError::InvalidValue(_));
            assert!(body.parse::<std::collections::BTreeMap<String, Value>>().map_or_else(changed, |_| true));
        }
        Err(ApiError::InvalidJson) => assert!(whole.is_err()),
        Err(_) => assert!(is_json(bytes)),
    }
    match JsonText(Bytes::copy_from_slice(bytes)).parse::<std::collections::BTreeMap<String, IgnoredAny>>() {
        Err(ApiError::InvalidJson) => assert!(whole.is_err()),
        Ok(_) | Err(_) => assert!(is_json(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "it is only parsed")]
        name: String,
        #[expect(dead_code, reason = "it is only parsed")]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "it is only parsed")]
        start: String,
    }

    #[derive(Deserialize)]
    struct Priced {
        amount: Option<Box<RawValue>>,
    }

    fn refusal(body: &str) -> String {
        match decode(body.as_bytes()).and_then(JsonBody::parse::<Outer>) {
            Err(ApiError::InvalidValue(sentence)) => sentence.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_repeats_no_value() {
        assert_eq!(refusal("{}"), "'name' is missing");
        assert_eq!(refusal(r#"{"name":7,"list":[]}"#), "'name' is not of the right type");
        assert_eq!(refusal(r#"{"name":"ada","list":[{}]}"#), "'list[0].start' is missing");
        assert_eq!(
            refusal(r#"{"name":"ada","list":[{"start":"a"},{"start":{"secret":1}}]}"#),
            "'list[1].start' is not of the right type"
        );
        for body in ["[]", "null", "7", "\"text\""] {
            assert_eq!(refusal(body), "The body must be a JSON object");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_as_such() {
        let deep = "[".repeat(10_000);
        for body in ["", "{", "{\"a\":}", "nonsense", "{\"a\":1}x", &deep] {
            assert!(matches!(decode(body.as_bytes()), Err(ApiError::InvalidJson)), "{body:.20}");
        }
        assert!(matches!(decode(b"{\"a\":\"\xff\"}"), Err(ApiError::InvalidJson)));
        // What is wrong with a value before that does not count.
        assert!(matches!(decode(b"{\"a\":1e400,"), Err(ApiError::InvalidJson)));
        let body = JsonText(Bytes::from_static(b"{\"name\":7,"));
        assert!(matches!(body.parse::<Outer>(), Err(ApiError::InvalidJson)));
    }

    #[test]
    fn a_whole_number_may_come_with_a_decimal_point() {
        let parse = |body: &str| decode(body.as_bytes()).and_then(JsonBody::parse::<BTreeMap<String, i64>>);
        for (text, number) in [("7.0", 7), ("-0.0", 0), ("1e3", 1000), ("9007199254740992.0", 1 << 53)] {
            assert_eq!(parse(&format!(r#"{{"n":{text}}}"#)).unwrap()["n"], number);
        }
        for text in ["7.5", "1e300", "9007199254740994.0"] {
            assert!(parse(&format!(r#"{{"n":{text}}}"#)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_is_the_same_whether_it_is_read_at_once_or_step_by_step() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Asked {
            whom: Option<String>,
            count: i64,
        }
        let asked = |body: &str| {
            let may =
                |named: Option<&str>| if named == Some("eve") { Err(ApiError::Forbidden) } else { Ok(()) };
            JsonText(Bytes::from(body.to_owned())).request("whom", |asked: &Asked| asked.whom.as_deref(), may)
        };
        let ada = || Asked { whom: Some("ada".to_owned()), count: 7 };
        for body in [
            r#"{"whom":"ada","count":7,"platform":"web"}"#,
            r#" {"whom":"ada","count":7}"#,
            r#"{"whom":"ada","count":7.0}"#,
            r#"{"whom":"eve","count":7,"whom":"ada"}"#,
        ] {
            assert_eq!(asked(body).ok(), Some(ada()), "{body}");
        }
        // Who may not ask is told so before anything is said about the rest.
        for body in [r#"{"whom":"eve","count":7}"#, r#"{"whom":"eve","count":"x"}"#, r#"{"whom":"eve"}"#] {
            assert!(matches!(asked(body), Err(ApiError::Forbidden)), "{body}");
        }
        for body in [r#"{"count":"x"}"#, "{}", "[null,7]", "7"] {
            assert!(matches!(asked(body), Err(ApiError::InvalidValue(_))), "{body}");
        }
        for body in [r#"{"whom":"eve","count":7"#, r#"{"whom":"eve","count":7}x"#, ""] {
            assert!(matches!(asked(body), Err(ApiError::InvalidJson)), "{body}");
        }
    }

    #[test]
    fn a_number_keeps_the_digits_that_it_came_with() {
        let long = "0.1000000000000000055511151231257827";
        for (text, kept) in [
            ("1.10", Some("1.10")),
            ("1e2", Some("1e2")),
            ("1e400", Some("1e400")),
            (long, Some(long)),
            ("\"5\"", Some("\"5\"")),
            ("null", None),
        ] {
            let body = JsonText(Bytes::from(format!("{{\"\\u0061mount\": {text} }}")));
            let amount = body.parse::<Priced>().unwrap().amount;
            assert_eq!(amount.as_deref().map(RawValue::get), kept);
        }
        assert_eq!(refusal(r#"{"name":"ada","list":[],"n":1e400}"#), "A number in the body is too large");
    }

    #[test]
    fn unknown_fields_are_ignored_and_escapes_are_decoded() {
        let body = decode(br#"{"name":"\u0905","list":[],"platform":"web"}"#).unwrap();
        assert_eq!(body.raw("name"), Some("अ"));
        assert!(body.parse::<Outer>().is_ok());
    }
}
