//! Results as files: JSON for programs, and a page of tables and curves that needs nothing but a browser.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::chart::{COLOURS, Chart, Curve, Scale};
use crate::measured::Summary;
use crate::run::Call;
use crate::table::{COLUMNS, remarks, rows};

const STYLE: &str = "body{font:15px/1.4 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;\
    text-align:right}td:first-child,th:first-child{text-align:left}th{background:#f4f4f4}figure{margin:2em 0}\
    figcaption{font-weight:bold}svg{width:100%;height:auto}.legend span{margin-right:1.5em;white-space:nowrap}";

/// A page in the making: headings, texts, tables and charts, in the order in which they are added.
pub struct Page {
    title: String,
    body: String,
}

/// Writes `report.json` and `report.html` about these runs into a folder; says where the page is.
pub fn write(folder: &Path, title: &str, runs: &[Summary]) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.json"), serde_json::to_vec_pretty(runs)?)?;
    let mut page = Page::new(title);
    page.runs(runs)?;
    let offered: Vec<&Summary> = runs.iter().filter(|run| run.offered.is_some()).collect();
    if offered.len() > 1 {
        let curves = Call::ALL.map(|call| throughput_and_latency(call.name(), &offered, call));
        page.chart(&Chart::throughput_and_latency(curves.into()))?;
    }
    let path = folder.join("report.html");
    fs::write(&path, page.html())?;
    Ok(path)
}

/// One server at several rates: how many calls it did in a second, of all kinds, and the p99 of this one. A chart of such
/// curves, one for each server, shows where each of them gives in.
pub fn throughput_and_latency(name: &str, runs: &[&Summary], call: Call) -> Curve {
    let points = runs.iter().filter_map(|run| Some((run.rate, run.calls.get(&call)?.p99_ms)));
    Curve { name: name.to_owned(), points: points.collect() }
}

impl Page {
    /// An empty one.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new() }
    }

    /// Adds a heading.
    pub fn heading(&mut self, heading: &str) {
        self.put(format_args!("<h2>{}</h2>\n", escaped(heading)));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: &str) {
        self.put(format_args!("<p>{}</p>\n", escaped(text)));
    }

    /// Adds a table.
    pub fn table<C: AsRef<str>>(&mut self, columns: &[&str], rows: impl IntoIterator<Item: AsRef<[C]>>) {
        let heads = columns.iter().map(|column| format!("<th>{}</th>", escaped(column)));
        self.put(format_args!("<table>\n<tr>{}</tr>\n", heads.collect::<String>()));
        for row in rows {
            let cells = row.as_ref().iter().map(|cell| format!("<td>{}</td>", escaped(cell.as_ref())));
            self.put(format_args!("<tr>{}</tr>\n", cells.collect::<String>()));
        }
        self.body.push_str("</table>\n");
    }

    /// Adds a chart, with a legend below.
    pub fn chart(&mut self, chart: &Chart) -> anyhow::Result<()> {
        let svg = chart.svg()?;
        self.put(format_args!(
            "<figure><figcaption>{}</figcaption>\n{svg}\n<div class=\"legend\">",
            escaped(&chart.title)
        ));
        for (curve, (red, green, blue)) in chart.drawn().zip(COLOURS.into_iter().cycle()) {
            let name = escaped(&curve.name);
            self.put(format_args!("<span style=\"color:rgb({red},{green},{blue})\">&#9632; {name}</span> "));
        }
        self.body.push_str("</div></figure>\n");
        Ok(())
    }

    /// Adds the numbers of these runs, side by side, and their curves.
    pub fn runs(&mut self, runs: &[Summary]) -> anyhow::Result<()> {
        self.table(&COLUMNS, rows(runs));
        for remark in runs.iter().flat_map(remarks) {
            self.text(&remark);
        }
        let over_time = |of: fn(&crate::Second) -> f64| {
            let curve = |run: &Summary| Curve {
                name: run.name.clone(),
                points: run.timeline.iter().map(|second| (second.second as f64 + 0.5, of(second))).collect(),
            };
            runs.iter().map(curve).collect()
        };
        self.chart(&Chart {
            title: "Throughput over time: answers of status 200 in a second".to_owned(),
            x: ("seconds".to_owned(), Scale::Linear),
            y: ("a second".to_owned(), Scale::Linear),
            curves: over_time(|second| second.done as f64),
        })?;
        self.chart(&Chart {
            title: "Latency over time: p99 of the calls that ended in a second".to_owned(),
            x: ("seconds".to_owned(), Scale::Linear),
            y: ("ms".to_owned(), Scale::Logarithmic),
            curves: over_time(|second| second.p99_ms),
        })?;
        for call in Call::ALL {
            let curve = |run: &Summary| {
                let points = run.calls.get(&call)?.percentiles.iter();
                let points = points.map(|&(share, ms)| (1.0 / (1.0 - share), ms)).collect();
                Some(Curve { name: run.name.clone(), points })
            };
            let curves: Vec<Curve> = runs.iter().filter_map(curve).collect();
            if !curves.is_empty() {
                self.chart(&Chart {
                    title: format!("Latency of {} by percentile", call.name()),
                    x: ("share of calls that were answered within it".to_owned(), Scale::Percentiles),
                    y: ("ms".to_owned(), Scale::Logarithmic),
                    curves,
                })?;
            }
        }
        Ok(())
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let (title, body) = (escaped(&self.title), &self.body);
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\n\
            <h1>{title}</h1>\n{body}</html>\n"
        )
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.body.write_fmt(text);
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
