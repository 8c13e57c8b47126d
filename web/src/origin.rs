//! Recognises requests that a foreign web page makes a browser send. `Sec-Fetch-Site` says so where the browser sends it:
//! over TLS and to loopback addresses. Over other plain HTTP, only `Origin` and `Host` say so.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::http::header::{HeaderName, ORIGIN};
use actix_web::http::uri::Authority;

use crate::error::ApiError;
use crate::peer::{self, Peer};
use crate::state::AppState;

/// The header in which a browser names the relation between the page that sends a request and the server.
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns whether a page of a foreign origin sends this request and would change state with it. Cookies do not come along
/// from other sites, and JSON needs consent by CORS. This check protects calls without a body, and all calls from pages of
/// the same site.
pub(crate) fn is_from_foreign_page(request: &HttpRequest, app: &AppState) -> Result<bool, ApiError> {
    if request.method().is_safe() {
        return Ok(false);
    }
    // A value that is not ASCII is no origin, and neither is `null`.
    let origin = request.headers().get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    if origin.is_some_and(|origin| app.cors.allowed_origins.iter().any(|allowed| allowed == origin)) {
        return Ok(false);
    }
    match request.headers().get(&SEC_FETCH_SITE).and_then(|site| site.to_str().ok()) {
        Some("same-origin" | "none") => Ok(false),
        Some("cross-site" | "same-site") => Ok(true),
        // Without either header, no browser sends the request.
        _ => origin.map_or(Ok(false), |origin| Ok(!is_own(origin, request)?)),
    }
}

/// Returns whether an origin has the host and port that the client asked for. The scheme counts only where it is known to be
/// HTTPS, because a proxy that ends TLS need not say so.
fn is_own(origin: &str, request: &HttpRequest) -> Result<bool, ApiError> {
    let Some(asked) = peer::asked_host(request)? else { return Ok(false) };
    let over_tls = Peer::of(request)?.over_tls;
    let origin = origin.parse::<Uri>().unwrap_or_default();
    let default_port = match origin.scheme_str() {
        Some("https") => 443,
        Some("http") if !over_tls => 80,
        _ => return Ok(false),
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    Ok(origin.authority().is_some_and(|origin| {
        origin.host().eq_ignore_ascii_case(asked.host()) && port(origin) == port(&asked)
    }))
}

/// Refuses what browser pages send to the admin address, which serves no page. A page that points its own host name at this
/// machine (DNS rebinding) is of the same origin for its browser, but it sends that name as `Host`.
pub(crate) fn check_admin(request: &HttpRequest, app: &AppState) -> Result<(), ApiError> {
    let host = peer::host(request);
    if !host.is_some_and(|host| is_admin_host(host.host(), &app.server.admin_hosts)) {
        return Err(ApiError::Misdirected);
    }
    if request.headers().contains_key(ORIGIN) || is_from_foreign_page(request, app)? {
        return Err(ApiError::Forbidden);
    }
    Ok(())
}

/// Returns whether a host is an IP address, `localhost` or one of the configured names, which are in lower case.
fn is_admin_host(host: &str, names: &[String]) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_named = |name: &str| host.eq_ignore_ascii_case(name);
    address.parse::<IpAddr>().is_ok() || is_named("localhost") || names.iter().any(|name| is_named(name))
}
