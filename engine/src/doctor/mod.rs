//! The shell around the core: one actor owns one doctor's calendar, and serialises what is asked of it.
//!
//! It reads the clock once for a message, asks the calendar, hands events to the committer and answers when they are
//! stored. It knows neither HTTP nor DynamoDB.

mod activation;
mod actor;
mod messages;
mod published;

pub use messages::Answer;

pub(crate) use actor::DoctorActor;
pub(crate) use messages::{Execute, Passivate, PassivationReason, ReloadReason, Reply, Undone, View};
pub(crate) use published::Published;
