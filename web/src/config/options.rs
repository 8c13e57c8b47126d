//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

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
    #[arg(long, value_name = "FOLDER")]
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
}

impl Options {
    /// Reads the command line of this process. Ends the process for `--help`, `--version` and what is unknown.
    pub fn from_command_line() -> Self {
        let matches =
            Self::command().after_long_help(variables::help()).after_help(variables::help()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
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
    }
}
