//! Lists of bookings. A user's list is what the index shows, which may lag behind, with what this node has answered
//! within the last minute laid over it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveTime};
use engine::calendar::Booking;
use engine::limits::BOOKING_KEPT_DAYS;
use engine::{DoctorId, RecentAnswer, SlotStart, UserId};
use persistence::{AuditParty, BookingRow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::peer::Network;
use crate::places::{Bounds, quarter_of};
use crate::state::AppState;

/// Doctors' lists that are read at once, each with up to a thousand small queries, so that bookings keep their share of
/// the store.
pub(crate) const DOCTOR_LISTS: Bounds = Bounds {
    name: "doctor_lists",
    at_once: 8,
    of_network: quarter_of(8),
    waiting_max: 64,
    wait: Duration::from_secs(5),
    evicted_after: None,
};
/// Lists of one doctor at once, those that wait included.
const OF_ONE_DOCTOR: usize = 4;

/// How far ahead a doctor's bookings are looked for: the old platform booked further than the window allows.
const AHEAD_DAYS: u64 = 90;

/// A booking as callers see it: the stored row.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Booking)]
pub(crate) struct Shown {
    #[serde(rename = "PK")]
    partition: String,
    #[serde(rename = "SK")]
    sort: String,
    doctor_id: String,
    date: String,
    start: String,
    user_id: String,
    /// When the booking is forgotten, in epoch seconds.
    ttl: i64,
    #[serde(skip)]
    day: NaiveDate,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

/// A booking that was just made, as [`Shown`] is written in JSON: at once, for this is the answer that many wait for.
pub(crate) fn write_shown(doctor: &DoctorId, Booking { user, date, start, .. }: &Booking) -> String {
    let (doctor, user) = (&*escaped(doctor.as_str()), &*escaped(user.as_str()));
    let (date, start, ttl) = (&*date.to_string(), &*start.to_string(), &*ttl(*date).to_string());
    let keys = [r#"{"PK":""#, doctor, "#", date, r#"","SK":""#, start, "#", user];
    let seat = [r#"","doctor_id":""#, doctor, r#"","date":""#, date, r#"","start":""#, start];
    let rest = [r#"","user_id":""#, user, r#"","ttl":"#, ttl, "}"];
    [&keys[..], &seat, &rest].concat().concat()
}

/// What stands between the quotes of a JSON string.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(text);
    }
    let quoted = serde_json::Value::from(text).to_string();
    Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
}

fn seat(doctor: &DoctorId, user: &UserId, day: NaiveDate, start: SlotStart) -> Shown {
    Shown {
        partition: format!("{}#{day}", doctor.as_str()),
        sort: format!("{start}#{}", user.as_str()),
        doctor_id: doctor.as_str().to_owned(),
        date: day.to_string(),
        start: start.to_string(),
        user_id: user.as_str().to_owned(),
        ttl: ttl(day),
        day,
    }
}

/// 00:00 UTC of the date, some days later.
fn ttl(day: NaiveDate) -> i64 {
    let over = day.checked_add_days(Days::new(BOOKING_KEPT_DAYS)).unwrap_or(NaiveDate::MAX);
    over.and_time(NaiveTime::MIN).and_utc().timestamp()
}

impl From<BookingRow> for Shown {
    fn from(row: BookingRow) -> Self {
        Self {
            partition: row.pk,
            sort: row.sk,
            doctor_id: row.doctor_id,
            date: row.date,
            start: row.start,
            user_id: row.user_id,
            ttl: row.ttl.unwrap_or_else(|| ttl(row.day)),
            day: row.day,
        }
    }
}

/// The bookings of a user from `days` ago on.
pub(crate) async fn bookings_of_user(
    app: &AppState,
    user: &UserId,
    days: u64,
) -> Result<Vec<Shown>, ApiError> {
    let since = back(app.today(), days);
    let rows = app.user_bookings.of_user(user, since).await?;
    // Asked for after the index: whatever was answered before this call is in one of the two.
    let recent = app.router.recent(user);
    Ok(laid_over(rows.into_iter().map(Shown::from).collect(), &recent, user, since))
}

/// The bookings of a doctor from `days` ago on.
pub(crate) async fn bookings_of_doctor(
    app: &AppState,
    doctor: &DoctorId,
    days: u64,
    network: Network,
) -> Result<Vec<Shown>, ApiError> {
    let _place = app.doctor_lists.take(doctor.clone(), OF_ONE_DOCTOR, network).await?;
    let today = app.today();
    let until = today.checked_add_days(Days::new(AHEAD_DAYS)).unwrap_or(NaiveDate::MAX);
    let rows = app.user_bookings.of_doctor(doctor, back(today, days), until).await?;
    Ok(in_order(rows.into_iter().map(Shown::from).collect()))
}

/// Whose bookings these are, each once. A row without a user that could have an account is nobody's.
pub(crate) fn patients(bookings: &[Shown]) -> HashSet<AuditParty> {
    let users = bookings.iter().filter_map(|booking| UserId::parse(&booking.user_id).ok());
    users.map(AuditParty::User).collect()
}

fn back(today: NaiveDate, days: u64) -> NaiveDate {
    today.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
}

/// Of the answers about one seat the last one counts.
fn laid_over(mut rows: Vec<Shown>, recent: &[RecentAnswer], user: &UserId, since: NaiveDate) -> Vec<Shown> {
    for answer in recent.iter().filter(|answer| answer.date >= since) {
        let start = answer.start.to_string();
        let is_meant = |row: &Shown| {
            row.day == answer.date && row.start == start && row.doctor_id == answer.doctor.as_str()
        };
        if !answer.booked {
            rows.retain(|row| !is_meant(row));
        } else if !rows.iter().any(is_meant) {
            rows.push(seat(&answer.doctor, user, answer.date, answer.start));
        }
    }
    in_order(rows)
}

fn in_order(mut rows: Vec<Shown>) -> Vec<Shown> {
    rows.sort_by(|a, b| {
        (a.day, &a.start, &a.partition, &a.sort).cmp(&(b.day, &b.start, &b.partition, &b.sort))
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    fn answer(day: u32, start: &str, booked: bool) -> RecentAnswer {
        let (doctor, start) = (DoctorId::parse("d@x.com").unwrap(), SlotStart::parse(start).unwrap());
        RecentAnswer { doctor, date: date(day), start, booked }
    }

    fn row(day: u32, start: &str) -> Shown {
        let RecentAnswer { doctor, date, start, .. } = answer(day, start, true);
        seat(&doctor, &user(), date, start)
    }

    fn user() -> UserId {
        UserId::parse("u@x.com").unwrap()
    }

    fn keys(rows: &[Shown]) -> Vec<String> {
        rows.iter().map(|row| format!("{} {}", row.date, row.start)).collect()
    }

    #[test]
    fn a_seat_is_shown_as_the_row_that_stores_it() {
        assert_eq!(
            serde_json::to_value(row(24, "10:00")).unwrap(),
            serde_json::json!({
                "PK": "d@x.com#2026-11-24", "SK": "10:00#u@x.com", "doctor_id": "d@x.com",
                "date": "2026-11-24", "start": "10:00", "user_id": "u@x.com", "ttl": 1_796_083_200,
            })
        );
    }

    #[test]
    fn a_booking_that_was_just_made_is_written_as_any_other() {
        for (doctor, name) in [("d@x.com", "u@x.com"), ("d\"\\@x.com", "अ\"u@x.com")] {
            let doctor = DoctorId::parse(doctor).unwrap();
            let user = UserId::parse(name).unwrap();
            let (date, start) = (date(4), SlotStart::parse("09:30").unwrap());
            let described = serde_json::to_string(&seat(&doctor, &user, date, start)).unwrap();
            assert_eq!(write_shown(&doctor, &Booking { user, date, start, key: None }), described);
        }
    }

    #[test]
    fn the_last_answer_about_a_seat_counts() {
        let recent = [
            answer(24, "10:00", true),
            answer(24, "11:00", false),
            answer(25, "09:00", true),
            answer(25, "09:00", false),
            answer(26, "09:00", false),
            answer(26, "09:00", true),
            answer(1, "09:00", true),
        ];
        let shown =
            laid_over(vec![row(24, "11:00"), row(24, "10:00"), row(23, "12:00")], &recent, &user(), date(20));
        assert_eq!(keys(&shown), ["2026-11-23 12:00", "2026-11-24 10:00", "2026-11-26 09:00"]);
    }

    #[test]
    fn a_cancelled_row_goes_whatever_the_spelling_of_its_date() {
        let old = Shown {
            date: "2026-11-4".to_owned(),
            partition: "d@x.com#2026-11-4".to_owned(),
            ..row(4, "10:00")
        };
        assert_eq!(laid_over(vec![old], &[answer(4, "10:00", false)], &user(), date(1)), []);
    }
}
