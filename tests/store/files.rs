//! Lockers to test, each with a bucket of its own, and short names for what goes into them.

use std::collections::BTreeMap;
use std::io::Write;

use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, Utc};
use engine::{Clock, SystemClock};
use persistence::{Dynamo, EmbeddedDynamo, EmbeddedS3, Endpoint, FileName, Locker, NewFile, S3, Where};

use crate::{fresh_names, harness};

/// One S3 under test, with a journal beside it.
pub(crate) struct Files {
    pub(crate) s3: S3,
    pub(crate) dynamo: Dynamo,
    /// Whether it is ours, and not one that the environment names.
    pub(crate) is_embedded: bool,
}

impl Files {
    pub(crate) async fn connect(s3: Endpoint, dynamo: Dynamo) -> Self {
        let is_embedded = matches!(s3, Endpoint::With { .. });
        let s3 = S3::connect(s3, None, fresh_names::buckets()).await.unwrap();
        s3.create_missing_buckets().await.unwrap();
        Self { s3, dynamo, is_embedded }
    }

    /// A locker as a process has it that has just started.
    pub(crate) fn locker(&self) -> Locker {
        self.s3.locker(&self.dynamo)
    }

    /// Puts an object into the locker's bucket as somebody else would.
    pub(crate) async fn put(&self, key: &str, bytes: &'static [u8], metadata: &[(&str, &str)]) {
        let bucket = &self.s3.buckets().medilocker;
        let mut request = self.s3.client().put_object().bucket(bucket).key(key);
        for (name, value) in metadata {
            request = request.metadata(*name, *value);
        }
        Box::pin(request.body(ByteStream::from_static(bytes)).send()).await.unwrap();
    }

    /// Every key in the locker's bucket.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let request = self.s3.client().list_objects_v2().bucket(&self.s3.buckets().medilocker);
        Box::pin(request.send())
            .await
            .unwrap()
            .contents()
            .iter()
            .map(|object| object.key().unwrap().to_owned())
            .collect()
    }

    /// Leaves an S3 that others use as it was.
    async fn remove_all(&self) {
        let client = self.s3.client();
        for bucket in [&self.s3.buckets().medilocker, &self.s3.buckets().documents] {
            let listed = client.list_objects_v2().bucket(bucket).send().await.unwrap();
            for key in listed.contents().iter().filter_map(|object| object.key()) {
                client.delete_object().bucket(bucket).key(key).send().await.unwrap();
            }
            // The embedded server knows no such call.
            let _ = client.delete_bucket().bucket(bucket).send().await;
        }
    }
}

/// Runs a test on every S3, with fresh buckets and an embedded DynamoDB.
pub(crate) async fn each_files(test: impl AsyncFn(&Files)) {
    let tables = EmbeddedDynamo::start(Where::Memory).unwrap();
    let dynamo = harness::connect(&tables.endpoint()).await;
    dynamo.create_missing_tables().await.unwrap();
    println!("on the embedded server");
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    test(&Files::connect(server.endpoint(), dynamo.clone()).await).await;
    server.stop();
    if let Ok(endpoint) = std::env::var("KOKORO_TEST_S3_ENDPOINT") {
        println!("on the endpoint that the environment names");
        let files = Files::connect(Endpoint::At(endpoint), dynamo).await;
        test(&files).await;
        files.remove_all().await;
    }
    tables.stop();
}

/// The present: servers judge the age of a signed URL by the real clock.
pub(crate) fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// A file to upload.
pub(crate) fn file(name: &str, bytes: &[u8]) -> NewFile {
    file_with(name, bytes, &[])
}

pub(crate) fn file_with(name: &str, bytes: &[u8], metadata: &[(&str, &str)]) -> NewFile {
    let mut content = tempfile::tempfile().unwrap();
    content.write_all(bytes).unwrap();
    NewFile {
        name: FileName::parse(name).unwrap(),
        content,
        size: bytes.len() as u64,
        metadata: pairs(metadata),
    }
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a locker lists, by name.
pub(crate) async fn names(locker: &Locker, owner: &str) -> Vec<String> {
    locker.list(owner, now()).await.unwrap().into_iter().map(|file| file.name).collect()
}

/// A client like any other: no keys, no knowledge of S3.
pub(crate) fn http() -> reqwest::Client {
    web::http_client::install_cryptography();
    reqwest::Client::new()
}

/// Fetches a URL as a browser would: status, content disposition, bytes.
pub(crate) async fn fetch(url: &str) -> (u16, String, Vec<u8>) {
    let answer = http().get(url).send().await.unwrap();
    let disposition = answer.headers().get("content-disposition");
    let disposition = disposition.map_or("", |value| value.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), disposition, answer.bytes().await.unwrap().to_vec())
}
