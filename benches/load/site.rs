//! The server under load, and what may be booked there.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use chrono::{Days, NaiveDate};
use engine::limits::{BOOKING_WINDOW_DAYS, SEATS_PER_SLOT};
use engine::{Clinic, Clock, SystemClock};

/// How many doctors or users there may be.
const PEOPLE_MAX: usize = 1_000_000;
/// How many threads may make calls.
const THREADS_MAX: usize = 64;

/// A server under load, and what may be booked there.
#[derive(Clone)]
pub struct Site {
    /// `http://`, a loopback address and port, and maybe a path before `/doctorBookings`.
    pub url: String,
    /// What tokens are signed with (HS256).
    pub secret: Vec<u8>,
    /// Addresses of doctors that exist there.
    pub doctors: Vec<String>,
    /// Dates to book on.
    pub dates: Vec<NaiveDate>,
    /// Starts of slots (`HH:MM`) that all doctors offer on all these dates.
    pub starts: Vec<String>,
    /// How many patients there are, of a token each.
    pub users: usize,
    /// Threads that make the calls; connections are shared out among them.
    pub threads: usize,
}

impl Site {
    /// Where it listens, and the path before its calls. Only this machine is ever put under load.
    pub(crate) fn address(&self) -> anyhow::Result<(SocketAddr, &str)> {
        let rest = self.url.strip_prefix("http://").context("the address begins with http://")?;
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = address.parse().context("the address is no IP address with a port")?;
        ensure!(address.ip().is_loopback(), "only servers on this machine are put under load");
        Ok((address, path.trim_end_matches('/')))
    }

    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        ensure!((1..=PEOPLE_MAX).contains(&self.doctors.len()), "1 to {PEOPLE_MAX} doctors");
        ensure!(
            (SEATS_PER_SLOT..=PEOPLE_MAX).contains(&self.users),
            "{SEATS_PER_SLOT} to {PEOPLE_MAX} users"
        );
        ensure!((1..=THREADS_MAX).contains(&self.threads), "1 to {THREADS_MAX} threads");
        ensure!((1..=BOOKING_WINDOW_DAYS as usize + 1).contains(&self.dates.len()), "dates of the window");
        ensure!((1..=48).contains(&self.starts.len()), "1 to 48 starts");
        Ok(())
    }
}

/// Dates that can be booked, on the clinic's calendar, also when midnight passes meanwhile: neither today nor the last day.
pub fn dates_from_tomorrow(clinic: &Clinic) -> Vec<NaiveDate> {
    let today = clinic.today(SystemClock.now());
    (1..BOOKING_WINDOW_DAYS).map(|days| today + Days::new(days)).collect()
}

/// The 48 half hours of a day.
pub fn every_half_hour() -> Vec<String> {
    (0..48).map(|slot| format!("{:02}:{:02}", slot / 2, slot % 2 * 30)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_put_under_load() {
        let address = |url: &str| {
            let site = Site {
                url: url.to_owned(),
                secret: Vec::new(),
                doctors: Vec::new(),
                dates: Vec::new(),
                starts: Vec::new(),
                users: 0,
                threads: 1,
            };
            site.address().ok().map(|(address, path)| format!("{address} {path}"))
        };
        assert_eq!(address("http://127.0.0.1:8080").as_deref(), Some("127.0.0.1:8080 "));
        assert_eq!(address("http://[::1]:80/unchecked/").as_deref(), Some("[::1]:80 /unchecked"));
        for elsewhere in
            ["http://192.0.2.1:80", "http://kokoro.example:80", "https://127.0.0.1:1", "http://0.0.0.0:80"]
        {
            assert_eq!(address(elsewhere), None, "{elsewhere}");
        }
    }
}
