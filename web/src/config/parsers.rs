//! Parsers that several concerns share.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use actix_web::http::Uri;
use clap::builder::TypedValueParser;

/// A longer heartbeat, lease or notice is a typing error.
const MILLISECONDS_MAX: u64 = 60_000;

/// A value cannot be understood. Says what a good one looks like, and never repeats the value, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub(super) &'static str);

/// Reads a number of milliseconds.
pub(super) fn milliseconds() -> impl TypedValueParser<Value = Duration> {
    clap::value_parser!(u64).range(..=MILLISECONDS_MAX).map(Duration::from_millis)
}

/// Reads an address and a port. A host name is looked up.
pub(super) fn address(text: &str) -> Result<SocketAddr, Expected> {
    let resolved = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.ok_or(Expected("an address and a port such as 127.0.0.1:8080"))
}

/// Reads a URL of HTTP or HTTPS.
pub(super) fn url(text: &str) -> Result<String, Expected> {
    let expected = Expected("a URL such as http://127.0.0.1:8000, without a user or a password");
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let is_url =
        uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme)) && uri.host().is_some();
    let names_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (is_url && !names_user).then(|| text.to_owned()).ok_or(expected)
}
