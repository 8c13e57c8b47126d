//! How many requests one client may make.

use std::num::NonZeroU32;

use clap::builder::TypedValueParser;

/// How many requests one client may make.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitsConfig {
    /// Requests that an address, or an account, may make in a minute; costly calls get a part of it. 0 turns this and the
    /// slowing of failed log-ins off (for load tests).
    // The path is whole, because clap would take `Option` for a setting without a default.
    #[arg(id = "rate-limit-per-minute", long, env = "RATE_LIMIT_PER_MINUTE", value_name = "NUMBER",
        default_value = "600", value_parser = clap::value_parser!(u32).map(NonZeroU32::new))]
    pub per_minute: std::option::Option<NonZeroU32>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        super::defaults()
    }
}
