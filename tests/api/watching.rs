//! Holds the alert rules and the dashboard of `deploy/` to the program's own `/metrics`: each names metrics, labels and
//! words that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Reply, TestApp};
use crate::yaml;

/// The words of PromQL, and of Grafana's variables, that the expressions use.
const WORDS: [&str; 10] = [
    "and",
    "by",
    "histogram_quantile",
    "increase",
    "instance",
    "label_values",
    "rate",
    "sum",
    "topk",
    // Whether a scrape went well: Prometheus' own.
    "up",
];
/// The labels that Prometheus adds, and that of a histogram's buckets.
const PROMETHEUS_LABELS: [&str; 3] = ["instance", "job", "le"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What stands in braces behind a metric, one by one.
#[derive(Debug)]
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// What an expression names.
#[derive(Debug, Default)]
struct Named {
    /// Each word that is none of PromQL's, with its matchers.
    metrics: Vec<(String, Vec<Matcher>)>,
    /// The labels in `by (..)`.
    kept: BTreeSet<String>,
}

fn matchers(text: &str) -> Vec<Matcher> {
    let matcher = |text: &str| {
        let (label, rest) = text.split_at(text.find(['=', '!']).unwrap());
        let (operator, value) = rest.split_at(rest.find('"').unwrap());
        let value = value.trim_matches('"').to_owned();
        Matcher { label: label.trim().to_owned(), operator: operator.to_owned(), value }
    };
    text.split(',').map(matcher).collect()
}

fn named_in(expression: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let word_end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if first.is_ascii_digit() || word_end == 0 {
            let skipped = match first {
                '[' => rest.find(']').unwrap() + 1,
                _ => word_end.max(first.len_utf8()),
            };
            rest = &rest[skipped..];
            continue;
        }
        let (word, after) = rest.split_at(word_end);
        rest = after;
        if word == "by" {
            let (labels, after) = rest.trim_start_matches([' ', '(']).split_once(')').unwrap();
            named.kept.extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = after;
            continue;
        }
        let mut of_it = Vec::new();
        if let Some(after) = rest.strip_prefix('{') {
            let (inside, after) = after.split_once('}').unwrap();
            of_it = matchers(inside);
            rest = after;
        }
        if !WORDS.contains(&word) {
            named.metrics.push((word.to_owned(), of_it));
        }
    }
    named
}

/// What `/metrics` shows, and the names and labels in the source of what it shows only once it has happened.
struct Known {
    series: Vec<(String, BTreeMap<String, String>)>,
    source: String,
}

impl Known {
    async fn of(app: &TestApp) -> Self {
        let reply = Reply::of(app.request(Method::GET, "/metrics")).await;
        let text = reply.body.as_str().unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.strip_suffix("\"}").unwrap_or(labels).split("\",");
            let labels = labels.filter_map(|label| label.split_once("=\""));
            (name.to_owned(), labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
        });
        let source = read("web/src/metrics.rs") + &read("engine/src/metrics.rs");
        Self { series: series.collect(), source }
    }

    fn has_label(&self, name: &str, label: &str, is_meant: impl Fn(&str) -> bool) -> bool {
        let of_name = self.series.iter().filter(|(it, _)| it == name);
        of_name.filter_map(|(_, labels)| labels.get(label)).any(|value| is_meant(value))
    }

    /// What is wrong with a metric and its matchers.
    fn complaints(&self, metric: &str, matchers: &[Matcher]) -> Vec<String> {
        if !self.series.iter().any(|(name, _)| name == metric) {
            return vec![format!("{metric} is not in /metrics")];
        }
        let mut complaints = Vec::new();
        for Matcher { label, operator, value } in matchers {
            if PROMETHEUS_LABELS.contains(&label.as_str()) {
                continue;
            }
            let alternatives =
                if operator.contains('~') { value.split('|').collect() } else { vec![&**value] };
            for word in alternatives {
                let is_pattern = operator.contains('~') && word.contains(['.', '*', '+', '$', '[']);
                if !self.has_label(metric, label, |it| is_pattern || it == word) {
                    complaints.push(format!("{metric} has no {label}=\"{word}\""));
                }
            }
        }
        complaints
    }

    /// Whether the source has this metric, or what is derived from a histogram.
    fn has_in_source(&self, metric: &str) -> bool {
        let plain = ["_bucket", "_count", "_sum"].iter().find_map(|end| metric.strip_suffix(end));
        self.source.contains(&format!("\"{}\"", plain.unwrap_or(metric)))
    }

    fn complaints_of_labels(&self, named: &Named) -> Vec<String> {
        let is_of_some = |label: &&String| {
            PROMETHEUS_LABELS.contains(&label.as_str())
                || named.metrics.iter().any(|(metric, _)| {
                    let is_shown = self.series.iter().any(|(name, _)| name == metric);
                    self.has_label(metric, label, |_| true)
                        || (!is_shown && self.source.contains(&format!("\"{label}\" =>")))
                })
        };
        named
            .kept
            .iter()
            .filter(|label| !is_of_some(label))
            .map(|label| format!("no label {label}"))
            .collect()
    }
}

/// An application that was asked for what the rules and the dashboard select.
async fn busy_app() -> TestApp {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    assert_eq!(user.book(&asha, "2026-11-24", "10:00").await.0, 200);
    assert_eq!(user.book(&asha, "2026-11-24", "10:00").await.0, 409);
    assert_eq!(user.cancel(&asha, "2026-11-24", "10:00").await.0, 200);
    app
}

fn alerts() -> Vec<Value> {
    let rules = yaml::load(&read("deploy/alerts.yml"));
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn alert_rules_name_metrics_labels_and_words_that_the_program_has_from_its_start() {
    let app = busy_app().await;
    let known = Known::of(&app).await;
    let mut complaints = Vec::new();
    let mut found = 0;
    for alert in alerts() {
        let named = named_in(alert["expr"].as_str().unwrap());
        for (metric, matchers) in &named.metrics {
            found += 1;
            complaints.extend(known.complaints(metric, matchers));
        }
        complaints.extend(known.complaints_of_labels(&named));
        let summary = alert["annotations"]["summary"].as_str().unwrap();
        for label in summary.split("$labels.").skip(1).map(|rest| rest.split(' ').next().unwrap()) {
            if label != "instance" && !named.kept.contains(label) {
                complaints.push(format!("{}: its sum has no label {label}", alert["alert"]));
            }
        }
    }
    assert_eq!(complaints, Vec::<String>::new());
    assert!(found >= 14, "{found}");
    app.stop().await;
}

/// Every PromQL expression below a part of the dashboard.
fn expressions(part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(map) => {
            for (key, it) in map {
                match it {
                    Value::String(text) if key == "expr" || key == "query" => found.push(text.clone()),
                    it => expressions(it, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|it| expressions(it, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[actix_web::test]
async fn dashboard_names_metrics_labels_and_words_that_the_program_has() {
    let app = busy_app().await;
    let known = Known::of(&app).await;
    let mut found = Vec::new();
    expressions(&serde_json::from_str(&read("deploy/grafana/kokoro.json")).unwrap(), &mut found);
    assert!(found.len() >= 24, "{found:?}");
    let mut complaints = Vec::new();
    for expression in &found {
        let named = named_in(expression);
        for (metric, matchers) in &named.metrics {
            // Payments, for one, are shown once there is one.
            let is_shown = known.series.iter().any(|(name, _)| name == metric);
            if is_shown || !known.has_in_source(metric) {
                complaints.extend(known.complaints(metric, matchers));
            }
        }
        complaints.extend(known.complaints_of_labels(&named));
    }
    assert_eq!(complaints, Vec::<String>::new());
    app.stop().await;
}

#[test]
fn operators_are_told_what_to_do_about_each_alert() {
    let operations = read("docs/operations.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert!(operations.contains(&format!("| `{name}` |")), "docs/operations.md does not name {name}");
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["info", "warning", "critical"].contains(&severity), "{name}: {severity}");
    }
}
