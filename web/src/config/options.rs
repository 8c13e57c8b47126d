//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::environment::Environment;
use super::variables;
use crate::local_cluster::NODES_MAX;

/// Doctor's appointments: five seats a slot, never a sixth.
///
/// Without any setting it keeps its data in ./data, in a store that it brings along, and listens on
/// http://127.0.0.1:8080. What is set but cannot be understood is an error at start.
#[derive(Debug, Parser)]
#[command(name = "kokoro", version, about, max_term_width = 100)]
pub struct Options {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Folder of the embedded store
    #[arg(long, value_name = "FOLDER", global = true)]
    data_dir: Option<PathBuf>,
    /// Fill an empty store with a few doctors, slots and users, and print a session to try
    #[arg(long)]
    demo: bool,
    /// Start so many nodes over the embedded store, which share the doctors and the address
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES_MAX)))]
    nodes: Option<u8>,
    /// End when this process does, which has started this one and keeps its store
    #[arg(long, hide = true, value_name = "PROCESS")]
    child_of: Option<u32>,
    #[command(subcommand)]
    tool: Option<Tool>,
}

/// What the program can do beside serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Tool {
    /// Read all tables and files, and say what is odd; changes nothing
    #[command(after_help = CHECK_STATUS)]
    Check(CheckOptions),
    /// Copy all tables and files to a folder; changes nothing in the store, which may be in use
    #[command(after_help = EXPORT_NOTES)]
    Export(ExportOptions),
    /// Copy an export into an empty store
    #[command(after_help = IMPORT_NOTES)]
    Import(ImportOptions),
}

/// What `kokoro check` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckOptions {
    /// Write the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the key of each finding too: keys are addresses of patients and names of files
    #[arg(long, conflicts_with = "json")]
    pub show: bool,
    /// Read so many rows a second at most; 0 is no limit
    #[arg(long, value_name = "ROWS_PER_SECOND", default_value_t = RATE)]
    pub rate: u32,
}

/// What `kokoro export` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportOptions {
    /// Where to: an empty folder, or one that an interrupted export has left
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Read so many rows a second at most; 0 is no limit
    #[arg(long, value_name = "ROWS_PER_SECOND", default_value_t = RATE)]
    pub rate: u32,
}

/// What `kokoro import` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportOptions {
    /// Where from: a whole export
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Import into a store that holds data: rows and files of the same key are replaced, others stay
    #[arg(long)]
    pub over: bool,
    /// Write so many rows a second at most; 0 is no limit
    #[arg(long, value_name = "ROWS_PER_SECOND", default_value_t = 0)]
    pub rate: u32,
}

/// What a store that others use can spare: some 200 of DynamoDB's read units for rows of the usual size.
const RATE: u32 = 5000;

const CHECK_STATUS: &str = "Exit status:\n  \
    0   nothing odd\n  \
    10  only what is harmless: the engine does with it what is meant\n  \
    20  something needs attention\n  \
    1   the store could not be read to its end\n  \
    2   unknown option\n  \
    78  a setting cannot be understood";

const EXPORT_NOTES: &str = "Which store: the settings say so, as for serving (kokoro --help). A program that runs over the \
    data folder need not stop.\nInterrupted, it goes on when it is called again. Secrets are not exported.\n\n\
    Exit status: 0 whole, 1 not, 2 unknown option, 78 a setting cannot be understood";

const IMPORT_NOTES: &str = "Which store: the settings say so, as for serving (kokoro --help). Checks the whole folder first, \
    makes what is missing of tables and buckets, writes, and reads everything back.\nInterrupted, it goes on when it is \
    called again. With --over, nothing may serve from the store meanwhile.\n\n\
    Exit status: 0 whole, 1 not, 2 unknown option, 78 a setting cannot be understood";

/// A rate as an option has it: zero is none.
pub(crate) const fn limit(rate: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(rate)
}

impl Options {
    /// Reads the command line of this process. Ends the process for `--help`, `--version` and what is unknown.
    pub fn from_command_line() -> Self {
        let mut command = Self::command().after_long_help(variables::help()).after_help(variables::help());
        let matches = command.get_matches_mut();
        let options = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if options.tool.is_some() && options.has_options_of_a_server() {
            let text = "--listen, --demo and --nodes are for serving";
            command.error(ErrorKind::ArgumentConflict, text).exit();
        }
        options
    }

    /// What to do instead of serving, if anything.
    pub fn tool(&self) -> Option<Tool> {
        self.tool.clone()
    }

    const fn has_options_of_a_server(&self) -> bool {
        self.listen.is_some() || self.demo || self.nodes.is_some() || self.child_of.is_some()
    }

    /// How many nodes this process is to start, if it is to be none itself.
    pub const fn nodes(&self) -> Option<u8> {
        self.nodes
    }

    /// The process with which this one is to end, if it was started by one.
    pub const fn child_of(&self) -> Option<u32> {
        self.child_of
    }

    /// Lays the options over the environment.
    pub fn lay_over(self, env: &mut Environment) {
        if let Some(listen) = self.listen {
            env.set("KOKORO_LISTEN", listen);
        }
        if let Some(folder) = self.data_dir {
            env.set_path("KOKORO_DATA_DIR", folder);
        }
        if self.demo {
            env.set("KOKORO_DEMO", "true".to_owned());
        }
        // Whoever uses a tool reads its report: it says of rows what the log would.
        if self.tool.is_some() && env.text("RUST_LOG").is_none() {
            env.set("RUST_LOG", "error".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Options::command().debug_assert();
        let options = Options::try_parse_from(["kokoro", "check", "--json", "--data-dir", "/srv/x"]).unwrap();
        assert!(matches!(options.tool(), Some(Tool::Check(CheckOptions { json: true, rate: RATE, .. }))));
        let mut env = Environment::of(&[]);
        options.lay_over(&mut env);
        assert_eq!(env.text("KOKORO_DATA_DIR").as_deref(), Some("/srv/x"));
        assert!(Options::try_parse_from(["kokoro", "check", "--json", "--show"]).is_err());
        assert!(Options::try_parse_from(["kokoro", "export"]).is_err());
        let options = Options::try_parse_from(["kokoro", "--demo", "export", "x"]).unwrap();
        assert!(options.has_options_of_a_server());
    }
}
