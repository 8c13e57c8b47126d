//! Exchanges with the assistant, in `ChatHistory`: one row for each, as the old platform wrote it.

use std::fmt;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use engine::UserId;
use engine::chance::{Chance, SystemChance};
use engine::store::LoadError;
use serde_json::{Value, json};

use super::error::load_error;
use super::items::{Item, number, number_of, report, text, text_of};
use super::{Dynamo, keys};

const USER_MESSAGE: &str = "user_message";
const BOT_MESSAGE: &str = "bot_message";
/// True if the answer was cut short; absent otherwise.
const TRUNCATED: &str = "truncated";
/// Names the attempt that wrote the row, so that a repeat of a put knows its own earlier success.
const EXCHANGE_ID: &str = "exchange_id";

/// The second must not be taken.
const IS_FREE: &str = "attribute_not_exists(email)";
/// All rows of one user; its placeholder is [`keys::PARTITION_VALUE`].
const OF_EMAIL: &str = "email = :partition";

/// Pages of one query, of a megabyte each.
const PAGES_MAX: usize = 8;
/// Seconds that are tried for one exchange before it is given up.
const SECONDS_TRIED_MAX: usize = 64;

/// A question and its answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When it was stored, in seconds since 1970.
    pub timestamp: i64,
    /// What the user wrote.
    pub question: String,
    /// What the assistant answered.
    pub answer: String,
    /// The answer was cut short, maybe before its first word.
    pub truncated: bool,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({}, ..)", self.timestamp)
    }
}

/// The exchanges in `ChatHistory`.
#[derive(Debug, Clone)]
pub struct Chats {
    dynamo: Dynamo,
}

impl Chats {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// A user's last exchanges, the oldest of them first, at most `max` and no more than eight megabytes hold.
    /// Strongly consistent. Rows that cannot be read are reported and left out.
    pub async fn last(&self, user: &UserId, max: usize) -> Result<Vec<Exchange>, LoadError> {
        let table = &self.dynamo.tables.chat_history;
        let query = self.dynamo.patient.query().table_name(table).key_condition_expression(OF_EMAIL);
        let query = query
            .expression_attribute_values(keys::PARTITION_VALUE, text(user.as_str()))
            .consistent_read(true)
            .scan_index_forward(false);
        let mut exchanges = Vec::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let missing = i32::try_from(max - exchanges.len()).unwrap_or(i32::MAX);
            let page = query.clone().limit(missing).set_exclusive_start_key(from).send().await;
            let page = page.map_err(load_error)?;
            exchanges.extend(page.items().iter().filter_map(|item| read_row(table, item)));
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() || exchanges.len() >= max {
                break;
            }
        }
        exchanges.reverse();
        Ok(exchanges)
    }

    /// Stores an exchange under its second, or the next one that is free: none overwrites another. Says which it
    /// was.
    ///
    /// The put is repeated by the SDK after a time-out or a broken connection. That is safe: a repeat that finds the
    /// second taken looks whether it was its own earlier attempt that took it.
    pub async fn store(&self, user: &UserId, exchange: &Exchange) -> Result<i64, LoadError> {
        let exchange_id = format!("{:032x}", SystemChance.bits());
        let mut row = Item::from([
            (keys::EMAIL.to_owned(), text(user.as_str())),
            (USER_MESSAGE.to_owned(), message("user", &exchange.question)),
            (BOT_MESSAGE.to_owned(), message("bot", &exchange.answer)),
            (EXCHANGE_ID.to_owned(), text(&exchange_id)),
        ]);
        if exchange.truncated {
            row.insert(TRUNCATED.to_owned(), AttributeValue::Bool(true));
        }
        for timestamp in (exchange.timestamp..).take(SECONDS_TRIED_MAX) {
            let request = self
                .dynamo
                .patient
                .put_item()
                .table_name(&self.dynamo.tables.chat_history)
                .set_item(Some(row.clone()))
                .item(keys::TIMESTAMP, number(timestamp))
                .condition_expression(IS_FREE)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let error = match request.send().await {
                Ok(_) => return Ok(timestamp),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let ours =
                        failed.item().and_then(|item| text_of(item, EXCHANGE_ID)) == Some(&exchange_id);
                    if ours {
                        return Ok(timestamp);
                    }
                }
                Some(_) | None => return Err(load_error(error)),
            }
        }
        Err(LoadError::Unavailable(format!("{SECONDS_TRIED_MAX} seconds in a row are taken")))
    }
}

/// `{"role":"user","text":"..."}`, as the old platform has it.
pub(super) fn message(role: &str, words: &str) -> AttributeValue {
    text(json!({"role": role, "text": words}).to_string())
}

fn read_row(table: &str, item: &Item) -> Option<Exchange> {
    let timestamp = number_of::<f64>(item, keys::TIMESTAMP);
    let words = [USER_MESSAGE, BOT_MESSAGE].map(|name| item.get(name).and_then(words_of));
    let truncated = item.get(TRUNCATED) == Some(&AttributeValue::Bool(true));
    match (timestamp, words) {
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 are far from the limit")]
        (Some(timestamp), [Some(question), Some(answer)]) => {
            Some(Exchange { timestamp: timestamp.floor() as i64, question, answer, truncated })
        }
        _ => {
            report(table, "an exchange lacks its time, question or answer");
            None
        }
    }
}

/// What was said: the text of a JSON object or of a map, or the attribute itself where it is plain text.
pub(crate) fn words_of(attribute: &AttributeValue) -> Option<String> {
    match attribute {
        AttributeValue::S(stored) => match serde_json::from_str(stored) {
            Ok(Value::Object(message)) => message.get("text")?.as_str().map(str::to_owned),
            Ok(Value::String(words)) => Some(words),
            Ok(_) | Err(_) => Some(stored.clone()),
        },
        AttributeValue::M(message) => text_of(message, "text").map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read_in_every_form_it_may_have() {
        let map = AttributeValue::M(Item::from([("text".to_owned(), text("hi"))]));
        for attribute in [message("user", "hi"), text(r#"{"text":"hi"}"#), text("hi"), text("\"hi\""), map] {
            assert_eq!(words_of(&attribute).as_deref(), Some("hi"));
        }
        assert_eq!(words_of(&text("120")).as_deref(), Some("120"));
        assert_eq!(words_of(&text("{\"role\":\"user\"}")), None);
        assert_eq!(words_of(&AttributeValue::Null(true)), None);
    }

    #[test]
    fn what_is_written_is_what_the_old_platform_writes() {
        assert_eq!(message("bot", "a \"b\"\n"), text(r#"{"role":"bot","text":"a \"b\"\n"}"#));
    }
}
