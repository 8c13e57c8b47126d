//! The embedded DynamoDB and the signatures of its callers. The requests are signed here, by AWS's documentation.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use chrono::{DateTime, TimeDelta, Utc};
use engine::{Clock, SystemClock};
use persistence::{AccessKeys, DataFolder, Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};
use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::files::http;
use crate::harness::connect;

const TARGET: &str = "DynamoDB_20120810.ListTables";
const BODY: &str = "{\"Limit\":10}";

/// A request to list tables, and what its signature covers.
struct Call {
    keys: AccessKeys,
    at: DateTime<Utc>,
    service: &'static str,
    /// Headers in the order of their names, with those that are sent but not signed.
    signed: Vec<(&'static str, String)>,
    unsigned: Vec<(&'static str, String)>,
    body: &'static str,
}

impl Call {
    fn to(server: &EmbeddedDynamo) -> Self {
        let at = SystemClock.now();
        Self {
            keys: server.endpoint().keys().unwrap().clone(),
            at,
            service: "dynamodb",
            signed: vec![
                ("host", server.address().trim_start_matches("http://").to_owned()),
                ("x-amz-date", at.format("%Y%m%dT%H%M%SZ").to_string()),
                ("x-amz-target", TARGET.to_owned()),
            ],
            unsigned: Vec::new(),
            body: BODY,
        }
    }

    fn at(mut self, at: DateTime<Utc>) -> Self {
        self.at = at;
        self.signed[1].1 = at.format("%Y%m%dT%H%M%SZ").to_string();
        self
    }

    /// The value of `Authorization`.
    fn authorization(&self) -> String {
        let names: Vec<&str> = self.signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = self.signed.iter().fold(String::new(), |mut lines, (name, value)| {
            writeln!(lines, "{name}:{value}").unwrap();
            lines
        });
        let body = hex(digest(&SHA256, self.body.as_bytes()).as_ref());
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{body}");
        let (date, time) = (self.at.format("%Y%m%d").to_string(), self.at.format("%Y%m%dT%H%M%SZ"));
        let scope = format!("{date}/us-east-1/{}/aws4_request", self.service);
        let canonical = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let key = format!("AWS4{}", self.keys.secret).into_bytes();
        let parts = [date.as_str(), "us-east-1", self.service, "aws4_request", &text];
        let signature = parts.iter().fold(key, |key, part| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
        });
        let (id, signature) = (&self.keys.id, hex(&signature));
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    async fn send(&self) -> (u16, String) {
        self.send_with(Some(&self.authorization())).await
    }

    /// Sends it, and returns the status with the kind of the error, if it is one.
    async fn send_with(&self, authorization: Option<&str>) -> (u16, String) {
        let mut request = http().post(format!("http://{}/", self.signed[0].1)).body(self.body);
        for (name, value) in self.signed.iter().skip(1).chain(&self.unsigned) {
            request = request.header(*name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.unwrap();
        let error = body["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default();
        (status, error.to_owned())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(error: &str) -> (u16, String) {
    (400, error.to_owned())
}

fn accepted() -> (u16, String) {
    (200, String::new())
}

#[tokio::test]
async fn only_the_key_of_the_server_opens_it() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    assert_eq!(Call::to(&server).send().await, accepted());
    connect(&server.endpoint()).await.create_missing_tables().await.unwrap();
    let own = server.endpoint().keys().unwrap().clone();
    for (keys, error) in [
        (AccessKeys { secret: "0".repeat(64), ..own.clone() }, "InvalidSignatureException"),
        (AccessKeys { secret: String::new(), ..own.clone() }, "InvalidSignatureException"),
        (AccessKeys { id: "AKIAIOSFODNN7EXAMPLE".to_owned(), ..own }, "UnrecognizedClientException"),
    ] {
        let stranger = Endpoint::With { address: server.address(), keys };
        let stranger = Dynamo::connect(stranger, TableNames::default()).await.unwrap();
        let told = stranger.client().list_tables().send().await.unwrap_err();
        assert_eq!(told.code(), Some(error));
    }
    server.stop();
}

#[tokio::test]
async fn requests_that_were_altered_after_signing_are_refused() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let wrong = || refused("InvalidSignatureException");
    let signed = Call::to(&server).authorization();
    let body = Call { body: "{\"Limit\":11}", ..Call::to(&server) };
    let mut target = Call::to(&server);
    target.signed[2].1 = "DynamoDB_20120810.DescribeLimits".to_owned();
    let later = Call::to(&server);
    let later_at = later.at + TimeDelta::seconds(1);
    for altered in [body, target, later.at(later_at)] {
        assert_eq!(altered.send_with(Some(&signed)).await, wrong());
    }
    // The name of the call is to be signed, and each header that the client says it has signed is to be there.
    let mut unsigned = Call::to(&server);
    unsigned.unsigned.extend(unsigned.signed.pop());
    assert_eq!(unsigned.send().await, wrong());
    let mut more = Call::to(&server);
    more.unsigned.push(("x-amz-security-token", "token".to_owned()));
    assert_eq!(more.send().await, wrong());
    let absent = signed.replace("x-amz-target,", "x-amz-target;x-more,");
    assert_eq!(Call::to(&server).send_with(Some(&absent)).await, wrong());
    // A signature for S3, as in a pre-signed link, is none for DynamoDB.
    assert_eq!(Call { service: "s3", ..Call::to(&server) }.send().await, wrong());
    let half = &signed[..signed.len() - 32];
    assert_eq!(Call::to(&server).send_with(Some(half)).await, wrong());
    assert_eq!(Call::to(&server).send().await, accepted());
    server.stop();
}

#[tokio::test]
async fn signature_is_good_for_a_quarter_of_an_hour() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let now = SystemClock.now();
    for minutes in [-14, 0, 14] {
        assert_eq!(Call::to(&server).at(now + TimeDelta::minutes(minutes)).send().await, accepted());
    }
    for minutes in [-16, 16, -60 * 24 * 365] {
        let untimely = Call::to(&server).at(now + TimeDelta::minutes(minutes));
        assert_eq!(untimely.send().await, refused("InvalidSignatureException"), "{minutes}");
    }
    server.stop();
}

#[tokio::test]
async fn request_without_a_whole_signature_is_refused_by_name() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let call = Call::to(&server);
    for missing in [None, Some(""), Some("Bearer token"), Some("Basic dXNlcjpwYXNz")] {
        assert_eq!(call.send_with(missing).await, refused("MissingAuthenticationTokenException"));
    }
    let whole = call.authorization();
    for part in ["Credential=", "SignedHeaders=", "Signature=", "/us-east-1", "AWS4-HMAC-SHA256"] {
        let incomplete =
            whole.replace(part, if part.starts_with("AWS4") { "AWS4-ECDSA-P256-SHA256" } else { "" });
        assert_eq!(
            call.send_with(Some(&incomplete)).await,
            refused("IncompleteSignatureException"),
            "{part}"
        );
    }
    let mut dateless = Call::to(&server);
    dateless.signed[1].1 = "yesterday".to_owned();
    assert_eq!(dateless.send().await, refused("IncompleteSignatureException"));
    server.stop();
}

#[tokio::test]
async fn key_is_kept_in_the_data_folder_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let start = || EmbeddedDynamo::start(Where::File(DataFolder::lock(folder.path()).unwrap())).unwrap();
    let server = start();
    let file = folder.path().join("store-secret");
    let keys = server.endpoint().keys().unwrap().clone();
    assert_eq!(fs::read_to_string(&file).unwrap(), keys.secret);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(EmbeddedDynamo::running_in(folder.path()).unwrap(), Some(server.endpoint()));
    server.stop();
    assert_eq!(EmbeddedDynamo::running_in(folder.path()).unwrap(), None);

    // Links that were signed before an upgrade stay good: the secret of the older file is used on.
    fs::rename(&file, folder.path().join("s3-secret")).unwrap();
    let server = start();
    assert_eq!(server.endpoint().keys(), Some(&keys));
    assert!(file.exists() && !folder.path().join("s3-secret").exists());
    server.stop();
}
