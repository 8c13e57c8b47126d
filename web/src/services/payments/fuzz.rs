//! Amounts, ids and events, for every input.

use super::amount::Paise;
use super::ids::{PaymentId, Reference};
use super::webhook;

pub(crate) fn amounts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(paise) = Paise::of_rupees(text) else { return };
    assert_eq!(Paise::of_rupees(&paise.to_string()), Some(paise));
    // Of a number that a float can hold, the float tells the same, give or take its rounding.
    if let Ok(rupees) = serde_json::from_str::<f64>(text) {
        assert!((rupees * 100.0 - paise.get() as f64).abs() < 0.01, "{text}");
    }
    assert!((100..=50_000_000).contains(&paise.get()), "{text}");
}

pub(crate) fn events(bytes: &[u8]) {
    if let Ok(Some(news)) = webhook::read(bytes) {
        assert!(news.payment.is_none_or(|payment| payment.has_id()));
        assert_eq!(Reference::parse(news.reference.as_str()), Some(news.reference));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match PaymentId::parse(text) {
        Some(PaymentId::Payment(id) | PaymentId::Link(id)) => {
            assert_eq!(id, text);
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{id}");
        }
        None => {}
    }
    if let Some(reference) = Reference::parse(text) {
        assert_eq!(reference.as_str(), text);
        assert!(text.len() <= 40);
    }
}
