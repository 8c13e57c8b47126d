//! How much is done at the peak, beside others.

use anyhow::bail;
use load::{Call, Check, Draw, Mix, Pace, Run};

use crate::bench::{Bench, DOCTORS, clinic};
use crate::result::{Figure, Goal, Part};
use crate::rounds::{Target, bookings, take_turns};
use crate::server::Server;

const BOOK: [Call; 1] = [Call::Book];
const SEATS: [Call; 2] = [Call::Book, Call::Cancel];

/// Milliseconds after which the `DynamoDB`-shaped server answers; the one in the middle has the goal.
const DELAYS: [u64; 3] = [5, 0, 10];

/// Clients there. Of half as many most wait for the store at any time, and a third of the machine is idle.
const SHAPED_CLIENTS: usize = 512;

/// The product and its peers on their stores.
pub(crate) struct Durable {
    pub(crate) kokoro: Server,
    pub(crate) postgres: Server,
    pub(crate) conditional: Server,
}

impl Durable {
    pub(crate) fn start(bench: &Bench, name: &str) -> anyhow::Result<Self> {
        let this = Self {
            kokoro: bench.durable(name, DOCTORS)?,
            postgres: bench.postgres()?,
            conditional: bench.conditional()?,
        };
        let dates = load::dates_from_tomorrow(&clinic());
        bench.bring_into_memory(&this.kokoro, DOCTORS, &dates)?;
        Ok(this)
    }

    fn targets(&self) -> anyhow::Result<[Target<'_>; 3]> {
        Ok([
            Target::new("kokoro", &self.kokoro, "", DOCTORS)?,
            Target::new("(a) PostgreSQL", &self.postgres, "", DOCTORS)?,
            Target::new("(b) conditional writes", &self.conditional, "", DOCTORS)?,
        ])
    }
}

/// `available` beside a handler that answers the same bytes.
pub(crate) fn available(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("available");
    let (bare, kokoro) = (bench.bare()?, bench.durable("available", DOCTORS)?);
    let dates = load::dates_from_tomorrow(&clinic());
    bench.bring_into_memory(&kokoro, DOCTORS, &dates)?;
    let run = Run { mix: Mix { available: 1, ..Mix::NONE }, ..bookings(bench.effort) };
    let mut targets = [
        Target::new("bare", &bare, "", DOCTORS)?,
        Target::new("bare, the shortest head", &bare, "/headless", DOCTORS)?,
        Target::new("kokoro", &kokoro, "", DOCTORS)?,
    ];
    take_turns(&mut targets, bench.effort, &run)?;
    let [bare, headless, kokoro] = &targets;
    let of = [Call::Available];
    let times = |name, bare: &Target<'_>| Figure::times(name, &kokoro.rates(&of), &bare.rates(&of));
    part.row(times("available, of the bare handler", bare), Goal::AtLeast(0.85));
    part.figures.push(times("available, of the bare handler with the shortest head", headless));
    targets.iter().for_each(|target| target.report(&of, &mut part));
    Ok(part)
}

/// `book` with the store in memory beside a handler that checks the token.
pub(crate) fn in_memory(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("memory-book");
    let (bare, kokoro) = (bench.bare()?, bench.in_memory("memory-book")?);
    let mut targets = [
        Target::new("bare, token checked", &bare, "", DOCTORS)?.keeping_none(),
        Target::new("bare, token unread", &bare, "/unchecked", DOCTORS)?.keeping_none(),
        Target::new("bare, token checked, the shortest head", &bare, "/headless", DOCTORS)?.keeping_none(),
        Target::new("kokoro, store in memory", &kokoro, "", DOCTORS)?,
    ];
    take_turns(&mut targets, bench.effort, &bookings(bench.effort))?;
    let [bare, _, headless, kokoro] = &targets;
    let times = |name, bare: &Target<'_>| Figure::times(name, &kokoro.rates(&BOOK), &bare.rates(&BOOK));
    part.row(times("book with the store in memory, of the bare handler", bare), Goal::AtLeast(0.75));
    part.figures
        .push(times("book with the store in memory, of the bare handler with the shortest head", headless));
    kokoro.check(Check::Slots, &mut part)?;
    targets.iter().for_each(|target| target.report(&BOOK, &mut part));
    Ok(part)
}

/// `book` on a server that is shaped like `DynamoDB`, through the real SDK, beside the bare handler.
pub(crate) fn dynamo_shaped(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("dynamo-shaped");
    let bare = bench.bare()?;
    let mut pairs = Vec::new();
    for delay in DELAYS {
        let (shaped, kokoro) = bench.on_dynamo_shaped(delay)?;
        let dates = load::dates_from_tomorrow(&clinic());
        bench.bring_into_memory(&kokoro, DOCTORS, &dates)?;
        pairs.push((delay, shaped, kokoro));
    }
    let mut targets = vec![Target::new("bare, token checked", &bare, "", DOCTORS)?.keeping_none()];
    for (delay, _, kokoro) in &pairs {
        targets.push(Target::new(format!("kokoro, answers after {delay} ms"), kokoro, "", DOCTORS)?);
    }
    let run = Run { pace: Pace::Closed { clients: SHAPED_CLIENTS }, ..bookings(bench.effort) };
    take_turns(&mut targets, bench.effort, &run)?;
    let bare = targets[0].rates(&BOOK);
    for (target, (delay, ..)) in targets[1..].iter().zip(&pairs) {
        let name = format!("book on the DynamoDB-shaped endpoint at {delay} ms, of the bare handler");
        let times = Figure::times(name, &target.rates(&BOOK), &bare);
        if *delay == DELAYS[0] {
            part.row(times, Goal::AtLeast(0.25));
        } else {
            part.figures.push(times);
        }
        target.check(Check::Slots, &mut part)?;
    }
    targets.iter().for_each(|target| target.report(&BOOK, &mut part));
    Ok(part)
}

/// Durable bookings, uniform over all doctors, beside the peers.
pub(crate) fn durable(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("durable");
    let servers = Durable::start(bench, "durable")?;
    let over_socket = bench.conditional_over_socket()?;
    let mut targets = Vec::from(servers.targets()?);
    targets.push(Target::new("(b) over a socket", &over_socket, "", DOCTORS)?);
    take_turns(&mut targets, bench.effort, &bookings(bench.effort))?;
    beside_peers(&targets, &BOOK, "durable book, uniform", [3.0, 5.0], &mut part)?;
    Ok(part)
}

/// The same on one doctor. Its seats are given back as well: it has too few for a run.
pub(crate) fn hot(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("hot");
    let servers = Durable::start(bench, "hot")?;
    let mut targets = servers.targets()?;
    let mix = Mix { book: 1, cancel: 1, ..Mix::NONE };
    let run = Run { mix, draw: Draw::Hot(1.0), ..bookings(bench.effort) };
    take_turns(&mut targets, bench.effort, &run)?;
    beside_peers(&targets, &SEATS, "durable book and cancel, one hot doctor", [10.0, 10.0], &mut part)?;
    Ok(part)
}

/// The product, the first, beside its peers, the first two of which have a goal.
fn beside_peers(
    targets: &[Target<'_>],
    calls: &[Call],
    what: &str,
    goals: [f64; 2],
    part: &mut Part,
) -> anyhow::Result<()> {
    let [kokoro, peers @ ..] = targets else { bail!("nothing to compare") };
    let goals = goals.into_iter().map(Some).chain(std::iter::repeat(None));
    for (peer, goal) in peers.iter().zip(goals) {
        let name = format!("{what}, of peer {}", peer.name);
        let times = Figure::times(name, &kokoro.rates(calls), &peer.rates(calls));
        match goal {
            Some(goal) => part.row(times, Goal::AtLeast(goal)),
            None => part.figures.push(times),
        }
    }
    for target in targets {
        target.check(Check::Users, part)?;
        target.report(calls, part);
    }
    Ok(())
}
