//! Patients' and doctors' accounts.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use engine::UserId;

use super::known::table_of;
use super::{Finding, Missing, Session};
use crate::dynamo::items::{Item, text_of};
use crate::dynamo::{AccountKind, keys};
use crate::s3::{DocumentKind, failure_text, url_prefix};
use crate::scan::ScanError;

/// Addresses with capital letters that are compared with one another: eight bytes each.
const COMPARED_MAX: usize = 1_000_000;
/// What is a text, or NULL, in every account.
const TEXTS: [&str; 2] = ["phoneNumber", "location"];
/// The same in a doctor's.
const DOCTORS_TEXTS: [&str; 6] =
    ["description", "specialization", "timings", "licenseNumber", "registrationId", "affiliation"];

/// Addresses with capital letters that were seen, without regard to case.
#[derive(Default)]
struct Folded {
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Session<'_> {
    pub(super) async fn accounts(&mut self, missing: &Missing) -> Result<(), ScanError> {
        for kind in [AccountKind::User, AccountKind::Doctor] {
            let table = table_of(self.given.dynamo.tables(), kind).to_owned();
            let Some(mut rows) = self.rows(&table, missing).await? else { continue };
            let mut folded = Folded::default();
            while let Some(page) = self.page(&mut rows).await? {
                let lowered: Vec<String> = page.iter().filter_map(lower_twin).collect();
                self.known.ask(kind, lowered.iter().map(String::as_str)).await?;
                for row in &page {
                    self.account(kind, &table, row, &mut folded);
                    if kind == AccountKind::Doctor {
                        self.doctor(&table, row).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn account(&mut self, kind: AccountKind, table: &str, row: &Item, folded: &mut Folded) {
        let email = text_of(row, keys::EMAIL).unwrap_or_default();
        if UserId::parse(email).is_err() {
            self.note(Finding::AddressUnfit, table, &email);
        }
        if let Some(lower) = lower_twin(row) {
            self.note(Finding::AddressWithCapitals, table, &email);
            if self.known.is_known(kind, &lower) {
                self.note(Finding::AddressesDifferByCase, table, &email);
            } else if folded.seen.len() >= COMPARED_MAX {
                self.note(Finding::AddressesNotCompared, table, &email);
            } else if !folded.seen.insert(folded.hasher.hash_one(&lower)) {
                self.note(Finding::AddressesDifferByCase, table, &email);
            }
        }
        match text_of(row, "password").filter(|hash| !hash.is_empty()) {
            None => self.note(Finding::PasswordMissing, table, &email),
            Some(hash) if !(self.given.is_hash)(hash) => {
                self.note(Finding::PasswordUnreadable, table, &email)
            }
            Some(_) => {}
        }
        let (name, list) = match kind {
            AccountKind::User => ("username", "subscribed_doctors"),
            AccountKind::Doctor => ("doctorname", "subscribers"),
        };
        if !matches!(row.get(list), None | Some(AttributeValue::Null(_) | AttributeValue::L(_))) {
            self.note(Finding::ListUnreadable, table, &email);
        }
        if text_of(row, name).is_none() || TEXTS.iter().any(|name| !is_text(row, name)) {
            self.note(Finding::AccountFieldUnreadable, table, &email);
        }
    }

    async fn doctor(&mut self, table: &str, row: &Item) -> Result<(), ScanError> {
        let email = text_of(row, keys::EMAIL).unwrap_or_default();
        let is_number =
            |name| matches!(row.get(name), None | Some(AttributeValue::Null(_) | AttributeValue::N(_)));
        let is_read = DOCTORS_TEXTS.iter().all(|name| is_text(row, name))
            && is_number("fees")
            && (is_text(row, "experience") || is_number("experience"));
        if !is_read {
            self.note(Finding::AccountFieldUnreadable, table, &email);
        }
        let bucket = &self.given.s3.buckets().documents;
        let prefix = url_prefix(bucket);
        for kind in DocumentKind::ALL {
            let Some(url) = text_of(row, kind.name()).filter(|url| !url.is_empty()) else { continue };
            match url.strip_prefix(&prefix) {
                None => self.note(Finding::DocumentElsewhere, table, &email),
                Some(key) if !self.is_stored(bucket, key).await? => {
                    self.note(Finding::DocumentLost, table, &email);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    async fn is_stored(&self, bucket: &str, key: &str) -> Result<bool, ScanError> {
        self.given.pace.take(1).await;
        let look = self.given.s3.client().head_object().bucket(bucket).key(key);
        match Box::pin(look.send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(false),
            Err(error) => Err(ScanError::new(bucket, failure_text(&error))),
        }
    }
}

/// The address as sign-ups store it today, if this row has another.
fn lower_twin(row: &Item) -> Option<String> {
    let email = text_of(row, keys::EMAIL)?;
    let lower = email.to_lowercase();
    (lower != email).then_some(lower)
}

fn is_text(row: &Item, name: &str) -> bool {
    matches!(row.get(name), None | Some(AttributeValue::Null(_) | AttributeValue::S(_)))
}
