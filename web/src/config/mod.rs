//! Every setting, one file for each concern. Clap reads them from options and variables; `Settings` is the one definition,
//! from which `--help` and docs/settings.md come as well. Where the program needs something else than what is set, a concern
//! has a `..Settings` that resolves to its `..Config`; tests build these by hand. A field with `skip` is no setting.
//! Nothing here opens a socket, and `clinic.rs` alone reads files: those of the time zone.

mod assistant;
mod auth;
mod checks;
mod clinic;
mod cluster;
mod cors;
#[cfg(test)]
mod docs;
mod environment;
mod files;
mod limits;
mod options;
mod parsers;
mod payments;
mod reading;
mod secret;
mod server;
mod store;
mod stores;
mod tls;

use std::num::NonZeroU16;

use clap::ArgAction;
use clap::builder::{BoolishValueParser, TypedValueParser};
use engine::Rules;
use engine::limits::BOOKINGS_PER_DOCTOR_MAX;

pub use assistant::{AssistantConfig, CHAT_TIMEOUT};
pub use auth::{AuthConfig, PasswordConfig, PasswordScheme, ThrottleConfig};
pub use clinic::{ClinicConfig, ZoneSource};
use cluster::ClusterSettings;
pub use cluster::{ClusterConfig, NodeAddress, NodeConfig};
pub use cors::CorsConfig;
pub use environment::Environment;
pub use files::FilesConfig;
pub use limits::LimitsConfig;
pub(crate) use options::limit;
pub use options::{CheckOptions, ExportOptions, ImportOptions, Options, Tool};
pub use parsers::Expected;
use payments::RazorpaySettings;
pub use payments::{PaymentsConfig, RazorpayKeys};
pub use reading::ConfigError;
use reading::{Findings, defaults};
pub use secret::{Secret, SigningSecrets};
pub use server::ServerConfig;
pub use store::{Place, StoreConfig};
pub use stores::StoresConfig;
use stores::StoresSettings;
pub use tls::TlsConfig;
use tls::TlsSettings;

/// Every setting, as it is set.
#[derive(Debug, Clone, clap::Args)]
struct Settings {
    /// Fill an empty store with three doctors, their slots and two users, and print a session to try. Not on AWS.
    #[arg(long, env = "KOKORO_DEMO", value_name = "BOOLEAN", action = ArgAction::Set, default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    demo: bool,
    #[command(flatten)]
    server: ServerConfig,
    #[command(flatten)]
    tls: TlsSettings,
    #[command(flatten)]
    stores: StoresSettings,
    /// Bookings to come that a patient may hold with one doctor, up to 768, the same on all nodes. 0 turns the limit off.
    /// Counts the dates that the doctor's calendar has in memory.
    // `std::option`, because clap takes a plain `Option` for a setting without a default.
    #[arg(long, env = "KOKORO_BOOKINGS_PER_DOCTOR_MAX", value_name = "NUMBER", default_value = "10", help_heading = "Clinic",
        value_parser = clap::value_parser!(u16).range(..=i64::from(BOOKINGS_PER_DOCTOR_MAX)).map(NonZeroU16::new))]
    bookings_per_doctor_max: std::option::Option<NonZeroU16>,
    #[command(flatten)]
    auth: AuthConfig,
    #[command(flatten)]
    limits: LimitsConfig,
    #[command(flatten)]
    cors: CorsConfig,
    #[command(flatten)]
    cluster: ClusterSettings,
    #[command(flatten)]
    assistant: AssistantConfig,
    #[command(flatten)]
    payments: PaymentsConfig,
    #[command(flatten)]
    razorpay: RazorpaySettings,
}

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
    /// Reads the settings of a server from the environment.
    ///
    /// # Errors
    /// All problems.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let options = Options::read(std::iter::empty::<&str>(), env);
        options.map_err(|error| ConfigError(vec![error.to_string()]))?.into_config()
    }
}

impl Settings {
    fn resolve(self, mut findings: Findings) -> Result<Config, ConfigError> {
        checks::of_server(&self, &mut findings);
        let StoresConfig { store, files, clinic } = self.stores.resolve(findings)?;
        let throttle = self.auth.throttle.filter(|_| self.limits.per_minute.is_some());
        Ok(Config {
            server: ServerConfig { tls: self.tls.resolve(), ..self.server },
            limits: self.limits,
            auth: AuthConfig { throttle, ..self.auth },
            store,
            cluster: self.cluster.resolve(),
            files,
            assistant: self.assistant,
            payments: PaymentsConfig { keys: self.razorpay.resolve(), ..self.payments },
            cors: self.cors,
            clinic,
            rules: Rules { bookings_per_doctor: self.bookings_per_doctor_max },
            demo: self.demo,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_env(&Environment::of(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_is_the_embedded_default() {
        let config = read(&[]).unwrap();
        assert!(matches!(config.store.place, Place::Folder(ref path) if path.ends_with("data")));
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert!(config.auth.secret.is_none() && !config.demo);
        assert_eq!(config.store.tables, persistence::TableNames::default());
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
        assert!(matches!(config.store.place, Place::Named(persistence::Endpoint::Aws)));
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
        assert!(!format!("{:?}", Config::from_env(&env).unwrap()).contains("hunter2"));
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
        let secret = ("KOKORO_JWT_SECRET", SECRET);
        let (demo, region) = (("KOKORO_DEMO", "1"), ("AWS_REGION", "ap-south-1"));
        assert!(read(&[secret, demo, region]).unwrap_err().contains("KOKORO_DEMO"));
        assert!(read(&[secret, demo, ("DYNAMODB_ENDPOINT", "http://127.0.0.1:8000")]).unwrap().demo);
    }

    #[test]
    fn limit_is_ten_unless_chosen_and_zero_turns_it_off() {
        let rules_of = |pairs: &[(&str, &str)]| read(pairs).map(|config| config.rules);
        assert_eq!(rules_of(&[]), Ok(Rules::default()));
        for (text, limit) in [
            ("1", Some(NonZeroU16::new(1))),
            ("768", Some(NonZeroU16::new(768))),
            ("0", Some(None)),
            ("769", None),
            ("-1", None),
            ("ten", None),
        ] {
            let rules = rules_of(&[("KOKORO_BOOKINGS_PER_DOCTOR_MAX", text)]).ok();
            assert_eq!(rules.map(|rules| rules.bookings_per_doctor), limit, "{text}");
        }
    }
}
