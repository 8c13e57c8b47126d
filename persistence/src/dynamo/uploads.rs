//! The journal of uploads under way: one item for each owner in the engine's table.
//!
//! An upload is written down before its first object is put. While it stands there, its objects are nobody's to see;
//! striking it out is what makes them all visible at once. An upload that is given up is marked first, so that nobody
//! can strike it out as if it were whole, and stays marked while a late request of its own might still arrive.
//!
//! Requests here are repeated by the SDK after a time-out, and any attempt may arrive late. So each is conditional on
//! what it changes: `version` grows with every upload that begins, which an entry begun twice would not survive.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use engine::store::LoadError;

use super::error::load_error;
use super::items::{Item, number, number_of, report, text};
use super::{Dynamo, keys};

/// Grows with each upload that begins.
const VERSION: &str = "version";
/// The names of an upload's files.
const NAMES: &str = "names";
/// When an upload was given up, in milliseconds since 1970; absent while it is under way.
const GIVEN_UP: &str = "given_up";
/// What a journal is called where one cannot be read.
const JOURNAL: &str = "the journal of uploads";

/// The upload is there and was not given up.
const STANDS: &str = "attribute_exists(#upload) AND attribute_not_exists(#upload.#given_up)";
/// The upload was given up.
const WAS_GIVEN_UP: &str = "attribute_exists(#upload.#given_up)";
/// Nobody has begun an upload since the journal was read.
const IS_UNCHANGED: &str = "#version = :known";
/// Nobody has ever begun one.
const IS_NEW: &str = "attribute_not_exists(#version)";

/// What an owner's journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Journal {
    /// How many uploads have ever begun.
    pub(crate) version: u64,
    /// Those that are not done, by their ids.
    pub(crate) uploads: BTreeMap<String, Entry>,
}

/// An upload that is not done.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What its files are called.
    pub(crate) names: Vec<String>,
    /// When it was given up, if it was.
    pub(crate) given_up: Option<DateTime<Utc>>,
    /// Whether all this could be read. What cannot is left alone, and its files are nobody's to see.
    pub(crate) is_readable: bool,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} files, given up: {:?})", self.names.len(), self.given_up)
    }
}

/// The journals in the engine's table.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    dynamo: Dynamo,
}

impl Uploads {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// Reads an owner's journal, strongly consistent.
    pub(crate) async fn read(&self, owner: &str) -> Result<Journal, LoadError> {
        let request = self.dynamo.patient.get_item().table_name(&self.dynamo.tables.engine);
        let request = request.key(keys::PK, text(keys::uploads_partition(owner))).consistent_read(true);
        let item = Box::pin(request.send()).await.map_err(load_error)?.item.unwrap_or_default();
        Ok(journal(&item))
    }

    /// Writes an upload down, if nobody has begun another since `known` was read. Says whether it did.
    pub(crate) async fn begin(
        &self,
        owner: &str,
        known: &Journal,
        id: &str,
        names: &[String],
    ) -> Result<bool, LoadError> {
        let names = AttributeValue::L(names.iter().map(text).collect());
        let entry = AttributeValue::M(Item::from([(NAMES.to_owned(), names)]));
        let request = self
            .update(owner, id)
            .update_expression("SET #upload = :entry, #version = :next")
            .condition_expression(if known.version == 0 { IS_NEW } else { IS_UNCHANGED })
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":entry", entry)
            .expression_attribute_values(":next", number(known.version + 1));
        let request = if known.version == 0 {
            request
        } else {
            request.expression_attribute_values(":known", number(known.version))
        };
        match refused(request).await? {
            None => Ok(true),
            // An earlier attempt of this very request may have been the one that changed it.
            Some(found) => Ok(found.uploads.contains_key(id)),
        }
    }

    /// Strikes a whole upload out, which makes its files visible. Says whether it did, or somebody had given it up.
    pub(crate) async fn commit(&self, owner: &str, id: &str) -> Result<bool, LoadError> {
        let request = self
            .update(owner, id)
            .update_expression("REMOVE #upload")
            .condition_expression(STANDS)
            .expression_attribute_names("#given_up", GIVEN_UP);
        match refused(request).await? {
            None => Ok(true),
            // What was given up stays written down for long: when it is gone, an earlier attempt of ours took it.
            Some(found) => Ok(!found.uploads.contains_key(id)),
        }
    }

    /// Marks an upload as given up. Says whether it is; otherwise it was whole, and is no longer written down.
    pub(crate) async fn give_up(&self, owner: &str, id: &str, now: DateTime<Utc>) -> Result<bool, LoadError> {
        let request = self
            .update(owner, id)
            .update_expression("SET #upload.#given_up = :now")
            .condition_expression(STANDS)
            .expression_attribute_names("#given_up", GIVEN_UP)
            .expression_attribute_values(":now", number(now.timestamp_millis()));
        match refused(request).await? {
            None => Ok(true),
            Some(found) => Ok(found.uploads.contains_key(id)),
        }
    }

    /// Strikes out an upload that was given up, when none of its objects is left and none can come.
    pub(crate) async fn forget(&self, owner: &str, id: &str) -> Result<(), LoadError> {
        let request = self
            .update(owner, id)
            .update_expression("REMOVE #upload")
            .condition_expression(WAS_GIVEN_UP)
            .expression_attribute_names("#given_up", GIVEN_UP);
        refused(request).await.map(drop)
    }

    fn update(&self, owner: &str, id: &str) -> UpdateItemFluentBuilder {
        self.dynamo
            .patient
            .update_item()
            .table_name(&self.dynamo.tables.engine)
            .key(keys::PK, text(keys::uploads_partition(owner)))
            .expression_attribute_names("#upload", format!("{}{id}", keys::UPLOAD_PREFIX))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Sends an update; when its condition does not hold, what was found instead.
async fn refused(request: UpdateItemFluentBuilder) -> Result<Option<Journal>, LoadError> {
    match Box::pin(request.send()).await {
        Ok(_) => Ok(None),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(Some(failed.item().map(journal).unwrap_or_default()))
            }
            Some(_) | None => Err(load_error(error)),
        },
    }
}

fn journal(item: &Item) -> Journal {
    let uploads = item.iter().filter_map(|(attribute, value)| {
        let id = attribute.strip_prefix(keys::UPLOAD_PREFIX)?;
        Some((id.to_owned(), entry(value).unwrap_or_else(unreadable)))
    });
    // The first upload makes it one, and what has no next one is no version.
    let version = number_of(item, VERSION).filter(|version| (1..u64::MAX).contains(version));
    if version.is_none() && item.contains_key(VERSION) {
        report(JOURNAL, "its version is none: its owner cannot upload");
    }
    Journal { version: version.unwrap_or_default(), uploads: uploads.collect() }
}

/// One upload; `None` when it cannot be said which objects it has, or whether it was given up.
fn entry(value: &AttributeValue) -> Option<Entry> {
    let item = value.as_m().ok()?;
    let names = item.get(NAMES)?.as_l().ok()?.iter().map(|name| name.as_s().ok().cloned());
    let given_up = match item.get(GIVEN_UP) {
        None => None,
        Some(_) => Some(number_of(item, GIVEN_UP).and_then(DateTime::from_timestamp_millis)?),
    };
    Some(Entry { names: names.collect::<Option<_>>()?, given_up, is_readable: true })
}

fn unreadable() -> Entry {
    report(JOURNAL, "an upload's files are not named: none of them is shown");
    Entry { names: Vec::new(), given_up: None, is_readable: false }
}
