//! Faults on the wire between the SDK and the store, seen through the HTTP API: refused, throttled, in conflict, late,
//! broken before and after the commit.

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use persistence::{AccountKind, NewAccount};
use serde_json::json;

use crate::eventually::eventually;
use crate::harness::*;
use crate::proxy::{Fault, Proxy};

struct Rig {
    store: Store,
    proxy: Proxy,
    node: Node,
}

impl Rig {
    async fn start() -> Self {
        let store = Store::in_memory().await;
        let proxy = Proxy::before(&store.address()).await;
        let endpoint = store.endpoint().moved_to(proxy.endpoint.clone());
        let node = tokio::task::spawn_blocking(move || Node::start(&Data::At(endpoint))).await.unwrap();
        Self { store, proxy, node }
    }

    /// Doctors without the price of a sign-up, who offer 10:00 every day, and are in memory.
    async fn doctors(&self, count: usize) -> Vec<String> {
        let doctors = (0..count).map(|n| async move {
            let email = format!("doctor{n}@clinic.example");
            let account = NewAccount {
                kind: AccountKind::Doctor,
                email: email.clone(),
                name: "Dr Test".to_owned(),
                password_hash: "none".to_owned(),
                phone_number: "12345".to_owned(),
                location: None,
            };
            self.store.dynamo().accounts().create(account).await.unwrap();
            let day = chrono::Datelike::weekday(&date_in(3).parse::<chrono::NaiveDate>().unwrap());
            let day = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
                [day.num_days_from_monday() as usize];
            let slots = json!([{"start": "10:00", "end": "10:30"}]);
            let body = json!({"doctor_id": email, "day": day, "slots": slots});
            let set = self.node.post("/doctorsService/setSlots", Some(&doctor_token(&email)), &body).await;
            assert_eq!(set.0, 200, "{}", set.1);
            assert_eq!(self.booked(&email).await, 0);
            email
        });
        join_all(doctors).await
    }

    async fn book(&self, doctor: &str, name: &str) -> (u16, String) {
        let (status, answer) =
            self.node.book(doctor, &format!("{name}@example.com"), &date_in(3), "10:00").await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn cancel(&self, doctor: &str, name: &str) -> (u16, String) {
        let (status, answer) =
            self.node.cancel(doctor, &format!("{name}@example.com"), &date_in(3), "10:00").await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Seats taken as the public sees them.
    async fn booked(&self, doctor: &str) -> u64 {
        let body = json!({"doctor_id": doctor, "date": date_in(3)});
        let (status, answer) = self.node.post("/doctorBookings/available", None, &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["slots"][0]["booked"].as_u64().unwrap()
    }

    /// How many commands have come to their doctors so far.
    async fn commands(&self) -> usize {
        let metrics = reqwest::get(format!("{}/metrics", self.node.url)).await.unwrap().text().await.unwrap();
        let count = metrics.lines().find_map(|line| line.strip_prefix("kokoro_mailbox_depth_count "));
        count.unwrap().parse().unwrap()
    }

    /// Who holds the slot, according to the store.
    async fn holders(&self, doctor: &str) -> Vec<String> {
        let bookings = self.store.bookings().await;
        let of_day = bookings.iter().filter(|(day, _)| *day == format!("{doctor}#{}", date_in(3)));
        of_day
            .map(|(_, seat)| seat.trim_start_matches("10:00#").trim_end_matches("@example.com").to_owned())
            .collect()
    }

    /// Writes or deletes a row as another program would.
    async fn behind_its_back(&self, doctor: &str, name: &str, present: bool) {
        let user = format!("{name}@example.com");
        let (day, seat) = keys(doctor, &user, &date_in(3), "10:00");
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (client, table) = (self.store.dynamo().client(), &self.store.dynamo().tables().bookings);
        if present {
            let row = client.put_item().table_name(table).item("PK", text(&day)).item("SK", text(&seat));
            let row = row.item("doctor_id", text(doctor)).item("date", text(&date_in(3)));
            row.item("start", text("10:00")).item("user_id", text(&user)).send().await.unwrap();
        } else {
            let row = client.delete_item().table_name(table).key("PK", text(&day)).key("SK", text(&seat));
            row.send().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttles_conflicts_and_lost_answers_cost_time_and_nothing_else() {
    let rig = Rig::start().await;
    let doctor = &rig.doctors(1).await[0];
    let cases = [
        ("throttled", vec![Fault::Error(400, "ProvisionedThroughputExceededException")]),
        (
            "slowed down",
            vec![Fault::Error(400, "ThrottlingException"), Fault::Error(400, "RequestLimitExceeded")],
        ),
        ("in conflict", vec![Fault::Conflict, Fault::Conflict]),
        ("in progress", vec![Fault::CutAfter, Fault::Error(400, "TransactionInProgressException")]),
        ("broken before", vec![Fault::CutBefore]),
        ("broken after", vec![Fault::CutAfter]),
        ("broken twice", vec![Fault::CutAfter, Fault::CutBefore]),
        ("throttled after a break", vec![Fault::CutAfter, Fault::Error(400, "ThrottlingException")]),
        ("server error", vec![Fault::Error(500, "InternalServerError")]),
        ("garbage", vec![Fault::Garbage]),
    ];
    for (n, (name, faults)) in cases.into_iter().enumerate() {
        rig.proxy.next(faults);
        let user = format!("patient{n}");
        assert_eq!(rig.book(doctor, &user).await, (200, String::new()), "booking, {name}");
        assert_eq!(rig.holders(doctor).await, std::slice::from_ref(&user), "{name}");
        rig.proxy.next(vec![Fault::CutAfter; n % 2]);
        assert_eq!(rig.cancel(doctor, &user).await, (200, String::new()), "cancelling, {name}");
        assert_eq!(rig.holders(doctor).await, Vec::<String>::new(), "{name}");
        assert_eq!(rig.booked(doctor).await, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_answer_is_asked_for_again_with_the_same_token() {
    let rig = Rig::start().await;
    let doctor = &rig.doctors(1).await[0];
    let before = rig.proxy.transactions().len();
    rig.proxy.next([Fault::CutAfter]);
    assert_eq!(rig.book(doctor, "ada").await.0, 200);
    let attempts = &rig.proxy.transactions()[before..];
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0], attempts[1]);
    assert!(attempts[0]["ClientRequestToken"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_throttles_for_long_refuses_clearly_and_leaks_no_seat() {
    let rig = Rig::start().await;
    let doctor = &rig.doctors(1).await[0];
    rig.proxy.next(vec![Fault::Error(400, "ThrottlingException"); 12]);
    assert_eq!(rig.book(doctor, "ada").await, (503, "unavailable".to_owned()));
    rig.proxy.heal();
    assert_eq!(rig.booked(doctor).await, 0);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(rig.book(doctor, name).await.0, 200);
    }
    assert_eq!(rig.book(doctor, "ada").await, (409, "slot_full".to_owned()));
    assert_eq!(rig.holders(doctor).await, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_too_late_is_asked_for_again() {
    let rig = Rig::start().await;
    let doctor = &rig.doctors(1).await[0];
    rig.proxy.next([Fault::Mute]);
    assert_eq!(rig.book(doctor, "ada").await.0, 200);
    assert_eq!(rig.holders(doctor).await, ["ada"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_unknown_is_said_so_and_nothing_of_it_lands_later() {
    for (first, stored) in [(Fault::HoldBefore, false), (Fault::Mute, true)] {
        let rig = Rig::start().await;
        let doctor = &rig.doctors(1).await[0];
        // The first attempt, and every repeat for as long as anybody asks.
        rig.proxy.next(
            [first.clone(), Fault::Mute, Fault::Mute]
                .into_iter()
                .filter(|fault| stored || *fault == Fault::HoldBefore),
        );
        rig.proxy.next(vec![Fault::HoldBefore; 3]);
        assert_eq!(rig.book(doctor, "ada").await, (503, "outcome_unknown".to_owned()));
        rig.proxy.heal();
        let again = rig.book(doctor, "ada").await;
        if stored {
            assert_eq!(again, (409, "already_booked".to_owned()));
        } else {
            assert_eq!(again.0, 200);
            assert_eq!(rig.cancel(doctor, "ada").await.0, 200);
            // What was held on the wire lands now, and changes nothing: the epoch was raised.
            rig.proxy.release();
            rig.proxy.release();
            assert_eq!(rig.book(doctor, "bob").await.0, 200);
            assert_eq!(rig.holders(doctor).await, ["bob"]);
        }
        assert_eq!(rig.booked(doctor).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_doctors_in_one_transaction_only_those_whose_conditions_fail_are_refused() {
    let rig = Rig::start().await;
    let doctors = rig.doctors(120).await;
    let guilty = [5, 40, 41, 99];
    for n in guilty {
        rig.behind_its_back(&doctors[n], "ada", true).await;
    }
    let before = rig.proxy.transactions().len();
    let earlier = rig.commands().await;
    // Each lane's first transaction is held, so that the others gather behind it.
    rig.proxy.next(vec![Fault::HoldBefore; 4]);
    let releases = async {
        for _ in 0..4 {
            rig.proxy.is_holding().await;
        }
        let have_come = async || rig.commands().await >= earlier + doctors.len();
        eventually(DEADLINE, "every booking has come to its doctor", have_come).await;
        // Round trips that came later than the bookings: by then those are staged.
        for _ in 0..20 {
            assert_eq!(rig.node.get("/healthz").await.0, 200);
        }
        for _ in 0..4 {
            rig.proxy.release();
        }
    };
    let answers = join_all(doctors.iter().map(|doctor| rig.book(doctor, "ada")));
    let (answers, ()) = futures::join!(answers, releases);
    for (n, answer) in answers.into_iter().enumerate() {
        let expected = if guilty.contains(&n) { (409, "already_booked") } else { (200, "") };
        assert_eq!((answer.0, answer.1.as_str()), expected, "doctor {n}");
    }
    let sizes = rig.proxy.transactions()[before..]
        .iter()
        .map(|transaction| transaction["TransactItems"].as_array().unwrap().len())
        .max();
    assert!(sizes >= Some(20), "they did not travel together: {sizes:?}");
    assert_eq!(rig.store.bookings().await.len(), 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_failed_takes_the_booking_that_rested_on_it_with_it() {
    let rig = Rig::start().await;
    let doctor = &rig.doctors(1).await[0];
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(rig.book(doctor, name).await.0, 200);
    }
    // Behind the engine's back a's row has become z's: the slot is as full as before.
    rig.behind_its_back(doctor, "a", false).await;
    rig.behind_its_back(doctor, "z", true).await;
    rig.proxy.next([Fault::HoldBefore]);
    let cancelled = rig.cancel(doctor, "a");
    let booked = async {
        // The cancellation is on its way: its seat looks free.
        rig.proxy.is_holding().await;
        let booking = rig.book(doctor, "f");
        let release = async {
            assert_eq!(rig.node.get("/healthz").await.0, 200);
            rig.proxy.release();
        };
        futures::join!(booking, release).0
    };
    let (cancelled, booked) = futures::join!(cancelled, booked);
    assert_eq!(cancelled, (404, "booking_not_found".to_owned()));
    assert_eq!(booked, (409, "slot_full".to_owned()));
    assert_eq!(rig.holders(doctor).await, ["b", "c", "d", "e", "z"]);
    assert_eq!(rig.booked(doctor).await, 5);
    assert_eq!(rig.cancel(doctor, "b").await.0, 200);
    assert_eq!(rig.book(doctor, "f").await.0, 200);
}
