//! A patient's subscription to a doctor: a name in the list of each, `subscribed_doctors` in `Users` and `subscribers`
//! in `Doctors`, in both or in neither.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use engine::store::LoadError;
use engine::{DoctorId, UserId};
use futures::future::try_join;

use super::error::{Failure, load_error};
use super::items::{Item, report, text};
use super::profiles::Profiles;
use super::{AccountsError, keys};

pub(super) const SUBSCRIBERS: &str = "subscribers";
const SUBSCRIBED_DOCTORS: &str = "subscribed_doctors";

/// The longest list, in bytes: the row that holds it may have 400 KB (DynamoDB developer guide, "Quotas"), and needs
/// room for the rest. Some ten thousand addresses.
const LIST_BYTES_MAX: usize = 300_000;

/// The list is there and lacks the name.
const APPEND: (&str, &str) =
    ("SET #list = list_append(#list, :added)", "attribute_type(#list, :type) AND NOT contains(#list, :name)");
/// The row is there and has no list yet, or NULL for it.
const BEGIN: (&str, &str) = (
    "SET #list = :added",
    "attribute_exists(email) AND (attribute_not_exists(#list) OR attribute_type(#list, :type))",
);

/// What became of one attempt to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// Both lists have it now.
    New,
    /// Both lists had it.
    Standing,
    /// No such patient.
    NoUser,
    /// No such doctor.
    NoDoctor,
    /// The patient's list has no room for another doctor.
    UserFull,
    /// The doctor's list has no room for another patient.
    DoctorFull,
    /// Somebody else changed one of the rows meanwhile: nothing happened.
    Contended,
    /// It may have happened.
    Unknown,
}

/// One side of a subscription, as stored.
struct Side {
    has_list: bool,
    has_name: bool,
    bytes: usize,
}

impl Profiles {
    /// Subscribes a patient to a doctor, both in the stored spelling of their addresses. One attempt. A list that has
    /// the name already is left as it is, so a subscription that only one side knows of becomes whole.
    pub async fn subscribe(&self, user: &UserId, doctor: &DoctorId) -> Result<Subscription, AccountsError> {
        let tables = &self.dynamo.tables;
        let (user, doctor) = (user.as_str(), doctor.as_str());
        let of_user = self.side(&tables.users, user, SUBSCRIBED_DOCTORS, doctor);
        let of_doctor = self.side(&tables.doctors, doctor, SUBSCRIBERS, user);
        let (of_user, of_doctor) = try_join(of_user, of_doctor).await?;
        let Some(of_user) = of_user else { return Ok(Subscription::NoUser) };
        let Some(of_doctor) = of_doctor else { return Ok(Subscription::NoDoctor) };
        let mut actions = Vec::new();
        if !of_user.has_name {
            if of_user.bytes + doctor.len() > LIST_BYTES_MAX {
                return Ok(Subscription::UserFull);
            }
            actions.push(add(&tables.users, user, SUBSCRIBED_DOCTORS, doctor, &of_user));
        }
        if !of_doctor.has_name {
            if of_doctor.bytes + user.len() > LIST_BYTES_MAX {
                return Ok(Subscription::DoctorFull);
            }
            actions.push(add(&tables.doctors, doctor, SUBSCRIBERS, user, &of_doctor));
        }
        if actions.is_empty() {
            return Ok(Subscription::Standing);
        }
        let actions: Result<Vec<_>, BuildError> = actions.into_iter().collect();
        let actions = actions.map_err(|error| AccountsError::Refused(error.to_string()))?;
        // The SDK gives all its attempts at this request one token: the store does it once.
        match self.dynamo.patient.transact_write_items().set_transact_items(Some(actions)).send().await {
            Ok(_) => Ok(Subscription::New),
            Err(error) => not_done(&error),
        }
    }

    async fn side(
        &self,
        table: &str,
        email: &str,
        list: &str,
        name: &str,
    ) -> Result<Option<Side>, LoadError> {
        let request = self
            .dynamo
            .patient
            .get_item()
            .table_name(table)
            .key(keys::EMAIL, text(email))
            .projection_expression("#email, #list")
            .expression_attribute_names("#email", keys::EMAIL)
            .expression_attribute_names("#list", list)
            .consistent_read(true);
        let item = request.send().await.map_err(load_error)?.item;
        if item.as_ref().is_some_and(|item| !is_list(item.get(list))) {
            report(table, format_args!("{list} is no list"));
            return Err(LoadError::Unavailable("a list that cannot be read".to_owned()));
        }
        Ok(item.map(|item| Side::of(&item, list, name)))
    }
}

impl Side {
    fn of(item: &Item, list: &str, name: &str) -> Self {
        let members = item.get(list).and_then(|value| value.as_l().ok());
        let texts = || members.into_iter().flatten().filter_map(|member| member.as_s().ok());
        Self {
            has_list: members.is_some(),
            has_name: texts().any(|text| text == name),
            bytes: texts().map(|text| text.len() + 1).sum(),
        }
    }
}

/// Whether it is a list, or what stands for an empty one.
const fn is_list(list: Option<&AttributeValue>) -> bool {
    matches!(list, None | Some(AttributeValue::Null(_) | AttributeValue::L(_)))
}

/// Adds a name to a list that has been looked at; the condition is that it is still as it was seen.
fn add(
    table: &str,
    email: &str,
    list: &str,
    name: &str,
    seen: &Side,
) -> Result<TransactWriteItem, BuildError> {
    let ((update, condition), r#type) = if seen.has_list { (APPEND, "L") } else { (BEGIN, "NULL") };
    let update = Update::builder()
        .table_name(table)
        .key(keys::EMAIL, text(email))
        .update_expression(update)
        .condition_expression(condition)
        .expression_attribute_names("#list", list)
        .expression_attribute_values(":added", AttributeValue::L(vec![text(name)]))
        .expression_attribute_values(":type", text(r#type));
    let update = if seen.has_list { update.expression_attribute_values(":name", text(name)) } else { update };
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

/// Codes: API reference, `TransactWriteItems`, "`TransactionCanceledException`".
fn not_done(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Result<Subscription, AccountsError> {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
        let reasons = cancelled.cancellation_reasons();
        let invalid = reasons
            .iter()
            .filter_map(|reason| reason.code())
            .find(|code| ["ValidationError", "ItemCollectionSizeLimitExceeded"].contains(code));
        return match invalid {
            Some(code) => Err(AccountsError::Refused(code.to_owned())),
            None => Ok(Subscription::Contended),
        };
    }
    match Failure::of(error) {
        // What the last of several attempts tells says nothing of the ones before it.
        Failure::Unreachable(_) | Failure::NotNow(_) | Failure::Unknown(_) => Ok(Subscription::Unknown),
        Failure::Denied(text) | Failure::Malformed(text) => Err(AccountsError::Refused(text)),
    }
}
