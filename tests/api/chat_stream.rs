//! Answers that come as server-sent events, and clients that do not wait for them.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use web::config::{AssistantConfig, Config};

use crate::harness::{Reply, TestApp, TestUser, config};
use crate::ollama::Ollama;

pub async fn start() -> (TestApp, Ollama, TestUser) {
    let ollama = Ollama::start().await;
    let never = Duration::from_secs(3600);
    let assistant = AssistantConfig {
        api: Some(ollama.url.clone()),
        // Nobody is given up for being slow: whatever ends early does so for another reason.
        first_word_timeout: never,
        silence_timeout: never,
        answer_timeout: never,
        // One place: whoever stops answering gives it back, or nobody is answered again.
        answers_at_once: 1,
        ..AssistantConfig::default()
    };
    let app = TestApp::start_with(Config { assistant, ..config() }).await;
    let ada = app.user("ada").await;
    (app, ollama, ada)
}

fn ask(app: &TestApp, user: &TestUser) -> RequestBuilder {
    let body = json!({"user_id": user.email, "message": "Is walking good?"});
    app.request(Method::POST, "/chat").json(&body).bearer_auth(&user.token)
}

pub fn ask_for_events(app: &TestApp, user: &TestUser) -> RequestBuilder {
    ask(app, user).header("Accept", "text/html;q=0.1, text/event-stream")
}

async fn history(app: &TestApp, user: &TestUser) -> Vec<Value> {
    let request = app.request(Method::GET, &format!("/chat/history/{}", user.email)).bearer_auth(&user.token);
    Reply::of(request).await.body["messages"].as_array().unwrap().clone()
}

/// The events of a whole stream, without its comments: name and data.
pub fn events(text: &str) -> Vec<(String, Value)> {
    let frames = text.strip_suffix("\n\n").unwrap().split("\n\n");
    let frames = frames.filter(|frame| !frame.starts_with(':'));
    let read = |frame: &str| {
        let (name, data) = match frame.split_once('\n') {
            Some((name, data)) => (name.strip_prefix("event: ").unwrap(), data),
            None => ("message", frame),
        };
        (name.to_owned(), serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    };
    frames.map(read).collect()
}

pub async fn next_text(response: &mut Response) -> String {
    String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap()
}

#[actix_web::test]
async fn each_piece_is_sent_as_it_comes_and_the_whole_is_kept() {
    let (app, mut ollama, ada) = start().await;
    let beginning = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.say(" Yes,").await;
        call
    };
    let (response, mut call) = join(ask_for_events(&app, &ada).send(), beginning).await;
    let mut response = response.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(response.status(), 200);
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-accel-buffering"), "no");
    // The first piece is here while the model is still at work.
    assert_eq!(events(&next_text(&mut response).await), [("message".to_owned(), json!({"text": "Yes,"}))]);
    assert!(history(&app, &ada).await.is_empty());
    call.say(" every\nday. ").await;
    call.done().await;
    let rest = events(&response.text().await.unwrap());
    let expected =
        [("message", json!({"text": " every\nday. "})), ("done", json!({"text": "Yes, every\nday."}))];
    assert_eq!(rest, expected.map(|(name, data)| (name.to_owned(), data)));
    let kept = history(&app, &ada).await;
    assert_eq!((kept.len(), &kept[0]["bot_message"]), (1, &json!("Yes, every\nday.")));
    app.stop().await;
}

#[actix_web::test]
async fn what_breaks_in_the_middle_is_told_as_an_event_and_not_kept() {
    let (app, mut ollama, ada) = start().await;
    let breaking = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.say("Take").await;
        call.chunk(b"{\"error\":\"out of memory\"}\n").await;
    };
    let (response, ()) = join(ask_for_events(&app, &ada).send(), breaking).await;
    let response = response.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let events = events(&response.text().await.unwrap());
    assert_eq!(events[0], ("message".to_owned(), json!({"text": "Take"})));
    let (name, problem) = &events[1];
    assert_eq!((name.as_str(), events.len()), ("error", 2));
    assert_eq!((&problem["status"], &problem["code"]), (&json!(502), &json!("assistant_failed")));
    assert_eq!((&problem["detail"], &problem["request_id"]), (&json!("AI response error"), &json!(id)));
    assert!(history(&app, &ada).await.is_empty());
    app.stop().await;
}

#[actix_web::test]
async fn what_fails_before_the_first_word_is_an_ordinary_problem() {
    let (app, mut ollama, ada) = start().await;
    let refusing = async { ollama.call().await.refuse(500, "no memory").await };
    let (reply, ()) = join(Reply::of(ask_for_events(&app, &ada)), refusing).await;
    reply.assert_problem(502, "assistant_failed");
    app.stop().await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_stops_the_model() {
    let (app, mut ollama, ada) = start().await;
    for (what, events, begun) in [
        ("a whole answer, before it begins", false, false),
        ("a whole answer, in the middle", false, true),
        ("events, before the first", true, false),
    ] {
        let request = if events { ask_for_events(&app, &ada) } else { ask(&app, &ada) };
        let mut asking = Box::pin(request.send());
        let mut call = tokio::select! {
            call = ollama.call() => call,
            answer = &mut asking => panic!("{what}: {answer:?}"),
        };
        if begun {
            call.begin().await;
            call.say("Well,").await;
        }
        drop(asking);
        call.hung_up().await;
    }

    let beginning = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.say("Well,").await;
        call
    };
    let (response, call) = join(ask_for_events(&app, &ada).send(), beginning).await;
    let mut stream = response.unwrap().bytes_stream();
    assert!(stream.next().await.is_some());
    drop(stream);
    call.hung_up().await;

    assert!(history(&app, &ada).await.is_empty());
    let (reply, _) = join(Reply::of(ask(&app, &ada)), ollama.answer(&["Yes."])).await;
    assert_eq!((reply.status, reply.body), (200, json!({"text": "Yes."})), "the place is free again");
    app.stop().await;
}

#[actix_web::test]
async fn a_stop_lets_an_answer_come_to_its_end() {
    let (app, mut ollama, ada) = start().await;
    let beginning = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.say("Yes").await;
        call
    };
    let (response, mut call) = join(ask_for_events(&app, &ada).send(), beginning).await;
    let ending = async {
        call.say("!").await;
        call.done().await;
        events(&response.unwrap().text().await.unwrap())
    };
    let ((), events) = join(app.stop(), ending).await;
    assert_eq!(events.last().unwrap(), &("done".to_owned(), json!({"text": "Yes!"})));
}
