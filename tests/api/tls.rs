//! TLS of our own, with certificates made here.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, ClientBuilder, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use web::config::{Config, TlsConfig};
use web::http_client::install_cryptography;

use crate::harness::{PASSWORD, Reply, TestApp, config, refusal_to_start};

/// Puts a fresh certificate and its key into a folder, and returns the certificate.
fn issue(folder: &Path) -> Certificate {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    Certificate::from_pem(cert.pem().as_bytes()).unwrap()
}

fn with_certificate(folder: &TempDir) -> Config {
    let mut config = config();
    let path = |name| folder.path().join(name);
    config.server.tls = Some(TlsConfig { certificate: path("cert.pem"), key: path("key.pem") });
    config
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: &Certificate) -> ClientBuilder {
    install_cryptography();
    Client::builder().tls_certs_only([certificate.clone()]).no_proxy()
}

async fn start(config: Config, certificate: &Certificate) -> TestApp {
    let mut app = TestApp::start_with(config).await;
    app.client = trusting(certificate).build().unwrap();
    app
}

#[actix_web::test]
async fn whoever_knows_the_certificate_is_served_and_told_to_stay_with_tls() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = issue(folder.path());
    let app = start(with_certificate(&folder), &certificate).await;
    assert!(app.url.starts_with("https://127.0.0.1:"), "{}", app.url);
    let ada = app.user("ada").await;
    let body = json!({"email": ada.email, "password": PASSWORD});
    let reply = Reply::of(app.request(Method::POST, "/auth/loginUser").json(&body)).await;
    assert_eq!((reply.status, reply.header("strict-transport-security")), (200, "max-age=31536000"));
    assert!(reply.header("set-cookie").contains("; Secure"), "{:?}", reply.headers);
    let stranger = trusting(&issue(tempfile::tempdir().unwrap().path())).build().unwrap();
    assert!(stranger.get(format!("{}/healthz", app.url)).send().await.is_err(), "another certificate");
    assert!(stranger.get(app.url.replace("https", "http")).send().await.is_err(), "without TLS");
    app.stop().await;
}

#[actix_web::test]
async fn bounds_hold_over_tls_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = issue(folder.path());
    let app = start(with_certificate(&folder), &certificate).await;
    let post = |path: &str| app.request(Method::POST, path).header("Content-Type", "application/json");
    let long = Reply::of(post("/auth/signupUser").body(vec![b' '; 70_000])).await;
    long.assert_problem(413, "body_too_large");
    let wide = Reply::of(post("/auth/logout").header("X-Padding", "a".repeat(17_000))).await;
    wide.assert_problem(431, "headers_too_large");
    app.stop().await;
}

#[actix_web::test]
async fn a_renewed_certificate_is_shown_after_a_hangup_signal() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(with_certificate(&folder), &issue(folder.path())).await;
    assert_eq!(Reply::of(app.request(Method::GET, "/healthz")).await.status, 200);
    let renewed = issue(folder.path());
    let hang_up = Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
    assert!(hang_up.unwrap().success());
    let mut answered: Option<Value> = None;
    for _ in 0..2_000 {
        let client = trusting(&renewed).build().unwrap();
        if let Ok(answer) = client.get(format!("{}/healthz", app.url)).send().await {
            answered = Some(answer.json().await.unwrap());
            break;
        }
    }
    assert_eq!(answered, Some(json!({"status": "alive"})));
    app.stop().await;
}

#[actix_web::test]
async fn a_certificate_that_cannot_be_used_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    issue(folder.path());
    fs::copy(path("key.pem"), path("other.pem")).unwrap();
    issue(folder.path());
    fs::write(path("empty.pem"), "").unwrap();
    for (certificate, key, complaint) in [
        ("missing.pem", "key.pem", "missing.pem cannot be read"),
        ("cert.pem", "missing.pem", "missing.pem cannot be read"),
        ("cert.pem", "empty.pem", "empty.pem cannot be read"),
        ("empty.pem", "key.pem", "do not fit together"),
        ("cert.pem", "other.pem", "do not fit together"),
        ("cert.pem", "cert.pem", "cert.pem cannot be read"),
    ] {
        let mut config = config();
        config.server.tls = Some(TlsConfig { certificate: path(certificate), key: path(key) });
        let refusal = refusal_to_start(config).await;
        assert!(refusal.contains(complaint), "{certificate}, {key}: {refusal}");
    }
}
