//! Routes reads (GET and HEAD) past the header parsing of `s3s`.
//!
//! `s3s` refuses conditional headers that it cannot parse: lists of entity tags, several ranges, unknown units. A client may
//! have signed them, so they must be present when the signature is checked. Therefore one service checks the signature and
//! routes each read here. A second service has no keys and is reachable from here alone. It gets the read without its
//! signature and with its [`Conditions`] set aside. One of them may stand in the address: [`TAG_PARAMETER`].

use std::sync::Arc;

use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LOCATION, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, VARY,
};
use hyper::http::Extensions;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use s3s::config::S3ConfigProvider;
use s3s::route::S3Route;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::conditions::Conditions;
use super::s3_calls::Calls;
use crate::s3::TAG_PARAMETER;

/// The headers of a 304 (RFC 9110, section 15.4.5), with which a cache updates its copy.
const OF_UNMODIFIED: [HeaderName; 6] = [CACHE_CONTROL, CONTENT_LOCATION, ETAG, EXPIRES, LAST_MODIFIED, VARY];

/// The status of a successful answer, in its extensions. `s3s` itself knows no 304, and no 206 for HEAD.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status(pub(super) StatusCode);

/// Takes every read with a valid signature. `s3s` refuses an invalid signature before it looks for a route, and a route refuses
/// unsigned requests by default.
pub(super) struct Reads {
    service: S3Service,
}

impl Reads {
    pub(super) fn new(calls: Calls, config: Arc<dyn S3ConfigProvider>) -> Self {
        let mut service = S3ServiceBuilder::new(calls);
        service.set_config(config);
        Self { service: service.build() }
    }
}

#[async_trait::async_trait]
impl S3Route for Reads {
    fn is_match(&self, method: &Method, _: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        [Method::GET, Method::HEAD].contains(method)
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let S3Request { input, method, uri, mut headers, mut extensions, .. } = request;
        headers.remove(AUTHORIZATION);
        extensions.insert(Conditions::take(&mut headers).bound_to(bound_to(&uri)));
        let mut unsigned = HttpRequest::new(input);
        *unsigned.method_mut() = method;
        *unsigned.uri_mut() = without_signature(uri)?;
        *unsigned.headers_mut() = headers;
        *unsigned.extensions_mut() = extensions;
        let answered = self.service.call(unsigned).await;
        let answer =
            answered.map_err(|error| S3Error::with_source(S3ErrorCode::InternalError, error.into()))?;
        let (mut parts, body) = answer.into_parts();
        if let Some(Status(status)) = parts.extensions.remove() {
            parts.status = status;
        }
        if parts.status == StatusCode::NOT_MODIFIED {
            parts.headers = OF_UNMODIFIED
                .into_iter()
                .filter_map(|name| parts.headers.remove(&name).map(|value| (name, value)))
                .collect();
        }
        let mut response = S3Response::with_status(body, parts.status);
        response.headers = parts.headers;
        Ok(response)
    }
}

/// The entity tag that an address is bound to. A tag that is not UTF-8 is none that an object has.
fn bound_to(uri: &Uri) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, tag) = pairs.into_iter().find(|(name, _)| *name == TAG_PARAMETER)?;
    Some(percent_decode_str(tag).decode_utf8_lossy().into_owned())
}

/// Removes the signature from an address. If an unusual spelling escapes, the service without keys refuses the request.
fn without_signature(uri: Uri) -> S3Result<Uri> {
    let signs = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        name.starts_with("X-Amz-") || ["Signature", "AWSAccessKeyId", "Expires"].contains(&name)
    };
    let Some(query) = uri.query() else { return Ok(uri) };
    let kept: Vec<&str> = query.split('&').filter(|pair| !signs(pair)).collect();
    let kept = PathAndQuery::try_from(format!("{}?{}", uri.path(), kept.join("&")));
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(kept.map_err(S3Error::internal_error)?);
    Uri::from_parts(parts).map_err(S3Error::internal_error)
}
