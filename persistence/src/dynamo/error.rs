//! What a failed request means: did anything happen, and may it be asked again? One exhaustive
//! classification, from which each kind of request makes its own error.
//!
//! Texts carry the store's error code, and its message only where that cannot quote an item: messages of
//! validation repeat what was sent, and keys are e-mail addresses.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use engine::store::{BeatError, ClaimError, CommitError, LoadError};
use hyper_util::client::legacy::Error as ClientError;

/// Why a request was not answered with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was never sent: no connection, no credentials.
    Unreachable(String),
    /// Throttled or in conflict; nothing happened.
    NotNow(String),
    /// No such table, or no right to it; nothing happened.
    Denied(String),
    /// The request itself is wrong; nothing happened.
    Malformed(String),
    /// Time ran out, the connection broke, the store failed: it may have happened.
    Unknown(String),
}

impl Failure {
    /// Classifies whatever the SDK reports.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ConstructionFailure(_) => Self::Malformed("the request could not be built".to_owned()),
            SdkError::TimeoutError(_) => Self::Unknown("timed out".to_owned()),
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                Some(connector) if never_sent(connector) => Self::Unreachable(chain(connector)),
                Some(connector) => Self::Unknown(chain(connector)),
                None => Self::Unknown("the request could not be sent".to_owned()),
            },
            SdkError::ResponseError(answer) => {
                Self::Unknown(format!("an answer that cannot be read, status {}", answer.raw().status()))
            }
            SdkError::ServiceError(answer) => {
                Self::answered(answer.raw().status().as_u16(), answer.err().code(), answer.err().message())
            }
            // `SdkError` is non-exhaustive: what is not known yet may have happened.
            _ => Self::Unknown("an unknown kind of failure".to_owned()),
        }
    }

    /// Classifies an answer by its status and error code (DynamoDB developer guide, "Error handling with
    /// DynamoDB", and the API reference's "Common errors").
    fn answered(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let code = code.unwrap_or("no code");
        let text = format!("{code}, status {status}");
        if status >= 500 {
            return Self::Unknown(text);
        }
        match code {
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "TransactionConflictException"
            | "ReplicatedWriteConflictException" => Self::NotNow(text),
            "ResourceNotFoundException"
            | "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "NotAuthorized"
            | "OptInRequired" => Self::Denied(format!("{text}: {}", message.unwrap_or("no message"))),
            "ValidationException"
            | "SerializationException"
            | "UnknownOperationException"
            | "ItemCollectionSizeLimitExceededException" => Self::Malformed(text),
            // `TransactionInProgressException` and `IdempotentParameterMismatchException` among them: something with
            // this token is, or was, under way.
            _ => Self::Unknown(text),
        }
    }

    /// What it means for a read.
    pub(super) fn into_load_error(self) -> LoadError {
        match self {
            Self::Unreachable(text) | Self::NotNow(text) | Self::Unknown(text) => {
                LoadError::Unavailable(text)
            }
            Self::Denied(text) | Self::Malformed(text) => LoadError::Refused(text),
        }
    }

    /// What it means for a batch.
    pub(super) fn into_commit_error(self) -> CommitError {
        match self {
            Self::Unreachable(text) | Self::NotNow(text) | Self::Denied(text) => CommitError::Aborted(text),
            Self::Malformed(text) => CommitError::Malformed(text),
            Self::Unknown(text) => CommitError::Unknown(text),
        }
    }

    /// As the engine's error for heartbeats, which tells no certainties apart: the next one tells.
    pub(super) fn into_beat_error(self) -> BeatError {
        match self {
            Self::Unreachable(text)
            | Self::NotNow(text)
            | Self::Denied(text)
            | Self::Malformed(text)
            | Self::Unknown(text) => BeatError::Unknown(text),
        }
    }

    /// What it means for a claim.
    pub(super) fn into_claim_error(self) -> ClaimError {
        match self {
            Self::Unreachable(text) | Self::NotNow(text) | Self::Denied(text) | Self::Malformed(text) => {
                ClaimError::Aborted(text)
            }
            Self::Unknown(text) => ClaimError::Unknown(text),
        }
    }
}

/// What is wrong, in a text that quotes no item.
pub(crate) fn request_failure<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match Failure::of(error) {
        Failure::Unreachable(text)
        | Failure::NotNow(text)
        | Failure::Denied(text)
        | Failure::Malformed(text)
        | Failure::Unknown(text) => text,
    }
}

/// Shorthand for reads: `.map_err(load_error)`.
pub(super) fn load_error<E>(error: SdkError<E, HttpResponse>) -> LoadError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    Failure::of(&error).into_load_error()
}

/// Whether not a byte of the request can have left: no connection could be made (refused, unresolved, timed
/// out, its TLS handshake failed), or there were no credentials to sign it with.
fn never_sent(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|source| {
        source.downcast_ref::<ClientError>().is_some_and(ClientError::is_connect)
            || source.is::<CredentialsError>()
    })
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The error and what caused it, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        Failure::answered(status, Some(code), Some("ada@x.com"))
    }

    #[test]
    fn an_answer_means_what_its_code_says() {
        for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
        {
            assert!(matches!(answered(400, code).into_commit_error(), CommitError::Aborted(_)), "{code}");
        }
        for code in ["ResourceNotFoundException", "AccessDeniedException", "UnrecognizedClientException"] {
            assert!(matches!(answered(400, code).into_commit_error(), CommitError::Aborted(_)), "{code}");
            assert!(matches!(answered(400, code).into_load_error(), LoadError::Refused(_)), "{code}");
        }
        for code in ["ValidationException", "SerializationException"] {
            assert!(matches!(answered(400, code).into_commit_error(), CommitError::Malformed(_)), "{code}");
        }
        for code in ["TransactionInProgressException", "IdempotentParameterMismatchException", "Unheard-of"] {
            assert!(matches!(answered(400, code).into_commit_error(), CommitError::Unknown(_)), "{code}");
        }
        assert!(matches!(
            answered(400, "TransactionConflictException").into_claim_error(),
            ClaimError::Aborted(_)
        ));
    }

    #[test]
    fn a_failing_server_leaves_the_outcome_unknown_whatever_it_calls_it() {
        for code in
            ["InternalServerError", "ServiceUnavailable", "ThrottlingException", "ValidationException"]
        {
            assert!(matches!(answered(500, code).into_commit_error(), CommitError::Unknown(_)), "{code}");
            assert!(matches!(answered(503, code).into_claim_error(), ClaimError::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn no_text_quotes_what_may_hold_an_address() {
        for code in ["ValidationException", "ThrottlingException", "Unheard-of"] {
            let text = format!("{:?}", answered(400, code));
            assert!(!text.contains("ada@x.com"), "{text}");
        }
    }
}
