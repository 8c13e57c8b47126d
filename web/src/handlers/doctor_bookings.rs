//! Seats: taking one, giving it back, seeing what is free and who holds what.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use chrono::NaiveDate;
use engine::{Answer, Command, DoctorId, EngineError, IdempotencyKey, Rejection, SlotStart, UserId};
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::{parse_date, parse_doctor, parse_start, parse_user};
use crate::json::JsonBody;
use crate::services::{self, Shown};
use crate::state::AppState;

/// How many days back `/user` shows.
const SHOWN_DAYS: u64 = 7;
/// How many days back `/fetchBookings` can be asked for.
const FETCHED_DAYS_MAX: u64 = 365;

#[derive(Deserialize)]
struct SeatRequest {
    doctor_id: String,
    date: String,
    start: String,
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct AvailableRequest {
    doctor_id: String,
    date: String,
}

#[derive(Deserialize)]
struct UserRequest {
    #[serde(rename = "user_id")]
    _user_id: String,
}

#[derive(Deserialize)]
struct FetchRequest {
    #[serde(rename = "id")]
    _id: String,
    r#type: String,
    days: serde_json::Number,
}

#[derive(Serialize)]
pub(crate) struct Booked {
    message: &'static str,
    booking: Shown,
}

#[derive(Serialize)]
pub(crate) struct Cancelled {
    message: &'static str,
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
pub(crate) struct Bookings {
    bookings: Vec<Shown>,
}

/// A doctor, and a time on its calendar.
struct Seat {
    doctor: DoctorId,
    date: NaiveDate,
    start: SlotStart,
}

impl SeatRequest {
    fn seat(&self) -> Result<Seat, ApiError> {
        Ok(Seat {
            doctor: parse_doctor("doctor_id", &self.doctor_id)?,
            date: parse_date("date", &self.date)?,
            start: parse_start("start", &self.start)?,
        })
    }
}

/// Books one slot for the caller.
pub(crate) async fn book(
    app: Data<AppState>,
    request: HttpRequest,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Booked>, ApiError> {
    let user = caller.user()?.clone();
    caller.acts_for(body.raw("user_id"))?;
    let Seat { doctor, date, start } = body.parse::<SeatRequest>()?.seat()?;
    let key = idempotency_key(&request)?;
    match services::ask(&app.directory, doctor, Command::Book { user, date, start, key }).await? {
        (doctor, Answer::Booked(booking)) => {
            Ok(Json(Booked { message: "Slot booked", booking: services::shown(&doctor, &booking) }))
        }
        (_, answer @ (Answer::Cancelled | Answer::ScheduleSet)) => Err(mismatch(&answer)),
    }
}

/// Gives a seat back: the user its own, the doctor any of its own calendar.
pub(crate) async fn cancel(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Cancelled>, ApiError> {
    let own = match &caller {
        Caller::User(_) => "user_id",
        Caller::Doctor(_) => "doctor_id",
    };
    caller.acts_for(body.raw(own))?;
    let request: SeatRequest = body.parse()?;
    let Seat { doctor, date, start } = request.seat()?;
    let holder = |user| Command::Cancel { user, date, start };
    match &caller {
        Caller::User(user) => cancelled(services::ask(&app.directory, doctor, holder(user.clone())).await?.1),
        Caller::Doctor(doctor) => {
            let named = request.user_id.ok_or_else(|| ApiError::invalid("'user_id' is missing"))?;
            let as_sent = parse_user("user_id", &named)?;
            let answer = match (app.directory.ask(doctor, holder(as_sent)).await, lower_cased(&named)) {
                (Err(EngineError::Rejected(Rejection::BookingNotFound)), Some(user)) => {
                    app.directory.ask(doctor, holder(user)).await
                }
                (answer, _) => answer,
            };
            cancelled(answer?)
        }
    }
}

/// Shows what a doctor offers on a date, to anybody.
pub(crate) async fn available(app: Data<AppState>, body: JsonBody) -> Result<Json<Available>, ApiError> {
    let request: AvailableRequest = body.parse()?;
    let doctor = parse_doctor("doctor_id", &request.doctor_id)?;
    let date = parse_date("date", &request.date)?;
    let view = services::available(&app.directory, doctor, date).await?;
    let slots = view.slots(app.clinic, date, app.now()).map(|slot| Slot {
        start: slot.start.to_string(),
        end: slot.start.span().end(),
        booked: slot.booked,
        available: slot.available,
    });
    Ok(Json(Available { slots: slots.collect() }))
}

/// Shows a user its bookings of the last week and to come.
pub(crate) async fn user(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Bookings>, ApiError> {
    let user = caller.user()?;
    caller.acts_for(body.raw("user_id"))?;
    let _: UserRequest = body.parse()?;
    let bookings = services::bookings_of_user(&app, user, SHOWN_DAYS).await?;
    Ok(Json(Bookings { bookings }))
}

/// Shows a user or a doctor its bookings, as many days back as it likes.
pub(crate) async fn fetch_bookings(
    app: Data<AppState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Bookings>, ApiError> {
    caller.acts_for(body.raw("id"))?;
    match (&caller, body.raw("type")) {
        (Caller::User(_), Some("doctor")) | (Caller::Doctor(_), Some("user")) => {
            return Err(ApiError::Forbidden);
        }
        _ => {}
    }
    let FetchRequest { r#type, days, .. } = body.parse()?;
    if !["user", "doctor"].contains(&r#type.as_str()) {
        return Err(ApiError::invalid("'type' must be 'user' or 'doctor'"));
    }
    let days = days.as_u64().filter(|days| *days <= FETCHED_DAYS_MAX);
    let days = days.ok_or_else(|| ApiError::invalid("'days' must be a whole number from 0 to 365"))?;
    let bookings = match &caller {
        Caller::User(user) => services::bookings_of_user(&app, user, days).await?,
        Caller::Doctor(doctor) => services::bookings_of_doctor(&app, doctor, days).await?,
    };
    Ok(Json(Bookings { bookings }))
}

fn cancelled(answer: Answer) -> Result<Json<Cancelled>, ApiError> {
    match answer {
        Answer::Cancelled => Ok(Json(Cancelled { message: "Booking cancelled" })),
        Answer::Booked(_) | Answer::ScheduleSet => Err(mismatch(&answer)),
    }
}

fn mismatch(answer: &Answer) -> ApiError {
    ApiError::internal(format!("a command was answered with {answer:?}"))
}

/// The lower-cased address where it is another one.
fn lower_cased(user: &str) -> Option<UserId> {
    let lower_cased = user.to_lowercase();
    if lower_cased == user { None } else { UserId::parse(&lower_cased).ok() }
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(header) = request.headers().get("Idempotency-Key") else { return Ok(None) };
    let key = header.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    key.map(Some).ok_or_else(|| {
        ApiError::invalid("the header 'Idempotency-Key' must be 1 to 64 visible ASCII characters")
    })
}
