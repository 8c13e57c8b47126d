//! The embedded S3: nobody in without our signature, nothing there by halves, and what was stored is still there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use futures::FutureExt;
use futures::future::join;
use persistence::{
    AccessKeys, BucketNames, ConnectError, DataFolder, EmbeddedDynamo, EmbeddedS3, Endpoint, S3, Where,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::durability::{Served, letting_through};
use crate::files::{fetch, file, http, names, now};
use crate::harness;

async fn connect(endpoint: Endpoint) -> S3 {
    let s3 = S3::connect(endpoint, None, BucketNames::default()).await.unwrap();
    s3.create_missing_buckets().await.unwrap();
    s3
}

fn bucket() -> String {
    BucketNames::default().medilocker
}

async fn put(client: &Client, key: &str, bytes: &'static [u8]) {
    let request = client.put_object().bucket(bucket()).key(key).body(ByteStream::from_static(bytes));
    Box::pin(request.send()).await.unwrap();
}

async fn get(client: &Client, key: &str) -> Option<Vec<u8>> {
    let object = Box::pin(client.get_object().bucket(bucket()).key(key).send()).await.ok()?;
    Some(object.body.collect().await.unwrap().to_vec())
}

fn address(endpoint: &Endpoint) -> String {
    let Endpoint::With { address, .. } = endpoint else { panic!("no keys") };
    address.trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn files_and_their_urls_outlive_a_restart_beside_the_tables() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let start = |listen| {
        let folder = DataFolder::lock(&folder).unwrap();
        let tables = EmbeddedDynamo::start(Where::File(folder.clone())).unwrap();
        (tables, EmbeddedS3::start(Where::File(folder), listen).unwrap())
    };
    let (tables, files) = start(None);
    let public = files.public_address();
    let listen = public.trim_start_matches("http://").parse().unwrap();
    let dynamo = harness::connect(&tables.endpoint()).await;
    dynamo.create_missing_tables().await.unwrap();
    let s3 = S3::connect(files.endpoint(), Some(public), BucketNames::default()).await.unwrap();
    s3.create_missing_buckets().await.unwrap();
    let locker = s3.locker(&dynamo);
    locker.upload("ada@x.com", vec![file("a", b"bytes")], now()).await.unwrap();
    let url = locker.download_url("ada@x.com", "a", now()).await.unwrap().unwrap();
    files.stop();
    tables.stop();

    let (tables, files) = start(Some(listen));
    let dynamo = harness::connect_as(&tables.endpoint(), dynamo.tables().clone()).await;
    let locker = connect(files.endpoint()).await.locker(&dynamo);
    assert_eq!(names(&locker, "ada@x.com").await, ["a"]);
    assert_eq!(fetch(&url).await.2, b"bytes");
}

#[tokio::test]
async fn urls_carry_the_address_that_browsers_know_and_are_good_there() {
    let tables = EmbeddedDynamo::start(Where::Memory).unwrap();
    let dynamo = harness::connect(&tables.endpoint()).await;
    dynamo.create_missing_tables().await.unwrap();
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let address = server.public_address();
    let port = address.rsplit_once(':').unwrap().1;
    // Another name for this machine, as a proxy has that hands the Host on.
    let public = format!("http://localhost:{port}");
    let s3 = S3::connect(server.endpoint(), Some(public.clone()), BucketNames::default()).await.unwrap();
    s3.create_missing_buckets().await.unwrap();
    let locker = s3.locker(&dynamo);
    locker.upload("ada@x.com", vec![file("a", b"bytes")], now()).await.unwrap();
    let url = locker.download_url("ada@x.com", "a", now()).await.unwrap().unwrap();
    assert!(url.starts_with(&public), "{url}");
    assert_eq!(fetch(&url).await.2, b"bytes");
    for address in ["https://clinic.example/files", "clinic.example", "http://", "ftp://clinic.example"] {
        let refused = S3::connect(server.endpoint(), Some(address.to_owned()), BucketNames::default()).await;
        assert!(matches!(refused, Err(ConnectError::NotAnAddress(_))), "{address}");
    }
}

#[tokio::test]
async fn nobody_else_may_read_the_files_and_no_name_shows() {
    let folder = tempfile::tempdir().unwrap();
    let locked = DataFolder::lock(folder.path()).unwrap();
    let server = EmbeddedS3::start(Where::File(locked), None).unwrap();
    put(connect(server.endpoint()).await.client(), "ada@x.com/hiv.pdf", b"bytes").await;
    let mut seen = 0;
    let mut paths = vec![folder.path().join("s3"), folder.path().join("store-secret")];
    while let Some(path) = paths.pop() {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected, "{path:?}");
        assert!(!path.to_str().unwrap().contains("ada") && !path.to_str().unwrap().contains("hiv"));
        seen += usize::from(path.is_file());
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn without_our_signature_there_is_nothing_to_be_had() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let s3 = connect(server.endpoint()).await;
    put(s3.client(), "a", b"secret").await;
    let url = format!("http://{}/{}", address(&server.endpoint()), bucket());
    let http = http();
    let form = http
        .post(&url)
        .header("content-type", "multipart/form-data; boundary=x")
        .body(format!("--x\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\n{}", "k".repeat(1 << 20)));
    for request in [
        http.get(format!("{url}/a")),
        http.head(format!("{url}/a")),
        http.get(&url),
        http.get(format!("http://{}/", address(&server.endpoint()))),
        http.put(format!("{url}/b")).body("x"),
        http.delete(format!("{url}/a")),
    ] {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_client_error(), "{answer:?}");
        assert!(!answer.text().await.unwrap().contains("secret"));
    }
    // Whoever is still sending when it is refused may find the connection closed before it reads why.
    match form.send().await {
        Ok(answer) => assert!(answer.status().is_client_error(), "{answer:?}"),
        Err(error) => assert!(error.is_request(), "{error:?}"),
    }
    let keys = AccessKeys { id: "kokoro".to_owned(), secret: "0".repeat(64) };
    let stranger = Endpoint::With { address: format!("http://{}", address(&server.endpoint())), keys };
    let stranger = S3::connect(stranger, None, BucketNames::default()).await.unwrap();
    let refused = stranger.client().get_object().bucket(bucket()).key("a").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("SignatureDoesNotMatch"));
    assert_eq!(get(s3.client(), "a").await.unwrap(), b"secret");
    assert_eq!(get(s3.client(), "b").await, None);
}

#[tokio::test]
async fn of_two_puts_where_there_is_none_exactly_one_is_made() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let s3 = connect(server.endpoint()).await;
    for round in 0..20 {
        let put = |bytes: &'static [u8]| {
            let request =
                s3.client().put_object().bucket(bucket()).key(format!("a/{round}")).if_none_match("*");
            Box::pin(request.body(ByteStream::from_static(bytes)).send())
        };
        let (one, other) = join(put(b"one"), put(b"other")).await;
        let (won, lost) = match (one, other) {
            (Ok(_), Err(lost)) => (&b"one"[..], lost),
            (Err(lost), Ok(_)) => (&b"other"[..], lost),
            both => panic!("{both:?}"),
        };
        assert_eq!(lost.code(), Some("PreconditionFailed"));
        assert_eq!(get(s3.client(), &format!("a/{round}")).await.unwrap(), won);
    }
}

#[tokio::test]
async fn a_body_that_ends_early_or_is_not_what_it_says_leaves_what_was_there() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let s3 = connect(server.endpoint()).await;
    put(s3.client(), "a", b"before").await;
    let wrong = s3.client().put_object().bucket(bucket()).key("a").body(ByteStream::from_static(b"after"));
    let refused = wrong.content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("BadDigest"));

    let config =
        aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_secs(60)).unwrap();
    let signed = s3.client().put_object().bucket(bucket()).key("a").presigned(config).await.unwrap();
    let address = address(&server.endpoint());
    let path = signed.uri().split_once(&address).unwrap().1;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 100\r\n\r\nhalf");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(get(s3.client(), "a").await.unwrap(), b"before");
}

#[tokio::test]
async fn a_list_comes_in_pages_and_a_part_of_an_object_as_a_part() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let s3 = connect(server.endpoint()).await;
    for key in ["a/1", "a/2", "a/3", "b/1", "a"] {
        put(s3.client(), key, b"0123456789").await;
    }
    let mut pages =
        s3.client().list_objects_v2().bucket(bucket()).prefix("a").max_keys(2).into_paginator().send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 2);
        listed.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(listed, ["a", "a/1", "a/2", "a/3"]);
    let part = s3.client().get_object().bucket(bucket()).key("a").range("bytes=2-4").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 2-4/10"));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"234");
    let beyond = s3.client().get_object().bucket(bucket()).key("a").range("bytes=10-").send().await;
    assert_eq!(beyond.unwrap_err().code(), Some("InvalidRange"));
}

#[tokio::test]
async fn what_it_does_not_know_or_cannot_keep_it_refuses() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let s3 = connect(server.endpoint()).await;
    let client = s3.client();
    let copy = client.copy_object().bucket(bucket()).key("b").copy_source(format!("{}/a", bucket()));
    assert_eq!(copy.send().await.unwrap_err().code(), Some("NotImplemented"));
    let long = client.put_object().bucket(bucket()).key("k".repeat(1025)).body(ByteStream::from_static(b"x"));
    assert_eq!(long.send().await.unwrap_err().code(), Some("KeyTooLongError"));
    let put = || client.put_object().bucket(bucket()).key("k").body(ByteStream::from_static(b"x"));
    for conditional in [put().if_match("\"tag\""), put().if_match("*"), put().if_none_match("\"tag\"")] {
        assert_eq!(conditional.send().await.unwrap_err().code(), Some("NotImplemented"));
    }
    let delete = client.delete_object().bucket(bucket()).key("k").if_match("*");
    assert_eq!(delete.send().await.unwrap_err().code(), Some("NotImplemented"));
    let nowhere = client.put_object().bucket("nowhere").key("k").body(ByteStream::from_static(b"x"));
    assert_eq!(nowhere.send().await.unwrap_err().code(), Some("NoSuchBucket"));
    let large = client.put_object().bucket(bucket()).key("k").body(ByteStream::from(vec![0; 33 << 20]));
    assert!(large.send().await.is_err());
    assert_eq!(get(client, "k").await, None);
}

#[tokio::test]
async fn a_stopped_server_is_gone_and_so_is_what_was_in_memory() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let addresses = [server.endpoint().address().unwrap().to_owned(), server.public_address()]
        .map(|address| address.trim_start_matches("http://").to_owned());
    for address in &addresses {
        assert!(TcpStream::connect(address).await.is_ok());
    }
    server.stop();
    for address in &addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let server = EmbeddedS3::start(Where::Memory, None).unwrap();
    let taken = server.public_address().trim_start_matches("http://").parse().unwrap();
    assert!(EmbeddedS3::start(Where::Memory, Some(taken)).is_err());
}

#[tokio::test]
async fn an_object_is_not_answered_before_it_and_its_name_are_on_the_disk() {
    let served = Served::start().await;
    let (s3, _) = letting_through(&served.gate, connect(served.files.clone())).await;
    letting_through(&served.gate, put(s3.client(), "a/before", b"bytes")).await;
    for existing in [false, true] {
        let mut putting = Box::pin(put(s3.client(), "a/b", b"bytes"));
        // The file, then the folder that names it.
        for number in 0..2 {
            let flush = tokio::select! {
                biased;
                () = &mut putting => panic!("answered after {number} flushes"),
                flush = served.flush() => flush,
            };
            let there = get(s3.client(), "a/b").await.is_some();
            assert_eq!(there, existing || number == 1);
            assert!((&mut putting).now_or_never().is_none());
            flush.let_through().await;
        }
        let ((), more) = letting_through(&served.gate, putting).await;
        assert_eq!(more, 0);
    }
}

#[tokio::test]
async fn an_object_that_could_not_be_flushed_is_not_acknowledged() {
    let served = Served::start().await;
    let (s3, _) = letting_through(&served.gate, connect(served.files.clone())).await;
    let request =
        s3.client().put_object().bucket(bucket()).key("a/b").body(ByteStream::from_static(b"bytes"));
    let mut putting = Box::pin(request.send());
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut putting => break outcome,
            flush = served.flush() => flush.fail().await,
        }
    };
    assert_eq!(outcome.unwrap_err().code(), Some("InternalError"));
    assert_eq!(get(s3.client(), "a/b").await, None);
}

#[tokio::test]
async fn a_deletion_is_not_answered_before_it_is_on_the_disk() {
    let served = Served::start().await;
    let (s3, _) = letting_through(&served.gate, connect(served.files.clone())).await;
    letting_through(&served.gate, put(s3.client(), "a/b", b"bytes")).await;
    let deletion = s3.client().delete_object().bucket(bucket()).key("a/b").send();
    let (deleted, flushes) = letting_through(&served.gate, Box::pin(deletion)).await;
    deleted.unwrap();
    assert_eq!(flushes, 1);
}
