//! One run: nodes that come and go, clients that ask, and a nemesis, all from one seed on paused time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use engine::calendar::{Booking, DateSpelling};
use engine::{
    Clinic, Clock, Command, Directory, DoctorId, Engine, IdempotencyKey, Parts, Placement, Rejection,
    SlotStart, UserId,
};
use tokio::time::{Instant, sleep, timeout};

use crate::dice::Dice;
use crate::history::{Call, Place, Request, Told};
use crate::store::{Accepted, Family, Fault, Line, LineState, Weather, World};

pub const DOCTORS: usize = 3;
/// At this one the old platform writes as well: there, nobody can promise what rests on memory.
pub const SHARED_DOCTOR: usize = 2;
pub const USERS: usize = 12;
/// The last is a week after the one before it: the same weekday.
pub const DATES: [u64; 3] = [0, 1, 8];
pub const SLOTS: [&str; 3] = ["10:30", "11:00", "23:30"];
const CLIENTS: usize = 16;
/// The last one is started when all is calm again.
const NODES_MAX: usize = 14;

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
    pub before: BTreeMap<Place, Vec<usize>>,
    pub after: BTreeMap<Place, Vec<usize>>,
    pub counts: BTreeMap<Fault, u64>,
    pub trace: Vec<String>,
    /// The slot that begins first begins at this time, by the true clock.
    pub begun: Instant,
    /// What was not done although nothing went wrong any more.
    pub stuck: Vec<String>,
}

struct SimClock {
    origin: DateTime<Utc>,
    begun: Instant,
    skew: TimeDelta,
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        self.origin + TimeDelta::from_std(self.begun.elapsed()).unwrap() + self.skew
    }
}

struct Node {
    number: usize,
    line: Line,
    directory: Directory,
    engine: RefCell<Option<Engine>>,
}

struct Session {
    world: World,
    origin: DateTime<Utc>,
    begun: Instant,
    dice: Dice,
    nemesis: Dice,
    nodes: RefCell<Vec<Rc<Node>>>,
    started: Cell<usize>,
    calls: RefCell<Vec<Call>>,
    commands: usize,
    left: Cell<usize>,
    keys: Cell<u32>,
    over: Cell<bool>,
    seed: u64,
}

/// Runs one seed in an actix system of its own.
pub fn run(seed: u64, size: Size) -> Outcome {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(Session::run(seed, size))
}

pub fn doctor(number: usize) -> DoctorId {
    DoctorId::parse(&format!("d{number}@clinic.example")).unwrap()
}

pub fn user(number: usize) -> UserId {
    UserId::parse(&format!("u{number}@x.com")).unwrap()
}

pub fn slot(number: usize) -> SlotStart {
    SlotStart::parse(SLOTS[number]).unwrap()
}

/// Monday.
fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 23).unwrap()
}

pub fn date(number: usize) -> NaiveDate {
    today() + Days::new(DATES[number])
}

/// Which dates lie on a weekday, known by its first date.
pub fn weekday_of(date_number: usize) -> usize {
    if date_number == 0 { 0 } else { 1 }
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
        });
        session.fill();
        let before = stored(&world);
        session.start_node().await;
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
        Outcome {
            stuck,
            calls: session.calls.take(),
            accepted: world.accepted(),
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
            let (place, spelling) = (self.place(), DateSpelling::of(date(0)).next().unwrap());
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

    /// Half of all calls are about one slot, where users race for seats.
    fn place(&self) -> Place {
        let dice = &self.dice;
        if dice.permille(500) {
            return Place { doctor: 0, date: 1, slot: 0 };
        }
        if dice.permille(300) {
            return Place { doctor: SHARED_DOCTOR, date: 1, slot: 0 };
        }
        Place { doctor: dice.skewed(DOCTORS), date: dice.skewed(DATES.len()), slot: dice.skewed(SLOTS.len()) }
    }

    /// Starts a node, which takes over from those that run; tries until one makes it.
    async fn start_node(&self) {
        loop {
            let number = self.started.replace(self.started.get() + 1);
            let line = self.world.line(number);
            let skew = *self.nemesis.pick(&[0, 0, 0, -1500, 900]);
            if skew != 0 {
                self.world.count(Fault::ClockSkew);
            }
            let clock =
                SimClock { origin: self.origin, begun: self.begun, skew: TimeDelta::milliseconds(skew) };
            let parts = Parts {
                store: Arc::new(line.clone()),
                fences: Arc::new(line.clone()),
                clock: Arc::new(clock),
                chance: Dice::new(self.seed, 100 + number as u64).chance(),
                clinic: Clinic::new(chrono_tz::Tz::Asia__Kolkata),
                placement: Placement::here(),
            };
            self.world.note(format_args!("node {number} starts"));
            if let Ok(engine) = Engine::start(parts).await {
                self.world.note(format_args!("node {number} serves"));
                let (directory, engine) = (engine.directory(), RefCell::new(Some(engine)));
                self.nodes.borrow_mut().push(Rc::new(Node { number, line, directory, engine }));
                return;
            }
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

    /// When all is calm, a new node does what it is asked to, and doctor by doctor at once.
    async fn go_on(&self) -> Vec<String> {
        self.start_node().await;
        let mut stuck = Vec::new();
        for of in 0..DOCTORS {
            let offered = vec![true; SLOTS.len()];
            let set = self.call(&Request::SetSlots { doctor: of, weekday: 1, offered }).await;
            let place = Place { doctor: of, date: 1, slot: 0 };
            let look = self.call(&Request::Look { doctor: of, date: 1 }).await;
            let cancelled = self.call(&Request::Cancel { place, user: 0 }).await;
            let answered = matches!(cancelled, Told::Done | Told::Rejected(Rejection::BookingNotFound));
            if set != Told::Done || !matches!(look, Told::Seen(_)) || !answered {
                stuck.push(format!("doctor {of}: {set:?}, {look:?}, {cancelled:?}"));
            }
        }
        stuck
    }

    fn last_node(&self) -> Rc<Node> {
        Rc::clone(self.nodes.borrow().last().unwrap())
    }

    async fn disturb(self: Rc<Self>, quiet: bool) {
        let dice = &self.nemesis;
        let calm = quiet || dice.permille(150);
        let restless = dice.permille(400);
        while !self.over.get() {
            let most = if restless { 250 } else { *dice.pick(&[200, 2_000, 6_000]) };
            sleep(dice.millis(20, most)).await;
            if calm {
                continue;
            }
            let node = self.last_node();
            let more = self.started.get() < NODES_MAX - 1;
            match dice.below(10) {
                0 if more => {
                    self.world.count(Fault::Crash);
                    node.line.set(LineState::Dead);
                    sleep(dice.millis(0, 1_500)).await;
                    self.start_node().await;
                }
                1 if more => {
                    self.world.count(Fault::Takeover);
                    self.start_node().await;
                }
                2 => self.pause(&node, more && dice.permille(600)).await,
                3 if more => {
                    self.world.count(Fault::GracefulStop);
                    let engine = node.engine.take();
                    let stop = async {
                        if let Some(engine) = engine {
                            let _ = timeout(Duration::from_secs(30), engine.stop()).await;
                        }
                    };
                    if dice.permille(500) {
                        stop.await;
                        self.start_node().await;
                    } else {
                        futures::future::join(stop, self.start_node()).await;
                    }
                }
                4 => self.world.throttle(dice.millis(100, 3_000)),
                5 if dice.permille(400) => self.world.lose(dice.millis(500, 9_000)),
                6 => self.write_as_another(),
                _ => {
                    for _ in 0..=dice.below(4) {
                        self.world.count(Fault::Passivation);
                        node.directory.passivate(&doctor(dice.skewed(DOCTORS)));
                        sleep(dice.millis(0, 30)).await;
                    }
                }
            }
        }
        for node in self.nodes.borrow().iter().filter(|node| !node.line.is_dead()) {
            node.line.set(LineState::Open);
        }
    }

    /// The old platform books or cancels without asking anybody.
    fn write_as_another(&self) {
        self.world.count(Fault::ForeignWrite);
        let dice = &self.nemesis;
        let (on, at) = (dice.below(DATES.len()), dice.skewed(SLOTS.len()));
        let booking = Booking { user: user(dice.below(USERS)), date: date(on), start: slot(at), key: None };
        if dice.permille(500) {
            self.world.memory.add_booking(&doctor(SHARED_DOCTOR), booking, DateSpelling::PLAIN);
        } else {
            self.world.memory.remove_booking(&doctor(SHARED_DOCTOR), &booking);
        }
    }

    /// A process that stands still, perhaps for longer than anybody waits, while another one takes over.
    async fn pause(&self, node: &Node, taken_over: bool) {
        if !node.line.is_open() {
            return;
        }
        self.world.count(Fault::Pause);
        node.line.set(LineState::Frozen);
        let length = self.nemesis.millis(10, *self.nemesis.pick(&[300, 4_000, 15_000]));
        if taken_over {
            self.world.count(Fault::Takeover);
            futures::future::join(sleep(length), self.start_node()).await;
        } else {
            sleep(length).await;
        }
        node.line.set(LineState::Open);
    }

    async fn client(self: Rc<Self>) {
        let dice = self.dice.clone();
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let request = self.request();
            let mut told = self.call(&request).await;
            // Whoever does not know, or was told to come again, does so, most of the time.
            for _ in 0..3 {
                let again = matches!(told, Told::Unknown | Told::NotDone) && dice.permille(600);
                let repeated = told == Told::Done && dice.permille(60);
                if !again && !repeated {
                    break;
                }
                sleep(dice.millis(0, 300)).await;
                told = self.call(&request).await;
            }
            // What was not done is not counted, within bounds.
            if told == Told::NotDone && self.calls.borrow().len() < 5 * self.commands {
                self.left.set(self.left.get() + 1);
            }
            // Nobody hammers a node that says that it cannot.
            let pause = if told == Told::NotDone { 400 } else { *dice.pick(&[1, 20, 200]) };
            sleep(dice.millis(0, pause)).await;
        }
    }

    fn request(&self) -> Request {
        let dice = &self.dice;
        let (place, user) = (self.place(), dice.below(USERS));
        match dice.below(100) {
            0..50 => {
                let key = dice.permille(400).then(|| self.keys.replace(self.keys.get() + 1));
                Request::Book { place, user, key }
            }
            50..66 => Request::Cancel { place, user },
            66..71 => {
                let offered = SLOTS.iter().map(|_| dice.permille(930)).collect();
                Request::SetSlots { doctor: place.doctor, weekday: weekday_of(place.date), offered }
            }
            71..74 => {
                let (doctor, weekday) = (place.doctor, weekday_of(place.date));
                Request::UpdateSlot { doctor, weekday, slot: place.slot, available: dice.permille(800) }
            }
            _ => Request::Look { doctor: place.doctor, date: place.date },
        }
    }

    /// Asks a node, most often the one that started last, and writes down what came of it.
    async fn call(&self, request: &Request) -> Told {
        let node = {
            let nodes = self.nodes.borrow();
            let back = if !self.over.get() && self.dice.permille(100) { self.dice.below(3) } else { 0 };
            Rc::clone(&nodes[nodes.len() - 1 - back.min(nodes.len() - 1)])
        };
        if node.line.is_dead() {
            // Nobody listens: the client notices at once, and that was no call.
            sleep(Duration::from_millis(100)).await;
            return Told::NotDone;
        }
        let most = *self.dice.pick(&[1_500, 20_000, 20_000]);
        let patience = if self.over.get() { Duration::from_secs(30) } else { self.dice.millis(500, most) };
        let asked = self.world.next();
        self.world.note(format_args!("client: #{asked} {request:?} to node {}", node.number));
        let decided = Cell::new(Instant::now());
        let answer = async {
            node.line.pass().await;
            let told = self.ask(&node.directory, request).await;
            decided.set(Instant::now());
            node.line.pass().await;
            told
        };
        let told = timeout(patience, answer).await.unwrap_or_else(|_| {
            self.world.count(Fault::ClientGaveUp);
            Told::Unknown
        });
        let answered = self.world.next();
        self.world.note(format_args!("client: #{asked} is told {told:?}"));
        let decided = decided.get();
        let call = Call { node: node.number, request: request.clone(), told, asked, answered, decided };
        let told = call.told.clone();
        self.calls.borrow_mut().push(call);
        told
    }

    async fn ask(&self, directory: &Directory, request: &Request) -> Told {
        let (of, command) = match request {
            Request::Book { place, user: by, key } => {
                let key = key.map(|key| IdempotencyKey::parse(&format!("k{key}")).unwrap());
                let (date, start) = (date(place.date), slot(place.slot));
                (place.doctor, Command::Book { user: user(*by), date, start, key })
            }
            Request::Cancel { place, user: by } => {
                let (date, start) = (date(place.date), slot(place.slot));
                (place.doctor, Command::Cancel { user: user(*by), date, start })
            }
            Request::SetSlots { doctor, weekday, offered } => {
                let offered =
                    offered.iter().enumerate().filter(|(_, is)| **is).map(|(n, _)| slot(n)).collect();
                (*doctor, Command::SetSlots { weekday: chrono::Datelike::weekday(&date(*weekday)), offered })
            }
            Request::UpdateSlot { doctor, weekday, slot: n, available } => {
                let (weekday, span) = (chrono::Datelike::weekday(&date(*weekday)), slot(*n).span());
                (*doctor, Command::UpdateSlot { weekday, span, available: *available })
            }
            Request::Look { doctor: of, date: on } => return self.look(directory, *of, *on).await,
        };
        match directory.ask(&doctor(of), command).await {
            Ok(_) => Told::Done,
            Err(error) => Told::of(error),
        }
    }

    async fn look(&self, directory: &Directory, of: usize, on: usize) -> Told {
        match directory.view(&doctor(of), date(on)).await {
            Ok(view) => {
                // Midnight, so that no slot has begun: what has begun is the handler's affair.
                let early = self.origin - TimeDelta::hours(10);
                let clinic = Clinic::new(chrono_tz::Tz::Asia__Kolkata);
                let shown: Vec<_> = view.slots(clinic, date(on), early).collect();
                let seats = |n| shown.iter().find(|seen| seen.start == slot(n)).map(|seen| seen.booked);
                Told::Seen((0..SLOTS.len()).map(seats).collect())
            }
            Err(error) => Told::of(error),
        }
    }
}

/// Who holds which seat, as the store says.
fn stored(world: &World) -> BTreeMap<Place, Vec<usize>> {
    let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for (of, booking) in world.memory.bookings() {
        let number = |found: Option<usize>| found.expect("a row that nobody asked for");
        let place = Place {
            doctor: number((0..DOCTORS).find(|n| doctor(*n) == of)),
            date: number((0..DATES.len()).find(|n| date(*n) == booking.date)),
            slot: number((0..SLOTS.len()).find(|n| slot(*n) == booking.start)),
        };
        places.entry(place).or_default().push(number((0..USERS).find(|n| user(*n) == booking.user)));
    }
    places.values_mut().for_each(|users| users.sort_unstable());
    places
}
