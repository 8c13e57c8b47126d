//! The limit: what any program on this server pays. Its handlers read the request, check the token, and answer with bytes
//! that were made at the start. Under `/unchecked` nobody looks at the token.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Json, ServiceConfig, post, scope};
use chrono::Days;
use engine::{Clock, DoctorId, SlotStart, SystemClock, UserId};

use crate::contract::{Available, AvailableRequest, Booked, CLINIC, Cancelled, Seat, SeatRequest};
use crate::token::User;

/// Dates ahead on which its answers are.
const DAYS_AHEAD: u64 = 7;

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
    config
        .route("/doctorBookings/book", post().to(book))
        .route("/doctorBookings/cancel", post().to(cancel))
        .route("/doctorBookings/available", post().to(available));
}

async fn book(answers: Data<Answers>, _: User, _: Json<SeatRequest>) -> HttpResponse {
    answer(&answers.booked)
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
    HttpResponse::Ok().content_type("application/json").body(body.clone())
}
