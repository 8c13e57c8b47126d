//! How AWS's services, and those that speak like them, are reached: address, region, credentials, and an HTTP client
//! with ring for TLS and plain HTTP where the address says so.

use std::fmt;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::embedded::OwnProcess;

/// What an emulator is told where the environment names no region.
const EMULATED_REGION: &str = "us-east-1";

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At this address: an emulator, a private gateway. Region and credentials are those of the `AWS_*` environment
    /// variables, or made up where it has none.
    At(String),
    /// At this address, with these keys: an embedded server that checks them.
    With {
        /// The address.
        address: String,
        /// The keys that it was started with.
        keys: AccessKeys,
    },
    /// In this process: the embedded DynamoDB, without a socket, and without a signature that nobody would look at.
    Own(OwnProcess),
    /// In AWS, as the SDK's own configuration says: region, credentials chain, `AWS_ENDPOINT_URL_*`.
    Aws,
}

impl Endpoint {
    /// Returns the same service at another address, such as a proxy's.
    #[must_use]
    pub fn moved_to(self, address: String) -> Self {
        match self {
            Self::At(_) | Self::Own(_) | Self::Aws => Self::At(address),
            Self::With { keys, .. } => Self::With { address, keys },
        }
    }

    /// Returns the address, unless the service is in AWS or in this process.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::At(address) | Self::With { address, .. } => Some(address),
            Self::Own(_) | Self::Aws => None,
        }
    }

    /// Returns the keys, unless they are the environment's.
    pub const fn keys(&self) -> Option<&AccessKeys> {
        match self {
            Self::With { keys, .. } => Some(keys),
            Self::At(_) | Self::Own(_) | Self::Aws => None,
        }
    }
}

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// Names the signer.
    pub id: String,
    /// The secret.
    pub secret: String,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKeys(..)")
    }
}

/// Why a service cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("the endpoint {0:?} is no http:// or https:// address")]
    NotAnAddress(String),
    /// AWS is meant, but no region is named.
    #[error("no AWS region is configured")]
    NoRegion,
    /// The environment names credentials that cannot be used.
    #[error("the AWS credentials in the environment cannot be used")]
    Credentials(#[source] CredentialsError),
}

/// What every client of the service at `endpoint` is configured with.
pub(crate) async fn sdk_config(endpoint: Endpoint) -> Result<SdkConfig, ConnectError> {
    match endpoint {
        Endpoint::At(address) => at(address, credentials_of_the_environment().await?),
        Endpoint::With { address, keys } => {
            at(address, SharedCredentialsProvider::new(made_up(keys.id, keys.secret)))
        }
        Endpoint::Own(own) => Ok(through(own.client(), OwnProcess::ADDRESS.to_owned(), None)),
        Endpoint::Aws => {
            let mut config = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client());
            if let Some(region) = region_of_the_environment() {
                config = config.region(region);
            }
            // The SDK's futures are large.
            let config = Box::pin(config.load()).await;
            if config.region().is_none() { Err(ConnectError::NoRegion) } else { Ok(config) }
        }
    }
}

/// Whether it names a host over HTTP or HTTPS.
pub(crate) fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
}

fn at(address: String, credentials: SharedCredentialsProvider) -> Result<SdkConfig, ConnectError> {
    if !is_address(&address) {
        return Err(ConnectError::NotAnAddress(address));
    }
    Ok(through(http_client(), address, Some(credentials)))
}

fn through(
    client: SharedHttpClient,
    address: String,
    credentials: Option<SharedCredentialsProvider>,
) -> SdkConfig {
    let region = region_of_the_environment();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(client)
        .endpoint_url(address)
        .region(region.unwrap_or_else(|| Region::from_static(EMULATED_REGION)));
    config.set_credentials_provider(credentials);
    config.build()
}

/// As the SDK has it, except that an empty value counts as unset.
fn region_of_the_environment() -> Option<Region> {
    let values = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(|name| std::env::var(name).ok());
    values.map(|region| region.trim().to_owned()).find(|region| !region.is_empty()).map(Region::new)
}

async fn credentials_of_the_environment() -> Result<SharedCredentialsProvider, ConnectError> {
    let environment = EnvironmentVariableCredentialsProvider::new();
    match environment.provide_credentials().await {
        Ok(_) => Ok(SharedCredentialsProvider::new(environment)),
        Err(CredentialsError::CredentialsNotLoaded(_)) => {
            Ok(SharedCredentialsProvider::new(made_up("kokoro".to_owned(), "kokoro".to_owned())))
        }
        Err(error) => Err(ConnectError::Credentials(error)),
    }
}

fn made_up(id: String, secret: String) -> Credentials {
    Credentials::new(id, secret, None, None, "made up")
}

/// Speaks HTTPS, and plain HTTP to addresses that say so.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
}
