//! What is in the product's store before it is measured: doctors with their hours, and bookings.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use chrono::{Days, NaiveDate};
use engine::calendar::{Booking, Event};
use engine::store::{Batch, BatchEvent};
use engine::{BookingStore, Chance, DoctorId, EventId, RequestToken, SlotStart, SystemChance, UserId};
use futures::{StreamExt, TryStreamExt, stream};
use persistence::{DataFolder, Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};

/// Actions in one transaction.
const ACTIONS_MAX: usize = 100;
/// Transactions at once.
const AT_ONCE: usize = 8;
const WEEK: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// When doctors are there.
#[derive(Clone, Copy)]
pub(crate) enum Hours {
    /// At every half hour, which one row says, as the old platform wrote it: putting 48 rows for each day of each doctor
    /// would take longer than the measurement.
    Always,
    /// At so many half hours from 09:00 on, a row for each, as the product writes them.
    Rows(usize),
}

/// The address of a doctor; the load tool and the peers know it too.
pub(crate) fn doctor(number: usize) -> String {
    format!("doctor{number}@clinic.example")
}

/// One who offers half an hour a day.
pub(crate) const PART_TIME: &str = "parttime@clinic.example";

/// Does something to a store in a folder that nobody serves.
pub(crate) async fn in_folder<F: Future<Output = anyhow::Result<()>>>(
    data: &Path,
    work: impl FnOnce(Dynamo) -> F,
) -> anyhow::Result<()> {
    let server = EmbeddedDynamo::start(Where::File(DataFolder::lock(data)?))?;
    let done = work(connect(server.endpoint()).await?).await;
    tokio::task::spawn_blocking(|| server.stop()).await?;
    done
}

/// The store at an address, with its tables.
pub(crate) async fn connect(endpoint: Endpoint) -> anyhow::Result<Dynamo> {
    let dynamo = Dynamo::connect(endpoint, TableNames::default()).await?;
    dynamo.create_missing_tables().await?;
    Ok(dynamo)
}

/// Puts doctors into it.
pub(crate) async fn add_doctors(dynamo: &Dynamo, doctors: usize, hours: Hours) -> anyhow::Result<()> {
    let tables = dynamo.tables();
    let all = (0..doctors).map(|number| (doctor(number), hours));
    let mut puts = Vec::new();
    for (email, hours) in all.chain([(PART_TIME.to_owned(), Hours::Rows(1))]) {
        puts.push(put(&tables.doctors, [("email", &*email), ("doctorname", "A doctor")])?);
        for day in WEEK {
            let partition = format!("{email}#{day}");
            for span in hours.spans() {
                puts.push(put(&tables.availability, [("PK", &*partition), ("SK", &*span)])?);
            }
        }
    }
    let requests = puts
        .chunks(ACTIONS_MAX)
        .map(|some| dynamo.client().transact_write_items().set_transact_items(Some(some.to_vec())).send());
    stream::iter(requests).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await?;
    Ok(())
}

/// Puts bookings into it: `seats` in each of the first `slots` rows of each of `dates` of each doctor.
pub(crate) async fn add_bookings(
    dynamo: &Dynamo,
    doctors: usize,
    dates: &[NaiveDate],
    slots: usize,
    seats: usize,
) -> anyhow::Result<usize> {
    let store = dynamo.bookings();
    let starts: Vec<SlotStart> = working_hours().take(slots).collect();
    let mut batches = Vec::new();
    let mut events = Vec::new();
    for number in 0..doctors {
        let doctor = DoctorId::parse(&doctor(number))?;
        for (date, start) in dates.iter().flat_map(|date| starts.iter().map(move |start| (*date, *start))) {
            for seat in 0..seats {
                let user = UserId::parse(&format!("patient{}@example.com", number * seats + seat))?;
                let booking = Booking { user, date, start, key: None };
                let id = EventId::new(SystemChance.bits());
                events.push(BatchEvent { doctor: doctor.clone(), id, event: Event::booked(booking).into() });
                if events.len() == ACTIONS_MAX {
                    batches.push(batch(std::mem::take(&mut events)));
                }
            }
        }
    }
    batches.push(batch(events));
    let stored = batches.iter().map(|batch| batch.events.len()).sum();
    let commits = batches.iter().filter(|batch| !batch.events.is_empty()).map(|batch| store.commit(batch));
    stream::iter(commits).buffer_unordered(AT_ONCE).try_for_each(async |()| Ok(())).await?;
    Ok(stored)
}

/// The dates from tomorrow on.
pub(crate) fn dates(today: NaiveDate, days: u64) -> Vec<NaiveDate> {
    (1..=days).map(|day| today + Days::new(day)).collect()
}

/// From 09:00 on.
fn working_hours() -> impl Iterator<Item = SlotStart> {
    SlotStart::all().skip(18)
}

/// Nobody owns the ranges yet, so no fence is checked.
fn batch(events: Vec<BatchEvent>) -> Batch {
    Batch { token: RequestToken::new(SystemChance.bits()), checks: Vec::new(), events }
}

fn put<const N: usize>(table: &str, texts: [(&str, &str); N]) -> anyhow::Result<TransactWriteItem> {
    let texts = texts.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())));
    let put = Put::builder().table_name(table).set_item(Some(HashMap::from(texts))).build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

impl Hours {
    fn spans(self) -> Vec<String> {
        match self {
            Self::Always => vec!["00:00-24:00".to_owned()],
            Self::Rows(slots) => working_hours().take(slots).map(|start| start.span().to_string()).collect(),
        }
    }
}
