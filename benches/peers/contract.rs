//! The booking calls of API.md, as any program would serve them: bodies, refusals, the checks that need no store. What a
//! peer adds is [`Seats`].

use std::sync::{Arc, LazyLock};

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, ServiceConfig, post};
use actix_web::{HttpResponse, ResponseError};
use chrono::{Days, NaiveDate, NaiveTime};
use engine::limits::{BOOKING_KEPT_DAYS, SEATS_PER_SLOT};
use engine::{Clinic, Clock, DoctorId, SlotStart, SystemClock, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::token::User;

/// Where the doctors are.
pub(crate) static CLINIC: LazyLock<Clinic> =
    LazyLock::new(|| Clinic::compiled_in("Asia/Kolkata").expect("a zone that is compiled in"));

/// Where a peer keeps the seats that are taken.
pub(crate) trait Seats: 'static {
    /// Takes a seat.
    async fn book(&self, seat: &Seat, user: &UserId) -> Result<(), Refusal>;
    /// Gives it back.
    async fn cancel(&self, seat: &Seat, user: &UserId) -> Result<(), Refusal>;
    /// What a doctor offers on a date, in time order, with the seats that are taken.
    async fn offered(&self, doctor: &DoctorId, date: NaiveDate) -> Result<Vec<(SlotStart, usize)>, Refusal>;
    /// What a user holds.
    async fn held(&self, user: &UserId) -> Result<Vec<Seat>, Refusal>;
}

/// A slot of a doctor.
pub(crate) struct Seat {
    pub(crate) doctor: DoctorId,
    pub(crate) date: NaiveDate,
    pub(crate) start: SlotStart,
}

/// Why the answer is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Not authenticated")]
    Unauthenticated,
    #[error("You may not do this for somebody else")]
    Forbidden,
    #[error("A field is not valid")]
    Invalid,
    #[error("The date is outside the booking window")]
    OutsideWindow,
    #[error("The slot has already begun")]
    InPast,
    #[error("Doctor not found")]
    NoDoctor,
    #[error("Booking not found")]
    NoBooking,
    #[error("User already booked")]
    AlreadyBooked,
    #[error("Selected slot is not available")]
    NotOffered,
    #[error("Slot full")]
    Full,
    #[error("The store does not answer; whether it was done is unknown")]
    Unknown,
}

#[derive(Deserialize)]
pub(crate) struct SeatRequest {
    doctor_id: String,
    date: String,
    start: String,
    user_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct AvailableRequest {
    doctor_id: String,
    date: String,
}

#[derive(Deserialize)]
struct UserRequest {
    user_id: String,
}

#[derive(Serialize)]
pub(crate) struct Booked {
    message: &'static str,
    booking: Booking,
}

#[derive(Serialize)]
struct Booking {
    #[serde(rename = "PK")]
    partition: String,
    #[serde(rename = "SK")]
    sort: String,
    doctor_id: String,
    date: String,
    start: String,
    user_id: String,
    ttl: i64,
}

#[derive(Serialize)]
pub(crate) struct Cancelled {
    pub(crate) message: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Available {
    slots: Vec<Slot>,
}

#[derive(Serialize)]
struct Slot {
    start: String,
    end: String,
    booked: usize,
    available: bool,
}

#[derive(Serialize)]
struct Bookings {
    bookings: Vec<Booking>,
}

/// The paths that a peer serves.
pub(crate) fn routes<S: Seats>(config: &mut ServiceConfig) {
    config
        .route("/doctorBookings/book", post().to(book::<S>))
        .route("/doctorBookings/cancel", post().to(cancel::<S>))
        .route("/doctorBookings/available", post().to(available::<S>))
        .route("/doctorBookings/user", post().to(held::<S>));
}

async fn book<S: Seats>(
    seats: Data<S>,
    User(user): User,
    body: Json<SeatRequest>,
) -> Result<Json<Booked>, Refusal> {
    let seat = body.seat_of(&user)?;
    seat.check_window()?;
    seats.book(&seat, &user).await?;
    Ok(Json(Booked::new(&seat, &user)))
}

async fn cancel<S: Seats>(
    seats: Data<S>,
    User(user): User,
    body: Json<SeatRequest>,
) -> Result<Json<Cancelled>, Refusal> {
    let seat = body.seat_of(&user)?;
    seat.check_begun()?;
    seats.cancel(&seat, &user).await?;
    Ok(Json(Cancelled { message: "Booking cancelled" }))
}

async fn available<S: Seats>(
    seats: Data<S>,
    body: Json<AvailableRequest>,
) -> Result<Json<Available>, Refusal> {
    let (doctor, date) = body.read()?;
    let offered = seats.offered(&doctor, date).await?;
    Ok(Json(Available::new(date, offered)))
}

async fn held<S: Seats>(
    seats: Data<S>,
    User(user): User,
    body: Json<UserRequest>,
) -> Result<Json<Bookings>, Refusal> {
    if body.user_id != user.as_str() {
        return Err(Refusal::Forbidden);
    }
    let held = seats.held(&user).await?;
    Ok(Json(Bookings { bookings: held.iter().map(|seat| Booking::new(seat, &user)).collect() }))
}

impl SeatRequest {
    /// The seat, when the caller acts for itself.
    fn seat_of(&self, user: &UserId) -> Result<Seat, Refusal> {
        if self.user_id.as_deref().is_some_and(|named| named != user.as_str()) {
            return Err(Refusal::Forbidden);
        }
        Ok(Seat {
            doctor: DoctorId::parse(&self.doctor_id).map_err(|_| Refusal::Invalid)?,
            date: read_date(&self.date)?,
            start: SlotStart::parse(&self.start).map_err(|_| Refusal::Invalid)?,
        })
    }
}

impl AvailableRequest {
    fn read(&self) -> Result<(DoctorId, NaiveDate), Refusal> {
        let doctor = DoctorId::parse(&self.doctor_id).map_err(|_| Refusal::Invalid)?;
        Ok((doctor, read_date(&self.date)?))
    }
}

impl Seat {
    fn check_window(&self) -> Result<(), Refusal> {
        if CLINIC.in_window(self.date, SystemClock.now()) {
            self.check_begun()
        } else {
            Err(Refusal::OutsideWindow)
        }
    }

    fn check_begun(&self) -> Result<(), Refusal> {
        let begun = CLINIC.has_begun(self.date, self.start, SystemClock.now());
        if begun { Err(Refusal::InPast) } else { Ok(()) }
    }
}

impl Booked {
    pub(crate) fn new(seat: &Seat, user: &UserId) -> Self {
        Self { message: "Slot booked", booking: Booking::new(seat, user) }
    }
}

impl Booking {
    fn new(seat: &Seat, user: &UserId) -> Self {
        let Seat { doctor, date, start } = seat;
        Self {
            partition: format!("{}#{date}", doctor.as_str()),
            sort: format!("{start}#{}", user.as_str()),
            doctor_id: doctor.as_str().to_owned(),
            date: date.to_string(),
            start: start.to_string(),
            user_id: user.as_str().to_owned(),
            ttl: kept_until(*date),
        }
    }
}

impl Available {
    pub(crate) fn new(date: NaiveDate, offered: Vec<(SlotStart, usize)>) -> Self {
        let now = SystemClock.now();
        let shown = CLINIC.in_window(date, now);
        let slots = offered.into_iter().filter(|(start, _)| shown && !CLINIC.has_begun(date, *start, now));
        let slots = slots.map(|(start, booked)| Slot {
            start: start.to_string(),
            end: start.span().end(),
            booked,
            available: booked < SEATS_PER_SLOT,
        });
        Self { slots: slots.collect() }
    }
}

/// Epoch seconds of the day, some days later.
pub(crate) fn kept_until(date: NaiveDate) -> i64 {
    let last = date.checked_add_days(Days::new(BOOKING_KEPT_DAYS)).unwrap_or(NaiveDate::MAX);
    last.and_time(NaiveTime::MIN).and_utc().timestamp()
}

fn read_date(text: &str) -> Result<NaiveDate, Refusal> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| Refusal::Invalid)
}

impl Refusal {
    const fn code(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid_request",
            Self::OutsideWindow => "outside_booking_window",
            Self::InPast => "slot_in_past",
            Self::NoDoctor => "doctor_not_found",
            Self::NoBooking => "booking_not_found",
            Self::AlreadyBooked => "already_booked",
            Self::NotOffered => "slot_unavailable",
            Self::Full => "slot_full",
            Self::Unknown => "outcome_unknown",
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Invalid | Self::OutsideWindow | Self::InPast => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoDoctor | Self::NoBooking => StatusCode::NOT_FOUND,
            Self::AlreadyBooked | Self::NotOffered | Self::Full => StatusCode::CONFLICT,
            Self::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        HttpResponse::build(status).content_type("application/problem+json").body(
            json!({
                "type": "about:blank",
                "title": status.canonical_reason().unwrap_or_default(),
                "status": status.as_u16(),
                "detail": self.to_string(),
                "code": self.code(),
            })
            .to_string(),
        )
    }
}

/// The doctors that a peer starts with, all of whom offer every half hour.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Doctors {
    /// How many there are: doctor0@clinic.example and so on.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) doctors: u32,
}

/// One more, who offers one half hour a day: so that there is something which is not offered.
pub(crate) const PART_TIME: &str = "parttime@clinic.example";
/// When.
pub(crate) const PART_TIME_START: &str = "10:00";

impl Doctors {
    /// Their addresses.
    pub(crate) fn addresses(self) -> impl Iterator<Item = Arc<str>> {
        (0..self.doctors).map(|number| format!("doctor{number}@clinic.example").into())
    }
}
