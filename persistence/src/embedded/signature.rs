//! Verifies AWS Signature Version 4 in the head of a request to the embedded DynamoDB. The SDK's own signer signs the same
//! request again, and the two signatures must be equal.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::http::request::Parts;
use subtle::ConstantTimeEq;

use crate::aws::AccessKeys;

/// The algorithm that `Authorization` names.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The service in the scope of a credential.
const SERVICE: &str = "dynamodb";
/// The header with the time of signing.
const DATE_HEADER: &str = "x-amz-date";
/// Headers that must be signed if they are sent.
const AMZ_HEADERS: &str = "x-amz-";
/// The longest time between the signing of a request and its arrival, in either direction.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(15);

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureFault {
    /// The request has no signature.
    Missing,
    /// A part of the signature is missing or malformed.
    Incomplete,
    /// The key is not this server's.
    UnknownKey,
    /// The request was signed too long ago, or too far in the future.
    Untimely,
    /// The signature is of another request, or of another secret.
    Wrong,
}

/// Verifies signatures against one key.
#[derive(Debug, Clone)]
pub(super) struct Verifier {
    id: String,
    identity: Identity,
}

/// A signature as the head of a request states it.
pub(super) struct Claim<'a> {
    region: &'a str,
    /// Names with semicolons between them.
    signed_headers: &'a str,
    signature: &'a str,
    signed_at: DateTime<Utc>,
}

impl Verifier {
    pub(super) fn new(AccessKeys { id, secret }: AccessKeys) -> Self {
        let credentials = Credentials::new(id.clone(), secret, None, None, "embedded");
        Self { id, identity: credentials.into() }
    }

    /// Reads the signature from a head. Refuses what needs no look at the body.
    pub(super) fn claim<'a>(
        &self,
        headers: &'a HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<Claim<'a>, SignatureFault> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = text(AUTHORIZATION.as_str()).filter(|text| text.starts_with("AWS4-"));
        let parameters = authorization.ok_or(SignatureFault::Missing)?;
        let parameters = parameters.strip_prefix(ALGORITHM).ok_or(SignatureFault::Incomplete)?;
        let parameter = |name: &str| {
            let mut pairs = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(of, _)| *of == name).map(|(_, value)| value).ok_or(SignatureFault::Incomplete)
        };
        let scope: Vec<&str> = parameter("Credential")?.split('/').collect();
        // The signer writes date, service and the last part of the scope by itself: others make another signature.
        let [id, _date, region, _service, _version] = scope[..] else {
            return Err(SignatureFault::Incomplete);
        };
        let (signed_headers, signature) = (parameter("SignedHeaders")?, parameter("Signature")?);
        let signed_at = text(DATE_HEADER).and_then(date).ok_or(SignatureFault::Incomplete)?;
        if id != self.id {
            return Err(SignatureFault::UnknownKey);
        }
        if (now - signed_at).abs() > SKEW_MAX {
            return Err(SignatureFault::Untimely);
        }
        Ok(Claim { region, signed_headers, signature, signed_at })
    }

    /// Checks that the signature is of this head and this body.
    pub(super) fn verify(&self, claim: &Claim<'_>, head: &Parts, body: &[u8]) -> Result<(), SignatureFault> {
        let signature = self.sign(claim, head, body).ok_or(SignatureFault::Wrong)?;
        let is_equal: bool = signature.as_bytes().ct_eq(claim.signature.as_bytes()).into();
        if is_equal { Ok(()) } else { Err(SignatureFault::Wrong) }
    }

    fn sign(&self, claim: &Claim<'_>, head: &Parts, body: &[u8]) -> Option<String> {
        // The signer takes the headers that are there.
        if !claim.signed_headers.split(';').all(|name| head.headers.contains_key(name)) {
            return None;
        }
        // The names that the client signed, and those that it had to sign.
        let is_signed = |name: &str| {
            name == HOST
                || name.starts_with(AMZ_HEADERS)
                || claim.signed_headers.split(';').any(|it| it == name)
        };
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value));
        let headers: Vec<(&str, &str)> = headers
            .filter(|(name, _)| is_signed(name))
            .map(|(name, value)| value.to_str().map(|value| (name, value)))
            .collect::<Result<_, _>>()
            .ok()?;
        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        let parameters = SigningParams::builder()
            .identity(&self.identity)
            .region(claim.region)
            .name(SERVICE)
            .time(claim.signed_at.into())
            .settings(settings)
            .build()
            .ok()?
            .into();
        let uri = head.uri.to_string();
        let request =
            SignableRequest::new(head.method.as_str(), uri, headers.into_iter(), SignableBody::Bytes(body))
                .ok()?;
        let (_, signature) = sign(request, &parameters).ok()?.into_parts();
        Some(signature)
    }
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok().map(|at| at.and_utc())
}
