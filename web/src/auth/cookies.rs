//! The cookies that we set, and how they are read back.

use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{COOKIE, HeaderMap};
use chrono::TimeDelta;

use super::device::DEVICE_LIFE;
use super::token::TOKEN_LIFE;

/// The cookie that carries a token.
pub(crate) const SESSION_COOKIE: &str = "kokoro_session";
/// The same over TLS: browsers accept this name from this host alone (RFC 6265bis, 4.1.3.2), so that neither another
/// host of the domain nor a page without TLS can plant a session.
const HOST_SESSION_COOKIE: &str = "__Host-kokoro_session";
/// The cookie that names a device.
pub(crate) const DEVICE_COOKIE: &str = "kokoro_device";

/// The cookies that make a browser a session's holder.
pub(crate) fn session(token: &str, over_tls: bool) -> Vec<Cookie<'static>> {
    sessions(token, TOKEN_LIFE, over_tls)
}

/// The cookies that make a browser forget its session.
pub(crate) fn expired_session(over_tls: bool) -> Vec<Cookie<'static>> {
    sessions("", TimeDelta::zero(), over_tls)
}

/// The cookie by which a browser is known at its next log-in.
pub(crate) fn device(value: String, over_tls: bool) -> Cookie<'static> {
    cookie(DEVICE_COOKIE, value, "/auth", DEVICE_LIFE, over_tls)
}

/// The session tokens that a request carries, in the order in which they count.
pub(crate) fn session_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let name = match named(headers, HOST_SESSION_COOKIE).next() {
        Some(_) => HOST_SESSION_COOKIE,
        None => SESSION_COOKIE,
    };
    named(headers, name)
}

/// The values of the cookies of this name, in the order in which the browser sent them. The header is read as bytes,
/// because a cookie of another application may be no text (RFC 6265, 5.4).
pub(crate) fn named<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let cookies = headers.get_all(COOKIE).flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    cookies.filter_map(move |cookie| {
        let (found, value) = cookie.split_at(cookie.iter().position(|byte| *byte == b'=')?);
        if found.trim_ascii() != name.as_bytes() {
            return None;
        }
        // A value that is no text is not valid either.
        Some(std::str::from_utf8(&value[1..]).unwrap_or_default().trim())
    })
}

fn sessions(value: &str, life: TimeDelta, over_tls: bool) -> Vec<Cookie<'static>> {
    let names = [SESSION_COOKIE].into_iter().chain(over_tls.then_some(HOST_SESSION_COOKIE));
    names.map(|name| cookie(name, value.to_owned(), "/", life, over_tls)).collect()
}

fn cookie(
    name: &'static str,
    value: String,
    path: &'static str,
    life: TimeDelta,
    over_tls: bool,
) -> Cookie<'static> {
    Cookie::build(name, value)
        .path(path)
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(over_tls)
        .max_age(CookieDuration::seconds(life.num_seconds()))
        .finish()
}
