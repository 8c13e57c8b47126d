//! What Razorpay tells by itself. The signature is checked over the bytes as they came, before anything reads them.

use ring::hmac;
use serde::Deserialize;
use serde_json::Value;

use super::ids::Reference;
use super::razorpay::{Link, Payment, reference_in};
use crate::config::Secret;

/// The events whose news are taken in. Each carries the whole link or payment as it was when the event occurred, so what
/// counts is the state in it, not the name.
const KNOWN: [&str; 11] = [
    "payment_link.paid",
    "payment_link.partially_paid",
    "payment_link.cancelled",
    "payment_link.expired",
    "payment.authorized",
    "payment.captured",
    "payment.failed",
    "order.paid",
    "refund.created",
    "refund.processed",
    "refund.failed",
];

/// News of one of our links, and of a payment made through it.
pub(super) struct News {
    pub(super) reference: Reference,
    pub(super) link: Option<Link>,
    pub(super) payment: Option<Payment>,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    payload: Value,
}

#[derive(Default, Deserialize)]
struct Order {
    receipt: Option<String>,
    #[serde(default)]
    notes: Value,
}

/// Whether one of the secrets has signed the body: HMAC-SHA256, in hexadecimal digits. The comparison takes the same
/// time wherever two tags differ.
pub(super) fn is_signed(secrets: &[Secret], body: &[u8], signature: &str) -> bool {
    let Ok(tag) = hex::decode(signature) else { return false };
    secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        hmac::verify(&key, body, &tag).is_ok()
    })
}

/// Reads a signed body; the error is that it is no event at all. `None` is an event that we do not need, or that is
/// about nothing of ours: others may use the same account.
pub(super) fn read(body: &[u8]) -> Result<Option<News>, serde_json::Error> {
    let Event { event, payload } = serde_json::from_slice(body)?;
    if !KNOWN.contains(&event.as_str()) {
        return Ok(None);
    }
    let link: Option<Link> = entity(&payload, "payment_link");
    let payment = entity(&payload, "payment").filter(Payment::has_id);
    let order: Order = entity(&payload, "order").unwrap_or_default();
    // An order's receipt is the reference of its link.
    let reference = link
        .as_ref()
        .and_then(Link::reference)
        .or_else(|| payment.as_ref().and_then(Payment::reference))
        .or_else(|| order.receipt.as_deref().and_then(Reference::parse))
        .or_else(|| reference_in(&order.notes));
    Ok(reference.map(|reference| News { reference, link, payment }))
}

/// One thing that the event carries. That it cannot be read must not make Razorpay send it again for a day and then
/// give up on all others: it is reported, and asking Razorpay about the payment still works.
fn entity<T: for<'a> Deserialize<'a>>(payload: &Value, name: &'static str) -> Option<T> {
    let entity = payload.get(name)?.get("entity")?;
    let read = T::deserialize(entity).ok();
    if read.is_none() {
        tracing::warn!(entity = name, "an event of Razorpay's cannot be read in part");
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_another_implementation_computes() {
        // RFC 4231, test case 2.
        let secrets = [Secret::of_any_length(b"old".to_vec()), Secret::of_any_length(b"Jefe".to_vec())];
        let body = b"what do ya want for nothing?";
        let tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(is_signed(&secrets, body, tag) && is_signed(&secrets, body, &tag.to_uppercase()));
        assert!(!is_signed(&secrets[..1], body, tag) && !is_signed(&[], body, tag));
        assert!(!is_signed(&secrets, b"what do ya want for nothing!", tag));
        for forged in [
            "",
            "5b",
            &tag[..63],
            &tag[..62],
            &format!("{tag}00"),
            &tag.replace('5', "6"),
            "é",
            &"z".repeat(64),
        ] {
            assert!(!is_signed(&secrets, body, forged), "{forged}");
        }
    }
}
