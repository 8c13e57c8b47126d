//! Requests that cannot be parsed: a client alone can send any number of them, so they are counted and raise no alarm.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::*;

/// A node that has not closed a connection by then never will.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often each request is sent.
const TIMES: usize = 20;

/// Requests, with the fault under which each is counted. One without a fault is parsed, or never complete.
fn requests() -> Vec<(Option<&'static str>, Vec<u8>)> {
    let long = "a".repeat(140_000);
    let headers = "X-Many: 1\r\n".repeat(200);
    let chunked = "Host: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
    let client_hello = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03\x8a\x01\x02\x03\r\n\r\n".to_vec();
    let texts = [
        (Some("header"), "\u{0}\u{1}\u{2}garbage\r\n\r\n".to_owned()),
        (Some("header"), "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (Some("header"), "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n".to_owned()),
        (Some("header"), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n".to_owned()),
        (Some("version"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (Some("uri"), "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (Some("too_large"), format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}")),
        (Some("too_large"), format!("GET / HTTP/1.1\r\n{headers}\r\n")),
        (None, format!("POST /auth/logout HTTP/1.1\r\n{chunked}\r\n\r\nno size\r\n")),
        (None, format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: {}\r\n\r\n", &long[..20_000])),
        (None, "POST /payment/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Razorpay-Signature: 00\r\nConnection: close\r\n\r\n{}".to_owned()),
        (None, "POST /auth/loginUser HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{".to_owned()),
        (None, "GET / HTTP/1.1\r\nHos".to_owned()),
        (None, String::new()),
    ];
    let texts = texts.into_iter().map(|(fault, text)| (fault, text.into_bytes()));
    texts.chain([(Some("header"), client_hello)]).collect()
}

/// Sends bytes over a connection of its own, and waits until the node closes it.
async fn send(node: &Node, bytes: &[u8]) {
    let mut stream = TcpStream::connect(node.address()).await.unwrap();
    // The node may close the connection before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it keeps the connection");
}

/// How many requests the node has counted as malformed, by fault.
async fn counted(node: &Node) -> BTreeMap<String, usize> {
    let metrics = reqwest::get(format!("{}/metrics", node.url)).await.unwrap().text().await.unwrap();
    let series =
        metrics.lines().filter_map(|line| line.strip_prefix("kokoro_malformed_requests_total{fault=\""));
    let sample = |series: &str| {
        let (fault, count) = series.split_once("\"} ").unwrap();
        (fault.to_owned(), count.parse().unwrap())
    };
    series.map(sample).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_counted_and_leave_no_error_or_warning_in_the_log() {
    let (_folder, path) = folder();
    // The compiled-in time zones: a machine whose own are old is warned of them.
    let settings = [
        ("RUST_LOG", "info,web::telemetry=debug"),
        ("RAZORPAY_WEBHOOK_SECRET", SECRET),
        ("TZDIR", "/nowhere"),
    ];
    let node = Node::start_with(&Data::Folder(&path), &settings);
    let mut expected = BTreeMap::new();
    for (fault, bytes) in requests() {
        for _ in 0..TIMES {
            send(&node, &bytes).await;
        }
        if let Some(fault) = fault {
            *expected.entry(fault.to_owned()).or_default() += TIMES;
        }
        // A client that hangs up without waiting.
        let mut hasty = TcpStream::connect(node.address()).await.unwrap();
        hasty.write_all(b"POST /auth/loginUser HTTP/1.1\r\nHos").await.unwrap();
        drop(hasty);
        assert_eq!(
            counted(&node).await,
            expected,
            "{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
        );
    }
    node.signal("-TERM");
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    for line in log.lines() {
        assert!(!line.contains(" ERROR ") && !line.contains(" WARN "), "{line}");
    }
    let debugged = log.lines().filter(|line| line.contains(" DEBUG ") && line.contains("cannot be parsed"));
    assert_eq!(debugged.count(), expected.values().sum::<usize>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_error_of_the_module_that_parses_requests_is_still_logged() {
    let (folder, path) = folder();
    let pages = folder.path().join("pages");
    fs::create_dir(&pages).unwrap();
    fs::write(pages.join("index.html"), "<!doctype html>").unwrap();
    // More than the buffers of both sockets hold.
    let file = File::create(pages.join("large.bin")).unwrap();
    file.set_len(256 * 1024 * 1024).unwrap();
    let settings = [("KOKORO_STATIC_DIR", pages.to_str().unwrap()), ("KOKORO_LOG_FORMAT", "json")];
    let node = Node::start_with(&Data::Folder(&path), &settings);
    send(&node, b"GE(T / HTTP/1.1\r\n\r\n").await;

    let mut stream = TcpStream::connect(node.address()).await.unwrap();
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut beginning = [0; 1024];
    stream.read_exact(&mut beginning).await.unwrap();
    assert!(beginning.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&beginning));
    // The file ends before the length that the node has announced.
    file.set_len(0).unwrap();
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it keeps the connection");

    node.signal("-TERM");
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let errors: Vec<Value> = lines.filter(|line| line["level"] == "ERROR").collect();
    let [error] = &errors[..] else { panic!("{log}") };
    assert_eq!(error["target"], "actix_http::h1::dispatcher");
    assert!(error["message"].as_str().unwrap().starts_with("Response payload stream error"), "{error}");
}
