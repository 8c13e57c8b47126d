//! The calls of the protocol, from their bytes to their answers'. What is not known, a call or a field, is refused.

mod action;
mod get;
mod list;
mod tables;
mod transact;
mod write;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::database::Inner;
use crate::error::Refusal;
use crate::expression::Given;
use crate::value::{Borrowed, Item, Names};

/// Answers one request.
pub(crate) async fn answer(inner: &Inner, operation: &str, body: &[u8]) -> Result<Bytes, Refusal> {
    match operation {
        "TransactWriteItems" => transact::write(inner, body)?.answer().await,
        "PutItem" => write::put(inner, body)?.answer().await,
        "UpdateItem" => write::update(inner, body)?.answer().await,
        "DeleteItem" => write::delete(inner, body)?.answer().await,
        "GetItem" => get::one(inner, body),
        "BatchGetItem" => get::batch(inner, body),
        "TransactGetItems" => get::transaction(inner, body),
        "Query" => list::query(inner, body),
        "Scan" => list::scan(inner, body),
        "CreateTable" => tables::create(inner, body)?.answer().await,
        "DeleteTable" => tables::delete(inner, body).await,
        "DescribeTable" => tables::describe(inner, body).await,
        "ListTables" => tables::list(inner, body).await,
        "UpdateTimeToLive" => tables::set_expiry(inner, body).await,
        "DescribeTimeToLive" => tables::describe_expiry(inner, body).await,
        _ => Err(Refusal::UnknownOperation),
    }
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    // Looked through once as a whole, it need not be text by text. What is no UTF-8 is refused where it is none.
    Ok(match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text)?,
        Err(_) => serde_json::from_slice(body)?,
    })
}

fn rendered(json: &Json) -> Bytes {
    json.to_string().into()
}

/// What requests ask for that this server has no measure of; only that they do not want it is understood.
#[derive(Default, Deserialize)]
enum Unmeasured {
    #[default]
    #[serde(rename = "NONE")]
    None,
}

/// `{}`.
const NOTHING: Bytes = Bytes::from_static(b"{}");

fn given<'r, 'a>(names: &'r Option<Names<'a>>, values: &'r Option<Item<'a>>) -> Given<'r, 'a> {
    Given { names: names.as_ref(), values: values.as_ref() }
}

fn text<'r>(text: &'r Option<Borrowed<'_>>) -> Option<&'r str> {
    text.as_ref().map(|text| &*text.0)
}
