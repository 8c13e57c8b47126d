//! Writes, one at a time, and their way to the disk together.
//!
//! A write looks at the rows as they will be: those on the disk, under those that were written since. What it changes joins the
//! next *generation*; a thread takes that, writes it in one piece with one flush, and wakes whoever waits for it. So the disk is
//! flushed once for all that came meanwhile, and nobody holds the lock while it is.
//!
//! Whatever an answer rests on is on the disk first: a refusal waits too while there is anything that is not. Reads see only
//! what is on the disk. A generation that cannot be written takes with it all that was decided on top of it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use tokio::sync::oneshot;

use crate::error::Refusal;
use crate::storage::{Failed, Rows, Slice, Storage};

/// How long a storage that failed is left alone before it is tried again.
const RECOVER_EVERY: Duration = Duration::from_millis(500);
/// How long a token is known, in milliseconds.
const TOKEN_LIFE: u64 = 10 * 60 * 1000;
/// Tokens that are known at once: some four megabytes. Beyond that the oldest go early, after a few minutes of several
/// hundred transactions a second.
const TOKENS_MAX: usize = 1 << 16;

/// Rows that are kept since they are looked at again and again, and the bytes of one: a megabyte of them.
const FAMILIAR_MAX: usize = 1024;
const FAMILIAR_BYTES: usize = 1024;

/// Requests that wait for the disk at once; one more is refused as too much.
const WAITING_MAX: usize = 4096;

/// What is written together.
#[derive(Default)]
struct Generation {
    rows: Rows,
    waiters: Vec<oneshot::Sender<Result<(), Failed>>>,
    tokens: Vec<u128>,
}

#[derive(Default)]
struct State {
    next: Generation,
    /// What the disk is being given.
    in_flight: Option<Arc<Rows>>,
    /// Rows as they are in the storage. Nothing that is under way changes one of them.
    familiar: HashMap<Slice, Slice>,
    tokens: Tokens,
    is_stopping: bool,
}

/// Rows, and who may write them when.
pub(crate) struct Commits {
    storage: Box<dyn Storage>,
    /// Without a thread that writes: the storage does it at once.
    is_direct: bool,
    state: Mutex<State>,
    wake: Condvar,
}

/// The rows as they will be when all that is under way is written.
pub(crate) struct Pending<'s> {
    state: &'s mut State,
    storage: &'s dyn Storage,
}

/// Waits for the disk, if need be, and answers.
#[must_use]
pub(crate) struct Waiting<T> {
    outcome: Result<T, Refusal>,
    written: Option<oneshot::Receiver<Result<(), Failed>>>,
}

impl<T> Waiting<T> {
    pub(crate) async fn answer(self) -> Result<T, Refusal> {
        match self.written {
            None => self.outcome,
            Some(written) => match written.await {
                Ok(Ok(())) => self.outcome,
                Ok(Err(Failed)) | Err(_) => Err(Refusal::Broken),
            },
        }
    }
}

impl Pending<'_> {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Slice>, Refusal> {
        match self.state.under_way(key) {
            Some(pending) => Ok(pending.clone()),
            None => Ok(self.storage.get(key)?),
        }
    }

    /// The same of a row that the next write will ask for too, as each does for its fences. Most of what such a look costs is
    /// the way through the storage, so the row is kept until it is written.
    pub(crate) fn get_familiar(&mut self, key: &Slice) -> Result<Option<Slice>, Refusal> {
        if let Some(familiar) = self.state.familiar.get(key) {
            return Ok(Some(familiar.clone()));
        }
        if let Some(pending) = self.state.under_way(key) {
            return Ok(pending.clone());
        }
        let found = self.storage.get(key)?;
        if let Some(row) = found.as_ref().filter(|row| row.len() <= FAMILIAR_BYTES) {
            if self.state.familiar.len() >= FAMILIAR_MAX {
                self.state.familiar.clear();
            }
            // Not the block of the file that it is a part of.
            self.state.familiar.insert(key.clone(), Slice::from(&**row));
        }
        Ok(found)
    }

    /// Writes a row, or deletes it.
    pub(crate) fn set(&mut self, key: impl Into<Slice>, value: Option<Slice>) {
        let key = key.into();
        self.state.familiar.remove(&key);
        self.state.next.rows.insert(key, value);
    }

    /// What the token stood for before, if it is still known.
    pub(crate) fn token(&mut self, token: u128, now: u64) -> Option<u128> {
        self.state.tokens.get(token, now)
    }

    pub(crate) fn remember(&mut self, token: u128, meaning: u128, now: u64) {
        self.state.tokens.insert(token, meaning, now);
        self.state.next.tokens.push(token);
    }
}

impl Commits {
    pub(crate) fn new(storage: Box<dyn Storage>, is_direct: bool) -> Self {
        Self { storage, is_direct, state: Mutex::default(), wake: Condvar::new() }
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Does what `plan` says to the rows, alone. It must not set anything if it refuses.
    pub(crate) fn write<T>(&self, plan: impl FnOnce(&mut Pending<'_>) -> Result<T, Refusal>) -> Waiting<T> {
        let mut state = self.lock();
        if state.is_stopping {
            return Waiting { outcome: Err(Refusal::Broken), written: None };
        }
        if state.next.waiters.len() >= WAITING_MAX {
            return Waiting { outcome: Err(Refusal::Throttled), written: None };
        }
        let outcome = plan(&mut Pending { state: &mut state, storage: self.storage() });
        if self.is_direct {
            let rows = std::mem::take(&mut state.next).rows;
            let written = self.storage.write(&rows);
            return Waiting { outcome: written.map_err(Refusal::from).and(outcome), written: None };
        }
        if state.next.rows.is_empty() && state.in_flight.is_none() {
            return Waiting { outcome, written: None };
        }
        let (done, written) = oneshot::channel();
        state.next.waiters.push(done);
        drop(state);
        self.wake.notify_one();
        Waiting { outcome, written: Some(written) }
    }

    /// Writes generation after generation, until told to stop and nothing is left. `recovered` is called when the storage has
    /// been had again after a failure, and what is in it may not be what was believed.
    pub(crate) fn run(&self, recovered: impl Fn() -> Result<(), Failed>) {
        let _ended = Ended(self);
        while let Some((Generation { rows, waiters, tokens }, rows_shared)) = self.take() {
            debug_assert!(rows.is_empty(), "they are shared");
            let written = if rows_shared.is_empty() { Ok(()) } else { self.storage.write(&rows_shared) };
            let mut state = self.lock();
            state.in_flight = None;
            if written.is_err() {
                state.tokens.forget(&tokens);
                state.fail();
            }
            drop(state);
            for waiter in waiters {
                // Whoever does not wait any more need not know.
                let _ = waiter.send(written);
            }
            if written.is_err() {
                self.recover(&recovered);
            }
        }
    }

    /// Tries until the storage is there again. Meanwhile everything fails at once.
    fn recover(&self, recovered: &impl Fn() -> Result<(), Failed>) {
        while self.storage.recover().and_then(|()| recovered()).is_err() {
            let state = self.lock();
            let waited = self.wake.wait_timeout_while(state, RECOVER_EVERY, |state| {
                state.fail();
                !state.is_stopping
            });
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_stopping {
                return;
            }
        }
        // What was decided meanwhile may rest on tables that are not there.
        self.lock().fail();
    }

    /// The next generation, once there is one.
    fn take(&self) -> Option<(Generation, Arc<Rows>)> {
        let state = self.lock();
        let waited = self.wake.wait_while(state, |state| {
            state.next.rows.is_empty() && state.next.waiters.is_empty() && !state.is_stopping
        });
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let mut generation = std::mem::take(&mut state.next);
        if generation.rows.is_empty() && generation.waiters.is_empty() {
            return None;
        }
        // As many come again, more or less.
        state.next.rows = Rows::with_capacity(generation.rows.len());
        let rows = Arc::new(std::mem::take(&mut generation.rows));
        state.in_flight = Some(Arc::clone(&rows));
        Some((generation, rows))
    }

    /// Nothing more is written than what was decided already.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
        self.wake.notify_all();
    }

    /// Whoever panicked did so before or after a change, not within one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody writes any more: whoever waits is told, also where the thread has died.
struct Ended<'c>(&'c Commits);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_stopping = true;
        state.in_flight = None;
        state.fail();
    }
}

impl State {
    /// The row as it will be, if that is not how it is.
    fn under_way(&self, key: &[u8]) -> Option<&Option<Slice>> {
        let in_flight = || self.in_flight.as_ref().and_then(|rows| rows.get(key));
        self.next.rows.get(key).or_else(in_flight)
    }

    /// Fails what was decided and cannot be written. What the storage has may be something else now.
    fn fail(&mut self) {
        self.familiar.clear();
        let Generation { waiters, tokens, .. } = std::mem::take(&mut self.next);
        self.tokens.forget(&tokens);
        for waiter in waiters {
            let _ = waiter.send(Err(Failed));
        }
    }
}

impl From<Failed> for Refusal {
    fn from(Failed: Failed) -> Self {
        Self::Broken
    }
}

/// What the tokens of the last minutes stood for. They are hashes, of which no two in ten minutes are the same.
#[derive(Default)]
struct Tokens {
    meanings: HashMap<u128, u128>,
    /// When each was used, the oldest first.
    aging: VecDeque<(u64, u128)>,
}

impl Tokens {
    fn get(&mut self, token: u128, now: u64) -> Option<u128> {
        let is_old = |(used, _): &mut (u64, u128)| now.saturating_sub(*used) > TOKEN_LIFE;
        while let Some((_, token)) = self.aging.pop_front_if(is_old) {
            self.meanings.remove(&token);
        }
        self.meanings.get(&token).copied()
    }

    fn insert(&mut self, token: u128, meaning: u128, now: u64) {
        if self.aging.len() >= TOKENS_MAX
            && let Some((_, oldest)) = self.aging.pop_front()
        {
            self.meanings.remove(&oldest);
        }
        self.aging.push_back((now, token));
        self.meanings.insert(token, meaning);
    }

    fn forget(&mut self, tokens: &[u128]) {
        for token in tokens {
            self.meanings.remove(token);
        }
    }
}

#[cfg(test)]
mod tests;
