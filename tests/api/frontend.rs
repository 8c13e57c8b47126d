//! A built frontend beside the API.

use std::fs;
use std::os::unix::fs::symlink;

use reqwest::Method;
use tempfile::TempDir;

use crate::harness::{Reply, TestApp, config, refusal_to_start};

const PAGE: &str =
    "<!doctype html><script>start()</script><script src=\"/assets/index-BH3k2_9x.js\"></script>";
/// printf 'start()' | openssl dgst -sha256 -binary | base64
const HASH: &str = "'sha256-DIm7WJS6ZKDYe5qFLPy+h4JFI9Bol5QmYC57mt3Fb00='";

/// A folder as a bundler leaves it, with what must not get out beside and in it.
fn built() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("dist");
    fs::create_dir_all(root.join("assets")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    for (name, text) in [
        ("dist/index.html", PAGE),
        ("dist/favicon.ico", "icon"),
        ("dist/assets/index-BH3k2_9x.js", "0123456789"),
        ("dist/.env", "SECRET"),
        ("dist/.git/config", "SECRET"),
        ("secret.txt", "SECRET"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    symlink(folder.path().join("secret.txt"), root.join("link.txt")).unwrap();
    symlink(folder.path(), root.join("up")).unwrap();
    folder
}

async fn start(folder: &TempDir) -> TestApp {
    let mut config = config();
    config.server.static_dir = Some(folder.path().join("dist"));
    TestApp::start_with(config).await
}

async fn get(app: &TestApp, path: &str, accept: &str) -> Reply {
    Reply::of(app.request(Method::GET, path).header("Accept", accept)).await
}

#[actix_web::test]
async fn the_page_answers_every_path_that_is_nobody_elses() {
    let folder = built();
    let app = start(&folder).await;
    for path in ["/", "/index.html", "/profile", "/doctors/%E0%A4%85", "/a/b/c?d=e"] {
        for accept in ["text/html,application/xhtml+xml", "*/*"] {
            let reply = get(&app, path, accept).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, Some(PAGE)), "{path}");
            assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
            assert_eq!(reply.header("cache-control"), "no-cache");
            let policy = reply.header("content-security-policy");
            assert!(policy.contains("frame-ancestors 'none'") && policy.contains(HASH), "{policy}");
            assert_eq!(reply.header("x-content-type-options"), "nosniff");
        }
    }
    // What looks like a file is one, unless a person asks.
    get(&app, "/assets/missing.js", "*/*").await.assert_problem(404, "not_found");
    get(&app, "/users/ada.lovelace", "application/json").await.assert_problem(404, "not_found");
    assert_eq!(get(&app, "/users/ada.lovelace", "text/html").await.status, 200);
    app.stop().await;
}

#[actix_web::test]
async fn calls_are_never_answered_with_a_page() {
    let folder = built();
    let app = start(&folder).await;
    for path in
        ["/auth/x", "/doctorsService/", "/medilocker/fetch/x", "/chat/x", "/payment/x", "/audit", "/docs/x"]
    {
        get(&app, path, "text/html").await.assert_problem(404, "not_found");
    }
    get(&app, "/auth/loginUser", "text/html").await.assert_problem(405, "method_not_allowed");
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        Reply::of(app.request(method, "/profile")).await.assert_problem(404, "not_found");
    }
    assert_eq!(get(&app, "/readyz", "text/html").await.body["status"], "ready");
    app.stop().await;
}

#[actix_web::test]
async fn files_are_cached_by_what_is_in_them_and_sent_in_parts() {
    let folder = built();
    let app = start(&folder).await;
    let script = "/assets/index-BH3k2_9x.js";
    let reply = get(&app, script, "*/*").await;
    assert_eq!((reply.status, reply.header("content-length")), (200, "10"));
    assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(reply.header("content-type").contains("javascript"), "{}", reply.header("content-type"));
    assert!(!reply.header("last-modified").is_empty());
    let etag = reply.header("etag").to_owned();
    let again = Reply::of(app.request(Method::GET, script).header("If-None-Match", etag)).await;
    assert_eq!(again.status, 304);
    let part = Reply::of(app.request(Method::GET, script).header("Range", "bytes=2-4")).await;
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 2-4/10"));
    assert_eq!(part.body, 234);
    let none = Reply::of(app.request(Method::GET, script).header("Range", "bytes=20-")).await;
    assert_eq!(none.status, 416);
    let head = Reply::of(app.request(Method::HEAD, script)).await;
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, "10", Some("")));
    let icon = get(&app, "/favicon.ico", "*/*").await;
    assert_eq!((icon.header("cache-control"), icon.header("content-disposition")), ("no-cache", ""));
    app.stop().await;
}

#[actix_web::test]
async fn nothing_gets_out_that_is_hidden_or_lies_elsewhere() {
    let folder = built();
    let app = start(&folder).await;
    for path in [
        "/.env",
        "/.git/config",
        "/link.txt",
        "/up/secret.txt",
        "/up/dist/index.html",
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
        "/assets/%00",
        "/%ff",
        "/assets/..%00/secret.txt",
    ] {
        // As it is: a client would tidy it up.
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        let answer = app.speak(head.as_bytes()).await;
        assert!(!answer.contains("SECRET"), "{path}: {answer}");
        assert!(
            ["HTTP/1.1 404", "HTTP/1.1 400", "HTTP/1.1 200"].iter().any(|line| answer.starts_with(line)),
            "{answer}"
        );
        assert!(!answer.starts_with("HTTP/1.1 200") || answer.contains(PAGE), "{path}: {answer}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_folder_without_a_page_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (name, complaint) in [("", "has no index.html"), ("missing", "cannot be read")] {
        let mut config = config();
        config.server.static_dir = Some(folder.path().join(name));
        let refusal = refusal_to_start(config).await;
        assert!(refusal.contains(complaint), "{refusal}");
    }
}
