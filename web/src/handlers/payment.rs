//! Paying: a page to pay on, how a payment stands, and what Razorpay tells by itself.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::{Bytes, Data, Json};
use actix_web::{FromRequest, HttpRequest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::body::{self, BodyLimit};
use crate::error::ApiError;
use crate::guard::AnswerTimeout;
use crate::handlers::idempotency_key;
use crate::json::JsonText;
use crate::peer::Network;
use crate::services::{Paise, Payer, PaymentError, PaymentId};
use crate::state::AppState;

/// An event is a few kilobytes long.
pub(crate) const EVENT_LIMIT: BodyLimit = BodyLimit { bytes: 256 * 1024, timeout: Duration::from_secs(2) };
/// Razorpay waits for five seconds, the time that the event takes to come included, and then sends it again.
pub(crate) const EVENT_TIMEOUT: AnswerTimeout = AnswerTimeout(Duration::from_millis(2_500));

/// One of the two; beside a `payment_id`, an `amount` does not count.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({"amount": 499.5}), json!({"payment_id": "plink_ExjpAUN3gVHrPJ"})))]
struct PaymentRequest {
    /// The rupees that a payment link is made for, whole in paise.
    #[schema(value_type = Option<f64>, minimum = 1, maximum = 500_000)]
    amount: Option<Box<RawValue>>,
    /// What to ask about: a payment or a payment link, by Razorpay's id.
    #[schema(pattern = "^(pay|plink)_[0-9A-Za-z]{1,40}$")]
    payment_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum PaymentAnswer {
    LinkCreated {
        message: &'static str,
        payment_link: String,
        payment_link_id: String,
    },
    Processed {
        message: &'static str,
        order_id: Option<String>,
        payment_id: String,
        status: String,
        invoice_url: Option<String>,
    },
}

/// An event as Razorpay sends it; what it carries depends on its kind.
#[derive(ToSchema)]
#[schema(examples(json!({
    "entity": "event", "event": "payment_link.paid", "contains": ["payment_link"],
    "payload": {"payment_link": {"entity": {"id": "plink_ExjpAUN3gVHrPJ", "status": "paid", "amount": 49950}}}
})))]
#[expect(dead_code, reason = "it describes what is read from the signed bytes")]
struct Event {
    entity: String,
    event: String,
    contains: Vec<String>,
    #[schema(value_type = Object)]
    payload: (),
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"message": "Event received"})))]
pub(crate) struct Received {
    message: &'static str,
}

/// A body whose bytes are what counts.
pub(crate) struct RawBody(Bytes);

/// What is asked for, of the two things that this call does.
enum Asked {
    Link(Paise),
    Payment(PaymentId),
}

impl Asked {
    fn of(PaymentRequest { payment_id, amount }: PaymentRequest) -> Result<Self, ApiError> {
        match (payment_id, amount) {
            (Some(id), _) => {
                let id = PaymentId::parse(&id);
                id.map(Self::Payment)
                    .ok_or_else(|| ApiError::invalid("'payment_id' is not an id of Razorpay's"))
            }
            (None, Some(amount)) => {
                let amount = Paise::of_rupees(amount.get()).ok_or(PaymentError::InvalidAmount)?;
                Ok(Self::Link(amount))
            }
            (None, None) => Err(ApiError::invalid("'amount' or 'payment_id' must be given")),
        }
    }
}

/// Has a payment link made, or asks how a payment stands.
#[utoipa::path(post, path = "/process-payment", tag = "payment", request_body = PaymentRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters; a repeat \
        with the same key and amount is given the same link", pattern = "^[!-~]{1,64}$", example = "7f1c3a")),
    responses(
        (status = 200, body = inline(PaymentAnswer), examples(
            ("link" = (value = json!({"message": "Payment link created successfully",
                "payment_link": "https://rzp.io/i/nxrHnLJ", "payment_link_id": "plink_ExjpAUN3gVHrPJ"}))),
            ("payment" = (value = json!({"message": "Payment processed", "order_id": "order_FOGs9Hz3ZaAjsm",
                "payment_id": "pay_FOGsH8uHkF2FbR", "status": "captured", "invoice_url": null}))))),
        (status = 404, description = "payment_not_found"),
        (status = 422, description = "invalid_amount"),
        (status = 502, description = "payment_refused, payment_failed"),
        (status = 503, description = "payments_not_configured, payment_unavailable"),
        (status = 504, description = "payment_too_slow")))]
pub(crate) async fn process_payment(
    app: Data<AppState>,
    request: HttpRequest,
    caller: Caller,
    network: Network,
    body: JsonText,
) -> Result<Json<PaymentAnswer>, ApiError> {
    let asked = Asked::of(body.parse()?)?;
    let key = idempotency_key(&request)?;
    let payer = Payer::of(&caller);
    Ok(Json(match asked {
        Asked::Link(amount) => {
            let link = app.payments.create_link((&payer, network), amount, key.as_ref(), app.now()).await?;
            let message = "Payment link created successfully";
            PaymentAnswer::LinkCreated { message, payment_link: link.url, payment_link_id: link.id }
        }
        Asked::Payment(id) => {
            let known = app.payments.look((&payer, network), &id, app.now()).await?;
            PaymentAnswer::Processed {
                message: "Payment processed",
                order_id: known.order_id,
                payment_id: known.payment_id,
                status: known.status,
                invoice_url: known.invoice_url,
            }
        }
    }))
}

/// Takes an event from Razorpay, which nobody else can sign.
#[utoipa::path(post, path = "/payment/webhook", tag = "payment", security(()), request_body = Event,
    params(("X-Razorpay-Signature" = String, Header, description = "HMAC-SHA256 of the body, in hexadecimal digits",
        pattern = "^[0-9a-f]{64}$")),
    responses(
        (status = 200, body = Received),
        (status = 401, description = "bad_signature"),
        (status = 503, description = "payments_not_configured")))]
pub(crate) async fn webhook(
    app: Data<AppState>,
    request: HttpRequest,
    body: RawBody,
) -> Result<Json<Received>, ApiError> {
    let signature = request.headers().get("X-Razorpay-Signature").and_then(|header| header.to_str().ok());
    app.payments.take_in(&body.0, signature, app.now()).await?;
    Ok(Json(Received { message: "Event received" }))
}

impl FromRequest for RawBody {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { body::read(&request, payload).await.map(Self) })
    }
}
