//! What is refused, in DynamoDB's words.

use serde_json::{Value as Json, json};

use crate::value::Item;

/// Why a request was not done; nothing happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// The request is wrong, or is one that this server does not know.
    Invalid(String),
    /// No such table.
    NoTable,
    /// There is such a table.
    TableExists,
    /// A condition does not hold; what was found, where that was asked for.
    ConditionFailed(Option<Item>),
    /// A transaction's, with a reason for each action.
    Cancelled(Vec<Reason>),
    /// The token stood for another request.
    OtherRequest,
    /// Too much at once.
    Throttled,
}

/// What became of one action of a transaction that was cancelled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reason {
    None,
    ConditionFailed(Option<Item>),
    Conflict,
}

impl Refusal {
    /// The request is wrong.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Json {
        let (name, text) = match self {
            Self::Invalid(text) => ("ValidationException", text.as_str()),
            Self::NoTable => ("ResourceNotFoundException", "no such table"),
            Self::TableExists => ("ResourceInUseException", "there is such a table"),
            Self::ConditionFailed(_) => ("ConditionalCheckFailedException", "the condition does not hold"),
            Self::Cancelled(_) => ("TransactionCanceledException", "the transaction was cancelled"),
            Self::OtherRequest => {
                ("IdempotentParameterMismatchException", "the token stood for another request")
            }
            Self::Throttled => ("ProvisionedThroughputExceededException", "too much at once"),
        };
        let mut body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": text});
        match self {
            Self::ConditionFailed(Some(item)) => body["Item"] = json!(item),
            Self::Cancelled(reasons) => {
                body["Message"] = json!(text);
                body["CancellationReasons"] = reasons.iter().map(Reason::body).collect();
            }
            _ => {}
        }
        body
    }
}

impl Reason {
    fn body(&self) -> Json {
        match self {
            Self::None => json!({"Code": "None"}),
            Self::Conflict => json!({"Code": "TransactionConflict", "Message": "another is under way"}),
            Self::ConditionFailed(found) => {
                let mut body =
                    json!({"Code": "ConditionalCheckFailed", "Message": "the condition does not hold"});
                if let Some(item) = found {
                    body["Item"] = json!(item);
                }
                body
            }
        }
    }
}
