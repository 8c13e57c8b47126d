//! Stands between a tool and the stores, passes everything on, and takes down which right each request takes, on what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The rights on each resource, as the ends of ARNs name them: `table/Users`, `kokoro-medilocker`, `kokoro-medilocker/*`.
pub type Rights = BTreeMap<String, BTreeSet<String>>;

/// What was asked for.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Rights>>);

impl Recorder {
    /// Listens in front of a server; gives the address to ask instead.
    pub async fn before(&self, server: &str) -> String {
        let server = server.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(recorder.clone().pass_on(client, server.clone()));
            }
        });
        address
    }

    /// What was taken down since the last call.
    pub fn take(&self) -> Rights {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    async fn pass_on(self, client: TcpStream, server: String) {
        let server = TcpStream::connect(server).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move {
            // Whoever closes first closes both.
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        });
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..read]);
            while let Some(length) = whole(&bytes) {
                self.note(&bytes[..length]);
                bytes.drain(..length);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    }

    fn note(&self, request: &[u8]) {
        let (head, body) = split(request).unwrap();
        let mut rights = self.0.lock().unwrap();
        for (resource, right) in rights_of(&head, body) {
            rights.entry(resource).or_default().insert(right);
        }
    }
}

/// The head and what there is of the body.
fn split(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8(bytes[..end].to_vec()).unwrap(), &bytes[end + 4..]))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// How long the first request is, once it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let (head, body) = split(bytes)?;
    assert_eq!(field(&head, "transfer-encoding"), None);
    let length: usize = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then_some(head.len() + 4 + length)
}

fn rights_of(head: &str, body: &[u8]) -> Vec<(String, String)> {
    match field(head, "x-amz-target") {
        Some(target) => {
            let operation = target.rsplit('.').next().unwrap();
            tables(operation, &serde_json::from_slice(body).unwrap())
        }
        None => vec![object(head)],
    }
}

/// A transaction takes the rights of its actions (Service Authorization Reference, DynamoDB).
fn tables(operation: &str, body: &Value) -> Vec<(String, String)> {
    let of = |table: &str, operation: &str| (format!("table/{table}"), format!("dynamodb:{operation}"));
    match operation {
        "BatchGetItem" => {
            body["RequestItems"].as_object().unwrap().keys().map(|table| of(table, operation)).collect()
        }
        "TransactWriteItems" => {
            let actions = body["TransactItems"].as_array().unwrap().iter();
            actions
                .flat_map(|action| action.as_object().unwrap())
                .map(|(kind, action)| of(action["TableName"].as_str().unwrap(), &format!("{kind}Item")))
                .collect()
        }
        _ => {
            assert_eq!(body.get("IndexName"), None);
            vec![of(body["TableName"].as_str().unwrap(), operation)]
        }
    }
}

/// A look at an object is a read of it, and one at a bucket a list (the same reference, S3).
fn object(head: &str) -> (String, String) {
    let mut line = head.split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
    let right = match (method, key.is_empty()) {
        ("PUT", true) if query.contains("publicAccessBlock") => "s3:PutBucketPublicAccessBlock",
        ("PUT", true) => "s3:CreateBucket",
        ("HEAD" | "GET", true) => "s3:ListBucket",
        ("HEAD" | "GET", false) => "s3:GetObject",
        ("PUT", false) => "s3:PutObject",
        _ => panic!("which right does {head} take?"),
    };
    let resource = if key.is_empty() { bucket.to_owned() } else { format!("{bucket}/*") };
    (resource, right.to_owned())
}
