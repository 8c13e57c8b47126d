//! Who owns which doctors: the ring, its ranges, and the epoch that fences a stale owner off.
//!
//! Knows nothing of calendars. The store checks the epoch on every write: see `persistence/src/dynamo/transact.rs`.

mod node;
mod ownership;
mod range;
mod solo;

pub use node::Node;
pub(crate) use node::Raised;
pub use ownership::{Ownership, Standing};
pub use range::{FencingEpoch, RangeId, Ring};
pub use solo::TakeoverError;
