//! All that knows HTTP, JSON, tokens and environment variables.
//!
//! A call is one straight line. [`startup`] wires the store, the engine and the `routes`; a route leads to a function
//! in `handlers`, which parses, asks and renders; whom it asks is the engine's router, or `services` for what is no
//! doctor's. Everything that goes wrong climbs back as one `ApiError`, which alone knows status codes.
//!
//! This crate knows neither AWS nor the rules of the calendar.

#[doc(hidden)]
pub mod bench;
pub mod commands;
pub mod config;
pub mod http_client;
pub mod local_cluster;
pub mod scheduler;
pub mod startup;
pub mod supervisor;
pub mod telemetry;

mod auth;
mod body;
mod cluster;
mod connections;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod handlers;
mod json;
mod limits;
mod metrics;
mod openapi;
mod origin;
mod outgoing;
mod patience;
mod peer;
mod places;
mod routes;
mod security;
mod server;
mod services;
mod state;
mod static_files;
mod tls;
