//! How activations begin and end, and what time does to them.

use std::time::Duration;

use chrono::TimeDelta;
use engine::limits::IDLE_BEFORE_PASSIVATION;
use engine::{Command, EngineError, Rejection, SlotSet};

use crate::harness::*;

#[test]
fn invented_doctors_are_not_found_and_leave_nothing_behind() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        for n in 0..1_000 {
            let doctor = doctor(&format!("nobody{n}"));
            let not_found = EngineError::Rejected(Rejection::DoctorNotFound);
            assert_eq!(app.book(&doctor, "ada", "2026-11-24", "10:30").await, Err(not_found.clone()));
            assert_eq!(app.doctors.view(&doctor, date("2026-11-24")).await, Err(not_found.clone()));
            assert_eq!(app.doctors.view(&doctor, date("2031-01-01")).await, Err(not_found));
        }
        assert_eq!(app.doctors.directory().active(), 0);
        // That answer is not remembered either.
        app.doctor("nobody7").await;
        assert!(app.book(&doctor("nobody7"), "ada", "2026-11-24", "10:30").await.is_ok());
    });
}

#[test]
fn an_idle_doctor_leaves_memory_and_comes_back_as_stored() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.book(&doctor, "ada", "2026-11-24", "10:30").await.unwrap();
        assert_eq!(app.doctors.directory().active(), 1);
        tokio::time::sleep(IDLE_BEFORE_PASSIVATION + Duration::from_secs(10)).await;
        assert_eq!(app.doctors.directory().active(), 0);
        assert_eq!(app.booked(&doctor, "2026-11-24", "10:30").await, 1);
    });
}

#[test]
fn a_doctor_that_is_in_use_stays_in_memory() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            app.booked(&doctor, "2026-11-24", "10:30").await;
            assert_eq!(app.doctors.directory().active(), 1);
        }
    });
}

#[test]
fn the_window_moves_at_midnight_while_the_doctor_is_active() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        // Rows of the day that is to enter the window are already there.
        for name in ["a", "b", "c", "d", "e"] {
            foreign(&app.store, &doctor, name, "2026-12-09", "10:30");
        }
        let ask = || app.book(&doctor, "ada", "2026-12-09", "10:30");
        assert_eq!(ask().await, Err(EngineError::Rejected(Rejection::OutsideWindow)));
        app.clock.advance(TimeDelta::hours(14));
        assert_eq!(ask().await, Err(EngineError::Rejected(Rejection::SlotFull)));
        assert_eq!(app.booked(&doctor, "2026-12-09", "10:30").await, 5);
    });
}

#[test]
fn a_booking_of_the_old_platform_far_ahead_can_be_cancelled() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        foreign(&app.store, &doctor, "ada", "2027-06-01", "10:30");
        assert!(app.cancel(&doctor, "ada", "2027-06-01", "10:30").await.is_ok());
        let again = app.cancel(&doctor, "ada", "2027-06-01", "10:30").await;
        assert_eq!(again, Err(EngineError::Rejected(Rejection::BookingNotFound)));
    });
}

#[test]
fn stopping_stores_and_answers_everything_in_flight() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.hold();
        let asks: Vec<_> = (0..5)
            .map(|n| {
                let (doctors, doctor) = (app.doctors.clone(), doctor.clone());
                actix::spawn(async move {
                    doctors.ask(&doctor, book(&format!("u{n}"), "2026-11-24", "10:30")).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (store, doctors) = (app.store.clone(), app.doctors.clone());
        let release = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            store.release();
        };
        futures::join!(app.engine.stop(), release);
        for ask in asks {
            assert!(ask.await.unwrap().is_ok());
        }
        assert_eq!(store.holders(&doctor, "2026-11-24", "10:30").len(), 5);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(doctors.directory().active(), 0);
        let late = doctors.ask(&doctor, book("late", "2026-11-24", "10:30")).await;
        assert_eq!(late, Err(EngineError::Unavailable));
    });
}

#[test]
fn a_flood_on_one_doctor_is_refused_early_and_the_next_request_works() {
    on_paused_time(async {
        let app = TestEngine::start().await;
        let doctor = app.doctor("asha").await;
        app.store.hold();
        let flood: Vec<_> = (0..3_000)
            .map(|n| {
                let (doctors, doctor) = (app.doctors.clone(), doctor.clone());
                let command = book(&format!("u{n}"), "2026-11-24", "10:30");
                actix::spawn(async move { doctors.ask(&doctor, command).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        app.store.release();
        let answers: Vec<_> =
            futures::future::join_all(flood).await.into_iter().map(Result::unwrap).collect();
        let busy = answers.iter().filter(|answer| **answer == Err(EngineError::Busy)).count();
        assert!(busy > 1_000, "{busy}");
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
        let empty = Command::SetSlots { weekday: chrono::Weekday::Sun, offered: SlotSet::EMPTY };
        assert!(app.doctors.ask(&doctor, empty).await.is_ok());
    });
}
