//! How many requests one client may make.

use std::num::NonZeroU32;

use super::environment::Environment;

const PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("it is not zero");

/// How many requests one client may make.
#[derive(Debug, Clone, Copy)]
pub struct LimitsConfig {
    /// Requests of one address in a minute, and of one account; costly calls get a part of it. `None`: no limits.
    pub per_minute: Option<NonZeroU32>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { per_minute: Some(PER_MINUTE) }
    }
}

impl LimitsConfig {
    /// Reads `RATE_LIMIT_PER_MINUTE` (default 600), of which 0 turns off all limits and the slowing of failed log-ins.
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let limit = env.parsed("RATE_LIMIT_PER_MINUTE", |text| {
            text.parse::<u32>().map(NonZeroU32::new).map_err(|_| "a whole number, 0 or more")
        });
        Self { per_minute: limit.unwrap_or(Some(PER_MINUTE)) }
    }
}
