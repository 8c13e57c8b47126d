//! A `TransactWriteItems` as it is sent. What the SDK is given are maps of owned texts, one for each action, which it then writes
//! as JSON: most of what a booking cost this program. So its body is written here, from where the texts are to where they are
//! sent. Endpoint, signature, transport, time limits, repeats, and what the answer means stay the SDK's. A database in this process
//! is given the body as it is, and the SDK asked only what its refusal means: while batches are small, what the SDK does for each
//! request is most of what a booking costs.

#[cfg(test)]
pub(super) mod tests;

use std::fmt::Display;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use embedded::write_text;
use engine::RequestToken;
use engine::limits::COMMIT_ATTEMPT_TIMEOUT;
use tokio::time::timeout;

use crate::embedded::OwnProcess;

const OPERATION: &str = "TransactWriteItems";
/// What most actions fit into.
const ACTION_BYTES: usize = 512;

/// A transaction, action after action.
pub(super) struct Transaction {
    body: Vec<u8>,
    actions: usize,
}

/// An action after its table.
pub(super) struct Action<'t>(&'t mut Vec<u8>);

/// A row, a key, or what the placeholders of a condition stand for.
pub(super) struct Attributes<'t> {
    body: &'t mut Vec<u8>,
    is_empty: bool,
}

impl Transaction {
    /// One with room for so many actions, and for more.
    pub(super) fn new(actions: usize) -> Self {
        let mut body = Vec::with_capacity((actions + 1) * ACTION_BYTES);
        body.extend(b"{\"TransactItems\":[");
        Self { body, actions: 0 }
    }

    /// How many actions there are.
    pub(super) const fn actions(&self) -> usize {
        self.actions
    }

    pub(super) fn put(&mut self, table: &str, write: impl FnOnce(&mut Action<'_>)) {
        self.action("Put", table, write);
    }

    pub(super) fn delete(&mut self, table: &str, write: impl FnOnce(&mut Action<'_>)) {
        self.action("Delete", table, write);
    }

    pub(super) fn check(&mut self, table: &str, write: impl FnOnce(&mut Action<'_>)) {
        self.action("ConditionCheck", table, write);
    }

    fn action(&mut self, kind: &str, table: &str, write: impl FnOnce(&mut Action<'_>)) {
        let body = &mut self.body;
        body.extend(if self.actions == 0 { b"{".as_slice() } else { b",{" });
        self.actions += 1;
        write_text(kind, body);
        body.extend(b":{\"TableName\":");
        write_text(table, body);
        write(&mut Action(body));
        body.extend(b"}}");
    }

    /// Sends it through `client`, or to the database in this process if that is where `client` leads.
    pub(super) async fn send(
        self,
        client: &Client,
        own: Option<&OwnProcess>,
        token: RequestToken,
    ) -> Result<(), SdkError<TransactWriteItemsError, HttpResponse>> {
        let body = self.body(token);
        let mut answered = None;
        if let Some(own) = own {
            let asked = own.ask(OPERATION, body.clone());
            let answer = timeout(COMMIT_ATTEMPT_TIMEOUT, asked).await.map_err(SdkError::timeout_error)?;
            if answer.is_success() {
                return Ok(());
            }
            answered = Some(Builder::new().http_client(own.clone().client_with(answer)));
        }
        let request = client.transact_write_items().client_request_token(token.to_string()).customize();
        let request = match answered {
            Some(answered) => request.config_override(answered),
            None => request,
        };
        let length = body.len().to_string();
        // The SDK sees no actions: it looks into them for tables that are named by their ARN, and ours never are. Each attempt
        // begins with the SDK's own body, and is signed after this.
        let request = request.mutate_request(move |request| {
            request.headers_mut().insert("content-length", length.clone());
            *request.body_mut() = SdkBody::from(body.clone());
        });
        request.send().await.map(drop)
    }

    fn body(mut self, token: RequestToken) -> Bytes {
        self.body.extend(b"],\"ClientRequestToken\":");
        write_text(&token.to_string(), &mut self.body);
        self.body.push(b'}');
        self.body.into()
    }
}

impl Action<'_> {
    /// The row of a put.
    pub(super) fn item(&mut self, write: impl FnOnce(&mut Attributes<'_>)) {
        self.attributes("Item", write);
    }

    /// The key of any other action.
    pub(super) fn key(&mut self, write: impl FnOnce(&mut Attributes<'_>)) {
        self.attributes("Key", write);
    }

    /// What must hold.
    pub(super) fn condition(&mut self, expression: &str) {
        self.member("ConditionExpression");
        write_text(expression, self.0);
    }

    /// What the placeholders of the condition stand for.
    pub(super) fn values(&mut self, write: impl FnOnce(&mut Attributes<'_>)) {
        self.attributes("ExpressionAttributeValues", write);
    }

    /// The row that is there comes back when the condition does not hold.
    pub(super) fn returns_what_is_there(&mut self) {
        self.member("ReturnValuesOnConditionCheckFailure");
        write_text("ALL_OLD", self.0);
    }

    fn attributes(&mut self, name: &str, write: impl FnOnce(&mut Attributes<'_>)) {
        self.member(name);
        self.0.push(b'{');
        write(&mut Attributes { body: self.0, is_empty: true });
        self.0.push(b'}');
    }

    fn member(&mut self, name: &str) {
        self.0.push(b',');
        write_text(name, self.0);
        self.0.push(b':');
    }
}

impl Attributes<'_> {
    pub(super) fn text(&mut self, name: &str, value: impl Display) {
        self.attribute(name, "S", |body| write_text(&value.to_string(), body));
    }

    pub(super) fn number(&mut self, name: &str, value: impl Display) {
        self.attribute(name, "N", |body| write_text(&value.to_string(), body));
    }

    pub(super) fn truth(&mut self, name: &str, value: bool) {
        let value = if value { b"true".as_slice() } else { b"false" };
        self.attribute(name, "BOOL", |body| body.extend(value));
    }

    fn attribute(&mut self, name: &str, kind: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.is_empty {
            self.body.push(b',');
        }
        self.is_empty = false;
        write_text(name, self.body);
        self.body.extend(b":{");
        write_text(kind, self.body);
        self.body.push(b':');
        write(self.body);
        self.body.push(b'}');
    }
}
