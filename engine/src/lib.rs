//! The booking engine: what a booking is, and what makes it safe.
//!
//! A booking is one straight line. [`Directory::ask`] finds the doctor's live activation, the actor in
//! [`doctor`] asks the [`calendar`] for a decision and hands the event to the [`committer`], which writes it together
//! with others through the [`store`]; the answer comes back the same way, and only after the store has it. [`shard`]
//! says which ranges of doctors are ours and under which epoch.
//!
//! This crate knows neither HTTP nor AWS.

pub mod calendar;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod committer;
pub mod directory;
pub mod doctor;
pub mod error;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod recent;
pub mod runtime;
pub mod shard;
pub mod store;

pub use calendar::{Clinic, Command, DayView, Event, Rejection, Rules, SlotSet, SlotSpan, SlotStart};
pub use chance::{Chance, SeededChance, SystemChance};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cluster::{Membership, Peers, Router, Timing};
pub use directory::Directory;
pub use doctor::Answer;
pub use error::EngineError;
pub use ids::{DoctorId, EventId, IdempotencyKey, NodeId, RequestToken, UserId, is_ignorable};
pub use recent::RecentAnswer;
pub use runtime::{Engine, Parts, Placement};
pub use shard::Standing;
pub use store::{BookingStore, Fences, MemoryStore, Nodes};
