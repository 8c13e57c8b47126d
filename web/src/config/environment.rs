//! The environment as a value: what is set, and what was wrong with it.

use std::collections::HashMap;
use std::fmt;

use super::variables;
use crate::telemetry::LogFormat;

/// What the environment variables say, with options of the command line laid over them. `Debug` hides it: secrets are
/// among them.
#[derive(Default)]
pub struct Environment {
    values: HashMap<String, String>,
    problems: Vec<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let mut env = Self::default();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                Ok(value) => env.set(name, value),
                Err(_) if variables::is_known(name) => env.problem(format!("{name} is not valid UTF-8")),
                Err(_) => {}
            }
        }
        env
    }

    /// An environment of just these.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        let mut env = Self::default();
        pairs.iter().for_each(|(name, value)| env.set(name, (*value).to_owned()));
        env
    }

    /// Sets a variable, whatever it was before.
    pub fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), value);
    }

    /// The same for a path.
    pub(super) fn set_path(&mut self, name: &str, path: std::path::PathBuf) {
        match path.into_os_string().into_string() {
            Ok(path) => self.set(name, path),
            Err(_) => self.problem(format!("{name} is not valid UTF-8")),
        }
    }

    /// Which events are logged (`RUST_LOG`).
    pub fn log_filter(&self) -> String {
        self.text("RUST_LOG").unwrap_or_else(|| "info".to_owned())
    }

    /// How they are written (`KOKORO_LOG_FORMAT`).
    pub fn log_format(&mut self) -> LogFormat {
        let format = self.parsed("KOKORO_LOG_FORMAT", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("text or json"),
        });
        format.unwrap_or_default()
    }

    /// What is set under a name that looks like ours and is none: a slip of the pen, most likely.
    pub fn unknown_names(&self) -> Vec<&str> {
        let ours = |name: &&String| name.starts_with("KOKORO_") && !variables::is_known(name);
        let mut names: Vec<&str> = self.values.keys().filter(ours).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The value of a variable; an empty one counts as unset.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        debug_assert!(variables::is_known(name), "{name} is missing from the table that feeds --help");
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// The value of a variable as `parse` understands it. When it does not, it says what a good value would be.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                // A password comes before an '@'.
                let text = if text.contains('@') { "..@.." } else { &text };
                self.problem(format!("{name} is set to '{text}', which is not {expected}"));
                None
            }
        }
    }

    /// The members of a comma-separated list.
    pub(super) fn list<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let text = self.text(name).unwrap_or_default();
        let mut parsed = Vec::new();
        for member in members(&text) {
            match parse(member) {
                Ok(value) => parsed.push(value),
                Err(expected) => self.problem(format!("{name} contains '{member}', which is not {expected}")),
            }
        }
        parsed
    }

    /// Notes that something is wrong, in a sentence.
    pub(super) fn problem(&mut self, sentence: String) {
        self.problems.push(sentence);
    }

    /// Gives `config` out if nothing was wrong.
    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError(self.problems)) }
    }
}

/// What stands between the commas of a list.
pub(super) fn members(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|member| !member.is_empty())
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}

/// What is wrong with the settings: one line for each problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(Vec<String>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_of_ours_is_noticed() {
        let env = Environment::of(&[("KOKORO_LISTN", "x"), ("KOKORO_LISTEN", "x"), ("PATH", "x")]);
        assert_eq!(env.unknown_names(), ["KOKORO_LISTN"]);
    }
}
