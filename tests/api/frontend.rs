//! A built frontend beside the API.

use std::fs;
use std::os::unix::fs::symlink;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
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
    fs::create_dir_all(root.join(".well-known")).unwrap();
    for (name, text) in [
        ("dist/index.html", PAGE),
        ("dist/favicon.ico", "icon"),
        ("dist/assets/index-BH3k2_9x.js", "0123456789"),
        ("dist/.env", "SECRET"),
        ("dist/.git/config", "SECRET"),
        ("dist/.well-known/security.txt", "Contact: x"),
        ("dist/.well-known/.hidden", "SECRET"),
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
    // A path that looks like a file names one, unless a person asks.
    get(&app, "/assets/missing.js", "*/*").await.assert_problem(404, "not_found");
    get(&app, "/users/ada.lovelace", "application/json").await.assert_problem(404, "not_found");
    assert_eq!(get(&app, "/users/ada.lovelace", "text/html").await.status, 200);
    app.stop().await;
}

/// A GET with the header in which a browser says what it is for.
async fn fetch(app: &TestApp, path: &str, mode: &str, accept: &str) -> Reply {
    let request = app.request(Method::GET, path).header("Sec-Fetch-Mode", mode);
    Reply::of(request.header("Accept", accept)).await
}

#[actix_web::test]
async fn a_navigation_is_answered_with_the_page_wherever_no_get_has_its_own_answer() {
    let folder = built();
    let app = start(&folder).await;
    for path in [
        "/chat",
        "/payment/done",
        "/medilocker",
        "/auth/loginUser",
        "/doctorBookings/x",
        "/docs.old",
        "/specialization/ENT%2FHead",
        "/q/.net",
        "/q/what:",
        "/tag/*new",
        "/a%00b",
        "/%FF",
        "/.hidden",
        "/..%2f..%2fx",
        "//x",
        "/a\\b",
        "/users/ada.lovelace",
    ] {
        // As a browser sends it over HTTPS, and over plain HTTP from another machine.
        for reply in [
            fetch(&app, path, "navigate", "text/html,*/*;q=0.8").await,
            fetch(&app, path, "navigate", "*/*").await,
            get(&app, path, "text/html,application/xhtml+xml,*/*;q=0.8").await,
        ] {
            assert_eq!((reply.status, reply.body.as_str()), (200, Some(PAGE)), "{path}: {}", reply.body);
        }
    }
    for path in ["/docs/x", "/chat/history/ada@example.com", "/readyz", "/openapi.json"] {
        let reply = fetch(&app, path, "navigate", "text/html").await;
        assert_ne!(reply.body.as_str(), Some(PAGE), "{path} has an answer of its own");
    }
    fetch(&app, "/assets/missing", "navigate", "text/html").await.assert_problem(404, "not_found");
    app.stop().await;
}

#[actix_web::test]
async fn a_request_of_a_page_for_data_is_never_answered_with_a_page() {
    let folder = built();
    let app = start(&folder).await;
    for path in
        ["/auth/x", "/doctorsService/", "/medilocker/fetch/x", "/chat/x", "/payment/x", "/audit", "/docs/x"]
    {
        get(&app, path, "*/*").await.assert_problem(404, "not_found");
        fetch(&app, path, "cors", "*/*").await.assert_problem(404, "not_found");
    }
    for mode in ["cors", "same-origin", "no-cors", "websocket"] {
        fetch(&app, "/profile", mode, "text/html,*/*").await.assert_problem(404, "not_found");
        fetch(&app, "/chat", mode, "text/html,*/*").await.assert_problem(405, "method_not_allowed");
    }
    get(&app, "/chat", "*/*").await.assert_problem(405, "method_not_allowed");
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
async fn a_page_may_read_what_it_made_itself() {
    let folder = built();
    let app = start(&folder).await;
    for path in ["/", "/assets/index-BH3k2_9x.js"] {
        let reply = get(&app, path, "*/*").await;
        let policy = reply.header("content-security-policy");
        for (directive, sources) in [
            ("connect-src", &["*", "data:", "blob:"][..]),
            ("img-src", &["*", "data:", "blob:"]),
            ("media-src", &["*", "data:", "blob:"]),
            ("font-src", &["'self'", "data:", "blob:"]),
            ("worker-src", &["'self'", "blob:"]),
            ("frame-src", &["'self'", "blob:"]),
        ] {
            let allowed = policy.split(';').map(str::trim).find_map(|part| part.strip_prefix(directive));
            let allowed: Vec<&str> = allowed.expect(directive).split_whitespace().collect();
            assert!(sources.iter().all(|source| allowed.contains(source)), "{directive}: {allowed:?}");
        }
        let scripts = policy.split("script-src ").nth(1).unwrap();
        assert!(scripts.starts_with("'self'") && !scripts.contains("unsafe") && !scripts.contains("blob:"));
    }
    app.stop().await;
}

#[actix_web::test]
async fn well_known_files_are_served_and_other_hidden_ones_are_not() {
    let folder = built();
    let app = start(&folder).await;
    let reply = get(&app, "/.well-known/security.txt", "*/*").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, Some("Contact: x")));
    for path in ["/.well-known/.hidden", "/assets/.well-known/security.txt", "/.well-known/missing.txt"] {
        get(&app, path, "application/json").await.assert_problem(404, "not_found");
    }
    app.stop().await;
}

/// A folder as Kubernetes mounts a ConfigMap: every file is a link through `..data`, which is moved to a new version.
#[actix_web::test]
async fn links_within_the_folder_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("dist");
    let version = root.join("..2026_11_30");
    fs::create_dir_all(version.join("assets")).unwrap();
    fs::write(version.join("index.html"), PAGE).unwrap();
    fs::write(version.join("0123"), "body {}").unwrap();
    symlink("..2026_11_30", root.join("..data")).unwrap();
    symlink("..data/index.html", root.join("index.html")).unwrap();
    symlink("..data/0123", root.join("style.css")).unwrap();
    symlink("..data/assets", root.join("assets")).unwrap();
    symlink("index.html", root.join("loop.txt")).unwrap();
    fs::remove_file(root.join("loop.txt")).unwrap();
    symlink("loop.txt", root.join("loop.txt")).unwrap();
    let app = start(&folder).await;
    assert_eq!(get(&app, "/", "text/html").await.body.as_str(), Some(PAGE));
    let style = get(&app, "/style.css", "*/*").await;
    assert_eq!(
        (style.body.as_str(), style.header("content-type")),
        (Some("body {}"), "text/css; charset=utf-8")
    );
    for path in ["/..data/index.html", "/..2026_11_30/0123", "/loop.txt", "/assets"] {
        get(&app, path, "application/json").await.assert_problem(404, "not_found");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_folder_that_is_a_link_can_be_moved_to_a_new_release() {
    let folder = tempfile::tempdir().unwrap();
    for release in ["one", "two"] {
        fs::create_dir_all(folder.path().join(release)).unwrap();
        fs::write(folder.path().join(release).join("index.html"), format!("<p>{release}")).unwrap();
        fs::write(folder.path().join(release).join(format!("{release}.txt")), release).unwrap();
    }
    symlink("one", folder.path().join("dist")).unwrap();
    let app = start(&folder).await;
    assert_eq!(get(&app, "/", "text/html").await.body, "<p>one");
    assert_eq!(get(&app, "/one.txt", "*/*").await.body, "one");
    symlink("two", folder.path().join("next")).unwrap();
    fs::rename(folder.path().join("next"), folder.path().join("dist")).unwrap();
    assert_eq!(get(&app, "/", "text/html").await.body, "<p>two");
    assert_eq!(get(&app, "/two.txt", "*/*").await.body, "two");
    get(&app, "/one.txt", "*/*").await.assert_problem(404, "not_found");
    app.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Any Unicode in a path, as a browser encodes it.
    #[test]
    fn any_path_that_a_person_opens_is_the_page(paths in prop::collection::vec("(/\\PC{0,12}){1,4}", 64)) {
        actix_web::rt::System::new().block_on(async {
            let folder = built();
            let app = start(&folder).await;
            for path in paths {
                let parts = path.split('/').skip(1).map(|part| percent_encode(part.as_bytes(), NON_ALPHANUMERIC).to_string());
                let path: String = parts.flat_map(|part| ["/".to_owned(), part]).collect();
                let head = format!(
                    "GET {path} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Mode: navigate\r\nConnection: close\r\n\r\n"
                );
                let answer = app.speak(head.as_bytes()).await;
                assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(PAGE), "{path}: {answer}");
            }
            app.stop().await;
        });
    }
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
