//! The limit: what any program on this server pays. Its handlers read the request, check the token, and answer with bytes
//! that were made at the start, those of the product's head included. Under `/unchecked` nobody looks at the token, and under
//! `/headless` the head is the shortest that there is.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Json, ServiceConfig, post, scope};
use chrono::Days;
use engine::{Clock, DoctorId, SlotStart, SystemClock, UserId};

use crate::contract::{Available, AvailableRequest, Booked, CLINIC, Cancelled, Seat, SeatRequest};
use crate::token::User;

/// Dates ahead on which its answers are.
const DAYS_AHEAD: u64 = 7;

/// What the product's answers have in their head beside what `actix-web` puts there.
const HEAD: [(&str, &str); 8] = [
    ("cache-control", "no-store"),
    ("x-request-id", "0123456789abcdef0123456789abcdef"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(self), microphone=(self), geolocation=(self), payment=(self)"),
];

/// The bytes that it answers with.
pub(crate) struct Answers {
    booked: Bytes,
    cancelled: Bytes,
    available: Bytes,
}

impl Answers {
    /// As long as those of a user and a doctor of the load tool.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let date = CLINIC.today(SystemClock.now()) + Days::new(DAYS_AHEAD);
        let doctor = DoctorId::parse("doctor500@clinic.example")?;
        let seat = Seat { doctor, date, start: SlotStart::parse("10:00")? };
        let user = UserId::parse("patient100@example.com")?;
        let offered = SlotStart::all().map(|start| (start, 1)).collect();
        Ok(Self {
            booked: serde_json::to_vec(&Booked::new(&seat, &user))?.into(),
            cancelled: serde_json::to_vec(&Cancelled { message: "Booking cancelled" })?.into(),
            available: serde_json::to_vec(&Available::new(date, offered))?.into(),
        })
    }
}

/// The same calls twice, with and without a look at the token.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        scope("/unchecked")
            .route("/doctorBookings/book", post().to(book_unchecked))
            .route("/doctorBookings/available", post().to(available)),
    );
    config.service(
        scope("/headless")
            .route("/doctorBookings/book", post().to(book_headless))
            .route("/doctorBookings/available", post().to(available_headless)),
    );
    config
        .route("/doctorBookings/book", post().to(book))
        .route("/doctorBookings/cancel", post().to(cancel))
        .route("/doctorBookings/available", post().to(available));
}

async fn book(answers: Data<Answers>, _: User, _: Json<SeatRequest>) -> HttpResponse {
    answer(&answers.booked)
}

async fn book_headless(answers: Data<Answers>, _: User, _: Json<SeatRequest>) -> HttpResponse {
    headless(&answers.booked)
}

async fn available_headless(answers: Data<Answers>, _: Json<AvailableRequest>) -> HttpResponse {
    headless(&answers.available)
}

async fn book_unchecked(answers: Data<Answers>, _: Json<SeatRequest>) -> HttpResponse {
    answer(&answers.booked)
}

async fn cancel(answers: Data<Answers>, _: User, _: Json<SeatRequest>) -> HttpResponse {
    answer(&answers.cancelled)
}

async fn available(answers: Data<Answers>, _: Json<AvailableRequest>) -> HttpResponse {
    answer(&answers.available)
}

fn answer(body: &Bytes) -> HttpResponse {
    let mut answer = headless(body);
    for (name, value) in HEAD {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

fn headless(body: &Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body.clone())
}
