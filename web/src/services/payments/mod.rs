//! Payments through Razorpay's payment links.
//!
//! A link has a row in the table under our own reference before Razorpay hears of it; the row says who is to pay. The
//! reference travels with the link and with every payment made through it, so whatever Razorpay says about either,
//! asked or unasked, leads back to that row, and only its payer is told. States only ever move forward (`status`), by
//! a condition in the store: that is why news may come late, twice or in disorder, and no event needs to be remembered.

mod amount;
mod error;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod ids;
mod razorpay;
mod status;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::store::LoadError;
use engine::{Chance, IdempotencyKey};
use persistence::{PaymentRow, StoredPayment};

pub(crate) use amount::Paise;
pub(crate) use error::PaymentError;
pub(crate) use ids::{Payer, PaymentId};

use crate::config::{PaymentsConfig, Secret};
use crate::error::ApiError;
use crate::metrics;
use crate::peer::Network;
use crate::places::{Bounds, Places, quarter_of};
use ids::Reference;
use razorpay::{Link, Payment, Razorpay, RazorpayError};
use status::Status;

/// Calls of one payer at once, those that wait included.
const OF_ONE_PAYER: usize = 4;

/// How long a call waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What a payer needs to pay.
pub(crate) struct NewLink {
    pub(crate) id: String,
    pub(crate) url: String,
}

/// What is known of a link or a payment.
pub(crate) struct Known {
    pub(crate) payment_id: String,
    pub(crate) order_id: Option<String>,
    pub(crate) status: String,
    pub(crate) invoice_url: Option<String>,
}

/// Payments of patients and doctors.
pub(crate) struct Payments {
    store: persistence::Payments,
    razorpay: Option<Razorpay>,
    webhook_secrets: Vec<Secret>,
    /// Places for callers that wait for Razorpay.
    places: Places<Payer>,
    chance: Arc<dyn Chance>,
}

impl Payments {
    /// Payments in this store, with Razorpay if there are keys for it.
    pub(crate) fn new(
        store: persistence::Payments,
        config: &PaymentsConfig,
        chance: Arc<dyn Chance>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store,
            razorpay: config.keys.as_ref().map(|keys| Razorpay::new(config, keys)).transpose()?,
            webhook_secrets: config.webhook_secrets.clone(),
            places: Places::new(Bounds {
                name: "payments",
                at_once: config.requests_at_once,
                of_network: quarter_of(config.requests_at_once),
                waiting_max: config.requests_at_once,
                wait: WAIT_MAX,
                evicted_after: None,
            }),
            chance,
        })
    }

    /// Has a link made on which `payer` can pay. With a key, a repeat is given the same link: also when the first answer
    /// was lost, for then Razorpay is asked for what became of it.
    pub(crate) async fn create_link(
        &self,
        (payer, network): (&Payer, Network),
        amount: Paise,
        key: Option<&IdempotencyKey>,
        now: DateTime<Utc>,
    ) -> Result<NewLink, ApiError> {
        let razorpay = self.razorpay()?;
        let _place = self.places.take(payer.clone(), OF_ONE_PAYER, network).await?;
        let reference = match key {
            Some(key) => Reference::of_key(payer, amount, key),
            None => Reference::fresh(&*self.chance),
        };
        let begun = begun(&reference, payer, amount);
        let StoredPayment { row, written } = self.store.store(begun.clone(), &[], now).await?;
        if written {
            metrics::payment_stored(Status::Creating.as_str());
        }
        if let Some(link) = new_link(&row) {
            return Ok(link);
        }
        let earlier = if written { None } else { razorpay.link_named(&reference).await? };
        let link = match earlier {
            Some(link) => link,
            None => self.make(razorpay, begun.clone(), &reference, amount, now).await?,
        };
        let stored = self.keep(with_link(begun, &link), link.status, now).await;
        let StoredPayment { row, .. } = stored.map_err(|error| match error {
            LoadError::Unavailable(_) => ApiError::OutcomeUnknown,
            LoadError::Refused(_) => error.into(),
        })?;
        new_link(&row).ok_or(ApiError::Payment(PaymentError::Broken))
    }

    async fn make(
        &self,
        razorpay: &Razorpay,
        begun: PaymentRow,
        reference: &Reference,
        amount: Paise,
        now: DateTime<Utc>,
    ) -> Result<Link, ApiError> {
        let refusal = match razorpay.create_link(reference, amount).await {
            Err(refusal @ RazorpayError::Refused(_)) => refusal,
            outcome => return Ok(outcome?),
        };
        // Razorpay makes no second link of one name: a repeat of this call may have been faster.
        if let Some(link) = razorpay.link_named(reference).await.unwrap_or_default() {
            return Ok(link);
        }
        let refused = PaymentRow { status: Status::Refused.as_str().to_owned(), ..begun };
        self.keep(refused, Status::Refused, now).await?;
        Err(refusal.into())
    }

    /// Asks Razorpay how a link or a payment stands, and keeps it. Only its payer is told.
    pub(crate) async fn look(
        &self,
        (payer, network): (&Payer, Network),
        id: &PaymentId,
        now: DateTime<Utc>,
    ) -> Result<Known, ApiError> {
        let razorpay = self.razorpay()?;
        let _place = self.places.take(payer.clone(), OF_ONE_PAYER, network).await?;
        match id {
            PaymentId::Link(id) => {
                let link = razorpay.link(id).await.map_err(unknown_if_refused)?;
                let row = with_link(self.owned(payer, link.reference()).await?, &link);
                let stored = self.keep(row, link.status, now).await?;
                Ok(known(stored.row, id))
            }
            PaymentId::Payment(id) => {
                let payment = razorpay.payment(id).await.map_err(unknown_if_refused)?;
                let reference = match payment.reference() {
                    Some(reference) => Some(reference),
                    None => razorpay.link_paid_by(id).await?.and_then(|link| link.reference()),
                };
                let link = self.owned(payer, reference).await?;
                if !is_for(&payment, &link) {
                    return Err(PaymentError::NotFound.into());
                }
                let invoice_url = match &payment.invoice_id {
                    // What can be shown without it is shown without it.
                    Some(invoice) => razorpay.invoice_url(invoice).await.unwrap_or_default(),
                    None => None,
                };
                let row = PaymentRow { invoice_url, ..of_payment(&payment, link.payment_id) };
                let stored = self.keep(row, payment.status, now).await?;
                Ok(known(stored.row, id))
            }
        }
    }

    /// Takes in what Razorpay tells by itself, if it is signed. News of links that are not ours change nothing.
    pub(crate) async fn take_in(
        &self,
        body: &[u8],
        signature: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        if self.webhook_secrets.is_empty() {
            return Err(PaymentError::NotConfigured.into());
        }
        if !signature.is_some_and(|signature| webhook::is_signed(&self.webhook_secrets, body, signature)) {
            return Err(PaymentError::BadSignature.into());
        }
        let Some(news) = webhook::read(body).map_err(|_| ApiError::InvalidJson)? else { return Ok(()) };
        let Some(row) = self.store.find(news.reference.as_str()).await? else { return Ok(()) };
        if let Some(payment) = news.payment.filter(|payment| is_for(payment, &row)) {
            let row = of_payment(&payment, row.payment_id.clone());
            self.keep(row, payment.status, now).await?;
        }
        if let Some(link) = news.link.filter(|link| link.reference().as_ref() == Some(&news.reference)) {
            self.keep(with_link(row, &link), link.status, now).await?;
        }
        Ok(())
    }

    /// Stores a state unless a later one is known.
    async fn keep(
        &self,
        row: PaymentRow,
        status: Status,
        now: DateTime<Utc>,
    ) -> Result<StoredPayment, LoadError> {
        let stored = self.store.store(row, &status.replaceable(), now).await?;
        if stored.written {
            metrics::payment_stored(status.as_str());
        }
        Ok(stored)
    }

    fn razorpay(&self) -> Result<&Razorpay, ApiError> {
        self.razorpay.as_ref().ok_or_else(|| PaymentError::NotConfigured.into())
    }

    /// The row of a link that this payer has had made.
    async fn owned(&self, payer: &Payer, reference: Option<Reference>) -> Result<PaymentRow, ApiError> {
        let reference = reference.ok_or(PaymentError::NotFound)?;
        let row = self.store.find(reference.as_str()).await?;
        let own = row.filter(|row| row.payer.as_deref() == Some(payer.as_str()));
        own.ok_or_else(|| PaymentError::NotFound.into())
    }
}

/// The row of a link that Razorpay is about to be asked for.
fn begun(reference: &Reference, payer: &Payer, amount: Paise) -> PaymentRow {
    PaymentRow {
        payment_id: reference.as_str().to_owned(),
        status: Status::Creating.as_str().to_owned(),
        amount: Some(amount.to_string()),
        currency: "INR".to_owned(),
        order_id: None,
        invoice_url: None,
        payer: Some(payer.as_str().to_owned()),
        reference: None,
        link_id: None,
        link_url: None,
    }
}

/// A link's row with what Razorpay says of it.
fn with_link(row: PaymentRow, link: &Link) -> PaymentRow {
    PaymentRow {
        status: link.status.as_str().to_owned(),
        order_id: link.order_id.clone(),
        link_id: link.id().map(str::to_owned),
        link_url: link.url().map(str::to_owned),
        ..row
    }
}

/// The row of a payment through the link whose row is under `reference`.
fn of_payment(payment: &Payment, reference: String) -> PaymentRow {
    PaymentRow {
        payment_id: payment.id.clone(),
        status: payment.status.as_str().to_owned(),
        amount: Some(amount::rupees(payment.amount)),
        currency: payment.currency.clone(),
        order_id: payment.order_id.clone(),
        invoice_url: None,
        payer: None,
        reference: Some(reference),
        link_id: None,
        link_url: None,
    }
}

/// Whether a payment is of what its link asks for, at least: who pays the fee pays more. Notes alone are no proof that it
/// was made through that link: other pages of the same account may let their visitors write them.
fn is_for(payment: &Payment, link: &PaymentRow) -> bool {
    let asked = link.amount.as_deref().and_then(Paise::of_rupees).map(Paise::get);
    asked.is_some_and(|asked| payment.amount >= asked) && payment.currency == link.currency
}

fn new_link(row: &PaymentRow) -> Option<NewLink> {
    Some(NewLink { id: row.link_id.clone()?, url: row.link_url.clone()? })
}

/// What is told of a row, under the id that was asked for.
fn known(row: PaymentRow, asked: &str) -> Known {
    let PaymentRow { order_id, status, invoice_url, .. } = row;
    Known { payment_id: asked.to_owned(), order_id, status, invoice_url }
}

/// Razorpay answers 400 to the id of nothing, or of something in another account.
fn unknown_if_refused(error: RazorpayError) -> PaymentError {
    match error {
        RazorpayError::Refused(400 | 404) => PaymentError::NotFound,
        error => error.into(),
    }
}
