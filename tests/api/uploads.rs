//! Uploads on their way in: what is refused when, and what becomes of those that are never finished.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::eventually::eventually;
use crate::harness::{DEADLINE, TestApp, TestUser, config, told};
use crate::locker::{UPLOAD, file, locker, started};

/// An upload of which only the beginning is sent. The connection stays open until this is dropped.
async fn begun(app: &TestApp, user: &TestUser, beginning: &str) -> TcpStream {
    let mut connection = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 1000000\r\n\r\n{beginning}",
        user.token
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

/// Files that this process holds open below a folder, although they have no name in it any more.
fn unnamed_files(folder: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        // It may have been closed meanwhile.
        std::fs::read_link(entry.ok()?.path()).ok()
    });
    links.filter(|link| link.starts_with(folder) && link.to_string_lossy().ends_with("(deleted)")).count()
}

#[actix_web::test]
async fn refusals_come_in_the_order_of_the_contract() {
    let app = started().await;
    let (ada, bob, asha) =
        (app.user("ada").await, app.user("bob").await, app.doctor_without_slots("asha").await);
    let send = |token: Option<String>, content_type: &'static str, body: String| {
        let app = &app;
        async move { app.post_raw(UPLOAD, token.as_deref(), content_type, body.into_bytes()).await }
    };
    let json = "application/json";
    let bobs = json!({"files": [file("../x", b"")], "email": bob.email}).to_string();
    send(None, "text/plain", "{".to_owned()).await.assert_problem(401, "unauthenticated");
    let token = Some(ada.token.clone());
    send(token.clone(), "text/plain", "{".to_owned()).await.assert_problem(415, "unsupported_media_type");
    // Broken before it can be said to be somebody else's.
    send(token.clone(), json, format!("{bobs}x")).await.assert_problem(400, "invalid_json");
    send(token.clone(), json, bobs[..bobs.len() - 1].to_owned()).await.assert_problem(400, "invalid_json");
    // Somebody else's before a value is looked at, wherever the field stands.
    send(token.clone(), json, bobs).await.assert_problem(403, "forbidden");
    let bobs = json!({"email": bob.email, "files": 7}).to_string();
    send(token.clone(), json, bobs).await.assert_problem(403, "forbidden");
    let twice = format!(r#"{{"email":"{}","files":[],"email":"{}"}}"#, ada.email, bob.email);
    send(token.clone(), json, twice).await.assert_problem(403, "forbidden");
    send(token.clone(), json, json!({"files": []}).to_string()).await.assert_problem(422, "invalid_value");
    let reply = send(token.clone(), json, "[]".to_owned()).await;
    reply.assert_problem(422, "invalid_value");
    // A doctor has no locker.
    let own = json!({"email": asha.email, "files": [file("x", b"")]}).to_string();
    send(Some(asha.token.clone()), json, own).await.assert_problem(403, "forbidden");
    for call in ["fetch", "download", "delete"] {
        let body = json!({"email": asha.email, "filename": "x"});
        let path = format!("/medilocker/{call}");
        assert_eq!(told(locker(&app, &asha).post(&path, body.clone()).await).0, 403);
        assert_eq!(told(app.post(&path, None, &body).await).0, 401);
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_body_that_announces_itself_as_too_long_is_refused_unread() {
    let app = started().await;
    let ada = app.user("ada").await;
    let head = |announced: u64| {
        format!(
            "POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {announced}\r\n\r\n",
            ada.token
        )
    };
    let answer = app.speak(head(300 * 1024 * 1024).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    // What is no file's content is bounded while it streams.
    let endless = format!("{}{{\"a\":\"{}", head(200 * 1024 * 1024), "x".repeat(4 * 1024 * 1024));
    let answer = app.speak(endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    // Twenty files of 10 MiB are not too long to be announced.
    let mut whole = begun(&app, &ada, "").await;
    whole.write_all(b"x").await.unwrap();
    let mut answer = vec![0; 12];
    timeout(DEADLINE, whole.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 400");
    app.stop().await;
}

#[actix_web::test]
async fn a_client_that_stops_sending_is_cut_off() {
    let mut config = config();
    config.server.body_timeout = Duration::from_millis(300);
    let app = TestApp::start_with(config).await;
    let ada = app.user("ada").await;
    let mut silent = begun(&app, &ada, r#"{"files":[{"filename":"x","content":"YWJj"#).await;
    let mut answer = vec![0; 12];
    timeout(DEADLINE, silent.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    assert_eq!(locker(&app, &ada).names().await, [""; 0]);
    app.stop().await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_gives_back_its_place_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.files.spool = folder.path().join("spool");
    let app = TestApp::start_with(config).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (spool, beginning) = (folder.path().join("spool"), r#"{"files":[{"filename":"x","content":"YWJj"#);
    // As many as one user may have under way.
    let mut connections = Vec::new();
    for _ in 0..2 {
        connections.push(begun(&app, &ada, beginning).await);
    }
    eventually(DEADLINE, "both uploads are under way", async || unnamed_files(&spool) == 2).await;
    let refused = locker(&app, &ada).upload(&[file("x", b"x")]).await;
    assert_eq!(told(refused), (503, "busy".to_owned()));
    assert_eq!(locker(&app, &bob).upload(&[file("x", b"x")]).await.0, 200);

    drop(connections);
    let is_uploaded = async || {
        let answer = told(locker(&app, &ada).upload(&[file("x", b"x")]).await);
        assert!([200, 503].contains(&answer.0), "{answer:?}");
        answer.0 == 200
    };
    eventually(DEADLINE, "a place is given back", is_uploaded).await;
    eventually(DEADLINE, "no file is left", async || unnamed_files(&spool) == 0).await;
    assert_eq!(locker(&app, &ada).names().await, ["x"]);
    // Nothing has a name there at any time.
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    app.stop().await;
}
