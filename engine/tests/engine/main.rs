//! The engine over the reference store, in one actix system on paused time: who gets a seat, what faults do, who owns
//! what, and how activations begin and end.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test may panic, and nobody links it")]

mod harness;

mod cluster;
mod commits;
mod lifecycle;
mod racing;
mod takeover;
mod too_many;
