//! Objects, out of a bucket and into one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::operation::head_bucket::HeadBucketError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::TransferError;
use super::folder::{Folder, failed};
use crate::data_folder::make_private;
use crate::s3::metadata::{dated, undated, uploaded_at};
use crate::s3::{S3, body, failure_text};
use crate::scan::ScanError;

/// What S3 says of an object that was stored without a type (API reference, `PutObject`).
const UNTYPED: &str = "binary/octet-stream";
/// How often an object is read again whose connection broke.
const ATTEMPTS_MAX: usize = 4;

/// An object's line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) content_type: String,
    /// As S3 has it, less what a copy adds.
    pub(super) metadata: BTreeMap<String, String>,
    /// When it was stored first, in seconds since 1970.
    pub(super) uploaded_at: i64,
}

impl Object {
    /// What both sides sum up. Not when it was stored: S3 has no room for that in every copy.
    pub(super) fn counted(&self) -> String {
        let Self { key, size, sha256, content_type, metadata, uploaded_at: _ } = self;
        json!([key, size, sha256, content_type, metadata]).to_string()
    }
}

/// One bucket.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'a> {
    pub(super) s3: &'a S3,
    /// In the folder.
    pub(super) name: &'a str,
    /// In the store.
    pub(super) bucket: &'a str,
}

impl Bucket<'_> {
    pub(super) async fn exists(self) -> Result<bool, ScanError> {
        match Box::pin(self.s3.client().head_bucket().bucket(self.bucket).send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(HeadBucketError::is_not_found) => Ok(false),
            Err(error) => Err(self.error(failure_text(&error))),
        }
    }

    pub(super) async fn is_empty(self) -> Result<bool, ScanError> {
        let list = self.s3.client().list_objects_v2().bucket(self.bucket).max_keys(1);
        match Box::pin(list.send()).await {
            Ok(page) => Ok(page.contents().is_empty()),
            Err(error) => Err(self.error(failure_text(&error))),
        }
    }

    /// Copies an object into the folder, if it is there and `wanted`, which is asked about its metadata.
    pub(super) async fn fetch(
        self,
        folder: &Folder,
        key: &str,
        wanted: impl Fn(Option<&HashMap<String, String>>) -> bool,
    ) -> Result<Fetched, TransferError> {
        let path = folder.object(self.name, key);
        let parent = path.parent().unwrap_or(&path);
        for folder in parent.parent().into_iter().chain([parent]) {
            make_private(folder).map_err(failed(folder))?;
        }
        for attempt in 1.. {
            let Some(found) = self.get(key).await? else { return Ok(Fetched::Gone) };
            if !wanted(found.metadata()) {
                return Ok(Fetched::Unwanted);
            }
            let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&path);
            let file = file.as_mut().map_err(|error| failed(&path)(copy_of(error)))?;
            match receive(key, found, |piece| file.write_all(piece)).await {
                Ok(object) => {
                    file.sync_data().map_err(failed(&path))?;
                    return Ok(Fetched::Stored(object));
                }
                Err(Broken::Disk(error)) => return Err(failed(&path)(error)),
                Err(Broken::Wire(problem)) if attempt == ATTEMPTS_MAX => {
                    return Err(self.error(problem).into());
                }
                Err(Broken::Wire(_)) => {}
            }
        }
        Ok(Fetched::Gone)
    }

    /// What the store has under this key, read to its end.
    pub(super) async fn read_back(self, key: &str) -> Result<Option<Object>, ScanError> {
        for attempt in 1.. {
            let Some(found) = self.get(key).await? else { return Ok(None) };
            match receive(key, found, |_| Ok(())).await {
                Ok(object) => return Ok(Some(object)),
                Err(Broken::Wire(problem)) if attempt == ATTEMPTS_MAX => return Err(self.error(problem)),
                Err(Broken::Wire(_) | Broken::Disk(_)) => {}
            }
        }
        Ok(None)
    }

    /// Puts an object from the folder; the store checks that it has got these bytes.
    pub(super) async fn store(self, folder: &Folder, object: &Object) -> Result<(), TransferError> {
        let path = folder.object(self.name, &object.key);
        let file = File::open(&path).map_err(failed(&path))?;
        let damaged = |_| TransferError::Damaged(path.clone());
        let sha256 = hex::decode(&object.sha256).map_err(damaged)?;
        let stored: HashMap<String, String> = object.metadata.clone().into_iter().collect();
        let at = DateTime::from_timestamp(object.uploaded_at, 0);
        let stored = match at {
            Some(at) => dated(stored, at),
            None => stored,
        };
        let request = self
            .s3
            .client()
            .put_object()
            .bucket(self.bucket)
            .key(&object.key)
            .content_type(&object.content_type)
            .set_metadata(Some(stored))
            .checksum_sha256(BASE64_STANDARD.encode(sha256))
            .content_length(i64::try_from(object.size).unwrap_or(i64::MAX))
            .body(body(Arc::new(file), object.size));
        match Box::pin(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(ScanError::new(self.bucket, failure_text(&error)).into()),
        }
    }

    async fn get(self, key: &str) -> Result<Option<GetObjectOutput>, ScanError> {
        match Box::pin(self.s3.client().get_object().bucket(self.bucket).key(key).send()).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Ok(None),
            Err(error) => Err(self.error(failure_text(&error))),
        }
    }

    fn error(self, problem: String) -> ScanError {
        ScanError::new(self.bucket, problem)
    }
}

/// What became of an object that was to be copied.
pub(super) enum Fetched {
    Stored(Object),
    Unwanted,
    Gone,
}

enum Broken {
    Wire(String),
    Disk(io::Error),
}

/// Takes a body to its end, and says what it was.
async fn receive(
    key: &str,
    mut found: GetObjectOutput,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Object, Broken> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let wire = |error: aws_sdk_s3::primitives::ByteStreamError| Broken::Wire(error.to_string());
    while let Some(piece) = found.body.try_next().await.map_err(wire)? {
        hash.update(&piece);
        size += piece.len() as u64;
        take(&piece).map_err(Broken::Disk)?;
    }
    if found.content_length.is_some_and(|length| u64::try_from(length) != Ok(size)) {
        return Err(Broken::Wire("an object came short".to_owned()));
    }
    let metadata = found.metadata.take().unwrap_or_default();
    let modified = found.last_modified().map(aws_sdk_s3::primitives::DateTime::secs);
    let uploaded_at = uploaded_at(&metadata).map(|at| at.timestamp()).or(modified).unwrap_or_default();
    Ok(Object {
        key: key.to_owned(),
        size,
        sha256: hex::encode(hash.finalize()),
        content_type: found.content_type.unwrap_or_else(|| UNTYPED.to_owned()),
        metadata: undated(metadata).into_iter().collect(),
        uploaded_at,
    })
}

fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Whether the object's bytes in the folder are what its line says.
pub(super) fn verify(path: &Path, object: &Object) -> Result<(), TransferError> {
    let (sha256, size) = super::folder::digest(path)?;
    if sha256 == object.sha256 && size == object.size {
        Ok(())
    } else {
        Err(TransferError::Damaged(path.to_owned()))
    }
}
