//! Slows those who guess passwords. Failures are counted in windows of a few minutes, each from the first failure on:
//! for an account from one network, for an account from anywhere, and for a network on any account. One guesser thus
//! shuts out itself alone. Guesses from many networks shut the crowd out of an account for as long as they last, which
//! keeps it from being guessed. A device or network that has logged in to the account lately is not of the crowd.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use persistence::AccountKind;

use super::device::DeviceId;
use crate::config::ThrottleConfig;
use crate::peer::Network;

/// Counters kept at once: a few megabytes.
const COUNTERS_MAX: usize = 100_000;
/// Networks of accounts that are remembered at once.
const FAMILIAR_MAX: usize = 100_000;
/// How long a network is remembered after a log-in.
const FAMILIAR_FOR: TimeDelta = TimeDelta::days(7);

/// Counts failed log-ins.
pub(crate) struct Throttle {
    limits: ThrottleConfig,
    window: TimeDelta,
    /// Makes keys of what is counted, so that no address is kept in memory. Its secret is this process's own.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: HashMap<Key, Counter>,
    /// When a network last logged in to an account.
    familiar: HashMap<Key, DateTime<Utc>>,
}

/// A log-in under way. For its account it counts as a failure until it turns out otherwise, so that guesses made at once
/// are counted before the first of them has failed. For its network it counts when it has failed, or was given up: many
/// people may log in at once behind one address, and how many can is a matter of `limits`.
pub(crate) struct Attempt<'a> {
    throttle: &'a Throttle,
    /// Counters of this device, or of this network, on this account.
    own: Vec<Key>,
    /// The counter of all strangers on this account.
    crowd: Option<Key>,
    /// Counters of this network on any account, still to be counted.
    networks: Vec<Key>,
    /// This network with this account.
    home: Key,
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
            state: Mutex::default(),
        }
    }

    /// Lets a log-in through, or not.
    pub(crate) fn admit(
        &self,
        kind: AccountKind,
        email: &str,
        peer: IpAddr,
        device: Option<DeviceId>,
        now: DateTime<Utc>,
    ) -> Result<Attempt<'_>, TooMany> {
        let ThrottleConfig { per_account_and_address, per_account, per_address, .. } = self.limits;
        let (account, network) = ((kind == AccountKind::Doctor, email.to_lowercase()), Network::of(peer));
        let blocks = || network.blocks().map(|(block, growth)| (block, u32::try_from(growth).unwrap_or(1)));
        let own: Vec<(Key, u32)> = match device {
            Some(device) => vec![(self.hasher.hash_one((0, &account, device)), per_account_and_address)],
            None => blocks()
                .map(|(block, growth)| {
                    (self.hasher.hash_one((1, &account, block)), per_account_and_address * growth)
                })
                .collect(),
        };
        let networks: Vec<(Key, u32)> = blocks()
            .map(|(block, growth)| (self.hasher.hash_one((2, block)), per_address * growth))
            .collect();
        let home = self.hasher.hash_one((3, &account, network));
        let mut state = self.lock();
        let is_familiar = device.is_some()
            || state.familiar.get(&home).is_some_and(|seen| (now - *seen).abs() < FAMILIAR_FOR);
        let crowd = (!is_familiar).then(|| (self.hasher.hash_one((4, &account)), per_account));
        let exhausted = own.iter().chain(&crowd).chain(&networks).filter_map(|(key, limit)| {
            let counter = state.counters.get(key).filter(|counter| !self.is_over(counter, now))?;
            (counter.failures >= *limit).then_some(counter.since + self.window - now)
        });
        if let Some(retry_after) = exhausted.max() {
            return Err(TooMany { retry_after });
        }
        own.iter().chain(&crowd).for_each(|(key, _)| self.count(&mut state, *key, now));
        let keys = |limits: Vec<(Key, u32)>| limits.into_iter().map(|(key, _)| key).collect();
        let crowd = crowd.map(|(key, _)| key);
        Ok(Attempt { throttle: self, own: keys(own), crowd, networks: keys(networks), home, now })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, state: &mut State, key: Key, now: DateTime<Utc>) {
        if state.counters.len() >= COUNTERS_MAX {
            make_room(&mut state.counters, now - self.window);
        }
        let counter = state.counters.entry(key).or_insert(Counter { since: now, failures: 0 });
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
    /// The password was right. This device or network may forget its failures with this account, but not the others, and
    /// is no stranger from now on.
    pub(crate) fn succeeded(mut self) {
        let throttle = self.throttle;
        let mut state = throttle.lock();
        self.take_back(&mut state);
        for key in &self.own {
            state.counters.remove(key);
        }
        if state.familiar.len() >= FAMILIAR_MAX {
            state.familiar.retain(|_, seen| self.now - *seen < FAMILIAR_FOR / 2);
        }
        if state.familiar.len() < FAMILIAR_MAX {
            state.familiar.insert(self.home, self.now);
        }
    }

    /// Nobody has looked at the password.
    pub(crate) fn withdrawn(mut self) {
        let throttle = self.throttle;
        self.take_back(&mut throttle.lock());
    }

    fn take_back(&mut self, state: &mut State) {
        self.networks.clear();
        for key in self.own.iter().chain(&self.crowd) {
            if let Some(counter) = state.counters.get_mut(key) {
                counter.failures = counter.failures.saturating_sub(1);
                if counter.failures == 0 {
                    state.counters.remove(key);
                }
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.networks.is_empty() {
            return;
        }
        let mut state = self.throttle.lock();
        for key in &self.networks {
            self.throttle.count(&mut state, *key, self.now);
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
        throttle.admit(AccountKind::User, email, peer, None, now).is_ok()
    }

    #[test]
    fn an_address_that_guesses_shuts_out_itself_until_the_window_is_over() {
        let throttle = throttle();
        assert!((0..3).all(|_| guess(&throttle, "a@x.com", HOME, NOW)));
        let refused = throttle.admit(AccountKind::User, "A@x.com", HOME, None, NOW + TimeDelta::seconds(100));
        assert_eq!(refused.err(), Some(TooMany { retry_after: TimeDelta::seconds(200) }));
        assert!(guess(&throttle, "a@x.com", AWAY, NOW), "the owner gets in from elsewhere");
        assert!(throttle.admit(AccountKind::Doctor, "a@x.com", HOME, None, NOW).is_ok(), "another account");
        assert!(guess(&throttle, "a@x.com", HOME, NOW + TimeDelta::seconds(300)));
    }

    #[test]
    fn guesses_at_one_account_from_many_addresses_are_counted_together() {
        let throttle = throttle();
        let address = |n| IpAddr::from([10, 0, 1, n]);
        assert!((0..5).all(|n| guess(&throttle, "a@x.com", address(n), NOW)));
        assert!(!guess(&throttle, "a@x.com", address(5), NOW));
    }

    /// Ten networks that guess without a pause, as many times as they are let.
    fn besieged() -> Throttle {
        let throttle = throttle();
        for n in 0..10 {
            while guess(&throttle, "a@x.com", IpAddr::from([10, 0, 1, n]), NOW) {}
        }
        assert!(!guess(&throttle, "a@x.com", AWAY, NOW), "a stranger is kept out");
        throttle
    }

    #[test]
    fn a_network_that_has_logged_in_lately_is_let_in_while_a_crowd_guesses() {
        let throttle = throttle();
        throttle.admit(AccountKind::User, "a@x.com", HOME, None, NOW).map(Attempt::succeeded).unwrap();
        for n in 0..10 {
            while guess(&throttle, "a@x.com", IpAddr::from([10, 0, 1, n]), NOW) {}
        }
        assert!(!guess(&throttle, "a@x.com", AWAY, NOW));
        assert!((0..3).all(|_| guess(&throttle, "A@x.com", HOME, NOW)));
        assert!(!guess(&throttle, "a@x.com", HOME, NOW), "it has no more guesses than any other");
        let later = NOW + FAMILIAR_FOR;
        for n in 0..10 {
            while guess(&throttle, "a@x.com", IpAddr::from([10, 0, 1, n]), later) {}
        }
        assert!(!guess(&throttle, "a@x.com", HOME, later), "and is forgotten after a week");
    }

    #[test]
    fn a_device_that_is_known_is_let_in_from_anywhere_while_a_crowd_guesses() {
        let throttle = besieged();
        let device = Some(DeviceId::new(7));
        let admit = |device| throttle.admit(AccountKind::User, "a@x.com", AWAY, device, NOW);
        for _ in 0..20 {
            admit(device).map(Attempt::succeeded).unwrap();
        }
        assert!((0..3).all(|_| admit(device).map(drop).is_ok()));
        assert!(admit(device).is_err(), "a stolen cookie has no more guesses than an address");
        assert!(admit(Some(DeviceId::new(8))).is_ok());
    }

    #[test]
    fn the_table_of_networks_is_bounded() {
        let throttle = throttle();
        let familiar = (0..FAMILIAR_MAX as u64).map(|key| (key, NOW)).collect();
        throttle.lock().familiar = familiar;
        throttle.admit(AccountKind::User, "a@x.com", HOME, None, NOW).map(Attempt::succeeded).unwrap();
        assert_eq!(throttle.lock().familiar.len(), FAMILIAR_MAX);
        let later = NOW + FAMILIAR_FOR / 2;
        throttle.admit(AccountKind::User, "a@x.com", HOME, None, later).map(Attempt::succeeded).unwrap();
        assert_eq!(throttle.lock().familiar.len(), 1);
    }

    #[test]
    fn guesses_of_one_address_at_many_accounts_are_counted_together() {
        let throttle = throttle();
        assert!((0..6).all(|n| guess(&throttle, &format!("{n}@x.com"), HOME, NOW)));
        assert!(!guess(&throttle, "7@x.com", HOME, NOW));
        // Links of one home: a home has twice the allowance of a link.
        let link = |n: u128| IpAddr::from((0x2001_0db8 << 96 | n << 64).to_be_bytes());
        assert!((0..12).all(|n| guess(&throttle, &format!("{n}@y.com"), link(n), NOW)));
        assert!(!guess(&throttle, "13@y.com", link(13), NOW));
        let elsewhere = link(1 << 8);
        assert!(guess(&throttle, "13@y.com", elsewhere, NOW), "another home of the site");
    }

    #[test]
    fn a_right_password_is_no_failure_and_neither_is_an_attempt_that_nobody_looked_at() {
        let throttle = throttle();
        for _ in 0..20 {
            throttle
                .admit(AccountKind::User, "a@x.com", HOME, None, NOW)
                .map(Attempt::succeeded)
                .unwrap_or(());
            throttle
                .admit(AccountKind::User, "a@x.com", HOME, None, NOW)
                .map(Attempt::withdrawn)
                .unwrap_or(());
        }
        assert!(throttle.lock().counters.is_empty());
    }

    #[test]
    fn those_who_log_in_at_once_behind_one_address_do_not_shut_each_other_out() {
        let throttle = throttle();
        let admit = |n: u32| throttle.admit(AccountKind::User, &format!("{n}@x.com"), HOME, None, NOW);
        let crowd: Vec<_> = (0..50).map(admit).collect();
        assert!(crowd.iter().all(Result::is_ok));
        crowd.into_iter().for_each(|attempt| attempt.map(Attempt::succeeded).unwrap_or(()));
        assert!(throttle.lock().counters.is_empty());
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
        let slow = throttle.admit(AccountKind::User, "slow@x.com", HOME, None, NOW);
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
