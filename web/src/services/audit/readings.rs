//! Which looks at whose bookings have their entry in the audit trail already: clients that ask again every few seconds
//! leave one entry an hour, not thousands.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use persistence::AuditParty;

/// Readings remembered at once: a few megabytes. Past it all are forgotten, which costs entries, and loses none.
const READINGS_MAX: usize = 200_000;

const SECONDS_PER_HOUR: i64 = 3600;

/// The readings of the present hour.
#[derive(Default)]
pub(super) struct Readings {
    /// Makes keys of who reads whom, so that no address is kept. Its secret is this process's own.
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    hour: i64,
    keys: HashSet<u64>,
}

impl Readings {
    /// Whether there is an entry of this hour.
    pub(super) fn is_known(&self, reader: &AuditParty, owner: &AuditParty, now: DateTime<Utc>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.hour == hour(now) && known.keys.contains(&self.hasher.hash_one((reader, owner)))
    }

    /// There is one from now on.
    pub(super) fn remember(&self, reader: &AuditParty, owner: &AuditParty, now: DateTime<Utc>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.hour != hour(now) || known.keys.len() >= READINGS_MAX {
            *known = Known { hour: hour(now), keys: HashSet::new() };
        }
        known.keys.insert(self.hasher.hash_one((reader, owner)));
    }

    /// There may be none after all.
    pub(super) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }
}

fn hour(now: DateTime<Utc>) -> i64 {
    now.timestamp().div_euclid(SECONDS_PER_HOUR)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use engine::{DoctorId, UserId};

    use super::*;

    fn doctor() -> AuditParty {
        AuditParty::Doctor(DoctorId::parse("0@x.com").unwrap())
    }

    fn user(n: usize) -> AuditParty {
        AuditParty::User(UserId::parse(&format!("{n}@x.com")).unwrap())
    }

    #[test]
    fn a_reading_is_known_for_the_rest_of_its_hour_and_to_its_pair_alone() {
        let readings = Readings::default();
        let (doctor, user) = (doctor(), user(0));
        let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(30);
        assert!(!readings.is_known(&doctor, &user, now));
        readings.remember(&doctor, &user, now);
        assert!(readings.is_known(&doctor, &user, now + TimeDelta::minutes(29)));
        assert!(!readings.is_known(&doctor, &user, now + TimeDelta::minutes(30)));
        assert!(!readings.is_known(&user, &user, now) && !readings.is_known(&user, &doctor, now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (readings, now) = (Readings::default(), DateTime::UNIX_EPOCH);
        let doctor = doctor();
        for n in 0..=READINGS_MAX {
            readings.remember(&doctor, &user(n), now);
        }
        assert_eq!(readings.known.lock().unwrap().keys.len(), 1);
    }
}
