//! Every URL on one screen.

use actix_web::guard::{Any, Get, Head};
use actix_web::web::{ServiceConfig, post, resource, route};
use actix_web::{Handler, Resource, Responder};

use crate::error::ApiError;
use crate::handlers::{auth, doctor_bookings, doctors_service, health};

/// The process lives.
pub(crate) const HEALTHZ: &str = "/healthz";
/// The process can book.
pub(crate) const READYZ: &str = "/readyz";

/// Adds every route.
pub(crate) fn all(config: &mut ServiceConfig) {
    config
        // auth
        .service(posted(["/auth/signupUser", "/auth/user/signup"], auth::sign_up_user))
        .service(posted(["/auth/signupDoctor", "/auth/doctor/signup"], auth::sign_up_doctor))
        .service(posted(["/auth/loginUser", "/auth/user/login"], auth::log_in_user))
        .service(posted(["/auth/loginDoctor", "/auth/doctor/login"], auth::log_in_doctor))
        .service(posted(["/auth/logout"], auth::log_out))
        // what doctors publish
        .service(posted(["/doctorsService/setSlots"], doctors_service::set_slots))
        .service(posted(["/doctorsService/updateSlot"], doctors_service::update_slot))
        // seats
        .service(posted(["/doctorBookings/book"], doctor_bookings::book))
        .service(posted(["/doctorBookings/cancel"], doctor_bookings::cancel))
        .service(posted(["/doctorBookings/available"], doctor_bookings::available))
        .service(posted(["/doctorBookings/user"], doctor_bookings::user))
        .service(posted(["/doctorBookings/fetchBookings"], doctor_bookings::fetch_bookings))
        // whoever watches the process
        .service(read(HEALTHZ, health::healthz))
        .service(read(READYZ, health::readyz))
        .default_service(route().to(nothing_here));
}

/// A call: POST, and a clear answer to any other method.
fn posted<F, Args, const N: usize>(paths: [&'static str; N], handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource(paths.to_vec()).route(post().to(handler)).default_service(route().to(post_only))
}

fn read<F, Args>(path: &'static str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let get = route().guard(Any(Get()).or(Head())).to(handler);
    resource(path).route(get).default_service(route().to(get_only))
}

async fn nothing_here() -> Result<&'static str, ApiError> {
    Err(ApiError::PathNotFound)
}

async fn post_only() -> Result<&'static str, ApiError> {
    Err(ApiError::MethodNotAllowed("POST"))
}

async fn get_only() -> Result<&'static str, ApiError> {
    Err(ApiError::MethodNotAllowed("GET, HEAD"))
}
