//! How many requests a client may make: by address, by account, and fewer of the calls that cost much. GCRA, so that
//! an allowance comes back bit by bit instead of all at once.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::Clock;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::auth::Caller;
use crate::config::LimitsConfig;
use crate::peer::{BLOCKS_V6, Network};

/// Buckets of a limit on all requests: clients are told apart by a hash of so many values. A mebibyte each.
const BUCKETS: u64 = 1 << 17;
/// The same of a limit on costly calls.
const BUCKETS_OF_COSTLY: u64 = 1 << 15;

/// A wall clock that goes back by more than this is taken to have been set back, in microseconds. Less is two threads
/// that read it in one order and report it in the other.
const SET_BACK: u64 = 1_000_000;

/// Calls that cost more than others, of which an address may make fewer. Put on a route with `app_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Costly {
    /// Creates an account.
    SignUp,
    /// Looks at a password.
    LogIn,
    /// Sends files.
    Upload,
    /// Asks Razorpay.
    Payment,
    /// Asks the model for somebody without an account.
    VisitorChat,
    /// Comes from Razorpay, which has a few addresses for all patients.
    Webhook,
}

/// A client has made too many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyRequests {
    /// When the next one is let through, at the earliest.
    pub(crate) retry_after: Duration,
}

/// Counts requests; counts nothing when limits are off.
pub(crate) struct Limits(Option<Limiters>);

struct Limiters {
    /// Makes keys of what is counted, so that no address is kept in memory. Its secret is this process's own.
    hasher: RandomState,
    addresses: ByNetwork,
    accounts: Limiter,
    sign_ups: ByNetwork,
    log_ins: ByNetwork,
    uploads: ByNetwork,
    payments: ByNetwork,
    visitor_chats: ByNetwork,
    webhooks: ByNetwork,
}

impl Limits {
    /// Limits that nobody has used yet.
    pub(crate) fn new(config: LimitsConfig, clock: Arc<dyn Clock>) -> Self {
        let ticks = Ticks(Arc::new(Monotonic { clock, latest: AtomicU64::new(0), lost: AtomicU64::new(0) }));
        Self(config.per_minute.map(|usual| {
            let part = |n: u32| NonZeroU32::new(usual.get() / n).unwrap_or(NonZeroU32::MIN);
            let costly = |per_minute| ByNetwork::new(per_minute, BUCKETS_OF_COSTLY, &ticks);
            Limiters {
                hasher: RandomState::new(),
                addresses: ByNetwork::new(usual, BUCKETS, &ticks),
                accounts: Limiter::new(usual, BUCKETS, ticks.clone()),
                sign_ups: costly(part(10)),
                log_ins: costly(part(5)),
                uploads: costly(part(10)),
                payments: costly(part(10)),
                visitor_chats: costly(part(30)),
                webhooks: costly(usual.saturating_mul(NonZeroU32::MIN.saturating_add(9))),
            }
        }))
    }

    /// Counts a request of an address.
    pub(crate) fn address(&self, peer: IpAddr) -> Result<(), TooManyRequests> {
        let Some(limiters) = &self.0 else { return Ok(()) };
        limiters.addresses.check(&limiters.hasher, Network::of(peer))
    }

    /// Counts a request of an account. A doctor and a user of one address are two.
    pub(crate) fn account(&self, caller: &Caller) -> Result<(), TooManyRequests> {
        let Some(limiters) = &self.0 else { return Ok(()) };
        let is_doctor = matches!(caller, Caller::Doctor(_));
        limiters.accounts.check(limiters.hasher.hash_one((is_doctor, caller.address())))
    }

    /// Counts a costly call of an address.
    pub(crate) fn costly(&self, call: Costly, peer: IpAddr) -> Result<(), TooManyRequests> {
        let Some(limiters) = &self.0 else { return Ok(()) };
        let limiter = match call {
            Costly::SignUp => &limiters.sign_ups,
            Costly::LogIn => &limiters.log_ins,
            Costly::Upload => &limiters.uploads,
            Costly::Payment => &limiters.payments,
            Costly::VisitorChat => &limiters.visitor_chats,
            Costly::Webhook => &limiters.webhooks,
        };
        limiter.check(&limiters.hasher, Network::of(peer))
    }
}

/// One limit on many networks: a limiter for each width of block.
struct ByNetwork([Limiter; BLOCKS_V6.len()]);

impl ByNetwork {
    fn new(per_minute: NonZeroU32, buckets: u64, ticks: &Ticks) -> Self {
        Self(BLOCKS_V6.map(|(_, growth)| {
            let growth = u32::try_from(growth).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
            Limiter::new(per_minute.saturating_mul(growth), buckets, ticks.clone())
        }))
    }

    fn check(&self, hasher: &RandomState, network: Network) -> Result<(), TooManyRequests> {
        let mut blocks = network.blocks().zip(&self.0);
        blocks.try_for_each(|((block, _), limiter)| limiter.check(hasher.hash_one(block)))
    }
}

/// One limit on many clients.
struct Limiter(RateLimiter<u64, Buckets, Ticks, NoOpMiddleware<Nanos>>);

impl Limiter {
    fn new(per_minute: NonZeroU32, buckets: u64, ticks: Ticks) -> Self {
        let buckets = (0..buckets).map(|_| InMemoryState::default()).collect();
        Self(RateLimiter::new(Quota::per_minute(per_minute), Buckets(buckets), ticks))
    }

    fn check(&self, key: u64) -> Result<(), TooManyRequests> {
        self.0.check_key(&key).map_err(|refusal| {
            let retry_after = refusal.wait_time_from(self.0.clock().now());
            TooManyRequests { retry_after }
        })
    }
}

/// What clients have used, one number for each of a fixed number of buckets. So the memory is bounded without anybody
/// having to forget in time. Two clients in one bucket share an allowance, which is rare, and nobody can bring it about.
struct Buckets(Box<[InMemoryState]>);

impl StateStore for Buckets {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let bucket = *key % self.0.len() as u64;
        self.0[bucket as usize].measure_and_replace(&NotKeyed::NonKey, f)
    }
}

/// The time of day, for the limiters.
#[derive(Clone)]
struct Ticks(Arc<Monotonic>);

/// A clock that goes on when the wall clock is set back: nobody is shut out until it has caught up.
struct Monotonic {
    clock: Arc<dyn Clock>,
    /// What the wall clock showed last, in microseconds.
    latest: AtomicU64,
    /// By how much it has been set back, in microseconds.
    lost: AtomicU64,
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let Monotonic { clock, latest, lost } = &*self.0;
        let shown = u64::try_from(clock.now().timestamp_micros()).unwrap_or(0);
        let before = latest.swap(shown, Ordering::Relaxed);
        if before > shown + SET_BACK {
            lost.fetch_add(before - shown, Ordering::Relaxed);
        }
        Nanos::from((shown + lost.load(Ordering::Relaxed)) * 1000)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use engine::{ManualClock, UserId};

    use super::*;

    fn limits(per_minute: u32) -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
        (Limits::new(LimitsConfig { per_minute: NonZeroU32::new(per_minute) }, clock.clone()), clock)
    }

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    /// How many of a hundred requests are let through.
    fn let_through(check: impl Fn() -> Result<(), TooManyRequests>) -> usize {
        (0..100).filter(|_| check().is_ok()).count()
    }

    #[test]
    fn an_address_has_its_allowance_and_gets_it_back_bit_by_bit() {
        let (limits, clock) = limits(30);
        assert_eq!(let_through(|| limits.address(address(1))), 30);
        assert_eq!(let_through(|| limits.address(address(2))), 30, "another address");
        let refused = limits.address(address(1));
        assert_eq!(refused, Err(TooManyRequests { retry_after: Duration::from_secs(2) }));
        clock.advance(TimeDelta::seconds(2));
        assert_eq!(let_through(|| limits.address(address(1))), 1);
        clock.advance(TimeDelta::seconds(60));
        assert_eq!(let_through(|| limits.address(address(1))), 30);
    }

    #[test]
    fn the_blocks_of_ipv6_have_growing_allowances() {
        let (limits, _) = limits(10);
        let passed = |width: u32| {
            let address =
                |n: u128| IpAddr::from((u128::from(0x2001_0000 + width) << 96 | n << width).to_be_bytes());
            (0..200).filter(|n| limits.address(address(*n)).is_ok()).count()
        };
        assert_eq!(passed(0), 10, "addresses of one link");
        assert_eq!(passed(64), 20, "links of one home");
        assert_eq!(passed(72), 40, "homes of one site");
        assert_eq!(passed(80), 200, "sites");
    }

    #[test]
    fn an_account_has_an_allowance_wherever_it_calls_from() {
        let (limits, _) = limits(30);
        let ada = Caller::User(UserId::parse("ada@x.com").unwrap());
        let twin = Caller::Doctor(engine::DoctorId::parse("ada@x.com").unwrap());
        assert_eq!(let_through(|| limits.account(&ada)), 30);
        assert_eq!(let_through(|| limits.account(&twin)), 30);
    }

    #[test]
    fn of_costly_calls_there_are_fewer_and_webhooks_are_many() {
        let (limits, _) = limits(60);
        for (call, expected) in [
            (Costly::SignUp, 6),
            (Costly::LogIn, 12),
            (Costly::Upload, 6),
            (Costly::Payment, 6),
            (Costly::VisitorChat, 2),
            (Costly::Webhook, 100),
        ] {
            assert_eq!(let_through(|| limits.costly(call, address(1))), expected, "{call:?}");
        }
        let (tiny, _) = self::limits(1);
        assert_eq!(let_through(|| tiny.costly(Costly::SignUp, address(1))), 1, "not none");
    }

    #[test]
    fn limits_that_are_off_let_everybody_through() {
        let (limits, _) = limits(0);
        assert_eq!(let_through(|| limits.address(address(1))), 100);
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let (limits, clock) = limits(30);
        assert_eq!(let_through(|| limits.address(address(1))), 30);
        clock.advance(TimeDelta::hours(-3));
        assert_eq!(let_through(|| limits.address(address(1))), 0, "and gives nothing away");
        clock.advance(TimeDelta::seconds(60));
        assert_eq!(let_through(|| limits.address(address(1))), 30);
    }
}
