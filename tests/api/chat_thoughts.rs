//! Models that think before they answer: their thoughts are neither shown nor stored nor sent back.

use std::time::Duration;

use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};
use web::config::AssistantConfig;

use crate::chat::{VISITOR, ask, history, question, start, with};
use crate::chat_stream::{ask_for_events, events, next_text, start as start_for_events};
use crate::harness::{Reply, TestApp, told};
use crate::ollama::{Ollama, messages};

#[actix_web::test]
async fn thoughts_in_their_own_field_are_not_shown_stored_or_sent_back() {
    let (app, mut ollama) = start().await;
    let ada = app.user("ada").await;
    let thinking = async {
        let mut call = ollama.call().await;
        call.begin().await;
        for thought in ["She is", " worried", "."] {
            call.think(thought).await;
        }
        call.say("Walk").await;
        call.think("Every day?").await;
        call.say(" daily.").await;
        call.done().await
    };
    let (reply, asked) = join(ask(&app, &ada, "?"), thinking).await;
    assert_eq!(reply, (200, json!({"text": "Walk daily."})));
    assert_eq!(asked["think"], json!(false));
    assert_eq!(history(&app, &ada).await[0].2, "Walk daily.");
    let (_, asked) = join(ask(&app, &ada, "And?"), ollama.answer(&["Yes."])).await;
    assert_eq!(messages(&asked)[2], ("assistant".to_owned(), "Walk daily.".to_owned()));
    assert!(!asked.to_string().contains("worried"), "{asked}");
    app.stop().await;
}

#[actix_web::test]
async fn thoughts_in_the_text_are_removed_wherever_it_is_split() {
    let (app, mut ollama) = start().await;
    let ada = app.user("ada").await;
    let text = "\n<think>\nShe is 🙂.\n</think>\n\n Is 3 < 4? ";
    let cuts = text.char_indices().map(|(at, _)| text.split_at(at));
    let pieces = cuts.map(|(before, after)| vec![before.to_owned(), after.to_owned()]);
    let each_alone = text.chars().map(String::from).collect();
    for pieces in pieces.chain([each_alone]) {
        let parts: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let (reply, _) = join(ask(&app, &ada, "?"), ollama.answer(&parts)).await;
        assert_eq!(reply, (200, json!({"text": "Is 3 < 4?"})), "{parts:?}");
        app.clock.advance(chrono::TimeDelta::seconds(1));
    }
    assert!(history(&app, &ada).await.iter().all(|(_, _, answer)| answer == "Is 3 < 4?"));
    app.stop().await;
}

#[actix_web::test]
async fn thought_without_one_of_its_tags_is_removed() {
    let (app, mut ollama) = start().await;
    let ada = app.user("ada").await;
    for (what, pieces, answer) in [
        ("no opening tag", &["She is worried.", "\n</thi", "nk>\n\nWalk."][..], "Walk."),
        ("no closing tag", &["Walk.", "\n<thi", "nk>She is", " worried."], "Walk."),
        ("a tag that is only begun", &["Walk.", "</thin"], "Walk.</thin"),
    ] {
        let (reply, _) = join(ask(&app, &ada, "?"), ollama.answer(pieces)).await;
        assert_eq!(reply, (200, json!({"text": answer})), "{what}");
        assert_eq!(history(&app, &ada).await.last().unwrap().2, answer, "{what}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn thoughts_without_an_answer_or_without_end_are_a_502_and_are_not_stored() {
    let (app, mut ollama) = start().await;
    let ada = app.user("ada").await;
    let failed = |reply: (u16, Value)| assert_eq!(told(reply), (502, "assistant_failed".to_owned()));
    for thoughts in ["<think>She is worried.</think>\n", "<think>She is worried."] {
        failed(join(ask(&app, &ada, "?"), ollama.answer(&[thoughts])).await.0);
    }
    let streamed = app.request(Method::POST, "/chat").json(&question(VISITOR, "?"));
    let streamed = Reply::of(streamed.header("Accept", "text/event-stream"));
    let (reply, _) = join(streamed, ollama.answer(&[])).await;
    reply.assert_problem(502, "assistant_failed");
    for in_the_text in [false, true] {
        let thinking = async {
            let mut call = ollama.call().await;
            call.begin().await;
            call.say(if in_the_text { "Well,<think>" } else { "Well," }).await;
            let thought = "She is worried. ".repeat(512);
            for _ in 0..9 {
                if in_the_text { call.say(&thought).await } else { call.think(&thought).await }
            }
            call.hung_up().await;
        };
        failed(join(ask(&app, &ada, "?"), thinking).await.0);
    }
    assert!(history(&app, &ada).await.is_empty());
    app.stop().await;
}

#[actix_web::test]
async fn model_that_thinks_past_the_first_word_timeout_is_heard() {
    let mut ollama = Ollama::start().await;
    let first_word_timeout = Duration::from_secs(2);
    let assistant = AssistantConfig { first_word_timeout, ..AssistantConfig::default() };
    let app = TestApp::start_with(with(&ollama, assistant)).await;
    let ada = app.user("ada").await;
    let answering = async {
        let mut thinking = ollama.call().await;
        thinking.begin().await;
        thinking.think("She is").await;
        // The question of a visitor, put later, is given up: so much time has passed.
        let visit = question(VISITOR, "?");
        let (visit, mute) = join(app.post("/chat", None, &visit), ollama.call()).await;
        assert_eq!(told(visit), (504, "assistant_too_slow".to_owned()));
        mute.hung_up().await;
        thinking.think(" worried.").await;
        thinking.say("Walk.").await;
        thinking.done().await;
    };
    let (reply, ()) = join(ask(&app, &ada, "?"), answering).await;
    assert_eq!(reply, (200, json!({"text": "Walk."})));
    app.stop().await;
}

#[actix_web::test]
async fn stream_is_kept_open_by_comments_while_the_model_thinks() {
    let (app, mut ollama, ada) = start_for_events().await;
    let beginning = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.think("She is").await;
        call
    };
    let (response, mut call) = join(ask_for_events(&app, &ada).send(), beginning).await;
    let mut response = response.unwrap();
    assert_eq!(
        (response.status().as_u16(), next_text(&mut response).await),
        (200, ": thinking\n\n".to_owned())
    );
    // The next comment is not due yet.
    call.think(" worried.").await;
    call.say("Walk.").await;
    let ending = async {
        call.done().await;
        response.text().await.unwrap()
    };
    // A stop waits for the answer.
    let ((), rest) = join(app.stop(), ending).await;
    assert!(!rest.contains("thinking") && !rest.contains("worried"), "{rest}");
    let expected = [("message", json!({"text": "Walk."})), ("done", json!({"text": "Walk."}))];
    assert_eq!(events(&rest), expected.map(|(name, data)| (name.to_owned(), data)));
}

#[actix_web::test]
async fn thoughts_without_an_opening_tag_are_streamed_only_once() {
    let (app, mut ollama, ada) = start_for_events().await;
    let thought = "She is worried.";
    let message = |text| ("message".to_owned(), json!({"text": text}));
    let done = |text| ("done".to_owned(), json!({"text": text}));
    for (pieces, expected) in [
        // Until the closing tag comes, a thought cannot be told from an answer.
        (&[thought, "</think>\n\n", "Walk."][..], &[message(thought), message("Walk."), done("Walk.")][..]),
        (&[thought, "</think>\n\n", "Walk", "."], &[message("Walk"), message("."), done("Walk.")]),
        (&["Walk", "."], &[message("Walk."), done("Walk.")]),
    ] {
        let (reply, _) = join(ask_for_events(&app, &ada).send(), ollama.answer(pieces)).await;
        assert_eq!(events(&reply.unwrap().text().await.unwrap()), expected, "{pieces:?}");
    }
    let thinking = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.say(thought).await;
        call.end("length").await
    };
    let ((status, body), _) = join(ask(&app, &ada, "?"), thinking).await;
    assert_eq!((status, &body["truncated"]), (200, &json!(true)));
    assert!(!body.to_string().contains("worried"), "{body}");
    let kept: Vec<String> = history(&app, &ada).await.into_iter().map(|(_, _, answer)| answer).collect();
    assert_eq!(kept, ["Walk.", "Walk.", "Walk.", ""]);
    app.stop().await;
}
