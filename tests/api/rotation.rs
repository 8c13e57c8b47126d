//! A secret that is replaced while people are logged in: who stays, and when the old one is gone.

use std::fs;
use std::path::Path;

use persistence::{EmbeddedDynamo, Where};
use serde_json::json;
use web::config::{AuthConfig, Config, Place, SigningSecrets, StoreConfig};

use crate::harness::{Reply, TestApp, TestUser, config};

const OLD: &str = "the old secret that is to go one day";
const NEW: &str = "the new secret that comes in its place";

/// The application over a store that outlives it, told these secrets.
async fn start(store: &EmbeddedDynamo, secrets: &str) -> TestApp {
    let auth = AuthConfig { secret: SigningSecrets::parse(secrets).ok(), ..config().auth };
    assert!(auth.secret.is_some());
    let place = Place::Named(store.endpoint());
    let store = StoreConfig { place, ..config().store };
    TestApp::start_with(Config { auth, store, ..config() }).await
}

/// What an own call is answered, by header and by cookie.
async fn status(app: &TestApp, user: &TestUser) -> u16 {
    let by_header = app.as_user(user).bookings().await.0;
    let request = app.request(reqwest::Method::POST, "/doctorBookings/user");
    let request = request.header("Cookie", format!("kokoro_session={}", user.token));
    let by_cookie = Reply::of(request.json(&json!({"user_id": user.email}))).await.status;
    assert_eq!(by_header, by_cookie);
    by_header
}

#[actix_web::test]
async fn whoever_is_logged_in_stays_so_until_the_old_secret_is_gone() {
    let store = EmbeddedDynamo::start(Where::Memory).unwrap();
    let app = start(&store, OLD).await;
    let early = app.user("ada").await;
    app.stop().await;

    // As another process of the platform is told first: it knows the new one, and does not sign with it yet.
    let app = start(&store, &format!("{OLD},{NEW}")).await;
    assert_eq!(status(&app, &early).await, 200);
    let between = app.log_in("/auth/loginUser", &early.email).await;
    app.stop().await;

    let app = start(&store, &format!("{NEW},{OLD}")).await;
    let late = app.log_in("/auth/loginUser", &early.email).await;
    for user in [&early, &between, &late] {
        assert_eq!(status(&app, user).await, 200);
    }
    app.stop().await;

    let app = start(&store, NEW).await;
    assert_eq!([status(&app, &early).await, status(&app, &between).await], [401, 401]);
    assert_eq!(status(&app, &late).await, 200);
    app.stop().await;

    let app = start(&store, OLD).await;
    assert_eq!([status(&app, &early).await, status(&app, &late).await], [200, 401]);
    app.stop().await;
}

/// The application over its own data folder, with the secret that it makes up there.
async fn start_in(folder: &Path) -> TestApp {
    let place = Place::Folder(folder.to_owned());
    TestApp::start_with(Config { store: StoreConfig { place, ..config().store }, ..config() }).await
}

#[actix_web::test]
async fn the_made_up_secret_is_replaced_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwt-secret");
    let app = start_in(folder.path()).await;
    let early = app.user("ada").await;
    app.stop().await;
    let old = fs::read_to_string(&file).unwrap();

    // printf '%s,%s\n' "$(openssl rand -hex 32)" "$(cat jwt-secret)"
    fs::write(&file, format!("{},{old}\n", "5".repeat(64))).unwrap();
    let app = start_in(folder.path()).await;
    let late = app.log_in("/auth/loginUser", &early.email).await;
    assert_eq!([status(&app, &early).await, status(&app, &late).await], [200, 200]);
    app.stop().await;

    // What `cut -d, -f1` leaves.
    fs::write(&file, "5".repeat(64)).unwrap();
    let app = start_in(folder.path()).await;
    assert_eq!([status(&app, &early).await, status(&app, &late).await], [401, 200]);
    app.stop().await;
}
