//! Who exists and what is offered, asked of the store as rows name it, and remembered within bounds.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use chrono::Weekday;
use engine::DoctorId;
use engine::calendar::{DaySchedule, SlotSet};

use crate::dynamo::items::{Item, text, text_of};
use crate::dynamo::keys;
use crate::dynamo::{AccountKind, Dynamo, request_failure};
use crate::scan::{Pace, ScanError};
use crate::tables::TableNames;

/// Keys in one `BatchGetItem` (API reference).
const ASKED_AT_ONCE: usize = 100;
/// Addresses that are remembered, of each kind.
const ADDRESSES_MAX: usize = 50_000;
/// Weekdays that are remembered.
const WEEKDAYS_MAX: usize = 10_000;

/// What a weekday's rows say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Offer {
    /// The slots that some row names.
    pub(super) named: SlotSet,
    /// Those that can be booked.
    pub(super) offered: SlotSet,
}

/// Answers, with what was asked before.
pub(super) struct Known<'a> {
    dynamo: Dynamo,
    pace: &'a Pace,
    users: HashMap<String, bool>,
    doctors: HashMap<String, bool>,
    offers: HashMap<(DoctorId, Weekday), Offer>,
    missing: Vec<String>,
}

impl<'a> Known<'a> {
    pub(super) fn new(dynamo: Dynamo, pace: &'a Pace) -> Self {
        let (users, doctors, offers) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { dynamo, pace, users, doctors, offers, missing: Vec::new() }
    }

    pub(super) fn tables_missing(&mut self, missing: Vec<String>) {
        self.missing = missing;
    }

    pub(super) fn is_missing(&self, table: &str) -> bool {
        self.missing.iter().any(|missing| missing == table)
    }

    /// Asks about those of the addresses that are not remembered. What is asked about together is remembered together:
    /// [`Self::is_known`] answers for all of them until the next call.
    pub(super) async fn ask<'t>(
        &mut self,
        kind: AccountKind,
        addresses: impl Iterator<Item = &'t str>,
    ) -> Result<(), ScanError> {
        let wanted: BTreeSet<&str> = addresses.collect();
        let table = table_of(self.dynamo.tables(), kind).to_owned();
        let remembered = self.remembered(kind);
        if remembered.len() + wanted.len() > ADDRESSES_MAX {
            remembered.clear();
        }
        let fresh: Vec<&str> =
            wanted.into_iter().filter(|address| !remembered.contains_key(*address)).collect();
        for some in fresh.chunks(ASKED_AT_ONCE) {
            let found = if self.missing.contains(&table) {
                BTreeSet::new()
            } else {
                self.pace.take(some.len()).await;
                self.found(&table, some).await?
            };
            let answers = some.iter().map(|address| ((*address).to_owned(), found.contains(*address)));
            self.remembered(kind).extend(answers);
        }
        Ok(())
    }

    /// Whether there is such an account, of those that were asked about last.
    pub(super) fn is_known(&self, kind: AccountKind, address: &str) -> bool {
        let remembered = match kind {
            AccountKind::User => &self.users,
            AccountKind::Doctor => &self.doctors,
        };
        remembered.get(address).copied().unwrap_or(false)
    }

    /// What a doctor offers on a weekday, as the engine reads it.
    pub(super) async fn offer(&mut self, doctor: &DoctorId, weekday: Weekday) -> Result<Offer, ScanError> {
        let key = (doctor.clone(), weekday);
        if let Some(offer) = self.offers.get(&key) {
            return Ok(*offer);
        }
        let table = self.dynamo.tables().availability.clone();
        if self.missing.contains(&table) {
            return Ok(Offer::default());
        }
        let rows = self.dynamo.bookings().hours(doctor, weekday).await;
        let rows = rows.map_err(|error| ScanError::new(&table, error.to_string()))?;
        self.pace.take(rows.len().max(1)).await;
        let named = rows.iter().flat_map(|row| row.span.slots()).collect();
        let offer = Offer { named, offered: DaySchedule::from_rows(rows).offered() };
        if self.offers.len() >= WEEKDAYS_MAX {
            self.offers.clear();
        }
        self.offers.insert(key, offer);
        Ok(offer)
    }

    fn remembered(&mut self, kind: AccountKind) -> &mut HashMap<String, bool> {
        match kind {
            AccountKind::User => &mut self.users,
            AccountKind::Doctor => &mut self.doctors,
        }
    }

    async fn found(&self, table: &str, addresses: &[&str]) -> Result<BTreeSet<String>, ScanError> {
        let failed = |problem: String| ScanError::new(table, problem);
        let key = |address: &&str| Item::from([(keys::EMAIL.to_owned(), text(*address))]);
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(addresses.iter().map(key).collect()))
            .projection_expression(keys::EMAIL)
            .build();
        let wanted = wanted.map_err(|error| failed(error.to_string()))?;
        let mut wanted = HashMap::from([(table.to_owned(), wanted)]);
        let mut found = BTreeSet::new();
        while !wanted.is_empty() {
            let answer = self.dynamo.client().batch_get_item().set_request_items(Some(wanted)).send().await;
            let answer = answer.map_err(|error| failed(request_failure(&error)))?;
            let rows = answer.responses.unwrap_or_default().remove(table).unwrap_or_default();
            found.extend(rows.iter().filter_map(|row| text_of(row, keys::EMAIL)).map(str::to_owned));
            wanted = answer.unprocessed_keys.unwrap_or_default();
        }
        Ok(found)
    }
}

pub(super) fn table_of(tables: &TableNames, kind: AccountKind) -> &str {
    match kind {
        AccountKind::User => &tables.users,
        AccountKind::Doctor => &tables.doctors,
    }
}
