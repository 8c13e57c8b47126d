//! Asks the node that owns a doctor: this one or another.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::member::Member;
use super::routes::Peer;
use super::{ClusterView, Peers};
use crate::calendar::{Command, DayView};
use crate::directory::Directory;
use crate::doctor::Answer;
use crate::error::EngineError;
use crate::ids::{DoctorId, UserId};
use crate::limits::{ASK_DEADLINE, ROUTE_GRACE, ROUTE_WAIT};
use crate::metrics;
use crate::recent::RecentAnswer;
use crate::shard::RangeId;

/// Where doctors are asked, whoever owns them.
#[derive(Clone)]
pub struct Router {
    directory: Directory,
    cluster: Option<Cluster>,
}

#[derive(Clone)]
struct Cluster {
    member: Arc<Member>,
    peers: Arc<dyn Peers>,
}

impl Router {
    pub(crate) const fn alone(directory: Directory) -> Self {
        Self { directory, cluster: None }
    }

    pub(crate) const fn of_cluster(directory: Directory, member: Arc<Member>, peers: Arc<dyn Peers>) -> Self {
        Self { directory, cluster: Some(Cluster { member, peers }) }
    }

    /// Has a command decided and stored by its doctor, wherever that is.
    ///
    /// # Errors
    /// As [`EngineError`] says; never [`EngineError::NotHere`].
    pub async fn ask(&self, doctor: &DoctorId, command: Command) -> Result<Answer, EngineError> {
        let Some(cluster) = &self.cluster else {
            return self.directory.ask(doctor, command).await.map_err(EngineError::of_all);
        };
        let here = || self.directory.ask(doctor, command.clone());
        let there = |address: &str| cluster.peers.ask(address, doctor, &command, ASK_DEADLINE);
        // In a box: a single node does not keep room for it in each of its requests.
        let answer = cluster.anywhere(self.range(doctor), here, there, EngineError::OutcomeUnknown);
        let answer = Box::pin(answer).await?;
        self.directory.remember(doctor, &command, &answer);
        Ok(answer)
    }

    /// What the public may see of a date of any doctor.
    ///
    /// # Errors
    /// As [`Router::ask`]; nothing ever happens.
    pub async fn view(&self, doctor: &DoctorId, date: NaiveDate) -> Result<DayView, EngineError> {
        let Some(cluster) = &self.cluster else {
            return self.directory.view(doctor, date).await.map_err(EngineError::of_all);
        };
        let here = || self.directory.view(doctor, date);
        let there = |address: &str| cluster.peers.view(address, doctor, date, ASK_DEADLINE);
        Box::pin(cluster.anywhere(self.range(doctor), here, there, EngineError::Unavailable)).await
    }

    /// The same for a command that another node has passed on: it is passed no further.
    ///
    /// # Errors
    /// As [`Router::ask`]; [`EngineError::NotHere`] when this node does not come to own the doctor soon.
    pub async fn ask_here(
        &self,
        doctor: &DoctorId,
        command: Command,
        within: Duration,
    ) -> Result<Answer, EngineError> {
        let asked = self.here(doctor, within, || self.directory.ask(doctor, command.clone()));
        tokio::time::timeout(within, asked).await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    /// The same for a look at a date.
    ///
    /// # Errors
    /// As [`Router::ask_here`].
    pub async fn view_here(
        &self,
        doctor: &DoctorId,
        date: NaiveDate,
        within: Duration,
    ) -> Result<DayView, EngineError> {
        let asked = self.here(doctor, within, || self.directory.view(doctor, date));
        tokio::time::timeout(within, asked).await.unwrap_or(Err(EngineError::Unavailable))
    }

    /// What this node has answered to this user within the last minute, oldest first.
    pub fn recent(&self, user: &UserId) -> Vec<RecentAnswer> {
        self.directory.recent(user)
    }

    /// The doctors in memory here.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The cluster as this node sees it; `None` for a single node.
    pub fn cluster(&self) -> Option<Arc<ClusterView>> {
        self.cluster.as_ref().map(|cluster| cluster.member.view())
    }

    fn range(&self, doctor: &DoctorId) -> RangeId {
        self.directory.ring().range_of(doctor)
    }

    /// Asks here, and waits a little should the doctor's range be on its way to us.
    async fn here<T, F>(
        &self,
        doctor: &DoctorId,
        within: Duration,
        ask: impl Fn() -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let (range, until) = (self.range(doctor), Instant::now() + within.min(ROUTE_WAIT));
        loop {
            let Some(cluster) = &self.cluster else { return ask().await };
            let ownership = cluster.member.node().ownership();
            let mut changed = std::pin::pin!(ownership.changed().notified());
            changed.as_mut().enable();
            match ask().await {
                Err(EngineError::NotHere) if ownership.is_closed(range) => return Err(EngineError::NotHere),
                Err(EngineError::NotHere) => cluster.member.node().look_now(),
                answer => return answer,
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(EngineError::NotHere);
            }
        }
    }
}

impl Cluster {
    /// Asks the owner. While there is none, or the one that was asked is it no more, waits for the next.
    async fn anywhere<T, F>(
        &self,
        range: RangeId,
        here: impl Fn() -> F,
        there: impl Fn(&str) -> BoxFuture<'static, Result<T, EngineError>>,
        silence: EngineError,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let ownership = self.member.node().ownership();
        let until = Instant::now() + ROUTE_WAIT;
        loop {
            let mut changed = std::pin::pin!(self.member.node().ownership().changed().notified());
            changed.as_mut().enable();
            let answer = match (ownership.open(range), self.member.routes.owner(range)) {
                (Some(_), _) => here().await,
                (None, Some(peer)) => self.at(range, &peer, there(&peer.address), silence.clone()).await,
                (None, None) => Err(EngineError::NotHere),
            };
            match answer {
                Err(EngineError::NotHere) => self.member.node().look_now(),
                answer => return answer,
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(EngineError::Unavailable);
            }
        }
    }

    /// Waits for a peer's answer, but not for long once the range is somebody else's: a node that has lost a range has
    /// answered by then, or stands still.
    async fn at<T>(
        &self,
        range: RangeId,
        peer: &Peer,
        answer: BoxFuture<'static, Result<T, EngineError>>,
        silence: EngineError,
    ) -> Result<T, EngineError> {
        metrics::forwarded();
        let gone = async {
            loop {
                let mut changed = std::pin::pin!(self.member.node().ownership().changed().notified());
                changed.as_mut().enable();
                if self.member.routes.owner(range).as_ref() != Some(peer) {
                    tokio::time::sleep(ROUTE_GRACE).await;
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            // In this order, not in one drawn by lot: a simulation can be repeated.
            biased;
            answer = answer => answer,
            () = gone => Err(silence),
            () = tokio::time::sleep(ASK_DEADLINE) => Err(silence),
        }
    }
}
