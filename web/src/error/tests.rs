//! What the contract says of errors, and what it must never say.

use engine::EngineError;
use persistence::FilesError;

use super::*;

fn told(error: &ApiError) -> (u16, &'static str, bool) {
    let told = error.told();
    (told.status.as_u16(), told.code, matches!(told.header, Some((RETRY_AFTER, _))))
}

#[test]
fn a_rejection_keeps_the_status_and_text_of_the_contract() {
    for (rejection, status, code, detail) in [
        (Rejection::SlotFull, 409, "slot_full", "Slot full"),
        (Rejection::AlreadyBooked, 409, "already_booked", "User already booked"),
        (Rejection::SlotUnavailable, 409, "slot_unavailable", "Selected slot is not available"),
        (
            Rejection::TooManyBookings { limit: 10 },
            409,
            "too_many_bookings",
            "You already have 10 bookings to come with this doctor. Please cancel one of them first",
        ),
        (
            Rejection::TooManyBookings { limit: 1 },
            409,
            "too_many_bookings",
            "You already have a booking to come with this doctor. Please cancel it first",
        ),
        (Rejection::DoctorNotFound, 404, "doctor_not_found", "Doctor not found"),
        (Rejection::BookingNotFound, 404, "booking_not_found", "Booking not found"),
    ] {
        let told = ApiError::from(EngineError::from(rejection)).told();
        assert_eq!((told.status.as_u16(), told.code, &*told.detail), (status, code, detail));
    }
    assert_eq!(told(&ApiError::Rejected(Rejection::OutsideWindow)).0, 422);
    assert_eq!(told(&ApiError::Rejected(Rejection::SlotInPast)).0, 422);
}

#[test]
fn a_503_says_whether_a_retry_is_safe() {
    assert_eq!(told(&EngineError::Busy.into()), (503, "busy", true));
    assert_eq!(told(&EngineError::Unavailable.into()), (503, "unavailable", true));
    assert_eq!(told(&EngineError::OutcomeUnknown.into()), (503, "outcome_unknown", false));
    assert_eq!(told(&FilesError::Unknown(String::new()).into()), (503, "outcome_unknown", false));
    for error in [ApiError::Busy, ApiError::Unavailable, ApiError::ShuttingDown] {
        assert!(error.told().detail.contains("safe to try again"));
    }
    assert!(ApiError::OutcomeUnknown.told().detail.contains("may be repeated"));
}

#[test]
fn the_cause_of_an_internal_error_is_not_told() {
    let error = ApiError::internal("table Users said ada@x.com");
    assert!(!error.told().detail.contains("ada") && !error.to_string().contains("ada"));
    assert!(error.hidden_cause().is_some());
}
