//! How this program calls others over HTTP: Razorpay and the model. TLS is rustls on ring, as everywhere here.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

/// What we call ourselves.
const USER_AGENT: &str = concat!("kokoro/", env!("CARGO_PKG_VERSION"));
/// The longest that making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes ring the cryptography of every TLS connection of this process that names no other. Until then no client can
/// be built. Whoever came first stays.
pub fn install_cryptography() {
    // An error means that it has been done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that follows no redirect and knows no proxy, so that what it carries goes where the settings say and nowhere
/// else. Its clones share its connections.
pub(crate) fn outgoing() -> ClientBuilder {
    install_cryptography();
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
}
