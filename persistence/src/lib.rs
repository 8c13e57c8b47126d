//! All that knows AWS: DynamoDB's tables, keys, items and conditions, S3's objects, and the embedded servers of the
//! default run.
//!
//! [`Dynamo`] is the way in. `dynamo.bookings()`, `dynamo.fences(..)` and `dynamo.nodes(..)` implement the engine's traits;
//! accounts and lists of bookings are concrete handles that `web` calls. [`tables`] defines every table as
//! data and makes those that are missing. [`S3`] leads to patients' files ([`Locker`]) and doctors' [`Documents`].
//! [`EmbeddedDynamo`] and [`EmbeddedS3`] are compatible servers in this process, so that the default run, the tests
//! and production differ only in an [`Endpoint`].
//!
//! [`inspect`] says what is odd in the tables and buckets, [`transfer`] moves all of them to a folder and back.
//!
//! This crate translates; it decides nothing. What a booking may be, what is retried and what a failure means
//! to a caller are the engine's and `web`'s business. It retries reads by itself, commits and claims never.
//!
//! Nothing here logs an address or an identifier: a row that cannot be read is reported by its table and what
//! is wrong with it. Beware of others: at level TRACE the SDK, at DEBUG `s3s`, log whole requests.

mod aws;
mod data_folder;
mod dynamo;
mod embedded;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod inspect;
mod pieces;
mod s3;
mod scan;
pub mod tables;
pub mod transfer;

pub use aws::{AccessKeys, ConnectError, Endpoint};
pub use data_folder::{DataFolder, DataFolderError, SecretError, fresh_secret};
#[doc(hidden)]
pub use dynamo::bench;
pub use dynamo::{
    AUDIT_ENTRIES_AT_ONCE, Account, AccountKind, Accounts, AccountsError, AuditAction, AuditCursor,
    AuditCursorError, AuditEntry, AuditError, AuditOutcome, AuditPage, AuditParty, AuditRow, AuditSubject,
    AuditTrail, BookingRow, Chats, CreateError, Dynamo, DynamoBookings, DynamoFences, DynamoNodes, Exchange,
    LISTED_DATES_MAX, NewAccount, PaymentRow, Payments, ProfileChange, ProfileText, Profiles, PublicDoctor,
    StoredPayment, Subscription, UserBookings,
};
pub use embedded::{Admission, EmbeddedDynamo, EmbeddedError, EmbeddedS3, OwnProcess, Where};
pub use s3::{
    BucketNames, BucketsError, DocumentError, DocumentKind, Documents, FileName, FilesError, InvalidFileName,
    Locker, NewFile, S3, StoredFile, UploadError, nfc,
};
pub use scan::{Pace, ScanError, Watch};
pub use tables::{TableNames, TablesError};
