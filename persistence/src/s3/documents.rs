//! Doctors' documents: `doctors/{email}/{kind}/{filename}` in the documents bucket.
//!
//! A doctor's row holds a document's URL in the old platform's form. There the name is percent-encoded once, and that
//! encoded text is the object's key. So it is here: whoever reads the row, old backend or new, finds the key in the
//! text after the host, as it stands.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{FilesError, files_error};
use super::{S3, link};

/// What the old platform leaves as it is.
const UNENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The first part of every key.
const FOLDER: &str = "doctors";

/// What a document shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// That the doctor is one.
    DegreeCertificate,
    /// Who the doctor is.
    GovtIdProof,
    /// The doctor's face; the one document that anyone may see.
    ProfilePhoto,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::DegreeCertificate, Self::GovtIdProof, Self::ProfilePhoto];

    /// Its part of a key, and the attribute of the doctor's row.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DegreeCertificate => "degreeCertificate",
            Self::GovtIdProof => "govtIdProof",
            Self::ProfilePhoto => "profilePhoto",
        }
    }
}

/// Why a document was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The store cannot keep a name this long.
    #[error("the name is too long for the file store")]
    NameTooLong,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] FilesError),
}

/// Doctors' documents.
#[derive(Debug, Clone)]
pub struct Documents {
    s3: S3,
}

impl Documents {
    pub(super) const fn new(s3: S3) -> Self {
        Self { s3 }
    }

    /// The URL that the doctor's row keeps for a document of this name. It names the object; it lets nobody fetch it.
    pub fn url(&self, doctor: &str, kind: DocumentKind, filename: &str) -> String {
        format!("{}{}", self.url_prefix(), key(doctor, kind, filename))
    }

    /// Stores a document, in the place of an earlier one of that name, and returns its [`Self::url`].
    pub async fn put(
        &self,
        doctor: &str,
        kind: DocumentKind,
        filename: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<String, DocumentError> {
        if doctor.is_empty() || doctor.contains('/') {
            return Err(FilesError::UnfitOwner.into());
        }
        let request = self
            .s3
            .client
            .put_object()
            .bucket(&self.s3.buckets.documents)
            .key(key(doctor, kind, filename))
            .content_type(content_type)
            .body(ByteStream::from(bytes));
        match Box::pin(request.send()).await {
            Ok(_) => Ok(self.url(doctor, kind, filename)),
            Err(error) if error.code() == Some("KeyTooLongError") => Err(DocumentError::NameTooLong),
            Err(error) => Err(files_error(error).into()),
        }
    }

    /// Deletes a doctor's document, from the URL that the row kept for it. What is not ours or not this doctor's is left.
    pub async fn delete(&self, doctor: &str, kind: DocumentKind, stored: &str) -> Result<(), FilesError> {
        let folder = key(doctor, kind, "");
        let key = stored.strip_prefix(&self.url_prefix());
        let is_own = |key: &&str| key.len() > folder.len() && key.starts_with(&folder);
        let Some(key) = key.filter(is_own) else { return Ok(()) };
        let request = self.s3.client.delete_object().bucket(&self.s3.buckets.documents).key(key);
        Box::pin(request.send()).await.map(drop).map_err(files_error)
    }

    /// A URL under which anyone can fetch a profile photo for an hour, from the one in the doctor's row. `None` when
    /// that is not one of ours, or not a photo's. Asks nobody, so the URL opens whatever photo is there: anyone may see each.
    pub async fn photo_url(&self, stored: &str, now: DateTime<Utc>) -> Option<String> {
        let key = stored.strip_prefix(&self.url_prefix())?;
        let mut parts = key.splitn(4, '/');
        let is_photo = parts.next() == Some(FOLDER)
            && parts.next().is_some_and(|doctor| !doctor.is_empty())
            && parts.next() == Some(DocumentKind::ProfilePhoto.name())
            && parts.next().is_some_and(|name| !name.is_empty());
        if !is_photo {
            return None;
        }
        let download = self.s3.presigner.get_object().bucket(&self.s3.buckets.documents).key(key);
        match link::sign(download, None, now).await {
            Ok(url) => Some(url),
            Err(error) => {
                tracing::warn!(%error, "a profile photo's URL cannot be signed");
                None
            }
        }
    }

    /// What a stored URL begins with.
    fn url_prefix(&self) -> String {
        url_prefix(&self.s3.buckets.documents)
    }
}

/// What a stored URL of a document in this bucket begins with.
pub(crate) fn url_prefix(bucket: &str) -> String {
    format!("https://{bucket}.s3.amazonaws.com/")
}

fn key(doctor: &str, kind: DocumentKind, filename: &str) -> String {
    let name = match filename {
        // A browser would take these for a step in the path.
        "." | ".." => filename.replace('.', "%2E"),
        _ => utf8_percent_encode(filename, UNENCODED).to_string(),
    };
    format!("{FOLDER}/{doctor}/{}/{name}", kind.name())
}
