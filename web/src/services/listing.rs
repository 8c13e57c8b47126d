//! The public list of doctors, kept in memory for a few seconds: one scan of the table serves every visitor. What this
//! node changes shows at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use engine::Clock;
use engine::store::LoadError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use persistence::{Profiles, PublicDoctor};

use crate::error::ApiError;

/// For so long a list is as good as new.
const FRESH_FOR: TimeDelta = TimeDelta::seconds(5);
/// For so long it is shown while the next one is being read; later, visitors wait for that.
const SHOWN_FOR: TimeDelta = TimeDelta::seconds(15);
/// For so long it is better than nothing when the store does not answer.
const KEPT_FOR: TimeDelta = TimeDelta::seconds(60);

/// A doctor on the list.
pub(crate) struct Listed {
    /// What is shown.
    pub(crate) doctor: PublicDoctor,
    /// The specialization as it is compared.
    specialization: String,
    /// What a search looks through.
    searched: String,
}

/// Every doctor, by address.
#[derive(Clone)]
pub(crate) struct List {
    doctors: Arc<Vec<Arc<Listed>>>,
    read_at: DateTime<Utc>,
    /// The change of this node that was the last one when the reading began.
    begun_after: u64,
    /// Differs from that of every other list of this process.
    version: u64,
}

/// Which doctors are asked for; texts are folded.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    specialization: Option<String>,
    search: Option<String>,
}

/// The list, and all that want it.
pub(crate) struct Listing {
    shared: Arc<Shelf>,
}

struct Shelf {
    profiles: Profiles,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// One reading of the table, for whoever waits for it.
type Reading = Shared<BoxFuture<'static, Result<List, Unread>>>;

/// The table cannot be read now; why has been logged.
#[derive(Debug, Clone, Copy)]
struct Unread;

#[derive(Default)]
struct State {
    list: Option<List>,
    /// The one under way, and the change that was the last one when it began.
    reading: Option<(u64, Reading)>,
    /// Counts this node's changes.
    changes: u64,
    /// What they made of doctors, as far as a reading may have missed it.
    changed: HashMap<String, (u64, Option<Arc<Listed>>)>,
    /// The last change that could not be looked at: only a reading that began after it shows it. An older list is
    /// still better than nothing.
    unseen: u64,
    /// Counts the lists that there have been.
    versions: u64,
}

impl Listing {
    pub(crate) fn new(profiles: Profiles, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shelf { profiles, clock, state: Mutex::default() }) }
    }

    /// Every doctor. However many ask at once, the table is read once.
    pub(crate) async fn all(&self) -> Result<List, ApiError> {
        let (reading, old) = {
            let mut state = self.shared.lock();
            let now = self.shared.clock.now();
            let list = state.list.clone();
            let is_younger = |list: &List, age| (TimeDelta::zero()..age).contains(&(now - list.read_at));
            let unseen = state.unseen;
            let is_shown = |list: &List, age| list.begun_after >= unseen && is_younger(list, age);
            if let Some(list) = list.clone().filter(|list| is_shown(list, FRESH_FOR)) {
                return Ok(list);
            }
            let reading = Shelf::read(&self.shared, &mut state, now);
            if let Some(list) = list.clone().filter(|list| is_shown(list, SHOWN_FOR)) {
                return Ok(list);
            }
            (reading, list.filter(|list| is_younger(list, KEPT_FOR)))
        };
        reading.await.or_else(|Unread| old.ok_or(ApiError::Unavailable))
    }

    /// Takes in what this node has just made of a doctor's row.
    pub(crate) async fn changed(&self, doctor: &str) {
        let change = {
            let mut state = self.shared.lock();
            state.changes += 1;
            state.changes
        };
        let found = self.shared.profiles.one(doctor).await;
        let mut state = self.shared.lock();
        match found {
            Ok(found) => state.show(change, doctor, found.map(|doctor| Arc::new(Listed::new(doctor)))),
            Err(error) => {
                tracing::warn!(%error, "a changed doctor cannot be looked at: the next list is read anew");
                state.unseen = state.unseen.max(change);
            }
        }
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reading under way, unless it may miss a change, or a new one. It goes on when its visitors leave.
    fn read(shelf: &Arc<Self>, state: &mut State, now: DateTime<Utc>) -> Reading {
        // One that is over and still here has died.
        let is_good = |(begun_after, reading): &&(u64, Reading)| {
            *begun_after >= state.unseen && reading.peek().is_none()
        };
        if let Some((_, reading)) = state.reading.as_ref().filter(is_good) {
            return reading.clone();
        }
        let (shelf, begun_after) = (Arc::clone(shelf), state.changes);
        let task = tokio::spawn(async move {
            let doctors = shelf.profiles.all().await;
            let list = doctors.map(|doctors| List::new(doctors, now, begun_after));
            shelf.lock().take_in(begun_after, list)
        });
        let reading = task.map(|outcome| outcome.unwrap_or(Err(Unread))).boxed().shared();
        state.reading = Some((begun_after, reading.clone()));
        reading
    }
}

impl State {
    /// A reading is over. What changed while it went on is laid over it.
    fn take_in(&mut self, begun_after: u64, outcome: Result<List, LoadError>) -> Result<List, Unread> {
        // A later one may have taken its place.
        self.reading.take_if(|(under_way, _)| *under_way == begun_after);
        let mut list = outcome.map_err(|error| {
            tracing::error!(%error, "the list of doctors cannot be read");
            Unread
        })?;
        self.changed.retain(|_, (change, _)| *change > list.begun_after);
        for (doctor, (_, listed)) in &self.changed {
            list.put(doctor, listed.clone());
        }
        self.versions += 1;
        list.version = self.versions;
        if list.begun_after >= self.unseen {
            self.list = Some(list.clone());
        }
        Ok(list)
    }

    /// Shows a doctor as the row was after a change, unless a later look at it is shown already.
    fn show(&mut self, change: u64, doctor: &str, listed: Option<Arc<Listed>>) {
        let is_known = self.list.as_ref().is_some_and(|list| list.begun_after >= change)
            || self.changed.get(doctor).is_some_and(|(later, _)| *later > change);
        let is_wanted = self.list.is_some() || self.reading.is_some();
        if is_known || !is_wanted {
            return;
        }
        if let Some(list) = &mut self.list {
            list.put(doctor, listed.clone());
            self.versions += 1;
            list.version = self.versions;
        }
        self.changed.insert(doctor.to_owned(), (change, listed));
    }
}

impl List {
    fn new(doctors: Vec<PublicDoctor>, read_at: DateTime<Utc>, begun_after: u64) -> Self {
        let doctors = doctors.into_iter().map(|doctor| Arc::new(Listed::new(doctor))).collect();
        Self { doctors: Arc::new(doctors), read_at, begun_after, version: 0 }
    }

    fn put(&mut self, doctor: &str, listed: Option<Arc<Listed>>) {
        let doctors = Arc::make_mut(&mut self.doctors);
        match (doctors.binary_search_by(|other| other.doctor.email.as_str().cmp(doctor)), listed) {
            (Ok(n), Some(listed)) => doctors[n] = listed,
            (Err(n), Some(listed)) => doctors.insert(n, listed),
            (Ok(n), None) => drop(doctors.remove(n)),
            (Err(_), None) => {}
        }
    }

    /// Differs from that of every other list of this process.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// At most `limit` doctors whom the filter lets through and whose address comes after `after`, and whether there
    /// are more.
    pub(crate) fn page(&self, filter: &Filter, after: Option<&str>, limit: usize) -> (Vec<&Listed>, bool) {
        let begin = after
            .map_or(0, |after| self.doctors.partition_point(|listed| listed.doctor.email.as_str() <= after));
        let mut rest = self.doctors[begin..].iter().map(Arc::as_ref).filter(|listed| filter.admits(listed));
        let page = rest.by_ref().take(limit).collect();
        (page, rest.next().is_some())
    }
}

impl Listed {
    fn new(doctor: PublicDoctor) -> Self {
        let PublicDoctor { name, location, specialization, affiliation, .. } = &doctor;
        let searched =
            [name, specialization, location, affiliation].map(|text| text.as_deref().unwrap_or_default());
        Self { specialization: folded(searched[1]), searched: searched.join("\n").to_lowercase(), doctor }
    }
}

impl Filter {
    /// Nothing, or nothing but blanks, asks for everybody.
    pub(crate) fn new(specialization: Option<&str>, search: Option<&str>) -> Self {
        let folded = |text: &str| Some(folded(text)).filter(|text| !text.is_empty());
        Self { specialization: specialization.and_then(folded), search: search.and_then(folded) }
    }

    fn admits(&self, listed: &Listed) -> bool {
        let Self { specialization, search } = self;
        specialization.as_ref().is_none_or(|wanted| *wanted == listed.specialization)
            && search.as_ref().is_none_or(|wanted| listed.searched.contains(wanted))
    }
}

/// A text as it is compared.
fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use futures::future::pending;

    use super::*;

    #[test]
    fn a_reading_that_is_over_leaves_the_later_one() {
        let mut state = State { reading: Some((2, pending().boxed().shared())), ..State::default() };
        for (over, is_left) in [(1, true), (2, false)] {
            assert!(state.take_in(over, Err(LoadError::Unavailable(String::new()))).is_err());
            assert_eq!(state.reading.is_some(), is_left);
        }
    }
}
