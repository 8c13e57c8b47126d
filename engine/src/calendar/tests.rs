use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc, Weekday};

use super::*;
use crate::ids::{IdempotencyKey, UserId};
use crate::store::StoredSeat;

mod model;
mod too_many;

const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// Ten in the morning in Kolkata on Monday, 23 November 2026.
fn monday_morning() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 4, 30, 0).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(&format!("{name}@x.com")).unwrap()
}

fn slot(text: &str) -> SlotStart {
    SlotStart::parse(text).unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn book(name: &str, on: &str, at: &str) -> Command {
    Command::Book { user: user(name), date: date(on), start: slot(at), key: None }
}

fn book_with_key(name: &str, on: &str, at: &str, key: &str) -> Command {
    let key = Some(IdempotencyKey::parse(key).unwrap());
    Command::Book { user: user(name), date: date(on), start: slot(at), key }
}

fn cancel(name: &str, on: &str, at: &str) -> Command {
    Command::Cancel { user: user(name), date: date(on), start: slot(at) }
}

/// A part of which nothing is stored.
fn empty(part: Part) -> StoredPart {
    match part {
        Part::Date(date) => StoredPart::Date(date, DateRows::default()),
        Part::Hours(weekday) => StoredPart::Hours(weekday, Vec::new()),
    }
}

/// A calendar that loads, from an empty store, whatever it needs, and offers these slots every day.
struct Doctor {
    calendar: Calendar,
    now: DateTime<Utc>,
}

impl Doctor {
    fn offering(zone: &str, now: DateTime<Utc>, slots: &[&str]) -> Self {
        let mut doctor =
            Self { calendar: Calendar::unloaded(Clinic::compiled_in(zone).unwrap(), Rules::default()), now };
        for weekday in WEEK {
            let offered = slots.iter().map(|text| slot(text)).collect();
            doctor.tell(&Command::SetSlots { weekday, offered }).unwrap();
        }
        doctor
    }

    fn in_kolkata(slots: &[&str]) -> Self {
        Self::offering("Asia/Kolkata", monday_morning(), slots)
    }

    /// Decides, and makes true what was decided.
    fn tell(&mut self, command: &Command) -> Result<Decision, Rejection> {
        for part in self.calendar.missing(command, self.now) {
            self.calendar.load(empty(part));
        }
        let decision = self.calendar.decide(command, self.now)?;
        if let Decision::Record(event) = &decision {
            self.calendar.apply(event);
        }
        Ok(decision)
    }

    fn outcome(&mut self, command: &Command) -> Result<(), Rejection> {
        self.tell(command).map(|_| ())
    }

    fn offered_on(&mut self, on: &str) -> Vec<String> {
        for part in self.calendar.missing_for(date(on)) {
            self.calendar.load(empty(part));
        }
        let view = self.calendar.view(date(on)).unwrap();
        view.slots(&self.calendar.clinic, date(on), self.now).map(|slot| slot.start.to_string()).collect()
    }
}

#[test]
fn the_window_is_today_to_fifteen_days_ahead() {
    let mut doctor = Doctor::in_kolkata(&["10:00", "11:00"]);
    let cases = [
        ("2026-11-22", Err(Rejection::OutsideWindow)),
        ("2026-11-23", Ok(())),
        ("2026-12-08", Ok(())),
        ("2026-12-09", Err(Rejection::OutsideWindow)),
    ];
    for (on, outcome) in cases {
        assert_eq!(doctor.outcome(&book("ada", on, "11:00")), outcome, "{on}");
    }
}

#[test]
fn a_slot_that_starts_this_minute_has_begun() {
    let mut doctor = Doctor::in_kolkata(&["09:30", "10:00", "10:30"]);
    for (at, outcome) in
        [("09:30", Err(Rejection::SlotInPast)), ("10:00", Err(Rejection::SlotInPast)), ("10:30", Ok(()))]
    {
        assert_eq!(doctor.outcome(&book("ada", "2026-11-23", at)), outcome, "{at}");
    }
    doctor.now -= chrono::TimeDelta::seconds(1);
    assert_eq!(doctor.outcome(&book("ada", "2026-11-23", "10:00")), Ok(()));
    doctor.now += chrono::TimeDelta::seconds(1);
    assert_eq!(doctor.outcome(&cancel("ada", "2026-11-23", "10:00")), Err(Rejection::SlotInPast));
    assert_eq!(doctor.offered_on("2026-11-23"), ["10:30"]);
}

#[test]
fn a_slot_holds_five_users_and_each_of_them_once() {
    let mut doctor = Doctor::in_kolkata(&["10:30"]);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(doctor.outcome(&book(name, "2026-11-23", "10:30")), Ok(()));
        assert_eq!(doctor.outcome(&book(name, "2026-11-23", "10:30")), Err(Rejection::AlreadyBooked));
    }
    assert_eq!(doctor.outcome(&book("f", "2026-11-23", "10:30")), Err(Rejection::SlotFull));
    assert_eq!(doctor.outcome(&cancel("f", "2026-11-23", "10:30")), Err(Rejection::BookingNotFound));
    assert_eq!(doctor.outcome(&cancel("c", "2026-11-23", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("f", "2026-11-23", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("c", "2026-11-23", "10:30")), Err(Rejection::SlotFull));
}

#[test]
fn a_repeat_under_its_key_answers_as_the_first_did_while_the_booking_stands() {
    let mut doctor = Doctor::in_kolkata(&["10:30"]);
    let first = book_with_key("ada", "2026-11-23", "10:30", "k1");
    assert!(matches!(doctor.tell(&first), Ok(Decision::Record(_))));
    assert!(matches!(doctor.tell(&first), Ok(Decision::Repeat(_))));
    let other_key = book_with_key("ada", "2026-11-23", "10:30", "k2");
    assert_eq!(doctor.outcome(&other_key), Err(Rejection::AlreadyBooked));
    // The slot has begun, has been withdrawn, and a day has passed.
    doctor.now += chrono::TimeDelta::hours(1);
    assert!(matches!(doctor.tell(&first), Ok(Decision::Repeat(_))));
    doctor.tell(&Command::SetSlots { weekday: Weekday::Mon, offered: SlotSet::EMPTY }).unwrap();
    doctor.now += chrono::TimeDelta::days(1);
    assert!(matches!(doctor.tell(&first), Ok(Decision::Repeat(_))));
    doctor.now -= chrono::TimeDelta::days(1) + chrono::TimeDelta::hours(1);
    doctor.tell(&cancel("ada", "2026-11-23", "10:30")).unwrap();
    assert_eq!(doctor.outcome(&first), Err(Rejection::SlotUnavailable));
}

#[test]
fn a_withdrawn_slot_keeps_its_bookings_and_takes_no_new_ones() {
    let mut doctor = Doctor::in_kolkata(&["10:30", "11:00"]);
    doctor.tell(&book("ada", "2026-11-30", "10:30")).unwrap();
    doctor
        .tell(&Command::UpdateSlot { weekday: Weekday::Mon, span: slot("10:30").span(), available: false })
        .unwrap();
    assert_eq!(doctor.outcome(&book("bob", "2026-11-30", "10:30")), Err(Rejection::SlotUnavailable));
    assert_eq!(doctor.offered_on("2026-11-30"), ["11:00"]);
    assert_eq!(doctor.outcome(&cancel("ada", "2026-11-30", "10:30")), Ok(()));
}

#[test]
fn the_window_moves_at_midnight_in_the_clinic() {
    let mut doctor = Doctor::in_kolkata(&["00:00", "23:30"]);
    // 18:29:59 UTC is a second before midnight in Kolkata.
    doctor.now = Utc.with_ymd_and_hms(2026, 11, 23, 18, 29, 59).unwrap();
    assert_eq!(doctor.outcome(&book("ada", "2026-12-09", "00:00")), Err(Rejection::OutsideWindow));
    assert_eq!(doctor.outcome(&book("ada", "2026-11-24", "00:00")), Ok(()));
    doctor.now += chrono::TimeDelta::seconds(1);
    assert_eq!(doctor.outcome(&book("ada", "2026-12-09", "00:00")), Ok(()));
    assert_eq!(doctor.outcome(&book("bob", "2026-11-24", "00:00")), Err(Rejection::SlotInPast));
    assert_eq!(doctor.outcome(&book("bob", "2026-11-23", "23:30")), Err(Rejection::OutsideWindow));
}

#[test]
fn the_day_that_enters_the_window_is_loaded_and_not_assumed_free() {
    let mut doctor = Doctor::in_kolkata(&["10:30"]);
    doctor.tell(&book("ada", "2026-12-08", "10:30")).unwrap();
    let tomorrow = doctor.now + chrono::TimeDelta::days(1);
    let command = book("ada", "2026-12-09", "10:30");
    assert_eq!(doctor.calendar.missing(&command, doctor.now), []);
    assert_eq!(doctor.calendar.missing(&command, tomorrow), [Part::Date(date("2026-12-09"))]);
}

#[test]
fn the_29th_of_february_is_a_day_like_any_other() {
    let now = Utc.with_ymd_and_hms(2028, 2, 20, 4, 30, 0).unwrap();
    let mut doctor = Doctor::offering("Asia/Kolkata", now, &["10:30"]);
    assert_eq!(doctor.outcome(&book("ada", "2028-02-29", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("ada", "2028-03-06", "10:30")), Ok(()));
    assert_eq!(doctor.outcome(&book("ada", "2028-03-07", "10:30")), Err(Rejection::OutsideWindow));
    assert!("2027-02-29".parse::<NaiveDate>().is_err());
}

#[test]
fn a_time_that_daylight_saving_skips_is_not_offered_that_day() {
    // Berlin skips 02:00 to 03:00 on 28 March 2027.
    let now = Utc.with_ymd_and_hms(2027, 3, 27, 11, 0, 0).unwrap();
    let mut doctor = Doctor::offering("Europe/Berlin", now, &["01:30", "02:00", "02:30", "03:00"]);
    assert_eq!(doctor.offered_on("2027-03-28"), ["01:30", "03:00"]);
    assert_eq!(doctor.outcome(&book("ada", "2027-03-28", "02:30")), Err(Rejection::SlotUnavailable));
    assert_eq!(doctor.outcome(&book("ada", "2027-03-29", "02:30")), Ok(()));
}

#[test]
fn of_a_time_that_comes_twice_the_first_counts() {
    // Berlin shows 02:30 twice on 31 October 2027: at 00:30 and at 01:30 UTC.
    let before = Utc.with_ymd_and_hms(2027, 10, 31, 0, 29, 59).unwrap();
    let mut doctor = Doctor::offering("Europe/Berlin", before, &["02:30"]);
    assert_eq!(doctor.outcome(&book("ada", "2027-10-31", "02:30")), Ok(()));
    doctor.now += chrono::TimeDelta::seconds(1);
    assert_eq!(doctor.outcome(&book("bob", "2027-10-31", "02:30")), Err(Rejection::SlotInPast));
}

#[test]
fn a_slot_that_the_old_platform_oversold_is_full_until_it_is_below_five() {
    let mut doctor = Doctor::in_kolkata(&["10:30"]);
    let on = date("2026-11-24");
    let seat = |name: &str, spelling| StoredSeat {
        booking: Booking { user: user(name), date: on, start: slot("10:30"), key: None },
        spellings: SpellingSet::only(spelling),
        event: None,
    };
    let names = ["a", "b", "c", "d", "e", "f"];
    let seats = names.iter().map(|name| seat(name, DateSpelling::PLAIN)).collect();
    doctor.calendar.load(StoredPart::Date(on, DateRows { seats, unreadable: vec![slot("10:30")] }));
    assert_eq!(doctor.outcome(&book("g", "2026-11-24", "10:30")), Err(Rejection::SlotFull));
    for name in ["a", "b"] {
        doctor.tell(&cancel(name, "2026-11-24", "10:30")).unwrap();
        assert_eq!(doctor.outcome(&book("g", "2026-11-24", "10:30")), Err(Rejection::SlotFull));
    }
    doctor.tell(&cancel("c", "2026-11-24", "10:30")).unwrap();
    assert_eq!(doctor.outcome(&book("g", "2026-11-24", "10:30")), Ok(()));
}

#[test]
fn a_seat_that_is_stored_under_two_spellings_is_one_seat_and_goes_whole() {
    let mut doctor = Doctor::in_kolkata(&["10:30"]);
    let on = date("2026-12-01");
    let seats = DateSpelling::of(on)
        .map(|spelling| StoredSeat {
            booking: Booking { user: user("ada"), date: on, start: slot("10:30"), key: None },
            spellings: SpellingSet::only(spelling),
            event: None,
        })
        .collect();
    doctor.calendar.load(StoredPart::Date(on, DateRows { seats, unreadable: Vec::new() }));
    let Ok(Decision::Record(event)) = doctor.tell(&cancel("ada", "2026-12-01", "10:30")) else {
        panic!("the seat was not cancelled")
    };
    assert_eq!(event.actions(), 2);
    assert_eq!(doctor.outcome(&cancel("ada", "2026-12-01", "10:30")), Err(Rejection::BookingNotFound));
}

#[test]
fn old_long_rows_offer_their_slots_and_never_come_back_once_withdrawn() {
    let span = |start, end| SlotSpan::parse(start, end).unwrap();
    let rows = vec![
        ScheduleRow::plain(span("09:00", "10:30"), true),
        ScheduleRow::plain(span("09:30", "10:00"), false),
    ];
    let schedule = DaySchedule::from_rows(rows);
    let texts = |set: SlotSet| set.iter().map(|slot| slot.to_string()).collect::<Vec<_>>();
    assert_eq!(texts(schedule.offered()), ["09:00", "10:00"]);
    let after = schedule.rows_offering([slot("10:00")].into_iter().collect(), SlotSet::EMPTY);
    assert_eq!(after.len(), 4, "three slots and the long row");
    let again = DaySchedule::from_rows(after);
    assert_eq!(texts(again.offered()), ["10:00"]);
}

#[test]
fn an_old_row_that_spells_midnight_its_own_way_is_another_row_and_is_withdrawn_too() {
    let late = SlotSpan::parse("22:00", "00:00").unwrap();
    let old = |span, available| ScheduleRow { span, available, old_midnight: true };
    let mut schedule = DaySchedule::from_rows(vec![
        old(late, true),
        old(slot("23:30").span(), true),
        ScheduleRow::plain(slot("23:30").span(), false),
    ]);
    let texts = |set: SlotSet| set.iter().map(|slot| slot.to_string()).collect::<Vec<_>>();
    assert_eq!(texts(schedule.offered()), ["22:00", "22:30", "23:00"]);
    // Set, loaded, set again: never are two rows one key.
    for _ in 0..3 {
        let rows = schedule.rows_offering([slot("23:00")].into_iter().collect(), SlotSet::EMPTY);
        let mut keys: Vec<_> = rows.iter().map(|row| (row.span, row.old_midnight)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), rows.len());
        assert!(rows.iter().filter(|row| row.old_midnight).all(|row| !row.available));
        schedule = DaySchedule::from_rows(rows);
        assert_eq!(texts(schedule.offered()), ["23:00"]);
    }
}

#[test]
fn a_command_that_its_date_refuses_loads_nothing() {
    let calendar = Calendar::unloaded(Clinic::compiled_in("Asia/Kolkata").unwrap(), Rules::default());
    for command in [
        book("ada", "2026-11-22", "10:00"),
        book("ada", "2031-01-01", "10:00"),
        book_with_key("ada", "2026-11-15", "10:00", "k"),
        cancel("ada", "2026-11-23", "10:00"),
    ] {
        assert!(calendar.missing(&command, monday_morning()).is_empty(), "{command:?}");
    }
    assert_eq!(date("2026-11-23").weekday(), Weekday::Mon);
}

#[test]
fn an_answer_rests_on_the_changes_in_flight_that_could_make_it_false() {
    const TUESDAY: &str = "2026-11-24";
    let mut doctor = Doctor::in_kolkata(&["10:00", "10:30"]);
    let booking =
        |name: &str, at| Booking { user: user(name), date: date(TUESDAY), start: slot(at), key: None };
    let booked = |name| Change::SeatTaken(booking(name, "10:00"));
    let spellings = SpellingSet::only(DateSpelling::PLAIN);
    let freed = |name| Change::SeatFreed { booking: booking(name, "10:00"), spellings };
    let hours = |weekday| Change::HoursSet { weekday, rows: Vec::new() };
    let by = |name| book(name, TUESDAY, "10:00");
    let keyed = book_with_key("ada", TUESDAY, "10:00", "k");
    doctor.tell(&keyed).unwrap();
    for name in ["b", "c", "d", "e"] {
        doctor.tell(&by(name)).unwrap();
    }
    let mut rests = |command: &Command, expected: &str, change: Change| {
        let _ = doctor.outcome(&cancel("nobody", TUESDAY, "10:00"));
        let verdict = doctor.calendar.verdict(command, doctor.now);
        assert_eq!(format!("{:?}", verdict.decision.as_ref().map(|_| ())), expected);
        verdict.rests_on(&change)
    };
    let full = "Err(SlotFull)";
    assert!(rests(&by("bob"), full, booked("ada")));
    assert!(rests(&by("bob"), full, freed("bob")), "bob may still hold the seat");
    assert!(rests(&by("bob"), full, hours(Weekday::Tue)));
    assert!(!rests(&by("bob"), full, hours(Weekday::Wed)));
    let elsewhere = Change::SeatTaken(booking("ada", "10:30"));
    assert!(!rests(&by("bob"), full, elsewhere.clone()));
    let already = "Err(AlreadyBooked)";
    assert!(rests(&by("ada"), already, booked("ada")));
    assert!(!rests(&by("ada"), already, booked("bob")));
    assert!(rests(&keyed, "Ok(())", booked("ada")), "a repeat is answered at once");
    assert!(rests(&cancel("bob", TUESDAY, "10:00"), "Err(BookingNotFound)", freed("bob")));
    let not_offered = book("bob", TUESDAY, "11:00");
    assert!(rests(&not_offered, "Err(SlotUnavailable)", hours(Weekday::Tue)));
    let outside = book("bob", "2026-12-24", "10:00");
    assert!(!rests(&outside, "Err(OutsideWindow)", booked("bob")));
    // What is to be recorded is stored after what it rests on.
    assert!(!rests(&book("bob", TUESDAY, "10:30"), "Ok(())", hours(Weekday::Tue)));
}
