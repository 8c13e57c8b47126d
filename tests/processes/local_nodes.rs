//! `kokoro --nodes 3`: several nodes on one machine, on one address.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::cluster_harness::{is_balanced, until};
use crate::harness::*;

/// What a line of output says after `mark`, once it comes.
async fn said(lines: &mut Lines<BufReader<ChildStdout>>, mark: &str) -> String {
    loop {
        let line = lines.next_line().await.unwrap().expect("it ended before it said so");
        if let Some((_, said)) = line.split_once(mark) {
            return said.to_owned();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_started_by_one_command_share_an_address_and_a_dead_one_is_started_again() {
    let (_folder, path) = folder();
    let mut parent = Command::new(env!("CARGO_BIN_EXE_kokoro"))
        .args(["--nodes", "3", "--demo", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&path)
        .env("RATE_LIMIT_PER_MINUTE", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let url = said(&mut lines, "kokoro starts 3 nodes on ").await;
    let admin = said(&mut lines, "node 1: metrics are at ").await.replace("/metrics", "");
    let second = said(&mut lines, "node 2: process ").await;
    said(&mut lines, "node 3: kokoro listens on ").await;
    until(async || is_balanced(&cluster(&admin).await, 3)).await;

    signal_process(&second, "-KILL");
    said(&mut lines, "node 2: has ended").await;
    said(&mut lines, "node 2: kokoro listens on ").await;
    until(async || is_balanced(&cluster(&admin).await, 3)).await;
    // Each look is a connection of its own, and any node answers it.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..20 {
        let body = serde_json::json!({"doctor_id": "asha@example.com", "date": date_in(1)});
        let answer = client.post(format!("{url}/doctorBookings/available")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    signal_process(&parent.id().unwrap().to_string(), "-TERM");
    assert_eq!(parent.wait().await.unwrap().code(), Some(0));
    assert!(reqwest::get(format!("{url}/healthz")).await.is_err(), "nobody listens any more");
}
