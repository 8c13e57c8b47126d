//! Runs as rows of numbers.

use std::collections::BTreeMap;

use crate::measured::{CallSummary, Summary};

/// What the columns are.
pub(crate) const COLUMNS: [&str; 11] = [
    "run",
    "call",
    "all asked/s",
    "done/s",
    "calls",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
    "answers",
];

/// Runs as a table for a terminal, which is Markdown too, with a line for all that went wrong.
pub fn table(runs: &[Summary]) -> String {
    let rows = rows(runs);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([COLUMNS[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let line = |cells: &[String; COLUMNS.len()]| {
        let cells = cells.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 1 | 10 => format!(" {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.map(|width| format!("{}|", "-".repeat(width + 2))).concat();
    let lines: String = rows.iter().map(line).collect();
    let remarks: String = runs.iter().flat_map(remarks).map(|remark| format!("{remark}\n")).collect();
    format!("{}|{rule}\n{lines}{remarks}", line(&COLUMNS.map(str::to_owned)))
}

/// A row for each call of each run.
pub(crate) fn rows(runs: &[Summary]) -> Vec<[String; COLUMNS.len()]> {
    let row = |run: &Summary, name: &str, call: &CallSummary| {
        let ms = |ms: f64| if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") };
        [
            run.name.clone(),
            name.to_owned(),
            run.offered.map_or_else(String::new, |offered| format!("{offered:.0}")),
            format!("{:.0}", call.rate),
            call.count.to_string(),
            ms(call.p50_ms),
            ms(call.p90_ms),
            ms(call.p99_ms),
            ms(call.p999_ms),
            ms(call.max_ms),
            answers(&call.answers),
        ]
    };
    let of_run = |run: &Summary| {
        let rows: Vec<_> = run.calls.iter().map(|(call, summary)| row(run, call.name(), summary)).collect();
        rows
    };
    runs.iter().flat_map(of_run).collect()
}

/// What a reader of the numbers must know.
pub(crate) fn remarks(run: &Summary) -> Vec<String> {
    let unsent = (run.unsent > 0).then(|| {
        format!(
            "{}: {} calls were due and never made: the server is too slow for this rate",
            run.name, run.unsent
        )
    });
    let ran_out = run.ran_out.map(|seconds| {
        format!(
            "{}: after {seconds:.1} s a doctor had no seat left; from then on seats are given back too",
            run.name
        )
    });
    unsent.into_iter().chain(ran_out).collect()
}

fn answers(answers: &BTreeMap<String, u64>) -> String {
    let answers: Vec<_> = answers.iter().map(|(answer, count)| format!("{answer}: {count}")).collect();
    answers.join(", ")
}
