//! A data folder that the test itself opens, and the tools that read it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use persistence::{BucketNames, DataFolder, Dynamo, EmbeddedDynamo, EmbeddedS3, S3, TableNames, Where};
use serde_json::Value;

/// Rows and files, while nobody serves them.
pub struct Opened {
    pub dynamo: Dynamo,
    pub s3: S3,
    _servers: (EmbeddedS3, EmbeddedDynamo),
}

impl Opened {
    /// Opens a data folder, and makes it where it is missing. The server of the test deletes nothing by itself.
    pub async fn at(folder: &Path) -> Self {
        let folder = DataFolder::lock(folder).unwrap();
        let rows = EmbeddedDynamo::start_unswept(Where::File(folder.clone())).unwrap();
        let files = EmbeddedS3::start(Where::File(folder), None).unwrap();
        let dynamo = Dynamo::connect(rows.endpoint(), TableNames::default()).await.unwrap();
        let s3 = S3::connect(files.endpoint(), None, BucketNames::default()).await.unwrap();
        dynamo.create_missing_tables().await.unwrap();
        s3.create_missing_buckets().await.unwrap();
        Self { dynamo, s3, _servers: (files, rows) }
    }

    pub async fn put(&self, table: &str, row: &[(&str, AttributeValue)]) {
        let row = row.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.dynamo.client().put_item().table_name(table).set_item(Some(row)).send().await.unwrap();
    }

    pub async fn put_file(&self, bucket: &str, key: &str, bytes: &[u8], metadata: &[(&str, &str)]) {
        let body = ByteStream::from(bytes.to_vec());
        let mut request = self.s3.client().put_object().bucket(bucket).key(key).body(body);
        for (name, value) in metadata {
            request = request.metadata(*name, *value);
        }
        Box::pin(request.send()).await.unwrap();
    }
}

pub fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A tool over a data folder.
pub fn tool(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kokoro"));
    command.env_clear().args(arguments).arg("--data-dir").arg(data).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn run(data: &Path, arguments: &[&str]) -> Output {
    tool(data, arguments).output().unwrap()
}

/// Runs it to its good end, and gives what it said.
pub fn done(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it to its bad end, and gives what it said about that.
pub fn refused(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// Exports a store, and gives its summary.
pub fn export(data: &Path, folder: &Path) -> Vec<String> {
    summary(&done(data, &["export", folder.to_str().unwrap()]))
}

/// Imports a folder, and gives the summary.
pub fn import(data: &Path, folder: &Path) -> Vec<String> {
    summary(&done(data, &["import", folder.to_str().unwrap()]))
}

/// The lines about the parts.
pub fn summary(said: &str) -> Vec<String> {
    let lines: Vec<String> =
        said.lines().filter(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect();
    assert_eq!(lines.len(), 9, "{said}");
    lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The report of a check, and its exit status.
pub fn check(data: &Path) -> (Value, i32) {
    let output = run(data, &["check", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {errors}"));
    (report, output.status.code().unwrap())
}
