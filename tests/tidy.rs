//! House rules that no lint knows.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// Every Rust file of the project, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["engine", "persistence", "web", "tests", "benches"].map(|name| root.join(name)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

fn offenders(rule: impl Fn(&Path, &str) -> bool) -> Vec<PathBuf> {
    sources().into_iter().filter(|(path, text)| rule(path, text)).map(|(path, _)| path).collect()
}

#[test]
fn no_file_is_too_long_to_be_one_thing() {
    assert_eq!(offenders(|_, text| text.lines().count() > LINES_MAX), Vec::<PathBuf>::new());
}

#[test]
fn every_file_of_a_library_says_what_it_is_for() {
    let silent = offenders(|path, text| {
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        !is_test && !text.starts_with("//!")
    });
    assert_eq!(silent, Vec::<PathBuf>::new());
}

#[test]
fn the_calendar_knows_neither_actors_nor_waiting() {
    let core = Path::new("engine/src/calendar");
    let words = ["actix", "tokio", "async ", ".await"];
    let tainted =
        offenders(|path, text| path.starts_with(core) && words.iter().any(|word| text.contains(word)));
    assert_eq!(tainted, Vec::<PathBuf>::new());
}

#[test]
fn the_engine_knows_neither_http_nor_aws() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/Cargo.toml")).unwrap();
    for stranger in ["actix-web", "aws-", "persistence", "serde_json"] {
        assert!(!manifest.contains(stranger), "{stranger}");
    }
}

#[test]
fn one_file_knows_status_codes() {
    let knowing = offenders(|path, text| path.starts_with("web/src") && text.contains("StatusCode"));
    assert_eq!(knowing, [PathBuf::from("web/src/error.rs")]);
}

#[test]
fn nothing_is_left_for_later() {
    // Written apart, so that this file does not accuse itself.
    let marks = [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("TO", "DO"), concat!("#[ign", "ore")];
    let left = offenders(|_, text| marks.iter().any(|mark| text.contains(mark)));
    assert_eq!(left, Vec::<PathBuf>::new());
}

/// The test code in a file: all of it, or the module at its end.
fn test_code<'a>(path: &Path, text: &'a str) -> &'a str {
    let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    if is_test { text } else { text.split_once("#[cfg(test)]\nmod tests {").map_or("", |(_, tests)| tests) }
}

/// Whether a function of this name is called, and none whose name only ends so.
fn calls(text: &str, function: &str) -> bool {
    let call = format!("{function}(");
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(&call).any(|(at, _)| !text[..at].ends_with(is_name))
}

#[test]
fn tests_sleep_on_paused_time_only_or_in_the_helper_that_waits() {
    let helper = Path::new("tests/support/eventually.rs");
    let paused = ["engine/tests", "tests/simulation"];
    let sleeping = offenders(|path, text| {
        let code = test_code(path, text);
        let sleeps = ["sleep", "sleep_until", "sleep_ms"].iter().any(|function| calls(code, function));
        // On paused time a sleep takes none.
        let is_paused = paused.iter().any(|folder| path.starts_with(folder)) || code.contains("start_paused");
        sleeps && !is_paused
    });
    assert_eq!(sleeping, [helper]);
}

#[test]
fn no_test_spins() {
    let yields = [concat!("yield_", "now"), concat!("spin_", "loop")];
    let spinning = offenders(|path, text| {
        let code = test_code(path, text);
        let loops_over_nothing = code.lines().any(|line| {
            let is_loop = line.contains("while ") && !line.contains("while let ");
            is_loop && line.contains(".await") && line.contains(" {}")
        });
        loops_over_nothing || yields.iter().any(|word| code.contains(word))
    });
    assert_eq!(spinning, Vec::<PathBuf>::new());
}

/// A page that another test writes.
const GENERATED: &str = "docs/settings.md";

fn text_of(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The pages of the project, relative to its root.
fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}{name}"));
            }
        }
    }
    pages
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(page: &str) -> Vec<String> {
    let is_kept = |letter: &char| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter);
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(is_kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = text_of(&page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&page).parent().unwrap();
            let path = match file {
                "" => page.clone(),
                file => folder.join(file).to_str().unwrap().replace("docs/../", ""),
            };
            if link.contains("://") || path == GENERATED {
                continue;
            }
            let is_there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists();
            if !is_there || (!anchor.is_empty() && !anchors(&text_of(&path)).iter().any(|it| it == anchor)) {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn the_readme_is_short() {
    let readme = text_of("README.md");
    assert!(readme.lines().count() < 120);
    let wide: Vec<&str> = readme.lines().filter(|line| line.chars().count() > 120).collect();
    assert_eq!(wide, Vec::<&str>::new());
}
