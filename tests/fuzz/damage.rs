//! Damaged rows of the calendar: the date of a row that cannot be read is served without it, everything else as if
//! nothing were, the damage is reported, and the row stays as it is.

use aws_sdk_dynamodb::types::AttributeValue;
use engine::{SlotSpan, SlotStart, UserId};
use serde_json::{Value, json};

use crate::chance::{Dice, cases};
use crate::harness::TestUser;
use crate::log;
use crate::routes::World;
use crate::rows::{Row, all, bent, damage, get, put, text_of, with};

const TUESDAY: &str = "2026-11-24";
const WEDNESDAY: &str = "2026-11-25";
const KEY: [&str; 2] = ["PK", "SK"];
const REPORT: &str = "a stored row cannot be read and is left alone";

/// What the program has written, as patterns for more.
struct Patterns {
    booking: Row,
    doctor: Row,
    schedule: Vec<Row>,
}

impl Patterns {
    async fn of(world: &World) -> Self {
        let (dynamo, tables) = (world.app.dynamo(), world.app.dynamo().tables());
        let doctors = all(dynamo, &tables.doctors).await;
        let of_asha = |row: &Row| text_of(row, "email") == world.asha.email;
        let schedule = all(dynamo, &tables.availability).await;
        let days = ["Tuesday", "Wednesday"].map(|day| format!("{}#{day}", world.asha.email));
        Self {
            booking: all(dynamo, &tables.bookings).await.remove(0),
            doctor: doctors.into_iter().find(of_asha).unwrap(),
            schedule: schedule
                .into_iter()
                .filter(|row| days.iter().any(|day| text_of(row, "PK") == day))
                .collect(),
        }
    }

    fn seat(&self, doctor: &TestUser, date: &str, start: &str, user: &TestUser) -> Row {
        with(
            &self.booking,
            [
                ("PK", &format!("{}#{date}", doctor.email)),
                ("SK", &format!("{start}#{}", user.email)),
                ("doctor_id", &doctor.email),
                ("date", date),
                ("start", start),
                ("user_id", &user.email),
            ],
        )
    }
}

/// A doctor whom the program has not looked at yet, and its patients.
struct Practice {
    doctor: TestUser,
    patients: Vec<TestUser>,
    schedule: Vec<Row>,
    seats: Vec<Row>,
}

impl Practice {
    /// Not stored yet.
    fn new(world: &World, patterns: &Patterns, name: &str) -> Self {
        let doctor = world.somebody(&format!("{name}@clinic.example"), "doctor");
        let patients: Vec<TestUser> =
            (0..4).map(|n| world.somebody(&format!("{name}-{n}@example.com"), "user")).collect();
        let schedule = patterns.schedule.iter().map(|row| {
            let partition = text_of(row, "PK").replace(&world.asha.email, &doctor.email);
            with(row, [("PK", &partition)])
        });
        let seats =
            [(TUESDAY, "10:00", 0), (TUESDAY, "10:00", 1), (TUESDAY, "11:00", 2), (WEDNESDAY, "10:00", 3)];
        let seats = seats.map(|(date, start, n)| patterns.seat(&doctor, date, start, &patients[n]));
        Self { schedule: schedule.collect(), seats: seats.into(), doctor, patients }
    }

    /// Stores all of it; false when no DynamoDB would take it.
    async fn store(&self, world: &World, patterns: &Patterns) -> bool {
        let (dynamo, tables) = (world.app.dynamo(), world.app.dynamo().tables());
        let doctor = with(&patterns.doctor, [("email", &self.doctor.email)]);
        assert!(put(dynamo, &tables.doctors, doctor).await);
        for row in &self.schedule {
            if !put(dynamo, &tables.availability, row.clone()).await {
                return false;
            }
        }
        for row in &self.seats {
            if !put(dynamo, &tables.bookings, row.clone()).await {
                return false;
            }
        }
        true
    }

    /// What the rows of a date come to, by their keys alone: how many seats of each slot are taken.
    fn taken(&self, date: &str, start: &str) -> usize {
        let of_date = self.seats.iter().filter(|row| text_of(row, "PK").ends_with(date));
        of_date.filter(|row| start_of(row).is_some_and(|taken| taken.to_string() == start)).count()
    }

    /// What the rows of Tuesday offer.
    fn offers(&self, start: &str) -> bool {
        let of_tuesday = self.schedule.iter().filter(|row| text_of(row, "PK").ends_with("Tuesday"));
        let spans = of_tuesday.filter(|row| {
            span_of(row).is_some_and(|span| span.slots().any(|slot| slot.to_string() == start))
        });
        let mut exact = None;
        let mut any = false;
        for row in spans {
            let is_one = span_of(row).is_some_and(SlotSpan::is_one_slot);
            exact = if is_one { Some(is_available(row)) } else { exact };
            any |= is_available(row);
        }
        exact.unwrap_or(any)
    }

    fn unreadable(&self) -> usize {
        let seats = self.seats.iter().filter(|row| start_of(row).is_none() || user_of(row).is_none());
        let spans = self.schedule.iter().filter(|row| {
            let odd = !matches!(
                row.get("available"),
                None | Some(AttributeValue::Null(_) | AttributeValue::Bool(_))
            );
            span_of(row).is_none() || odd
        });
        seats.count() + spans.count()
    }
}

fn start_of(row: &Row) -> Option<SlotStart> {
    SlotStart::parse(text_of(row, "SK").split('#').next()?).ok()
}

fn user_of(row: &Row) -> Option<UserId> {
    UserId::parse(text_of(row, "SK").split_once('#')?.1).ok()
}

fn span_of(row: &Row) -> Option<SlotSpan> {
    let (start, end) = text_of(row, "SK").split_once('-')?;
    SlotSpan::parse(start, end).ok()
}

fn is_available(row: &Row) -> bool {
    matches!(row.get("available"), None | Some(AttributeValue::Null(_) | AttributeValue::Bool(true)))
}

/// The seats taken and free of a slot, as they are shown; `None` when it is not offered.
fn shown(slots: &Value, start: &str) -> Option<(usize, bool)> {
    let slot = slots["slots"].as_array().unwrap().iter().find(|slot| slot["start"] == start)?;
    Some((slot["booked"].as_u64().unwrap() as usize, slot["available"].as_bool().unwrap()))
}

/// Damages one row of a practice in a way that the dice choose.
async fn look(world: &World, patterns: &Patterns, case: usize, healthy: &TestUser) {
    let dice = Dice::of_case(case);
    let mut practice = Practice::new(world, patterns, &format!("kanarie{case}"));
    let is_seat = dice.percent(60);
    let (table, rows, victim) = if is_seat {
        (&world.app.dynamo().tables().bookings, &mut practice.seats, dice.below(3))
    } else {
        let sort = *dice.pick(&["10:00-10:30", "10:30-11:00", "11:30-12:00"]);
        let is_it = |row: &Row| text_of(row, "PK").ends_with("Tuesday") && text_of(row, "SK") == sort;
        let victim = practice.schedule.iter().position(is_it).unwrap();
        (&world.app.dynamo().tables().availability, &mut practice.schedule, victim)
    };
    let row = &mut rows[victim];
    if dice.percent(50) {
        let key = bent(text_of(row, "SK"), &dice);
        *row = with(row, [("SK", &key)]);
    }
    damage(row, &KEY, &dice);
    let row = row.clone();
    let has_its_key = |other: &Row| KEY.iter().all(|name| other[*name] == row[*name]);
    // Two rows of one key are one.
    if rows.iter().filter(|other| has_its_key(other)).count() > 1 {
        return;
    }
    if practice.store(world, patterns).await {
        examine(world, &practice, table, &row, healthy).await;
    }
}

/// Looks from all sides at a practice of which this row is damaged.
async fn examine(world: &World, practice: &Practice, table: &str, row: &Row, healthy: &TestUser) {
    let is_seat = table == world.app.dynamo().tables().bookings;
    let case = format!("{:?} in {table}", row.iter().map(short).collect::<Vec<_>>());
    let stored = get(world.app.dynamo(), table, &KEY, row).await.unwrap();
    let reports = log::count(REPORT);

    // That date, by everything but the row.
    let (status, slots) = world.app.available(&practice.doctor, TUESDAY).await;
    assert_eq!(status, 200, "{case}: {slots}");
    for start in ["10:00", "10:30", "11:00", "11:30", "12:00", "12:30"] {
        let taken = practice.taken(TUESDAY, start);
        let expected = practice.offers(start).then_some((taken, taken < 5));
        assert_eq!(shown(&slots, start), expected, "{case}: {start} {slots}");
    }
    let reported = log::count(REPORT) - reports;
    assert!(reported >= practice.unreadable(), "{case}: {reported} reports");
    let ask = |user| world.app.as_user(user);
    let (fresh, first) = (&practice.patients[3], &practice.patients[0]);
    assert_eq!(ask(fresh).book(&practice.doctor, TUESDAY, "12:00").await.0, 200, "{case}");
    let again = ask(&practice.patients[1]).book(&practice.doctor, TUESDAY, "11:00").await.0;
    assert_eq!(again, 200, "{case}");
    if is_seat && user_of(row).is_some_and(|user| user.as_str() == first.email) {
        let start = start_of(row).map(|start| start.to_string()).unwrap_or_default();
        let (status, body) = ask(first).book(&practice.doctor, TUESDAY, &start).await;
        // A seat by its key is a seat, whatever else the row says.
        assert!(status == 409 || status == 422, "{case}: {status} {body}");
    }

    // Other dates, and other doctors.
    assert_eq!(world.app.available(&practice.doctor, WEDNESDAY).await.0, 200, "{case}");
    assert_eq!(ask(first).book(&practice.doctor, WEDNESDAY, "10:00").await.0, 200, "{case}");
    assert_eq!(world.app.available(healthy, TUESDAY).await.0, 200, "{case}");
    assert_eq!(ask(first).book(healthy, TUESDAY, "10:00").await.0, 200, "{case}");
    assert_eq!(ask(first).cancel(healthy, TUESDAY, "10:00").await.0, 200, "{case}");

    // Lists.
    for user in &practice.patients {
        let (status, body) = ask(user).bookings().await;
        assert_eq!(status, 200, "{case}: {body}");
    }
    let (status, list) = ask(&practice.doctor).fetch_bookings("doctor", 7).await;
    assert_eq!(status, 200, "{case}: {list}");
    let listed = list["bookings"].as_array().unwrap();
    for healthy in practice.seats.iter().filter(|other| *other != row) {
        assert!(listed.iter().any(|shown| shown["SK"] == text_of(healthy, "SK")), "{case}: {list}");
    }
    let wednesday = ask(&practice.doctor).set_slots("Wednesday", &[("10:00", "12:00")]).await;
    assert_eq!(wednesday.0, 200, "{case}");
    let thursday = json!({"doctor_id": practice.doctor.email, "date": "2026-11-26"});
    assert_eq!(world.app.post("/doctorBookings/available", None, &thursday).await.0, 200, "{case}");

    assert_eq!(get(world.app.dynamo(), table, &KEY, row).await.unwrap(), stored, "{case}");
}

/// An attribute without its bulk.
fn short((name, value): (&String, &AttributeValue)) -> String {
    let value: String = format!("{value:?}").chars().take(60).collect();
    format!("{name}: {value}")
}

#[actix_web::test]
async fn a_damaged_row_of_a_calendar_isolates_its_date_and_stays_as_it_is() {
    let world = World::start().await;
    let patterns = Patterns::of(&world).await;
    let healthy = world.app.doctor("healthy").await;
    for case in 0..cases(45) {
        look(&world, &patterns, case, &healthy).await;
    }
    world.stop().await;
}

/// Of the cases above, the first to show a dropped seat comes late.
#[actix_web::test]
async fn a_seat_whose_holder_cannot_be_read_is_taken() {
    let world = World::start().await;
    let patterns = Patterns::of(&world).await;
    let healthy = world.app.doctor("healthy").await;
    let table = &world.app.dynamo().tables().bookings;
    for (case, sort) in ["10:00#", "10:00#nobody", "10:00#a b@example.com", "10:00"].iter().enumerate() {
        let mut practice = Practice::new(&world, &patterns, &format!("unnamed{case}"));
        practice.seats[0] = with(&practice.seats[0], [("SK", sort)]);
        assert!(practice.store(&world, &patterns).await);
        examine(&world, &practice, table, &practice.seats[0], &healthy).await;
    }
    world.stop().await;
}
