//! How DynamoDB is reached, and how long it may take to answer.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, StalledStreamProtectionConfig};
use engine::limits::{COMMIT_ATTEMPT_TIMEOUT, STORE_SILENT_MAX};

use super::Dynamo;
use crate::aws::{ConnectError, Endpoint, sdk_config};
use crate::tables::TableNames;

/// The longest that making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that one attempt to read may take.
const READ_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts to read before the caller is told.
const READ_ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt to read; the SDK doubles and jitters it.
const READ_BACKOFF: Duration = Duration::from_millis(50);

const _: () = assert!(CONNECT_TIMEOUT.as_millis() < COMMIT_ATTEMPT_TIMEOUT.as_millis());
const _: () = assert!(READ_ATTEMPT_TIMEOUT.as_millis() < STORE_SILENT_MAX.as_millis());

impl Dynamo {
    /// Prepares clients for `endpoint`; the first request connects. Fails when the configuration makes no
    /// sense.
    pub async fn connect(endpoint: Endpoint, tables: TableNames) -> Result<Self, ConnectError> {
        // Everywhere else a request that cannot be signed must fail.
        let own = match &endpoint {
            Endpoint::Own(own) => Some(own.clone()),
            Endpoint::At(_) | Endpoint::With { .. } | Endpoint::Aws => None,
        };
        let mut config = Builder::from(&sdk_config(endpoint).await?)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if own.is_some() {
            config.set_allow_no_auth();
        }
        let patient = config.clone().retry_config(retries()).timeout_config(read_timeouts());
        let strict = config.retry_config(RetryConfig::disabled()).timeout_config(commit_timeouts());
        Ok(Self {
            patient: Client::from_conf(patient.build()),
            strict: Client::from_conf(strict.build()),
            own,
            tables: Arc::new(tables),
        })
    }
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(READ_ATTEMPTS_MAX).with_initial_backoff(READ_BACKOFF)
}

fn read_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(READ_ATTEMPT_TIMEOUT)
        .operation_timeout(STORE_SILENT_MAX)
        .build()
}

fn commit_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(COMMIT_ATTEMPT_TIMEOUT)
        .operation_timeout(COMMIT_ATTEMPT_TIMEOUT)
        .build()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
    use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
    use aws_sdk_dynamodb::error::BoxError;

    use super::*;
    use crate::{EmbeddedDynamo, Where};

    /// Says whether a request is signed, by failing it if it is not as it should be.
    #[derive(Debug)]
    struct Signed(bool);

    impl Intercept for Signed {
        fn name(&self) -> &'static str {
            "Signed"
        }

        fn read_before_transmit(
            &self,
            context: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            let signed = context.request().headers().get("authorization").is_some();
            if signed == self.0 { Ok(()) } else { Err(format!("signed: {signed}").into()) }
        }
    }

    #[tokio::test]
    async fn only_within_the_process_is_nothing_signed() {
        let server = EmbeddedDynamo::start(Where::Memory).unwrap();
        for (endpoint, is_signed) in [(Endpoint::Own(server.own_process()), false), (server.endpoint(), true)]
        {
            let dynamo = Dynamo::connect(endpoint, TableNames::default()).await.unwrap();
            for client in [&dynamo.patient, &dynamo.strict] {
                let request = client.list_tables().customize().interceptor(Signed(is_signed));
                request.send().await.unwrap();
            }
        }
    }
}
