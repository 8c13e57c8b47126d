//! Seats: taking one, giving it back, seeing what is free and who holds what.

use std::sync::LazyLock;

use actix_web::body::MessageBody;
use actix_web::http::header::ContentType;
use actix_web::web::{Bytes, Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveDate;
use engine::calendar::SlotView;
use engine::{Answer, Command, DoctorId, Rejection, SlotStart, UserId};
use persistence::AuditAction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::{idempotency_key, parse_date, parse_doctor, parse_start, parse_user};
use crate::json::{JsonBody, JsonText};
use crate::openapi::fields;
use crate::peer::Network;
use crate::services::{self, Actor, Audit, Deed, Shown};
use crate::state::AppState;
use crate::telemetry::RequestId;

/// How many days back `/user` shows.
const SHOWN_DAYS: u64 = 7;
/// How many days back `/fetchBookings` can be asked for.
const FETCHED_DAYS_MAX: u64 = 365;
/// Room for a day of slots.
const AVAILABLE_BYTES: usize = 3072;
/// A slot's text while nobody has a seat in it, and what of it stands before the number of seats that are taken.
const FREE_BYTES: usize = r#"{"start":"HH:MM","end":"HH:MM","booked":0,"available":true},"#.len();
const BOOKED_AT: usize = r#"{"start":"HH:MM","end":"HH:MM","booked":"#.len();

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({
    "doctor_id": "asha@clinic.example", "date": "2026-11-24", "start": "10:00", "user_id": "ada@example.com"
})))]
struct SeatRequest {
    #[schema(schema_with = fields::email)]
    doctor_id: String,
    #[schema(schema_with = fields::date)]
    date: String,
    #[schema(schema_with = fields::slot_start)]
    start: String,
    #[schema(schema_with = fields::email_or_none)]
    user_id: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"doctor_id": "asha@clinic.example", "date": "2026-11-24"})))]
struct AvailableRequest {
    #[schema(schema_with = fields::email)]
    doctor_id: String,
    #[schema(schema_with = fields::date)]
    date: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"user_id": "ada@example.com"})))]
struct UserRequest {
    #[serde(rename = "user_id")]
    #[schema(schema_with = fields::email)]
    _user_id: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"id": "ada@example.com", "type": "user", "days": 30})))]
struct FetchRequest {
    #[serde(rename = "id")]
    #[schema(schema_with = fields::email)]
    _id: String,
    #[schema(pattern = "^(user|doctor)$")]
    r#type: String,
    /// How many days back from today.
    #[schema(value_type = u16, maximum = 365)]
    days: serde_json::Number,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Slot booked", "booking": {
    "PK": "asha@clinic.example#2026-11-24", "SK": "10:00#ada@example.com", "doctor_id": "asha@clinic.example",
    "date": "2026-11-24", "start": "10:00", "user_id": "ada@example.com", "ttl": 1_796_083_200
}})))]
pub(crate) struct Booked {
    message: &'static str,
    booking: Shown,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Booking cancelled"})))]
pub(crate) struct Cancelled {
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"slots": [{"start": "10:00", "end": "10:30", "booked": 2, "available": true}]})))]
pub(crate) struct Available {
    /// In time order: what is offered and has not begun.
    slots: Vec<Slot>,
}

#[derive(Serialize, ToSchema)]
struct Slot {
    #[schema(schema_with = fields::slot_start)]
    start: String,
    #[schema(schema_with = fields::slot_end)]
    end: String,
    /// Seats that are taken.
    booked: usize,
    /// Whether a seat is left.
    available: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"bookings": [{
    "PK": "asha@clinic.example#2026-11-24", "SK": "10:00#ada@example.com", "doctor_id": "asha@clinic.example",
    "date": "2026-11-24", "start": "10:00", "user_id": "ada@example.com", "ttl": 1_796_083_200
}]})))]
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

/// Whether a body says what `book` needs.
pub(crate) fn is_seat(body: &[u8]) -> bool {
    let body = JsonText::from(Bytes::copy_from_slice(body));
    let request = body.request("user_id", |seat: &SeatRequest| seat.user_id.as_deref(), |_| Ok(()));
    request.and_then(|request| request.seat()).is_ok()
}

/// Books one slot for the caller.
///
/// A slot has five seats, of which a user takes one. A user holds at most so many bookings to come with one doctor, ten
/// unless the deployment chooses otherwise. With an `Idempotency-Key` a repeat is answered as the first was.
#[utoipa::path(post, path = "/doctorBookings/book", tag = "doctorBookings", request_body = SeatRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters",
        pattern = "^[!-~]{1,64}$", example = "7f1c3a")),
    responses(
        (status = 200, body = Booked),
        (status = 404, description = "doctor_not_found"),
        (status = 409, description = "slot_full, already_booked, slot_unavailable, too_many_bookings"),
        (status = 422, description = "outside_booking_window, slot_in_past")))]
pub(crate) async fn book(
    app: Data<AppState>,
    request: HttpRequest,
    request_id: RequestId,
    caller: Caller,
    body: JsonText,
) -> Result<HttpResponse, ApiError> {
    let may = |named: Option<&str>| caller.user().and_then(|_| caller.acts_for(named));
    let seat = body.request("user_id", |seat: &SeatRequest| seat.user_id.as_deref(), may)?;
    let user = caller.user()?.clone();
    let Seat { doctor, date, start } = seat.seat()?;
    let key = idempotency_key(&request)?;
    let actor = Actor::new(&caller, request_id);
    let deed = Deed::seat(AuditAction::BookingMade, &user, &doctor, date, start);
    let booked = async move {
        let command = Command::Book { user, date, start, key };
        app.audit.on_record(&actor, deed, async || services::ask(&app.router, doctor, command).await).await
    };
    match Audit::see_through(booked).await? {
        (doctor, Answer::Booked(booking) | Answer::BookedBefore(booking)) => {
            let booking = services::write_shown(&doctor, &booking);
            Ok(answer([r#"{"message":"Slot booked","booking":"#, &booking, "}"].concat()))
        }
        (_, answer @ (Answer::Cancelled | Answer::ScheduleSet)) => Err(mismatch(&answer)),
    }
}

/// Gives a seat back: the user its own, the doctor any of its own calendar.
#[utoipa::path(post, path = "/doctorBookings/cancel", tag = "doctorBookings", request_body = SeatRequest, responses(
    (status = 200, body = Cancelled),
    (status = 404, description = "doctor_not_found, booking_not_found"),
    (status = 422, description = "slot_in_past")))]
pub(crate) async fn cancel(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    body: JsonText,
) -> Result<Json<Cancelled>, ApiError> {
    let may = |named: Option<&str>| caller.acts_for(named);
    let request = match &caller {
        Caller::User(_) => body.request("user_id", |seat: &SeatRequest| seat.user_id.as_deref(), may),
        Caller::Doctor(_) => body.request("doctor_id", |seat: &SeatRequest| Some(&*seat.doctor_id), may),
    };
    let request = request?;
    let seat = request.seat()?;
    let actor = Actor::new(&caller, request_id);
    let (holder, lower_cased) = match &caller {
        Caller::User(user) => (user.clone(), None),
        Caller::Doctor(_) => {
            let named = request.user_id.ok_or_else(|| ApiError::invalid("'user_id' is missing"))?;
            (parse_user("user_id", &named)?, lower_cased(&named))
        }
    };
    let given_back = async move {
        match (give_back(&app, &actor, &caller, holder, &seat).await, lower_cased) {
            (Err(ApiError::Rejected(Rejection::BookingNotFound)), Some(user)) => {
                give_back(&app, &actor, &caller, user, &seat).await
            }
            (outcome, _) => outcome,
        }
    };
    Audit::see_through(given_back).await
}

/// Shows what a doctor offers on a date, to anybody.
///
/// A date past or outside the booking window has no slots.
#[utoipa::path(post, path = "/doctorBookings/available", tag = "doctorBookings", security(()),
    request_body = AvailableRequest,
    responses((status = 200, body = Available), (status = 404, description = "doctor_not_found")))]
pub(crate) async fn available(app: Data<AppState>, body: JsonText) -> Result<HttpResponse, ApiError> {
    let request: AvailableRequest = body.request("", |_| None, |_| Ok(()))?;
    let doctor = parse_doctor("doctor_id", &request.doctor_id)?;
    let date = parse_date("date", &request.date)?;
    let view = services::available(&app.router, doctor, date).await?;
    Ok(answer(write_available(view.slots(&app.clinic, date, app.now()))))
}

/// Shows a user its bookings of the last week and to come.
#[utoipa::path(post, path = "/doctorBookings/user", tag = "doctorBookings", request_body = UserRequest,
    responses((status = 200, body = Bookings)))]
pub(crate) async fn user(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<Bookings>, ApiError> {
    let user = caller.user()?;
    caller.acts_for(body.raw("user_id"))?;
    let _: UserRequest = body.parse()?;
    let bookings = services::bookings_of_user(&app, user, SHOWN_DAYS).await?;
    app.audit.bookings_read(&Actor::new(&caller, request_id), [(&caller).into()]).await?;
    Ok(Json(Bookings { bookings }))
}

/// Shows a user or a doctor its bookings, as many days back as it likes.
#[utoipa::path(post, path = "/doctorBookings/fetchBookings", tag = "doctorBookings", request_body = FetchRequest,
    responses((status = 200, body = Bookings)))]
pub(crate) async fn fetch_bookings(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    network: Network,
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
    let actor = Actor::new(&caller, request_id);
    let bookings = match &caller {
        Caller::User(user) => services::bookings_of_user(&app, user, days).await?,
        Caller::Doctor(doctor) => services::bookings_of_doctor(&app, doctor, days, network).await?,
    };
    match &caller {
        Caller::User(_) => app.audit.bookings_read(&actor, [(&caller).into()]).await?,
        Caller::Doctor(_) => app.audit.bookings_read(&actor, services::patients(&bookings)).await?,
    }
    Ok(Json(Bookings { bookings }))
}

/// An answer that is JSON already.
fn answer(json: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).body(json)
}

/// [`Available`] of these slots. A day has many and all are alike: one with seats left is a text that is written once, of a
/// length that the compiler knows, and one digit.
fn write_available(slots: impl Iterator<Item = SlotView>) -> Vec<u8> {
    static FREE: LazyLock<Vec<[u8; FREE_BYTES]>> = LazyLock::new(|| {
        let free = |start: SlotStart| {
            format!(r#"{{"start":"{start}","end":"{}","booked":0,"available":true}},"#, start.span().end())
        };
        SlotStart::all().filter_map(|start| free(start).into_bytes().try_into().ok()).collect()
    });
    let free = &**FREE;
    let mut text = Vec::with_capacity(AVAILABLE_BYTES);
    text.extend_from_slice(br#"{"slots":["#);
    for SlotView { start, booked, available } in slots {
        let mut slot = free[start.index()];
        match u8::try_from(booked) {
            Ok(digit @ 0..=9) if available => {
                slot[BOOKED_AT] = b'0' + digit;
                text.extend_from_slice(&slot);
            }
            _ => {
                text.extend_from_slice(&slot[..BOOKED_AT]);
                text.extend_from_slice(itoa::Buffer::new().format(booked).as_bytes());
                text.extend_from_slice(if available {
                    br#","available":true},"#.as_slice()
                } else {
                    br#","available":false},"#
                });
            }
        }
    }
    text.pop_if(|last| *last == b',');
    text.extend_from_slice(b"]}");
    text
}

/// Frees the seat of `holder`. A doctor's own calendar is the one of its identity, however it spells itself.
async fn give_back(
    app: &AppState,
    actor: &Actor,
    caller: &Caller,
    holder: UserId,
    Seat { doctor, date, start }: &Seat,
) -> Result<Json<Cancelled>, ApiError> {
    let deed = Deed::seat(AuditAction::BookingCancelled, &holder, doctor, *date, *start);
    let command = Command::Cancel { user: holder, date: *date, start: *start };
    let asked = async || match caller {
        Caller::User(_) => services::ask(&app.router, doctor.clone(), command).await,
        Caller::Doctor(own) => app.router.ask(own, command).await.map(|answer| (own.clone(), answer)),
    };
    match app.audit.on_record(actor, deed, asked).await? {
        (_, Answer::Cancelled) => Ok(Json(Cancelled { message: "Booking cancelled" })),
        (_, answer @ (Answer::Booked(_) | Answer::BookedBefore(_) | Answer::ScheduleSet)) => {
            Err(mismatch(&answer))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_written_as_it_is_described() {
        let seats = [0, 4, 5, 12, 255];
        let views = |all: usize| {
            SlotStart::all().take(all).enumerate().map(move |(n, start)| {
                let booked = seats[n % seats.len()];
                SlotView { start, booked, available: booked < 5 }
            })
        };
        for all in [0, 1, 48] {
            let slots = views(all).map(|SlotView { start, booked, available }| Slot {
                start: start.to_string(),
                end: start.span().end(),
                booked,
                available,
            });
            let described = serde_json::to_string(&Available { slots: slots.collect() }).unwrap();
            assert_eq!(String::from_utf8(write_available(views(all))).unwrap(), described);
        }
    }
}
