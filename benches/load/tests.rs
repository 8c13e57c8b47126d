//! Runs against a server of this file's own, over pipes in memory and on paused time, so that every latency is exact.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Barrier, OnceLock};
use std::time::Duration;

use engine::Clinic;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Wire;
use crate::measured::{Answer, Measured};
use crate::requests::Requests;
use crate::run::{Call, Draw, Mix, Pace, Run};
use crate::seats::{Seats, Share};
use crate::site::{Site, dates_from_tomorrow, every_half_hour};
use crate::worker::{Progress, Together, work};

/// How long every answer takes.
const SERVICE: Duration = Duration::from_millis(1);

/// A server that answers alike, but nobody during a stall.
struct Server {
    /// From when on and how long it stands still.
    stall: (Duration, Duration),
    answer: &'static str,
    begun: Instant,
    /// Answers after which it closes a connection; 0 for never.
    calls_of_a_connection: u32,
    connections: Cell<u32>,
}

impl Server {
    fn new(stall: (u64, u64), answer: &'static str) -> Self {
        let stall = (Duration::from_secs(stall.0), Duration::from_secs(stall.1));
        let begun = Instant::now();
        Self { stall, answer, begun, calls_of_a_connection: 0, connections: Cell::new(0) }
    }
}

impl Wire for Server {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        self.connections.set(self.connections.get() + 1);
        let (ours, mut theirs) = duplex(1 << 16);
        let (from, answer) = (self.begun + self.stall.0, self.answer);
        let (until, most) = (from + self.stall.1, self.calls_of_a_connection);
        tokio::spawn(async move {
            let mut request = vec![0; 1 << 12];
            let mut calls = 0;
            // One write is one request here.
            while theirs.read(&mut request).await.is_ok_and(|read| read > 0) {
                if (from..until).contains(&Instant::now()) {
                    sleep_until(until).await;
                }
                sleep(SERVICE).await;
                calls += 1;
                if theirs.write_all(answer.as_bytes()).await.is_err() || calls == most {
                    return;
                }
            }
        });
        Ok(ours)
    }
}

const BOOKED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const FULL: &str =
    "HTTP/1.1 409 Conflict\r\ncontent-length: 20\r\nconnection: keep-alive\r\n\r\n{\"code\":\"slot_full\"}";

/// What one thread measures, and how many seats it thinks that it holds.
async fn measured(server: &Server, run: &Run) -> (Measured, usize) {
    let site = Site {
        url: "http://127.0.0.1:1".to_owned(),
        secret: vec![b'x'; 32],
        doctors: vec!["doctor@clinic.example".to_owned()],
        dates: dates_from_tomorrow(&Clinic::compiled_in("Asia/Kolkata").unwrap()),
        starts: every_half_hour(),
        users: 100,
        threads: 1,
    };
    let requests = Requests::new(&site).unwrap();
    let mut seats = Seats::new(Share { nth: 0, of: 1 }, 1, 14 * 48, 100);
    let together = Together {
        run,
        requests: &requests,
        doctors: 1,
        users: 100,
        threads: 1,
        ready: Barrier::new(1),
        begin: OnceLock::new(),
        progress: Progress::default(),
    };
    let record = work(&together, 0, &mut seats, server).await.unwrap();
    (record.into_measured(run), seats.held().count())
}

fn run(pace: Pace) -> Run {
    Run {
        name: "a test".to_owned(),
        mix: Mix { book: 1, ..Mix::NONE },
        pace,
        draw: Draw::Uniform,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(10),
        seed: 1,
    }
}

/// It stands still from the fifth second on, for one.
#[tokio::test(start_paused = true)]
async fn an_open_loop_charges_a_stall_to_all_who_would_have_come_meanwhile() {
    let server = Server::new((5, 1), BOOKED);
    // Two calls are under way meanwhile; all others have not even been sent.
    let (open, _) = measured(&server, &run(Pace::Open { rate: 100.0, connections: 2 })).await;
    // A tenth of all calls were due while it stood still, and waited half a second on average.
    assert!(open.latency_ms(Call::Book, 0.85).unwrap() < 5.0);
    let p95 = open.latency_ms(Call::Book, 0.95).unwrap();
    assert!((350.0..650.0).contains(&p95), "{p95}");
    let p99 = open.latency_ms(Call::Book, 0.99).unwrap();
    assert!((850.0..1_002.0).contains(&p99), "{p99}");
    assert_eq!(open.unsent, 0);

    // The same stall, but its clients did not call meanwhile: one slow call each.
    let server = Server::new((5, 1), BOOKED);
    let (closed, _) = measured(&server, &run(Pace::Closed { clients: 4 })).await;
    assert!(closed.latency_ms(Call::Book, 0.999).unwrap() < 5.0);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_connection_and_those_never_made_count_too() {
    // From the sixth second on nobody is answered before the end: all that was due then waited.
    let server = Server::new((6, 100), BOOKED);
    let (open, _) = measured(&server, &run(Pace::Open { rate: 100.0, connections: 2 })).await;
    assert!((450..550).contains(&open.unsent), "{}", open.unsent);
    let latency = &open.latency[&Call::Book];
    let answered: u64 = open.answers[&Call::Book].values().sum();
    assert_eq!(latency.len(), answered + open.unsent);
    assert!(open.latency_ms(Call::Book, 0.75).unwrap() > 2_000.0);
    // The two that were under way were given up.
    assert_eq!(open.answers[&Call::Book][&Answer::LOST], 2);
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_keeps_its_rate_and_the_same_seed_draws_the_same_calls() {
    let run = run(Pace::Open { rate: 200.0, connections: 16 });
    let (first, _) = measured(&Server::new((99, 0), BOOKED), &run).await;
    let (again, _) = measured(&Server::new((99, 0), BOOKED), &run).await;
    assert!((190.0..210.0).contains(&first.rate(Call::Book)), "{}", first.rate(Call::Book));
    assert_eq!(first.done, again.done);
    assert_eq!(first.timeline.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_their_code_and_nothing_is_held() {
    let (closed, held) = measured(&Server::new((99, 0), FULL), &run(Pace::Closed { clients: 1 })).await;
    let full = Answer { status: Some(409), code: Some("slot_full".to_owned()) };
    // The seats run out: what remains is to look.
    let kinds: BTreeMap<_, _> =
        closed.answers.iter().map(|(call, answers)| (*call, answers.keys().collect())).collect();
    assert_eq!(kinds, BTreeMap::from([(Call::Available, vec![&full]), (Call::Book, vec![&full])]));
    assert_eq!(closed.rate(Call::Book), 0.0);
    assert!(closed.ran_out.is_some_and(|time| time > Duration::from_secs(3)));
    assert_eq!(held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_loses_one_call_and_is_opened_again() {
    let server = Server { calls_of_a_connection: 1_000, ..Server::new((99, 0), BOOKED) };
    let (closed, _) = measured(&server, &run(Pace::Closed { clients: 1 })).await;
    let sum = |kind: &Answer| closed.answers.values().filter_map(|answers| answers.get(kind)).sum::<u64>();
    let (lost, done) = (sum(&Answer::LOST), sum(&Answer::DONE));
    assert!((done / 1_000 - 1..=done / 1_000 + 1).contains(&lost), "{lost} of {done}");
    assert!(u64::from(server.connections.get()) > lost);
}
