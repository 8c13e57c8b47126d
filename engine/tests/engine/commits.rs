//! Whose fault, and who pays: what a store that refuses, throttles, loses and hangs does to whom.

use engine::shard::FencingEpoch;
use engine::shard::Ring;
use engine::store::Fences;
use engine::{Answer, DoctorId, EngineError, Rejection};
use futures::future::join_all;

use crate::harness::*;

const DAY: &str = "2026-11-24";

async fn doctors(app: &TestEngine, count: usize) -> Vec<DoctorId> {
    let mut doctors = Vec::new();
    for n in 0..count {
        let doctor = app.doctor(&format!("d{n}")).await;
        app.doctors.view(&doctor, date(DAY)).await.unwrap();
        doctors.push(doctor);
    }
    app.store.forget_batches();
    doctors
}

/// Everybody books while the store holds still, so that the events share transactions.
async fn book_together(
    app: &TestEngine,
    doctors: &[DoctorId],
    name: &str,
) -> Vec<Result<Answer, EngineError>> {
    app.store.hold();
    let asks: Vec<_> = doctors
        .iter()
        .map(|doctor| {
            let (directory, doctor, command) =
                (app.doctors.clone(), doctor.clone(), book(name, DAY, "10:30"));
            actix::spawn(async move { directory.ask(&doctor, command).await })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    app.store.release();
    join_all(asks).await.into_iter().map(Result::unwrap).collect()
}

/// Fills a slot. Behind the engine's back a's row then becomes z's: the slot is as full as before.
async fn fill_and_swap_a_row(app: &TestEngine, doctor: &DoctorId) {
    for name in ["a", "b", "c", "d", "e"] {
        app.book(doctor, name, DAY, "10:30").await.unwrap();
    }
    vanish(&app.store, doctor, "a", DAY, "10:30");
    foreign(&app.store, doctor, "z", DAY, "10:30");
}

#[test]
fn events_that_their_conditions_refuse_cost_their_neighbours_nothing() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctors = doctors(&app, 120).await;
        for guilty in [3, 50, 51, 110] {
            foreign(&app.store, &doctors[guilty], "ada", DAY, "10:30");
        }
        let answers = book_together(&app, &doctors, "ada").await;
        for (n, answer) in answers.iter().enumerate() {
            if [3, 50, 51, 110].contains(&n) {
                assert_eq!(*answer, Err(EngineError::Rejected(Rejection::AlreadyBooked)));
            } else {
                assert!(answer.is_ok(), "{n}: {answer:?}");
            }
        }
        let largest = app.store.batches().iter().map(|batch| batch.events.len()).max();
        assert!(largest >= Some(20), "the events did not travel together: {largest:?}");
        assert_eq!(app.store.memory.bookings().len(), 120);
    });
}

#[test]
fn a_cancellation_that_failed_takes_the_booking_that_rested_on_it_with_it() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        fill_and_swap_a_row(&app, &doctor).await;
        let (cancelled, booked) =
            futures::join!(app.cancel(&doctor, "a", DAY, "10:30"), app.book(&doctor, "f", DAY, "10:30"));
        assert_eq!(cancelled, Err(EngineError::Rejected(Rejection::BookingNotFound)));
        assert_eq!(booked, Err(EngineError::Rejected(Rejection::SlotFull)));
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["b", "c", "d", "e", "z"]);
        assert!(app.cancel(&doctor, "b", DAY, "10:30").await.is_ok());
        assert!(app.book(&doctor, "f", DAY, "10:30").await.is_ok());
    });
}

#[test]
fn conflicts_and_throttles_cost_time_and_nothing_else() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctors = doctors(&app, 30).await;
        app.store.next_commits([Fault::Conflict, Fault::Throttle, Fault::Throttle, Fault::Conflict]);
        let answers = book_together(&app, &doctors, "ada").await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(app.store.memory.bookings().len(), 30);
    });
}

#[test]
fn a_store_that_throttles_for_long_refuses_clearly_and_leaks_no_seat() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.next_commits([Fault::Throttle; 12]);
        assert_eq!(app.book(&doctor, "ada", DAY, "10:30").await, Err(EngineError::Unavailable));
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 0);
        assert!(app.book(&doctor, "ada", DAY, "10:30").await.is_ok());
    });
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_token() {
    on_paused_time(async {
        for fault in [Fault::LoseBefore, Fault::LoseAfter, Fault::Hang] {
            let app = TestEngine::start().await;
            let doctor = app.doctor("asha").await;
            app.doctors.view(&doctor, date(DAY)).await.unwrap();
            app.store.forget_batches();
            app.store.next_commits([fault]);
            assert!(app.book(&doctor, "ada", DAY, "10:30").await.is_ok(), "{fault:?}");
            let batches = app.store.batches();
            assert!(batches.len() == 2 && batches[0] == batches[1], "{fault:?}");
            assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
        }
    });
}

#[test]
fn throttles_after_a_lost_answer_leave_it_unknown_until_it_is_known() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.next_commits([Fault::LoseAfter, Fault::Throttle, Fault::Conflict, Fault::Throttle]);
        assert!(app.book(&doctor, "ada", DAY, "10:30").await.is_ok());
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
    });
}

#[test]
fn what_stays_unknown_is_said_so_and_the_next_request_works() {
    on_paused_time(async {
        for fault in [Fault::LoseBefore, Fault::LoseAfter, Fault::Hang] {
            let app = TestEngine::start().await;
            let doctor = app.doctor("asha").await;
            // After the first, nothing is heard for longer than anybody asks.
            let silence = [fault].into_iter().chain([Fault::Hang; 3]);
            app.store.next_commits(silence);
            assert_eq!(app.book(&doctor, "ada", DAY, "10:30").await, Err(EngineError::OutcomeUnknown));
            app.store.heal();
            let again = app.book(&doctor, "ada", DAY, "10:30").await;
            if fault == Fault::LoseAfter {
                assert_eq!(again, Err(EngineError::Rejected(Rejection::AlreadyBooked)));
            } else {
                assert!(again.is_ok(), "{fault:?}: {again:?}");
            }
            assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
            assert_eq!(app.booked(&doctor, DAY, "10:30").await, 1);
        }
    });
}

#[test]
fn a_lost_request_that_lands_after_the_epoch_was_raised_changes_nothing() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.next_commits([Fault::LandLate, Fault::Hang, Fault::Hang, Fault::Hang]);
        assert_eq!(app.book(&doctor, "ada", DAY, "10:30").await, Err(EngineError::OutcomeUnknown));
        for name in ["a", "b", "c", "d", "e"] {
            assert!(app.book(&doctor, name, DAY, "10:30").await.is_ok());
        }
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["a", "b", "c", "d", "e"]);
    });
}

#[test]
fn a_lost_request_that_lands_after_its_repeat_changes_nothing() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.next_commits([Fault::LandLate]);
        assert!(app.book(&doctor, "ada", DAY, "10:30").await.is_ok());
        assert!(app.cancel(&doctor, "ada", DAY, "10:30").await.is_ok());
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), Vec::<String>::new());
    });
}

#[test]
fn a_lost_request_whose_repeat_is_refused_can_land_no_more_and_its_neighbours_succeed() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctors = doctors(&app, 30).await;
        foreign(&app.store, &doctors[7], "ada", DAY, "10:30");
        app.store.next_commits([Fault::LandLate, Fault::LandLate, Fault::LandLate, Fault::LandLate]);
        let answers = book_together(&app, &doctors, "ada").await;
        for (n, answer) in answers.iter().enumerate() {
            if n == 7 {
                assert_eq!(*answer, Err(EngineError::Rejected(Rejection::AlreadyBooked)));
            } else {
                assert!(answer.is_ok(), "{n}: {answer:?}");
            }
        }
        // Had a lost request stayed possible, it would now bring back what is cancelled.
        vanish(&app.store, &doctors[7], "ada", DAY, "10:30");
        for (n, doctor) in doctors.iter().enumerate().filter(|(n, _)| *n != 7) {
            assert!(app.cancel(doctor, "ada", DAY, "10:30").await.is_ok(), "{n}");
        }
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        assert_eq!(app.store.memory.bookings(), []);
    });
}

#[test]
fn a_booking_that_was_stored_by_a_lost_request_is_acknowledged_when_its_repeat_is_refused() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.book(&doctor, "bob", DAY, "11:00").await.unwrap();
        app.store.hold();
        let asks = futures::future::join(
            app.book(&doctor, "ada", DAY, "10:30"),
            app.cancel(&doctor, "bob", DAY, "11:00"),
        );
        let released = async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            app.store.next_commits([Fault::LoseAfter]);
            app.store.release();
        };
        let ((booked, cancelled), ()) = futures::join!(asks, released);
        assert!(booked.is_ok() && cancelled.is_ok(), "{booked:?} {cancelled:?}");
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
        assert_eq!(app.store.holders(&doctor, DAY, "11:00"), Vec::<String>::new());
    });
}

#[test]
fn a_booking_finds_its_own_event_when_the_store_has_forgotten_the_request() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.doctors.view(&doctor, date(DAY)).await.unwrap();
        app.store.next_commits([Fault::LoseAfterAndForget]);
        assert!(app.book(&doctor, "ada", DAY, "10:30").await.is_ok());
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
        let fences = app.store.memory.read(&Ring::default().ranges().collect::<Vec<_>>()).await.unwrap();
        assert!(fences.iter().all(|fence| fence.epoch == FencingEpoch::INITIAL), "nothing had to be raised");
    });
}

#[test]
fn what_a_lost_attempt_did_while_its_repeat_was_refused_is_acknowledged_after_the_reload() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.next_commits([Fault::LoseBefore, Fault::LandAndRefuse]);
        assert!(app.book(&doctor, "ada", DAY, "10:30").await.is_ok());
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["ada"]);
        app.store.next_commits([Fault::LoseBefore, Fault::LandAndRefuse]);
        assert_eq!(app.cancel(&doctor, "ada", DAY, "10:30").await, Ok(Answer::Cancelled));
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), Vec::<String>::new());
        assert_eq!(app.booked(&doctor, DAY, "10:30").await, 0);
        let told: Vec<bool> = app.doctors.recent(&user("ada")).iter().map(|answer| answer.booked).collect();
        assert_eq!(told, [true, false], "the user's own list knows both");
    });
}

#[test]
fn a_booking_that_was_staged_behind_a_cancellation_in_flight_falls_with_it() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        fill_and_swap_a_row(&app, &doctor).await;
        app.store.hold();
        let booked = async {
            // The cancellation is at the store; the booking waits in its lane.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let release = async {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                app.store.release();
            };
            futures::join!(app.book(&doctor, "f", DAY, "10:30"), release).0
        };
        let (cancelled, booked) = futures::join!(app.cancel(&doctor, "a", DAY, "10:30"), booked);
        assert_eq!(cancelled, Err(EngineError::Rejected(Rejection::BookingNotFound)));
        assert_eq!(booked, Err(EngineError::Rejected(Rejection::SlotFull)));
        assert_eq!(app.store.holders(&doctor, DAY, "10:30"), ["b", "c", "d", "e", "z"]);
    });
}
