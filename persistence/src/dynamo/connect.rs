//! How DynamoDB is reached. The HTTP client is built here, with ring for TLS and plain HTTP where the address
//! says so.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, Config, Credentials, Region, SharedCredentialsProvider, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use engine::limits::{COMMIT_ATTEMPT_TIMEOUT, STORE_SILENT_MAX};

use super::Dynamo;
use crate::tables::TableNames;

/// The longest that making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that one attempt to read may take.
const READ_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts to read before the caller is told.
const READ_ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt to read; the SDK doubles and jitters it.
const READ_BACKOFF: Duration = Duration::from_millis(50);
/// What an emulator is told where the environment names no region.
const EMULATED_REGION: &str = "us-east-1";

const _: () = assert!(CONNECT_TIMEOUT.as_millis() < COMMIT_ATTEMPT_TIMEOUT.as_millis());
const _: () = assert!(READ_ATTEMPT_TIMEOUT.as_millis() < STORE_SILENT_MAX.as_millis());

/// Where DynamoDB is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At this address: the embedded server, an emulator, a private gateway. Region and credentials are those
    /// of the `AWS_*` environment variables, or made up where it has none.
    At(String),
    /// In AWS, as the SDK's own configuration says: region, credentials chain, `AWS_ENDPOINT_URL_DYNAMODB`.
    Aws,
}

/// Why DynamoDB cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("the DynamoDB endpoint {0:?} is no http:// or https:// address")]
    NotAnAddress(String),
    /// AWS is meant, but no region is named.
    #[error("no AWS region is configured")]
    NoRegion,
    /// The environment names credentials that cannot be used.
    #[error("the AWS credentials in the environment cannot be used")]
    Credentials(#[source] CredentialsError),
}

impl Dynamo {
    /// Prepares clients for `endpoint`; the first request connects. Fails when the configuration makes no
    /// sense.
    pub async fn connect(endpoint: Endpoint, tables: TableNames) -> Result<Self, ConnectError> {
        let config = match endpoint {
            Endpoint::At(address) => at(address).await?,
            Endpoint::Aws => aws().await?,
        }
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let patient = config.clone().retry_config(retries()).timeout_config(read_timeouts());
        let strict = config.retry_config(RetryConfig::disabled()).timeout_config(commit_timeouts());
        Ok(Self {
            patient: Client::from_conf(patient.build()),
            strict: Client::from_conf(strict.build()),
            tables: Arc::new(tables),
        })
    }
}

async fn at(address: String) -> Result<Builder, ConnectError> {
    let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let names_a_host =
        |rest: &str| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace);
    if !host.is_some_and(names_a_host) {
        return Err(ConnectError::NotAnAddress(address));
    }
    let region = EnvironmentVariableRegionProvider::new().region().await;
    let environment = EnvironmentVariableCredentialsProvider::new();
    let credentials = match environment.provide_credentials().await {
        Ok(_) => SharedCredentialsProvider::new(environment),
        Err(CredentialsError::CredentialsNotLoaded(_)) => {
            SharedCredentialsProvider::new(Credentials::new("kokoro", "kokoro", None, None, "made up"))
        }
        Err(error) => return Err(ConnectError::Credentials(error)),
    };
    Ok(Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http_client())
        .endpoint_url(address)
        .region(region.unwrap_or_else(|| Region::from_static(EMULATED_REGION)))
        .credentials_provider(credentials))
}

async fn aws() -> Result<Builder, ConnectError> {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client());
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(ConnectError::NoRegion);
    }
    Ok(Builder::from(&config))
}

/// Speaks HTTPS, and plain HTTP to addresses that say so.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
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
