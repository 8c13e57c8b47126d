//! What the old platform left in its tables and buckets, trap by trap: each is put in as it left it, inspected, served and
//! carried on with by the real program, and looked at again as the old platform would.
//!
//! [`traps`] is the list of OLD_PLATFORM.md, in its order and words.

mod accounts;
mod bookings;
mod left;
mod others;
mod schedules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::harness::*;
use crate::old_platform::{WEEKDAYS, account, offer};
use crate::ollama::Ollama;
use crate::razorpay::{KEY_ID, KEY_SECRET, Razorpay, WEBHOOK_SECRET};
use crate::stores::*;
use left::Left;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse";
/// The patient and the doctor who are always there.
pub const ADA: &str = "ada@x.com";
pub const ASHA: &str = "asha@x.com";

/// One line of OLD_PLATFORM.md.
pub struct Trap {
    /// The table or bucket.
    place: &'static str,
    /// What it says of it.
    says: &'static str,
    /// Puts it in.
    put: Step<Opened>,
    /// What `kokoro check` counts, beside the tables of the engine's own that are missing.
    counted: Vec<(&'static str, u64)>,
    /// How it is served, and carried on with.
    served: Step<World>,
    /// How it is left.
    left: fn(&Left),
}

/// Something that is done to a store or a running program.
pub struct Step<T: 'static>(Box<Run<T>>);

type Run<T> = dyn for<'a> Fn(&'a T) -> LocalBoxFuture<'a, ()>;

/// A step made of an async closure.
pub fn step<T: 'static>(run: impl for<'a> AsyncFn(&'a T) + 'static) -> Step<T> {
    let run = std::rc::Rc::new(run);
    Step(Box::new(move |given| {
        let run = run.clone();
        async move { run(given).await }.boxed_local()
    }))
}

/// The program over the trap, and the services that it calls.
pub struct World {
    pub node: Node,
    pub ollama: tokio::sync::Mutex<Ollama>,
    pub razorpay: Razorpay,
}

impl World {
    /// Hashes as the old platform can check them: there may be a way back.
    async fn start(data: &Data<'_>) -> Self {
        let (ollama, razorpay) = (Ollama::start().await, Razorpay::start().await);
        let environment = [
            ("KOKORO_PASSWORD_HASH", "bcrypt"),
            ("OLLAMA_API", &ollama.url),
            ("RAZORPAY_API", &razorpay.url),
            ("RAZORPAY_KEY_ID", KEY_ID),
            ("RAZORPAY_KEY_SECRET", KEY_SECRET),
            ("RAZORPAY_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ];
        let node = Node::start_with(data, &environment);
        Self { node, ollama: ollama.into(), razorpay }
    }

    /// A call of a patient that must succeed.
    pub async fn user(&self, user: &str, path: &str, body: Value) -> Value {
        self.done(path, Some(&user_token(user)), body).await
    }

    /// A call of a doctor that must succeed.
    pub async fn doctor(&self, doctor: &str, path: &str, body: Value) -> Value {
        self.done(path, Some(&doctor_token(doctor)), body).await
    }

    async fn done(&self, path: &str, token: Option<&str>, body: Value) -> Value {
        let (status, answer) = self.node.post(path, token, &body).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// The code of a refusal.
    pub async fn refused(&self, path: &str, token: Option<&str>, body: Value) -> (u16, String) {
        let (status, answer) = self.node.post(path, token, &body).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    pub async fn log_in(&self, kind: &str, email: &str, password: &str) -> u16 {
        let body = json!({"email": email, "password": password});
        self.node.post(&format!("/auth/login{kind}"), None, &body).await.0
    }

    /// The slots of a date: start, seats taken, whether there is one left.
    pub async fn slots(&self, doctor: &str, date: &str) -> Vec<(String, u64, bool)> {
        let body = json!({"doctor_id": doctor, "date": date});
        let answer = self.done("/doctorBookings/available", None, body).await;
        let slots = answer["slots"].as_array().unwrap().iter();
        slots
            .map(|slot| {
                let start = slot["start"].as_str().unwrap().to_owned();
                (start, slot["booked"].as_u64().unwrap(), slot["available"].as_bool().unwrap())
            })
            .collect()
    }

    /// The starts that are offered on a date.
    pub async fn starts(&self, doctor: &str, date: &str) -> Vec<String> {
        self.slots(doctor, date).await.into_iter().map(|(start, ..)| start).collect()
    }

    pub async fn books(&self, doctor: &str, user: &str, start: &str) -> (u16, String) {
        let (status, answer) = self.node.book(doctor, user, &date_in(3), start).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    /// A patient's bookings: date and start as they are stored.
    pub async fn bookings(&self, user: &str) -> Vec<(String, String)> {
        let answer = self.user(user, "/doctorBookings/user", json!({"user_id": user})).await;
        let rows = answer["bookings"].as_array().unwrap().iter();
        rows.map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (text("date"), text("start"))
        })
        .collect()
    }

    /// A doctor as everybody sees it.
    pub async fn profile(&self, doctor: &str) -> Value {
        let answer = self.done("/doctorsService/fetchDoctors", None, json!({})).await;
        let doctors = answer["doctors"].as_array().unwrap().iter();
        doctors.into_iter().find(|shown| shown["email"] == doctor).cloned().unwrap()
    }
}

/// The weekday of the date on which everything happens: in three days.
pub fn weekday() -> &'static str {
    let date: chrono::NaiveDate = date_in(3).parse().unwrap();
    WEEKDAYS[chrono::Datelike::weekday(&date).num_days_from_monday() as usize]
}

/// A hash as the old platform made it.
pub fn hash(password: &str) -> String {
    bcrypt::hash(&password.as_bytes()[..password.len().min(72)], 12).unwrap()
}

/// Ada, and Asha with two slots on every day.
async fn people(store: &Opened) {
    static HASH: OnceLock<String> = OnceLock::new();
    let password = HASH.get_or_init(|| hash(PASSWORD));
    account(store, "Users", ADA, &[("password", Some(s(password)))]).await;
    let onboarded = [("password", Some(s(password))), ("onboarded", Some(left::yes()))];
    account(store, "Doctors", ASHA, &[&onboarded[..], &accounts::no_profile()].concat()).await;
    for day in WEEKDAYS {
        for span in ["09:00-09:30", "09:30-10:00"] {
            offer(store, &format!("{ASHA}#{day}"), span, Some(left::yes())).await;
        }
    }
}

fn traps() -> Vec<Trap> {
    [accounts::traps(), schedules::traps(), bookings::traps(), others::traps()]
        .into_iter()
        .flatten()
        .collect()
}

async fn spring(trap: &Trap) {
    let (_scratch, data) = folder();
    let store = Opened::at(&data).await;
    for table in ["KokoroEngine", "KokoroNodes", "KokoroAudit"] {
        store.dynamo.client().delete_table().table_name(table).send().await.unwrap();
    }
    people(&store).await;
    (trap.put.0)(&store).await;
    let before = Left::in_store(&store).await;
    drop(store);

    let (report, _) = check(&data);
    let findings = report["findings"].as_array().unwrap().iter();
    let found: BTreeMap<&str, u64> = findings
        .map(|finding| (finding["finding"].as_str().unwrap(), finding["count"].as_u64().unwrap()))
        .collect();
    let counted = trap.counted.iter().copied().chain([("own_table_missing", 3)]);
    assert_eq!(found, counted.collect());

    let world = World::start(&Data::Folder(&data)).await;
    (trap.served.0)(&world).await;
    world.node.signal("-TERM");
    let (status, log) = world.node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");

    let left = Left::in_store(&Opened::at(&data).await).await;
    left.assert_read_by_the_old_platform(&before);
    (trap.left)(&left);
}

/// Every trap of a place, one after another.
async fn spring_all(place: &str) {
    let traps: Vec<Trap> = traps().into_iter().filter(|trap| trap.place == place).collect();
    assert!(!traps.is_empty());
    for trap in traps {
        // For whoever reads why it failed.
        eprintln!("{place}: {}", trap.says);
        spring(&trap).await;
    }
}

/// The places that OLD_PLATFORM.md names.
const PLACES: [&str; 9] = [
    "Users",
    "Doctors",
    "DoctorAvailabilityTable",
    "DoctorBookingsTable",
    "ChatHistory",
    "PaymentsTable",
    "AuthTokensTable",
    "kokoro-medilocker",
    "kokoro-doctor-documents",
];

#[test]
fn every_place_of_the_old_platform_has_its_traps() {
    let places: BTreeSet<&str> = traps().iter().map(|trap| trap.place).collect();
    assert_eq!(places, BTreeSet::from(PLACES));
    let said: BTreeSet<(&str, &str)> = traps().iter().map(|trap| (trap.place, trap.says)).collect();
    assert_eq!(said.len(), traps().len());
}

#[actix_web::test]
async fn users() {
    spring_all("Users").await;
}

#[actix_web::test]
async fn doctors() {
    spring_all("Doctors").await;
}

#[actix_web::test]
async fn availability() {
    spring_all("DoctorAvailabilityTable").await;
}

#[actix_web::test]
async fn seats() {
    spring_all("DoctorBookingsTable").await;
}

#[actix_web::test]
async fn everything_else() {
    for place in &PLACES[4..] {
        spring_all(place).await;
    }
}
