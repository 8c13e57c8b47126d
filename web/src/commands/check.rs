//! `kokoro check`: what is odd in the tables and buckets.

use std::process::ExitCode;

use argon2::PasswordHash;
use engine::{Clock, SystemClock};
use persistence::Pace;
use persistence::inspect::{Count, Finding, Inspection, Report, Severity, Tally};
use serde_json::{Value, json};

use super::progress::Progress;
use super::say;
use super::stores::{Purpose, Stores};
use super::table::aligned;
use crate::config::{CheckOptions, StoresConfig, limit};

/// Exit statuses: `--help` says them too.
const HARMLESS: u8 = 10;
const ATTENTION: u8 = 20;

pub(super) async fn run(config: &StoresConfig, options: &CheckOptions) -> anyhow::Result<ExitCode> {
    let stores = Stores::open(config, Purpose::Read).await?;
    let inspection = Inspection {
        dynamo: &stores.dynamo,
        s3: &stores.s3,
        pace: limit(options.rate).map_or_else(Pace::unbounded, Pace::rows_per_second),
        today: config.clinic.wall_clock.today(SystemClock.now()),
        is_hash,
    };
    let mut progress = Progress::new(options.show);
    let report = inspection.run(&mut progress).await?;
    drop(progress);
    if options.json {
        say(format_args!("{:#}\n", as_json(&report)));
    } else {
        say(as_text(&report));
    }
    Ok(match report.tally.gravest() {
        None => ExitCode::SUCCESS,
        Some(Severity::Harmless) => HARMLESS.into(),
        Some(Severity::Attention) => ATTENTION.into(),
    })
}

/// Whether somebody can log in with this hash: what `auth::password` verifies.
fn is_hash(text: &str) -> bool {
    text.parse::<bcrypt::HashParts>().is_ok()
        || PasswordHash::new(text)
            .is_ok_and(|hash| hash.algorithm.as_str() == "argon2id" && hash.hash.is_some())
}

fn as_json(report: &Report) -> Value {
    let finding = |(finding, count): (Finding, Count)| {
        json!({
            "finding": finding.name(),
            "severity": Tally::severity(finding, count).name(),
            "count": count.all,
            "past": count.past,
            "meaning": finding.sentence(),
        })
    };
    let part = |(part, read): &(String, u64)| json!({"part": part, "read": read});
    json!({
        "severity": report.tally.gravest().map_or("none", Severity::name),
        "read": report.parts.iter().map(part).collect::<Vec<_>>(),
        "findings": report.tally.counts().map(finding).collect::<Vec<_>>(),
    })
}

fn as_text(report: &Report) -> String {
    let read = |(part, read): &(String, u64)| vec![format!("  {part}"), read.to_string()];
    let read: Vec<Vec<String>> = report.parts.iter().map(read).collect();
    let mut text = format!("Read:\n{}", aligned(&read, &[1]));
    for (severity, title) in [
        (Severity::Attention, "Needs attention:"),
        (Severity::Harmless, "Harmless (the engine does with it what is meant):"),
    ] {
        let of_this = |(finding, count): &(Finding, Count)| Tally::severity(*finding, *count) == severity;
        let row = |(finding, count): (Finding, Count)| {
            let past = if count.past > 0 { format!("({} of them past)", count.past) } else { String::new() };
            vec![format!("  {}", count.all), finding.name().to_owned(), past, finding.sentence().to_owned()]
        };
        let rows: Vec<Vec<String>> = report.tally.counts().filter(of_this).map(row).collect();
        if !rows.is_empty() {
            text.push_str(&format!("{title}\n{}", aligned(&rows, &[0])));
        }
    }
    if report.tally.gravest().is_none() {
        text.push_str("Nothing odd.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_one_that_somebody_can_log_in_with() {
        let bcrypt = bcrypt::hash("correct horse", 4).unwrap();
        for good in [
            bcrypt.as_str(),
            &bcrypt.replace("$2b$", "$2a$"),
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$KaUtZkYyk5zyHmEcZ4Z8Uv4FGsFM0bGrtk2bqUVoBGg",
        ] {
            assert!(is_hash(good), "{good}");
        }
        for bad in [
            "",
            "secret",
            "$2b$12$short",
            "$argon2id$",
            "$1$abc$def",
            &bcrypt[..59],
            "5f4dcc3b5aa765d61d8327deb882cf99",
        ] {
            assert!(!is_hash(bad), "{bad}");
        }
    }
}
