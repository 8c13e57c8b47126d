//! The bodies of every call: good ones, changed field by field or byte by byte.

use std::fs;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::chance::{Dice, cases};
use crate::harness::Reply;
use crate::json::{Node, bruise};
use crate::routes::{Call, World};

const JSON: &str = "application/json";

/// Content types, most of which say JSON in their own way.
const CONTENT_TYPES: [&str; 10] = [
    "application/problem+json",
    "application/json; charset=utf-16",
    "APPLICATION/JSON;charset=\"kanarie\"",
    "application/json, text/plain",
    "application/+json",
    "multipart/form-data; boundary=kanarie",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "text/event-stream",
    "/",
];

/// What the answer is, beyond what the document says: 400 is for what is no JSON, and for nothing else.
fn complaint(world: &World, call: &Call, body: &[u8], reply: &Reply) -> Option<String> {
    // Where an old client sends nothing, nothing is good.
    let is_nothing = body.is_empty() && ["/doctorsService/fetchDoctors", "/auth/logout"].contains(&call.path);
    // Between the two lie numbers beyond all bounds and half surrogates, which may do no harm where nobody reads them.
    // The program skips a byte order mark.
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let is_good = serde_json::from_slice::<Value>(body).is_ok();
    let is_shaped = std::str::from_utf8(body).is_ok() && serde_json::from_slice::<IgnoredAny>(body).is_ok();
    // What Razorpay has signed is an event, or 400.
    let is_other = call.path == "/payment/webhook";
    let is_judged = ![401, 413, 415, 429].contains(&reply.status) && !is_nothing && !is_other;
    if is_judged && reply.status == 400 && is_good {
        return Some("JSON is told to be none".to_owned());
    }
    if is_judged && reply.status != 400 && !is_shaped {
        return Some("what is no JSON is taken for it".to_owned());
    }
    world.document.complaint(call.path, reply)
}

async fn check(world: &World, call: &Call, content_type: &str, body: Vec<u8>, name: &str) {
    let reply = world.send(call, content_type, body.clone()).await;
    if let Some(complaint) = complaint(world, call, &body, &reply) {
        // As bytes, to be kept in `corpus/bodies` under a name that says what is wrong with it.
        let file = std::env::temp_dir().join("kokoro-fuzz-body");
        fs::write(&file, [call.path.as_bytes(), b"\n", &body].concat()).unwrap();
        let shown: String = String::from_utf8_lossy(&body).chars().take(2_000).collect();
        panic!(
            "{name}: {complaint}: {} {}\n{} {content_type}\n{}\n(whole in {})",
            reply.status,
            reply.body,
            call.path,
            shown.escape_debug(),
            file.display()
        );
    }
}

#[actix_web::test]
async fn every_posted_path_is_among_the_calls() {
    let world = World::start().await;
    let mut called: Vec<&str> = world.calls().iter().map(|call| call.path).collect();
    called.sort_unstable();
    called.dedup();
    assert_eq!(called, world.document.posted());
    for call in world.calls() {
        let body = call.body.to_string().into_bytes();
        check(&world, &call, JSON, body, "unchanged").await;
    }
    world.stop().await;
}

#[actix_web::test]
async fn no_body_breaks_a_call() {
    let world = World::start().await;
    let calls = world.calls();
    for case in 0..cases(800) {
        let dice = Dice::of_case(case);
        let call = &calls[case % calls.len()];
        let mut node = Node::from(&call.body);
        for _ in 0..=dice.below(3) {
            node.mutate(&dice);
        }
        let mut text = String::new();
        node.write(&mut text);
        let mut body = text.into_bytes();
        while dice.percent(25) {
            bruise(&mut body, &dice);
        }
        let content_type = if dice.percent(6) { *dice.pick(&CONTENT_TYPES) } else { JSON };
        check(&world, call, content_type, body, &format!("case {case}")).await;
    }
    world.stop().await;
}

/// What was wrong once, or nearly: the path on the first line, the body after it.
#[actix_web::test]
async fn no_body_that_broke_a_call_does_so_again() {
    let world = World::start().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/bodies");
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for file in names {
        let bytes = fs::read(&file).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let path = std::str::from_utf8(&bytes[..end]).unwrap();
        let calls: Vec<Call> = world.calls().into_iter().filter(|call| call.path == path).collect();
        assert!(!calls.is_empty(), "{path}");
        for call in calls {
            check(&world, &call, JSON, bytes[end + 1..].to_vec(), &file.display().to_string()).await;
        }
    }
    world.stop().await;
}
