//! Many nodes, a range of doctors each: who takes and hands over which, and how a request finds its doctor's owner.
//!
//! A node's lease is its heartbeat item, which it renews; whoever sees it stand still for a whole lease buries the node, and
//! a buried identity is never renewed again. So at any time at most one node may answer for a range from memory: the owner
//! counts its lease from before it sent the renewal, the others from after they saw it. All that is written is fenced by the
//! range's epoch besides, so that no mistake here can sell a seat twice. `tests/model` checks both to the end.

mod member;
mod plan;
mod router;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use futures::future::BoxFuture;

use crate::calendar::{Command, DayView};
use crate::doctor::Answer;
use crate::error::EngineError;
use crate::ids::{DoctorId, NodeId};
use crate::limits::{HEARTBEAT, LEASE};
use crate::store::{Heartbeat, Nodes};

pub(crate) use member::Member;
pub use router::Router;

/// How a process takes part.
pub enum Membership {
    /// It is alone, and takes every range.
    Solo,
    /// It shares the doctors with others.
    Cluster {
        /// Where the others reach it.
        address: String,
        /// Who takes part.
        nodes: Arc<dyn Nodes>,
        /// The way to them.
        peers: Arc<dyn Peers>,
        /// How soon a dead node is noticed.
        timing: Timing,
    },
}

/// How soon a dead node is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    heartbeat: Duration,
    lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat: HEARTBEAT, lease: LEASE }
    }
}

impl Timing {
    /// `None` when a lease has no room for two heartbeats, or when one is shorter than 50 ms.
    pub fn new(heartbeat: Duration, lease: Duration) -> Option<Self> {
        let possible = heartbeat >= Duration::from_millis(50) && heartbeat * 2 <= lease;
        possible.then_some(Self { heartbeat, lease })
    }
}

/// Asks another node for a doctor that it owns. It answers itself, and asks nobody else.
pub trait Peers: Send + Sync + 'static {
    /// Has a command decided and stored there. [`EngineError::NotHere`]: certainly nothing happened, that node does not own
    /// the doctor or cannot be reached.
    fn ask(
        &self,
        address: &str,
        doctor: &DoctorId,
        command: &Command,
        within: Duration,
    ) -> BoxFuture<'static, Result<Answer, EngineError>>;

    /// What the public may see of a date.
    fn view(
        &self,
        address: &str,
        doctor: &DoctorId,
        date: NaiveDate,
        within: Duration,
    ) -> BoxFuture<'static, Result<DayView, EngineError>>;
}

/// The cluster as one node sees it.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// The node that looks.
    pub me: NodeId,
    /// All that take part, itself included, by identity.
    pub nodes: Vec<NodeView>,
}

/// One node, as another one sees it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// What it last said of itself.
    pub heartbeat: Heartbeat,
    /// How long that has been seen to stand.
    pub silent_for: Duration,
}
