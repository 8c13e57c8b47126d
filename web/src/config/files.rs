//! Where files live: medical files and doctors' documents.

use std::net::SocketAddr;
use std::path::PathBuf;

use persistence::BucketNames;

use super::parsers::{Expected, url};
use super::store::{Place, StoreSettings};

/// Which S3, and the names of its buckets.
#[derive(Debug, Clone)]
pub struct FilesConfig {
    /// Where it is.
    pub place: Place,
    /// The folder in which uploads lie until they are stored, on a disk wherever S3 is.
    pub spool: PathBuf,
    /// Where the embedded server listens; `None`: at a free port of the loopback address.
    pub embedded_listen: Option<SocketAddr>,
    /// The address that pre-signed URLs carry; `None`: the one in use.
    pub public_endpoint: Option<String>,
    /// What its buckets are called.
    pub buckets: BucketNames,
}

/// The S3 and its buckets, as they are set.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Files")]
pub(super) struct FilesSettings {
    /// URL of the S3-compatible server to use. Without it and without AWS_REGION, the embedded server is used.
    #[arg(long, env = "S3_ENDPOINT", value_name = "URL", value_parser = url)]
    s3_endpoint: Option<String>,
    /// Address and port of the embedded S3, for a proxy that hands browsers on to it; the proxy must keep the Host. Without it
    /// the server takes a free port of 127.0.0.1.
    #[arg(long, env = "KOKORO_S3_LISTEN", value_name = "ADDRESS:PORT", value_parser = socket_address)]
    s3_listen: Option<SocketAddr>,
    /// URL under which browsers reach S3, which pre-signed URLs carry. Without it this is the endpoint in use.
    #[arg(long, env = "S3_PUBLIC_ENDPOINT", value_name = "URL", value_parser = bare_url)]
    s3_public_endpoint: Option<String>,
    /// Bucket of patients' files.
    #[arg(long, env = "MEDILOCKER_BUCKET", value_name = "NAME", default_value = "kokoro-medilocker", value_parser = bucket_name)]
    medilocker_bucket: String,
    /// Bucket of doctors' documents.
    #[arg(long, env = "DOCTOR_DOCUMENTS_BUCKET", value_name = "NAME", default_value = "kokoro-doctor-documents",
        value_parser = bucket_name)]
    doctor_documents_bucket: String,
}

impl FilesSettings {
    /// Where the files are.
    pub(super) fn place(&self, store: &StoreSettings) -> Place {
        store.place_of(self.s3_endpoint.as_ref())
    }

    pub(super) fn resolve(self, store: &StoreSettings) -> FilesConfig {
        FilesConfig {
            place: self.place(store),
            spool: store.data_dir.join("spool"),
            embedded_listen: self.s3_listen,
            public_endpoint: self.s3_public_endpoint,
            buckets: BucketNames {
                medilocker: self.medilocker_bucket,
                documents: self.doctor_documents_bucket,
            },
        }
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, Expected> {
    text.parse().map_err(|_| Expected("an address and a port such as 127.0.0.1:9000"))
}

/// A URL without a path: a proxy that takes one off makes every signature wrong.
fn bare_url(text: &str) -> Result<String, Expected> {
    let bare = url(text)?.trim_end_matches('/').to_owned();
    let host = bare.split_once("://").map_or("", |(_, host)| host);
    if host.contains(['/', '?', '#', '@']) {
        Err(Expected("a URL without a path, such as https://files.clinic.example"))
    } else {
        Ok(bare)
    }
}

/// S3 user guide, "General purpose bucket naming rules".
fn bucket_name(text: &str) -> Result<String, Expected> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let well_formed = (3..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && ends(text.bytes().next())
        && ends(text.bytes().last());
    well_formed
        .then(|| text.to_owned())
        .ok_or(Expected("a bucket name: 3 to 63 small letters, digits, '.' or '-'"))
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, Environment, StoresConfig};
    use super::*;

    #[test]
    fn signed_urls_are_put_under_an_address_without_a_path() {
        for good in ["https://files.clinic.example", "http://127.0.0.1:9000", "http://[::1]:9000/"] {
            assert_eq!(bare_url(good).unwrap(), good.trim_end_matches('/'));
        }
        for bad in ["https://clinic.example/files", "clinic.example", "https://", "https://a?b"] {
            assert!(bare_url(bad).is_err(), "{bad}");
        }
    }

    fn read(pairs: &[(&str, &str)]) -> Result<FilesConfig, ConfigError> {
        StoresConfig::from_env(&Environment::of(pairs)).map(|config| config.files)
    }

    #[test]
    fn uploads_lie_in_the_data_folder_also_when_s3_is_named() {
        for s3 in ["", "http://127.0.0.1:9001"] {
            let config = read(&[("KOKORO_DATA_DIR", "/srv/kokoro"), ("S3_ENDPOINT", s3)]);
            assert_eq!(config.unwrap().spool, PathBuf::from("/srv/kokoro/spool"));
        }
    }

    #[test]
    fn an_address_is_for_the_embedded_server_only() {
        let listen = ("KOKORO_S3_LISTEN", "127.0.0.1:9000");
        assert_eq!(read(&[listen]).unwrap().embedded_listen, "127.0.0.1:9000".parse().ok());
        assert!(read(&[listen, ("S3_ENDPOINT", "http://127.0.0.1:9001")]).is_err());
        assert!(read(&[("KOKORO_S3_LISTEN", "9000")]).is_err());
    }

    #[test]
    fn default_names_of_buckets_are_those_of_the_store() {
        assert_eq!(read(&[]).unwrap().buckets, BucketNames::default());
    }
}
