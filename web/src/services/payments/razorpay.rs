//! Razorpay's REST API, as far as it is needed: payment links, payments, invoices. What it says in words stays here:
//! neither callers nor logs see more of a failure than its status and code.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::amount::Paise;
use super::ids::{Reference, is_plain};
use super::status::Status;
use crate::config::{PaymentsConfig, RazorpayKeys};
use crate::http_client;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The note by which a payment leads back to its link. Nothing about the payer is told to Razorpay.
const REFERENCE_NOTE: &str = "kokoro_reference";
const CURRENCY: &str = "INR";

/// Why Razorpay has not done what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RazorpayError {
    /// It says no, with this status; nothing happened.
    #[error("Razorpay refuses with status {0}")]
    Refused(u16),
    /// It was not reached, or wants to be left alone; nothing happened.
    #[error("Razorpay is not available")]
    Unavailable,
    /// It did not answer in time; it may have happened.
    #[error("Razorpay did not answer in time")]
    TooSlow,
    /// It failed, or what it says makes no sense; it may have happened.
    #[error("Razorpay's answer makes no sense")]
    Broken,
}

/// A payment link.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    id: String,
    short_url: Option<String>,
    pub(super) status: Status,
    pub(super) amount: u64,
    pub(super) currency: String,
    reference_id: Option<String>,
    pub(super) order_id: Option<String>,
    /// Those that were captured: objects with a `payment_id`, or nothing of the kind.
    #[serde(default)]
    payments: Value,
}

/// A payment.
#[derive(Debug, Deserialize)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) amount: u64,
    pub(super) currency: String,
    pub(super) order_id: Option<String>,
    pub(super) invoice_id: Option<String>,
    /// An object, or an empty list.
    #[serde(default)]
    notes: Value,
}

#[derive(Deserialize)]
struct Links {
    payment_links: Vec<Link>,
}

#[derive(Deserialize)]
struct Invoice {
    short_url: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: FailureCode,
}

#[derive(Deserialize)]
struct FailureCode {
    code: String,
}

#[derive(Serialize)]
struct NewLink<'a> {
    amount: u64,
    currency: &'static str,
    accept_partial: bool,
    reference_id: &'a str,
    description: &'static str,
    notes: Value,
}

impl Link {
    /// Its id, if it is one.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.strip_prefix("plink_").is_some_and(is_plain).then_some(&self.id)
    }

    /// The page to pay on, if it is one that a payer can be sent to.
    pub(super) fn url(&self) -> Option<&str> {
        self.short_url.as_deref().filter(|url| is_safe(url))
    }

    /// Our name of it, if it is ours.
    pub(super) fn reference(&self) -> Option<Reference> {
        self.reference_id.as_deref().and_then(Reference::parse)
    }

    fn was_paid_by(&self, payment: &str) -> bool {
        let payments = self.payments.as_array().into_iter().flatten();
        payments.filter_map(|paid| paid.get("payment_id")?.as_str()).any(|id| id == payment)
    }
}

impl Payment {
    /// Whether it can be kept under its id.
    pub(super) fn has_id(&self) -> bool {
        self.id.strip_prefix("pay_").is_some_and(is_plain)
    }

    /// Our name of the link that it was made through, as far as its notes say.
    pub(super) fn reference(&self) -> Option<Reference> {
        reference_in(&self.notes)
    }
}

/// The reference in the notes of anything that came of one of our links.
pub(super) fn reference_in(notes: &Value) -> Option<Reference> {
    Reference::parse(notes.get(REFERENCE_NOTE)?.as_str()?)
}

/// The way to Razorpay.
pub(super) struct Razorpay {
    http: Client,
    /// Up to the version of the API.
    root: String,
    authorization: HeaderValue,
}

impl Razorpay {
    /// Prepares for these settings and keys.
    pub(super) fn new(config: &PaymentsConfig, keys: &RazorpayKeys) -> anyhow::Result<Self> {
        let mut pair = format!("{}:", keys.id).into_bytes();
        pair.extend_from_slice(keys.secret.expose());
        let mut authorization = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))?;
        authorization.set_sensitive(true);
        Ok(Self {
            http: http_client::outgoing().timeout(config.timeout).build()?,
            root: format!("{}/v1", config.api.trim_end_matches('/')),
            authorization,
        })
    }

    /// Has a payment link made. It must be the one that was asked for, for somebody will be told to pay it.
    pub(super) async fn create_link(
        &self,
        reference: &Reference,
        amount: Paise,
    ) -> Result<Link, RazorpayError> {
        let body = NewLink {
            amount: amount.get(),
            currency: CURRENCY,
            accept_partial: false,
            reference_id: reference.as_str(),
            description: "Kokoro",
            notes: serde_json::json!({REFERENCE_NOTE: reference.as_str()}),
        };
        let link: Link = self.ask(self.request(Method::POST, "/payment_links/").json(&body)).await?;
        let is_it = link.reference().as_ref() == Some(reference)
            && (link.amount, link.currency.as_str()) == (amount.get(), CURRENCY)
            && link.id().is_some();
        if is_it { Ok(link) } else { Err(RazorpayError::Broken) }
    }

    /// Looks a link up by Razorpay's id.
    pub(super) async fn link(&self, id: &str) -> Result<Link, RazorpayError> {
        let link: Link = self.ask(self.request(Method::GET, &format!("/payment_links/{id}"))).await?;
        if link.id == id { Ok(link) } else { Err(RazorpayError::Broken) }
    }

    /// Looks a link up by our name of it.
    pub(super) async fn link_named(&self, reference: &Reference) -> Result<Option<Link>, RazorpayError> {
        let links = self.links("reference_id", reference.as_str()).await?;
        Ok(links.into_iter().find(|link| link.reference().as_ref() == Some(reference) && link.id().is_some()))
    }

    /// Looks up the link that a captured payment was made through.
    pub(super) async fn link_paid_by(&self, payment: &str) -> Result<Option<Link>, RazorpayError> {
        let links = self.links("payment_id", payment).await?;
        Ok(links.into_iter().find(|link| link.was_paid_by(payment)))
    }

    /// Looks up a payment.
    pub(super) async fn payment(&self, id: &str) -> Result<Payment, RazorpayError> {
        let payment: Payment = self.ask(self.request(Method::GET, &format!("/payments/{id}"))).await?;
        if payment.id == id { Ok(payment) } else { Err(RazorpayError::Broken) }
    }

    /// Where an invoice can be seen.
    pub(super) async fn invoice_url(&self, id: &str) -> Result<Option<String>, RazorpayError> {
        if !id.strip_prefix("inv_").is_some_and(is_plain) {
            return Err(RazorpayError::Broken);
        }
        let invoice: Invoice = self.ask(self.request(Method::GET, &format!("/invoices/{id}"))).await?;
        Ok(invoice.short_url.filter(|url| is_safe(url)))
    }

    async fn links(&self, filter: &str, value: &str) -> Result<Vec<Link>, RazorpayError> {
        let path = format!("/payment_links/?{filter}={value}");
        let found: Links = self.ask(self.request(Method::GET, &path)).await?;
        Ok(found.payment_links)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.root));
        request.header(AUTHORIZATION, self.authorization.clone())
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, RazorpayError> {
        let response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let body = read(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| {
                tracing::warn!("Razorpay's answer cannot be read");
                RazorpayError::Broken
            });
        }
        tracing::warn!(
            http.status = status.as_u16(),
            razorpay.code = code_in(&body),
            "Razorpay did not do it"
        );
        Err(match status.as_u16() {
            429 => RazorpayError::Unavailable,
            status @ 400..500 => RazorpayError::Refused(status),
            _ => RazorpayError::Broken,
        })
    }
}

fn is_safe(url: &str) -> bool {
    url.starts_with("https://") && url.len() <= 2048 && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn failure(error: &reqwest::Error) -> RazorpayError {
    // Its text may name what was asked for.
    let failure = if error.is_connect() {
        RazorpayError::Unavailable
    } else if error.is_timeout() {
        RazorpayError::TooSlow
    } else {
        RazorpayError::Broken
    };
    tracing::warn!(error = %failure, "Razorpay cannot be asked");
    failure
}

async fn read(mut response: Response) -> Result<Vec<u8>, RazorpayError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(RazorpayError::Broken);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error code in an answer, if it looks like one: `BAD_REQUEST_ERROR`. Anything else there could quote what was sent.
fn code_in(body: &[u8]) -> Option<String> {
    let Failure { error } = serde_json::from_slice(body).ok()?;
    let is_code = |code: &String| {
        (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    Some(error.code).filter(is_code)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek};
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Secret;
    use crate::telemetry::{LogFormat, subscriber};

    #[actix_web::test]
    async fn a_log_of_everything_shows_no_secret_and_not_what_razorpay_says() {
        let log = Arc::new(tempfile::tempfile().unwrap());
        let everything = subscriber("trace", LogFormat::Text, Arc::clone(&log), false).unwrap();
        let _installed = tracing::subscriber::set_default(everything);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let refusing = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let body = r#"{"error":{"code":"BAD_REQUEST_ERROR","description":"canary"}}"#;
            let head = "HTTP/1.1 400 Bad Request\r\nX-Note: canary\r\nContent-Length";
            stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
            String::from_utf8(request[..read].to_vec()).unwrap()
        };
        let keys = RazorpayKeys { id: "id".to_owned(), secret: Secret::of_any_length(b"hunter2".to_vec()) };
        let razorpay = Razorpay::new(&PaymentsConfig { api, ..PaymentsConfig::default() }, &keys).unwrap();
        let (outcome, request) = tokio::join!(razorpay.payment("pay_secretive"), refusing);
        assert_eq!(outcome.unwrap_err(), RazorpayError::Refused(400));
        assert!(request.starts_with("GET /v1/payments/pay_secretive HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&STANDARD.encode("id:hunter2")), "{request}");
        let mut written = String::new();
        let mut log: &File = &log;
        log.rewind().unwrap();
        log.read_to_string(&mut written).unwrap();
        assert!(written.contains("BAD_REQUEST_ERROR") && written.contains("400"), "{written}");
        for hidden in ["canary", "hunter2", &STANDARD.encode("id:hunter2"), "secretive"] {
            assert!(!written.contains(hidden), "{hidden}: {written}");
        }
    }
}
