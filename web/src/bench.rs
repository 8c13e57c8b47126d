//! What a request costs before the engine is asked, in pieces for a bench to measure by themselves.

use chrono::{DateTime, Utc};
use engine::UserId;

use crate::auth::{Caller, Tokens};
use crate::config::Secret;
use crate::handlers;

/// The check of one token that is not known yet.
pub struct TokenCheck {
    tokens: Tokens,
    token: String,
    now: DateTime<Utc>,
}

impl TokenCheck {
    /// Of a token that is issued to this user at `now`; `None` when it cannot be.
    pub fn of(user: UserId, now: DateTime<Utc>) -> Option<Self> {
        let tokens = Tokens::new(&Secret::of_any_length(b"0123456789abcdef0123456789abcdef".to_vec()).into());
        let token = tokens.issue(&Caller::User(user), now).ok()?;
        Some(Self { tokens, token, now })
    }

    /// Whether it is good.
    pub fn run(&self) -> bool {
        self.tokens.check(&self.token).is_ok_and(|(_, expires)| expires > self.now.timestamp())
    }
}

/// Whether it is a date.
pub fn read_date(text: &str) -> bool {
    handlers::parse_date("date", text).is_ok()
}

/// Whether it is the body of a booking.
pub fn read_booking(body: &[u8]) -> bool {
    handlers::doctor_bookings::is_seat(body)
}
