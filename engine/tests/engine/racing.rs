//! Who gets a seat.

use chrono::Datelike;
use engine::{Answer, Command, EngineError, Rejection};
use futures::future::join_all;

use crate::harness::*;

const DAY: &str = "2026-11-24";

#[test]
fn of_a_hundred_users_at_once_five_get_the_slot_and_the_store_agrees() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        let names: Vec<String> = (0..100).map(|n| format!("u{n}")).collect();
        let answers = join_all(names.iter().map(|name| app.book(&doctor, name, DAY, "10:30"))).await;
        let won: Vec<&String> =
            names.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(name, _)| name).collect();
        let full = answers.iter().filter(|a| **a == Err(EngineError::Rejected(Rejection::SlotFull)));
        assert_eq!((won.len(), full.count()), (5, 95));
        let mut stored = app.store.holders(&doctor, DAY, "10:30");
        stored.sort();
        let mut won: Vec<String> = won.into_iter().cloned().collect();
        won.sort();
        assert_eq!(stored, won);
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 5);
    });
}

#[test]
fn nobody_is_refused_for_a_seat_that_is_not_stored_in_the_end() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.doctors.view(&doctor, date(DAY)).await.unwrap();
        // The first is throttled until it gives up. Four others are staged behind it, and the sixth finds the slot full.
        app.store.next_commits([Fault::Throttle; 12]);
        let names: Vec<String> = (0..6).map(|n| format!("u{n}")).collect();
        let answers = join_all(names.iter().map(|name| app.book(&doctor, name, DAY, "10:30"))).await;
        assert_eq!(answers[0], Err(EngineError::Unavailable));
        assert!(
            answers[1..].iter().all(Result::is_ok),
            "the sixth waited, and then found a seat: {answers:?}"
        );
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["u1", "u2", "u3", "u4", "u5"]);
    });
}

/// Found by the simulation: "slot full" told of a slot whose offer was still in flight.
#[test]
fn nobody_is_refused_by_a_schedule_that_is_not_stored_in_the_end() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        for name in ["u0", "u1", "u2", "u3", "u4"] {
            app.book(&doctor, name, DAY, "10:30").await.unwrap();
        }
        let offer = |offered: bool| {
            let offered = offered.then(|| slot("10:30")).into_iter().collect();
            app.doctors.ask(&doctor, Command::SetSlots { weekday: date(DAY).weekday(), offered })
        };
        offer(false).await.unwrap();
        // The offer is throttled until it gives up, and the sixth user comes meanwhile.
        app.store.next_commits([Fault::Throttle; 12]);
        let (offered, sixth) = futures::join!(offer(true), app.book(&doctor, "u5", DAY, "10:30"));
        assert_eq!(offered, Err(EngineError::Unavailable));
        assert_eq!(sixth, Err(EngineError::Rejected(Rejection::SlotUnavailable)));
    });
}

/// Found with the one above: "not available" told to a user whose cancellation was still in flight.
#[test]
fn nobody_is_refused_by_a_cancellation_of_its_own_that_is_not_stored_in_the_end() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.book(&doctor, "ada", DAY, "10:30").await.unwrap();
        let weekday = date(DAY).weekday();
        let withdraw = Command::SetSlots { weekday, offered: std::iter::empty().collect() };
        app.doctors.ask(&doctor, withdraw).await.unwrap();
        app.store.next_commits([Fault::Throttle; 12]);
        let (cancelled, again) =
            futures::join!(app.cancel(&doctor, "ada", DAY, "10:30"), app.book(&doctor, "ada", DAY, "10:30"));
        assert_eq!(cancelled, Err(EngineError::Unavailable));
        assert_eq!(again, Err(EngineError::Rejected(Rejection::AlreadyBooked)));
    });
}

#[test]
fn a_repeat_in_flight_waits_for_the_same_commit() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.forget_batches();
        let command = || book_with_key("ada", DAY, "10:30", "k1");
        let other_key = app.doctors.ask(&doctor, book_with_key("ada", DAY, "10:30", "k2"));
        let (first, second, other) = futures::join!(
            app.doctors.ask(&doctor, command()),
            app.doctors.ask(&doctor, command()),
            other_key
        );
        let Ok(Answer::Booked(booking)) = first else { panic!("the first was told {first:?}") };
        assert_eq!(second, Ok(Answer::BookedBefore(booking)));
        assert_eq!(other, Err(EngineError::Rejected(Rejection::AlreadyBooked)));
        assert_eq!(app.store.batches().len(), 1);
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
    });
}

#[test]
fn a_repeat_after_a_restart_answers_as_the_first_did() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        let command = || book_with_key("ada", DAY, "10:30", "k1");
        let first = app.doctors.ask(&doctor, command()).await;
        let Ok(Answer::Booked(booking)) = first else { panic!("the first was told {first:?}") };
        let store = app.store.clone();
        app.engine.stop().await;
        let app = TestEngine::on(store, 2).await;
        assert_eq!(app.doctors.ask(&doctor, command()).await, Ok(Answer::BookedBefore(booking)));
        let none = app.book(&doctor, "ada", DAY, "10:30").await;
        assert_eq!(none, Err(EngineError::Rejected(Rejection::AlreadyBooked)));
    });
}

#[test]
fn book_cancel_and_book_again_of_one_seat_by_many_at_once_is_never_malformed() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        let names: Vec<String> = (0..40).map(|n| format!("u{n}")).collect();
        let lives = names.iter().map(|name| async {
            let mut held = false;
            for _ in 0..10 {
                let again = join_all([0; 2].map(|_| app.book(&doctor, name, DAY, "10:30"))).await;
                held |= again.iter().any(Result::is_ok);
                if held && app.cancel(&doctor, name, DAY, "10:30").await.is_ok() {
                    held = false;
                }
            }
            held
        });
        let held = join_all(lives).await;
        let mut expected: Vec<&String> =
            names.iter().zip(held).filter(|(_, held)| *held).map(|(name, _)| name).collect();
        expected.sort();
        let mut stored = app.store.holders(&doctor, DAY, "10:30");
        stored.sort();
        assert!(stored.len() <= 5);
        assert_eq!(stored.iter().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn no_view_reveals_an_event_that_is_not_stored() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 0);
        app.store.hold();
        let booking = actix::spawn({
            let (doctors, doctor) = (app.doctors.clone(), doctor.clone());
            async move { doctors.ask(&doctor, book("ada", DAY, "10:30")).await }
        });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 0);
        app.store.release();
        booking.await.unwrap().unwrap();
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 1);
        let recent = app.doctors.recent(&user("ada"));
        assert!(recent.len() == 1 && recent[0].booked);
    });
}

#[test]
fn a_schedule_change_in_flight_holds_back_the_refusals_that_rest_on_it() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.doctors.view(&doctor, date(DAY)).await.unwrap();
        let withdraw = Command::UpdateSlot {
            weekday: chrono::Weekday::Tue,
            span: slot("10:30").span(),
            available: false,
        };
        app.store.next_commits([Fault::Throttle; 12]);
        let (withdrawn, booked) =
            futures::join!(app.doctors.ask(&doctor, withdraw), app.book(&doctor, "ada", DAY, "10:30"));
        assert_eq!(withdrawn, Err(EngineError::Unavailable));
        assert!(booked.is_ok(), "the slot was never withdrawn");
    });
}

#[test]
fn schedule_changes_of_one_day_at_once_leave_what_is_stored_on_show() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.doctors.view(&doctor, date(DAY)).await.unwrap();
        let change = |at: &str, available| Command::UpdateSlot {
            weekday: chrono::Weekday::Tue,
            span: slot(at).span(),
            available,
        };
        let changes = ["10:30", "11:00", "12:00", "10:30", "13:00", "12:00"].into_iter().enumerate();
        let asks = changes.map(|(n, at)| {
            let (doctors, doctor, command) = (app.doctors.clone(), doctor.clone(), change(at, n % 2 == 0));
            async move { doctors.ask(&doctor, command).await }
        });
        assert!(join_all(asks).await.iter().all(Result::is_ok));
        let shown = app.doctors.view(&doctor, date(DAY)).await.unwrap();
        let store = app.store.clone();
        app.engine.stop().await;
        let app = TestEngine::on(store, 2).await;
        assert_eq!(app.doctors.view(&doctor, date(DAY)).await.unwrap(), shown);
    });
}

#[test]
fn outcomes_of_one_doctor_are_taken_in_order() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 0);
        app.store.hold();
        let cancel = Command::Cancel { user: user("ada"), date: date(DAY), start: slot("10:30") };
        let commands = [book("bob", DAY, "11:00"), book("ada", DAY, "10:30"), cancel];
        let asks = commands.map(|command| {
            let (doctors, doctor) = (app.doctors.clone(), doctor.clone());
            actix::spawn(async move { doctors.ask(&doctor, command).await })
        });
        // The three are asked before time goes on.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        // One more that waits for nothing: once it is answered, the three before it are staged.
        let nobody = app.cancel(&doctor, "nobody", DAY, "11:00").await;
        assert_eq!(nobody, Err(EngineError::Rejected(Rejection::BookingNotFound)));
        app.store.release();
        for answer in asks {
            assert!(answer.await.unwrap().is_ok());
        }
        let told: Vec<bool> = app.doctors.recent(&user("ada")).iter().map(|answer| answer.booked).collect();
        assert_eq!(told, [true, false]);
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 0);
    });
}
