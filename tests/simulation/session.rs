//! One run: nodes that come and go, clients that ask, and a nemesis, all from one seed on paused time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::calendar::{Booking, DateSpelling};
use engine::limits::SEATS_PER_SLOT;
use engine::shard::Ring;
use engine::store::Nodes;
use engine::{Clinic, Clock, Engine, Membership, Parts, Placement, Rejection, Router, Rules, Timing};
use tokio::time::{Instant, sleep};

use crate::cast::{DOCTORS, SHARED_DOCTOR, SLOTS, USERS, date, doctor, seat_of, slot, user};
use crate::dice::Dice;
use crate::faults::{Family, Fault, Weather};
use crate::history::{Call, Place, Request, Told};
use crate::line::Line;
use crate::peers::{Book, SimPeers};
use crate::store::{Accepted, Load, World};

const CLIENTS: usize = 16;
/// The last one is started when all is calm again.
pub const NODES_MAX: usize = 18;

/// How much is done under one seed.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub commands: usize,
    /// What does not go wrong this time.
    pub quiet: Option<Family>,
    pub traced: bool,
}

/// What a run leaves to the auditor.
pub struct Outcome {
    pub calls: Vec<Call>,
    pub accepted: Vec<Accepted>,
    pub loads: Vec<Load>,
    pub before: BTreeMap<Place, Vec<usize>>,
    pub after: BTreeMap<Place, Vec<usize>>,
    pub counts: BTreeMap<Fault, u64>,
    pub trace: Vec<String>,
    /// The slot that begins first begins at this time, by the true clock.
    pub begun: Instant,
    /// What was not done although nothing went wrong any more.
    pub stuck: Vec<String>,
    pub is_cluster: bool,
    /// Bookings to come that a user may hold with one doctor.
    pub limit: Option<usize>,
}

/// How much faster or slower than others a clock may run, in thousandths.
pub const DRIFT_MAX: i32 = 20;

struct SimClock {
    origin: DateTime<Utc>,
    begun: Instant,
    skew: TimeDelta,
    /// In thousandths.
    drift: i32,
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        self.origin + TimeDelta::from_std(self.begun.elapsed()).unwrap() + self.skew
    }

    fn uptime(&self) -> Duration {
        self.begun.elapsed().mul_f64(1.0 + f64::from(self.drift) / 1000.0)
    }
}

pub struct Node {
    pub number: usize,
    pub line: Line,
    pub router: Router,
    pub engine: RefCell<Option<Engine>>,
}

impl Node {
    /// Whether it answers, as far as it knows.
    pub fn is_serving(&self) -> bool {
        let engine = self.engine.borrow();
        self.line.reaches_clients()
            && engine.as_ref().is_some_and(|engine| !engine.standing().borrow().is_over())
    }
}

pub struct Session {
    pub world: World,
    /// Where nodes find each other; `None` when each is alone.
    pub cluster: Option<Book>,
    pub origin: DateTime<Utc>,
    pub begun: Instant,
    pub dice: Dice,
    pub nemesis: Dice,
    pub nodes: RefCell<Vec<Rc<Node>>>,
    pub started: Cell<usize>,
    pub calls: RefCell<Vec<Call>>,
    pub commands: usize,
    pub left: Cell<usize>,
    pub keys: Cell<u32>,
    pub over: Cell<bool>,
    pub seed: u64,
    pub rules: Rules,
}

/// Fewer ranges than usual, so that nodes start sooner.
pub fn ring() -> Ring {
    Ring::new(32).unwrap()
}

/// Runs one seed in an actix system of its own.
pub fn run(seed: u64, size: Size) -> Outcome {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(Session::run(seed, size))
}

impl Session {
    async fn run(seed: u64, size: Size) -> Outcome {
        let dice = Dice::new(seed, 1);
        let weather = Weather::draw(&Dice::new(seed, 3));
        let weather = if size.quiet == Some(Family::Store) { Weather::CALM } else { weather };
        let world = World::new(Dice::new(seed, 2), weather, size.traced);
        // 10:00 on the clinic's clock; in some runs the first slot begins in the middle.
        let ten: DateTime<Utc> = "2026-11-23T04:30:00Z".parse().unwrap();
        let late = TimeDelta::seconds(*dice.pick(&[0, 0, 0, 1790]));
        let session = Rc::new(Self {
            world: world.clone(),
            cluster: dice.permille(500).then(Book::default),
            origin: ten + late,
            begun: Instant::now(),
            dice,
            nemesis: Dice::new(seed, 4),
            nodes: RefCell::default(),
            started: Cell::new(0),
            calls: RefCell::default(),
            commands: size.commands,
            left: Cell::new(size.commands),
            keys: Cell::new(0),
            over: Cell::new(false),
            seed,
            rules: rules(&Dice::new(seed, 5)),
        });
        session.fill();
        let before = stored(&world);
        for _ in 0..if session.cluster.is_some() { 1 + session.dice.below(4) } else { 1 } {
            session.start_node().await;
        }
        session.publish().await;
        let quiet = size.quiet == Some(Family::Nemesis);
        let nemesis = actix::spawn(Rc::clone(&session).disturb(quiet));
        let clients: Vec<_> = (0..CLIENTS).map(|_| actix::spawn(Rc::clone(&session).client())).collect();
        for client in clients {
            client.await.unwrap();
        }
        session.over.set(true);
        nemesis.await.unwrap();
        world.heal();
        // What is still under way lands within half a minute.
        sleep(Duration::from_secs(60)).await;
        let stuck = session.go_on().await;
        // Those in it know it, and so would never be freed.
        session.cluster.iter().for_each(|book| book.lock().unwrap().clear());
        Outcome {
            stuck,
            is_cluster: session.cluster.is_some(),
            calls: session.calls.take(),
            accepted: world.accepted(),
            loads: world.loads(),
            limit: session.rules.bookings_per_doctor.map(|limit| limit.get().into()),
            before,
            after: stored(&world),
            counts: world.counts(),
            trace: world.trace(),
            begun: session.begun + (ten + TimeDelta::minutes(30) - session.origin).to_std().unwrap(),
        }
    }

    /// Doctors, and what the old platform left: bookings, one too many among them.
    fn fill(&self) {
        for number in 0..DOCTORS {
            self.world.memory.add_doctor(doctor(number));
        }
        for _ in 0..self.dice.below(3) {
            let place = self.place();
            let spellings: Vec<DateSpelling> = DateSpelling::of(date(place.date)).collect();
            let spelling = *self.dice.pick(&spellings);
            for number in 0..self.dice.below(8) {
                let booking = Booking {
                    user: user(number),
                    date: date(place.date),
                    start: slot(place.slot),
                    key: None,
                };
                self.world.memory.add_booking(&doctor(place.doctor), booking, spelling);
            }
        }
    }

    /// Starts a node, which takes over from those that run, or joins them; tries until one makes it.
    pub async fn start_node(&self) {
        loop {
            let number = self.started.replace(self.started.get() + 1);
            let line = Line::new(self.world.clone(), number);
            self.world.note(format_args!("node {number} starts"));
            if let Ok(engine) = Engine::start(self.parts(number, &line)).await {
                self.world.note(format_args!("node {number} serves"));
                let (router, engine) = (engine.router(), RefCell::new(Some(engine)));
                if let Some(book) = &self.cluster {
                    book.lock().unwrap().insert(number.to_string(), (router.clone(), line.clone()));
                }
                self.nodes.borrow_mut().push(Rc::new(Node { number, line, router, engine }));
                return;
            }
        }
    }

    fn parts(&self, number: usize, line: &Line) -> Parts {
        let skew = *self.nemesis.pick(&[0, 0, 0, -1500, 900]);
        if skew != 0 {
            self.world.count(Fault::ClockSkew);
        }
        let (skew, drift) =
            (TimeDelta::milliseconds(skew), *self.nemesis.pick(&[0, 0, -DRIFT_MAX, DRIFT_MAX]));
        let clock = SimClock { origin: self.origin, begun: self.begun, skew, drift };
        let line = Arc::new(line.clone());
        let membership = self.cluster.as_ref().map_or(Membership::Solo, |book| {
            let (world, book) = (self.world.clone(), Arc::clone(book));
            Membership::Cluster {
                address: number.to_string(),
                nodes: line.clone(),
                peers: Arc::new(SimPeers { world, line: Line::clone(&line), book }),
                timing: Timing::default(),
            }
        });
        Parts {
            store: line.clone(),
            fences: line,
            clock: Arc::new(clock),
            chance: Dice::new(self.seed, 100 + number as u64).chance(),
            clinic: Clinic::compiled_in("Asia/Kolkata").unwrap(),
            rules: self.rules,
            ring: ring(),
            membership,
            placement: Placement::here(),
        }
    }

    /// Every doctor offers every slot, or tries to.
    async fn publish(&self) {
        for doctor in 0..DOCTORS {
            for weekday in [0, 1] {
                self.call(&Request::SetSlots { doctor, weekday, offered: vec![true; SLOTS.len()] }).await;
            }
        }
    }

    /// When all is calm, the node that serves does what it is asked to, at once, and so does a new one.
    async fn go_on(&self) -> Vec<String> {
        let mut stuck = Vec::new();
        let serving = self.nodes.borrow().iter().any(|node| node.is_serving());
        if serving {
            stuck.extend(self.ask_all().await);
        }
        self.start_node().await;
        stuck.extend(self.ask_all().await);
        sleep(Duration::from_secs(5)).await;
        stuck.extend(self.is_unfair().await);
        stuck
    }

    /// In a cluster at rest, no node has two ranges more than another.
    async fn is_unfair(&self) -> Option<String> {
        self.cluster.as_ref()?;
        let nodes = self.world.memory.list().await.unwrap();
        let owns: Vec<usize> = nodes.iter().map(|heartbeat| heartbeat.owns.len()).collect();
        let spread = owns.iter().max()? - owns.iter().min()?;
        let all: usize = owns.iter().sum();
        (spread > 1 || all != usize::from(ring().size()))
            .then(|| format!("ranges are owned like this: {owns:?}"))
    }

    /// Asks every doctor for everything; who does not answer is stuck.
    async fn ask_all(&self) -> Vec<String> {
        let mut stuck = Vec::new();
        for of in 0..DOCTORS {
            let offered = vec![true; SLOTS.len()];
            let set = self.call(&Request::SetSlots { doctor: of, weekday: 1, offered }).await;
            let look = self.call(&Request::Look { doctor: of, date: 1 }).await;
            let place = Place { doctor: of, date: 1, slot: 0 };
            let cancelled = self.call(&Request::Cancel { place, user: 0 }).await;
            let answered = matches!(cancelled, Told::Done | Told::Rejected(Rejection::BookingNotFound));
            if set != Told::Done || !matches!(look, Told::Seen(_)) || !answered {
                stuck.push(format!("doctor {of}: {set:?}, {look:?}, {cancelled:?}"));
            }
        }
        stuck.extend(self.ask_for_a_seat_of_the_old_platform().await);
        stuck
    }

    /// A seat that the node thinks is free, and that the old platform has just taken: the store refuses it, the node
    /// learns why and says so, and nobody beside it suffers.
    async fn ask_for_a_seat_of_the_old_platform(&self) -> Option<String> {
        let taken = stored(&self.world);
        let (place, free) = (0..SLOTS.len()).find_map(|slot| {
            let place = Place { doctor: SHARED_DOCTOR, date: 1, slot };
            let seats = taken.get(&place).map_or(&[][..], Vec::as_slice);
            // One who holds nothing there, if there is one: nobody else is sure to be below the limit.
            let holds =
                |user: &usize| taken.iter().any(|(at, of)| at.doctor == SHARED_DOCTOR && of.contains(user));
            let free = (0..USERS).filter(|user| !seats.contains(user)).min_by_key(holds)?;
            (seats.len() < SEATS_PER_SLOT).then_some((place, free))
        })?;
        let booking =
            Booking { user: user(free), date: date(place.date), start: slot(place.slot), key: None };
        self.world.memory.add_booking(&doctor(SHARED_DOCTOR), booking.clone(), DateSpelling::PLAIN);
        let other = Request::Cancel { place: Place { doctor: 0, date: 1, slot: 0 }, user: 1 };
        let book = Request::Book { place, user: free, key: None };
        let (told, beside) = futures::future::join(self.call(&book), self.call(&other)).await;
        self.world.memory.remove_booking(&doctor(SHARED_DOCTOR), &booking);
        let answered = matches!(beside, Told::Done | Told::Rejected(Rejection::BookingNotFound));
        let refused = matches!(
            told,
            Told::Rejected(
                Rejection::AlreadyBooked | Rejection::SlotFull | Rejection::TooManyBookings { .. }
            )
        );
        (!refused || !answered).then(|| format!("the old platform's seat: {told:?}, beside it {beside:?}"))
    }
}

/// A limit that users reach in this small world, or none.
fn rules(dice: &Dice) -> Rules {
    let limit = *dice.pick(&[0, 1, 2, 3]);
    Rules { bookings_per_doctor: NonZeroU16::new(limit) }
}

/// Who holds which seat, as the store says.
fn stored(world: &World) -> BTreeMap<Place, Vec<usize>> {
    let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for (of, booking) in world.memory.bookings() {
        let (place, user) = seat_of(&of, &booking);
        places.entry(place).or_default().push(user);
    }
    places.values_mut().for_each(|users| users.sort_unstable());
    places
}
