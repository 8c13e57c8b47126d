//! `kokoro import`: an export into a store.

use std::process::ExitCode;

use anyhow::bail;
use engine::{Clock, SystemClock};
use persistence::Pace;
use persistence::transfer::Import;

use super::export::{NOT_MOVED, text_of};
use super::progress::Progress;
use super::say;
use super::stores::{Purpose, Stores};
use crate::config::{ImportOptions, StoresConfig, limit};

pub(super) async fn run(config: &StoresConfig, options: &ImportOptions) -> anyhow::Result<ExitCode> {
    let stores = Stores::open(config, Purpose::Write).await?;
    if options.over && stores.is_running {
        bail!("a program serves from this store and would not see what is written: stop it first");
    }
    let import = Import {
        dynamo: &stores.dynamo,
        s3: &stores.s3,
        target: stores.name.clone(),
        over: options.over,
        pace: limit(options.rate).map_or_else(Pace::unbounded, Pace::rows_per_second),
    };
    let mut progress = Progress::new(false);
    let summary = import.run(&options.folder, || SystemClock.now(), &mut progress).await?;
    drop(progress);
    let folder = options.folder.display();
    say(format_args!("Imported from {folder}, and read back:\n{}{NOT_MOVED}\n", text_of(&summary)));
    Ok(ExitCode::SUCCESS)
}
