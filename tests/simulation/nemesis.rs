//! What befalls the nodes: crashes, pauses, take-overs, and another program that writes beside them.

use std::rc::Rc;
use std::time::Duration;

use engine::calendar::{Booking, DateSpelling};
use tokio::time::{Instant, sleep, timeout};

use crate::cast::{DATES, DOCTORS, SHARED_DOCTOR, SLOTS, USERS, date, doctor, slot, user};
use crate::faults::Fault;
use crate::history::{Place, Request};
use crate::line::LineState;
use crate::session::{NODES_MAX, Node, Session};
use crate::store::World;

impl Session {
    pub async fn disturb(self: Rc<Self>, quiet: bool) {
        let dice = &self.nemesis;
        let calm = quiet || dice.permille(150);
        let restless = dice.permille(400);
        while !self.over.get() {
            let most = if restless { 250 } else { *dice.pick(&[200, 2_000, 6_000]) };
            sleep(dice.millis(20, most)).await;
            if calm {
                continue;
            }
            let node = self.some_node();
            let more = self.started.get() < NODES_MAX - 1;
            match dice.below(13) {
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
                7..9 if self.cluster.is_some() => self.cut_off(&node).await,
                9 if self.cluster.is_some() && more => self.live_shortly().await,
                3 if more => {
                    let stop = stop(&node, &self.world);
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
                        node.router.directory().passivate(&doctor(dice.skewed(DOCTORS)));
                        sleep(dice.millis(0, 30)).await;
                    }
                }
            }
        }
        for node in self.nodes.borrow().iter().filter(|node| !node.line.is_dead()) {
            node.line.set(LineState::Open);
        }
    }

    /// The last one, which has deposed all others; of a cluster, any.
    fn some_node(&self) -> Rc<Node> {
        let nodes = self.nodes.borrow();
        let serving: Vec<Rc<Node>> = nodes.iter().filter(|node| node.is_serving()).cloned().collect();
        let last = &nodes[nodes.len() - 1];
        if self.cluster.is_some() && !serving.is_empty() {
            Rc::clone(self.nemesis.pick(&serving))
        } else {
            Rc::clone(last)
        }
    }

    /// A node that joins, is given ranges, and dies or leaves: they come back to who had them.
    async fn live_shortly(&self) {
        self.start_node().await;
        let node = self.nodes.borrow().last().map(Rc::clone);
        sleep(self.nemesis.millis(300, 2_500)).await;
        let Some(node) = node else { return };
        if self.nemesis.permille(300) {
            self.world.count(Fault::Crash);
            node.line.set(LineState::Dead);
        } else {
            stop(&node, &self.world).await;
        }
    }

    /// A node that clients reach, and that does not reach the store, or no other node.
    async fn cut_off(&self, node: &Node) {
        if node.line.is_open() {
            let (fault, state) = *self.nemesis.pick(&[
                (Fault::CutFromStore, LineState::CutFromStore),
                (Fault::CutFromPeers, LineState::CutFromPeers),
            ]);
            self.world.count(fault);
            node.line.set(state);
            let length = self.nemesis.millis(100, 6_000);
            let end = async {
                sleep(length).await;
                node.line.set(LineState::Open);
            };
            // And a while longer, until it has learned what happened meanwhile.
            let until = Instant::now() + length + Duration::from_secs(2);
            futures::future::join3(end, self.look_at(node, until), self.book_elsewhere(until)).await;
        }
    }

    /// Somebody looks again and again at what the node says of the slot that all want.
    async fn look_at(&self, node: &Node, until: Instant) {
        while Instant::now() < until {
            self.call_at(node, &Request::Look { doctor: 0, date: 1 }).await;
            sleep(self.nemesis.millis(5, 40)).await;
        }
    }

    /// And somebody else books and cancels there by way of other nodes.
    async fn book_elsewhere(&self, until: Instant) {
        let place = Place { doctor: 0, date: 1, slot: 0 };
        while Instant::now() < until {
            let user = self.nemesis.below(USERS);
            let book = Request::Book { place, user, key: None };
            let request = if self.nemesis.permille(500) { book } else { Request::Cancel { place, user } };
            self.call(&request).await;
            sleep(self.nemesis.millis(5, 40)).await;
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
}

/// A node is asked to stop, and has half a minute for it.
async fn stop(node: &Node, world: &World) {
    world.count(Fault::GracefulStop);
    let engine = node.engine.take();
    if let Some(engine) = engine
        && timeout(Duration::from_secs(30), engine.stop()).await.is_err()
    {
        // The process ends all the same.
        node.line.set(LineState::Dead);
    }
}
