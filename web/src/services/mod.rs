//! What is no actor's: accounts, the assistant, payments, the audit trail, a user's or doctor's list of bookings,
//! doctors' profiles, the examples of `--demo`. Also the one place that knows how a doctor's address may be spelled.

mod accounts;
mod assistant;
mod audit;
mod bookings;
mod demo;
mod doctors;
mod documents;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod listing;
mod pages;
mod payments;
mod profiles;
mod uploads;

pub(crate) use accounts::{Accounts, Person, SignUp, VISITORS_ADDRESS, parse_email};
pub(crate) use assistant::{
    ANSWER_BYTES_MAX, Asker, Assistant, AssistantError, Heard, QUESTION_CHARS_MAX, Question, Reply,
    WholeAnswer,
};
pub(crate) use audit::{Actor, Audit, Deed};
pub(crate) use bookings::{DOCTOR_LISTS, Shown, bookings_of_doctor, bookings_of_user, patients, write_shown};
pub(crate) use demo::{fill_with_examples, has_examples};
pub(crate) use doctors::{ask, available};
pub(crate) use documents::NewDocument;
pub(crate) use listing::{Filter, List, Listed};
pub(crate) use pages::{Page, PageKey, Pages};
pub(crate) use payments::{Paise, Payer, PaymentError, PaymentId, Payments};
pub(crate) use profiles::{Profiles, Subscribed};
pub(crate) use uploads::{BODY_LIMIT as UPLOAD_BODY_LIMIT, Uploads};
