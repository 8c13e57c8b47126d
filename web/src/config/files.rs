//! Where files live: medical files and doctors' documents.

use std::net::SocketAddr;
use std::path::PathBuf;

use persistence::{BucketNames, Endpoint};

use super::environment::Environment;
use super::store::{Place, data_folder, url};

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

impl FilesConfig {
    /// Reads `S3_ENDPOINT`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `KOKORO_DATA_DIR`, `KOKORO_S3_LISTEN`,
    /// `S3_PUBLIC_ENDPOINT`, `MEDILOCKER_BUCKET` and `DOCTOR_DOCUMENTS_BUCKET`.
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let endpoint = env.parsed("S3_ENDPOINT", url);
        let region = env.text("AWS_REGION").or_else(|| env.text("AWS_DEFAULT_REGION"));
        let place = match (endpoint, region) {
            (None, None) => Place::Folder(data_folder(env)),
            (endpoint, _) => Place::Named(endpoint.map_or(Endpoint::Aws, Endpoint::At)),
        };
        let mut buckets = BucketNames::default();
        for (name, bucket) in [
            ("MEDILOCKER_BUCKET", &mut buckets.medilocker),
            ("DOCTOR_DOCUMENTS_BUCKET", &mut buckets.documents),
        ] {
            if let Some(value) = env.parsed(name, bucket_name) {
                *bucket = value;
            }
        }
        let embedded_listen = env.parsed("KOKORO_S3_LISTEN", |text| {
            text.parse().map_err(|_| "an address and a port such as 127.0.0.1:9000")
        });
        if embedded_listen.is_some() && !place.is_embedded() {
            env.problem("KOKORO_S3_LISTEN is set, but S3 is not the embedded one".to_owned());
        }
        let public_endpoint = env.parsed("S3_PUBLIC_ENDPOINT", bare_url);
        let spool = data_folder(env).join("spool");
        Self { place, spool, embedded_listen, public_endpoint, buckets }
    }
}

/// A URL without a path: a proxy that takes one off makes every signature wrong.
fn bare_url(text: &str) -> Result<String, &'static str> {
    let bare = url(text)?.trim_end_matches('/').to_owned();
    let host = bare.split_once("://").map_or("", |(_, host)| host);
    if host.contains(['/', '?', '#', '@']) {
        Err("a URL without a path, such as https://files.clinic.example")
    } else {
        Ok(bare)
    }
}

/// S3 user guide, "General purpose bucket naming rules".
fn bucket_name(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let well_formed = (3..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && ends(text.bytes().next())
        && ends(text.bytes().last());
    well_formed.then(|| text.to_owned()).ok_or("a bucket name: 3 to 63 small letters, digits, '.' or '-'")
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn uploads_lie_in_the_data_folder_also_when_s3_is_named() {
        for s3 in ["", "http://127.0.0.1:9001"] {
            let mut env = Environment::of(&[("KOKORO_DATA_DIR", "/srv/kokoro"), ("S3_ENDPOINT", s3)]);
            let config = FilesConfig::from_env(&mut env);
            assert_eq!(env.finish(config).unwrap().spool, PathBuf::from("/srv/kokoro/spool"));
        }
    }

    #[test]
    fn an_address_is_for_the_embedded_server_only() {
        let read = |pairs: &[(&str, &str)]| {
            let mut env = Environment::of(pairs);
            let config = FilesConfig::from_env(&mut env);
            env.finish(config)
        };
        let listen = ("KOKORO_S3_LISTEN", "127.0.0.1:9000");
        assert_eq!(read(&[listen]).unwrap().embedded_listen, "127.0.0.1:9000".parse().ok());
        assert!(read(&[listen, ("S3_ENDPOINT", "http://127.0.0.1:9001")]).is_err());
        assert!(read(&[("KOKORO_S3_LISTEN", "9000")]).is_err());
    }
}
