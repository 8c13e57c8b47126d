//! Acknowledged means on the disk. A real process serves an embedded file store while a library loaded before libc
//! holds each of its flushes until the test lets it go: so the test sees what waits for what, without a clock.

use std::process::Stdio;

use engine::shard::Ring;
use engine::store::{BookingStore, CommitError, FenceCheck};
use futures::FutureExt;
use persistence::{AccessKeys, DataFolder, Dynamo, EmbeddedDynamo, EmbeddedS3, Endpoint, TableNames, Where};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener};
use tokio::process::{Child, Command};

use crate::flushes::{Flush, build_gate};
use crate::harness::{batch, booked, bookings_on, cancelled, connect_as, date, doctor, own, seat, stored};

/// Names the data folder of the process that is to serve; only in that process's environment.
const SERVE: &str = "KOKORO_SERVE_DATA_DIR";
/// What the serving process says once it serves.
const SERVING: &str = "serving on ";

/// Not a test of its own: the process that the others watch. Serves until its input ends.
#[test]
fn serves_in_a_process_of_its_own_when_told_to() {
    let Ok(folder) = std::env::var(SERVE) else { return };
    let folder = DataFolder::lock(folder).unwrap();
    let server = EmbeddedDynamo::start(Where::File(folder.clone())).unwrap();
    let files = EmbeddedS3::start(Where::File(folder), None).unwrap();
    let Endpoint::With { address, keys } = files.endpoint() else { panic!("no keys") };
    println!("{SERVING}{} {address} {} {}", server.address(), keys.id, keys.secret);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    // The folder is left as a crash leaves it.
    std::process::exit(0);
}

/// A process that serves, and the gate through which its flushes go.
pub(crate) struct Served {
    process: Child,
    pub(crate) gate: UnixListener,
    address: String,
    pub(crate) files: Endpoint,
    dynamo: Dynamo,
    fence: FenceCheck,
    folder: tempfile::TempDir,
}

impl Served {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = build_gate(folder.path()).await;
        let socket = folder.path().join("gate");
        let gate = UnixListener::bind(&socket).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::serves_in_a_process_of_its_own_when_told_to", "--nocapture"])
            .env(SERVE, folder.path().join("data"))
            .env("LD_PRELOAD", library)
            .env("KOKORO_FSYNC_GATE", socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (line, _) = letting_through(&gate, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, endpoints)) = line.split_once(SERVING) {
                    return endpoints.to_owned();
                }
            }
            panic!("the process does not serve");
        })
        .await;
        let [address, files, id, secret] =
            line.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        let files = Endpoint::With { address: files, keys: AccessKeys { id, secret } };
        // Both servers have the key of the folder.
        let dynamo = connect_as(&files.clone().moved_to(address.clone()), TableNames::default()).await;
        let (fence, flushes) = letting_through(&gate, async {
            dynamo.create_missing_tables().await.unwrap();
            own(&dynamo.fences(Ring::default()), Ring::default().range_of(&doctor("dr@x.com"))).await
        })
        .await;
        assert!(flushes > 0, "no flush goes through the gate");
        Self { process, gate, address, files, dynamo, fence, folder }
    }

    pub(crate) async fn flush(&self) -> Flush {
        Flush::next(&self.gate).await
    }
}

/// Runs something to its end while every flush goes through; says how many did.
pub(crate) async fn letting_through<T>(gate: &UnixListener, what: impl Future<Output = T>) -> (T, usize) {
    tokio::pin!(what);
    let mut flushes = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut what => return (done, flushes),
            flush = Flush::next(gate) => {
                flushes += 1;
                flush.let_through().await;
            }
        }
    }
}

#[tokio::test]
async fn a_booking_is_not_answered_before_it_is_on_the_disk() {
    let served = Served::start().await;
    let dr = doctor("dr@x.com");
    let event = booked(&dr, &seat("ada@x.com", "09:00"));
    let mut commit = served.dynamo.bookings().commit(&batch(&[served.fence], vec![event.clone()]));

    let flush = tokio::select! {
        biased;
        outcome = &mut commit => panic!("answered without a flush: {outcome:?}"),
        flush = served.flush() => flush,
    };
    // The server is alive and answers others, but not this.
    assert!(answers_a_greeting(&served.address).await);
    assert!((&mut commit).now_or_never().is_none());

    flush.let_through().await;
    let (outcome, _) = letting_through(&served.gate, commit).await;
    outcome.unwrap();
    let loaded = bookings_on(&served.dynamo.bookings(), &dr, date("2026-12-01")).await.unwrap();
    assert_eq!(loaded.seats, [stored(&event)]);
}

/// Asks for the server's health, for which it needs no database.
async fn answers_a_greeting(address: &str) -> bool {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_booking_that_could_not_be_flushed_is_not_acknowledged() {
    let served = Served::start().await;
    let dr = doctor("dr@x.com");
    let request = batch(&[served.fence], vec![booked(&dr, &seat("ada@x.com", "09:00"))]);
    let mut commit = served.dynamo.bookings().commit(&request);
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut commit => break outcome,
            flush = served.flush() => flush.fail().await,
        }
    };
    assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn every_acknowledged_write_was_flushed_between_request_and_answer() {
    let served = Served::start().await;
    let dr = doctor("dr@x.com");
    for n in 0..50 {
        let booking = seat(&format!("user{n}@x.com"), "09:00");
        for event in [booked(&dr, &booking), cancelled(&dr, &booking)] {
            let commit = served.dynamo.bookings().commit(&batch(&[served.fence], vec![event]));
            let (outcome, flushes) = letting_through(&served.gate, commit).await;
            outcome.unwrap();
            assert!(flushes >= 1, "write {n} was acknowledged without a flush");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_process_was_killed() {
    let mut served = Served::start().await;
    let dr = doctor("dr@x.com");
    let events: Vec<_> = (10..40).map(|n| booked(&dr, &seat(&format!("user{n}@x.com"), "09:00"))).collect();
    for event in &events {
        let commit = served.dynamo.bookings().commit(&batch(&[served.fence], vec![event.clone()]));
        letting_through(&served.gate, commit).await.0.unwrap();
    }
    served.process.kill().await.unwrap();

    let folder = DataFolder::lock(served.folder.path().join("data")).unwrap();
    let server = EmbeddedDynamo::start(Where::File(folder)).unwrap();
    let dynamo = connect_as(&server.endpoint(), TableNames::default()).await;
    let loaded = bookings_on(&dynamo.bookings(), &dr, date("2026-12-01")).await.unwrap();
    assert_eq!(loaded.seats, events.iter().map(stored).collect::<Vec<_>>());
}
