//! Places for uploads: so many in all, and so many for one user.

use std::sync::Arc;

use engine::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AT_ONCE, OF_ONE_USER};
use crate::error::ApiError;
use crate::metrics::ActiveUpload;
use crate::services::shares::{Share, Shares};

/// Who has how many uploads under way.
pub(super) struct Places {
    free: Arc<Semaphore>,
    of_users: Shares<UserId>,
}

/// One upload's place; free again when dropped.
pub(super) struct Taken {
    _share: Share<UserId>,
    _place: OwnedSemaphorePermit,
    _counted: ActiveUpload,
}

impl Places {
    /// All places, free.
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(AT_ONCE)), of_users: Shares::default() }
    }

    /// Takes a place, or refuses as busy.
    pub(super) fn take(&self, user: &UserId) -> Result<Taken, ApiError> {
        let share = self.of_users.take(user, OF_ONE_USER)?;
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(|_| ApiError::Busy)?;
        Ok(Taken { _share: share, _place: place, _counted: ActiveUpload::begin() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user{number}@example.com")).unwrap()
    }

    #[test]
    fn one_user_cannot_take_the_places_of_all() {
        let places = Places::new();
        let mut own: Vec<Taken> = (0..OF_ONE_USER).map(|_| places.take(&user(0)).unwrap()).collect();
        assert!(matches!(places.take(&user(0)), Err(ApiError::Busy)));
        assert!(places.take(&user(1)).is_ok());
        own.pop();
        assert!(places.take(&user(0)).is_ok());
    }

    #[test]
    fn there_is_an_end_to_places_and_they_come_back() {
        let places = Places::new();
        let taken: Vec<Taken> = (0..AT_ONCE).map(|n| places.take(&user(n)).unwrap()).collect();
        assert!(matches!(places.take(&user(AT_ONCE)), Err(ApiError::Busy)));
        drop(taken);
        assert!(places.take(&user(AT_ONCE)).is_ok());
    }
}
