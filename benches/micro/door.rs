//! What a request passes before the engine is asked: its token, its body, and what stands in it.

use std::hint::black_box;

use chrono::DateTime;
use engine::{IdempotencyKey, SlotStart, UserId};
use web::bench::{TokenCheck, read_booking, read_date};

use crate::Work;

const BODY: &str =
    r#"{"doctor_id":"asha@clinic.example","date":"2026-11-24","start":"10:00","user_id":"ada@example.com"}"#;

pub(crate) fn token() -> Work {
    let user = UserId::parse("ada@example.com").expect("an address");
    let check = TokenCheck::of(user, DateTime::UNIX_EPOCH).expect("a token");
    assert!(check.run());
    Box::new(move || {
        black_box(check.run());
    })
}

pub(crate) fn booking() -> Work {
    parse(BODY, |text| read_booking(text.as_bytes()))
}

pub(crate) fn date() -> Work {
    parse("2026-11-24", read_date)
}

pub(crate) fn slot() -> Work {
    parse("10:30", |text| SlotStart::parse(text).is_ok())
}

pub(crate) fn user() -> Work {
    parse("ada.lovelace@example.com", |text| UserId::parse(text).is_ok())
}

pub(crate) fn key() -> Work {
    parse("7f1c3a52-9d7e-4d0b-8f6e-1c2b3a4d5e6f", |text| IdempotencyKey::parse(text).is_ok())
}

fn parse(text: &'static str, read: fn(&str) -> bool) -> Work {
    assert!(read(text));
    Box::new(move || {
        black_box(read(black_box(text)));
    })
}
