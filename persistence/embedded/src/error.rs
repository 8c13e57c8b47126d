//! What is refused, in DynamoDB's words.

use std::fmt;

use serde_json::{Value as Json, json};

/// Why a request was not done; nothing happened, unless it is [`Refusal::Broken`].
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The request is wrong.
    Invalid(String),
    /// The request is no JSON of this kind.
    Malformed(String),
    /// There is no such call.
    UnknownOperation,
    /// No such table.
    NoTable(String),
    /// There is such a table.
    TableExists(String),
    /// A condition does not hold; what was found, where that was asked for.
    ConditionFailed(Option<Json>),
    /// A transaction's, with a reason for each action.
    Cancelled(Vec<Reason>),
    /// The token stood for another request.
    OtherRequest,
    /// Too much at once.
    Throttled,
    /// The disk fails. Whether it was done is not known.
    Broken,
}

/// What became of one action of a transaction that was cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It would have been done.
    None,
    /// Its condition does not hold; what was found, where that was asked for.
    ConditionFailed(Option<Json>),
    /// Another transaction is in the way: never said here, where writes come one at a time, but by whoever plays DynamoDB.
    Conflict,
    /// It cannot be done to the item that there is.
    Invalid(String),
}

impl Refusal {
    /// The request is wrong.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Broken => 500,
            Self::Invalid(_)
            | Self::Malformed(_)
            | Self::UnknownOperation
            | Self::NoTable(_)
            | Self::TableExists(_)
            | Self::ConditionFailed(_)
            | Self::Cancelled(_)
            | Self::OtherRequest
            | Self::Throttled => 400,
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> Json {
        let (name, text) = match self {
            Self::Invalid(text) => ("com.amazon.coral.validate#ValidationException", text.as_str()),
            Self::Malformed(text) => ("com.amazon.coral.service#SerializationException", text.as_str()),
            Self::UnknownOperation => ("com.amazon.coral.service#UnknownOperationException", ""),
            Self::NoTable(text) => ("ResourceNotFoundException", text.as_str()),
            Self::TableExists(text) => ("ResourceInUseException", text.as_str()),
            Self::ConditionFailed(_) => ("ConditionalCheckFailedException", "The conditional request failed"),
            Self::Cancelled(reasons) => return cancelled(reasons),
            Self::OtherRequest => (
                "IdempotentParameterMismatchException",
                "The client request token was used before, with other parameters",
            ),
            Self::Throttled => (
                "ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded",
            ),
            Self::Broken => ("InternalServerError", "The store cannot read or write its files"),
        };
        let mut body = json!({"__type": qualified(name), "message": text});
        if let Self::ConditionFailed(Some(item)) = self {
            body["Item"] = item.clone();
        }
        body
    }
}

fn qualified(name: &str) -> String {
    if name.contains('#') { name.to_owned() } else { format!("com.amazonaws.dynamodb.v20120810#{name}") }
}

fn cancelled(reasons: &[Reason]) -> Json {
    let codes: Vec<&str> = reasons.iter().map(Reason::code).collect();
    let text = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    json!({
        "__type": qualified("TransactionCanceledException"),
        "Message": text,
        "CancellationReasons": reasons.iter().map(Reason::body).collect::<Vec<Json>>(),
    })
}

impl Reason {
    const fn code(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::ConditionFailed(_) => "ConditionalCheckFailed",
            Self::Conflict => "TransactionConflict",
            Self::Invalid(_) => "ValidationError",
        }
    }

    fn body(&self) -> Json {
        let mut body = json!({"Code": self.code()});
        match self {
            Self::None => {}
            Self::Conflict => body["Message"] = json!("Transaction is ongoing for the item"),
            Self::Invalid(text) => body["Message"] = json!(text),
            Self::ConditionFailed(found) => {
                body["Message"] = json!("The conditional request failed");
                if let Some(item) = found {
                    body["Item"] = item.clone();
                }
            }
        }
        body
    }
}

/// What marks a refusal of ours in the text of a parser's error.
const MARK: char = '\u{1}';

/// So that a refusal gets through a parser that knows only its own errors.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(f, "{MARK}{text}{MARK}"),
            other => write!(f, "{}", other.body()["message"].as_str().unwrap_or_default()),
        }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        match text.split(MARK).nth(1) {
            Some(ours) => Self::Invalid(ours.to_owned()),
            None => Self::Malformed(text),
        }
    }
}
