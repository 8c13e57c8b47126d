//! `kokoro export`: all tables and files to a folder.

use std::process::ExitCode;

use engine::{Clock, SystemClock};
use persistence::Pace;
use persistence::transfer::{Export, Summary};

use super::progress::Progress;
use super::say;
use super::stores::{Purpose, Stores};
use super::table::aligned;
use crate::config::{ExportOptions, StoresConfig, limit};

/// What stays behind on purpose; docs/commands.md says why.
pub(super) const NOT_MOVED: &str =
    "Not moved: secrets, who owns which doctors, earlier versions of files, AuthTokensTable.";

pub(super) async fn run(config: &StoresConfig, options: &ExportOptions) -> anyhow::Result<ExitCode> {
    let stores = Stores::open(config, Purpose::Read).await?;
    let export = Export {
        dynamo: &stores.dynamo,
        s3: &stores.s3,
        source: stores.name.clone(),
        pace: limit(options.rate).map_or_else(Pace::unbounded, Pace::rows_per_second),
    };
    let mut progress = Progress::new(false);
    let summary = export.run(&options.folder, || SystemClock.now(), &mut progress).await?;
    drop(progress);
    say(format_args!("Exported to {}:\n{}{NOT_MOVED}\n", options.folder.display(), text_of(&summary)));
    if stores.is_running {
        say("The store was in use: each row is as it was at some moment of the export.\n");
    }
    Ok(ExitCode::SUCCESS)
}

/// The same of an export and of its import, unless something was left out.
pub(super) fn text_of(summary: &Summary) -> String {
    let rows: Vec<Vec<String>> = summary
        .parts
        .iter()
        .map(|part| {
            let left_out =
                if part.left_out > 0 { format!("{} left out", part.left_out) } else { String::new() };
            vec![
                format!("  {}", part.name),
                part.sum.count.to_string(),
                part.sum.checksum.to_string(),
                left_out,
            ]
        })
        .collect();
    aligned(&rows, &[1])
}
