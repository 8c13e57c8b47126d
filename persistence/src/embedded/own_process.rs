//! The embedded DynamoDB without a socket: the SDK's requests, with their heads but not signed, go to the database as they are, and
//! are answered by the task that asks.

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
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
        let connector = SharedHttpConnector::new(self);
        http_client_fn(move |_, _| connector.clone())
    }
}

impl HttpConnector for OwnProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let database = self.0.clone();
        HttpConnectorFuture::new(async move {
            let Answer { status, body } = answer(&database, request).await?;
            let status =
                StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            response.headers_mut().insert("content-type", JSON);
            Ok(response)
        })
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
