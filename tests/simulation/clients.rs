//! Clients: what they ask, whom, how long they wait, and what they do then.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use chrono::TimeDelta;
use engine::{Clinic, Command, IdempotencyKey, Router};
use tokio::time::{Instant, sleep, timeout};

use crate::cast::{DATES, DOCTORS, SHARED_DOCTOR, SLOTS, USERS, date, doctor, slot, user, weekday_of};
use crate::faults::Fault;
use crate::history::{Call, Place, Request, Told};
use crate::session::{Node, Session};

impl Session {
    /// Half of all calls are about one slot, where users race for seats.
    pub fn place(&self) -> Place {
        let dice = &self.dice;
        if dice.permille(500) {
            return Place { doctor: 0, date: 1, slot: 0 };
        }
        if dice.permille(300) {
            return Place { doctor: SHARED_DOCTOR, date: 1, slot: 0 };
        }
        Place { doctor: dice.skewed(DOCTORS), date: dice.skewed(DATES.len()), slot: dice.skewed(SLOTS.len()) }
    }

    pub async fn client(self: Rc<Self>) {
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
            let pause = if told == Told::NotDone { 400 } else { *dice.pick(&[1, 20, 200, 1_000]) };
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

    /// Most often the last node that serves; in a cluster any, and for looks one that may have been buried without knowing
    /// it. The flag: one of the last three, whatever it does.
    fn choose(&self, request: &Request) -> (Rc<Node>, bool) {
        let nodes = self.nodes.borrow();
        let serving: Vec<Rc<Node>> = nodes.iter().filter(|node| node.is_serving()).cloned().collect();
        let cut_off = |node: &&Rc<Node>| node.line.is_cut_from_store();
        let (cut, whole): (Vec<_>, Vec<_>) = serving.iter().partition(cut_off);
        let last = &nodes[nodes.len() - 1];
        if !self.over.get() && self.dice.permille(50) {
            let back = self.dice.below(3).min(nodes.len() - 1);
            return (Rc::clone(&nodes[nodes.len() - 1 - back]), true);
        }
        let looks = matches!(request, Request::Look { .. });
        let node = match self.cluster {
            Some(_) if looks && !cut.is_empty() && self.dice.permille(700) => self.dice.pick(&cut),
            Some(_) if !whole.is_empty() => self.dice.pick(&whole),
            Some(_) | None => serving.last().unwrap_or(last),
        };
        (Rc::clone(node), false)
    }

    /// Asks a node, and writes down what came of it.
    pub async fn call(&self, request: &Request) -> Told {
        let (node, is_astray) = self.choose(request);
        if node.line.is_dead() || !(is_astray || self.over.get() || node.is_serving()) {
            // Nobody listens: the client notices at once, and that was no call.
            sleep(Duration::from_millis(100)).await;
            return Told::NotDone;
        }
        self.call_at(&node, request).await
    }

    /// Asks this very node.
    pub async fn call_at(&self, node: &Node, request: &Request) -> Told {
        let most = *self.dice.pick(&[1_500, 20_000, 20_000]);
        let patience = if self.over.get() { Duration::from_secs(30) } else { self.dice.millis(500, most) };
        let asked = self.world.next();
        self.world.note(format_args!("client: #{asked} {request:?} to node {}", node.number));
        let decided = Cell::new(Instant::now());
        let answer = async {
            node.line.pass().await;
            let told = self.ask(&node.router, request).await;
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

    async fn ask(&self, router: &Router, request: &Request) -> Told {
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
            Request::Look { doctor: of, date: on } => return self.look(router, *of, *on).await,
        };
        match router.ask(&doctor(of), command).await {
            Ok(_) => Told::Done,
            Err(error) => Told::of(error),
        }
    }

    async fn look(&self, router: &Router, of: usize, on: usize) -> Told {
        match router.view(&doctor(of), date(on)).await {
            Ok(view) => {
                // Midnight, so that no slot has begun: what has begun is the handler's affair.
                let early = self.origin - TimeDelta::hours(10);
                let clinic = Clinic::compiled_in("Asia/Kolkata").unwrap();
                let shown: Vec<_> = view.slots(&clinic, date(on), early).collect();
                let seats = |n| shown.iter().find(|seen| seen.start == slot(n)).map(|seen| seen.booked);
                Told::Seen((0..SLOTS.len()).map(seats).collect())
            }
            Err(error) => Told::of(error),
        }
    }
}
