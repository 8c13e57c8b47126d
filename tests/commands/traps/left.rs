//! What lies in the tables and buckets, looked at as the old platform reads it.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::stores::Opened;

/// A row, by the names of its attributes.
pub type Row = HashMap<String, AttributeValue>;

const TABLES: [(&str, &[&str]); 7] = [
    ("Users", &["email"]),
    ("Doctors", &["email"]),
    ("DoctorAvailabilityTable", &["PK", "SK"]),
    ("DoctorBookingsTable", &["PK", "SK"]),
    ("ChatHistory", &["email", "timestamp"]),
    ("PaymentsTable", &["payment_id"]),
    ("AuthTokensTable", &["email", "purpose"]),
];

/// Every row, by table and key, and every object's metadata, by bucket and key.
#[derive(Default)]
pub struct Left {
    rows: BTreeMap<(&'static str, String), Row>,
    objects: BTreeMap<(&'static str, String), BTreeMap<String, String>>,
}

pub fn yes() -> AttributeValue {
    AttributeValue::Bool(true)
}

pub fn no() -> AttributeValue {
    AttributeValue::Bool(false)
}

pub fn null() -> AttributeValue {
    AttributeValue::Null(true)
}

impl Left {
    pub async fn in_store(store: &Opened) -> Self {
        let mut left = Self::default();
        for (table, key) in TABLES {
            let mut rows = store.dynamo.client().scan().table_name(table).into_paginator().items().send();
            while let Some(row) = rows.next().await {
                let row = match row {
                    Ok(row) => row,
                    // The engine does not make it.
                    Err(_) if table == "AuthTokensTable" => break,
                    Err(error) => panic!("{error:?}"),
                };
                let part = |name: &&str| match &row[*name] {
                    AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
                    other => panic!("{other:?} is no key"),
                };
                let key: Vec<String> = key.iter().map(part).collect();
                left.rows.insert((table, key.join(" ")), row);
            }
        }
        for bucket in ["kokoro-medilocker", "kokoro-doctor-documents"] {
            let listed = store.s3.client().list_objects_v2().bucket(bucket).send().await.unwrap();
            for object in listed.contents() {
                let key = object.key().unwrap();
                let look = store.s3.client().head_object().bucket(bucket).key(key).send();
                let metadata = Box::pin(look).await.unwrap().metadata.unwrap_or_default();
                left.objects.insert((bucket, key.to_owned()), metadata.into_iter().collect());
            }
        }
        left
    }

    /// A row that must be there.
    #[track_caller]
    pub fn row(&self, table: &'static str, key: &str) -> &Row {
        self.rows.get(&(table, key.to_owned())).unwrap_or_else(|| panic!("{table} has no {key}"))
    }

    pub fn has_row(&self, table: &'static str, key: &str) -> bool {
        self.rows.contains_key(&(table, key.to_owned()))
    }

    /// The sort keys of one partition.
    pub fn sorts(&self, table: &'static str, partition: &str) -> Vec<&str> {
        let keys = self.rows.keys().filter(|(of, _)| *of == table);
        keys.filter_map(|(_, key)| key.strip_prefix(partition)?.strip_prefix(' ')).collect()
    }

    pub fn object(&self, bucket: &'static str, key: &str) -> Option<&BTreeMap<String, String>> {
        self.objects.get(&(bucket, key.to_owned()))
    }

    /// How many tokens of the old platform there are.
    pub fn tokens(&self) -> usize {
        self.rows.keys().filter(|(table, _)| *table == "AuthTokensTable").count()
    }

    pub fn is_empty(&self, bucket: &str) -> bool {
        !self.objects.keys().any(|(of, _)| *of == bucket)
    }

    /// Every row that has come or changed since is one that the old platform reads as its own.
    pub fn assert_read_by_the_old_platform(&self, before: &Self) {
        for (place, row) in &self.rows {
            if before.rows.get(place) != Some(row) {
                assert!(is_read(place.0, row), "the old platform cannot read {place:?}: {row:#?}");
            }
        }
    }
}

fn text<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)?.as_s().ok().map(String::as_str)
}

fn is_read(table: &str, row: &Row) -> bool {
    let texts = |names: &[&str]| names.iter().all(|name| text(row, name).is_some());
    let flags = |names: &[&str]| names.iter().all(|name| row.get(*name).is_some_and(AttributeValue::is_bool));
    let text_or_null = |name: &str| row.get(name).is_some_and(|value| value.is_s() || value.is_null());
    let texts_if_there = |name: &str| match row.get(name) {
        None => true,
        Some(value) => value.as_l().is_ok_and(|list| list.iter().all(AttributeValue::is_s)),
    };
    let is_account = || {
        texts(&["email", "phoneNumber"])
            && text(row, "password").is_some_and(|hash| hash.starts_with("$2b$12$") && hash.len() == 60)
            && text_or_null("location")
            && flags(&["emailVerified", "phoneVerified"])
    };
    match table {
        "Users" => is_account() && texts(&["username"]) && texts_if_there("subscribed_doctors"),
        "Doctors" => {
            is_account()
                && texts(&["doctorname"])
                && flags(&["onboarded"])
                && texts_if_there("subscribers")
                && (row["onboarded"] == no() || is_profile(row))
        }
        "DoctorAvailabilityTable" => texts(&["PK", "SK"]) && flags(&["available"]),
        "DoctorBookingsTable" => is_booking(row),
        "ChatHistory" => {
            texts(&["email"])
                && row["timestamp"].as_n().is_ok_and(|number| number.parse::<u64>().is_ok())
                && is_said(row, "user_message", "user")
                && is_said(row, "bot_message", "bot")
        }
        "PaymentsTable" => {
            texts(&["payment_id", "currency", "status", "timestamp"])
                && row["amount"].is_n()
                && text_or_null("order_id")
                && text_or_null("invoice_url")
        }
        other => panic!("{other} is no table of the old platform"),
    }
}

/// Each a value or NULL; a document's URL names an object.
fn is_profile(row: &Row) -> bool {
    let is_or_null = |name: &str, is: fn(&AttributeValue) -> bool| match row.get(name) {
        Some(value) => value.is_null() || is(value),
        None => false,
    };
    let texts = [
        "description",
        "specialization",
        "experience",
        "timings",
        "licenseNumber",
        "registrationId",
        "affiliation",
    ];
    let email = text(row, "email").unwrap_or_default();
    let is_document = |kind: &&str| {
        let prefix = format!("{}doctors/{email}/{kind}/", crate::old_platform::DOCUMENTS);
        text(row, kind).is_none_or(|url| url.starts_with(&prefix))
    };
    texts.iter().all(|name| is_or_null(name, AttributeValue::is_s))
        && is_or_null("fees", AttributeValue::is_n)
        && ["degreeCertificate", "govtIdProof", "profilePhoto"].iter().all(is_document)
}

/// Every attribute but `ttl`, and each says what the key says.
fn is_booking(row: &Row) -> bool {
    let read = ["PK", "SK", "doctor_id", "date", "start", "user_id"].map(|name| text(row, name));
    let [Some(partition), Some(sort), Some(doctor), Some(date), Some(start), Some(user)] = read else {
        return false;
    };
    partition == format!("{doctor}#{date}") && sort == format!("{start}#{user}")
}

fn is_said(row: &Row, name: &str, role: &str) -> bool {
    let said: Value = serde_json::from_str(text(row, name).unwrap_or_default()).unwrap_or_default();
    said == json!({"role": role, "text": said["text"].as_str().unwrap_or_default()})
        && said["text"].is_string()
}
