//! The settings that tools and the server share: where the data is, which day it is there, and what is logged.

use super::checks;
use super::clinic::{ClinicSettings, ZONE_EXPECTED};
use super::files::FilesSettings;
use super::reading::Findings;
use super::store::StoreSettings;
use super::{ClinicConfig, ConfigError, Environment, FilesConfig, Options, StoreConfig};
use crate::telemetry::LogFormat;

/// Where rows and files are. A tool signs no tokens: it needs no secret.
#[derive(Debug, Clone)]
pub struct StoresConfig {
    /// Where the rows are.
    pub store: StoreConfig,
    /// Where the files are.
    pub files: FilesConfig,
    /// The wall clock that the slots are on.
    pub clinic: ClinicConfig,
}

/// The settings of a tool.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StoresSettings {
    #[command(flatten)]
    pub(super) store: StoreSettings,
    #[command(flatten)]
    pub(super) files: FilesSettings,
    #[command(flatten)]
    clinic: ClinicSettings,
    /// Format of a line of the log: text, or json for one object a line.
    #[arg(long, env = "KOKORO_LOG_FORMAT", value_name = "FORMAT", default_value_t = LogFormat::Text, value_enum,
        hide_possible_values = true, help_heading = "Log")]
    pub(super) log_format: LogFormat,
    /// Events that are logged, to standard error; `warn` leaves out the line for each request. Without it, `info` when
    /// serving and `error` for a tool.
    #[arg(long, env = "RUST_LOG", hide = true, help_heading = "Log")]
    pub(super) rust_log: Option<String>,
}

impl StoresConfig {
    /// Reads the settings of a tool from the environment.
    ///
    /// # Errors
    /// All problems.
    pub fn from_env(env: &Environment) -> Result<Self, ConfigError> {
        let options = Options::read(["check"], env);
        options.map_err(|error| ConfigError(vec![error.to_string()]))?.into_stores_config()
    }
}

impl StoresSettings {
    /// The stores. All problems are reported here, also those that were found before.
    pub(super) fn resolve(self, mut findings: Findings) -> Result<StoresConfig, ConfigError> {
        checks::of_stores(&self, &mut findings);
        let clinic = self.clinic.resolve();
        if clinic.is_none() {
            let zone = &self.clinic.clinic_time_zone;
            findings.problem(format!("CLINIC_TIME_ZONE is set to '{zone}': {ZONE_EXPECTED}"));
        }
        let files = self.files.resolve(&self.store);
        let store = self.store.resolve();
        findings.finish(clinic.map(|clinic| StoresConfig { store, files, clinic }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_needs_no_secret() {
        assert!(StoresConfig::from_env(&Environment::of(&[("AWS_REGION", "ap-south-1")])).is_ok());
        assert!(StoresConfig::from_env(&Environment::of(&[("DYNAMODB_ENDPOINT", "x")])).is_err());
    }
}
