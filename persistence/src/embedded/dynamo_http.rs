//! The embedded DynamoDB's requests as HTTP has them: whichever way they come, over a socket or from this process, they have the
//! same heads and bodies. Over a socket they must be signed too ([`super::signature`]).

use std::net::IpAddr;

use bytes::Bytes;
use embedded::{Answer, Database, Refusal};
use engine::{Clock, SystemClock};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::signature::{SignatureFault, Verifier};

/// Bytes of a body.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// What the name of every call comes after.
const TARGET: &str = "DynamoDB_20120810.";
/// The header that names the call.
pub(super) const TARGET_HEADER: &str = "x-amz-target";
/// What requests and answers are.
pub(super) const JSON: &str = "application/x-amz-json-1.0";

/// Answers a request that came over a socket.
pub(super) async fn answer(
    database: &Database,
    verifier: &Verifier,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if !is_for_this_machine(&head.headers) {
        let refusal =
            refused("AccessDeniedException", "the embedded DynamoDB answers programs of this machine");
        return rendered(StatusCode::FORBIDDEN, refusal.body);
    }
    if head.method == Method::GET && head.uri.path() == "/" {
        return Response::new(Full::new(Bytes::from_static(b"healthy: embedded DynamoDB\n")));
    }
    if head.method != Method::POST || head.uri.path() != "/" {
        return rendered(StatusCode::NOT_FOUND, refused("UnknownOperationException", "").body);
    }
    let target = head.headers.get(TARGET_HEADER).and_then(|value| value.to_str().ok());
    let claimed = operation(target).and_then(|operation| {
        let claim = verifier.claim(&head.headers, SystemClock.now()).map_err(unsigned)?;
        Ok((operation, claim))
    });
    let (operation, claim) = match claimed {
        Ok(claimed) => claimed,
        Err(refusal) => return rendered(StatusCode::BAD_REQUEST, refusal.body),
    };
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let refusal = refused("RequestEntityTooLargeException", "the request is too long");
            return rendered(StatusCode::PAYLOAD_TOO_LARGE, refusal.body);
        }
        Err(_) => return rendered(StatusCode::BAD_REQUEST, refused("SerializationException", "").body),
    };
    if let Err(fault) = verifier.verify(&claim, &head, &body) {
        return rendered(StatusCode::BAD_REQUEST, unsigned(fault).body);
    }
    let Answer { status, body } = database.call(operation, body).await;
    rendered(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
}

/// Whether a request is no page's: a page names its origin, and one whose name was made to lead here names that in `Host`.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let is_own = |host: &str| {
        host == "localhost" || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
    };
    !headers.contains_key(ORIGIN) && host.is_some_and(|host| is_own(host.host()))
}

/// The call that a request names in [`TARGET_HEADER`].
pub(super) fn operation(target: Option<&str>) -> Result<&str, Answer> {
    let operation = target.and_then(|target| target.strip_prefix(TARGET));
    operation.ok_or_else(|| Answer::from(&Refusal::UnknownOperation))
}

/// The refusal of a request that is not signed as it should be, in DynamoDB's words.
fn unsigned(fault: SignatureFault) -> Answer {
    let (name, text) = match fault {
        SignatureFault::Missing => {
            ("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        }
        SignatureFault::Incomplete => (
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders', and the header 'X-Amz-Date' a date",
        ),
        SignatureFault::UnknownKey => {
            ("UnrecognizedClientException", "The security token included in the request is invalid.")
        }
        SignatureFault::Untimely => (
            "InvalidSignatureException",
            "Signature not valid at this time: the date in 'X-Amz-Date' must be within 15 minutes of the server's clock",
        ),
        SignatureFault::Wrong => (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
             and signing method.",
        ),
    };
    refused(name, text)
}

fn refused(name: &str, text: &str) -> Answer {
    let body = json!({"__type": format!("com.amazon.coral.service#{name}"), "message": text});
    Answer { status: 400, body: body.to_string().into() }
}

fn rendered(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
