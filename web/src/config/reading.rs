//! Makes one command line of the options and the environment, and reads it. Clap reads variables by itself, but takes an
//! empty one for a value, ends at the first that it does not understand, and knows no other environment than the process's.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use super::Settings;
use super::environment::Environment;
use super::options::Options;
use super::stores::StoresSettings;

const EXIT_STATUS: &str = "\nExit status:\n  \
    0   stopped by SIGTERM or SIGINT: everything in flight was stored and answered\n  \
    1   could not start, or failed while running; the reason is on standard error\n  \
    2   an option cannot be understood\n  \
    3   another process has taken over these tables; a supervisor must not restart this one\n  \
    78  a setting in the environment cannot be understood; nothing was started\n";

/// What is wrong with the settings: one line for each problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub(super) Vec<String>);

/// Which settings were chosen, and what is wrong with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// The variables that are set, and those for which an option stands.
    chosen: BTreeSet<String>,
    /// The options, as variables.
    options: Vec<(String, OsString)>,
    problems: Vec<String>,
}

impl Findings {
    /// Whether a variable is set, or the option that stands for it, even if its value is not understood.
    pub(super) fn has(&self, name: &str) -> bool {
        self.chosen.contains(name)
    }

    /// The options, as variables for another process.
    pub(super) fn options(&self) -> &[(String, OsString)] {
        &self.options
    }

    /// Notes a problem, in a sentence.
    pub(super) fn problem(&mut self, sentence: impl Into<String>) {
        self.problems.push(sentence.into());
    }

    /// Returns `config` if there is no problem.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<T, ConfigError> {
        config.filter(|_| self.problems.is_empty()).ok_or(ConfigError(self.problems))
    }
}

/// The command line. The settings of the stores may also follow the name of a tool.
pub(super) fn definition() -> Command {
    let stores = StoresSettings::augment_args(Command::new("stores"));
    let is_of_stores = |arg: &Arg| stores.get_arguments().any(|other| other.get_id() == arg.get_id());
    Options::command().no_binary_name(true).mut_args(|arg| {
        let is_of_stores = is_of_stores(&arg);
        arg.global(is_of_stores)
    })
}

/// Each setting, with the name of its variable.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    command.get_arguments().filter_map(|arg| Some((arg, arg.get_env()?.to_str()?)))
}

/// What help says below the options.
pub(super) fn notes() -> String {
    let mut notes = "Variables (an option wins over its variable; an empty value counts as unset). These have no option:\n".to_owned();
    let every = Settings::augment_args(Command::new("settings"));
    for (arg, variable) in settings(&every).filter(|(arg, _)| arg.is_hide_set()) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(notes, "\n  {variable}\n          {help}");
    }
    notes + EXIT_STATUS
}

/// The values of nothing but defaults.
pub(super) fn defaults<T: Args>() -> T {
    let command = T::augment_args(Command::new("defaults")).mut_args(|arg| arg.env(None));
    let matches = command.try_get_matches_from([""]);
    matches.and_then(|matches| T::from_arg_matches(&matches)).unwrap_or_else(|error| error.exit())
}

impl Options {
    /// Reads a command line without the name of the program. Variables stand in for the settings that it does not name.
    ///
    /// # Errors
    /// If the command line cannot be understood, or asks for help. Problems with variables are reported later, all at once.
    pub fn read(
        arguments: impl IntoIterator<Item: Into<OsString>>,
        env: &Environment,
    ) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let described = definition();
        if let Some(variable) = variable_as_option(&described, &arguments) {
            let text = format!("set {variable} in the environment: it is no option");
            return Err(described.clone().error(ErrorKind::UnknownArgument, text));
        }
        let mut command = described.clone().mut_args(|arg| arg.env(None));
        let named = match command.try_get_matches_from_mut(&arguments) {
            Ok(named) => named,
            Err(error) if error.use_stderr() => return Err(without_password(error)),
            // It asks for help, which names the variables, but none of their values.
            Err(_) => {
                let help = described.mut_args(|arg| arg.hide_env_values(true));
                return Self::from_arg_matches(&help.try_get_matches_from(arguments)?);
            }
        };
        let is_for_serving = |arg: &&Arg| is_option(&named, arg) && !arg.is_global_set();
        if named.subcommand_name().is_some()
            && let Some(option) = described.get_arguments().find(is_for_serving).and_then(Arg::get_long)
        {
            return Err(command.error(ErrorKind::ArgumentConflict, format!("--{option} is for serving")));
        }
        let mut findings = Findings::default();
        let mut whole = arguments_of(env, &described, &named, &mut command, &mut findings);
        whole.extend(arguments);
        let mut options = Self::from_arg_matches(&command.try_get_matches_from_mut(whole)?)?;
        options.findings = findings;
        Ok(options)
    }

    /// Variables whose names look like ours and that no setting has: most likely misspelt.
    pub fn unknown_variables(env: &Environment) -> Vec<&str> {
        let command = Self::command();
        let is_unknown = |name: &&str| {
            name.starts_with("KOKORO_") && settings(&command).all(|(_, variable)| variable != *name)
        };
        let mut names: Vec<&str> = env.names().filter(is_unknown).collect();
        names.sort_unstable();
        names
    }
}

/// A variable without an option that the command line gives as one. Clap would repeat a secret that is too short.
fn variable_as_option<'a>(described: &'a Command, arguments: &[OsString]) -> Option<&'a str> {
    let names: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let is_given = |option: &str| {
        names
            .iter()
            .any(|name| name.split('=').next().and_then(|name| name.strip_prefix("--")) == Some(option))
    };
    let hidden = settings(described).filter(|(arg, _)| arg.is_hide_set());
    hidden.into_iter().find(|(arg, _)| arg.get_long().is_some_and(is_given)).map(|(_, variable)| variable)
}

fn is_option(named: &ArgMatches, arg: &Arg) -> bool {
    named.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// Options that stand for the variables of `env`, without those that the command line names and those that are no good.
/// A tool reads the settings of the stores only.
fn arguments_of(
    env: &Environment,
    described: &Command,
    named: &ArgMatches,
    command: &mut Command,
    findings: &mut Findings,
) -> Vec<OsString> {
    let has_tool = named.subcommand_name().is_some();
    let mut arguments = Vec::new();
    for (arg, variable) in settings(described) {
        if is_option(named, arg) {
            let values: Vec<&OsStr> = named.get_raw(arg.get_id().as_str()).into_iter().flatten().collect();
            findings.chosen.insert(variable.to_owned());
            findings.options.push((variable.to_owned(), values.join(OsStr::new(","))));
            continue;
        }
        if has_tool && !arg.is_global_set() {
            continue;
        }
        for value in env.get(variable).map_or_else(Vec::new, |text| members(arg, text)) {
            findings.chosen.insert(variable.to_owned());
            let mut argument = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
            argument.push(&value);
            match command.try_get_matches_from_mut([&argument]) {
                Ok(_) => arguments.push(argument),
                Err(error) => findings.problem(problem(arg, variable, &value, &error)),
            }
        }
    }
    arguments
}

/// The members of a list, or the one value of another setting, without surrounding white space. None of an empty variable.
fn members(arg: &Arg, text: &OsStr) -> Vec<OsString> {
    let Some(text) = text.to_str() else { return vec![text.to_owned()] };
    let delimiter = arg.get_value_delimiter();
    let members = text.split(|c| Some(c) == delimiter).map(str::trim);
    members.filter(|member| !member.is_empty()).map(OsString::from).collect()
}

fn problem(arg: &Arg, variable: &str, value: &OsStr, error: &clap::Error) -> String {
    let reason = match (error.get(ContextKind::ValidValue), error.source()) {
        (Some(ContextValue::Strings(values)), _) => format!("expected {}", values.join(" or ")),
        (_, Some(source)) => source.to_string(),
        (_, None) => error.kind().to_string(),
    };
    if arg.is_hide_env_values_set() {
        format!("{variable} is refused: {reason}")
    } else {
        format!("{variable} is set to '{}': {reason}", hide_password(&value.to_string_lossy()))
    }
}

fn without_password(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let shown = hide_password(value).to_owned();
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    error
}

/// A password of a URL comes before an `@`.
fn hide_password(value: &str) -> &str {
    if value.contains('@') { "..@.." } else { value }
}

#[cfg(test)]
mod tests {
    use super::super::tests::SECRET;
    use super::*;

    const NOTHING: [&str; 0] = [];

    fn read(arguments: &[&str], pairs: &[(&str, &str)]) -> Result<Options, clap::Error> {
        Options::read(arguments.iter().copied(), &Environment::of(pairs))
    }

    #[test]
    fn a_misspelt_variable_of_ours_is_noticed() {
        let env = Environment::of(&[("KOKORO_LISTN", "x"), ("KOKORO_LISTEN", "x"), ("PATH", "x")]);
        assert_eq!(Options::unknown_variables(&env), ["KOKORO_LISTN"]);
    }

    #[test]
    fn option_wins_over_its_variable_even_if_that_is_wrong() {
        for variable in ["127.0.0.1:1", "nowhere"] {
            let options = read(&["--listen", "127.0.0.1:2"], &[("KOKORO_LISTEN", variable)]).unwrap();
            assert_eq!(options.into_config().unwrap().server.listen.to_string(), "127.0.0.1:2");
        }
        let options = read(&["--demo=false"], &[("KOKORO_DEMO", "on")]).unwrap();
        assert!(!options.into_config().unwrap().demo);
        let options = read(&["--demo"], &[("KOKORO_DEMO", "off")]).unwrap();
        assert!(options.into_config().unwrap().demo);
    }

    #[test]
    fn settings_of_the_stores_may_stand_on_either_side_of_a_tool() {
        let env = [("KOKORO_DATA_DIR", "/from/env"), ("KOKORO_LISTEN", "nowhere")];
        for (arguments, spool) in [
            (&["check"] as &[&str], "/from/env/spool"),
            (&["check", "--data-dir", "/x"], "/x/spool"),
            (&["--data-dir", "/x", "check"], "/x/spool"),
        ] {
            let config = read(arguments, &env).unwrap().into_stores_config().unwrap();
            assert_eq!(config.files.spool.to_str(), Some(spool), "{arguments:?}");
        }
        for arguments in [["--listen=127.0.0.1:1", "check"], ["--nodes=2", "check"], ["--demo", "check"]] {
            assert!(read(&arguments, &[]).unwrap_err().to_string().contains("is for serving"));
        }
        assert!(read(&["check", "--listen=127.0.0.1:1"], &[]).is_err());
    }

    #[test]
    fn secret_is_no_option_and_help_shows_no_value() {
        for arguments in [&["--jwt-secret", "hunter2"] as &[&str], &["check", "--jwt-secret=hunter2"]] {
            let refusal = read(arguments, &[]).unwrap_err().to_string();
            assert!(refusal.contains("KOKORO_JWT_SECRET") && !refusal.contains("hunter2"), "{refusal}");
        }
        let url = "--dynamodb-endpoint=http://ada:hunter2@localhost";
        let refusal = read(&[url], &[]).unwrap_err().to_string();
        assert!(refusal.contains("--dynamodb-endpoint") && !refusal.contains("hunter2"), "{refusal}");
        let set = [("KOKORO_LISTEN", "127.0.0.1:4711"), ("KOKORO_JWT_SECRET", SECRET)];
        let help = read(&["--help"], &set).unwrap_err().to_string();
        assert!(help.contains("[env: KOKORO_LISTEN]") && help.contains("KOKORO_JWT_SECRET"), "{help}");
        assert!(!help.contains("4711") && !help.contains(SECRET), "{help}");
    }

    #[test]
    fn options_of_one_process_are_variables_of_another() {
        let arguments = ["--trusted-proxies=10.0.0.0/8,::1", "--share-port", "--users-table", "People"];
        let options = read(&arguments, &[("DOCTORS_TABLE", "Healers")]).unwrap();
        let variables: Vec<_> = options
            .as_variables()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            variables,
            [("KOKORO_SHARE_PORT", "true"), ("TRUSTED_PROXIES", "10.0.0.0/8,::1"), ("USERS_TABLE", "People")]
        );
        let config = read(&NOTHING, &variables).unwrap().into_config().unwrap();
        assert!(config.server.share_port && config.server.trusted_proxies.len() == 2);
        assert_eq!(config.store.tables.users, "People");
    }

    #[test]
    fn names_of_options_follow_from_those_of_variables_and_secrets_are_marked() {
        for (arg, variable) in settings(&definition()) {
            let name = variable.trim_start_matches("KOKORO_").to_ascii_lowercase().replace('_', "-");
            assert_eq!(arg.get_long(), Some(name.as_str()));
            if variable.contains("SECRET") {
                assert!(arg.is_hide_set() && arg.is_hide_env_values_set(), "{variable}");
            }
        }
    }
}
