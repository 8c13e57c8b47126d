//! Whether the product and its peers keep the same rules: the same calls must have the same answers everywhere, and of many
//! who want one slot at once five must get it.

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{Days, NaiveDate};
use engine::limits::{BOOKING_WINDOW_DAYS, SEATS_PER_SLOT};
use engine::{Clock, SystemClock};
use futures::future::try_join_all;
use reqwest::Client;
use ring::hmac;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::server::SECRET;
use crate::store::{PART_TIME, doctor};

/// Who want one slot at once.
const RACERS: usize = 48;
/// The doctor of these calls: not the first, who is the hot one.
const DOCTOR: usize = 3;

/// A server that is asked.
pub(crate) struct Asked<'a> {
    http: Client,
    url: &'a str,
}

/// A status, and the problem's code if there is one.
type Answer = (u16, String);

impl<'a> Asked<'a> {
    pub(crate) fn new(url: &'a str) -> Self {
        Self { http: Client::new(), url }
    }

    /// Fails where it keeps other rules. The date of the calls is the last of the window, which no load touches.
    pub(crate) async fn keeps_the_rules(&self) -> anyhow::Result<()> {
        let today = Bench::today();
        let date = today + Days::new(BOOKING_WINDOW_DAYS);
        let doctor = doctor(DOCTOR);
        let seat = |date: NaiveDate, start: &str| json!({"doctor_id": doctor, "date": date.to_string(), "start": start});
        let of = |doctor: &str, start: &str| json!({"doctor_id": doctor, "date": date.to_string(), "start": start});
        let ten = seat(date, "10:00");
        let told = [
            ("book", "ada", ten.clone(), 200, ""),
            ("book", "ada", ten.clone(), 409, "already_booked"),
            ("book", "ben", ten.clone(), 200, ""),
            ("book", "cleo", ten.clone(), 200, ""),
            ("book", "dan", ten.clone(), 200, ""),
            ("book", "eve", ten.clone(), 200, ""),
            ("book", "fay", ten.clone(), 409, "slot_full"),
            ("book", "ada", ten.clone(), 409, "already_booked"),
            ("cancel", "fay", ten.clone(), 404, "booking_not_found"),
            ("cancel", "ada", ten.clone(), 200, ""),
            ("cancel", "ada", ten.clone(), 404, "booking_not_found"),
            ("book", "fay", ten.clone(), 200, ""),
            ("book", "ada", seat(date + Days::new(1), "10:00"), 422, "outside_booking_window"),
            ("book", "ada", seat(today - Days::new(1), "10:00"), 422, "outside_booking_window"),
            ("cancel", "ada", seat(today - Days::new(1), "10:00"), 422, "slot_in_past"),
            ("book", "ada", of("nobody@clinic.example", "10:00"), 404, "doctor_not_found"),
            ("book", "ada", of(PART_TIME, "20:00"), 409, "slot_unavailable"),
        ];
        for (n, (call, user, body, status, code)) in told.into_iter().enumerate() {
            let answer = self.call(call, Some(user), &body).await?;
            ensure!(
                answer == (status, code.to_owned()),
                "{}: call {n} ({call}) was answered with {answer:?}, not {status} {code}",
                self.url
            );
        }
        let (status, _) = self.call("book", None, &ten).await?;
        ensure!(status == 401, "{}: a call without a token was answered with {status}", self.url);
        let taken = self.booked(&doctor, date, "10:00").await?;
        ensure!(taken == SEATS_PER_SLOT as u64, "{}: {taken} seats are shown as taken", self.url);
        self.race(&seat(date, "11:00")).await
    }

    async fn race(&self, seat: &Value) -> anyhow::Result<()> {
        let racers = (0..RACERS)
            .map(|number| async move { self.call("book", Some(&format!("racer{number}")), seat).await });
        let answers = try_join_all(racers).await?;
        let won = answers.iter().filter(|(status, _)| *status == 200).count();
        let full = answers.iter().filter(|(_, code)| code == "slot_full").count();
        ensure!(
            won == SEATS_PER_SLOT && won + full == RACERS,
            "{}: {won} of {RACERS} got one slot, {full} heard that it is full",
            self.url
        );
        Ok(())
    }

    async fn call(&self, call: &str, user: Option<&str>, body: &Value) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}/doctorBookings/{call}", self.url)).json(body);
        let request = match user {
            Some(user) => request.bearer_auth(token(&format!("{user}@example.com"))),
            None => request,
        };
        let answer = request.send().await?;
        let (status, body): (_, Value) = (answer.status().as_u16(), answer.json().await?);
        Ok((status, body["code"].as_str().unwrap_or_default().to_owned()))
    }

    async fn booked(&self, doctor: &str, date: NaiveDate, start: &str) -> anyhow::Result<u64> {
        let slots = self.available(doctor, date).await?;
        let slots = slots["slots"].as_array().context("no slots")?;
        let slot = slots.iter().find(|slot| slot["start"] == start).context("the slot is not shown")?;
        slot["booked"].as_u64().context("no number of seats")
    }

    /// What a doctor offers.
    pub(crate) async fn available(&self, doctor: &str, date: NaiveDate) -> anyhow::Result<Value> {
        let body = json!({"doctor_id": doctor, "date": date.to_string()});
        let request = self.http.post(format!("{}/doctorBookings/available", self.url)).json(&body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Whether it says that it is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

/// A patient's, as the platform issues them.
fn token(user: &str) -> String {
    let now = SystemClock.now().timestamp();
    let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let head = encode(json!({"alg": "HS256", "typ": "JWT"}));
    let claims = encode(json!({"sub": user, "role": "user", "iat": now, "exp": now + 3600}));
    let signed = format!("{head}.{claims}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}
