//! Payments, as Razorpay reports them: `PaymentsTable`, in the old platform's form.
//!
//! A payment link's row lies under our own reference, which exists before Razorpay has heard of it, and says who is to
//! pay. The row of a payment that was made through a link lies under Razorpay's id, as the old platform's rows do, and
//! names the link's row. The old platform's own rows have neither.

use std::fmt;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, SecondsFormat, Utc};
use engine::store::LoadError;

use super::error::load_error;
use super::items::{Item, text, text_of};
use super::{Dynamo, keys};

const AMOUNT: &str = "amount";
const CURRENCY: &str = "currency";
const STATUS: &str = "status";
const ORDER_ID: &str = "order_id";
const INVOICE_URL: &str = "invoice_url";
const PAYER: &str = "payer";
const REFERENCE: &str = "reference";
const LINK_ID: &str = "link_id";
const LINK_URL: &str = "link_url";

/// One row: a payment link or a payment.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentRow {
    /// The key: our reference of a link, Razorpay's id of a payment.
    pub payment_id: String,
    /// Razorpay's word, or one of ours for what Razorpay has not seen.
    pub status: String,
    /// Rupees, as a decimal number; `None` when the row has none that can be read.
    pub amount: Option<String>,
    /// Three letters.
    pub currency: String,
    /// Razorpay's order behind it, once there is one.
    pub order_id: Option<String>,
    /// Where Razorpay shows the invoice, if there is one.
    pub invoice_url: Option<String>,
    /// Who is to pay; only a link's row says so.
    pub payer: Option<String>,
    /// The key of the link's row; only a payment's row says so.
    pub reference: Option<String>,
    /// Razorpay's id of the link.
    pub link_id: Option<String>,
    /// The page to pay on.
    pub link_url: Option<String>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPayment {
    /// The row as it stands.
    pub row: PaymentRow,
    /// Whether the write changed it; if not, it holds a state that must not be replaced.
    pub written: bool,
}

/// The payments in `PaymentsTable`.
#[derive(Debug, Clone)]
pub struct Payments {
    dynamo: Dynamo,
}

impl fmt::Debug for PaymentRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentRow({}, ..)", self.status)
    }
}

impl Payments {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    /// Finds a row by its key, with a strongly consistent read.
    pub async fn find(&self, payment_id: &str) -> Result<Option<PaymentRow>, LoadError> {
        let request = self
            .dynamo
            .patient
            .get_item()
            .table_name(&self.dynamo.tables.payments)
            .key(keys::PAYMENT_ID, text(payment_id))
            .consistent_read(true);
        let item = request.send().await.map_err(load_error)?.item;
        Ok(item.map(|item| row_of(&item)))
    }

    /// Writes a row that is absent or whose status is one of `replaceable`, and tells how it stands after that. In a row
    /// that is there the status changes, and what was unknown is filled in; nothing is taken back.
    ///
    /// The SDK repeats this after a time-out or a broken connection. That is safe as long as a status may replace itself;
    /// a repeat that finds it replaced by a later one changes nothing. Where it may not, `written` can be false although
    /// it was this call that wrote.
    pub async fn store(
        &self,
        row: PaymentRow,
        replaceable: &[&str],
        now: DateTime<Utc>,
    ) -> Result<StoredPayment, LoadError> {
        let key = row.payment_id.clone();
        let mut condition = format!("attribute_not_exists({})", keys::PAYMENT_ID);
        let mut request = self
            .dynamo
            .patient
            .update_item()
            .table_name(&self.dynamo.tables.payments)
            .key(keys::PAYMENT_ID, text(&key))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if !replaceable.is_empty() {
            let names: Vec<String> = (0..replaceable.len()).map(|n| format!(":replaceable{n}")).collect();
            condition.push_str(&format!(" OR #{STATUS} IN ({})", names.join(", ")));
            for (name, status) in names.into_iter().zip(replaceable) {
                request = request.expression_attribute_values(name, text(*status));
            }
        }
        let mut assignments = Vec::new();
        for (name, assignment) in assignments_of(row, now) {
            let (right, value) = match assignment {
                Assignment::Set(value) => (format!(":{name}"), value),
                Assignment::IfAbsent(value) => (format!("if_not_exists(#{name}, :{name})"), value),
            };
            assignments.push(format!("#{name} = {right}"));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        let request = request
            .update_expression(format!("SET {}", assignments.join(", ")))
            .condition_expression(condition);
        match request.send().await {
            Ok(answer) => {
                Ok(StoredPayment { row: row_of(&answer.attributes.unwrap_or_default()), written: true })
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let row = failed.item().map(row_of);
                    let row =
                        row.ok_or_else(|| LoadError::Refused("a row that stands is not shown".to_owned()))?;
                    Ok(StoredPayment { row, written: false })
                }
                Some(_) | None => Err(load_error(error)),
            },
        }
    }
}

/// What an update does to one attribute.
enum Assignment {
    Set(AttributeValue),
    IfAbsent(AttributeValue),
}

/// Every attribute that the old platform reads, whatever is known, and ours.
fn assignments_of(row: PaymentRow, now: DateTime<Utc>) -> Vec<(&'static str, Assignment)> {
    use Assignment::{IfAbsent, Set};
    let or_null = |value: Option<String>| {
        value.map_or(IfAbsent(AttributeValue::Null(true)), |value| Set(AttributeValue::S(value)))
    };
    let mut assignments = vec![
        (STATUS, Set(text(row.status))),
        (AMOUNT, IfAbsent(row.amount.map_or(AttributeValue::Null(true), AttributeValue::N))),
        (CURRENCY, IfAbsent(text(row.currency))),
        (keys::TIMESTAMP, IfAbsent(text(now.to_rfc3339_opts(SecondsFormat::Secs, true)))),
        (ORDER_ID, or_null(row.order_id)),
        (INVOICE_URL, or_null(row.invoice_url)),
    ];
    let known =
        [(PAYER, row.payer), (REFERENCE, row.reference), (LINK_ID, row.link_id), (LINK_URL, row.link_url)];
    let known = known.into_iter().filter_map(|(name, value)| Some((name, IfAbsent(text(value?)))));
    assignments.extend(known);
    assignments
}

fn row_of(item: &Item) -> PaymentRow {
    let of = |name| text_of(item, name).map(str::to_owned);
    PaymentRow {
        payment_id: of(keys::PAYMENT_ID).unwrap_or_default(),
        status: of(STATUS).unwrap_or_default(),
        amount: item.get(AMOUNT).and_then(|amount| amount.as_n().ok()).cloned(),
        currency: of(CURRENCY).unwrap_or_default(),
        order_id: of(ORDER_ID),
        invoice_url: of(INVOICE_URL),
        payer: of(PAYER),
        reference: of(REFERENCE),
        link_id: of(LINK_ID),
        link_url: of(LINK_URL),
    }
}
