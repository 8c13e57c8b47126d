//! The real binary, as a process of its own: raced, killed, deposed, and cut off from its store.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test may panic, and nobody links it")]

mod cluster_harness;
#[path = "../support/eventually.rs"]
mod eventually;
mod harness;
mod load;
mod proxy;
mod reads;
#[path = "../api/zone_files.rs"]
mod zone_files;

mod cluster;
mod first_minute;
mod killing;
mod local_nodes;
mod malformed;
mod partition;
mod racing;
mod rotation;
mod scheduler;
mod starving;
mod stopping;
mod takeover;
mod upgrades;
mod wire;
