//! A process that is starved: of time, of disk, of file descriptors, of its store, of its clients' words. Afterwards
//! what was acknowledged is there, and it serves.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::*;
use crate::proxy::Proxy;

type Seats = Mutex<BTreeSet<(String, String)>>;

/// Sets a limit of a running process, as `setrlimit` would from inside.
fn limit(node: &Node, resource: &str) {
    let set = Command::new("prlimit").args(["--pid", &node.pid(), resource]).status();
    assert!(set.unwrap().success());
}

fn signal(node: &Node, name: &str) {
    assert!(Command::new("kill").args([name, &node.pid()]).status().unwrap().success());
}

/// Books seats one after another until told to stop, or that something is wrong: that must be a retryable failure.
async fn book_until(stop: &AtomicBool, node: &Node, doctor: &str, name: &str, acknowledged: &Seats) {
    for turn in 0..14 * 48 {
        let (date, slot) = (date_in(1 + turn / 48), turn % 48);
        let start = format!("{:02}:{:02}", slot / 2, slot % 2 * 30);
        let user = format!("{name}@example.com");
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match node.book(doctor, &user, &date, &start).await {
            (200, _) => _ = acknowledged.lock().unwrap().insert(keys(doctor, &user, &date, &start)),
            // Five were faster.
            (409, _) => {}
            (0 | 503, _) => return,
            (status, answer) => panic!("{status} {answer}"),
        }
    }
}

/// Runs bookings of a few users while something happens, and gives what they were told.
async fn meanwhile(
    node: &Node,
    doctor: &str,
    round: &str,
    happens: impl Future<Output = ()>,
) -> BTreeSet<(String, String)> {
    let (stop, acknowledged) = (AtomicBool::new(false), Seats::default());
    let clients = join_all((0..8).map(|n| {
        let (stop, acknowledged) = (&stop, &acknowledged);
        async move { book_until(stop, node, doctor, &format!("{round}{n}"), acknowledged).await }
    }));
    let over = async {
        happens.await;
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(clients, over);
    acknowledged.into_inner().unwrap()
}

/// Asks for one seat again and again until it is granted: it serves.
async fn serves(node: &Node, doctor: &str, user: &str) -> (String, String) {
    let date = date_in(15);
    while node.book(doctor, user, &date, "10:00").await.0 != 200 {
        tokio::task::yield_now().await;
    }
    keys(doctor, user, &date, "10:00")
}

async fn assert_stored(store: &Store, acknowledged: &BTreeSet<(String, String)>) {
    let stored = store.bookings().await;
    assert_no_slot_above_five(&stored);
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_while_another_took_over_writes_nothing_more() {
    let store = Store::in_memory().await;
    let sleeper = Node::start(&Data::At(store.endpoint()));
    let doctor = sleeper.doctor("asha").await;
    let mut acknowledged = BTreeSet::new();
    let stopped = async {
        acknowledged.insert(serves(&sleeper, &doctor, "first@example.com").await);
        signal(&sleeper, "-STOP");
        // It stands still with requests on their way, and wakes when its doctors are somebody else's.
        let endpoint = store.endpoint();
        let heir = tokio::task::spawn_blocking(move || Node::start(&Data::At(endpoint))).await.unwrap();
        acknowledged.insert(serves(&heir, &doctor, "second@example.com").await);
        signal(&sleeper, "-CONT");
        heir
    };
    let told = Seats::default();
    let early = (0..8).map(|n| {
        let (sleeper, doctor, told) = (&sleeper, &doctor, &told);
        async move {
            let user = format!("early{n}@example.com");
            for slot in 0..48 {
                let start = format!("{:02}:{:02}", slot / 2, slot % 2 * 30);
                if sleeper.book(doctor, &user, &date_in(2), &start).await.0 == 200 {
                    told.lock().unwrap().insert(keys(doctor, &user, &date_in(2), &start));
                }
            }
        }
    });
    let (heir, _) = futures::join!(stopped, join_all(early));
    let (status, log) = sleeper.ended().await;
    assert_eq!(status.code(), Some(3), "{log}");
    acknowledged.extend(told.into_inner().unwrap());
    acknowledged.insert(serves(&heir, &doctor, "third@example.com").await);
    assert_stored(&store, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_no_acknowledged_booking_and_is_got_over() {
    let (_folder, path) = folder();
    // A write past the limit is to fail, as on a full disk, and not to kill.
    let node = Node::start_after(&Data::Folder(&path), "trap '' XFSZ");
    let doctor = node.doctor("asha").await;
    let mut acknowledged = meanwhile(&node, &doctor, "before", async {
        serves(&node, &doctor, "a@example.com").await;
    })
    .await;
    limit(&node, "--fsize=4096:unlimited");
    acknowledged.extend(
        meanwhile(&node, &doctor, "full", async {
            let (status, answer) = node.book(&doctor, "full@example.com", &date_in(3), "10:00").await;
            assert_eq!(status, 503, "{answer}");
            limit(&node, "--fsize=unlimited:unlimited");
            serves(&node, &doctor, "b@example.com").await;
        })
        .await,
    );
    acknowledged.insert(serves(&node, &doctor, "c@example.com").await);
    drop(node);
    assert_stored(&Store::left_in(&path).await, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_and_comes_back_is_used_again() {
    let store = Store::in_memory().await;
    let proxy = Proxy::before(&store.endpoint()).await;
    let node = Node::start(&Data::At(proxy.endpoint.clone()));
    let doctor = node.doctor("asha").await;
    let mut acknowledged = meanwhile(&node, &doctor, "u", async {
        serves(&node, &doctor, "a@example.com").await;
        proxy.cut();
        while node.get("/readyz").await.0 == 200 {
            tokio::task::yield_now().await;
        }
        let (status, answer) = node.book(&doctor, "cut@example.com", &date_in(3), "10:00").await;
        assert_eq!(status, 503, "{answer}");
        proxy.mend();
        while node.get("/readyz").await.0 != 200 {
            tokio::task::yield_now().await;
        }
        serves(&node, &doctor, "b@example.com").await;
    })
    .await;
    acknowledged.insert(serves(&node, &doctor, "c@example.com").await);
    assert_stored(&store, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_file_descriptor_left_serves_again_when_there_is_one() {
    let (_folder, path) = folder();
    let node = Node::start(&Data::Folder(&path));
    let doctor = node.doctor("asha").await;
    let acknowledged = meanwhile(&node, &doctor, "u", async {
        let open = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count();
        limit(&node, &format!("--nofile={}", open + 20));
        let idle = join_all((0..200).map(|_| TcpStream::connect(node.address()))).await;
        assert!(idle.iter().all(Result::is_ok));
        drop(idle);
        serves(&node, &doctor, "a@example.com").await;
        while node.get_afresh("/healthz").await != Some(200) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(node);
    assert_stored(&Store::left_in(&path).await, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stall_or_hang_up_in_the_middle_cost_the_others_nothing() {
    let (_folder, path) = folder();
    let node = Node::start(&Data::Folder(&path));
    let doctor = node.doctor("asha").await;
    let acknowledged = meanwhile(&node, &doctor, "u", async {
        let head = format!(
            "POST /doctorBookings/book HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             authorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n{{\"doctor_id\":",
            user_token("stalled@example.com")
        );
        let address = node.address();
        let begin = |bytes: Vec<u8>| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream
        };
        // In the middle of a head, and of a body.
        let mut stalled = join_all((0..300).map(|n| {
            let length = if n % 2 == 0 { 40 } else { head.len() };
            begin(head.as_bytes()[..length].to_vec())
        }))
        .await;
        for _ in 0..300 {
            drop(begin(head.as_bytes().to_vec()).await);
        }
        serves(&node, &doctor, "a@example.com").await;
        // Each is told, or hung up on, in its time.
        for stream in &mut stalled {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
    })
    .await;
    drop(node);
    assert_stored(&Store::left_in(&path).await, &acknowledged).await;
}
