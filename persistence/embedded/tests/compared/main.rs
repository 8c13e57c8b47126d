//! The same random requests to our database and to `dynoxide`, another implementation of the same protocol, and the same answers.
//! `KOKORO_SEED=7 KOKORO_COMPARED_CALLS=100000 cargo test -p embedded --test compared` tries others.
//!
//! Where the two differ, [`other::is_known`] says so, or `generate` what it leaves out; `tests/calls` has ours.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod generate;
mod other;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use embedded::Database;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use generate::Maker;
use other::Other;

/// Calls of one run, unless told otherwise: some ten seconds.
const CALLS: usize = 40_000;
/// Calls to one pair of databases.
const CALLS_AT_ONCE: usize = 1_000;
/// Any time.
const NOW: u64 = 1_795_824_000_000;

/// Both databases.
struct Pair {
    ours: Database,
    other: Other,
}

impl Pair {
    fn new() -> Self {
        Self { ours: Database::memory(Arc::new(|| NOW)), other: Other::new() }
    }

    fn ours(&self, operation: &str, body: &Value) -> (bool, Value) {
        let answer = futures::executor::block_on(self.ours.call(operation, body.to_string().into()));
        (answer.status == 200, serde_json::from_slice(&answer.body).unwrap())
    }

    /// What both answer to the same, and that it is the same.
    fn call(&self, operation: &str, body: &Value) -> Value {
        let (ours, theirs) = (self.ours(operation, body), self.other.call(operation, body));
        let (mine, others) = (other::comparable(operation, &ours), other::comparable(operation, &theirs));
        assert!(
            mine == others || other::is_known(operation, body, &mine, &others),
            "{operation}\nours:  {}\nother: {}\n{body}",
            ours.1,
            theirs.1
        );
        ours.1
    }

    /// All pages of a query or scan: the same items, in the same order as far as their keys say one.
    fn pages(&self, operation: &str, body: &Value) {
        let all = |call: &dyn Fn(&Value) -> (bool, Value)| {
            let (mut items, mut body, mut pages) = (Vec::new(), body.clone(), 0);
            loop {
                let (is_done, mut answer) = call(&body);
                if !is_done {
                    return Err(other::comparable(operation, &(is_done, answer)));
                }
                pages += 1;
                assert!(pages < 1000, "{operation} {body} has no end");
                items.append(answer["Items"].as_array_mut().unwrap_or(&mut Vec::new()));
                match answer.get("LastEvaluatedKey").filter(|key| !key.is_null()) {
                    Some(key) => body["ExclusiveStartKey"] = key.clone(),
                    None => return Ok(items),
                }
            }
        };
        let ours = all(&|body| self.ours(operation, body));
        let theirs = all(&|body| self.other.call(operation, body));
        match (ours, theirs) {
            (Ok(mut ours), Ok(mut theirs)) => {
                ours.iter_mut().chain(&mut theirs).for_each(other::normalize);
                if operation == "Scan" || body.get("IndexName").is_some() {
                    // A scan has no order; an index none among equal keys, which is compared by itself.
                    let text = |item: &Value| item.to_string();
                    ours.sort_by_key(text);
                    theirs.sort_by_key(text);
                }
                assert_eq!(ours, theirs, "{operation} {body}");
            }
            (Err(ours), Err(theirs)) => assert_eq!(ours, theirs, "{operation} {body}"),
            (ours, theirs) => panic!("{operation} {body}\nours:  {ours:?}\nother: {theirs:?}"),
        }
    }
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn both_answer_alike() {
    let seed = number_of("KOKORO_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let calls = number_of("KOKORO_COMPARED_CALLS").map_or(CALLS, |calls| usize::try_from(calls).unwrap());
    println!("KOKORO_SEED={seed}");
    let (mut done, mut shares) = (0, BTreeMap::new());
    let mut chance = SmallRng::seed_from_u64(seed);
    while done < calls {
        let pair = Pair::new();
        for table in generate::tables() {
            pair.call("CreateTable", &table);
        }
        let mut maker = Maker::new(SmallRng::seed_from_u64(chance.random()));
        for _ in 0..CALLS_AT_ONCE {
            let (operation, body) = maker.call();
            match operation {
                "Query" | "Scan" => pair.pages(operation, &body),
                _ => {
                    let answer = pair.call(operation, &body);
                    let (all, good): &mut (u32, u32) = shares.entry(operation).or_default();
                    *all += 1;
                    *good += u32::from(answer.get("__type").is_none());
                }
            }
        }
        for table in generate::tables() {
            pair.pages("Scan", &json!({"TableName": table["TableName"]}));
        }
        done += CALLS_AT_ONCE;
    }
    // Two that refuse everything agree as well.
    println!("{shares:?}");
    assert!(shares.values().all(|(all, good)| good * 5 > *all), "{shares:?}");
}
