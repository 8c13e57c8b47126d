//! S3: patients' files and doctors' documents. [`connect`] is the way in, [`buckets`] makes what is missing,
//! [`locker`] and [`documents`] are what `web` calls, [`file_name`] says what a file may be called, [`error`] what a
//! failure means.

mod buckets;
mod connect;
mod documents;
mod error;
mod file_name;
mod link;
mod locker;

use std::sync::Arc;

use aws_sdk_s3::Client;

pub use buckets::{BucketNames, BucketsError};
pub(crate) use documents::url_prefix;
pub use documents::{DocumentError, DocumentKind, Documents};
pub(crate) use error::failure_text;
pub use error::{FilesError, UploadError};
pub use file_name::{FileName, InvalidFileName, nfc};
pub(crate) use link::TAG_PARAMETER;
#[cfg(any(test, fuzzing))]
pub(crate) use locker::fuzz;
pub use locker::{Locker, NewFile, StoredFile};
pub(crate) use locker::{body, decoded, metadata, upload_of};

use crate::dynamo::Dynamo;

/// The way to S3; clones share its connections.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    /// Signs URLs under the address that browsers know; sends nothing.
    presigner: Client,
    buckets: Arc<BucketNames>,
    /// Whether it is AWS's own.
    is_aws: bool,
}

impl S3 {
    /// Patients' files; `dynamo` keeps the journal of uploads under way.
    pub fn locker(&self, dynamo: &Dynamo) -> Locker {
        Locker::new(self.clone(), dynamo)
    }

    /// Doctors' documents.
    pub fn documents(&self) -> Documents {
        Documents::new(self.clone())
    }

    /// What the buckets are called.
    pub fn buckets(&self) -> &BucketNames {
        &self.buckets
    }

    /// The SDK's own client, for tests that put objects as somebody else would.
    pub const fn client(&self) -> &Client {
        &self.client
    }
}
