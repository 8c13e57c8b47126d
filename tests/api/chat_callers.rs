//! Whom the assistant talks with: users have a history of their own, visitors none.

use std::num::NonZeroU32;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::{join, join3};
use reqwest::Method;
use serde_json::{Value, json};
use web::config::{AssistantConfig, Config, LimitsConfig};

use crate::chat::{VISITOR, ask, question, start, talk, with};
use crate::harness::{PASSWORD, Reply, TestApp, TestUser, told};
use crate::ollama::{Ollama, messages};

async fn rows_of_anybody(app: &TestApp) -> i32 {
    let table = &app.dynamo().tables().chat_history;
    app.dynamo().client().scan().table_name(table).send().await.unwrap().count()
}

#[actix_web::test]
async fn a_history_shows_a_user_its_own_exchanges_and_nobody_elses() {
    let (app, mut ollama) = start().await;
    let (ada, bob, asha) = (app.user("ada+heart").await, app.user("bob").await, app.doctor("asha").await);
    talk(&app, &mut ollama, &ada, "first", "one").await;
    app.clock.advance(chrono::TimeDelta::hours(1));
    talk(&app, &mut ollama, &ada, "second", "two").await;
    let old = app.dynamo().client().put_item().table_name(&app.dynamo().tables().chat_history);
    let old = [
        ("email", &*ada.email),
        ("user_message", r#"{"role":"user","text":"old"}"#),
        ("bot_message", "plain"),
    ]
    .iter()
    .fold(old, |put, (name, value)| put.item(*name, AttributeValue::S((*value).to_owned())));
    old.item("timestamp", AttributeValue::N("1700000000".to_owned())).send().await.unwrap();

    let read = async |user: Option<&TestUser>, path: &str| {
        let request = app.request(Method::GET, path);
        Reply::of(match user {
            Some(user) => request.bearer_auth(&user.token),
            None => request,
        })
        .await
    };
    let now = app.clock_seconds();
    let expected = json!({"messages": [
        {"timestamp": 1_700_000_000, "user_message": "old", "bot_message": "plain"},
        {"timestamp": now - 3600, "user_message": "first", "bot_message": "one"},
        {"timestamp": now, "user_message": "second", "bot_message": "two"},
    ]});
    for spelled in ["ada+heart@example.com", "ada%2Bheart%40example.com", "ADA+heart@Example.com"] {
        let reply = read(Some(&ada), &format!("/chat/history/{spelled}")).await;
        assert_eq!((reply.status, &reply.body), (200, &expected), "{spelled}");
    }
    let (_, trail) = app.as_user(&ada).post("/audit/mine", json!({})).await;
    let actions: Vec<&Value> =
        trail["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["chat_read"; 3]);
    let path = "/chat/history/ada+heart@example.com";
    for stranger in [&bob, &asha] {
        read(Some(stranger), path).await.assert_problem(403, "forbidden");
    }
    read(None, path).await.assert_problem(401, "unauthenticated");
    let own = format!("/chat/history/{}", asha.email);
    read(Some(&asha), &own).await.assert_problem(403, "forbidden");
    app.stop().await;
}

#[actix_web::test]
async fn a_visitor_is_answered_and_forgotten() {
    let (app, mut ollama) = start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let twin = json!({"username": "A", "email": asha.email, "password": PASSWORD, "phoneNumber": "12345"});
    assert_eq!(app.post("/auth/signupUser", None, &twin).await.0, 200);
    let cookie = format!("kokoro_session={}", ada.token);
    let post = |body: &Value| app.request(Method::POST, "/chat").json(body);
    for (what, request) in [
        ("no token", post(&question(VISITOR, "?"))),
        ("no token, and somebody's address", post(&question(&ada.email, "?"))),
        ("no token and no address", post(&json!({"message": "?"}))),
        (
            "a cookie that was left behind",
            post(&question("Dummy_User@gmail.com", "?")).header("Cookie", cookie),
        ),
        ("a bad token", post(&question(VISITOR, "?")).bearer_auth("garbage")),
        ("a doctor", post(&question(&asha.email, "?")).bearer_auth(&asha.token)),
    ] {
        let (reply, asked) = join(Reply::of(request), ollama.answer(&["Hello"])).await;
        assert_eq!((reply.status, reply.body), (200, json!({"text": "Hello"})), "{what}");
        assert_eq!(messages(&asked).len(), 3, "{what}");
    }
    assert_eq!(rows_of_anybody(&app).await, 0);
    app.stop().await;
}

#[actix_web::test]
async fn visitors_may_ask_less_often_than_users() {
    let ollama = &mut Ollama::start().await;
    let limits = LimitsConfig { per_minute: NonZeroU32::new(60) };
    let app = TestApp::start_with(Config { limits, ..with(ollama, AssistantConfig::default()) }).await;
    let ada = app.user("ada").await;
    let visit = async || Reply::of(app.request(Method::POST, "/chat").json(&question(VISITOR, "?"))).await;
    for _ in 0..2 {
        assert_eq!(join(visit(), ollama.answer(&["ok"])).await.0.status, 200);
    }
    let refusal = visit().await;
    refusal.assert_problem(429, "too_many_requests");
    for _ in 0..3 {
        talk(&app, ollama, &ada, "?", "ok").await;
    }
    let seconds = refusal.header("retry-after").parse().unwrap();
    app.clock.advance(chrono::TimeDelta::seconds(seconds));
    assert_eq!(join(visit(), ollama.answer(&["ok"])).await.0.status, 200);
    app.stop().await;
}

#[actix_web::test]
async fn neither_visitors_nor_one_user_take_all_places() {
    let mut ollama = Ollama::start().await;
    let assistant = AssistantConfig { answers_at_once: 6, ..AssistantConfig::default() };
    // Each caller has a network of its own.
    let mut config = with(&ollama, assistant);
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let app = TestApp::start_with(config).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let body = question(VISITOR, "?");
    let visit = async |last: u8| {
        let request = app.request(Method::POST, "/chat").json(&body);
        let reply = Reply::of(request.header("X-Forwarded-For", format!("10.0.0.{last}"))).await;
        (reply.status, reply.body)
    };
    let own = || ask(&app, &ada, "?");
    let asking = join(join3(visit(1), visit(2), visit(3)), join(own(), own()));
    let meanwhile = async {
        let mut calls = Vec::new();
        for _ in 0..5 {
            calls.push(ollama.call().await);
        }
        for refused in [visit(4).await, own().await] {
            assert_eq!(told(refused), (503, "busy".to_owned()));
        }
        let other =
            app.request(Method::POST, "/chat").json(&question(&bob.email, "?")).bearer_auth(&bob.token);
        let other = Reply::of(other.header("X-Forwarded-For", "10.0.0.5"));
        assert_eq!(join(other, ollama.answer(&["There is a place for others."])).await.0.status, 200);
        for mut call in calls {
            call.begin().await;
            call.say("ok").await;
            call.done().await;
        }
    };
    let (((a, b, c), (d, e)), ()) = join(asking, meanwhile).await;
    assert_eq!([a.0, b.0, c.0, d.0, e.0], [200; 5]);
    assert_eq!(join(visit(1), ollama.answer(&["ok"])).await.0.0, 200);
    talk(&app, &mut ollama, &ada, "?", "ok").await;
    app.stop().await;
}

#[actix_web::test]
async fn who_may_not_ask_is_told_so_before_anything_else() {
    let (app, _ollama) = start().await;
    let (ada, bob, asha) = (app.user("ada").await, app.user("bob").await, app.doctor("asha").await);
    let wrong = json!({"user_id": ada.email, "message": ""});
    for stranger in [&bob, &asha] {
        assert_eq!(
            told(app.post("/chat", Some(&stranger.token), &wrong).await),
            (403, "forbidden".to_owned())
        );
    }
    let unknown = (401, "unauthenticated".to_owned());
    assert_eq!(told(app.post("/chat", Some("garbage"), &wrong).await), unknown);
    assert_eq!(told(app.post("/chat", Some("garbage"), &json!({"message": "?"})).await), unknown);
    let raw = |token, content_type| app.post_raw("/chat", token, content_type, b"{".to_vec());
    raw(Some("garbage"), "text/plain").await.assert_problem(401, "unauthenticated");
    for known in [None, Some(ada.token.as_str()), Some(asha.token.as_str())] {
        raw(known, "text/plain").await.assert_problem(415, "unsupported_media_type");
        raw(known, "application/json").await.assert_problem(400, "invalid_json");
    }
    app.clock.advance(chrono::TimeDelta::hours(13));
    assert_eq!(told(ask(&app, &ada, "?").await), unknown, "an expired token");
    app.stop().await;
}
