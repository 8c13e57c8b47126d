//! What the errors of the parts below become.

use engine::EngineError;
use engine::store::LoadError;
use persistence::{AccountsError, FilesError, UploadError};

use super::{ApiError, FileRefusal};
use crate::auth::TooMany;
use crate::limits::TooManyRequests;
use crate::services::AssistantError;

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Rejected(rejection) => Self::Rejected(rejection),
            EngineError::Busy => Self::Busy,
            EngineError::NotHere | EngineError::Unavailable => Self::Unavailable,
            EngineError::OutcomeUnknown => Self::OutcomeUnknown,
        }
    }
}

impl From<AssistantError> for ApiError {
    fn from(error: AssistantError) -> Self {
        Self::Assistant(error)
    }
}

impl From<TooMany> for ApiError {
    fn from(TooMany { retry_after }: TooMany) -> Self {
        Self::TooManyAttempts { retry_after }
    }
}

impl From<TooManyRequests> for ApiError {
    fn from(TooManyRequests { retry_after }: TooManyRequests) -> Self {
        Self::TooManyRequests { retry_after }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(_) => Self::Unavailable,
            LoadError::Refused(_) => Self::internal(error),
        }
    }
}

impl From<AccountsError> for ApiError {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Unavailable(_) => Self::Unavailable,
            AccountsError::Refused(_) => Self::internal(error),
        }
    }
}

impl From<FilesError> for ApiError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Unavailable(_) => Self::Unavailable,
            FilesError::Unknown(_) => Self::OutcomeUnknown,
            FilesError::Refused(_) => Self::internal(error),
            FilesError::UnfitOwner => {
                Self::invalid("Files cannot be kept for an e-mail address with a '/' in it")
            }
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NameTaken => Self::File(FileRefusal::Exists),
            UploadError::LockerFull => Self::File(FileRefusal::LockerFull),
            UploadError::NameTooLong => Self::File(FileRefusal::NameTooLong),
            UploadError::MetadataTooLarge => Self::File(FileRefusal::MetadataTooLarge),
            UploadError::Store(error) => error.into(),
        }
    }
}
