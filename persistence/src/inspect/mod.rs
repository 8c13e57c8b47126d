//! What is odd in the tables and buckets: read-only, and no more than a page, a partition and a few bounded caches in
//! memory. It judges with the parsers that the engine reads with, so that what it says is what will happen.
//!
//! Not looked at: the trail and the heartbeats, which only the engine writes; whether an amount was cut off a paisa, which
//! no row tells; `AuthTokensTable`, which nothing reads.

mod accounts;
mod bookings;
mod files;
mod finding;
mod known;
mod others;
mod schedules;

use std::fmt::Display;

use chrono::NaiveDate;

pub use finding::{Count, Finding, Severity, Tally};

use crate::dynamo::Dynamo;
use crate::dynamo::items::Item;
use crate::s3::S3;
use crate::scan::{Pace, Rows, ScanError, Watch, rows_about};
use known::Known;

/// Told of every finding, and of where it is.
pub trait Look: Watch {
    /// Something is odd about what lies under `key`, which may be an address: not for logs.
    fn found(&mut self, finding: Finding, part: &str, key: &dyn Display);
}

/// An inspection.
pub struct Inspection<'a> {
    /// Where the rows are.
    pub dynamo: &'a Dynamo,
    /// Where the files are.
    pub s3: &'a S3,
    /// How fast.
    pub pace: Pace,
    /// The clinic's date: what is before it is history.
    pub today: NaiveDate,
    /// Whether a text is a password hash that somebody can log in with.
    pub is_hash: fn(&str) -> bool,
}

/// What an inspection has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was read: rows of each table, objects of each bucket.
    pub parts: Vec<(String, u64)>,
    /// What was found.
    pub tally: Tally,
}

impl Inspection<'_> {
    /// Reads everything.
    pub async fn run(&self, look: &mut dyn Look) -> Result<Report, ScanError> {
        let dynamo = self.dynamo.unhurried();
        let known = Known::new(dynamo.clone(), &self.pace);
        let mut session = Session { given: self, dynamo, look, report: Report::default(), known };
        let missing = session.missing_tables().await?;
        session.accounts(&missing).await?;
        session.schedules(&missing).await?;
        session.bookings(&missing).await?;
        session.others(&missing).await?;
        session.files().await?;
        Ok(session.report)
    }
}

/// An inspection under way.
struct Session<'a> {
    given: &'a Inspection<'a>,
    dynamo: Dynamo,
    look: &'a mut dyn Look,
    report: Report,
    known: Known<'a>,
}

/// Tables that are not there.
struct Missing(Vec<String>);

impl Missing {
    fn has(&self, table: &str) -> bool {
        self.0.iter().any(|missing| missing == table)
    }
}

impl<'a> Session<'a> {
    async fn missing_tables(&mut self) -> Result<Missing, ScanError> {
        let tables = self.given.dynamo.tables();
        let old = [
            &tables.users,
            &tables.doctors,
            &tables.availability,
            &tables.bookings,
            &tables.chat_history,
            &tables.payments,
        ];
        let own = [&tables.engine, &tables.nodes, &tables.audit];
        let mut missing = Vec::new();
        for (table, finding) in old
            .map(|table| (table, Finding::TableMissing))
            .into_iter()
            .chain(own.map(|table| (table, Finding::OwnTableMissing)))
        {
            if rows_about(self.dynamo.client(), table).await?.is_none() {
                self.note(finding, table, table);
                missing.push(table.clone());
            }
        }
        self.known.tables_missing(missing.clone());
        Ok(Missing(missing))
    }

    /// A table's rows; `None` when it is not there.
    async fn rows(&mut self, table: &str, missing: &Missing) -> Result<Option<Rows<'a>>, ScanError> {
        if missing.has(table) {
            return Ok(None);
        }
        let about = rows_about(self.dynamo.client(), table).await?;
        self.look.begin(table, about);
        self.report.parts.push((table.to_owned(), 0));
        Ok(Some(Rows::of(self.dynamo.client(), table, &self.given.pace)))
    }

    /// The next page of what was begun last.
    async fn page(&mut self, rows: &mut Rows<'_>) -> Result<Option<Vec<Item>>, ScanError> {
        let Some((page, _)) = rows.next().await? else { return Ok(None) };
        self.read(page.len());
        Ok(Some(page))
    }

    fn read(&mut self, count: usize) {
        self.look.advance(count as u64);
        if let Some((_, read)) = self.report.parts.last_mut() {
            *read += count as u64;
        }
    }

    fn note(&mut self, finding: Finding, part: &str, key: &dyn Display) {
        self.note_at(finding, false, part, key);
    }

    fn note_at(&mut self, finding: Finding, is_past: bool, part: &str, key: &dyn Display) {
        self.report.tally.add(finding, is_past);
        self.look.found(finding, part, key);
    }
}
