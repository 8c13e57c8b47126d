//! DynamoDB: one file per hop. [`bookings`], [`fences`] and [`nodes`] implement the engine's traits; [`accounts`], [`audit`],
//! [`chats`], [`payments`], [`profiles`], [`subscriptions`] and [`user_bookings`] are called by `web`; [`keys`],
//! [`items`] and [`transact`] know how rows look, [`transaction`] how they are sent, [`error`] what a failure means.

mod accounts;
mod audit;
#[doc(hidden)]
pub mod bench;
mod bookings;
mod chats;
mod connect;
mod error;
mod fences;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod items;
pub(crate) mod keys;
mod nodes;
mod payments;
mod profiles;
mod subscriptions;
mod transact;
mod transaction;
mod uploads;
mod user_bookings;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use engine::shard::Ring;
use engine::store::LoadError;

pub use accounts::{Account, AccountKind, Accounts, AccountsError, CreateError, NewAccount};
pub use audit::{
    AUDIT_ENTRIES_AT_ONCE, AuditAction, AuditCursor, AuditCursorError, AuditEntry, AuditError, AuditOutcome,
    AuditPage, AuditParty, AuditRow, AuditSubject, AuditTrail,
};
pub use bookings::DynamoBookings;
pub(crate) use chats::words_of;
pub use chats::{Chats, Exchange};
pub(crate) use error::request_failure;
pub use fences::DynamoFences;
pub use nodes::DynamoNodes;
pub use payments::{PaymentRow, Payments, StoredPayment};
pub use profiles::{ProfileChange, ProfileText, Profiles, PublicDoctor};
pub use subscriptions::Subscription;
pub(crate) use uploads::{Entry, Journal, Uploads};
pub use user_bookings::{BookingRow, LISTED_DATES_MAX, UserBookings};

use crate::embedded::OwnProcess;
use crate::tables::TableNames;
use error::load_error;
use items::Item;

/// Pages of one query, of a megabyte each: more is a mistake, not a calendar.
const PAGES_MAX: usize = 32;

/// The way to DynamoDB; clones share its connections.
#[derive(Debug, Clone)]
pub struct Dynamo {
    /// Asks again by itself: for reads, and for writes that may be repeated.
    patient: Client,
    /// Never asks again: what happened to a write must not be hidden.
    strict: Client,
    /// Where both lead, if that is in this process.
    own: Option<OwnProcess>,
    tables: Arc<TableNames>,
}

impl Dynamo {
    /// Bookings and schedules, for the engine.
    pub fn bookings(&self) -> DynamoBookings {
        DynamoBookings::new(self.clone())
    }

    /// Who owns which range, for the engine.
    pub fn fences(&self, ring: Ring) -> DynamoFences {
        DynamoFences::new(self.clone(), ring)
    }

    /// Which nodes take part in the cluster, for the engine.
    pub fn nodes(&self, ring: Ring) -> DynamoNodes {
        DynamoNodes::new(self.clone(), ring)
    }

    /// Patients' and doctors' accounts.
    pub fn accounts(&self) -> Accounts {
        Accounts::new(self.clone())
    }

    /// Exchanges with the assistant.
    pub fn chats(&self) -> Chats {
        Chats::new(self.clone())
    }

    /// Who read, changed or deleted whose records.
    pub fn audit(&self) -> AuditTrail {
        AuditTrail::new(self.clone())
    }

    /// Doctors' profiles.
    pub fn profiles(&self) -> Profiles {
        Profiles::new(self.clone())
    }

    /// Lists of stored bookings.
    pub fn user_bookings(&self) -> UserBookings {
        UserBookings::new(self.clone())
    }

    /// Payments and payment links.
    pub fn payments(&self) -> Payments {
        Payments::new(self.clone())
    }

    /// The journals of uploads under way, for the locker.
    pub(crate) fn uploads(&self) -> Uploads {
        Uploads::new(self.clone())
    }

    /// The same tables through another client, for all that may be repeated.
    pub(crate) fn through(&self, patient: Client) -> Self {
        Self { patient, ..self.clone() }
    }

    /// What the tables are called.
    pub fn tables(&self) -> &TableNames {
        &self.tables
    }

    /// The SDK's own client, for tools and tests that write rows as somebody else would.
    pub fn client(&self) -> &Client {
        &self.patient
    }
}

/// Every row that the query finds, page by page.
async fn all_rows(query: QueryFluentBuilder) -> Result<Vec<Item>, LoadError> {
    let mut rows = Vec::new();
    let mut from = None;
    for _ in 0..PAGES_MAX {
        let page = query.clone().set_exclusive_start_key(from).send().await.map_err(load_error)?;
        rows.extend(page.items.unwrap_or_default());
        match page.last_evaluated_key {
            Some(key) if !key.is_empty() => from = Some(key),
            Some(_) | None => return Ok(rows),
        }
    }
    Err(LoadError::Refused(format!("more than {PAGES_MAX} pages under one key")))
}
