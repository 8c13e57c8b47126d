//! What every answer tells browsers: to guess no types, to run and frame nothing, to tell others nothing.

use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, CROSS_ORIGIN_RESOURCE_POLICY, HeaderMap, HeaderValue, PERMISSIONS_POLICY,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// For whatever has no policy of its own: an answer that a browser shows as a page can do nothing.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// A year; other hosts of the domain are not ours to decide about.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// Devices are for our own pages, which may hold video calls.
const DEVICES: HeaderValue =
    HeaderValue::from_static("camera=(self), microphone=(self), geolocation=(self), payment=(self)");

/// Adds the headers to an answer's own.
pub(crate) fn add_headers(headers: &mut HeaderMap, over_tls: bool) {
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, NOTHING);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS_POLICY, DEVICES);
    if over_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
}
