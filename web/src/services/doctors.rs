//! How a doctor is found: under the address as sent, then lower-cased. The spelling under which it is found is the
//! identity that keys carry.

use chrono::NaiveDate;
use engine::{Answer, Command, DayView, DoctorId, EngineError, Rejection, Router};

const NOT_FOUND: EngineError = EngineError::Rejected(Rejection::DoctorNotFound);

/// Has a command decided by a doctor, and says under which identity.
pub(crate) async fn ask(
    router: &Router,
    as_sent: DoctorId,
    command: Command,
) -> Result<(DoctorId, Answer), EngineError> {
    let Some(lower_cased) = lower_cased(&as_sent) else {
        return router.ask(&as_sent, command).await.map(|answer| (as_sent, answer));
    };
    match router.ask(&as_sent, command.clone()).await {
        Err(error) if error == NOT_FOUND => {
            router.ask(&lower_cased, command).await.map(|answer| (lower_cased, answer))
        }
        answer => answer.map(|answer| (as_sent, answer)),
    }
}

/// What a doctor offers on a date.
pub(crate) async fn available(
    router: &Router,
    as_sent: DoctorId,
    date: NaiveDate,
) -> Result<DayView, EngineError> {
    match router.view(&as_sent, date).await {
        Err(error) if error == NOT_FOUND => match lower_cased(&as_sent) {
            Some(lower_cased) => router.view(&lower_cased, date).await,
            None => Err(error),
        },
        view => view,
    }
}

/// The lower-cased address where it is another one.
pub(super) fn lower_cased(doctor: &DoctorId) -> Option<DoctorId> {
    if doctor.as_str().bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return None;
    }
    let lower_cased = doctor.as_str().to_lowercase();
    if lower_cased == doctor.as_str() { None } else { DoctorId::parse(&lower_cased).ok() }
}
