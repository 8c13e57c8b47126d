//! What a process asks of the system's scheduler.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::*;

/// `SCHED_BATCH` and `SCHED_IDLE` of sched.h.
const BATCH: &str = "3";
const IDLE: &str = "5";

/// The policies of a process' threads: the 41st field of `stat` (proc_pid_stat(5)), whose second may hold spaces.
fn policies(pid: &str) -> BTreeSet<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let policy = |thread: std::fs::DirEntry| {
        // One that has ended meanwhile has none.
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(41 - 3).map(str::to_owned)
    };
    threads.filter_map(|thread| policy(thread.unwrap())).collect()
}

#[test]
fn every_thread_waits_for_its_turn() {
    let (_folder, path) = folder();
    let node = Node::start(&Data::Folder(&path));
    assert_eq!(policies(&node.pid()), BTreeSet::from([BATCH.to_owned()]));
}

#[test]
fn the_policy_that_was_chosen_for_it_is_kept() {
    let (_folder, path) = folder();
    let mut command = Command::new("chrt");
    command.args(["--idle", "0", env!("CARGO_BIN_EXE_kokoro")]).stdout(Stdio::piped());
    let mut process =
        command.env("KOKORO_DATA_DIR", &path).env("KOKORO_LISTEN", "127.0.0.1:0").spawn().unwrap();
    // Kept until the end: a program that cannot say what it has to say may not live as long.
    let mut said = BufReader::new(process.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    let kept = policies(&process.id().to_string());
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(kept, BTreeSet::from([IDLE.to_owned()]));
}
