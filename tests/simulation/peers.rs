//! The way from one node to another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::NaiveDate;
use engine::{Answer, Command, DayView, DoctorId, EngineError, Peers, Router};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::sleep;

use crate::faults::Fault;
use crate::line::Line;
use crate::store::World;

/// Who is reached under which address.
pub type Book = Arc<Mutex<BTreeMap<String, (Router, Line)>>>;

/// One node's way to all others.
pub struct SimPeers {
    pub world: World,
    pub line: Line,
    pub book: Book,
}

impl SimPeers {
    /// `silence`: what is known when no answer comes.
    fn pass_on<T: Send + 'static>(
        &self,
        address: &str,
        silence: EngineError,
        ask: impl FnOnce(Router) -> BoxFuture<'static, Result<T, EngineError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, EngineError>> {
        let (world, line) = (self.world.clone(), self.line.clone());
        let peer = self.book.lock().unwrap().get(address).cloned();
        async move {
            sleep(world.dice.millis(0, 4)).await;
            let Some((router, there)) = peer.filter(|(_, there)| !there.is_dead()) else {
                return Err(EngineError::NotHere);
            };
            if line.is_cut_from_peers() || there.is_cut_from_peers() {
                return std::future::pending().await;
            }
            if world.dice.permille(world.weather().lost) {
                world.count(Fault::PeerLostBefore);
                return Err(silence);
            }
            there.pass().await;
            let answer = ask(router).await;
            there.pass().await;
            line.pass().await;
            if world.dice.permille(world.weather().lost) {
                world.count(Fault::PeerLostAfter);
                return Err(silence);
            }
            sleep(world.dice.millis(0, 4)).await;
            answer
        }
        .boxed()
    }
}

impl Peers for SimPeers {
    fn ask(
        &self,
        address: &str,
        doctor: &DoctorId,
        command: &Command,
        within: Duration,
    ) -> BoxFuture<'static, Result<Answer, EngineError>> {
        let (doctor, command) = (doctor.clone(), command.clone());
        self.pass_on(address, EngineError::OutcomeUnknown, move |router| {
            async move { router.ask_here(&doctor, command, within).await }.boxed()
        })
    }

    fn view(
        &self,
        address: &str,
        doctor: &DoctorId,
        date: NaiveDate,
        within: Duration,
    ) -> BoxFuture<'static, Result<DayView, EngineError>> {
        let doctor = doctor.clone();
        self.pass_on(address, EngineError::Unavailable, move |router| {
            async move { router.view_here(&doctor, date, within).await }.boxed()
        })
    }
}
