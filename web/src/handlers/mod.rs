//! One function for each call: parse, ask, render. Request and response bodies are on top of each file.

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod chat;
pub(crate) mod cluster;
pub(crate) mod docs;
pub(crate) mod doctor_bookings;
pub(crate) mod doctor_list;
pub(crate) mod doctors_service;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod health;
pub(crate) mod medilocker;
pub(crate) mod metrics;
pub(crate) mod payment;
pub(crate) mod profiles;

pub(crate) use medilocker::LOCKER_LISTS;

use actix_web::HttpRequest;
use chrono::NaiveDate;
use engine::{DoctorId, IdempotencyKey, SlotStart, UserId};

use crate::error::ApiError;

/// A date, `YYYY-MM-DD` and nothing else.
pub(crate) fn parse_date(field: &str, text: &str) -> Result<NaiveDate, ApiError> {
    let refusal = || ApiError::invalid(format!("'{field}' must be a date, YYYY-MM-DD"));
    let plain = |(n, byte): (usize, u8)| if n == 4 || n == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    if text.len() != 10 || !text.bytes().enumerate().all(plain) {
        return Err(refusal());
    }
    let number = |digits: std::ops::Range<usize>| text[digits].parse().unwrap_or_default();
    let year = text[..4].parse().unwrap_or_default();
    NaiveDate::from_ymd_opt(year, number(5..7), number(8..10)).ok_or_else(refusal)
}

fn parse_start(field: &str, text: &str) -> Result<SlotStart, ApiError> {
    SlotStart::parse(text).map_err(|error| ApiError::invalid(format!("'{field}' is not valid: {error}")))
}

fn parse_doctor(field: &str, text: &str) -> Result<DoctorId, ApiError> {
    DoctorId::parse(text).map_err(|error| ApiError::invalid(format!("'{field}' {error}")))
}

fn parse_user(field: &str, text: &str) -> Result<UserId, ApiError> {
    UserId::parse(text).map_err(|error| ApiError::invalid(format!("'{field}' {error}")))
}

/// What the client calls this request, so that a repeat is known as one.
fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(header) = request.headers().get("Idempotency-Key") else { return Ok(None) };
    let key = header.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    key.map(Some).ok_or_else(|| {
        ApiError::invalid("the header 'Idempotency-Key' must be 1 to 64 visible ASCII characters")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_ten_characters_of_a_real_day() {
        assert!(parse_date("date", "2028-02-29").is_ok());
        for text in [
            "2026-13-45",
            "2026-02-29",
            "2026-1-01",
            "+026-01-01",
            "2026-01-01 ",
            "",
            "２026-01-01",
            "20260-1-01",
        ] {
            assert!(parse_date("date", text).is_err(), "{text}");
        }
    }
}
