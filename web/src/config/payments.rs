//! Razorpay, which takes the payments.

use std::convert::Infallible;
use std::time::Duration;

use super::environment::Environment;
use super::secret::Secret;
use super::store::url;

/// Razorpay's public API.
const PUBLIC_API: &str = "https://api.razorpay.com";

/// Where Razorpay is and what it knows us by.
#[derive(Debug, Clone)]
pub struct PaymentsConfig {
    /// The address of the API.
    pub api: String,
    /// What requests are authorised with; `None`: nobody can pay.
    pub keys: Option<RazorpayKeys>,
    /// What webhooks may be signed with: several while a secret is being replaced. None: no webhook is believed.
    pub webhook_secrets: Vec<Secret>,
    /// How long Razorpay may take to answer.
    pub timeout: Duration,
    /// Requests to Razorpay under way at once; one more is refused as busy.
    pub requests_at_once: usize,
}

/// The API key.
#[derive(Debug, Clone)]
pub struct RazorpayKeys {
    /// Its public half.
    pub id: String,
    /// Its secret half.
    pub secret: Secret,
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        Self {
            api: PUBLIC_API.to_owned(),
            keys: None,
            webhook_secrets: Vec::new(),
            timeout: Duration::from_secs(10),
            requests_at_once: 32,
        }
    }
}

impl PaymentsConfig {
    /// Reads `RAZORPAY_KEY_ID` and `RAZORPAY_KEY_SECRET`, both or neither, `RAZORPAY_WEBHOOK_SECRET`, one or more
    /// between commas, and `RAZORPAY_API` (default: the public one).
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let defaults = Self::default();
        let secret =
            |env: &Environment, name| env.text(name).map(|text| Secret::of_any_length(text.into_bytes()));
        let keys = match (env.text("RAZORPAY_KEY_ID"), secret(env, "RAZORPAY_KEY_SECRET")) {
            (Some(id), Some(secret)) => Some(RazorpayKeys { id, secret }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                env.problem(
                    "RAZORPAY_KEY_ID and RAZORPAY_KEY_SECRET must both be set, or neither".to_owned(),
                );
                None
            }
        };
        Self {
            api: env.parsed("RAZORPAY_API", url).unwrap_or(defaults.api),
            keys,
            webhook_secrets: env.list("RAZORPAY_WEBHOOK_SECRET", |text| {
                Ok::<_, Infallible>(Secret::of_any_length(text.as_bytes().to_vec()))
            }),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_secret_that_is_being_replaced_is_two() {
        let of = |text| PaymentsConfig::from_env(&mut Environment::of(&[("RAZORPAY_WEBHOOK_SECRET", text)]));
        let secrets =
            |text| of(text).webhook_secrets.iter().map(|one| one.expose().to_vec()).collect::<Vec<_>>();
        assert_eq!(secrets("new, old"), [b"new", b"old"]);
        assert_eq!(secrets("one"), [b"one"]);
        assert!(secrets("").is_empty() && secrets(" , ").is_empty());
    }
}
