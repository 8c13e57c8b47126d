//! `kokoro --nodes 3`: several nodes on one machine, on one address.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::cluster_harness::is_balanced;
use crate::eventually::eventually;
use crate::harness::*;

/// The origin that the nodes allow.
const ORIGIN: &str = "https://app.example";

/// What has been printed.
struct Output {
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Output {
    /// What a line says after `mark`, once it has come; lines of several nodes come in any order.
    async fn said(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = self.seen.iter().position(|line| line.contains(mark)) {
                return self.seen.remove(at).split_once(mark).unwrap().1.to_owned();
            }
            let next = tokio::time::timeout(DEADLINE, self.lines.next_line());
            self.seen
                .push(next.await.expect("it does not say so").unwrap().expect("it ended before it said so"));
        }
    }
}

fn signal_process(process: &str, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, process]).status().unwrap().success());
}

async fn cluster(admin: &str) -> Value {
    match reqwest::get(format!("{admin}/cluster")).await {
        Ok(answer) => answer.json().await.unwrap(),
        Err(_) => Value::Null,
    }
}

fn ids(view: &Value) -> Vec<String> {
    let nodes = view["nodes"].as_array().into_iter().flatten();
    nodes.map(|node| node["id"].as_str().unwrap().to_owned()).collect()
}

/// A parent whose nodes end with it, however it ends.
fn start(nodes: &str, folder: &Path) -> (Child, Output) {
    web::http_client::install_cryptography();
    let mut parent = Command::new(env!("CARGO_BIN_EXE_kokoro"))
        .args([
            "--nodes",
            nodes,
            "--demo",
            "--listen",
            "127.0.0.1:0",
            "--cors-allowed-origins",
            ORIGIN,
            "--data-dir",
        ])
        .arg(folder)
        .env("RATE_LIMIT_PER_MINUTE", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    (parent, Output { lines, seen: Vec::new() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_started_by_one_command_share_an_address_and_a_dead_one_is_started_again() {
    let (_folder, path) = folder();
    let (mut parent, mut output) = start("3", &path);
    let url = output.said("kokoro starts 3 nodes on ").await;
    let admin = output.said("node 1: metrics are at ").await.replace("/metrics", "");
    let second = output.said("node 2: process ").await;
    output.said("node 3: kokoro listens on ").await;
    let is_even = async || is_balanced(&cluster(&admin).await, 3);
    eventually(DEADLINE, "three nodes share all ranges evenly", is_even).await;
    let before = ids(&cluster(&admin).await);

    signal_process(&second, "-KILL");
    output.said("node 2: has ended").await;
    output.said("node 2: kokoro listens on ").await;
    // The dead one is seen as it was until its lease has run out, and what it had answers nobody.
    let is_replaced = |view: &Value| ids(view).iter().filter(|id| before.contains(id)).count() == 2;
    let is_restored = async || {
        let view = cluster(&admin).await;
        is_replaced(&view) && is_balanced(&view, 3)
    };
    eventually(DEADLINE, "the node that was started again has its share", is_restored).await;
    // Each look is a connection of its own, and any node answers it.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..20 {
        let body = serde_json::json!({"doctor_id": "asha@example.com", "date": date_in(1)});
        let is_answered = async || {
            let look = client.post(format!("{url}/doctorBookings/available")).header("Origin", ORIGIN);
            let answer = look.json(&body).send().await.unwrap();
            let status = answer.status();
            let allowed = answer.headers().get("access-control-allow-origin").cloned();
            assert_eq!(allowed.unwrap(), ORIGIN, "the options of the parent are the nodes' too");
            // A lease may lapse on a machine that has much else to do.
            assert!(status == 200 || status == 503, "{status} {}", answer.text().await.unwrap());
            status == 200
        };
        eventually(DEADLINE, "whichever node is asked answers", is_answered).await;
    }

    signal_process(&parent.id().unwrap().to_string(), "-TERM");
    let ended = tokio::time::timeout(DEADLINE, parent.wait()).await.expect("the parent does not end");
    assert_eq!(ended.unwrap().code(), Some(0));
    assert!(reqwest::get(format!("{url}/healthz")).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_end_with_the_process_that_started_them_when_it_is_killed() {
    let (_folder, path) = folder();
    let (mut parent, mut output) = start("2", &path);
    let url = output.said("kokoro starts 2 nodes on ").await;
    output.said("node 2: kokoro listens on ").await;
    assert!(reqwest::get(format!("{url}/healthz")).await.is_ok());

    parent.kill().await.unwrap();
    let have_ended = async || reqwest::get(format!("{url}/healthz")).await.is_err();
    eventually(DEADLINE, "the nodes end with their parent", have_ended).await;
}
