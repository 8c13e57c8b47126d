//! Holds GitHub's workflow to `.ci/run`: the same scripts, side by side.

use std::collections::BTreeSet;
use std::path::Path;

use super::{read, yaml};

#[test]
fn workflow_calls_every_script_that_ci_calls() {
    let workflow = yaml::load(&read(".github/workflows/ci.yml"));
    let scripts = workflow["jobs"]["outside"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let scripts: BTreeSet<&str> = scripts.iter().map(|it| it["script"].as_str().unwrap()).collect();
    for script in &scripts {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci").join(script).is_file(), "{script}");
    }
    let run = read(".ci/run");
    let steps = run.lines().filter_map(|line| line.trim().strip_prefix("step .ci/"));
    let steps: BTreeSet<&str> = steps.map(|step| step.split(' ').next().unwrap()).collect();
    assert!(steps.is_subset(&scripts), "{steps:?} {scripts:?}");
}

#[test]
fn workflow_may_read_alone() {
    let workflow = yaml::load(&read(".github/workflows/ci.yml"));
    assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }));
}
