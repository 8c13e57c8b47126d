//! Slows those who guess passwords. Failures are counted in windows of a few minutes, each from the first failure on:
//! for an account from one address, for an account from anywhere, and for an address on any account. One guesser thus
//! shuts out itself alone; guesses from many addresses shut out an account for as long as they last, which is what
//! keeps it from being guessed, and at most one window longer.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use persistence::AccountKind;

use crate::config::ThrottleConfig;
use crate::peer::network_of;

/// Counters kept at once: a few megabytes.
const COUNTERS_MAX: usize = 100_000;

/// Counts failed log-ins.
pub(crate) struct Throttle {
    limits: ThrottleConfig,
    window: TimeDelta,
    /// Makes keys of what is counted, so that no address is kept in memory. Its secret is this process's own.
    hasher: RandomState,
    counters: Mutex<HashMap<Key, Counter>>,
}

/// A log-in under way. For its account it counts as a failure until it turns out otherwise, so that guesses made at once
/// are counted before the first of them has failed. For its address it counts when it has failed, or was given up: many
/// people may log in at once behind one address, and how many can is a matter of `limits`.
pub(crate) struct Attempt<'a> {
    throttle: &'a Throttle,
    guessed: [Key; 2],
    /// What is still to be counted.
    address: Option<Key>,
    now: DateTime<Utc>,
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// When the next attempt is let through, at the earliest.
    pub(crate) retry_after: TimeDelta,
}

type Key = u64;

#[derive(Clone, Copy)]
struct Counter {
    since: DateTime<Utc>,
    failures: u32,
}

impl Throttle {
    /// A throttle that has seen nothing.
    pub(crate) fn new(limits: ThrottleConfig) -> Self {
        Self {
            limits,
            window: TimeDelta::from_std(limits.window).unwrap_or(TimeDelta::MAX),
            hasher: RandomState::new(),
            counters: Mutex::default(),
        }
    }

    /// Lets a log-in through, or not.
    pub(crate) fn admit(
        &self,
        kind: AccountKind,
        email: &str,
        peer: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Attempt<'_>, TooMany> {
        let (account, peer) = (email.to_lowercase(), network_of(peer));
        let is_doctor = kind == AccountKind::Doctor;
        let guessed = [
            self.hasher.hash_one((0, is_doctor, &account, peer)),
            self.hasher.hash_one((1, is_doctor, &account)),
        ];
        let address = self.hasher.hash_one((2, peer));
        let limits = [
            (guessed[0], self.limits.per_account_and_address),
            (guessed[1], self.limits.per_account),
            (address, self.limits.per_address),
        ];
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let exhausted = limits.iter().filter_map(|(key, limit)| {
            let counter = counters.get(key).filter(|counter| !self.is_over(counter, now))?;
            (counter.failures >= *limit).then_some(counter.since + self.window - now)
        });
        if let Some(retry_after) = exhausted.max() {
            return Err(TooMany { retry_after });
        }
        guessed.iter().for_each(|key| self.count(&mut counters, *key, now));
        Ok(Attempt { throttle: self, guessed, address: Some(address), now })
    }

    fn count(&self, counters: &mut HashMap<Key, Counter>, key: Key, now: DateTime<Utc>) {
        if counters.len() >= COUNTERS_MAX {
            make_room(counters, now - self.window);
        }
        let counter = counters.entry(key).or_insert(Counter { since: now, failures: 0 });
        if self.is_over(counter, now) {
            *counter = Counter { since: now, failures: 0 };
        }
        counter.failures = counter.failures.saturating_add(1);
    }

    /// Whether a counter's window is over. One that begins far ahead is of a clock that has been set back since; one that
    /// begins a little ahead is of an attempt that was let in later and failed sooner.
    fn is_over(&self, counter: &Counter, now: DateTime<Utc>) -> bool {
        (now - counter.since).abs() >= self.window
    }
}

impl Attempt<'_> {
    /// The password was right: this address may forget its failures with this account, but not the others.
    pub(crate) fn succeeded(mut self) {
        let [own, ..] = self.guessed;
        let mut counters = self.throttle.counters.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(&mut counters);
        counters.remove(&own);
    }

    /// Nobody has looked at the password.
    pub(crate) fn withdrawn(mut self) {
        let mut counters = self.throttle.counters.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(&mut counters);
    }

    fn take_back(&mut self, counters: &mut HashMap<Key, Counter>) {
        self.address = None;
        for key in self.guessed {
            if let Some(counter) = counters.get_mut(&key) {
                counter.failures = counter.failures.saturating_sub(1);
                if counter.failures == 0 {
                    counters.remove(&key);
                }
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut counters = self.throttle.counters.lock().unwrap_or_else(PoisonError::into_inner);
            self.throttle.count(&mut counters, address, self.now);
        }
    }
}

/// Forgets what is over; if that is not enough, single failures; if that is not either, everything: whoever can fill
/// this table from so many addresses is not held up by it.
fn make_room(counters: &mut HashMap<Key, Counter>, over: DateTime<Utc>) {
    counters.retain(|_, counter| counter.since > over);
    if counters.len() > COUNTERS_MAX / 2 {
        counters.retain(|_, counter| counter.failures > 1);
    }
    if counters.len() > COUNTERS_MAX / 2 {
        counters.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn throttle() -> Throttle {
        Throttle::new(ThrottleConfig {
            window: Duration::from_secs(300),
            per_account_and_address: 3,
            per_account: 5,
            per_address: 6,
        })
    }

    fn guess(throttle: &Throttle, email: &str, peer: IpAddr, now: DateTime<Utc>) -> bool {
        throttle.admit(AccountKind::User, email, peer, now).is_ok()
    }

    #[test]
    fn an_address_that_guesses_shuts_out_itself_until_the_window_is_over() {
        let throttle = throttle();
        assert!((0..3).all(|_| guess(&throttle, "a@x.com", HOME, NOW)));
        let refused = throttle.admit(AccountKind::User, "A@x.com", HOME, NOW + TimeDelta::seconds(100));
        assert_eq!(refused.err(), Some(TooMany { retry_after: TimeDelta::seconds(200) }));
        assert!(guess(&throttle, "a@x.com", AWAY, NOW), "the owner gets in from elsewhere");
        assert!(throttle.admit(AccountKind::Doctor, "a@x.com", HOME, NOW).is_ok(), "another account");
        assert!(guess(&throttle, "a@x.com", HOME, NOW + TimeDelta::seconds(300)));
    }

    #[test]
    fn guesses_at_one_account_from_many_addresses_are_counted_together() {
        let throttle = throttle();
        let address = |n| IpAddr::from([10, 0, 1, n]);
        assert!((0..5).all(|n| guess(&throttle, "a@x.com", address(n), NOW)));
        assert!(!guess(&throttle, "a@x.com", address(5), NOW));
    }

    #[test]
    fn guesses_of_one_address_at_many_accounts_are_counted_together() {
        let throttle = throttle();
        assert!((0..6).all(|n| guess(&throttle, &format!("{n}@x.com"), HOME, NOW)));
        assert!(!guess(&throttle, "7@x.com", HOME, NOW));
        let neighbour = |n: u128| IpAddr::from((0x2001_0db8 << 96 | n).to_be_bytes());
        assert!((0..6).all(|n| guess(&throttle, &format!("{n}@y.com"), neighbour(n), NOW)));
        assert!(!guess(&throttle, "7@y.com", neighbour(7), NOW), "one network of 64 bits");
    }

    #[test]
    fn a_right_password_is_no_failure_and_neither_is_an_attempt_that_nobody_looked_at() {
        let throttle = throttle();
        for _ in 0..20 {
            throttle.admit(AccountKind::User, "a@x.com", HOME, NOW).map(Attempt::succeeded).unwrap_or(());
            throttle.admit(AccountKind::User, "a@x.com", HOME, NOW).map(Attempt::withdrawn).unwrap_or(());
        }
        assert!(throttle.counters.lock().unwrap().is_empty());
    }

    #[test]
    fn those_who_log_in_at_once_behind_one_address_do_not_shut_each_other_out() {
        let throttle = throttle();
        let admit = |n: u32| throttle.admit(AccountKind::User, &format!("{n}@x.com"), HOME, NOW);
        let crowd: Vec<_> = (0..50).map(admit).collect();
        assert!(crowd.iter().all(Result::is_ok));
        crowd.into_iter().for_each(|attempt| attempt.map(Attempt::succeeded).unwrap_or(()));
        assert!(throttle.counters.lock().unwrap().is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_longer() {
        let throttle = throttle();
        let ahead = NOW + TimeDelta::hours(1);
        assert!((0..3).all(|_| guess(&throttle, "a@x.com", HOME, ahead)));
        assert!(!guess(&throttle, "a@x.com", HOME, ahead));
        assert!((0..3).all(|_| guess(&throttle, "a@x.com", HOME, NOW)));
        assert!(!guess(&throttle, "a@x.com", HOME, NOW), "and it counts on");
    }

    #[test]
    fn an_attempt_that_takes_long_makes_no_failure_of_others_forgotten() {
        let throttle = throttle();
        let slow = throttle.admit(AccountKind::User, "slow@x.com", HOME, NOW);
        let later = NOW + TimeDelta::seconds(1);
        assert!((0..5).all(|n| guess(&throttle, &format!("{n}@x.com"), HOME, later)));
        drop(slow);
        assert!(!guess(&throttle, "7@x.com", HOME, later));
    }

    #[test]
    fn the_table_of_counters_is_bounded() {
        let mut counters: HashMap<Key, Counter> =
            (0..200_000).map(|key| (key, Counter { since: NOW, failures: 2 })).collect();
        make_room(&mut counters, NOW - TimeDelta::seconds(300));
        assert!(counters.is_empty());
    }
}
