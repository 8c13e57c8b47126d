//! Bookings in DynamoDB without actors: a conditional transaction for each, on the server that the product embeds. The
//! transaction checks that the slot is offered, counts its seats, puts the booking and an entry about it into the audit
//! trail; each slot's count is an item.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use actix_web::web::Data;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update};
use chrono::{Datelike, NaiveDate, SecondsFormat};
use engine::limits::SEATS_PER_SLOT;
use engine::{Chance, Clock, DoctorId, SlotStart, SystemChance, SystemClock, UserId};
use futures::{StreamExt, TryStreamExt, stream, try_join};
use persistence::{DataFolder, Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};

use crate::contract::{Doctors, PART_TIME, PART_TIME_START, Refusal, Seat, Seats, kept_until};

/// Puts at once while the doctors are stored.
const PUTS_AT_ONCE: usize = 16;
/// Actions in one of them.
const ACTIONS_MAX: usize = 100;
/// How often a transaction in conflict is tried.
const ATTEMPTS_MAX: u32 = 10;
/// The pause after the first conflict; it doubles, with jitter.
const BACKOFF: Duration = Duration::from_millis(2);

/// How long the database may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

const PK: &str = "PK";
const SK: &str = "SK";
const EMAIL: &str = "email";
/// The slots of a weekday, in its one item.
const SLOTS: &str = "slots";
const SCHEDULE: &str = "schedule";
const SEATS: &str = "seats";

type Item = HashMap<String, AttributeValue>;

/// The embedded server, with tables and doctors.
pub(crate) struct Database {
    server: EmbeddedDynamo,
    over_socket: bool,
}

/// A worker's way to it.
pub(crate) struct Bookings {
    client: Client,
    tables: TableNames,
}

impl Database {
    /// Opens it in `folder`, and puts doctors into it.
    pub(crate) async fn start(folder: &Path, over_socket: bool, doctors: Doctors) -> anyhow::Result<Self> {
        let server = EmbeddedDynamo::start(Where::File(DataFolder::lock(folder)?))?;
        let this = Self { server, over_socket };
        let dynamo = this.dynamo().await?;
        dynamo.create_missing_tables().await?;
        let all: Vec<String> = SlotStart::all().map(|start| start.to_string()).collect();
        let part = [PART_TIME_START.to_owned()];
        let full_time = doctors.addresses().map(|email| (email, all.as_slice()));
        let mut puts = Vec::new();
        for (email, slots) in full_time.chain([(PART_TIME.into(), part.as_slice())]) {
            puts.push(put(&dynamo.tables().doctors, Item::from([(EMAIL.to_owned(), text(&*email))]))?);
            for weekday in 0..7 {
                let mut item = key(schedule_partition(&email, weekday), SCHEDULE);
                item.insert(SLOTS.to_owned(), AttributeValue::Ss(slots.to_vec()));
                puts.push(put(&dynamo.tables().availability, item)?);
            }
        }
        let requests = puts.chunks(ACTIONS_MAX).map(|some| {
            dynamo.client().transact_write_items().set_transact_items(Some(some.to_vec())).send()
        });
        stream::iter(requests).buffer_unordered(PUTS_AT_ONCE).try_for_each(async |_| Ok(())).await?;
        Ok(this)
    }

    /// A client for each worker.
    pub(crate) async fn connect(&self, workers: usize) -> anyhow::Result<Vec<Data<Bookings>>> {
        let mut clients = Vec::new();
        for _ in 0..workers {
            let dynamo = self.dynamo().await?;
            let config = dynamo.client().config().to_builder().timeout_config(timeouts());
            let (client, tables) = (Client::from_conf(config.build()), dynamo.tables().clone());
            clients.push(Data::new(Bookings { client, tables }));
        }
        Ok(clients)
    }

    async fn dynamo(&self) -> anyhow::Result<Dynamo> {
        let endpoint = match self.over_socket {
            true => self.server.endpoint(),
            false => Endpoint::Own(self.server.own_process()),
        };
        Ok(Dynamo::connect(endpoint, TableNames::default()).await?)
    }
}

impl Bookings {
    /// Does all or nothing; otherwise says which actions' conditions did not hold.
    async fn transact(&self, actions: Vec<TransactWriteItem>) -> Result<Result<(), Vec<bool>>, Refusal> {
        let request = self.client.transact_write_items().set_transact_items(Some(actions));
        for attempt in 0..ATTEMPTS_MAX {
            let error = match request.clone().send().await {
                Ok(_) => return Ok(Ok(())),
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                tracing::warn!(code = error.code(), "the database does not answer as it should");
                return Err(Refusal::Unknown);
            };
            let failed = cancelled.cancellation_reasons().iter();
            let failed: Vec<bool> =
                failed.map(|reason| reason.code() == Some("ConditionalCheckFailed")).collect();
            if failed.contains(&true) {
                return Ok(Err(failed));
            }
            let jitter = (SystemChance.bits() % 1024) as f64 / 1024.0;
            tokio::time::sleep(BACKOFF.mul_f64(f64::from(1 << attempt) * jitter)).await;
        }
        Err(Refusal::Unknown)
    }

    fn booking(&self, seat: &Seat, user: &UserId) -> Result<Vec<TransactWriteItem>, BuildError> {
        let Seat { doctor, date, start } = seat;
        let weekday = date.weekday().num_days_from_monday();
        let offered = ConditionCheck::builder()
            .table_name(&self.tables.availability)
            .set_key(Some(key(schedule_partition(doctor.as_str(), weekday), SCHEDULE)))
            .condition_expression("contains(slots, :start)")
            .expression_attribute_values(":start", text(start.to_string()));
        let counted = Update::builder()
            .table_name(&self.tables.bookings)
            .set_key(Some(counter_key(seat)))
            .update_expression("ADD seats :one")
            .condition_expression("attribute_not_exists(seats) OR seats < :all")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":all", number(SEATS_PER_SLOT));
        let mut item = booking_key(seat, user);
        item.extend(
            [
                ("doctor_id", text(doctor.as_str())),
                ("date", text(date.to_string())),
                ("start", text(start.to_string())),
                ("user_id", text(user.as_str())),
                ("ttl", number(kept_until(*date))),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let booked = Put::builder()
            .table_name(&self.tables.bookings)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(PK)");
        Ok(vec![
            TransactWriteItem::builder().condition_check(offered.build()?).build(),
            TransactWriteItem::builder().update(counted.build()?).build(),
            TransactWriteItem::builder().put(booked.build()?).build(),
            self.entry(seat, user, "booking_made")?,
        ])
    }

    fn cancellation(&self, seat: &Seat, user: &UserId) -> Result<Vec<TransactWriteItem>, BuildError> {
        let counted = Update::builder()
            .table_name(&self.tables.bookings)
            .set_key(Some(counter_key(seat)))
            .update_expression("ADD seats :less")
            .expression_attribute_values(":less", number(-1));
        let deleted = Delete::builder()
            .table_name(&self.tables.bookings)
            .set_key(Some(booking_key(seat, user)))
            .condition_expression("attribute_exists(PK)");
        Ok(vec![
            TransactWriteItem::builder().update(counted.build()?).build(),
            TransactWriteItem::builder().delete(deleted.build()?).build(),
            self.entry(seat, user, "booking_cancelled")?,
        ])
    }

    /// Who did what to whose booking, as the product keeps it.
    fn entry(&self, seat: &Seat, user: &UserId, action: &str) -> Result<TransactWriteItem, BuildError> {
        let at = SystemClock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let id = SystemChance.bits();
        let mut item = key(format!("user#{}", user.as_str()), format!("{at}#{id:032x}"));
        item.extend(
            [
                ("actor", text(user.as_str())),
                ("actor_type", text("user")),
                ("action", text(action)),
                ("outcome", text("done")),
                ("request_id", text(format!("{:032x}", SystemChance.bits()))),
                ("doctor_id", text(seat.doctor.as_str())),
                ("date", text(seat.date.to_string())),
                ("start", text(seat.start.to_string())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        put(&self.tables.audit, item)
    }

    async fn has_doctor(&self, doctor: &DoctorId) -> Result<bool, Refusal> {
        let request = self.client.get_item().table_name(&self.tables.doctors);
        let answer = request.key(EMAIL, text(doctor.as_str())).consistent_read(true).send().await;
        Ok(answer.map_err(|_| Refusal::Unknown)?.item.is_some())
    }
}

impl Seats for Bookings {
    async fn book(&self, seat: &Seat, user: &UserId) -> Result<(), Refusal> {
        let actions = self.booking(seat, user).map_err(|_| Refusal::Invalid)?;
        match self.transact(actions).await?.as_ref().map_err(Vec::as_slice) {
            Ok(()) => Ok(()),
            Err([_, _, true, ..]) => Err(Refusal::AlreadyBooked),
            Err([true, ..]) if !self.has_doctor(&seat.doctor).await? => Err(Refusal::NoDoctor),
            Err([true, ..]) => Err(Refusal::NotOffered),
            Err(_) => Err(Refusal::Full),
        }
    }

    async fn cancel(&self, seat: &Seat, user: &UserId) -> Result<(), Refusal> {
        let actions = self.cancellation(seat, user).map_err(|_| Refusal::Invalid)?;
        match self.transact(actions).await? {
            Ok(()) => Ok(()),
            Err(_) if self.has_doctor(&seat.doctor).await? => Err(Refusal::NoBooking),
            Err(_) => Err(Refusal::NoDoctor),
        }
    }

    async fn offered(&self, doctor: &DoctorId, date: NaiveDate) -> Result<Vec<(SlotStart, usize)>, Refusal> {
        let partition = schedule_partition(doctor.as_str(), date.weekday().num_days_from_monday());
        let schedule = self.client.get_item().table_name(&self.tables.availability);
        let schedule = schedule.set_key(Some(key(partition, SCHEDULE))).consistent_read(true);
        let counts = self.client.query().table_name(&self.tables.bookings).consistent_read(true);
        let counts = counts
            .key_condition_expression("PK = :partition")
            .expression_attribute_values(":partition", text(counter_partition(doctor, date)));
        let (schedule, counts) =
            try_join!(async { schedule.send().await.map_err(|_| Refusal::Unknown) }, async {
                counts.send().await.map_err(|_| Refusal::Unknown)
            },)?;
        let Some(schedule) = schedule.item else {
            return if self.has_doctor(doctor).await? { Ok(Vec::new()) } else { Err(Refusal::NoDoctor) };
        };
        let taken: HashMap<&str, usize> = counts
            .items()
            .iter()
            .filter_map(|item| Some((item.get(SK)?.as_s().ok()?.as_str(), item.get(SEATS)?.as_n().ok()?)))
            .filter_map(|(start, seats)| Some((start, seats.parse().ok()?)))
            .collect();
        let offered = schedule.get(SLOTS).and_then(|slots| slots.as_ss().ok());
        let starts = offered.into_iter().flatten().map(|start| (start, taken.get(start.as_str())));
        let mut slots: Vec<_> = starts
            .filter_map(|(start, taken)| {
                Some((SlotStart::parse(start).ok()?, taken.copied().unwrap_or_default()))
            })
            .collect();
        slots.sort_unstable();
        Ok(slots)
    }

    async fn held(&self, user: &UserId) -> Result<Vec<Seat>, Refusal> {
        let query = self.client.query().table_name(&self.tables.bookings).index_name("GSI_UserBookings");
        let query = query
            .key_condition_expression("user_id = :user")
            .expression_attribute_values(":user", text(user.as_str()));
        let items = query.into_paginator().items().send();
        let items: Vec<Item> = items.try_collect().await.map_err(|_| Refusal::Unknown)?;
        let seat = |item: &Item| {
            let told = |name| item.get(name).and_then(|value: &AttributeValue| value.as_s().ok());
            Some(Seat {
                doctor: DoctorId::parse(told("doctor_id")?).ok()?,
                date: told("date")?.parse().ok()?,
                start: SlotStart::parse(told("start")?).ok()?,
            })
        };
        Ok(items.iter().filter_map(seat).collect())
    }
}

/// A request that is given up under load and sent again is load.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(ANSWER_WITHIN).operation_attempt_timeout(ANSWER_WITHIN).build()
}

fn put(table: &str, item: Item) -> Result<TransactWriteItem, BuildError> {
    let put = Put::builder().table_name(table).set_item(Some(item)).build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn booking_key(Seat { doctor, date, start }: &Seat, user: &UserId) -> Item {
    key(format!("{}#{date}", doctor.as_str()), format!("{start}#{}", user.as_str()))
}

fn counter_key(Seat { doctor, date, start }: &Seat) -> Item {
    key(counter_partition(doctor, *date), start.to_string())
}

fn counter_partition(doctor: &DoctorId, date: NaiveDate) -> String {
    format!("{}#{date}#{SEATS}", doctor.as_str())
}

fn schedule_partition(doctor: &str, weekday: u32) -> String {
    format!("{doctor}#{weekday}")
}

fn key(partition: String, sort: impl Into<String>) -> Item {
    Item::from([(PK.to_owned(), text(partition)), (SK.to_owned(), text(sort))])
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
