//! Requests as bytes, of parts that are made in advance.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use chrono::{DateTime, TimeDelta};
use engine::{Clock, SystemClock};
use ring::hmac;
use serde_json::json;

use crate::run::Call;
use crate::seats::Seat;
use crate::site::Site;

/// How long tokens live: longer than any run.
const TOKEN_LIFE: TimeDelta = TimeDelta::hours(12);

/// A call, with what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Available { doctor: u32, date: u32 },
    Book(Seat),
    Cancel(Seat),
    User(u32),
}

/// What every request is put together from.
pub(crate) struct Requests {
    /// By call, up to the token.
    heads: [String; 4],
    /// By user: the header that names it.
    tokens: Vec<String>,
    /// Addresses as JSON strings.
    users: Vec<String>,
    doctors: Vec<String>,
    dates: Vec<String>,
    starts: Vec<String>,
}

impl Ask {
    pub(crate) const fn call(self) -> Call {
        match self {
            Self::Available { .. } => Call::Available,
            Self::Book(_) => Call::Book,
            Self::Cancel(_) => Call::Cancel,
            Self::User(_) => Call::User,
        }
    }
}

impl Requests {
    pub(crate) fn new(site: &Site) -> anyhow::Result<Self> {
        let (address, prefix) = site.address()?;
        let now = SystemClock.now();
        // Fresh addresses each time: nobody meets bookings of an earlier run.
        let tag = now.timestamp_millis();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &site.secret);
        let users = (0..site.users).map(|number| format!("patient{number}.{tag}@example.com"));
        let users: Vec<String> = users.collect();
        Ok(Self {
            heads: Call::ALL
                .map(|call| head(&address.to_string(), &format!("{prefix}/doctorBookings/{}", call.name()))),
            tokens: users.iter().map(|user| bearer(&key, user, "user", now)).collect(),
            users: users.iter().map(|user| json!(user).to_string()).collect(),
            doctors: site.doctors.iter().map(|doctor| json!(doctor).to_string()).collect(),
            dates: site.dates.iter().map(ToString::to_string).collect(),
            starts: site.starts.clone(),
        })
    }

    /// Slots of a doctor, on all dates.
    pub(crate) fn slots(&self) -> usize {
        self.dates.len() * self.starts.len()
    }

    pub(crate) fn dates(&self) -> &[String] {
        &self.dates
    }

    /// A seat's date and start.
    pub(crate) fn when(&self, seat: Seat) -> (&str, &str) {
        let slot = seat.number as usize % self.slots();
        (&self.dates[slot / self.starts.len()], &self.starts[slot % self.starts.len()])
    }

    /// Writes one in place of what is there.
    pub(crate) fn write(&self, ask: Ask, body: &mut Vec<u8>, request: &mut Vec<u8>) {
        body.clear();
        let token = match ask {
            Ask::Available { doctor, date } => {
                let (doctor, date) = (&self.doctors[doctor as usize], &self.dates[date as usize]);
                put(body, &[r#"{"doctor_id":"#, doctor, r#","date":""#, date, r#""}"#]);
                None
            }
            Ask::Book(seat) | Ask::Cancel(seat) => {
                let (doctor, (date, start)) = (&self.doctors[seat.doctor as usize], self.when(seat));
                put(
                    body,
                    &[r#"{"doctor_id":"#, doctor, r#","date":""#, date, r#"","start":""#, start, r#""}"#],
                );
                Some(seat.user)
            }
            Ask::User(user) => {
                put(body, &[r#"{"user_id":"#, &self.users[user as usize], "}"]);
                Some(user)
            }
        };
        request.clear();
        let token = token.map_or("", |user| &self.tokens[user as usize]);
        put(request, &[&self.heads[ask.call() as usize], token]);
        finish(body, request);
    }
}

/// A request that is made once.
pub(crate) fn single(address: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let mut request = head(address, path).into_bytes();
    put(&mut request, &[token]);
    finish(body.as_bytes(), &mut request);
    request
}

/// The header of a caller.
pub(crate) fn bearer(key: &hmac::Key, address: &str, role: &str, now: DateTime<Utc>) -> String {
    let encode = |part: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let (issued, expires) = (now.timestamp(), (now + TOKEN_LIFE).timestamp());
    let head = encode(json!({"typ": "JWT", "alg": "HS256"}));
    let claims = encode(json!({"sub": address, "role": role, "iat": issued, "exp": expires}));
    let signed = format!("{head}.{claims}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
    format!("authorization: Bearer {signed}.{signature}\r\n")
}

fn head(address: &str, path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n")
}

fn finish(body: &[u8], request: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(request, "content-length: {}\r\n\r\n", body.len());
    request.extend_from_slice(body);
}

fn put(into: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        into.extend_from_slice(part.as_bytes());
    }
}
