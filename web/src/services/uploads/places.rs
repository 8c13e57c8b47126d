//! Places for uploads: so many in all, and so many for one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::UserId;

use super::{AT_ONCE, OF_ONE_USER};
use crate::error::ApiError;
use crate::metrics::ActiveUpload;

/// How many uploads each user has under way.
#[derive(Default)]
pub(super) struct Places(Arc<Mutex<UnderWay>>);

type UnderWay = HashMap<UserId, usize>;

/// One upload's place; free again when dropped.
pub(super) struct Taken {
    user: UserId,
    places: Arc<Mutex<UnderWay>>,
    _counted: ActiveUpload,
}

impl Places {
    /// Takes a place, or refuses as busy.
    pub(super) fn take(&self, user: &UserId) -> Result<Taken, ApiError> {
        let mut under_way = lock(&self.0);
        let own = under_way.get(user).copied().unwrap_or(0);
        if own >= OF_ONE_USER || under_way.values().sum::<usize>() >= AT_ONCE {
            return Err(ApiError::Busy);
        }
        under_way.insert(user.clone(), own + 1);
        Ok(Taken { user: user.clone(), places: Arc::clone(&self.0), _counted: ActiveUpload::begin() })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut under_way = lock(&self.places);
        match under_way.get_mut(&self.user) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(under_way.remove(&self.user)),
        }
    }
}

fn lock(places: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user{number}@example.com")).unwrap()
    }

    #[test]
    fn one_user_cannot_take_the_places_of_all() {
        let places = Places::default();
        let mut own: Vec<Taken> = (0..OF_ONE_USER).map(|_| places.take(&user(0)).unwrap()).collect();
        assert!(matches!(places.take(&user(0)), Err(ApiError::Busy)));
        assert!(places.take(&user(1)).is_ok());
        own.pop();
        assert!(places.take(&user(0)).is_ok());
    }

    #[test]
    fn there_is_an_end_to_places_and_they_come_back() {
        let places = Places::default();
        let taken: Vec<Taken> = (0..AT_ONCE).map(|n| places.take(&user(n)).unwrap()).collect();
        assert!(matches!(places.take(&user(AT_ONCE)), Err(ApiError::Busy)));
        drop(taken);
        assert!(lock(&places.0).is_empty());
        assert!(places.take(&user(AT_ONCE)).is_ok());
    }
}
