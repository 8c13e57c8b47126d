//! Medilocker: what goes in comes out byte for byte, all of it or none, and to nobody else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{Clock, SystemClock};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Reply, TestApp, TestUser, told};

pub const UPLOAD: &str = "/medilocker/upload";

pub fn file(name: &str, bytes: &[u8]) -> Value {
    json!({"filename": name, "content": BASE64_STANDARD.encode(bytes), "metadata": {}})
}

/// Somebody's calls about files.
pub struct Locker<'a> {
    app: &'a TestApp,
    user: &'a TestUser,
}

pub const fn locker<'a>(app: &'a TestApp, user: &'a TestUser) -> Locker<'a> {
    Locker { app, user }
}

impl Locker<'_> {
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.app.post(path, Some(&self.user.token), &body).await
    }

    pub async fn upload(&self, files: &[Value]) -> (u16, Value) {
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

    pub async fn names(&self) -> Vec<String> {
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
pub async fn started() -> TestApp {
    let app = TestApp::start().await;
    app.clock.set(SystemClock.now());
    app
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
async fn a_file_downloads_under_its_own_name_in_any_script() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    let names = [
        "report 1.pdf",
        "रक्त जाँच.pdf",
        "రక్త పరీక్ష.pdf",
        "தமிழ்.txt",
        "检查.png",
        "أشعة.jpg",
        "Zoë's \"x-ray\"; a=b.txt",
        "100% + #1?&=.txt",
        "👩‍⚕️.bin",
        &"ä".repeat(127),
    ];
    let files: Vec<Value> = names.iter().map(|name| file(name, name.as_bytes())).collect();
    assert_eq!(user.upload(&files).await.0, 200);
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(user.names().await, sorted);
    for name in names {
        let (bytes, disposition) = user.downloaded(name).await;
        assert_eq!(bytes, name.as_bytes());
        assert!(disposition.starts_with("attachment"), "{disposition}");
        let encoded = disposition.split("filename*=UTF-8''").nth(1).unwrap().split(';').next().unwrap();
        let decoded = percent_decoded(encoded);
        assert_eq!(decoded, name, "{disposition}");
    }
    for name in names {
        assert_eq!(user.on("delete", name).await.0, 200, "{name}");
    }
    assert_eq!(user.names().await, [""; 0]);
    app.stop().await;
}

#[actix_web::test]
async fn a_name_means_the_same_file_composed_and_decomposed() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    let (composed, decomposed) = ("Résumé.pdf", "Re\u{301}sume\u{301}.pdf");
    assert_eq!(user.upload(&[file(decomposed, b"first")]).await.0, 200);
    assert_eq!(user.names().await, [composed]);
    let exists = (409, "file_exists".to_owned());
    for name in [composed, decomposed] {
        assert_eq!(told(user.upload(&[file(name, b"second")]).await), exists);
        assert_eq!(user.downloaded(name).await.0, b"first");
    }
    let twice = user.upload(&[file("Å", b"1"), file("A\u{30a}", b"2")]).await;
    assert_eq!(told(twice), (422, "invalid_value".to_owned()));
    assert_eq!(user.on("delete", decomposed).await.0, 200);
    assert_eq!(user.names().await, [""; 0]);
    app.stop().await;
}

#[actix_web::test]
async fn a_content_may_be_base64_in_lines() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let base64 = BASE64_STANDARD.encode(&bytes);
    for (n, (length, line_break)) in [(76, "\r\n"), (64, "\n"), (1, "\n")].into_iter().enumerate() {
        let lines: Vec<&str> =
            (0..base64.len()).step_by(length).map(|at| &base64[at..base64.len().min(at + length)]).collect();
        let content = lines.join(line_break) + line_break;
        let name = format!("{n}.bin");
        let (status, body) = user.upload(&[json!({"filename": name, "content": content})]).await;
        assert_eq!(status, 200, "{body}");
        assert!(user.downloaded(&name).await.0 == bytes, "{length}");
    }
    for content in ["YQ ==", "Y\tQ==", "YQ==\u{a0}"] {
        let refused = user.upload(&[json!({"filename": "bad.bin", "content": content})]).await;
        assert_eq!(told(refused), (422, "invalid_value".to_owned()));
    }
    app.stop().await;
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
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
async fn one_bad_file_among_good_ones_and_nothing_is_stored() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    assert_eq!(user.upload(&[file("taken.txt", b"first")]).await.0, 200);
    let invalid = (422, "invalid_value".to_owned());
    let with = |changes: Value| {
        let mut bad = file("bad.txt", b"bad");
        bad.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        bad
    };
    let long = "ä".repeat(128);
    for (bad, refusal) in [
        (json!(7), &invalid),
        (json!({"filename": "bad.txt"}), &invalid),
        (json!({"content": ""}), &invalid),
        (with(json!({"filename": ""})), &invalid),
        (with(json!({"filename": "../bob@example.com/x"})), &invalid),
        (with(json!({"filename": "a/b"})), &invalid),
        (with(json!({"filename": "a\\b"})), &invalid),
        (with(json!({"filename": ".hidden"})), &invalid),
        (with(json!({"filename": "a\u{0}b"})), &invalid),
        (with(json!({"filename": long})), &invalid),
        (with(json!({"filename": "good1.txt"})), &invalid),
        (with(json!({"filename": null})), &invalid),
        (with(json!({"content": "no base64!"})), &invalid),
        (with(json!({"content": "data:text/plain;base64,YQ=="})), &invalid),
        (with(json!({"content": 7})), &invalid),
        (with(json!({"metadata": []})), &invalid),
        (with(json!({"metadata": {"n": 7}})), &invalid),
        (with(json!({"metadata": {"n": {"deep": "x"}}})), &invalid),
        (with(json!({"metadata": {"n": "x".repeat(3_000)}})), &(422, "metadata_too_large".to_owned())),
        (with(json!({"filename": "taken.txt"})), &(409, "file_exists".to_owned())),
    ] {
        let answer = user.upload(&[file("good1.txt", b"1"), bad.clone(), file("good2.txt", b"2")]).await;
        assert_eq!(told(answer), *refusal, "{bad:.200}");
        assert_eq!(user.names().await, ["taken.txt"], "{bad:.200}");
    }
    let too_many: Vec<Value> = (0..21).map(|n| file(&n.to_string(), b"x")).collect();
    assert_eq!(told(user.upload(&too_many).await), invalid);
    assert_eq!(told(user.upload(&[]).await), invalid);
    assert_eq!(user.names().await, ["taken.txt"]);
    assert_eq!(user.downloaded("taken.txt").await.0, b"first");
    let (_, body) = user.upload(&[file("taken.txt", b"second")]).await;
    assert_eq!(body["detail"], "File with the same name already exists");
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
async fn of_two_uploads_at_once_with_one_name_exactly_one_wins() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    for round in 0..10 {
        let name = |n: usize| format!("{round}-{n}");
        // They share one name, and each has one of its own on either side of it.
        let uploads = [0, 1].map(|n| {
            let own = [format!("{round}-a{n}"), format!("{round}-z{n}")];
            let files = [file(&own[0], b"own"), file(&name(5), own[0].as_bytes()), file(&own[1], b"own")];
            let user = locker(&app, &ada);
            async move { (told(user.upload(&files).await), own) }
        });
        let mut outcomes = join_all(uploads).await;
        outcomes.sort();
        let [(won, winners), (lost, _)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!((won.0, lost), (200, &(409, "file_exists".to_owned())));
        let mut expected = vec![winners[0].clone(), winners[1].clone(), name(5)];
        expected.sort();
        let names: Vec<String> =
            user.names().await.into_iter().filter(|name| name.starts_with(&format!("{round}-"))).collect();
        assert_eq!(names, expected);
        assert_eq!(user.downloaded(&name(5)).await.0, winners[0].as_bytes());
    }
    app.stop().await;
}

#[actix_web::test]
async fn nobody_reaches_anothers_files() {
    let app = started().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    assert_eq!(locker(&app, &bob).upload(&[file("secret.txt", b"secret")]).await.0, 200);
    let user = locker(&app, &ada);
    let forbidden = (403, "forbidden".to_owned());
    for call in ["fetch", "download", "delete"] {
        let body = json!({"email": bob.email, "filename": "secret.txt"});
        assert_eq!(told(user.post(&format!("/medilocker/{call}"), body).await), forbidden);
    }
    let names = [
        "secret.txt",
        "../bob@example.com/secret.txt",
        "/bob@example.com/secret.txt",
        "x/../../bob@example.com/secret.txt",
        "..\\bob@example.com\\secret.txt",
        "%2e%2e/bob@example.com/secret.txt",
        "..%2fbob@example.com%2fsecret.txt",
        "../../kokoro-medilocker/bob@example.com/secret.txt",
        "..",
        ".",
        "",
        "\u{0}",
        "a\r\nb",
    ];
    for name in names {
        for call in ["download", "delete"] {
            let (status, _) = told(user.on(call, name).await);
            assert!([404, 422].contains(&status), "{call} {name:?}: {status}");
        }
    }
    assert_eq!(user.names().await, [""; 0]);
    assert_eq!(locker(&app, &bob).downloaded("secret.txt").await.0, b"secret");
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
async fn download_that_is_resumed_after_the_file_was_replaced_needs_a_new_link() {
    let app = started().await;
    let ada = app.user("ada").await;
    let user = locker(&app, &ada);
    assert_eq!(user.upload(&[file("scan.png", &[b'A'; 1000])]).await.0, 200);
    let (_, body) = user.on("download", "scan.png").await;
    let url = body["download_url"].as_str().unwrap();
    let whole = reqwest::get(url).await.unwrap();
    let tag = whole.headers()["etag"].clone();
    let resume =
        |url: &str| app.client.get(url).header("range", "bytes=500-").header("if-range", &tag).send();

    let rest = resume(url).await.unwrap();
    assert_eq!(rest.status(), 206);
    assert_eq!(rest.bytes().await.unwrap(), [b'A'; 500][..]);

    assert_eq!(user.on("delete", "scan.png").await.0, 200);
    assert_eq!(user.upload(&[file("scan.png", &[b'B'; 1000])]).await.0, 200);
    assert_eq!(resume(url).await.unwrap().status(), 412);
    let (_, body) = user.on("download", "scan.png").await;
    let rest = resume(body["download_url"].as_str().unwrap()).await.unwrap();
    assert_eq!(rest.status(), 200);
    assert_eq!(rest.bytes().await.unwrap(), [b'B'; 1000][..]);
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
