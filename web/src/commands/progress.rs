//! How far a tool has come, on a terminal; nowhere else.

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressStyle};
use persistence::Watch;
use persistence::inspect::{Finding, Look};

use super::say;

/// A bar on standard error, which is none where that is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Whether to say where each finding is.
    shows: bool,
}

impl Progress {
    pub(super) fn new(shows: bool) -> Self {
        Self { bar: ProgressBar::no_length(), shows }
    }
}

impl Watch for Progress {
    fn begin(&mut self, part: &str, about: Option<u64>) {
        self.bar.finish_and_clear();
        self.bar = about.filter(|about| *about > 0).map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = match self.bar.length() {
            Some(_) => "{msg}  {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}",
            None => "{msg}  {human_pos}  {per_sec}",
        };
        // The templates are written above: they are good.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message(part.to_owned());
    }

    fn advance(&mut self, by: u64) {
        self.bar.inc(by);
    }
}

impl Look for Progress {
    fn found(&mut self, finding: Finding, part: &str, key: &dyn Display) {
        if self.shows {
            // Keys may hold what moves a cursor.
            let key = key.to_string().escape_debug().to_string();
            self.bar.suspend(|| say(format_args!("{}: {part}: {key}\n", finding.name())));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
