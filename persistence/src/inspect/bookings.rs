//! Bookings. Rows of a partition follow one another, so a slot's seats are counted while its partition goes by. A date
//! that was spelled oddly has its other rows elsewhere: those are asked for, and counted together.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Days, NaiveDate};
use engine::calendar::{DateSpelling, InvalidSlot};
use engine::limits::{BOOKING_WINDOW_DAYS, SEATS_PER_SLOT};
use engine::{DoctorId, SlotStart, UserId};

use super::{Finding, Missing, Session};
use crate::dynamo::items::{Item, number_of, text, text_of};
use crate::dynamo::{AccountKind, keys, request_failure};
use crate::scan::ScanError;

/// Seats of one date that are compared with those of its other spellings: a full day has 240.
const COMPARED_MAX: usize = 10_000;

/// Whom and when a partition is about.
#[derive(Clone)]
struct Place {
    doctor: DoctorId,
    date: NaiveDate,
    is_plain: bool,
}

/// One partition, as its rows go by.
#[derive(Default)]
struct Partition {
    key: String,
    /// `None` when the key cannot be read.
    place: Option<Place>,
    seats: BTreeMap<SlotStart, usize>,
}

impl Session<'_> {
    pub(super) async fn bookings(&mut self, missing: &Missing) -> Result<(), ScanError> {
        let table = self.given.dynamo.tables().bookings.clone();
        let Some(mut rows) = self.rows(&table, missing).await? else { return Ok(()) };
        self.time_to_live(&table).await?;
        let mut partition = Partition::default();
        while let Some(page) = self.page(&mut rows).await? {
            let doctors = page.iter().map(|row| keys::split_bookings_partition(key_of(row).0).0);
            let doctors = doctors.filter(|doctor| DoctorId::parse(doctor).is_ok());
            self.known.ask(AccountKind::Doctor, doctors).await?;
            let users = page.iter().map(|row| keys::split_booking_sort(key_of(row).1).1);
            let users = users.filter(|user| UserId::parse(user).is_ok());
            self.known.ask(AccountKind::User, users).await?;
            for row in &page {
                let (key, _) = key_of(row);
                if key != partition.key {
                    self.end_date(&table, &partition).await?;
                    partition = Partition { key: key.to_owned(), place: place(key), seats: BTreeMap::new() };
                }
                self.booking(&table, row, &mut partition).await?;
            }
        }
        self.end_date(&table, &partition).await
    }

    async fn booking(&mut self, table: &str, row: &Item, partition: &mut Partition) -> Result<(), ScanError> {
        let (_, sort) = key_of(row);
        let key = format!("{} {sort}", partition.key);
        let Some(place) = partition.place.clone() else {
            self.note(Finding::BookingKeyUnreadable, table, &key);
            return Ok(());
        };
        let is_past = place.date < self.given.today;
        let (start_text, user_text) = keys::split_booking_sort(sort);
        let (start, user) = (SlotStart::parse(start_text), UserId::parse(user_text));
        let mut found = Vec::new();
        match start {
            Ok(start) => *partition.seats.entry(start).or_default() += 1,
            Err(InvalidSlot::OffGrid) => found.push(Finding::BookingOffGrid),
            Err(InvalidSlot::NotATime | InvalidSlot::Reversed) => found.push(Finding::BookingStartUnreadable),
        }
        match &user {
            Ok(user) if !self.known.is_known(AccountKind::User, user.as_str()) => {
                found.push(Finding::BookingOfNoUser);
            }
            Ok(_) => {}
            Err(_) => found.push(Finding::BookingUserUnreadable),
        }
        if !self.known.is_known(AccountKind::Doctor, place.doctor.as_str()) {
            found.push(Finding::BookingOfNoDoctor);
        } else if let Ok(start) = start {
            let offer = self.known.offer(&place.doctor, place.date.weekday()).await?;
            if !offer.named.contains(start) {
                found.push(Finding::BookingWithoutSlot);
            } else if !offer.offered.contains(start) {
                found.push(Finding::BookingInWithdrawnSlot);
            }
        }
        found.extend(fields(row, &place, start_text, user_text));
        if !place.is_plain {
            found.push(Finding::DateSpelledOddly);
        }
        if place.date > self.given.today + Days::new(BOOKING_WINDOW_DAYS) {
            found.push(Finding::BookingFarAhead);
        }
        for finding in found {
            self.note_at(finding, is_past, table, &key);
        }
        Ok(())
    }

    /// Says of a partition that went by what no single row tells.
    async fn end_date(&mut self, table: &str, partition: &Partition) -> Result<(), ScanError> {
        let Some(place) = &partition.place else { return Ok(()) };
        let is_past = place.date < self.given.today;
        if place.is_plain {
            for (start, _) in partition.seats.iter().filter(|(_, seats)| **seats > SEATS_PER_SLOT) {
                let key = format!("{} {start}", partition.key);
                self.note_at(Finding::SlotAboveFive, is_past, table, &key);
            }
            return Ok(());
        }
        let day = self.all_spellings(table, place).await?;
        // Of several odd spellings, the first speaks for all.
        if day.first_odd.as_deref() != Some(partition.key.as_str()) {
            return Ok(());
        }
        for (start, users) in &day.seats {
            let key = format!("{} {start}", partition.key);
            let all: usize = users.values().sum::<usize>();
            let twice = users.values().filter(|rows| **rows > 1).count();
            for _ in 0..twice {
                self.note_at(Finding::SeatUnderTwoSpellings, is_past, table, &key);
            }
            let seats = users.len() + day.unnamed.get(start).copied().unwrap_or_default();
            let in_plain = day.plain.get(start).copied().unwrap_or_default();
            debug_assert!(all >= users.len());
            // What stands under the plain spelling alone was said when that went by.
            if seats > SEATS_PER_SLOT && in_plain <= SEATS_PER_SLOT {
                self.note_at(Finding::SlotAboveFive, is_past, table, &key);
            }
        }
        Ok(())
    }

    async fn all_spellings(&self, table: &str, place: &Place) -> Result<Day, ScanError> {
        let mut day = Day::default();
        let mut compared = 0;
        for spelling in DateSpelling::of(place.date) {
            let key = keys::bookings_partition(&place.doctor, place.date, spelling);
            let query = self
                .dynamo
                .client()
                .query()
                .table_name(table)
                .key_condition_expression(keys::IN_PARTITION)
                .expression_attribute_values(keys::PARTITION_VALUE, text(&key))
                .projection_expression(keys::SK);
            let mut pages = query.into_paginator().send();
            let mut is_empty = true;
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| ScanError::new(table, request_failure(&error)))?;
                self.given.pace.take(page.items().len()).await;
                is_empty &= page.items().is_empty();
                for row in page.items() {
                    compared += 1;
                    if compared <= COMPARED_MAX {
                        day.take_in(text_of(row, keys::SK).unwrap_or_default(), spelling);
                    }
                }
            }
            if spelling != DateSpelling::PLAIN && !is_empty && day.first_odd.is_none() {
                day.first_odd = Some(key);
            }
        }
        Ok(day)
    }

    async fn time_to_live(&mut self, table: &str) -> Result<(), ScanError> {
        let answer = self.dynamo.client().describe_time_to_live().table_name(table).send().await;
        let answer = answer.map_err(|error| ScanError::new(table, request_failure(&error)))?;
        let status = answer.time_to_live_description.and_then(|description| description.time_to_live_status);
        let is_on = matches!(
            status,
            Some(
                aws_sdk_dynamodb::types::TimeToLiveStatus::Enabled
                    | aws_sdk_dynamodb::types::TimeToLiveStatus::Enabling
            )
        );
        if !is_on {
            self.note(Finding::TimeToLiveOff, table, &table);
        }
        Ok(())
    }
}

/// A date under all its spellings.
#[derive(Default)]
struct Day {
    /// In each slot, each user's rows.
    seats: BTreeMap<SlotStart, BTreeMap<String, usize>>,
    /// In each slot, rows whose user cannot be named.
    unnamed: BTreeMap<SlotStart, usize>,
    /// In each slot, rows under the plain spelling.
    plain: BTreeMap<SlotStart, usize>,
    /// The first partition with rows that is spelled oddly.
    first_odd: Option<String>,
}

impl Day {
    fn take_in(&mut self, sort: &str, spelling: DateSpelling) {
        let (start, user) = keys::split_booking_sort(sort);
        let Ok(start) = SlotStart::parse(start) else { return };
        if UserId::parse(user).is_ok() {
            *self.seats.entry(start).or_default().entry(user.to_owned()).or_default() += 1;
        } else {
            self.seats.entry(start).or_default();
            *self.unnamed.entry(start).or_default() += 1;
        }
        if spelling == DateSpelling::PLAIN {
            *self.plain.entry(start).or_default() += 1;
        }
    }
}

fn key_of(row: &Item) -> (&str, &str) {
    (text_of(row, keys::PK).unwrap_or_default(), text_of(row, keys::SK).unwrap_or_default())
}

fn place(partition: &str) -> Option<Place> {
    let (doctor, date_text) = keys::split_bookings_partition(partition);
    let date = keys::parse_date(date_text)?;
    let is_plain = DateSpelling::PLAIN.write(date) == date_text;
    Some(Place { doctor: DoctorId::parse(doctor).ok()?, date, is_plain })
}

/// What is odd about the attributes beside the key.
fn fields(row: &Item, place: &Place, start: &str, user: &str) -> BTreeSet<Finding> {
    let mut found = BTreeSet::new();
    let [doctor_id, date, start_attribute, user_id] =
        [keys::DOCTOR_ID, keys::DATE, keys::START, keys::USER_ID].map(|name| text_of(row, name));
    match (doctor_id, date, start_attribute, user_id) {
        (Some(doctor_id), Some(date), Some(start_attribute), Some(user_id)) => {
            let agree = doctor_id == place.doctor.as_str()
                && keys::parse_date(date) == Some(place.date)
                && start_attribute == start
                && user_id == user;
            if !agree {
                found.insert(Finding::BookingFieldsDiffer);
            }
        }
        _ => {
            found.insert(Finding::BookingLacksFields);
        }
    }
    if number_of::<i64>(row, keys::TTL).is_none() {
        found.insert(Finding::BookingWithoutTtl);
    }
    found
}
