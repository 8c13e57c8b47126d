//! The real binary on its embedded store: doctors put into it, slots published, and what it has stored in the end.

use std::path::Path;

use anyhow::ensure;
use aws_sdk_dynamodb::types::Select;
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use engine::{Clinic, Clock, SystemClock};
use futures::{StreamExt, TryStreamExt, stream};
use persistence::{AccountKind, DataFolder, Dynamo, EmbeddedDynamo, Endpoint, NewAccount, TableNames, Where};
use serde_json::{Value, json};

use crate::DOCTORS;
use crate::support::{Server, kokoro, token};

/// Bookings that making the examples costs.
pub(crate) const EXAMPLE_BOOKINGS: u64 = 1;
/// Calls at once while it is set up.
const AT_ONCE: usize = 64;
const WEEK: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Real answers, whose size the bare handlers answer with.
pub(crate) struct Examples {
    pub(crate) booked: Vec<u8>,
    pub(crate) available: Vec<u8>,
}

/// The address of a doctor; `load.lua` knows it too.
fn doctor(number: usize) -> String {
    format!("doctor{number}@clinic.example")
}

/// The clinic's date, `days` from today. Tomorrow and the 13 days after it stay in the window beyond midnight.
pub(crate) fn date_in(days: u64) -> NaiveDate {
    Clinic::new(Tz::Asia__Kolkata).today(SystemClock.now()) + Days::new(days)
}

/// Puts the doctors' accounts into a store that nobody serves yet: signing up would hash a thousand passwords.
pub(crate) async fn create_doctors(data: &Path) -> anyhow::Result<()> {
    let server = EmbeddedDynamo::start(Where::File(DataFolder::lock(data)?))?;
    let dynamo = Dynamo::connect(Endpoint::At(server.endpoint()), TableNames::default()).await?;
    dynamo.create_missing_tables().await?;
    let accounts = dynamo.accounts();
    let created = stream::iter(0..DOCTORS).map(|number| {
        accounts.create(NewAccount {
            kind: AccountKind::Doctor,
            email: doctor(number),
            name: format!("Doctor {number}"),
            password_hash: "none: nobody logs in".to_owned(),
            phone_number: "12345".to_owned(),
            location: None,
        })
    });
    Ok(created.buffer_unordered(AT_ONCE).try_collect().await?)
}

/// Starts the program on that store.
pub(crate) fn start(data: &Path) -> anyhow::Result<Server> {
    Server::start(&mut kokoro(data))
}

/// Lets every doctor offer all 48 half hours of every day, which also brings all of them into memory.
pub(crate) async fn publish(url: &str) -> anyhow::Result<Examples> {
    web::http_client::install_cryptography();
    let http = reqwest::Client::new();
    let call = async |path: &str, token: String, body: Value| {
        let request = http.post(format!("{url}{path}")).bearer_auth(token).json(&body);
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{path} was refused: {}", answer.text().await?);
        Ok(answer.bytes().await?.to_vec())
    };
    let days = (0..DOCTORS).flat_map(|number| WEEK.map(|day| (doctor(number), day)));
    let published = stream::iter(days).map(|(doctor, day)| {
        let token = token(&doctor, "doctor");
        let slots = json!([{"start": "00:00", "end": "24:00"}]);
        call("/doctorsService/setSlots", token, json!({"doctor_id": doctor, "day": day, "slots": slots}))
    });
    published.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await?;

    // On a day of their own, which the load leaves alone.
    let (doctor, date) = (doctor(0), date_in(15).to_string());
    let user = || token("somebody@example.com", "user");
    let seat = json!({"doctor_id": doctor, "date": date, "start": "10:00"});
    Ok(Examples {
        booked: call("/doctorBookings/book", user(), seat).await?,
        available: call("/doctorBookings/available", user(), json!({"doctor_id": doctor, "date": date}))
            .await?,
    })
}

/// Counts what a stopped program has left in its store.
pub(crate) async fn stored_bookings(data: &Path) -> anyhow::Result<u64> {
    let server = EmbeddedDynamo::start(Where::File(DataFolder::lock(data)?))?;
    let dynamo = Dynamo::connect(Endpoint::At(server.endpoint()), TableNames::default()).await?;
    let scan = dynamo.client().scan().table_name(&dynamo.tables().bookings).select(Select::Count);
    let mut pages = scan.into_paginator().send();
    let mut stored = 0;
    while let Some(page) = pages.next().await {
        stored += u64::try_from(page?.count())?;
    }
    Ok(stored)
}
