//! Where files live: medical files and doctors' documents.

use std::net::SocketAddr;

use persistence::BucketNames;

use super::environment::Environment;
use super::store::{Place, data_folder, url};

/// Which S3, and the names of its buckets.
#[derive(Debug, Clone)]
pub struct FilesConfig {
    /// Where it is.
    pub place: Place,
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
            (endpoint, _) => Place::Named { endpoint },
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
        Self { place, embedded_listen, public_endpoint: env.parsed("S3_PUBLIC_ENDPOINT", url), buckets }
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
