//! Damaged rows of everything that is no calendar: whose row it is may get less, nobody else notices, no call breaks, and
//! a row that is only read stays as it is.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use engine::{ManualClock, Placement, SystemChance};
use persistence::{EmbeddedDynamo, Where};
use reqwest::Method;
use serde_json::{Value, json};
use web::config::{AuthConfig, Config, Place, Secret, StoreConfig};
use web::startup::{Application, Ended, EngineStore, Surroundings};

use crate::chance::{Dice, cases};
use crate::harness::{MONDAY_AT_TEN, PASSWORD, Reply, TestApp, TestUser, config};
use crate::log;
use crate::routes::{TOKEN_SECRET, World};
use crate::rows::{Row, all, bent, damage, get, put, text, text_of, with};

/// A call, and who makes it.
type Asked<'a> = (&'a TestUser, &'static str, Value);

/// Makes calls that may find less than there was, and must not break.
async fn ask(world: &World, case: &str, calls: Vec<Asked<'_>>) {
    for (who, path, body) in calls {
        let (status, answer) = world.app.post(path, Some(&who.token), &body).await;
        assert!(status < 500, "{case}: {path} {status} {answer}");
    }
}

async fn pattern(world: &World, table: &str, key: &str, value: &str) -> Row {
    let rows = all(world.app.dynamo(), table).await;
    rows.into_iter().find(|row| text_of(row, key).contains(value)).unwrap()
}

fn told(case: usize, row: &Row) -> String {
    let mut row: Vec<String> =
        row.iter().map(|(name, value)| format!("{name}: {value:?}").chars().take(90).collect()).collect();
    row.sort_unstable();
    format!("case {case}: {row:?}")
}

#[actix_web::test]
async fn a_damaged_account_breaks_no_call_and_no_other_account() {
    let world = World::start().await;
    let (dynamo, tables) = (world.app.dynamo(), world.app.dynamo().tables());
    let user = pattern(&world, &tables.users, "email", &world.ada.email).await;
    let doctor = pattern(&world, &tables.doctors, "email", &world.asha.email).await;
    for case in 0..cases(30) {
        let dice = Dice::of_case(case);
        let (kind, table, row) =
            if case % 2 == 0 { ("user", &tables.users, &user) } else { ("doctor", &tables.doctors, &doctor) };
        let somebody = world.somebody(&format!("kanarie{case}@example.com"), kind);
        let mut row = with(row, [("email", &somebody.email)]);
        let list = if kind == "user" { "subscribed_doctors" } else { "subscribers" };
        row.insert(list.to_owned(), AttributeValue::Null(true));
        damage(&mut row, &["email"], &dice);
        if !put(dynamo, table, row.clone()).await {
            continue;
        }
        let case = told(case, &row);
        let stored = get(dynamo, table, &["email"], &row).await.unwrap();
        // The list of doctors is read anew.
        world.app.clock.advance(TimeDelta::seconds(20));
        let log_in = if kind == "user" { "/auth/loginUser" } else { "/auth/loginDoctor" };
        ask(
            &world,
            &case,
            vec![
                (&somebody, log_in, json!({"email": somebody.email, "password": "a wrong password"})),
                (&somebody, "/doctorsService/fetchDoctors", json!({"search": "a"})),
                (
                    &somebody,
                    "/doctorBookings/available",
                    json!({"doctor_id": somebody.email, "date": "2026-11-24"}),
                ),
                (&somebody, "/doctorBookings/user", json!({"user_id": somebody.email})),
                (&somebody, "/audit/mine", json!({})),
            ],
        )
        .await;
        assert_eq!(get(dynamo, table, &["email"], &row).await.unwrap(), stored, "{case}");
        let listed = world.app.post("/doctorsService/fetchDoctors", None, &json!({})).await.1;
        let shows_asha = listed["doctors"].as_array().unwrap().iter();
        assert_eq!(shows_asha.filter(|one| one["email"] == world.asha.email.as_str()).count(), 1, "{case}");
        // Calls that write may find no place for it, and say so.
        let (patient, doctor) = match kind {
            "user" => (&somebody, world.asha.email.as_str()),
            _ => (&world.ada, somebody.email.as_str()),
        };
        let wish = json!({"user_email": patient.email, "doctor_email": doctor});
        let is_list = matches!(row.get(list), None | Some(AttributeValue::L(_) | AttributeValue::Null(_)));
        let (status, body) = world.app.post("/doctorsService/subscribe", Some(&patient.token), &wish).await;
        assert_eq!(status, if is_list { 200 } else { 503 }, "{case}: {body}");
        let log_in = (&somebody, log_in, json!({"email": somebody.email, "password": PASSWORD}));
        ask(&world, &case, vec![log_in]).await;
        if kind == "doctor" {
            ask(
                &world,
                &case,
                vec![(
                    &somebody,
                    "/doctorsService/completeProfile",
                    json!({"email": somebody.email, "fees": 5}),
                )],
            )
            .await;
        }
    }
    world.stop().await;
}

#[actix_web::test]
async fn a_damaged_exchange_payment_or_entry_is_left_out_or_shown_in_part() {
    let world = World::start().await;
    let (dynamo, tables) = (world.app.dynamo(), world.app.dynamo().tables());
    let question = json!({"user_id": world.ada.email, "message": "Is it good to walk?"});
    assert_eq!(world.app.post("/chat", Some(&world.ada.token), &question).await.0, 200);
    let exchange = pattern(&world, &tables.chat_history, "email", &world.ada.email).await;
    let payment = pattern(&world, &tables.payments, "payer", &world.ada.email).await;
    let entry = pattern(&world, &tables.audit, "PK", &world.ada.email).await;
    for case in 0..cases(30) {
        let dice = Dice::of_case(case);
        let who = world.somebody(&format!("kanarie{case}@example.com"), "user");
        let (table, keys, mut row, calls): (_, &[&str], _, Vec<Asked<'_>>) = match case % 3 {
            0 => {
                let row = with(&exchange, [("email", &who.email)]);
                (
                    &tables.chat_history,
                    &["email", "timestamp"],
                    row,
                    vec![(&who, "/chat", json!({"message": "And?"}))],
                )
            }
            1 => {
                let payer = format!("user#{}", who.email);
                let link = text_of(&payment, "link_id");
                let mut row = with(&payment, [("payer", &payer)]);
                // Half of them are the row of a link that Razorpay knows, the others under a name of nobody's.
                if dice.percent(50) {
                    row.insert("payment_id".to_owned(), text(bent(text_of(&payment, "payment_id"), &dice)));
                }
                (
                    &tables.payments,
                    &["payment_id"],
                    row,
                    vec![(&who, "/process-payment", json!({"payment_id": link}))],
                )
            }
            _ => {
                let partition = format!("user#{}", who.email);
                let sort = if dice.percent(50) {
                    text_of(&entry, "SK").to_owned()
                } else {
                    bent(text_of(&entry, "SK"), &dice)
                };
                let row = with(&entry, [("PK", &partition), ("SK", &sort)]);
                (&tables.audit, &["PK", "SK"], row, vec![(&who, "/audit/mine", json!({}))])
            }
        };
        damage(&mut row, keys, &dice);
        if !put(dynamo, table, row.clone()).await {
            continue;
        }
        let is_payment = case % 3 == 1;
        let case = told(case, &row);
        let stored = get(dynamo, table, keys, &row).await.unwrap();
        ask(&world, &case, calls).await;
        let history = world.app.request(Method::GET, &format!("/chat/history/{}", who.email));
        assert_eq!(Reply::of(history.bearer_auth(&who.token)).await.status, 200, "{case}");
        // A payment's row takes in what Razorpay says of it: that is what asking is for.
        if !is_payment {
            assert_eq!(get(dynamo, table, keys, &row).await.unwrap(), stored, "{case}");
        }
    }
    world.stop().await;
}

#[actix_web::test]
async fn a_damaged_journal_hides_no_stored_file_and_breaks_no_call() {
    let world = World::start().await;
    let (dynamo, tables) = (world.app.dynamo(), world.app.dynamo().tables());
    let pattern = pattern(&world, &tables.engine, "PK", &format!("upload#{}", world.ada.email)).await;
    for case in 0..cases(20) {
        let dice = Dice::of_case(case);
        let who = world.somebody(&format!("kanarie{case}@example.com"), "user");
        let mut row = with(&pattern, [("PK", &format!("upload#{}", who.email))]);
        let entry = Row::from([("names".to_owned(), text("kanarie.txt"))]);
        row.insert(format!("upload_{case:032x}"), AttributeValue::M(entry));
        damage(&mut row, &["PK"], &dice);
        if !put(dynamo, &tables.engine, row.clone()).await {
            continue;
        }
        let case = told(case, &row);
        let mine = json!({"email": who.email});
        let named = json!({"email": who.email, "filename": "a.txt"});
        let file = json!({"email": who.email, "files": [{"filename": "a.txt", "content": "YQ=="}]});
        let (status, body) = world.app.post("/medilocker/fetch", Some(&who.token), &mine).await;
        assert_eq!((status, &body["files"]), (200, &json!([])), "{case}");
        let (status, body) = world.app.post("/medilocker/upload", Some(&who.token), &file).await;
        // Whoever cannot be told what came before cannot be given what comes next.
        let version = row.get("version");
        let is_version = |version: u64| (1..u64::MAX).contains(&version);
        let is_blocked = version.is_some_and(|version| {
            !version.as_n().ok().and_then(|digits| digits.parse().ok()).is_some_and(is_version)
        });
        assert_eq!(status, if is_blocked { 503 } else { 200 }, "{case}: {body}");
        let is_stored = status == 200;
        let (status, body) = world.app.post("/medilocker/fetch", Some(&who.token), &mine).await;
        let listed = body["files"].as_array().map_or(0, Vec::len);
        assert_eq!((status, listed), (200, usize::from(is_stored)), "{case}: {body}");
        ask(
            &world,
            &case,
            vec![(&who, "/medilocker/download", named.clone()), (&who, "/medilocker/delete", named)],
        )
        .await;
    }
    world.stop().await;
}

/// A program that starts on damaged fences either owns them all or says which it cannot read, and changes none of those.
#[actix_web::test]
async fn damaged_fences_are_told_and_left_alone() {
    log::listen();
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let place = Place::Named(server.endpoint());
    let settings =
        || Config { store: StoreConfig { place: place.clone(), ..config().store }, ..config_with_secret() };
    for case in 0..cases(6) {
        let dice = Dice::of_case(case);
        let app = TestApp::start_with(settings()).await;
        let (dynamo, table) = (app.dynamo().clone(), app.dynamo().tables().engine.clone());
        app.stop().await;
        let good = all(&dynamo, &table).await;
        let fences: Vec<&Row> = good.iter().filter(|row| text_of(row, "PK").starts_with("range#")).collect();
        let mut row = (*dice.pick(&fences)).clone();
        let sound = row.clone();
        damage(&mut row, &["PK"], &dice);
        if !put(&dynamo, &table, row.clone()).await {
            continue;
        }
        let stored = get(&dynamo, &table, &["PK"], &row).await.unwrap();
        let surroundings = Surroundings {
            clock: Arc::new(ManualClock::new(MONDAY_AT_TEN.parse().unwrap())),
            chance: Arc::new(SystemChance),
            placement: Placement::here(),
            store: EngineStore::Configured,
        };
        match Box::pin(Application::build(settings(), surroundings)).await {
            Ok(application) => {
                let ended = application.run_until_stopped(async {}).await.unwrap();
                assert_eq!(ended, Ended::Stopped, "{}", told(case, &row));
            }
            Err(refusal) => {
                let refusal = format!("{refusal:#}");
                let is_told = refusal.contains(text_of(&row, "PK")) || refusal.contains("ranges there");
                assert!(is_told, "{}: {refusal}", told(case, &row));
                assert!(!refusal.contains("kanarie"), "{refusal}");
                assert_eq!(
                    get(&dynamo, &table, &["PK"], &row).await.unwrap(),
                    stored,
                    "{}",
                    told(case, &row)
                );
            }
        }
        assert!(put(&dynamo, &table, sound).await);
    }
    server.stop();
    log::assert_discreet();
}

fn config_with_secret() -> Config {
    let usual = config();
    let secret = Secret::new(TOKEN_SECRET.to_vec()).map(Into::into);
    Config { auth: AuthConfig { secret, ..usual.auth }, ..usual }
}
