//! Who owns which doctors: the ring, its ranges, and the epoch that fences a stale owner off.
//!
//! Knows nothing of calendars. The store checks the epoch on every write: see `persistence/src/dynamo/transact.rs`.

mod ownership;
mod range;
mod takeover;

pub use ownership::{Ownership, Standing};
pub use range::{FencingEpoch, RangeId};
pub(crate) use takeover::Raised;
pub use takeover::{Node, TakeoverError};
