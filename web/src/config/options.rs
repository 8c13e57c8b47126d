//! The command line.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::reading::{Findings, notes};
use super::{Config, ConfigError, Settings, StoresConfig};
use crate::local_cluster::NODES_MAX;
use crate::telemetry::LogFormat;

/// Doctor's appointments: five seats a slot, never a sixth.
///
/// Without any setting it keeps its data in ./data, in a store that it brings along, and listens on
/// `http://127.0.0.1:8080`. What is set but cannot be understood is an error at start.
#[derive(Debug, Parser)]
#[command(name = "kokoro", version, about, after_help = notes(), max_term_width = 100)]
pub struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Start so many nodes over the embedded store, which share the doctors and the address
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES_MAX)))]
    pub nodes: Option<u8>,
    /// End when this process does, which has started this one and keeps its store
    #[arg(long, hide = true, value_name = "PROCESS")]
    pub child_of: Option<u32>,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub tool: Option<Tool>,
    #[arg(skip)]
    pub(super) findings: Findings,
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
    2   an option cannot be understood\n  \
    78  a setting cannot be understood";

const EXPORT_NOTES: &str = "Which store: the settings say so, as for serving (kokoro --help). A program that runs over the \
    data folder need not stop.\nInterrupted, it goes on when it is called again. Secrets are not exported.\n\n\
    Exit status: 0 whole, 1 not, 2 an option cannot be understood, 78 a setting cannot be understood";

const IMPORT_NOTES: &str = "Which store: the settings say so, as for serving (kokoro --help). Checks the whole folder first, \
    makes what is missing of tables and buckets, writes, and reads everything back.\nInterrupted, it goes on when it is \
    called again. With --over, nothing may serve from the store meanwhile.\n\n\
    Exit status: 0 whole, 1 not, 2 an option cannot be understood, 78 a setting cannot be understood";

/// A rate as an option has it: zero is none.
pub(crate) const fn limit(rate: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(rate)
}

impl Options {
    /// The settings of the command line as variables, for a process that is started with the same settings.
    pub fn as_variables(&self) -> &[(String, OsString)] {
        self.findings.options()
    }

    /// Which events are logged. The report of a tool names the rows that the log would name.
    pub fn log_filter(&self) -> &str {
        let default = if self.tool.is_some() { "error" } else { "info" };
        self.settings.stores.rust_log.as_deref().unwrap_or(default)
    }

    /// How they are written.
    pub const fn log_format(&self) -> LogFormat {
        self.settings.stores.log_format
    }

    /// The settings of a server.
    ///
    /// # Errors
    /// All problems.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        self.settings.resolve(self.findings)
    }

    /// The settings of a tool.
    ///
    /// # Errors
    /// All problems.
    pub fn into_stores_config(self) -> Result<StoresConfig, ConfigError> {
        self.settings.stores.resolve(self.findings)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Options::command().debug_assert();
        let options = Options::try_parse_from(["kokoro", "check", "--json"]).unwrap();
        assert!(matches!(options.tool, Some(Tool::Check(CheckOptions { json: true, rate: RATE, .. }))));
        assert!(Options::try_parse_from(["kokoro", "check", "--json", "--show"]).is_err());
        assert!(Options::try_parse_from(["kokoro", "export"]).is_err());
    }
}
