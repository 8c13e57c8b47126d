//! Every setting, one struct for each concern. Each is read from the environment by its own `from_env`; tests build
//! them by hand. Nothing here opens a socket, and `clinic.rs` alone reads files: those of the time zone.

mod assistant;
mod auth;
mod clinic;
mod cluster;
mod cors;
mod environment;
mod files;
mod limits;
mod options;
mod payments;
mod rules;
mod secret;
mod server;
mod store;
mod stores;
mod tls;
mod variables;

use std::time::Duration;

use engine::Rules;
use persistence::Endpoint;

pub use assistant::{AssistantConfig, CHAT_TIMEOUT};
pub use auth::{AuthConfig, PasswordConfig, PasswordScheme, ThrottleConfig};
pub use clinic::{ClinicConfig, ZoneSource};
pub use cluster::{ClusterConfig, NodeAddress, NodeConfig};
pub use cors::CorsConfig;
pub use environment::{ConfigError, Environment};
pub use files::FilesConfig;
pub use limits::LimitsConfig;
pub(crate) use options::limit;
pub use options::{CheckOptions, ExportOptions, ImportOptions, Options, Tool};
pub use payments::{PaymentsConfig, RazorpayKeys};
pub use secret::{Secret, SigningSecrets};
pub use server::ServerConfig;
pub use store::{Place, StoreConfig};
pub use stores::StoresConfig;
pub use tls::TlsConfig;

/// A longer heartbeat, lease or notice is a slip of the pen.
const MILLISECONDS_MAX: u64 = 60_000;

/// All that the program is told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where and how it listens.
    pub server: ServerConfig,
    /// How many requests one client may make.
    pub limits: LimitsConfig,
    /// Tokens, passwords and the slowing of guesses.
    pub auth: AuthConfig,
    /// Where the data lives.
    pub store: StoreConfig,
    /// Whether other nodes take part.
    pub cluster: ClusterConfig,
    /// Where files live.
    pub files: FilesConfig,
    /// The model that answers patients.
    pub assistant: AssistantConfig,
    /// Razorpay.
    pub payments: PaymentsConfig,
    /// Which pages of other origins may call.
    pub cors: CorsConfig,
    /// The wall clock that the slots are on.
    pub clinic: ClinicConfig,
    /// The booking rules of this deployment.
    pub rules: Rules,
    /// Whether to fill an empty store with examples.
    pub demo: bool,
}

impl Config {
    /// Reads every setting, or says of each that cannot be understood what is wrong with it.
    pub fn from_env(mut env: Environment) -> Result<Self, ConfigError> {
        let store = StoreConfig::from_env(&mut env);
        let limits = LimitsConfig::from_env(&mut env);
        let config = Self {
            server: ServerConfig::from_env(&mut env),
            auth: AuthConfig::from_env(&mut env, store.place.is_embedded(), limits),
            limits,
            cluster: ClusterConfig::from_env(&mut env),
            files: FilesConfig::from_env(&mut env),
            assistant: AssistantConfig::from_env(&mut env),
            payments: PaymentsConfig::from_env(&mut env),
            cors: CorsConfig::from_env(&mut env),
            clinic: ClinicConfig::from_env(&mut env),
            rules: rules::rules_from_env(&mut env),
            demo: demo_from_env(&mut env, &store.place),
            store,
        };
        env.finish(config)
    }
}

fn demo_from_env(env: &mut Environment, place: &Place) -> bool {
    let demo = env.parsed("KOKORO_DEMO", yes_or_no).unwrap_or(false);
    if demo && matches!(place, Place::Named(Endpoint::Aws)) {
        env.problem(
            "KOKORO_DEMO creates accounts whose passwords everybody knows: it works in the embedded default or with \
             DYNAMODB_ENDPOINT, not on AWS"
                .to_owned(),
        );
    }
    demo
}

fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("true or false"),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| *number <= MILLISECONDS_MAX);
    number
        .map(Duration::from_millis)
        .ok_or_else(|| format!("a number of milliseconds up to {MILLISECONDS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_env(Environment::of(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_is_the_embedded_default() {
        let config = read(&[]).unwrap();
        assert!(matches!(config.store.place, Place::Folder(ref path) if path.ends_with("data")));
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert!(config.auth.secret.is_none() && !config.demo);
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        assert!(read(&[("CLINIC_TIME_ZONE", ""), ("KOKORO_JWT_SECRET", ""), ("AWS_REGION", "")]).is_ok());
    }

    #[test]
    fn every_problem_gets_its_own_sentence_and_no_secret_is_shown() {
        let error = read(&[
            ("CLINIC_TIME_ZONE", "Mars/Olympus"),
            ("KOKORO_LISTEN", "nowhere"),
            ("KOKORO_JWT_SECRET", "hunter2"),
            ("KOKORO_DEMO", "maybe"),
            ("CORS_ALLOWED_ORIGINS", "*"),
            ("TRUSTED_PROXIES", "10.0.0.0/40"),
            ("RATE_LIMIT_PER_MINUTE", "-1"),
            ("KOKORO_BOOKINGS_PER_DOCTOR_MAX", "many"),
            ("KOKORO_NODE_ADDRESS", "10.0.0.1:7000"),
            ("DYNAMODB_ENDPOINT", "localhost"),
            ("USERS_TABLE", "a b"),
        ])
        .unwrap_err();
        assert_eq!(error.lines().count(), 11, "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_named_store_needs_a_secret() {
        assert!(read(&[("AWS_REGION", "ap-south-1")]).unwrap_err().contains("KOKORO_JWT_SECRET"));
        let secret = "0123456789abcdef0123456789abcdef";
        let config = read(&[("AWS_REGION", "ap-south-1"), ("KOKORO_JWT_SECRET", secret)]).unwrap();
        assert!(matches!(config.store.place, Place::Named(Endpoint::Aws)));
        assert!(!format!("{config:?}").contains(secret));
    }

    #[test]
    fn other_nodes_find_the_embedded_store_where_it_is_put() {
        let listen = ("KOKORO_DYNAMODB_LISTEN", "127.0.0.1:8000");
        assert_eq!(read(&[listen]).unwrap().store.embedded_listen, "127.0.0.1:8000".parse().ok());
        let named = [listen, ("DYNAMODB_ENDPOINT", "http://127.0.0.1:8001")];
        assert!(read(&named).unwrap_err().contains("KOKORO_DYNAMODB_LISTEN"));
        for text in ["8000", "0.0.0.0:0", "0.0.0.0:8000", "[::]:8000", "10.0.0.1:8000", "localhost:8000"] {
            let refusal = read(&[("KOKORO_DYNAMODB_LISTEN", text)]).unwrap_err();
            assert!(refusal.contains("KOKORO_DYNAMODB_LISTEN"), "{text}: {refusal}");
        }
        assert!(read(&[("KOKORO_DYNAMODB_LISTEN", "[::1]:8000")]).is_ok());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        for name in ["KOKORO_TLS_CERT", "KOKORO_TLS_KEY"] {
            assert!(read(&[(name, "x.pem")]).unwrap_err().contains("both"));
        }
        assert!(
            read(&[("KOKORO_TLS_CERT", "x.pem"), ("KOKORO_TLS_KEY", "y.pem")]).unwrap().server.tls.is_some()
        );
    }

    #[test]
    fn no_secret_is_seen_in_settings_or_in_what_is_wrong_with_them() {
        let secrets = [
            ("KOKORO_JWT_SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"),
            ("KOKORO_NODE_ADDRESS", "127.0.0.1:7000"),
            ("KOKORO_CLUSTER_SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"),
            ("RAZORPAY_KEY_ID", "rzp_test_1"),
            ("RAZORPAY_KEY_SECRET", "hunter2"),
            ("RAZORPAY_WEBHOOK_SECRET", "hunter2"),
        ];
        let env = Environment::of(&secrets);
        assert!(!format!("{env:?}").contains("hunter2"));
        assert!(!format!("{:?}", Config::from_env(env).unwrap()).contains("hunter2"));
        for name in ["OLLAMA_API", "RAZORPAY_API", "S3_ENDPOINT", "S3_PUBLIC_ENDPOINT", "DYNAMODB_ENDPOINT"] {
            for value in
                ["http://ada:hunter2@localhost:1", "htp://ada:hunter2@localhost", "ada:hunter2@localhost"]
            {
                let error = read(&[(name, value)]).unwrap_err();
                assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn examples_are_not_put_on_aws() {
        let secret = ("KOKORO_JWT_SECRET", "0123456789abcdef0123456789abcdef");
        let (demo, region) = (("KOKORO_DEMO", "1"), ("AWS_REGION", "ap-south-1"));
        assert!(read(&[secret, demo, region]).unwrap_err().contains("KOKORO_DEMO"));
        assert!(read(&[secret, demo, ("DYNAMODB_ENDPOINT", "http://127.0.0.1:8000")]).unwrap().demo);
    }
}
