//! Brings doctors into a server over its API: accounts, and slots at every start.

use anyhow::{Context, ensure};
use engine::{Clock, SystemClock};
use futures::{StreamExt, TryStreamExt, stream};
use ring::hmac;
use serde_json::{Value, json};

use crate::client::{Connection, Loopback, Wire};
use crate::patients::runtime;
use crate::requests::{bearer, single};
use crate::site::Site;

/// Calls at once.
const AT_ONCE: usize = 16;
const WEEK: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// Nobody logs in with it.
const PASSWORD: &str = "a password for load";

/// Signs the doctors up that are not yet there, and lets all of them offer the site's starts on every weekday.
///
/// Signing up hashes a password for each, and the server must not limit how often an address calls.
pub fn set_up(site: &Site) -> anyhow::Result<()> {
    site.validate()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &site.secret);
    let slots: Vec<Value> = site
        .starts
        .iter()
        .map(|start| Ok(json!({"start": start, "end": end(start)?})))
        .collect::<anyhow::Result<_>>()?;
    let doctors = site.doctors.iter().map(|doctor| set_up_one(site, &key, doctor, &slots));
    runtime()?.block_on(stream::iter(doctors).buffer_unordered(AT_ONCE).try_for_each(async |()| Ok(())))
}

async fn set_up_one(site: &Site, key: &hmac::Key, doctor: &str, slots: &[Value]) -> anyhow::Result<()> {
    let (address, prefix) = site.address()?;
    let mut connection = Connection::new(Loopback(address).connect().await?);
    let token = bearer(key, doctor, "doctor", SystemClock.now());
    let account =
        json!({"doctorname": "Load", "email": doctor, "password": PASSWORD, "phoneNumber": "12345"});
    let days = WEEK.map(|day| json!({"doctor_id": doctor, "day": day, "slots": slots}));
    let calls = days.map(|day| ("/doctorsService/setSlots", day));
    for (path, body) in [("/auth/signupDoctor", account)].into_iter().chain(calls) {
        let path = format!("{prefix}{path}");
        let request = single(&address.to_string(), &path, &token, &body.to_string());
        let reply = connection.call(&request).await.context("no answer to the set-up")?;
        let answer = reply.answer();
        let there = answer.code.as_deref() == Some("email_taken");
        ensure!(reply.status == 200 || there, "{path} was answered with {answer}");
    }
    Ok(())
}

/// Half an hour after a start.
fn end(start: &str) -> anyhow::Result<String> {
    let (hour, minute) = start.split_once(':').context("a start is HH:MM")?;
    let minutes = hour.parse::<u32>()? * 60 + minute.parse::<u32>()? + 30;
    Ok(format!("{:02}:{:02}", minutes / 60, minutes % 60))
}
