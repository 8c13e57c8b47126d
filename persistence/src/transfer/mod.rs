//! All tables and files to a folder, and back: a backup, and the way from one store to another.
//!
//! Rows travel as DynamoDB's own JSON, files as bytes beside a line that says what S3 knew of them. Both ways can be
//! interrupted at any moment and go on. What belongs to one store and not to its data stays behind: fences and
//! heartbeats (an epoch from elsewhere could be lower than one that was in force here, and let a deposed process write
//! again), the journals of uploads (only whole uploads are exported), and secrets.
//!
//! A store that is used meanwhile gives each row as it was at some moment, and each owner's files as they were at one;
//! rows of different moments may not fit together. A store that stands still is copied exactly.

mod export;
mod folder;
mod import;
mod objects;
mod row_json;

use std::io;
use std::path::PathBuf;

pub use export::Export;
pub use folder::{Checksum, Sum};
pub use import::Import;

use crate::s3::{BucketNames, BucketsError};
use crate::scan::ScanError;
use crate::tables::{TableNames, TablesError};

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Part by part: tables, then buckets.
    pub parts: Vec<PartSummary>,
}

/// What was moved of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSummary {
    /// What it is called in the folder.
    pub name: &'static str,
    /// How much, and its checksum. For an import: as read back from the store.
    pub sum: Sum,
    /// What was left out: objects of uploads under way, or rows whose time was over.
    pub left_out: u64,
}

/// Why nothing was moved, or not all.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] ScanError),
    /// The tables are not as they must be.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The buckets are not as they must be.
    #[error(transparent)]
    Buckets(#[from] BucketsError),
    /// The file system refuses.
    #[error("{}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what the manifest says.
    #[error("{} is damaged: it is not what was exported", .0.display())]
    Damaged(PathBuf),
    /// The export is whole already.
    #[error("the folder holds a whole export: name another one")]
    Complete,
    /// The folder holds something else.
    #[error("the folder is neither empty nor an export that was interrupted")]
    NotAnExport,
    /// It was begun from another store.
    #[error("the folder holds a part of an export of another store ({0}): name another one")]
    OtherSource(String),
    /// There is no manifest.
    #[error("the folder holds no whole export: it has no manifest")]
    NoManifest,
    /// It was made by another version.
    #[error("the export has format {0}, which this version does not read")]
    Format(u32),
    /// The store holds data.
    #[error("{0} is not empty: name an empty store, or say --over")]
    NotEmpty(String),
    /// An import into another store was begun.
    #[error(
        "an import into another store ({0}) was begun from this folder: finish that, or remove import.json"
    )]
    OtherTarget(String),
    /// A value of a type that came after this version.
    #[error("{0} holds a value of a type that this version does not know")]
    UnknownValue(String),
    /// An owner's uploads follow one another without a pause.
    #[error("somebody's uploads follow one another too fast: try again")]
    Busy,
    /// What was read back is not what was written.
    #[error(
        "{part} has {found} of {expected}, or they differ: the store was written to meanwhile, or lost something"
    )]
    Differs {
        /// Which part.
        part: String,
        /// What should be there.
        expected: u64,
        /// What is.
        found: u64,
    },
}

/// The parts of an export that are tables, and what they are called in the store. Doctors come last: nobody can book
/// with a doctor who is not there yet.
fn tables(names: &TableNames) -> [(&'static str, &str); 7] {
    [
        ("users", &names.users),
        ("availability", &names.availability),
        ("bookings", &names.bookings),
        ("chat_history", &names.chat_history),
        ("payments", &names.payments),
        ("audit", &names.audit),
        ("doctors", &names.doctors),
    ]
}

/// The parts that are buckets.
fn buckets(names: &BucketNames) -> [(&'static str, &str); 2] {
    [("medilocker", &names.medilocker), ("documents", &names.documents)]
}
