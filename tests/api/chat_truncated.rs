//! Answers that are cut short: the user is told so, and the history says so too.

use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::chat::{VISITOR, ask, start};
use crate::chat_stream::{ask_for_events, events, start as start_for_events};
use crate::harness::{Reply, TestApp, TestUser};
use crate::ollama::{Ollama, messages};

const CUT_SHORT: &str = "\n\n(The answer was cut short.)";
const CUT_SHORT_BEFORE_A_WORD: &str =
    "(The answer was cut short before it began. Please ask again more briefly.)";

/// Answers the next question with these pieces until the model's tokens are used up; returns the request.
async fn answer_in_part(ollama: &mut Ollama, pieces: &[&str]) -> Value {
    let mut call = ollama.call().await;
    call.begin().await;
    for piece in pieces {
        call.say(piece).await;
    }
    call.end("length").await
}

/// Thinks about the next question until the model's tokens are used up; returns the request.
async fn think_only(ollama: &mut Ollama) -> Value {
    let mut call = ollama.call().await;
    call.begin().await;
    call.think("She is worried.").await;
    call.end("length").await
}

async fn history(app: &TestApp, user: &TestUser) -> Vec<Value> {
    let request = app.request(Method::GET, &format!("/chat/history/{}", user.email)).bearer_auth(&user.token);
    Reply::of(request).await.body["messages"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn answer_that_was_cut_short_is_shown_stored_and_marked() {
    let (app, mut ollama) = start().await;
    let ada = app.user("ada").await;
    let (reply, _) = join(ask(&app, &ada, "How?"), answer_in_part(&mut ollama, &["Walk", " every "])).await;
    assert_eq!(reply, (200, json!({"text": format!("Walk every{CUT_SHORT}"), "truncated": true})));
    let (reply, asked) = join(ask(&app, &ada, "And?"), ollama.answer(&["Swim."])).await;
    assert_eq!(reply, (200, json!({"text": "Swim."})));
    assert_eq!(messages(&asked)[2], ("assistant".to_owned(), "Walk every".to_owned()));
    assert!(!asked.to_string().contains("cut short"), "the model did not say so: {asked}");
    let now = app.clock_seconds();
    let kept = [
        json!({"timestamp": now, "user_message": "How?", "bot_message": "Walk every", "truncated": true}),
        json!({"timestamp": now + 1, "user_message": "And?", "bot_message": "Swim."}),
    ];
    assert_eq!(history(&app, &ada).await, kept);
    app.stop().await;
}

#[actix_web::test]
async fn answer_without_a_word_asks_for_a_shorter_question() {
    let (app, mut ollama) = start().await;
    let ada = app.user("ada").await;
    let only_cut = (200, json!({"text": CUT_SHORT_BEFORE_A_WORD, "truncated": true}));
    let (reply, _) = join(ask(&app, &ada, "How?"), think_only(&mut ollama)).await;
    assert_eq!(reply, only_cut);
    for text in ["\n<think>She is worried.", "<think>She is worried.</think>\n"] {
        let (reply, asked) = join(ask(&app, &ada, "And?"), answer_in_part(&mut ollama, &[text])).await;
        assert_eq!(reply, only_cut, "{text}");
        assert_eq!(messages(&asked).len(), 3, "the model is not reminded of what it did not answer: {asked}");
    }
    for exchange in history(&app, &ada).await {
        assert_eq!((&exchange["bot_message"], &exchange["truncated"]), (&json!(""), &json!(true)));
    }
    app.stop().await;
}

#[actix_web::test]
async fn user_is_told_of_the_cut_in_the_language_of_the_answer() {
    let (app, mut ollama) = start().await;
    for (code, some_words, no_words) in [
        ("en", "cut short", "ask again"),
        ("hi", "अधूरा", "फिर से पूछें"),
        ("es", "incompleta", "vuelve a preguntar"),
        ("te", "ఆగిపోయింది", "మళ్లీ అడగండి"),
        ("ta", "நின்றுவிட்டது", "மீண்டும் கேளுங்கள்"),
    ] {
        let body = json!({"user_id": VISITOR, "message": "?", "language": code});
        let (reply, _) = join(app.post("/chat", None, &body), answer_in_part(&mut ollama, &["Walk"])).await;
        let text = reply.1["text"].as_str().unwrap();
        assert!(text.starts_with("Walk\n\n(") && text.contains(some_words), "{code}: {text}");
        let (reply, _) = join(app.post("/chat", None, &body), think_only(&mut ollama)).await;
        let text = reply.1["text"].as_str().unwrap();
        assert!(text.starts_with('(') && text.contains(no_words), "{code}: {text}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn streamed_answer_says_at_its_end_that_it_was_cut_short() {
    let (app, mut ollama, ada) = start_for_events().await;
    let (reply, _) =
        join(ask_for_events(&app, &ada).send(), answer_in_part(&mut ollama, &["Walk", " every"])).await;
    let whole = json!({"text": format!("Walk every{CUT_SHORT}"), "truncated": true});
    let expected = [
        ("message", json!({"text": "Walk"})),
        ("message", json!({"text": " every"})),
        ("message", json!({"text": CUT_SHORT})),
        ("done", whole),
    ];
    let expected = expected.map(|(name, data)| (name.to_owned(), data));
    assert_eq!(events(&reply.unwrap().text().await.unwrap()), expected);
    let kept = history(&app, &ada).await;
    assert_eq!((&kept[0]["bot_message"], &kept[0]["truncated"]), (&json!("Walk every"), &json!(true)));
    app.stop().await;
}
