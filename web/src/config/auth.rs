//! Tokens, passwords, and the slowing of those who guess them.

use std::time::Duration;

use super::environment::Environment;
use super::limits::LimitsConfig;
use super::secret::{Secret, SigningSecrets};

/// Settings of everything that says who calls.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// What tokens are signed with; `None`: made on first start and kept in the data folder.
    pub secret: Option<SigningSecrets>,
    /// How passwords are hashed.
    pub passwords: PasswordConfig,
    /// When failed log-ins are slowed; `None`: never.
    pub throttle: Option<ThrottleConfig>,
    /// A failed log-in is answered no sooner than this after its password's turn came, so that its time tells nothing.
    pub failure_floor: Duration,
}

/// How passwords are hashed.
#[derive(Debug, Clone, Copy)]
pub struct PasswordConfig {
    /// What is written from now on; either is read.
    pub scheme: PasswordScheme,
    /// Argon2's memory, in KiB.
    pub memory_kib: u32,
    /// Argon2's passes over it.
    pub passes: u32,
    /// Hashes computed at once.
    pub workers: usize,
    /// Hashes computed or waited for at once; one more is refused as busy.
    pub pending_max: usize,
}

/// What hashes are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordScheme {
    /// Argon2id.
    Argon2id,
    /// What the old platform can check as well, as long as there may be a way back to it. It looks at 72 bytes.
    Bcrypt {
        /// The logarithm of its rounds.
        cost: u32,
    },
}

const TOKEN_SECRET: &str = "KOKORO_JWT_SECRET";
/// The old platform's cost.
const BCRYPT_COST: u32 = 12;

/// When failed log-ins are slowed.
#[derive(Debug, Clone, Copy)]
pub struct ThrottleConfig {
    /// How long a failure counts.
    pub window: Duration,
    /// Failures for one account from one address.
    pub per_account_and_address: u32,
    /// Failures for one account from anywhere.
    pub per_account: u32,
    /// Failures from one address for any account.
    pub per_address: u32,
}

impl Default for PasswordConfig {
    /// OWASP's first choice for Argon2id, on all cores but one.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            scheme: PasswordScheme::Argon2id,
            memory_kib: 19 * 1024,
            passes: 2,
            workers: (cores - 1).max(1),
            pending_max: 256,
        }
    }
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            per_account_and_address: 10,
            per_account: 100,
            per_address: 100,
        }
    }
}

impl AuthConfig {
    /// Reads `KOKORO_JWT_SECRET` (required unless the store is embedded) and `KOKORO_PASSWORD_HASH`. Without limits there is no throttle either.
    pub(super) fn from_env(env: &mut Environment, embedded: bool, limits: LimitsConfig) -> Self {
        if env.text(TOKEN_SECRET).is_none() && !embedded {
            env.problem(format!(
                "{TOKEN_SECRET} is not set: with DYNAMODB_ENDPOINT or AWS_REGION it must be, to {} bytes or more that \
                 every process of the platform shares",
                Secret::BYTES_MIN
            ));
        }
        Self {
            secret: SigningSecrets::from_env(env, TOKEN_SECRET),
            passwords: PasswordConfig {
                scheme: env.parsed("KOKORO_PASSWORD_HASH", scheme).unwrap_or(PasswordScheme::Argon2id),
                ..PasswordConfig::default()
            },
            throttle: limits.per_minute.map(|_| ThrottleConfig::default()),
            failure_floor: Duration::from_millis(500),
        }
    }
}

fn scheme(text: &str) -> Result<PasswordScheme, &'static str> {
    match text {
        "argon2id" => Ok(PasswordScheme::Argon2id),
        "bcrypt" => Ok(PasswordScheme::Bcrypt { cost: BCRYPT_COST }),
        _ => Err("argon2id or bcrypt"),
    }
}
