//! Chats, payments, tokens of the old platform, and files.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::join;
use serde_json::json;

use super::accounts::documents;
use super::left::null;
use super::{ADA, Trap, World, step};
use crate::harness::*;
use crate::old_platform::{account, auth_token};
use crate::stores::*;

const LOCKER: &str = "kokoro-medilocker";

pub fn traps() -> Vec<Trap> {
    [chats(), payments(), tokens(), files(), documents()].into_iter().flatten().collect()
}

fn chats() -> Vec<Trap> {
    vec![Trap {
        place: "ChatHistory",
        says: "`timestamp` (whole seconds), `user_message` and `bot_message` as JSON texts",
        put: step(async |store: &Opened| {
            let said = |role: &str, words: &str| s(&json!({"role": role, "text": words}).to_string());
            let row = [
                ("email", s(ADA)),
                ("timestamp", n(1_700_000_000)),
                ("user_message", said("user", "Is \"walking\" good?")),
                ("bot_message", said("bot", "हाँ।\n")),
            ];
            store.put("ChatHistory", &row).await;
        }),
        counted: vec![],
        served: step(async |world: &World| {
            let ask = json!({"user_id": ADA, "message": "How often?"});
            let mut ollama = world.ollama.lock().await;
            let (answer, asked) = join(world.user(ADA, "/chat", ask), ollama.answer(&["Daily."])).await;
            assert_eq!(answer, json!({"text": "Daily."}));
            assert!(asked.to_string().contains("walking"), "the old exchange is told: {asked}");
            let history = reqwest::Client::new().get(format!("{}/chat/history/{ADA}", world.node.url));
            let history = history.bearer_auth(user_token(ADA)).send().await.unwrap();
            let history: serde_json::Value = history.json().await.unwrap();
            let old = json!({"timestamp": 1_700_000_000, "user_message": "Is \"walking\" good?",
                "bot_message": "हाँ।\n"});
            assert_eq!(history["messages"][0], old);
            assert_eq!(history["messages"].as_array().unwrap().len(), 2);
        }),
        left: |left| assert_eq!(left.row("ChatHistory", &format!("{ADA} 1700000000")).len(), 4),
    }]
}

async fn payment(store: &Opened, id: &str, amount: &str, invoice: AttributeValue) {
    let row = [
        ("payment_id", s(id)),
        ("order_id", s("order_FOGs9Hz3ZaAjsm")),
        ("amount", n(amount)),
        ("currency", s("INR")),
        ("status", s("captured")),
        ("timestamp", s("2026-01-01T00:00:00")),
        ("invoice_url", invoice),
    ];
    store.put("PaymentsTable", &row).await;
}

async fn asks_for(world: &World, id: &str) -> (u16, String) {
    world.refused("/process-payment", Some(&user_token(ADA)), json!({"payment_id": id})).await
}

fn payments() -> Vec<Trap> {
    let place = "PaymentsTable";
    vec![
        Trap {
            place,
            says: "`payment_id`, ..., `timestamp` (text), `invoice_url` (text or NULL)",
            put: step(async |store: &Opened| {
                payment(store, "pay_FOGsH8uHkF2FbR", "500", null()).await;
                payment(store, "pay_FOGsH8uHkF2FbS", "500", s("https://rzp.io/i/1")).await;
            }),
            counted: vec![("payment_of_nobody", 2)],
            served: step(async |world: &World| {
                // No row says whose it is.
                for id in ["pay_FOGsH8uHkF2FbR", "pay_FOGsH8uHkF2FbS"] {
                    assert_eq!(asks_for(world, id).await, (404, "payment_not_found".to_owned()));
                }
            }),
            left: |left| assert_eq!(left.row("PaymentsTable", "pay_FOGsH8uHkF2FbR").len(), 7),
        },
        Trap {
            place,
            says: "links that were created but not paid were never saved",
            put: step(async |_: &Opened| {}),
            counted: vec![],
            served: step(async |world: &World| {
                let link = world.user(ADA, "/process-payment", json!({"amount": 499.5})).await;
                let paid = world.razorpay.pay(link["payment_link_id"].as_str().unwrap(), "captured");
                assert_eq!(asks_for(world, paid["id"].as_str().unwrap()).await.0, 200);
            }),
            left: |left| {
                let row = left.row("PaymentsTable", "pay_00000000000001");
                assert_eq!((&row["amount"], &row["currency"]), (&n("499.5"), &s("INR")));
                assert_eq!((&row["status"], &row["invoice_url"]), (&s("captured"), &null()));
                assert!(row["order_id"].is_s());
            },
        },
        Trap {
            place,
            says: "amounts cut off a paisa by floating point",
            put: step(async |store: &Opened| payment(store, "pay_FOGsH8uHkF2FbR", "1144.99", null()).await),
            counted: vec![("payment_of_nobody", 1)],
            served: step(async |world: &World| {
                // int(1145.15 * 100), as the old platform computed it, is a paisa short.
                world.user(ADA, "/process-payment", json!({"amount": 1145.15})).await;
                assert_eq!(world.razorpay.links()[0]["amount"], 114_515);
            }),
            left: |left| assert_eq!(left.row("PaymentsTable", "pay_FOGsH8uHkF2FbR")["amount"], n("1144.99")),
        },
    ]
}

fn tokens() -> Vec<Trap> {
    vec![Trap {
        place: "AuthTokensTable",
        says: "`email`, `purpose`, `token`, `ttl`: not used by the engine yet",
        put: step(async |store: &Opened| {
            auth_token(store, ADA).await;
        }),
        counted: vec![],
        served: step(async |world: &World| {
            assert_eq!(world.log_in("User", ADA, super::PASSWORD).await, 200);
        }),
        left: |left| assert_eq!(left.tokens(), 1),
    }]
}

/// A file whose name could not be given today: listed, fetched and deleted under it.
fn odd_name(says: &'static str, name: &'static str) -> Trap {
    Trap {
        place: LOCKER,
        says,
        put: step(async move |store: &Opened| {
            store.put_file(LOCKER, &format!("{ADA}/{name}"), b"old", &[]).await;
        }),
        counted: vec![("file_name_odd", 1)],
        served: step(async move |world: &World| {
            let listed = world.user(ADA, "/medilocker/fetch", json!({"email": ADA})).await;
            assert_eq!(listed["files"][0]["filename"], name);
            let named = json!({"email": ADA, "filename": name});
            let link = world.user(ADA, "/medilocker/download", named.clone()).await;
            assert!(link["download_url"].is_string());
            world.user(ADA, "/medilocker/delete", named).await;
            let none = world.user(ADA, "/medilocker/fetch", json!({"email": ADA})).await;
            assert_eq!(none, json!({"message": "No files found", "files": []}));
        }),
        left: |left| assert!(left.is_empty(LOCKER)),
    }
}

fn files() -> Vec<Trap> {
    vec![
        Trap {
            place: LOCKER,
            says: "`{email}/{filename}` with the user metadata as given",
            put: step(async |store: &Opened| {
                account(store, "Users", "bob@x.com", &[]).await;
                let metadata = [("kind", "x-ray"), ("doctor", "Dr. Rao")];
                store.put_file(LOCKER, &format!("{ADA}/रिपोर्ट 1.pdf"), b"%PDF-1.4", &metadata).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                let listed = world.user(ADA, "/medilocker/fetch", json!({"email": ADA})).await;
                let file = &listed["files"][0];
                let metadata = json!({"kind": "x-ray", "doctor": "Dr. Rao"});
                assert_eq!((&file["filename"], &file["metadata"]), (&json!("रिपोर्ट 1.pdf"), &metadata));
                let named = json!({"email": ADA, "filename": "रिपोर्ट 1.pdf"});
                let link = world.user(ADA, "/medilocker/download", named).await;
                let answer = reqwest::get(link["download_url"].as_str().unwrap()).await.unwrap();
                assert_eq!(answer.bytes().await.unwrap(), "%PDF-1.4");
                let content = BASE64_STANDARD.encode(b"new");
                let file = json!({"filename": "scan.png", "content": content, "metadata": metadata});
                world
                    .user("bob@x.com", "/medilocker/upload", json!({"email": "bob@x.com", "files": [file]}))
                    .await;
            }),
            left: |left| {
                let mut metadata = left.object(LOCKER, "bob@x.com/scan.png").unwrap().clone();
                assert!(metadata.remove("kokoro-upload").is_some());
                let given = [("doctor", "Dr. Rao"), ("kind", "x-ray")];
                let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
                assert_eq!(metadata, BTreeMap::from(given));
            },
        },
        odd_name("file names were not checked: empty ones", ""),
        odd_name("file names were not checked: `../`", "../secret.txt"),
        odd_name("file names were not checked: `/`", "a/b.txt"),
    ]
}
