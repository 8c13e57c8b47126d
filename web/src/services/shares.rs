//! Shares of what there is little of, so that no one caller takes all of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::ApiError;

/// How much each caller holds.
pub(crate) struct Shares<K: Eq + Hash>(Arc<Mutex<HashMap<K, usize>>>);

/// One piece of a caller's share; given back when dropped.
pub(crate) struct Share<K: Eq + Hash> {
    of: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash> Default for Shares<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// Gives one more piece to somebody who holds less than `most`, or refuses as busy.
    pub(crate) fn take(&self, of: &K, most: usize) -> Result<Share<K>, ApiError> {
        let mut held = lock(&self.0);
        let own = held.get(of).copied().unwrap_or(0);
        if own >= most {
            return Err(ApiError::Busy);
        }
        held.insert(of.clone(), own + 1);
        Ok(Share { of: of.clone(), held: Arc::clone(&self.0) })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        match held.get_mut(&self.of) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(held.remove(&self.of)),
        }
    }
}

fn lock<K>(held: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_takes_its_own_share_only_and_nothing_is_kept_of_who_has_gone() {
        let shares = Shares::default();
        let mut own: Vec<_> = (0..3).map(|_| shares.take(&"ada", 3).unwrap()).collect();
        assert!(matches!(shares.take(&"ada", 3), Err(ApiError::Busy)));
        assert!(shares.take(&"bob", 3).is_ok());
        own.pop();
        own.push(shares.take(&"ada", 3).unwrap());
        assert!(shares.take(&"ada", 3).is_err());
        drop(own);
        assert!(lock(&shares.0).is_empty());
    }
}
