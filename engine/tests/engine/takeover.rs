//! Who owns what: a second process on the same store.

use engine::{EngineError, Rejection, Standing};
use futures::future::join_all;

use crate::harness::*;

const DAY: &str = "2026-11-24";

#[test]
fn a_second_process_takes_over_and_the_store_refuses_the_first_one() {
    on_paused_time(async {
        let first = TestEngine::start().await;
        let doctor = first.doctor("asha").await;
        for name in ["a", "b", "c"] {
            first.book(&doctor, name, DAY, "10:30").await.unwrap();
        }
        let second = TestEngine::on(first.store.clone(), 2).await;
        // The first does not know yet: it decides, and the store refuses.
        assert_eq!(first.book(&doctor, "d", DAY, "10:30").await, Err(EngineError::Unavailable));
        assert_eq!(*first.engine.standing().borrow(), Standing::Deposed);
        assert!(second.book(&doctor, "d", DAY, "10:30").await.is_ok());
        assert!(second.book(&doctor, "e", DAY, "10:30").await.is_ok());
        let full = second.book(&doctor, "f", DAY, "10:30").await;
        assert_eq!(full, Err(EngineError::Rejected(Rejection::SlotFull)));
        assert_eq!(first.store.holders(&doctor, DAY, "10:30"), ["a", "b", "c", "d", "e"]);
        assert_eq!(*second.engine.standing().borrow(), Standing::Serving);
    });
}

#[test]
fn an_idle_deposed_process_learns_it_by_itself_and_answers_no_reads_either() {
    on_paused_time(async {
        let first = TestEngine::start().await;
        let doctor = first.doctor("asha").await;
        assert_eq!(first.booked(&doctor, DAY, "10:30").await, 0);
        let mut standing = first.engine.standing();
        let second = TestEngine::on(first.store.clone(), 2).await;
        standing.wait_for(|standing| *standing == Standing::Deposed).await.unwrap();
        assert_eq!(first.doctors.view(&doctor, date(DAY)).await, Err(EngineError::Unavailable));
        assert_eq!(second.booked(&doctor, DAY, "10:30").await, 0);
    });
}

#[test]
fn under_load_through_both_no_slot_holds_more_than_five_and_nothing_acknowledged_is_lost() {
    on_paused_time(async {
        let first = TestEngine::start().await;
        let doctor = first.doctor("asha").await;
        let names: Vec<String> = (0..60).map(|n| format!("u{n}")).collect();
        let before: Vec<_> = names[..30]
            .iter()
            .map(|name| {
                let (doctors, doctor, command) =
                    (first.doctors.clone(), doctor.clone(), book(name, DAY, "10:30"));
                actix::spawn(async move { doctors.ask(&doctor, command).await })
            })
            .collect();
        let second = TestEngine::on(first.store.clone(), 2).await;
        let after = join_all(names[30..].iter().map(|name| second.book(&doctor, name, DAY, "10:30"))).await;
        let before: Vec<_> = join_all(before).await.into_iter().map(Result::unwrap).collect();
        let stored = first.store.holders(&doctor, DAY, "10:30");
        assert!(stored.len() <= 5, "{stored:?}");
        for (name, answer) in names.iter().zip(before.iter().chain(&after)) {
            if answer.is_ok() {
                assert!(stored.contains(name), "{name} was acknowledged and is lost");
            }
        }
    });
}

#[test]
fn a_deposed_process_answers_nothing_from_memory_for_any_doctor() {
    on_paused_time(async {
        let first = TestEngine::start().await;
        let (asha, ravi) = (first.doctor("asha").await, first.doctor("ravi").await);
        let command = || book_with_key("ada", DAY, "10:30", "k1");
        first.doctors.ask(&ravi, command()).await.unwrap();
        let second = TestEngine::on(first.store.clone(), 2).await;
        second.cancel(&ravi, "ada", DAY, "10:30").await.unwrap();
        // A commit for another doctor is how the first learns it.
        assert_eq!(first.book(&asha, "bob", DAY, "10:30").await, Err(EngineError::Unavailable));
        assert_eq!(first.doctors.ask(&ravi, command()).await, Err(EngineError::Unavailable));
        assert_eq!(first.doctors.view(&ravi, date(DAY)).await, Err(EngineError::Unavailable));
    });
}

#[test]
fn a_process_that_is_cut_off_from_the_store_soon_answers_nothing_from_memory() {
    on_paused_time(async {
        let first = TestEngine::start().await;
        let doctor = first.doctor("asha").await;
        let command = || book_with_key("ada", DAY, "10:30", "k1");
        first.doctors.ask(&doctor, command()).await.unwrap();
        let second = TestEngine::on(first.store.other_line(), 2).await;
        first.store.cut();
        second.cancel(&doctor, "ada", DAY, "10:30").await.unwrap();
        tokio::time::sleep(engine::limits::STORE_SILENT_MAX).await;
        assert_eq!(first.doctors.ask(&doctor, command()).await, Err(EngineError::Unavailable));
        assert_eq!(first.doctors.view(&doctor, date(DAY)).await, Err(EngineError::Unavailable));
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(*first.engine.standing().borrow(), Standing::StoreSilent);
    });
}

#[test]
fn of_processes_that_start_together_exactly_one_serves() {
    on_paused_time(async {
        let store = FaultyStore::new();
        TestEngine::on(store.clone(), 99).await.engine.stop().await;
        let starts = (0..5).map(|seed| {
            let store = store.clone();
            async move { TestEngine::try_on(store, seed).await.ok() }
        });
        let started: Vec<TestEngine> = join_all(starts).await.into_iter().flatten().collect();
        // Whoever was first and then overtaken learns it at its next look.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let standings = started.iter().map(|app| *app.engine.standing().borrow());
        assert_eq!(standings.filter(|standing| *standing == Standing::Serving).count(), 1);
    });
}
