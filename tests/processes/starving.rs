//! A process that is starved: of time, of disk, of file descriptors, of its store, of its clients' words. Patients book
//! and cancel throughout; afterwards what they were told is what is stored, and it serves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use engine::limits::STORE_SILENT_MAX;
use engine::{Clock, SystemClock};
use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::eventually::eventually;
use crate::harness::*;
use crate::load::{Ledger, PATIENTS, Told};
use crate::proxy::Proxy;

/// Sets a limit of a running process, as `setrlimit` would from inside.
fn limit(node: &Node, resource: &str) {
    let set = Command::new("prlimit").args(["--pid", &node.pid(), resource]).status();
    assert!(set.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_while_another_took_over_writes_nothing_more() {
    let store = Store::in_memory().await;
    let sleeper = Node::start(&Data::At(store.endpoint()));
    let doctors = [sleeper.doctor("asha").await];
    let (ledger, date) = (Ledger::default(), date_in(15));
    let seen = async |node: &Node| {
        let body = json!({"doctor_id": doctors[0], "date": date});
        let (status, answer) = node.post("/doctorBookings/available", None, &body).await;
        let slots = answer["slots"].as_array().into_iter().flatten();
        (status, slots.filter_map(|slot| slot["booked"].as_u64()).sum::<u64>())
    };
    let heir = ledger
        .during(&sleeper, &doctors, "early", async {
            ledger.goes_on(100).await;
            assert!(ledger.books(&sleeper, &doctors[0], "a@example.com", &date, "10:00").await);
            assert_eq!(seen(&sleeper).await, (200, 1));
            sleeper.signal("-STOP");
            let stopped = SystemClock.now();
            let before = ledger.answers();
            // It stands still with requests on their way, and wakes when its doctors are somebody else's.
            let endpoint = store.endpoint();
            let heir = tokio::task::spawn_blocking(move || Node::start(&Data::At(endpoint))).await.unwrap();
            let awoken = async {
                assert!(ledger.books(&heir, &doctors[0], "b@example.com", &date, "10:00").await);
                // Until what the sleeper knows of its store is too old to answer from.
                while SystemClock.now() - stopped < chrono::Duration::from_std(STORE_SILENT_MAX).unwrap() {
                    ledger.goes_on(20).await;
                }
                let late = async {
                    let (status, booked) = seen(&sleeper).await;
                    assert!(status != 200 || booked == 2, "it tells what was true when it fell asleep");
                };
                let wake = async {
                    sleeper.signal("-CONT");
                    // What was on its way when it fell asleep ends badly.
                    ledger.until(|_, now| now.bad() > before.bad()).await;
                    let has_ended = async || sleeper.get("/healthz").await.0 == 0;
                    eventually(DEADLINE, "the sleeper ends", has_ended).await;
                };
                futures::join!(late, wake);
            };
            Box::pin(ledger.during(&heir, &doctors, "late", awoken)).await;
            heir
        })
        .await;
    let (status, log) = sleeper.ended().await;
    assert_eq!(status.code(), Some(3), "{log}");
    ledger.during(&heir, &doctors, "last", ledger.goes_on(100)).await;
    drop(heir);
    ledger.assert_kept(&store).await;
}

/// Fills the disk under load, and frees it again.
async fn fill(path: &Path, node: Node, full: impl Fn(&Node, bool)) {
    let doctors = [node.doctor("asha").await];
    let ledger = Ledger::default();
    ledger
        .during(&node, &doctors, "u", async {
            ledger.goes_on(200).await;
            full(&node, true);
            ledger.suffers(PATIENTS).await;
            full(&node, false);
            ledger.goes_on(200).await;
        })
        .await;
    drop(node);
    ledger.assert_kept(&Store::left_in(path).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_no_acknowledged_booking_and_is_got_over() {
    let (folder, path) = folder();
    let library = folder.path().join("disk_full.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/disk_full.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-ldl", "-o"]).arg(&library);
    assert!(compiler.status().unwrap().success());
    let mark = folder.path().join("full");
    let environment = [("LD_PRELOAD", &library), ("KOKORO_DISK_FULL", &mark)];
    let environment = environment.map(|(name, path)| (name, path.to_str().unwrap()));
    let node = Node::start_with(&Data::Folder(&path), &environment);
    fill(&path, node, |_, full| {
        if full { std::fs::write(&mark, "").unwrap() } else { std::fs::remove_file(&mark).unwrap() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_costs_no_acknowledged_booking_and_is_got_over() {
    let (_folder, path) = folder();
    // A write past the limit is to fail, and not to kill.
    let node = Node::start_after(&Data::Folder(&path), "trap '' XFSZ");
    fill(&path, node, |node, full| {
        limit(node, if full { "--fsize=4096:unlimited" } else { "--fsize=unlimited:unlimited" });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_and_comes_back_is_used_again() {
    let store = Store::in_memory().await;
    let proxy = Proxy::before(&store.address()).await;
    let node = Node::start(&Data::At(store.endpoint().moved_to(proxy.endpoint.clone())));
    let (doctors, ledger) = ([node.doctor("asha").await], Ledger::default());
    ledger
        .during(&node, &doctors, "u", async {
            for _ in 0..2 {
                ledger.goes_on(100).await;
                proxy.cut();
                let is_unready = async || node.get("/readyz").await.0 != 200;
                eventually(DEADLINE, "the node knows that its store is away", is_unready).await;
                let away = Instant::now();
                ledger.suffers(PATIENTS).await;
                let mended = Instant::now();
                let asked = ledger.asked();
                let mut meanwhile = asked.iter().filter(|asked| asked.from > away && asked.to < mended);
                assert!(meanwhile.all(|asked| asked.told != Told::Done), "booked without a store");
                proxy.mend();
                let is_ready = async || node.get("/readyz").await.0 == 200;
                eventually(DEADLINE, "the node is ready again", is_ready).await;
                ledger.goes_on(100).await;
            }
        })
        .await;
    drop(node);
    ledger.assert_kept(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_file_descriptor_left_serves_again_when_there_is_one() {
    let (_folder, path) = folder();
    let node = Node::start(&Data::Folder(&path));
    let (doctors, ledger) = ([node.doctor("asha").await], Ledger::default());
    let open = || std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count();
    ledger
        .during(&node, &doctors, "u", async {
            ledger.goes_on(100).await;
            let most = open() + 20;
            limit(&node, &format!("--nofile={most}"));
            let idle = join_all((0..200).map(|_| TcpStream::connect(node.address()))).await;
            assert!(idle.iter().all(Result::is_ok));
            // Until it has none left, and has said so.
            eventually(DEADLINE, "no descriptor is left", async || open() >= most).await;
            node.has_logged("Too many open files").await;
            let one_more = async {
                // It waits, or is closed: a connection that gets the last descriptor finds none for what else it needs.
                assert_eq!(node.get_afresh("/healthz").await, None, "a connection more was served");
                std::future::pending().await
            };
            // Those who are connected already are served meanwhile.
            tokio::select! {
                biased;
                () = one_more => {}
                () = ledger.goes_on(100) => {}
            }
            drop(idle);
            let is_served = async || node.get_afresh("/healthz").await == Some(200);
            eventually(DEADLINE, "a connection more is served", is_served).await;
            ledger.goes_on(100).await;
        })
        .await;
    drop(node);
    ledger.assert_kept(&Store::left_in(&path).await).await;
}

/// A booking whose body is not sent to its end, and where that body begins.
fn unfinished() -> (Vec<u8>, usize) {
    let head = format!(
        "POST /doctorBookings/book HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         authorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n",
        user_token("stalled@example.com")
    );
    (format!("{head}{{\"doctor_id\":{}", " ".repeat(900)).into_bytes(), head.len())
}

/// Sends the first part of it: to the middle of the head, or into the body.
async fn begin(node: &Node, in_head: bool) -> (TcpStream, usize) {
    let (request, head) = unfinished();
    let mut stream = TcpStream::connect(node.address()).await.unwrap();
    let sent = if in_head { 40 } else { head + 10 };
    stream.write_all(&request[..sent]).await.unwrap();
    (stream, sent)
}

/// Goes on with a byte a second until it is told something, or hung up on, and gives what it was told.
async fn drip((mut stream, mut sent): (TcpStream, usize)) -> Vec<u8> {
    let (request, mut answer) = (unfinished().0, Vec::new());
    loop {
        match tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await {
            Ok(Ok(more)) if more > 0 => {}
            Ok(_) => return answer,
            Err(_) => {
                let _ = stream.write_all(&request[sent..=sent]).await;
                sent += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stall_or_drip_or_hang_up_in_the_middle_cost_the_others_nothing() {
    let (_folder, path) = folder();
    let node = Node::start(&Data::Folder(&path));
    let (doctors, ledger) = ([node.doctor("asha").await], Ledger::default());
    ledger
        .during(&node, &doctors, "u", async {
            let mut stalled = join_all((0..200).map(|n| begin(&node, n % 2 == 0))).await;
            let dripping = join_all((0..200).map(async |n| drip(begin(&node, n % 2 == 0).await).await));
            let others = async {
                for n in 0..300 {
                    drop(begin(&node, n % 3 == 0).await);
                }
                ledger.goes_on(200).await;
            };
            let (told, ()) = futures::join!(dripping, others);
            // Each is told, or hung up on, in its time.
            for (n, told) in told.into_iter().enumerate() {
                let text = String::from_utf8_lossy(&told);
                assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{n}: {text}");
            }
            for (stream, _) in &mut stalled {
                let mut told = Vec::new();
                let _ = stream.read_to_end(&mut told).await;
                assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 408"), "{told:?}");
            }
            ledger.goes_on(100).await;
        })
        .await;
    assert_eq!(ledger.answers().bad(), 0, "others paid for it");
    drop(node);
    ledger.assert_kept(&Store::left_in(&path).await).await;
}
