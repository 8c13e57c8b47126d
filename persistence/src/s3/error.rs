//! What a failed request to S3 means. Texts carry the store's error code and status, never its message: messages quote
//! keys, and keys are addresses and file names.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use engine::store::LoadError;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// It did not answer, or not yet; the same may work later.
    #[error("the file store is not available: {0}")]
    Unavailable(String),
    /// It refuses; the same will fail again.
    #[error("the file store refuses: {0}")]
    Refused(String),
    /// It was to change what is visible, and did not say whether it has.
    #[error("the file store may have done it: {0}")]
    Unknown(String),
    /// The owner's address holds a `/`: files kept under it would lie among another owner's.
    #[error("no files are kept under an address with a slash")]
    UnfitOwner,
}

/// Why an upload was not stored, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The owner has a file of this name, or two in the call share one.
    #[error("a file with the same name exists")]
    NameTaken,
    /// The owner would have more files than are kept for one.
    #[error("the locker is full")]
    LockerFull,
    /// The store cannot keep a name this long.
    #[error("a name is too long for the file store")]
    NameTooLong,
    /// The metadata of a file is more than S3 keeps.
    #[error("the metadata of a file is too large for the file store")]
    MetadataTooLarge,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] FilesError),
}

impl FilesError {
    /// What a failure means of the request that makes a change visible: it may have arrived, and only its answer is lost.
    pub(super) fn of_last_step(self) -> Self {
        match self {
            Self::Unavailable(text) => Self::Unknown(text),
            Self::Unknown(_) | Self::Refused(_) | Self::UnfitOwner => self,
        }
    }
}

/// The journal failed, which is kept in DynamoDB.
impl From<LoadError> for FilesError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(text) => Self::Unavailable(text),
            LoadError::Refused(text) => Self::Refused(text),
        }
    }
}

/// Shorthand: `.map_err(files_error)`.
pub(super) fn files_error<E>(error: SdkError<E, HttpResponse>) -> FilesError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let text = failure_text(&error);
    match status(&error) {
        Some(500.. | 429 | 409 | 408) | None => FilesError::Unavailable(text),
        Some(_) if is_for_now(error.code()) => FilesError::Unavailable(text),
        Some(_) => FilesError::Refused(text),
    }
}

/// What is wrong, in a text that quotes no key.
pub(crate) fn failure_text<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => "the request could not be built".to_owned(),
        SdkError::TimeoutError(_) => "timed out".to_owned(),
        SdkError::DispatchFailure(_) => "the request could not be sent".to_owned(),
        SdkError::ResponseError(_) | SdkError::ServiceError(_) => {
            let status = status(error).unwrap_or_default();
            format!("{}, status {status}", error.code().unwrap_or("no code"))
        }
        // `SdkError` is non-exhaustive.
        _ => "an unknown kind of failure".to_owned(),
    }
}

/// The status that came back; `None` where nothing came that can be read.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    match error {
        SdkError::ServiceError(answer) => Some(answer.raw().status().as_u16()),
        SdkError::ConstructionFailure(_) => Some(400),
        _ => None,
    }
}

/// Codes of status 400 that ask for patience (API reference, "Error responses").
fn is_for_now(code: Option<&str>) -> bool {
    matches!(code, Some("RequestTimeout" | "SlowDown" | "ThrottlingException" | "RequestTimeTooSkewed"))
}
