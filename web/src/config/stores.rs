//! What a tool needs to know: where the data is, and which day it is there.

use super::{ClinicConfig, ConfigError, Environment, FilesConfig, StoreConfig};

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

impl StoresConfig {
    /// Reads these settings, or says of each that cannot be understood what is wrong with it.
    pub fn from_env(mut env: Environment) -> Result<Self, ConfigError> {
        let config = Self {
            store: StoreConfig::from_env(&mut env),
            files: FilesConfig::from_env(&mut env),
            clinic: ClinicConfig::from_env(&mut env),
        };
        env.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_needs_no_secret() {
        assert!(StoresConfig::from_env(Environment::of(&[("AWS_REGION", "ap-south-1")])).is_ok());
        assert!(StoresConfig::from_env(Environment::of(&[("DYNAMODB_ENDPOINT", "x")])).is_err());
    }
}
