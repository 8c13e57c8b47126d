//! The OpenAPI 3.1 document, made from the handlers and their bodies.
//!
//! A handler says in its `#[utoipa::path(..)]` what is its own: the path, the tag, the body, the success, and for every
//! other status the codes of its own refusals, separated by commas, as the description:
//! `(status = 409, description = "slot_full, already_booked")`. All else is the same for every call of its kind and is
//! added here: a token is needed unless `security(())` says otherwise ([`rules`]), each refusal becomes a problem with
//! its codes and examples ([`problems`]), each call appears under its aliases, and its operation id is its path.
//! Examples belong to the bodies: `#[schema(examples(json!(..)))]`. Fields of one kind share a schema in [`fields`].

pub(crate) mod fields;
mod problems;
mod rules;

use rules::{Aliases, Answers, LeftOut, OperationIds, Refusals, Sessions};
use utoipa::OpenApi;

use crate::handlers;

/// Every call.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Kokoro",
        description = include_str!("openapi/description.md"),
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "auth", description = "Accounts and sessions"),
        (name = "doctorsService", description = "What doctors publish, and who follows them"),
        (name = "doctorBookings", description = "Seats in doctors' slots"),
        (name = "chat", description = "The assistant for heart health"),
        (name = "payment", description = "Paying through Razorpay"),
        (name = "audit", description = "Who read, changed or deleted whose records"),
        (name = "medilocker", description = "Patients' files"),
        (name = "service", description = "The program itself"),
    ),
    paths(
        handlers::auth::sign_up_user,
        handlers::auth::sign_up_doctor,
        handlers::auth::log_in_user,
        handlers::auth::log_in_doctor,
        handlers::auth::log_out,
        handlers::profiles::complete_profile,
        handlers::doctor_list::fetch_doctors,
        handlers::profiles::subscribe,
        handlers::doctors_service::set_slots,
        handlers::doctors_service::update_slot,
        handlers::doctor_bookings::book,
        handlers::doctor_bookings::cancel,
        handlers::doctor_bookings::available,
        handlers::doctor_bookings::user,
        handlers::doctor_bookings::fetch_bookings,
        handlers::chat::chat,
        handlers::chat::history,
        handlers::payment::process_payment,
        handlers::payment::webhook,
        handlers::audit::mine,
        handlers::medilocker::upload,
        handlers::medilocker::fetch,
        handlers::medilocker::download,
        handlers::medilocker::delete,
        handlers::health::healthz,
        handlers::health::readyz,
        handlers::metrics::all,
        handlers::cluster::show,
        handlers::cluster::drain,
        handlers::docs::document,
        handlers::docs::entrance,
        handlers::docs::page,
    ),
    modifiers(&Sessions, &LeftOut, &Aliases, &OperationIds, &Refusals, &Answers)
)]
pub(crate) struct Document;
