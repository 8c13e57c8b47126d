//! Razorpay, which takes the payments.

use std::time::Duration;

use super::parsers::url;
use super::secret::Secret;

/// Razorpay's address and the secrets that we share with it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Payments")]
pub struct PaymentsConfig {
    /// URL of Razorpay's API.
    #[arg(id = "razorpay-api", long, env = "RAZORPAY_API", value_name = "URL",
        default_value = "https://api.razorpay.com", value_parser = url)]
    pub api: String,
    /// What requests are authorised with; `None`: nobody can pay.
    #[arg(skip)]
    pub keys: Option<RazorpayKeys>,
    /// Secret with which Razorpay signs its webhooks. While it is being replaced, both with a comma between them. Without
    /// it webhooks are refused.
    #[arg(
        id = "razorpay-webhook-secret",
        long,
        env = "RAZORPAY_WEBHOOK_SECRET",
        value_delimiter = ',',
        hide = true,
        hide_env_values = true
    )]
    pub webhook_secrets: Vec<Secret>,
    /// How long Razorpay may take to answer.
    #[arg(skip = Duration::from_secs(10))]
    pub timeout: Duration,
    /// Requests to Razorpay under way at once; one more is refused as busy.
    #[arg(skip = 32_usize)]
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

/// Both halves of the API key, or none.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Payments")]
pub(super) struct RazorpaySettings {
    /// API key of Razorpay; needs RAZORPAY_KEY_SECRET as well. Without it there are no payments.
    #[arg(long, env = "RAZORPAY_KEY_ID", value_name = "KEY")]
    razorpay_key_id: Option<String>,
    /// Secret half of the API key.
    #[arg(long, env = "RAZORPAY_KEY_SECRET", hide = true, hide_env_values = true)]
    razorpay_key_secret: Option<Secret>,
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        super::defaults()
    }
}

impl RazorpaySettings {
    pub(super) fn resolve(self) -> Option<RazorpayKeys> {
        let (id, secret) = self.razorpay_key_id.zip(self.razorpay_key_secret)?;
        Some(RazorpayKeys { id, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};

    #[test]
    fn a_webhook_secret_that_is_being_replaced_is_two() {
        let secrets = |text| {
            let config = Config::from_env(&Environment::of(&[("RAZORPAY_WEBHOOK_SECRET", text)])).unwrap();
            config.payments.webhook_secrets.iter().map(|one| one.expose().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(secrets("new, old"), [b"new", b"old"]);
        assert_eq!(secrets("one"), [b"one"]);
        assert!(secrets("").is_empty() && secrets(" , ").is_empty());
    }
}
