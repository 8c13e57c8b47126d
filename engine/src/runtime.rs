//! The engine as a whole: which thread runs what, how it starts, and how it stops without losing anything.

use std::future::Future;
use std::sync::Arc;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::watch;

use crate::calendar::{Calendar, Clinic, Rules};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cluster::{Member, Membership, Router};
use crate::committer::Committer;
use crate::directory::{Activations, Directory, Shell};
use crate::limits::IDLE_CHECK_INTERVAL;
use crate::recent::RecentAnswers;
use crate::shard::{Node, Ownership, RangeId, Ring, Standing, TakeoverError};
use crate::store::{BookingStore, Fences};

/// Which arbiters run actors and lanes: chosen here and nowhere else, so that a test can run everything on one.
pub struct Placement {
    actors: Vec<ArbiterHandle>,
    lanes: Vec<ArbiterHandle>,
    own: Vec<Arbiter>,
}

impl Placement {
    /// So many threads of their own, at least one: HTTP is served elsewhere. A range's actors and its lane, with the
    /// store's client, share one: what goes between them wakes nobody. Needs a running actix system.
    pub fn threads(count: usize) -> Self {
        let own: Vec<Arbiter> = (0..count.max(1)).map(|_| Arbiter::new()).collect();
        let handles: Vec<ArbiterHandle> = own.iter().map(Arbiter::handle).collect();
        Self { actors: handles.clone(), lanes: handles, own }
    }

    /// Everything on the arbiter that calls.
    pub fn here() -> Self {
        Self { actors: vec![Arbiter::current()], lanes: vec![Arbiter::current()], own: Vec::new() }
    }

    pub(crate) fn actor_arbiter(&self, range: RangeId) -> &ArbiterHandle {
        &self.actors[range.index() % self.actors.len()]
    }

    pub(crate) fn run_lane(&self, lane: usize, run: impl Future<Output = ()> + Send + 'static) {
        // An arbiter that has ended runs nothing, and whoever waits for the lane learns that it died.
        self.lanes[lane % self.lanes.len()].spawn(run);
    }

    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.actors[0].spawn(task);
    }

    fn stop(&self) {
        for arbiter in &self.own {
            arbiter.stop();
        }
    }
}

/// What an engine is made of.
pub struct Parts {
    /// Loads and commits.
    pub store: Arc<dyn BookingStore>,
    /// Says who owns what.
    pub fences: Arc<dyn Fences>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub chance: Arc<dyn Chance>,
    /// The wall clock of the doctors.
    pub clinic: Clinic,
    /// The booking rules of this deployment.
    pub rules: Rules,
    /// Into how many ranges the doctors are cut.
    pub ring: Ring,
    /// Whether other nodes take part.
    pub membership: Membership,
    /// Threads.
    pub placement: Placement,
}

/// A running engine.
pub struct Engine {
    router: Router,
    member: Option<Arc<Member>>,
    committer: Committer,
    ownership: Arc<Ownership>,
    placement: Arc<Placement>,
}

impl Engine {
    /// Takes every range, whoever had it, or joins the cluster; and starts.
    ///
    /// # Errors
    /// When the store does not let us.
    pub async fn start(parts: Parts) -> Result<Self, TakeoverError> {
        let Parts { store, fences, clock, chance, clinic, rules, ring, membership, placement } = parts;
        let placement = Arc::new(placement);
        let ownership = Arc::new(Ownership::new(ring, Arc::clone(&clock), fences.settle()));
        let address = match &membership {
            Membership::Solo => String::new(),
            Membership::Cluster { address, .. } => address.clone(),
        };
        let own = (Arc::clone(&ownership), Arc::clone(&clock), Arc::clone(&chance));
        let node = Arc::new(Node::new(address, fences, own.0, own.1, own.2));
        if matches!(membership, Membership::Solo) {
            node.take_all().await?;
        }
        let committer = Committer::start(&store, &node, &chance, &placement);
        let shell = Shell {
            store,
            committer: committer.clone(),
            ownership: Arc::clone(&ownership),
            clock,
            chance,
            unloaded: Calendar::unloaded(clinic.clone(), rules),
            clinic,
            recent: RecentAnswers::default(),
            activations: Activations::default(),
        };
        let directory = Directory::new(shell, Arc::clone(&placement));
        placement.run(sweep(directory.clone(), ownership.standing()));
        let (router, member) = match membership {
            Membership::Solo => {
                placement.run(node.watch());
                (Router::alone(directory), None)
            }
            Membership::Cluster { nodes, peers, timing, .. } => {
                let member = Member::new(node, nodes, timing, committer.clone(), directory.clone());
                let member = Arc::new(member);
                member.join().await?;
                placement.run(Arc::clone(&member).renew());
                placement.run(Arc::clone(&member).watch());
                (Router::of_cluster(directory, Arc::clone(&member), peers), Some(member))
            }
        };
        Ok(Self { router, member, committer, ownership, placement })
    }

    /// Where doctors are asked.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Follows whether this process can book.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.ownership.standing()
    }

    /// Says that the process is about to stop: it is not ready any more, and still answers.
    pub fn announce_stop(&self) {
        self.ownership.declare(Standing::Stopping);
    }

    /// Hands every range over to other nodes, if there are any. Requests are answered as ever meanwhile, and afterwards as
    /// long as others can be asked.
    pub async fn hand_over(&self) {
        if let Some(member) = &self.member {
            member.hand_over_all().await;
        }
    }

    /// Stores and answers everything in flight, then ends.
    pub async fn stop(self) {
        self.announce_stop();
        self.hand_over().await;
        self.router.directory().stop().await;
        self.committer.drain().await;
        if let Some(member) = &self.member {
            member.depart().await;
        }
        self.placement.stop();
    }
}

async fn sweep(directory: Directory, mut standing: watch::Receiver<Standing>) {
    loop {
        tokio::select! {
            // In this order, not in one drawn by lot: a simulation can be repeated.
            biased;
            () = tokio::time::sleep(IDLE_CHECK_INTERVAL) => directory.passivate_idle(),
            over = standing.wait_for(|standing| standing.is_over()) => {
                drop(over);
                return;
            }
        }
    }
}
