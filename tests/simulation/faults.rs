//! What can go wrong, and how often.

use crate::dice::Dice;

/// What can go wrong between a node and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Throttled,
    /// Everything is throttled for a while.
    ThrottledForLong,
    /// Every answer is lost for a while, and some requests land late.
    LostForLong,
    Conflict,
    /// The store calls a request malformed that is not.
    Malformed,
    LostBefore,
    LostAfter,
    LandsLate,
    Silence,
    ReadFailed,
    ReadLags,
    SlowAnswer,
    ClaimRefused,
    ClaimLostBefore,
    ClaimLostAfter,
    Crash,
    Takeover,
    Pause,
    /// A node reaches its clients and not the store.
    CutFromStore,
    /// A node reaches the store and no other node.
    CutFromPeers,
    PeerLostBefore,
    PeerLostAfter,
    GracefulStop,
    Passivation,
    /// The old platform writes a row beside us.
    ForeignWrite,
    ClientGaveUp,
    ClockSkew,
}

/// How often things go wrong, of a thousand requests.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub throttled: usize,
    pub conflict: usize,
    pub lost: usize,
    pub silence: usize,
    pub read_failed: usize,
    pub lag: usize,
    pub slow: usize,
    pub claim: usize,
    /// The store answers before anybody else does anything.
    pub instant: bool,
}

/// Kinds of faults that can be left out to see which of them a failure needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Store,
    Nemesis,
}

pub const FAMILIES: [Family; 2] = [Family::Store, Family::Nemesis];

impl Weather {
    pub const CALM: Self = Self {
        throttled: 0,
        conflict: 0,
        lost: 0,
        silence: 0,
        read_failed: 0,
        lag: 0,
        slow: 0,
        claim: 0,
        instant: false,
    };

    pub fn draw(dice: &Dice) -> Self {
        let level = *dice.pick(&[0, 1, 3, 6, 10]);
        let some = |most: usize| level * dice.below(most + 1);
        Self {
            throttled: some(20),
            conflict: some(40),
            lost: some(25),
            silence: some(4),
            read_failed: some(15),
            lag: some(60),
            slow: some(30),
            claim: some(25),
            instant: dice.permille(100),
        }
    }
}
