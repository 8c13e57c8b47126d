//! Stores to test, each with fresh tables, and short names for what goes into them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{NaiveDate, Weekday};
use engine::calendar::{Booking, DateSpelling, Event, Fact, Part, ScheduleRow, SpellingSet, StoredPart};
use engine::chance::{Chance, SystemChance};
use engine::shard::{FencingEpoch, RangeId, Ring};
use engine::store::{Batch, BatchEvent, Claim, DateRows, FenceCheck, LoadError, StoredSeat};
use engine::{
    BookingStore, DoctorId, EventId, Fences, MemoryStore, NodeId, Nodes, RequestToken, SlotStart, UserId,
};
use persistence::{Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};

use crate::fresh_names;
use crate::proxy::LossyProxy;

/// One store under test.
pub(crate) struct Store {
    pub(crate) bookings: Arc<dyn BookingStore>,
    pub(crate) fences: Arc<dyn Fences>,
    pub(crate) nodes: Arc<dyn Nodes>,
    inside: Inside,
}

enum Inside {
    Memory(MemoryStore),
    Dynamo(Dynamo),
}

impl Store {
    fn memory() -> Self {
        let store = MemoryStore::new();
        Self {
            bookings: Arc::new(store.clone()),
            fences: Arc::new(store.clone()),
            nodes: Arc::new(store.clone()),
            inside: Inside::Memory(store),
        }
    }

    fn dynamo(dynamo: Dynamo) -> Self {
        Self {
            bookings: Arc::new(dynamo.bookings()),
            fences: Arc::new(dynamo.fences(Ring::default())),
            nodes: Arc::new(dynamo.nodes(Ring::default())),
            inside: Inside::Dynamo(dynamo),
        }
    }

    /// Registers a doctor.
    pub(crate) async fn add_doctor(&self, doctor: &DoctorId) {
        match &self.inside {
            Inside::Memory(store) => store.add_doctor(doctor.clone()),
            Inside::Dynamo(dynamo) => {
                put(dynamo, &dynamo.tables().doctors, [("email", s(doctor.as_str()))]).await
            }
        }
    }

    /// Puts a booking as the old platform would.
    pub(crate) async fn add_old_booking(&self, doctor: &DoctorId, booking: Booking, spelling: DateSpelling) {
        match &self.inside {
            Inside::Memory(store) => store.add_booking(doctor, booking, spelling),
            Inside::Dynamo(dynamo) => {
                let pk = format!("{}#{}", doctor.as_str(), spelling.write(booking.date));
                let sk = format!("{}#{}", booking.start, booking.user.as_str());
                put(dynamo, &dynamo.tables().bookings, [("PK", s(pk)), ("SK", s(sk))]).await;
            }
        }
    }

    /// Takes the range of `doctor` for the first time.
    pub(crate) async fn own(&self, doctor: &DoctorId) -> FenceCheck {
        own(&*self.fences, Ring::default().range_of(doctor)).await
    }

    /// A date's seats in a fixed order.
    pub(crate) async fn seats(&self, doctor: &DoctorId, date: NaiveDate) -> Vec<StoredSeat> {
        let DateRows { mut seats, unreadable } = bookings_on(&*self.bookings, doctor, date).await.unwrap();
        assert!(unreadable.is_empty());
        let spelled = |set: SpellingSet| set.iter().map(|spelling| spelling.write(date)).collect::<String>();
        seats.sort_by_key(|seat| (seat.booking.start, seat.booking.user.clone(), spelled(seat.spellings)));
        seats
    }
}

/// The bookings of a date.
pub(crate) async fn bookings_on(
    store: &dyn BookingStore,
    doctor: &DoctorId,
    date: NaiveDate,
) -> Result<DateRows, LoadError> {
    let parts = store.load(doctor, &[Part::Date(date)]).await?;
    let rows = parts.into_iter().find_map(|part| match part {
        StoredPart::Date(loaded, rows) if loaded == date => Some(rows),
        StoredPart::Date(..) | StoredPart::Hours(..) => None,
    });
    Ok(rows.unwrap())
}

/// The published rows of a weekday.
pub(crate) async fn hours(
    store: &dyn BookingStore,
    doctor: &DoctorId,
    weekday: Weekday,
) -> Result<Vec<ScheduleRow>, LoadError> {
    let parts = store.load(doctor, &[Part::Hours(weekday)]).await?;
    let rows = parts.into_iter().find_map(|part| match part {
        StoredPart::Hours(loaded, rows) if loaded == weekday => Some(rows),
        StoredPart::Date(..) | StoredPart::Hours(..) => None,
    });
    Ok(rows.unwrap())
}

/// Takes a range that nobody had.
pub(crate) async fn own(fences: &dyn Fences, range: RangeId) -> FenceCheck {
    let claim = Claim { range, node: NodeId::new(fresh()), address: String::new(), from: None };
    FenceCheck { range, epoch: fences.claim(&claim).await.unwrap() }
}

/// Runs a test on every store.
pub(crate) async fn each_store(test: impl AsyncFn(&Store)) {
    println!("on the reference store");
    test(&Store::memory()).await;
    each_dynamo(async |dynamo| test(&Store::dynamo(dynamo.clone())).await).await;
}

/// Runs a test on every DynamoDB, with fresh tables.
pub(crate) async fn each_dynamo(test: impl AsyncFn(&Dynamo)) {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        dynamo.create_missing_tables().await.unwrap();
        test(&dynamo).await;
        drop_tables(&dynamo).await;
    })
    .await;
}

/// Leaves an endpoint that others use as it was.
pub(crate) async fn drop_tables(dynamo: &Dynamo) {
    for definition in persistence::tables::definitions(dynamo.tables()) {
        // A test that is about missing tables may have made none.
        let _ = dynamo.client().delete_table().table_name(definition.name).send().await;
    }
}

/// Runs a test on every DynamoDB, with fresh tables, over a connection that can lose answers. Not over TLS.
pub(crate) async fn each_lossy(test: impl AsyncFn(&Dynamo, &LossyProxy)) {
    each_endpoint(async |endpoint| {
        if endpoint.address().is_some_and(|address| address.starts_with("http://")) {
            let proxy = LossyProxy::start(endpoint).await;
            let dynamo = connect(&proxy.endpoint()).await;
            dynamo.create_missing_tables().await.unwrap();
            test(&dynamo, &proxy).await;
            drop_tables(&dynamo).await;
        }
    })
    .await;
}

/// Runs a test on every DynamoDB, before there are tables.
pub(crate) async fn each_endpoint(test: impl AsyncFn(&Endpoint)) {
    println!("on the embedded server");
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    test(&server.endpoint()).await;
    server.stop();
    if let Ok(endpoint) = std::env::var("KOKORO_TEST_DYNAMODB_ENDPOINT") {
        println!("on the endpoint that the environment names");
        test(&Endpoint::At(endpoint)).await;
    }
}

/// A client with table names that nobody else uses.
pub(crate) async fn connect(endpoint: &Endpoint) -> Dynamo {
    connect_as(endpoint, fresh_names::tables()).await
}

/// A client with these table names.
pub(crate) async fn connect_as(endpoint: &Endpoint, names: TableNames) -> Dynamo {
    Dynamo::connect(endpoint.clone(), names).await.unwrap()
}

/// Puts a row as it is.
pub(crate) async fn put<const N: usize>(dynamo: &Dynamo, table: &str, row: [(&str, AttributeValue); N]) {
    let item = HashMap::from(row.map(|(name, value)| (name.to_owned(), value)));
    dynamo.client().put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
}

/// A string attribute.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number that was not drawn before in this process.
pub(crate) fn fresh() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn doctor(text: &str) -> DoctorId {
    DoctorId::parse(text).unwrap()
}

pub(crate) fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub(crate) fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(crate) fn slot(text: &str) -> SlotStart {
    SlotStart::parse(text).unwrap()
}

/// A seat on 2026-12-01, a date that can be spelled in two ways.
pub(crate) fn seat(user_id: &str, start: &str) -> Booking {
    Booking { user: user(user_id), date: date("2026-12-01"), start: slot(start), key: None }
}

/// An event with an identifier of its own.
pub(crate) fn event(doctor: &DoctorId, event: Event) -> BatchEvent {
    BatchEvent { doctor: doctor.clone(), id: EventId::new(fresh()), event: event.into() }
}

/// A booking to commit.
pub(crate) fn booked(doctor: &DoctorId, booking: &Booking) -> BatchEvent {
    event(doctor, Event::booked(booking.clone()))
}

/// A cancellation to commit, of a row that spells its date plainly.
pub(crate) fn cancelled(doctor: &DoctorId, booking: &Booking) -> BatchEvent {
    let spellings = SpellingSet::only(DateSpelling::PLAIN);
    event(doctor, Event::cancelled(booking.clone(), spellings))
}

/// A batch under a token of its own.
pub(crate) fn batch(checks: &[FenceCheck], events: Vec<BatchEvent>) -> Batch {
    Batch { token: RequestToken::new(SystemChance.bits()), checks: checks.to_vec(), events }
}

/// The seat that a committed booking becomes.
pub(crate) fn stored(event: &BatchEvent) -> StoredSeat {
    let Fact::Booked(booking) = &event.event.fact else { panic!("a booking is stored, nothing else") };
    StoredSeat {
        booking: booking.clone(),
        spellings: SpellingSet::only(DateSpelling::PLAIN),
        event: Some(event.id),
    }
}

/// A fence's condition with another epoch than the stored one.
pub(crate) fn stale(check: FenceCheck) -> FenceCheck {
    FenceCheck { epoch: FencingEpoch::from_stored(check.epoch.get() + 7).unwrap(), ..check }
}
