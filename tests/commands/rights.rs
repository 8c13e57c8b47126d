//! What the tools ask of AWS, taken down while they do it, beside what `template.yaml` and the documents grant for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use persistence::{AccessKeys, BucketNames, DataFolder, EmbeddedDynamo, EmbeddedS3, Endpoint, Where};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::*;
use crate::old_platform;
use crate::recorder::{Recorder, Rights};
use crate::stores::*;
use crate::yaml;

/// The stores as at another machine, behind somebody who takes down what is asked of them.
struct Recorded {
    recorder: Recorder,
    environment: Vec<(&'static str, String)>,
    _servers: (EmbeddedDynamo, EmbeddedS3, TempDir),
}

impl Recorded {
    async fn start() -> Self {
        // A tool is told one key for both.
        let scratch = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(scratch.path()).unwrap();
        let rows = EmbeddedDynamo::start(Where::File(folder.clone())).unwrap();
        let files = EmbeddedS3::start(Where::File(folder), None).unwrap();
        let Endpoint::With { address, keys: AccessKeys { id, secret } } = files.endpoint() else {
            panic!("no keys")
        };
        let recorder = Recorder::default();
        let environment = vec![
            ("DYNAMODB_ENDPOINT", recorder.before(&rows.address()).await),
            ("S3_ENDPOINT", recorder.before(&address).await),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ];
        Self { recorder, environment, _servers: (rows, files, scratch) }
    }

    /// Runs a tool, and gives what it asked for.
    async fn run(&self, arguments: &[&str], status: i32) -> Rights {
        let mut command = tool(Path::new("nowhere"), arguments);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        self.recorder.take()
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What a policy of the template grants.
fn granted(policy: &str) -> Rights {
    let template = yaml::load(&read("template.yaml"));
    let BucketNames { medilocker, documents } = BucketNames::default();
    let policy = &template["Resources"][policy];
    assert_eq!(policy["Type"], "AWS::IAM::ManagedPolicy");
    let mut granted = Rights::new();
    for statement in policy["Properties"]["PolicyDocument"]["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let list = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for resource in list(&statement["Resource"]) {
            let (_, name) = resource["!Sub"].as_str().unwrap().rsplit_once(':').unwrap();
            let name = name.replace("${MedilockerBucketName}", &medilocker);
            let name = name.replace("${DocumentsBucketName}", &documents);
            let actions = list(&statement["Action"]).into_iter().map(|it| it.as_str().unwrap().to_owned());
            granted.entry(name).or_default().extend(actions);
        }
    }
    granted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_policies_grant_what_check_and_export_ask_for_no_less_and_no_more() {
    let (scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    store.dynamo.create_missing_tables().await.unwrap();
    drop(store);
    let here = scratch.path().join("here");
    export(&data, &here);

    let recorded = Recorded::start().await;
    let imported = recorded.run(&["import", here.to_str().unwrap()], 0).await;
    assert_eq!(recorded.run(&["check"], 20).await, granted("CheckPolicy"));
    let there = scratch.path().join("there");
    assert_eq!(recorded.run(&["export", there.to_str().unwrap()], 0).await, granted("ExportPolicy"));

    // What reads changes nothing.
    for policy in ["CheckPolicy", "ExportPolicy"] {
        for right in granted(policy).into_values().flatten() {
            let verb = right.split_once(':').unwrap().1;
            assert!(
                ["Get", "List", "Describe", "Scan", "Query", "BatchGet"]
                    .iter()
                    .any(|good| verb.starts_with(good))
            );
        }
    }
    // An import is rare, and for an empty store: its rights are named, not granted.
    let commands = read("docs/commands.md");
    let line = commands.lines().find(|line| line.starts_with("`import` needs")).unwrap();
    let named: BTreeSet<String> =
        line.split('`').filter(|word| word.contains(':')).map(str::to_owned).collect();
    let mut imported: BTreeSet<String> = imported.into_values().flatten().collect();
    // Only AWS is asked to close a bucket to the public.
    imported.insert("s3:PutBucketPublicAccessBlock".to_owned());
    assert_eq!(imported, named);
}
