//! Medilocker: what goes in comes out byte for byte, all of it or none, and to nobody else.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use web::config::Place;

use crate::harness::{Reply, TestApp, TestUser, config, told};

const UPLOAD: &str = "/medilocker/upload";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn file(name: &str, bytes: &[u8]) -> Value {
    json!({"filename": name, "content": BASE64_STANDARD.encode(bytes), "metadata": {}})
}

/// Somebody's calls about files.
struct Locker<'a> {
    app: &'a TestApp,
    user: &'a TestUser,
}

const fn locker<'a>(app: &'a TestApp, user: &'a TestUser) -> Locker<'a> {
    Locker { app, user }
}

impl Locker<'_> {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.app.post(path, Some(&self.user.token), &body).await
    }

    async fn upload(&self, files: &[Value]) -> (u16, Value) {
        self.post(UPLOAD, json!({"email": self.user.email, "files": files})).await
    }

    async fn files(&self) -> Vec<Value> {
        let (status, body) = self.post("/medilocker/fetch", json!({"email": self.user.email})).await;
        assert_eq!(status, 200, "{body}");
        let files = body["files"].as_array().unwrap().clone();
        let message = if files.is_empty() { json!("No files found") } else { Value::Null };
        assert_eq!(body["message"], message);
        files
    }

    async fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.files().await.iter().map(|file| file["filename"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    async fn on(&self, call: &str, name: &str) -> (u16, Value) {
        self.post(&format!("/medilocker/{call}"), json!({"email": self.user.email, "filename": name})).await
    }

    /// What a client without a token gets from the link to a file: its bytes, and the name to save them under.
    async fn downloaded(&self, name: &str) -> (Vec<u8>, String) {
        let (status, body) = self.on("download", name).await;
        assert_eq!(status, 200, "{body}");
        let response = reqwest::get(body["download_url"].as_str().unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let disposition = response.headers()["content-disposition"].to_str().unwrap().to_owned();
        (response.bytes().await.unwrap().to_vec(), disposition)
    }
}

/// An application on the machine's time, by which the embedded S3 judges whether a link has expired.
async fn started() -> TestApp {
    let app = TestApp::start().await;
    app.clock.set(SystemClock.now());
    app
}

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
async fn what_is_uploaded_comes_back_byte_for_byte_until_it_is_deleted() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    assert_eq!(user.names().await, [""; 0]);

    let every_byte: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let scan = file("scan.png", &every_byte);
    let (status, body) = user.upload(&[scan, file("empty.txt", b""), file("note.txt", b"hello")]).await;
    assert_eq!((status, body), (200, json!({"message": "Files uploaded successfully"})));

    let files = user.files().await;
    let found = |name: &str| files.iter().find(|file| file["filename"] == name).unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(found("scan.png")["size"], 300_000);
    assert_eq!(found("empty.txt")["size"], 0);
    assert_eq!(found("note.txt")["metadata"], json!({}));
    for file in &files {
        let uploaded_at = file["uploaded_at"].as_str().unwrap();
        assert!(uploaded_at.ends_with('Z') && uploaded_at.parse::<chrono::DateTime<chrono::Utc>>().is_ok());
    }
    assert_eq!(user.downloaded("scan.png").await.0, every_byte);
    assert_eq!(user.downloaded("empty.txt").await.0, b"");

    let (status, body) = user.on("delete", "scan.png").await;
    assert_eq!((status, body), (200, json!({"message": "File deleted successfully"})));
    let not_found = (404, "file_not_found".to_owned());
    assert_eq!(told(user.on("delete", "scan.png").await), not_found);
    assert_eq!(told(user.on("download", "scan.png").await), not_found);
    assert_eq!(user.on("download", "scan.png").await.1["detail"], "File not found");
    assert_eq!(user.names().await, ["empty.txt", "note.txt"]);
    // The name is free again.
    assert_eq!(user.upload(&[file("scan.png", b"new")]).await.0, 200);
    assert_eq!(user.downloaded("scan.png").await.0, b"new");
    app.stop().await;
}

#[actix_web::test]
async fn metadata_comes_back_exactly() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    let maps = [
        json!({}),
        json!({"kind": "report"}),
        json!({"Kind": "Report", "kind": "report"}),
        json!({"रिपोर्ट": "रक्त जाँच", "doctor": "डॉ. आशा"}),
        json!({"empty": "", "": "no key", " spaces ": "  two  "}),
        json!({"line": "a\r\nX-Injected: 1", "nul": "\u{0}", "quote": "\"=?UTF-8?B?4KQ=?="}),
        json!({"long": "x".repeat(1_000)}),
    ];
    for (n, map) in maps.iter().enumerate() {
        let file = json!({"filename": format!("{n}.txt"), "content": "", "metadata": map});
        let (status, body) = user.upload(&[file]).await;
        assert_eq!(status, 200, "{map}: {body}");
    }
    // Left out is the same as none.
    assert_eq!(user.upload(&[json!({"filename": "none.txt", "content": ""})]).await.0, 200);
    let files = user.files().await;
    for (n, map) in maps.iter().enumerate() {
        let found = files.iter().find(|file| file["filename"] == format!("{n}.txt")).unwrap();
        assert_eq!(found["metadata"], *map);
    }
    assert_eq!(files.iter().find(|file| file["filename"] == "none.txt").unwrap()["metadata"], json!({}));
    app.stop().await;
}

#[actix_web::test]
async fn a_file_of_ten_mebibytes_is_taken_and_one_byte_more_is_not() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    let longest = vec![7; 10 * 1024 * 1024];
    assert_eq!(user.upload(&[file("longest", &longest)]).await.0, 200);
    assert!(user.downloaded("longest").await.0 == longest);
    let longer = vec![7; 10 * 1024 * 1024 + 1];
    let answer = user.upload(&[file("small", b"x"), file("longer", &longer)]).await;
    assert_eq!(told(answer), (413, "file_too_large".to_owned()));
    assert_eq!(user.names().await, ["longest"]);
    app.stop().await;
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
    timeout(PATIENCE, whole.read_exact(&mut answer)).await.unwrap().unwrap();
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
    timeout(PATIENCE, silent.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    assert_eq!(locker(&app, &ada).names().await, [""; 0]);
    app.stop().await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_gives_back_its_place_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.files.place = Place::Folder(folder.path().to_owned());
    let app = TestApp::start_with(config).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (spool, beginning) = (folder.path().join("spool"), r#"{"files":[{"filename":"x","content":"YWJj"#);
    // As many as one user may have under way.
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(begun(&app, &ada, beginning).await);
    }
    let busy = async {
        while unnamed_files(&spool) < 8 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, busy).await.unwrap();
    let refused = locker(&app, &ada).upload(&[file("x", b"x")]).await;
    assert_eq!(told(refused), (503, "busy".to_owned()));
    assert_eq!(locker(&app, &bob).upload(&[file("x", b"x")]).await.0, 200);

    drop(connections);
    let uploaded = async {
        loop {
            match told(locker(&app, &ada).upload(&[file("x", b"x")]).await) {
                (200, _) => break,
                (503, _) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
        while unnamed_files(&spool) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, uploaded).await.unwrap();
    assert_eq!(locker(&app, &ada).names().await, ["x"]);
    // Nothing has a name there at any time.
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    app.stop().await;
}

#[actix_web::test]
async fn a_locker_is_found_under_the_stored_spelling_of_its_address() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    let body = json!({"email": "Ada@Example.COM", "files": [file("x", b"x")]});
    assert_eq!(user.post(UPLOAD, body).await.0, 200);
    assert_eq!(user.names().await, ["x"]);
    app.stop().await;
}

#[actix_web::test]
async fn a_link_carries_no_token_and_dies_when_altered() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    assert_eq!(user.upload(&[file("a.txt", b"a"), file("b.txt", b"b")]).await.0, 200);
    let (_, body) = user.on("download", "a.txt").await;
    let url = body["download_url"].as_str().unwrap();
    assert!(!url.contains(&ada.token));
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    for altered in [
        url.replacen("a.txt", "b.txt", 1),
        url.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000"),
        url.split('?').next().unwrap().to_owned(),
    ] {
        assert_ne!(altered, url);
        assert_eq!(reqwest::get(&altered).await.unwrap().status(), 403, "{altered}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn the_other_calls_need_whole_bodies_too() {
    let app = started().await;
    let ada = app.user("ada").await;
    for call in ["fetch", "download", "delete"] {
        let path = format!("/medilocker/{call}");
        let send = async |body: &str| {
            app.post_raw(&path, Some(&ada.token), "application/json", body.as_bytes().to_vec()).await
        };
        send("{").await.assert_problem(400, "invalid_json");
        send("{}").await.assert_problem(422, "invalid_value");
        send("[]").await.assert_problem(422, "invalid_value");
        let reply: Reply = send(&json!({"email": 7, "filename": "x"}).to_string()).await;
        reply.assert_problem(422, "invalid_value");
    }
    app.stop().await;
}
