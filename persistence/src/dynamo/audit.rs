//! The audit trail in `KokoroAudit`: who read, changed or deleted whose records. Rows are added and never changed or
//! deleted: a transaction of puts needs the right to put alone, so the store's access rules can forbid the rest (a
//! `BatchWriteItem` may delete).

#[cfg(test)]
mod tests;

use std::fmt;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use engine::store::LoadError;
use engine::{DoctorId, RequestToken, SlotStart, UserId};

use super::error::load_error;
use super::items::{Item, text, text_of};
use super::transaction::{Attributes, Transaction};
use super::{Dynamo, keys};

/// Entries that one request writes (DynamoDB developer guide, "Transactions: how it works").
pub const AUDIT_ENTRIES_AT_ONCE: usize = 100;

const ACTOR: &str = "actor";
const ACTOR_TYPE: &str = "actor_type";
const ACTION: &str = "action";
const OUTCOME: &str = "outcome";
const REQUEST_ID: &str = "request_id";
const FILENAME: &str = "filename";

/// The entries of one owner before a given one.
const BEFORE: &str = "PK = :partition AND SK < :before";
const BEFORE_VALUE: &str = ":before";
/// The code of a cancellation whose put found its row there.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// Between kind and address in a partition key, and between time and identifier in a sort key.
const SEPARATOR: &str = "#";

/// Somebody with an account. A doctor and a user of one address are two parties.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuditParty {
    /// A patient.
    User(UserId),
    /// A doctor.
    Doctor(DoctorId),
}

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// A seat was taken.
    BookingMade,
    /// A seat was given back.
    BookingCancelled,
    /// A list of bookings was shown; one entry stands for an hour of looking.
    BookingsRead,
    /// A file was stored.
    FileUploaded,
    /// The list of files was shown.
    FilesListed,
    /// An address to download a file from was given.
    FileDownloaded,
    /// A file was deleted.
    FileDeleted,
    /// Exchanges with the assistant were shown.
    ChatRead,
}

/// Whether what an entry says has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It has, or was about to when the entry was written.
    Done,
    /// It may have: whoever asked was not told either.
    Unknown,
}

/// Which record; its owner is said elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub enum AuditSubject {
    /// All of the owner's of that kind.
    All,
    /// A file.
    File {
        /// Its name.
        filename: String,
    },
    /// A seat in a slot.
    Seat {
        /// With whom.
        doctor: DoctorId,
        /// On which date of the clinic's calendar.
        date: NaiveDate,
        /// When its slot begins.
        start: SlotStart,
    },
}

/// One entry to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Whose record it is about.
    pub owner: AuditParty,
    /// When.
    pub at: DateTime<Utc>,
    /// Random: no two entries have one key.
    pub id: u128,
    /// Who did it.
    pub actor: AuditParty,
    /// What was done.
    pub action: AuditAction,
    /// Whether it was.
    pub outcome: AuditOutcome,
    /// To which record.
    pub subject: AuditSubject,
    /// The request in which it was done: 32 hexadecimal digits where it is stored and shown.
    pub request_id: u128,
}

/// One entry as it is stored; actions of other versions are shown as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When: RFC 3339 with milliseconds, UTC.
    pub at: String,
    /// The actor's address.
    pub actor: String,
    /// `user` or `doctor`.
    pub actor_type: String,
    /// What was done.
    pub action: String,
    /// `done` or `unknown`.
    pub outcome: String,
    /// The name of the file, if it is about one.
    pub filename: Option<String>,
    /// The doctor's address, if it is about a seat.
    pub doctor_id: Option<String>,
    /// The seat's date, as stored.
    pub date: Option<String>,
    /// When the seat's slot begins, as stored.
    pub start: Option<String>,
    /// The request in which it was done.
    pub request_id: String,
}

/// Entries of one owner, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub rows: Vec<AuditRow>,
    /// Where older ones go on, if there are any.
    pub next: Option<AuditCursor>,
}

/// A place in an owner's entries: the key of the last one shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCursor(String);

/// The text is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no cursor")]
pub struct AuditCursorError;

/// Why the trail cannot be read or written now.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Throttled, unreachable or too slow; a write may have happened, and may be asked for again.
    #[error("the audit trail does not answer, a retry is safe: {0}")]
    Unavailable(String),
    /// The store refuses the request itself.
    #[error("the audit trail refuses the request: {0}")]
    Refused(String),
}

/// The entries in `KokoroAudit`.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    dynamo: Dynamo,
}

impl AuditTrail {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// Adds up to [`AUDIT_ENTRIES_AT_ONCE`] entries, all or none. Repeating it is safe, by the SDK and by the caller: an
    /// entry that is there already can only have been written by an earlier attempt, and then all of them were.
    pub async fn append(&self, entries: &[AuditEntry]) -> Result<(), AuditError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut transaction = Transaction::new(entries.len());
        for entry in entries {
            transaction.put(&self.dynamo.tables.audit, |put| {
                put.item(|row| write(entry, row));
                put.condition(keys::IS_ABSENT);
            });
        }
        // The same for the same entries: whoever repeats them repeats the request.
        let token = RequestToken::new(entries.iter().fold(0, |token, entry| token ^ entry.id));
        match transaction.send(&self.dynamo.patient, self.dynamo.own.as_ref(), token).await {
            Ok(()) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled.cancellation_reasons().iter().any(found_its_row) =>
                {
                    Ok(())
                }
                Some(_) | None => Err(load_error(error).into()),
            },
        }
    }

    /// The newest entries about `owner`'s records, or those older than a cursor. Strongly consistent.
    pub async fn page(
        &self,
        owner: &AuditParty,
        before: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, AuditError> {
        // One more than is shown tells whether there is more; so does the store, where a page ends for its size.
        let wanted = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
        let query = self
            .dynamo
            .patient
            .query()
            .table_name(&self.dynamo.tables.audit)
            .expression_attribute_values(keys::PARTITION_VALUE, text(owner.partition()))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(wanted);
        let query = match before {
            Some(AuditCursor(before)) => query
                .key_condition_expression(BEFORE)
                .expression_attribute_values(BEFORE_VALUE, text(before.clone())),
            None => query.key_condition_expression(keys::IN_PARTITION),
        };
        let answer = query.send().await.map_err(load_error)?;
        let items = answer.items();
        let has_more = items.len() > limit || answer.last_evaluated_key().is_some();
        let shown = items.get(..limit).unwrap_or(items);
        let last = shown.last().filter(|_| has_more);
        let next = last.and_then(|item| text_of(item, keys::SK)).map(|sort| AuditCursor(sort.to_owned()));
        Ok(AuditPage { rows: shown.iter().map(read).collect(), next })
    }
}

impl AuditParty {
    fn partition(&self) -> String {
        [self.word(), SEPARATOR, self.address()].concat()
    }

    /// As stored.
    fn address(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::Doctor(doctor) => doctor.as_str(),
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Doctor(_) => "doctor",
        }
    }
}

impl AuditAction {
    /// Its name in the trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BookingMade => "booking_made",
            Self::BookingCancelled => "booking_cancelled",
            Self::BookingsRead => "bookings_read",
            Self::FileUploaded => "file_uploaded",
            Self::FilesListed => "files_listed",
            Self::FileDownloaded => "file_downloaded",
            Self::FileDeleted => "file_deleted",
            Self::ChatRead => "chat_read",
        }
    }
}

impl AuditOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

impl AuditCursor {
    /// Reads a cursor that [`AuditTrail::page`] gave out.
    pub fn parse(text: &str) -> Result<Self, AuditCursorError> {
        let (at, id) = text.split_once(SEPARATOR).ok_or(AuditCursorError)?;
        let is_time = DateTime::parse_from_rfc3339(at).is_ok_and(|parsed| written(parsed.to_utc()) == at);
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_time && is_id { Ok(Self(text.to_owned())) } else { Err(AuditCursorError) }
    }

    /// What to send to a client.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<LoadError> for AuditError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(text) => Self::Unavailable(text),
            LoadError::Refused(text) => Self::Refused(text),
        }
    }
}

impl fmt::Debug for AuditSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditSubject(..)")
    }
}

impl fmt::Debug for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditEntry({:?}, ..)", self.action)
    }
}

impl fmt::Debug for AuditRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditRow({}, ..)", self.action)
    }
}

/// So that times sort as texts.
fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn found_its_row(reason: &CancellationReason) -> bool {
    reason.code() == Some(CONDITION_FAILED)
}

fn write(entry: &AuditEntry, row: &mut Attributes<'_>) {
    let AuditEntry { owner, at, id, actor, action, outcome, subject, request_id } = entry;
    row.text(keys::PK, owner.partition());
    row.text(keys::SK, format_args!("{}{SEPARATOR}{id:032x}", written(*at)));
    row.text(ACTOR, actor.address());
    row.text(ACTOR_TYPE, actor.word());
    row.text(ACTION, action.as_str());
    row.text(OUTCOME, outcome.as_str());
    row.text(REQUEST_ID, format_args!("{request_id:032x}"));
    match subject {
        AuditSubject::All => {}
        AuditSubject::File { filename } => row.text(FILENAME, filename),
        AuditSubject::Seat { doctor, date, start } => {
            row.text(keys::DOCTOR_ID, doctor.as_str());
            row.text(keys::DATE, date);
            row.text(keys::START, start);
        }
    }
}

fn read(item: &Item) -> AuditRow {
    let given = |name| text_of(item, name).map(str::to_owned);
    let told = |name| given(name).unwrap_or_default();
    let sort = told(keys::SK);
    AuditRow {
        at: sort.split_once(SEPARATOR).map_or(sort.as_str(), |(at, _)| at).to_owned(),
        actor: told(ACTOR),
        actor_type: told(ACTOR_TYPE),
        action: told(ACTION),
        outcome: told(OUTCOME),
        filename: given(FILENAME),
        doctor_id: given(keys::DOCTOR_ID),
        date: given(keys::DATE),
        start: given(keys::START),
        request_id: told(REQUEST_ID),
    }
}
