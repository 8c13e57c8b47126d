//! Drives load over HTTP/1.1 against one server's booking calls, measures it, and checks that what the server
//! acknowledged is there. It knows the REST contract and no server.
//!
//! Open loop: calls are due at times that are fixed before the first answer, and a call's latency counts from when it was
//! due. So a server that stalls is charged for everybody who would have come meanwhile (no coordinated omission).
//! Closed loop: so many clients, each of whom calls again when it is answered. That finds the peak throughput, and its
//! latencies hold for those clients only.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use anyhow::Context;
//! use load::{Check, Draw, Mix, Pace, Patients, Run, Site};
//! let site = Site {
//!     url: "http://127.0.0.1:8080".to_owned(),
//!     secret: vec![b'x'; 32],
//!     doctors: (0..1_000).map(|number| format!("doctor{number}@clinic.example")).collect(),
//!     dates: load::dates_from_tomorrow(&engine::Clinic::compiled_in("Asia/Kolkata").context("no zone")?),
//!     starts: load::every_half_hour(),
//!     users: 512,
//!     threads: 2,
//! };
//! let mut patients = Patients::new(site)?; // one for each server: it knows which seats are taken there
//! let peak = patients.drive(&Run {
//!     name: "kokoro, book".to_owned(),
//!     mix: Mix { book: 1, ..Mix::NONE },
//!     pace: Pace::Closed { clients: 256 },
//!     draw: Draw::Uniform,
//!     warm_up: Duration::from_secs(2),
//!     duration: Duration::from_secs(10),
//!     ..Run::default()
//! })?;
//! println!("{:.0} bookings a second", peak.rate(load::Call::Book));
//! patients.check(Check::Users)?;
//! load::report::write("target/load".as_ref(), "Load", &[peak.summary()])?;
//! # Ok(())
//! # }
//! ```

mod alarm;
mod chance;
mod chart;
mod check;
mod client;
mod measured;
mod patients;
mod record;
pub mod report;
mod requests;
mod run;
mod seats;
mod set_up;
mod site;
mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use chart::{Chart, Curve, Scale};
pub use check::{Check, Checked};
pub use measured::{Answer, CallSummary, Measured, Second, Summary};
pub use patients::Patients;
pub use run::{Call, Draw, Mix, Pace, Run};
pub use set_up::set_up;
pub use site::{Site, dates_from_tomorrow, every_half_hour};
pub use table::table;
