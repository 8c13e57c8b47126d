//! Tables and buckets as the old platform leaves them, with every trap that OLD_PLATFORM.md names.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use chrono::{Datelike, Days, NaiveDate};

use crate::harness::date_in;
use crate::stores::{Opened, n, s};

/// A bcrypt hash as the old platform wrote it.
pub const HASH: &str = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";
pub const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// What a stored URL of a document begins with.
pub const DOCUMENTS: &str = "https://kokoro-doctor-documents.s3.amazonaws.com/";

/// What a check must say of [`fill`]: each kind, how often, and how often of the past.
pub const FOUND: &[(&str, u64, u64)] = &[
    ("own_table_missing", 3, 0),
    ("time_to_live_off", 1, 0),
    ("address_unfit", 1, 0),
    ("password_missing", 1, 0),
    ("password_unreadable", 1, 0),
    ("addresses_differ_by_case", 2, 0),
    ("address_with_capitals", 3, 0),
    ("account_field_unreadable", 2, 0),
    ("list_unreadable", 1, 0),
    ("document_elsewhere", 1, 0),
    ("document_lost", 1, 0),
    ("schedule_key_unreadable", 1, 0),
    ("schedule_key_of_old_bug", 1, 0),
    ("schedule_key_shadowed", 1, 0),
    ("span_unreadable", 4, 0),
    ("span_off_grid", 1, 0),
    ("span_long", 1, 0),
    ("spans_overlap", 1, 0),
    ("midnight_as_zero", 1, 0),
    ("availability_false", 8, 0),
    ("availability_unreadable", 1, 0),
    ("schedule_of_nobody", 1, 0),
    ("slot_above_five", 3, 1),
    ("booking_key_unreadable", 1, 0),
    ("booking_start_unreadable", 1, 0),
    ("booking_off_grid", 1, 0),
    ("booking_user_unreadable", 1, 0),
    ("booking_without_slot", 1, 0),
    ("booking_in_withdrawn_slot", 1, 0),
    ("booking_of_no_doctor", 1, 0),
    ("booking_of_no_user", 1, 0),
    ("booking_lacks_fields", 1, 0),
    ("booking_fields_differ", 1, 0),
    ("date_spelled_oddly", 4, 0),
    ("seat_under_two_spellings", 1, 0),
    ("booking_far_ahead", 8, 0),
    ("booking_without_ttl", 1, 0),
    ("chat_unreadable", 1, 0),
    ("payment_unreadable", 1, 0),
    ("payment_of_nobody", 2, 0),
    ("file_without_owner", 1, 0),
    ("file_of_nobody", 1, 0),
    ("file_name_odd", 2, 0),
    ("document_key_odd", 1, 0),
    ("document_of_nobody", 1, 0),
    ("document_unnamed", 1, 0),
];

/// Fills a store. The engine has never seen it: its own tables are not there.
pub async fn fill(store: &Opened) {
    for table in ["KokoroEngine", "KokoroNodes", "KokoroAudit"] {
        store.dynamo.client().delete_table().table_name(table).send().await.unwrap();
    }
    let off = TimeToLiveSpecification::builder().enabled(false).attribute_name("ttl").build().unwrap();
    let request = store.dynamo.client().update_time_to_live().table_name("DoctorBookingsTable");
    request.time_to_live_specification(off).send().await.unwrap();
    accounts(store).await;
    schedules(store).await;
    bookings(store).await;
    chats_and_payments(store).await;
    files(store).await;
    auth_token(store, "u0@x.com").await;
}

/// An account as a sign-up leaves it, with these attributes instead, or taken away.
pub async fn account(store: &Opened, table: &str, email: &str, changes: &[(&str, Option<AttributeValue>)]) {
    let name = if table == "Users" { "username" } else { "doctorname" };
    let mut row = vec![
        ("email", s(email)),
        (name, s("Somebody")),
        ("password", s(HASH)),
        ("phoneNumber", s("12345")),
        ("location", AttributeValue::Null(true)),
        ("emailVerified", AttributeValue::Bool(false)),
        ("phoneVerified", AttributeValue::Bool(false)),
    ];
    for (name, value) in changes {
        row.retain(|(other, _)| other != name);
        row.extend(value.clone().map(|value| (*name, value)));
    }
    store.put(table, &row).await;
}

async fn accounts(store: &Opened) {
    for number in 0..6 {
        account(store, "Users", &format!("u{number}@x.com"), &[]).await;
    }
    let subscribed = AttributeValue::L(vec![s("dr@x.com")]);
    account(store, "Users", "u6@x.com", &[("subscribed_doctors", Some(subscribed))]).await;
    for email in ["Ada@x.com", "ada@x.com", "BOB@x.com", "Bob@x.com", "no address"] {
        account(store, "Users", email, &[]).await;
    }
    account(store, "Users", "no-hash@x.com", &[("password", None)]).await;
    account(store, "Users", "plain@x.com", &[("password", Some(s("correct horse")))]).await;
    account(store, "Users", "list@x.com", &[("subscribed_doctors", Some(s("dr@x.com")))]).await;
    account(store, "Users", "field@x.com", &[("username", Some(n(7)))]).await;
    for email in ["dr@x.com", "shut@x.com", "bug@x.com"] {
        let subscribers = AttributeValue::L(vec![s("u6@x.com")]);
        let changes = [
            ("subscribers", Some(subscribers)),
            ("fees", Some(n(500))),
            ("timings", Some(AttributeValue::Null(true))),
        ];
        account(store, "Doctors", email, &changes).await;
    }
    account(store, "Doctors", "odd@x.com", &[("fees", Some(s("500")))]).await;
    let photo = format!("{DOCUMENTS}doctors/docs@x.com/profilePhoto/me%20too.png");
    let lost = format!("{DOCUMENTS}doctors/docs@x.com/degreeCertificate/lost.pdf");
    let documents = [
        ("profilePhoto", Some(s(&photo))),
        ("degreeCertificate", Some(s(&lost))),
        ("govtIdProof", Some(s("https://elsewhere.example/id.pdf"))),
    ];
    account(store, "Doctors", "docs@x.com", &documents).await;
}

/// One row of a schedule.
pub async fn offer(store: &Opened, partition: &str, span: &str, available: Option<AttributeValue>) {
    let mut row = vec![("PK", s(partition)), ("SK", s(span))];
    row.extend(available.map(|available| ("available", available)));
    store.put("DoctorAvailabilityTable", &row).await;
}

async fn schedules(store: &Opened) {
    for weekday in WEEKDAYS {
        let plain = format!("dr@x.com#{weekday}");
        offer(store, &plain, "09:00-09:30", None).await;
        offer(store, &plain, "09:30-10:00", Some(AttributeValue::Bool(true))).await;
        offer(store, &plain, "10:00-10:30", Some(AttributeValue::Null(true))).await;
        let shut = format!("shut@x.com#{weekday}");
        offer(store, &shut, "09:00-09:30", Some(AttributeValue::Bool(false))).await;
    }
    let traps = [
        "25:99-26:00",
        "-",
        "10:00-09:30",
        "09:00-09:30-10:00",
        "11:15-11:45",
        "12:00-14:00",
        "13:00-13:30",
        "23:30-00:00",
    ];
    for span in traps {
        offer(store, "dr@x.com#Monday", span, None).await;
    }
    offer(store, "dr@x.com#Monday", "15:00-15:30", Some(AttributeValue::Bool(false))).await;
    offer(store, "dr@x.com#Monday", "15:30-16:00", Some(s("true"))).await;
    for partition in
        ["dr@x.com#WeekDay.Monday", "bug@x.com#WeekDay.Monday", "dr@x.com#Funday", "ghost@x.com#Monday"]
    {
        offer(store, partition, "09:00-09:30", None).await;
    }
}

/// A booking as the old platform writes it, without one of its attributes.
pub async fn book(store: &Opened, doctor: &str, date: &str, start: &str, user: &str, without: &str) {
    let row = [
        ("PK", s(&format!("{doctor}#{date}"))),
        ("SK", s(&format!("{start}#{user}"))),
        ("doctor_id", s(doctor)),
        ("date", s(date)),
        ("start", s(start)),
        ("user_id", s(user)),
        ("ttl", n(4_000_000_000_u64)),
    ];
    let row: Vec<_> = row.into_iter().filter(|(name, _)| *name != without).collect();
    store.put("DoctorBookingsTable", &row).await;
}

/// The second of March of the next year, which has two zeros to leave out, and is always far ahead.
pub fn march() -> NaiveDate {
    let today: NaiveDate = date_in(0).parse().unwrap();
    NaiveDate::from_ymd_opt(today.year() + 1, 3, 2).unwrap()
}

async fn bookings(store: &Opened) {
    let today: NaiveDate = date_in(0).parse().unwrap();
    let (soon, past) = (date_in(3), (today - Days::new(3)).to_string());
    for number in 0..6 {
        let user = format!("u{number}@x.com");
        book(store, "dr@x.com", &soon, "09:00", &user, "").await;
        book(store, "dr@x.com", &past, "09:00", &user, "").await;
    }
    for (doctor, date, start, user, without) in [
        ("dr@x.com", soon.as_str(), "09:10", "u0@x.com", ""),
        ("dr@x.com", &soon, "25:99", "u1@x.com", ""),
        ("dr@x.com", &soon, "18:00", "u0@x.com", ""),
        ("dr@x.com", &soon, "09:30", "not an address", ""),
        ("dr@x.com", &soon, "09:30", "ghost@x.com", ""),
        ("dr@x.com", &soon, "09:30", "u1@x.com", "doctor_id"),
        ("dr@x.com", &soon, "09:30", "u3@x.com", "ttl"),
        ("dr@x.com", "someday", "09:00", "u0@x.com", ""),
        ("shut@x.com", &soon, "09:00", "u0@x.com", ""),
        ("ghost@x.com", &soon, "09:00", "u1@x.com", ""),
    ] {
        book(store, doctor, date, start, user, without).await;
    }
    let row = [
        ("PK", s(&format!("dr@x.com#{soon}"))),
        ("SK", s("09:30#u2@x.com")),
        ("doctor_id", s("dr@x.com")),
        ("date", s(&soon)),
        ("start", s("09:30")),
        ("user_id", s("u4@x.com")),
        ("ttl", n(4_000_000_000_u64)),
    ];
    store.put("DoctorBookingsTable", &row).await;
    let plain = march().to_string();
    let (short, half) = (march().format("%Y-%-m-%-d").to_string(), march().format("%Y-%m-%-d").to_string());
    for number in 0..4 {
        book(store, "dr@x.com", &plain, "09:00", &format!("u{number}@x.com"), "").await;
    }
    for number in 3..6 {
        book(store, "dr@x.com", &short, "09:00", &format!("u{number}@x.com"), "").await;
    }
    book(store, "dr@x.com", &half, "09:30", "u0@x.com", "").await;
}

async fn chats_and_payments(store: &Opened) {
    let said = |role: &str| s(&format!(r#"{{"role":"{role}","text":"hello"}}"#));
    let chat = [("email", s("u0@x.com")), ("timestamp", n(1_700_000_000)), ("user_message", said("user"))];
    store.put("ChatHistory", &[chat.to_vec(), vec![("bot_message", said("bot"))]].concat()).await;
    let chat = [("email", s("u0@x.com")), ("timestamp", n(1_700_000_001)), ("user_message", said("user"))];
    store.put("ChatHistory", &chat).await;
    for (id, amount) in [("pay_1", n("499.99")), ("pay_2", s("free"))] {
        let row = [
            ("payment_id", s(id)),
            ("order_id", s("order_1")),
            ("amount", amount),
            ("currency", s("INR")),
            ("status", s("captured")),
            ("timestamp", s("2026-01-01T00:00:00")),
            ("invoice_url", AttributeValue::Null(true)),
        ];
        store.put("PaymentsTable", &row).await;
    }
}

async fn files(store: &Opened) {
    for key in ["u0@x.com/report.pdf", "u0@x.com/", "u0@x.com/a/../b", "ghost@x.com/a", "no-owner"] {
        store.put_file("kokoro-medilocker", key, key.as_bytes(), &[("kind", "x-ray")]).await;
    }
    for key in [
        "doctors/docs@x.com/profilePhoto/me%20too.png",
        "doctors/docs@x.com/profilePhoto/old.png",
        "doctors/ghost@x.com/govtIdProof/id.pdf",
        "stray",
    ] {
        store.put_file("kokoro-doctor-documents", key, key.as_bytes(), &[]).await;
    }
}

/// What a person was sent to prove an address or to choose another password, in a table that the engine does not know.
pub const AUTH_TOKEN: &str = "481516";

/// Makes that table, with one token in it.
pub async fn auth_token(store: &Opened, email: &str) {
    let table = "AuthTokensTable";
    let mut create = store.dynamo.client().create_table().table_name(table);
    for (name, kind) in [("email", KeyType::Hash), ("purpose", KeyType::Range)] {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
        let text = ScalarAttributeType::S;
        let attribute =
            AttributeDefinition::builder().attribute_name(name).attribute_type(text).build().unwrap();
        create = create.key_schema(key).attribute_definitions(attribute);
    }
    create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    let row = [
        ("email", s(email)),
        ("purpose", s("mobile_otp")),
        ("token", s(AUTH_TOKEN)),
        ("ttl", n(4_000_000_000_u64)),
    ];
    store.put(table, &row).await;
}
