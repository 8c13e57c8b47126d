//! The embedded DynamoDB without a socket: the SDK's requests, with their heads but not signed, go to the database as they are, and
//! are answered by the task that asks. Transactions go there without the SDK (`dynamo/transaction.rs`), which then reads the answer.

use std::sync::{Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use embedded::{Answer, Database};
use http_body_util::BodyExt;

use super::dynamo_http::{JSON, TARGET_HEADER, operation};

/// The way to a database in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProcess(Database);

impl OwnProcess {
    pub(super) const fn new(database: Database) -> Self {
        Self(database)
    }

    /// What requests are addressed to; nobody looks it up.
    pub(crate) const ADDRESS: &str = "http://dynamodb.invalid";

    /// The SDK's way.
    pub(crate) fn client(self) -> SharedHttpClient {
        client(self)
    }

    /// The same, where the first request has its answer already.
    pub(crate) fn client_with(self, answer: Answer) -> SharedHttpClient {
        client(Answered { own: self, first: Mutex::new(Some(answer)) })
    }

    /// Asks without the SDK: `operation` is what the header would name.
    pub(crate) async fn ask(&self, operation: &str, body: Bytes) -> Answer {
        self.0.call(operation, body).await
    }
}

/// A way to a database that has been asked already.
#[derive(Debug)]
struct Answered {
    own: OwnProcess,
    first: Mutex<Option<Answer>>,
}

fn client(connector: impl HttpConnector + 'static) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}

impl HttpConnector for OwnProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let database = self.0.clone();
        HttpConnectorFuture::new(async move { response(answer(&database, request).await?) })
    }
}

impl HttpConnector for Answered {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(answer) => HttpConnectorFuture::ready(response(answer)),
            None => self.own.call(request),
        }
    }
}

async fn answer(database: &Database, mut request: HttpRequest) -> Result<Answer, ConnectorError> {
    let body = request.take_body().collect().await.map_err(ConnectorError::user)?;
    match operation(request.headers().get(TARGET_HEADER)) {
        // One piece, which is not copied.
        Ok(operation) => Ok(database.call(operation, body.to_bytes()).await),
        Err(refusal) => Ok(refusal),
    }
}

fn response(Answer { status, body }: Answer) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", JSON);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};

    #[tokio::test]
    async fn whoever_was_answered_already_is_asked_by_a_second_attempt() {
        let server = EmbeddedDynamo::start(Where::Memory).unwrap();
        let own = server.own_process();
        let dynamo = Dynamo::connect(Endpoint::Own(own.clone()), TableNames::default()).await.unwrap();
        dynamo.create_missing_tables().await.unwrap();
        let failed = Answer { status: 500, body: Bytes::from_static(b"{}") };
        let config = aws_sdk_dynamodb::config::Builder::new().http_client(own.client_with(failed));
        let listed = dynamo.client().list_tables().customize().config_override(config).send().await.unwrap();
        assert!(!listed.table_names().is_empty());
        server.stop();
    }
}
