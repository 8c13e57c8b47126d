//! One thread of a run: its connections, each with one call in flight.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::Duration;

use anyhow::ensure;
use futures::future::join_all;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout};

use crate::alarm::Alarm;
use crate::chance::{Arrivals, Chance};
use crate::client::{Connection, Outcome, Wire};
use crate::measured::Answer;
use crate::record::{Record, Window};
use crate::requests::{Ask, Requests};
use crate::run::{CALLS_MAX, Pace, Run};
use crate::seats::Seats;

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a server that takes no connection is left alone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);
/// What tells the seeds of two threads, and of their calls and arrivals, apart.
const ARRIVALS_SEED: u64 = 0x5eed_0000_0000;

/// What the threads of a run share.
pub(crate) struct Together<'a> {
    pub(crate) run: &'a Run,
    pub(crate) requests: &'a Requests,
    pub(crate) doctors: u32,
    pub(crate) users: u32,
    pub(crate) threads: usize,
    /// Passed when every thread has its connections.
    pub(crate) ready: Barrier,
    pub(crate) begin: OnceLock<Instant>,
    pub(crate) progress: Progress,
}

/// Ends of calls so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What the connections of a thread share.
struct Thread<'a> {
    together: &'a Together<'a>,
    window: Window,
    seats: &'a mut Seats,
    chance: Chance,
    arrivals: Option<Arrivals>,
    record: Record,
    calls_left: u64,
}

/// Makes the calls of one thread.
pub(crate) async fn work<W: Wire>(
    together: &Together<'_>,
    nth: usize,
    seats: &mut Seats,
    wire: &W,
) -> anyhow::Result<Record> {
    let run = together.run;
    let of = |all: usize| all / together.threads + usize::from(nth < all % together.threads);
    let connected = connect(wire, of(run.pace.connections())).await;
    // The others wait for this thread, also when it has failed.
    together.ready.wait();
    let connections = connected?;

    let window = Window::new(*together.begin.get_or_init(Instant::now), run.warm_up, run.duration);
    let seed = run.seed.wrapping_add(nth as u64);
    let dates = u32::try_from(together.requests.dates().len())?;
    let arrivals = match run.pace {
        Pace::Open { rate, .. } => {
            let rate = rate / together.threads as f64;
            Some(Arrivals::new(rate, seed ^ ARRIVALS_SEED, window.begin)?)
        }
        Pace::Closed { .. } => None,
    };
    let thread = RefCell::new(Thread {
        together,
        window,
        seats,
        chance: Chance::new(run, seed, together.doctors, dates, together.users)?,
        arrivals,
        record: Record::new(window)?,
        calls_left: CALLS_MAX / together.threads as u64,
    });
    let clients = connections.into_iter().map(|connection| client(&thread, wire, connection));
    // Each call waits for the network anyway: tokio need not make it give way.
    for ended in unconstrained(join_all(clients)).await {
        ended?;
    }
    let Thread { mut record, mut arrivals, mut chance, calls_left, .. } = thread.into_inner();
    ensure!(calls_left > 0, "a run may make {CALLS_MAX} calls");
    while let Some(due) = arrivals.as_mut().and_then(|arrivals| arrivals.next_before(window.end)) {
        record.unsent(chance.call(), due);
    }
    Ok(record)
}

async fn connect<W: Wire>(wire: &W, connections: usize) -> io::Result<Vec<Connection<W::Stream>>> {
    let mut connected = Vec::with_capacity(connections);
    for _ in 0..connections {
        connected.push(Connection::new(wire.connect().await?));
    }
    Ok(connected)
}

/// One connection: call after call until the end.
async fn client<W: Wire>(
    thread: &RefCell<Thread<'_>>,
    wire: &W,
    connection: Connection<W::Stream>,
) -> io::Result<()> {
    let (requests, end) = (thread.borrow().together.requests, thread.borrow().window.end);
    let alarm = Alarm::new()?;
    let (mut body, mut request) = (Vec::new(), Vec::new());
    let mut connection = Some(connection);
    let mut now = Instant::now();
    loop {
        let Some(due) = thread.borrow_mut().next_due(now) else { return Ok(()) };
        if due > now {
            alarm.until(due).await?;
        }
        let kept = match connection.take() {
            Some(kept) => Some(kept),
            None => reconnect(wire, end).await,
        };
        let Some(mut open) = kept else {
            thread.borrow_mut().unsent(due);
            return Ok(());
        };
        let ask = thread.borrow_mut().ask(due);
        requests.write(ask, &mut body, &mut request);
        let (answer, last) = match timeout(ANSWER_WITHIN, open.call(&request)).await {
            Ok(Ok(reply)) => (reply.answer(), reply.last),
            Ok(Err(_)) | Err(_) => (Answer::LOST, true),
        };
        now = Instant::now();
        thread.borrow_mut().ended(ask, answer, due, now);
        if !last {
            connection = Some(open);
        }
    }
}

/// Another connection, as soon as the server takes one before the end.
async fn reconnect<W: Wire>(wire: &W, end: Instant) -> Option<Connection<W::Stream>> {
    while Instant::now() < end {
        if let Ok(stream) = wire.connect().await {
            return Some(Connection::new(stream));
        }
        sleep(RECONNECT_PAUSE).await;
    }
    None
}

impl Thread<'_> {
    /// When the next call is due; `None` at the end.
    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if now >= self.window.end {
            return None;
        }
        self.calls_left = self.calls_left.checked_sub(1)?;
        match &mut self.arrivals {
            Some(arrivals) => arrivals.next_before(self.window.end),
            None => Some(now),
        }
    }

    fn ask(&mut self, due: Instant) -> Ask {
        let (ask, turned) = self.chance.ask(self.seats);
        if turned {
            self.record.ran_out(due);
        }
        ask
    }

    fn ended(&mut self, ask: Ask, answer: Answer, due: Instant, now: Instant) {
        let outcome = answer.outcome();
        match ask {
            Ask::Book(seat) => self.seats.booked(seat, outcome),
            Ask::Cancel(seat) => self.seats.cancelled(seat, outcome),
            Ask::Available { .. } | Ask::User(_) => {}
        }
        let progress = &self.together.progress;
        let ends = if outcome == Outcome::Done { &progress.done } else { &progress.failed };
        ends.fetch_add(1, Ordering::Relaxed);
        self.record.ended(ask.call(), answer, due, now);
    }

    fn unsent(&mut self, due: Instant) {
        self.record.unsent(self.chance.call(), due);
    }
}
