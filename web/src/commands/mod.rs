//! What the program can do beside serving, each in a file: what a person sees of it. The work is `persistence`'s.

#![expect(clippy::print_stderr, reason = "here the program talks to a person")]

mod check;
mod export;
mod import;
mod progress;
mod stores;
mod table;

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::config::{Options, Tool};

const FAILED: u8 = 1;
/// `EX_CONFIG` of sysexits.h.
const MISCONFIGURED: u8 = 78;

/// Does what was asked for, and says how it ended.
pub fn run(tool: Tool, options: Options) -> ExitCode {
    let config = match options.into_stores_config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return MISCONFIGURED.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        // The SDK's futures are large.
        runtime.block_on(async {
            match tool {
                Tool::Check(options) => Box::pin(check::run(&config, &options)).await,
                Tool::Export(options) => Box::pin(export::run(&config, &options)).await,
                Tool::Import(options) => Box::pin(import::run(&config, &options)).await,
            }
        })
    });
    ended.unwrap_or_else(|error| {
        eprintln!("kokoro: {error:#}");
        FAILED.into()
    })
}

/// Writes to whoever reads. Where nobody does any more, as behind `head`, there is nothing left to do.
fn say(text: impl Display) {
    let mut output = std::io::stdout().lock();
    if let Err(error) = write!(output, "{text}").and_then(|()| output.flush()) {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("kokoro: the report cannot be written: {error}");
        }
        std::process::exit(FAILED.into());
    }
}
