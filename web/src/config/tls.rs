//! The certificate with which the server speaks TLS itself.

use std::path::PathBuf;

/// Where the certificate and its key are, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// The server's certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Both files, or none.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct TlsSettings {
    /// PEM file of the certificate, and those that lead to its root, to serve over TLS; read again on SIGHUP. Without it
    /// the server speaks plain HTTP.
    #[arg(long, env = "KOKORO_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key; read again on SIGHUP.
    #[arg(long, env = "KOKORO_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl TlsSettings {
    pub(super) fn resolve(self) -> Option<TlsConfig> {
        let (certificate, key) = self.tls_cert.zip(self.tls_key)?;
        Some(TlsConfig { certificate, key })
    }
}
