//! The certificate with which the server speaks TLS itself.

use std::path::PathBuf;

use super::environment::Environment;

/// Where the certificate and its key are, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// The server's certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsConfig {
    /// Reads `KOKORO_TLS_CERT` and `KOKORO_TLS_KEY`, both or neither.
    pub(super) fn from_env(env: &mut Environment) -> Option<Self> {
        match (env.text("KOKORO_TLS_CERT"), env.text("KOKORO_TLS_KEY")) {
            (Some(certificate), Some(key)) => Some(Self { certificate: certificate.into(), key: key.into() }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                env.problem("KOKORO_TLS_CERT and KOKORO_TLS_KEY must both be set, or neither".to_owned());
                None
            }
        }
    }
}
