//! Holds docs/settings.md to the definition of the settings. `KOKORO_UPDATE=1 cargo test -p web settings_md` writes it.

use std::fmt::Write;
use std::path::Path;

use clap::Arg;

use super::reading::{definition, settings};

const INTRODUCTION: &str = "# Settings

`kokoro --help` lists the same settings. An option wins over its variable. An empty variable counts as unset. Members of a list are
separated by commas.

A setting without an option is set by its variable only. Secrets have no option, because other users of the machine can read a
command line. The AWS SDK, the logger and the time zone files have variables of their own.

`kokoro check`, `export` and `import` read Store, Files, Log and the time zone only. Their options may follow the name of the command.

The program reports all variables that it cannot understand at once and ends with status 78 before it starts anything. An option that it
cannot understand ends it with status 2.

This file is generated: `KOKORO_UPDATE=1 cargo test -p web settings_md`.
";

fn row(arg: &Arg, variable: &str) -> String {
    let option = arg.get_long().filter(|_| !arg.is_hide_set());
    let option = option.map_or_else(|| "none".to_owned(), |option| format!("`--{option}`"));
    let default = arg.get_default_values().first();
    let default = default.map_or_else(|| "none".to_owned(), |value| format!("`{}`", value.display()));
    let meaning = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    format!("| `{variable}` | {option} | {default} | {meaning}. |")
}

fn rendered() -> String {
    let command = definition();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for (arg, _) in settings(&command) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    let mut text = INTRODUCTION.to_owned();
    for heading in headings {
        let title = heading.unwrap_or("Demo");
        let _ =
            writeln!(text, "\n## {title}\n\n| variable | option | default | meaning |\n|---|---|---|---|");
        for (arg, variable) in settings(&command).filter(|(arg, _)| arg.get_help_heading() == heading) {
            let _ = writeln!(text, "{}", row(arg, variable));
        }
    }
    text
}

#[test]
fn settings_md_is_rendered_from_the_definition() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let rendered = rendered();
    if std::env::var_os("KOKORO_UPDATE").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == rendered,
        "docs/settings.md is out of date: KOKORO_UPDATE=1 cargo test -p web settings_md"
    );
}
