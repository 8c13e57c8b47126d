//! Tokens, passwords, and the slowing of those who guess them.

use std::str::FromStr;
use std::time::Duration;

use super::parsers::Expected;
use super::secret::SigningSecrets;

/// Settings of everything that says who calls.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthConfig {
    /// Secret that signs session tokens: 32 bytes or more. While it is being replaced, both with a comma between them: the
    /// first signs. The embedded store makes one and keeps it in the data folder; any other store requires it.
    #[arg(id = "jwt-secret", long, env = "KOKORO_JWT_SECRET", value_parser = SigningSecrets::parse,
        hide = true, hide_env_values = true)]
    pub secret: Option<SigningSecrets>,
    /// How passwords are hashed.
    #[command(flatten)]
    pub passwords: PasswordConfig,
    /// When failed log-ins are slowed; `None`: never.
    #[arg(skip = Some(ThrottleConfig::default()))]
    pub throttle: Option<ThrottleConfig>,
    /// A failed log-in is answered no sooner than this after its password's turn came, so that its time tells nothing.
    #[arg(skip = Duration::from_millis(500))]
    pub failure_floor: Duration,
}

/// How passwords are hashed. The defaults of Argon2id are OWASP's first choice, on all cores but one.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct PasswordConfig {
    /// Hash of passwords at sign-up, and at a log-in with a hash of the other kind: argon2id, or bcrypt, which the old
    /// platform can check as well, while there may be a way back to it.
    #[arg(
        id = "password-hash",
        long,
        env = "KOKORO_PASSWORD_HASH",
        value_name = "HASH",
        default_value = "argon2id"
    )]
    pub scheme: PasswordScheme,
    /// Argon2's memory, in KiB.
    #[arg(skip = 19 * 1024_u32)]
    pub memory_kib: u32,
    /// Argon2's passes over it.
    #[arg(skip = 2_u32)]
    pub passes: u32,
    /// Hashes computed at once.
    #[arg(skip = std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)))]
    pub workers: usize,
    /// Hashes computed or waited for at once; one more is refused as busy.
    #[arg(skip = 256_usize)]
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
    fn default() -> Self {
        super::defaults()
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

impl FromStr for PasswordScheme {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text {
            "argon2id" => Ok(Self::Argon2id),
            "bcrypt" => Ok(Self::Bcrypt { cost: BCRYPT_COST }),
            _ => Err(Expected("argon2id or bcrypt")),
        }
    }
}
