//! What is sent, seen by a transport that keeps it, beside what the SDK itself would send.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::dynamo::{Dynamo, keys};
use crate::tables::TableNames;
use crate::{EmbeddedDynamo, Endpoint, Where};

/// A transport that keeps what is sent and answers as it was told, and with success after that.
#[derive(Debug, Clone, Default)]
struct Wire {
    sent: Arc<Mutex<Vec<Value>>>,
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap();
        let headers = request.headers();
        assert_eq!(headers.get("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(headers.get("x-amz-target"), Some("DynamoDB_20120810.TransactWriteItems"));
        assert!(headers.get("authorization").unwrap().starts_with("AWS4-HMAC-SHA256"));
        self.sent.lock().unwrap().push(serde_json::from_slice(body).unwrap());
        let status = self.statuses.lock().unwrap().pop().unwrap_or(200);
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from("{}"))))
    }
}

/// Tables that are nowhere, and what is sent to them.
pub(in crate::dynamo) struct Nowhere {
    pub(in crate::dynamo) dynamo: Dynamo,
    wire: Wire,
}

impl Nowhere {
    pub(in crate::dynamo) fn new() -> Self {
        let wire = Wire::default();
        let connector = SharedHttpConnector::new(wire.clone());
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .endpoint_url("http://dynamodb.invalid")
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "made up"))
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)));
        let client = Client::from_conf(config.build());
        let tables = Arc::new(TableNames::default());
        Self { dynamo: Dynamo { patient: client.clone(), strict: client, own: None, tables }, wire }
    }

    /// What was sent since the last look.
    pub(in crate::dynamo) fn sent(&self) -> Vec<Value> {
        std::mem::take(&mut *self.wire.sent.lock().unwrap())
    }

    /// What the SDK sends for these actions.
    pub(in crate::dynamo) async fn sdk_sends(&self, actions: Vec<TransactWriteItem>, token: &str) -> Value {
        let request = self.dynamo.patient.transact_write_items().client_request_token(token);
        request.set_transact_items(Some(actions)).send().await.unwrap();
        self.sent().remove(0)
    }
}

#[tokio::test]
async fn every_attempt_sends_the_same() {
    let nowhere = Nowhere::new();
    nowhere.wire.statuses.lock().unwrap().extend([500, 503]);
    let mut transaction = Transaction::new(0);
    transaction.put("Table", |put| put.item(|row| row.text("PK", "key")));
    transaction.send(&nowhere.dynamo.patient, None, RequestToken::new(7)).await.unwrap();
    let expected = json!({
        "TransactItems": [{"Put": {"TableName": "Table", "Item": {"PK": {"S": "key"}}}}],
        "ClientRequestToken": "00000000000000000000000000000007"
    });
    assert_eq!(nowhere.sent(), [expected.clone(), expected.clone(), expected]);
}

/// A put of one row where there is none.
fn first(key: &str) -> Transaction {
    let mut transaction = Transaction::new(1);
    transaction.put(&TableNames::default().engine, |put| {
        put.item(|row| row.text(keys::PK, key));
        put.condition(keys::IS_ABSENT);
        put.returns_what_is_there();
    });
    transaction
}

#[tokio::test]
async fn within_the_process_a_transaction_means_what_it_means_over_a_socket() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let over_socket = Dynamo::connect(server.endpoint(), TableNames::default()).await.unwrap();
    over_socket.create_missing_tables().await.unwrap();
    let own = server.own_process();
    let within = Dynamo::connect(Endpoint::Own(own.clone()), TableNames::default()).await.unwrap();

    // The database is asked, and not where the client leads.
    let nowhere = Nowhere::new();
    first("1").send(&nowhere.dynamo.strict, Some(&own), RequestToken::new(1)).await.unwrap();
    assert_eq!(nowhere.sent(), Vec::<Value>::new());
    first("1").send(&over_socket.strict, None, RequestToken::new(1)).await.unwrap();

    // A refusal is told by the SDK, which asks nobody either.
    let refused = async |client: &Client, own: Option<&OwnProcess>| {
        let refused = first("1").send(client, own, RequestToken::new(2)).await.unwrap_err();
        match refused.into_service_error() {
            TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                cancelled.cancellation_reasons
            }
            error => panic!("{error:?}"),
        }
    };
    let told = refused(&nowhere.dynamo.strict, Some(&own)).await;
    assert_eq!(nowhere.sent(), Vec::<Value>::new());
    assert_eq!(told, refused(&over_socket.strict, None).await);
    assert_eq!(told, refused(&within.patient, within.own.as_ref()).await);
    assert!(told.unwrap()[0].item.is_some());
    server.stop();
}

#[test]
fn whatever_text_is_a_json_string() {
    // Each that must be escaped also by itself: another would have the whole text escaped.
    let alone = ["\"", "\\", "\u{1f}", "\u{0}", "\n"];
    let mixed = ["", "\\\"", "a\u{0}\u{1f}\n\t", "अनु@उदाहरण.भारत", "\u{2028}\u{feff}🩺", "</script>"];
    for text in alone.into_iter().chain(mixed) {
        let mut transaction = Transaction::new(1);
        transaction.delete(text, |delete| {
            delete.key(|key| {
                key.text(keys::PK, text);
                key.number(text, 1);
            });
            delete.condition(text);
        });
        let body = transaction.body(RequestToken::new(1));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let delete = json!({
            "TableName": text, "Key": {"PK": {"S": text}, text: {"N": "1"}}, "ConditionExpression": text
        });
        assert_eq!(body["TransactItems"], json!([{"Delete": delete}]));
    }
}
