//! The report: as a table, as JSON, and as a page with curves.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use load::report::Page;
use serde::Serialize;

use crate::result::{Part, Row};

const COLUMNS: [&str; 4] = ["measure", "goal", "reached", "met"];

/// All that was measured in one go.
#[derive(Serialize)]
pub(crate) struct Report {
    /// When it began.
    pub(crate) begun: String,
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) parts: Vec<Part>,
}

/// What it ran on.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
}

impl Machine {
    /// This one, as proc(5) has it.
    pub(crate) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let kib: f64 = after(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            processor: after(&processors, "model name"),
            cores: available_parallelism().map_or(0, usize::from),
            memory_gib: kib / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    fn shown(&self) -> String {
        let Self { processor, cores, memory_gib, kernel } = self;
        format!("{cores} cores of {processor}, {memory_gib:.1} GiB, Linux {kernel}")
    }
}

impl Report {
    /// The table of goals.
    pub(crate) fn table(&self) -> String {
        let mut table = format!("| {} |\n|---|---|---|---|\n", COLUMNS.join(" | "));
        for row in self.rows() {
            table.push_str(&format!("| {} |\n", cells(row).join(" | ")));
        }
        table
    }

    /// Writes `report.md`, `report.json` and `report.html`; says where the page is.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        fs::write(folder.join("report.md"), format!("{}\n\n{}", self.heading(), self.table()))?;
        let mut page = Page::new("Kokoro beside its peers");
        page.text(&self.heading());
        page.table(&COLUMNS, self.rows().map(cells));
        for part in &self.parts {
            page.heading(part.name);
            let figures = part.rows.iter().map(|row| &row.figure).chain(&part.figures);
            page.table(
                &["figure", "unit", "median (lowest to highest)"],
                figures.map(|figure| [figure.name.clone(), figure.unit.to_owned(), figure.shown()]),
            );
            part.notes.iter().for_each(|note| page.text(note));
            if !part.runs.is_empty() {
                page.runs(&part.runs)?;
            }
        }
        let path = folder.join("report.html");
        fs::write(&path, page.html())?;
        Ok(path)
    }

    fn heading(&self) -> String {
        format!(
            "{}; {}; {:.0} s in all. Each figure is the median, with the lowest and the highest in brackets; ratios are \
             taken round by round. Everything, the load tool included, shared the one machine.",
            self.begun,
            self.machine.shown(),
            self.seconds
        )
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.parts.iter().flat_map(|part| &part.rows)
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let met = if row.is_met() { "yes" } else { "no" };
    [row.figure.name.clone(), row.goal.shown(), row.figure.shown(), met.to_owned()]
}
