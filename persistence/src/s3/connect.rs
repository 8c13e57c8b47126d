//! How S3 is reached, how long it may take to answer, and the address that signed URLs carry.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, ResponseChecksumValidation, StalledStreamProtectionConfig};

use super::{BucketNames, S3};
use crate::aws::{ConnectError, Endpoint, is_address, sdk_config};

/// The longest that making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that one attempt may take: ten mebibytes over a poor line.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that an operation may take with all its attempts.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts before the caller is told.
const ATTEMPTS_MAX: u32 = 3;

impl S3 {
    /// Prepares a client for `endpoint`; the first request connects. Signed URLs carry `public_endpoint` instead where
    /// it is given. Fails when the configuration makes no sense.
    pub async fn connect(
        endpoint: Endpoint,
        public_endpoint: Option<String>,
        buckets: BucketNames,
    ) -> Result<Self, ConnectError> {
        let is_aws = endpoint == Endpoint::Aws;
        let config = Builder::from(&Box::pin(sdk_config(endpoint)).await?)
            .force_path_style(!is_aws)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Else a signed URL would demand a header, which a link in a page cannot send.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let presigner = match public_endpoint {
            None => config.clone(),
            Some(address) if is_bare_address(&address) => {
                config.clone().endpoint_url(address).force_path_style(true)
            }
            Some(address) => return Err(ConnectError::NotAnAddress(address)),
        };
        Ok(Self {
            client: Client::from_conf(config.build()),
            presigner: Client::from_conf(presigner.build()),
            buckets: Arc::new(buckets),
            is_aws,
        })
    }
}

/// An address without a path: a proxy that takes one off makes every signature wrong.
fn is_bare_address(text: &str) -> bool {
    let host = text.trim_end_matches('/').split_once("://").map(|(_, host)| host);
    is_address(text) && host.is_some_and(|host| !host.contains(['/', '?', '#']))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}
