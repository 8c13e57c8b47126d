//! How payments are named: by us, by Razorpay, and by who is to pay.

use std::fmt;

use engine::{Chance, IdempotencyKey};
use ring::digest::{SHA256, digest};

use super::amount::Paise;
use crate::auth::Caller;

/// Before the 128 bits of a reference: tells our links from others of the same account.
const OURS: &str = "kokoro_";
/// Hexadecimal digits of a reference.
const DIGITS: usize = 32;
/// Razorpay takes no longer reference.
const RAZORPAY_MAX: usize = 40;
const _: () = assert!(OURS.len() + DIGITS <= RAZORPAY_MAX);

/// Our name of a payment link, from before it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference(String);

/// Who is to pay, as the table names them: a doctor and a user of one address are two.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payer(String);

/// Razorpay's name of something, fit for a path of its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PaymentId {
    /// `pay_...`
    Payment(String),
    /// `plink_...`
    Link(String),
}

impl Reference {
    /// A name that nobody has had.
    pub(super) fn fresh(chance: &dyn Chance) -> Self {
        Self(format!("{OURS}{:032x}", chance.bits()))
    }

    /// The name that this payer, amount and key have always had.
    pub(super) fn of_key(payer: &Payer, amount: Paise, key: &IdempotencyKey) -> Self {
        // No part can hold the separator.
        let text = format!("{}\n{}\n{}", payer.0, amount.get(), key.as_str());
        let digest = digest(&SHA256, text.as_bytes());
        Self(format!("{OURS}{}", hex::encode(&digest.as_ref()[..DIGITS / 2])))
    }

    /// Reads what Razorpay hands back; `None` for what is not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(OURS)?;
        let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Payer {
    /// The caller as payer.
    pub(crate) fn of(caller: &Caller) -> Self {
        Self(match caller {
            Caller::User(user) => format!("user#{}", user.as_str()),
            Caller::Doctor(doctor) => format!("doctor#{}", doctor.as_str()),
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payer(..)")
    }
}

impl PaymentId {
    /// Reads an id of one of the two kinds.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let after = |prefix| text.strip_prefix(prefix).filter(|rest| is_plain(rest)).map(|_| text.to_owned());
        after("pay_").map(Self::Payment).or_else(|| after("plink_").map(Self::Link))
    }
}

/// Whether a part of an id can stand in a path: Razorpay's have 14 letters and digits.
pub(super) fn is_plain(part: &str) -> bool {
    (1..=40).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use engine::{DoctorId, SeededChance, UserId};

    use super::*;

    #[test]
    fn a_reference_is_ours_and_short_enough_and_a_key_has_one_of_its_own() {
        let caller = Caller::User(UserId::parse("ada@x.com").unwrap());
        let (payer, amount) = (Payer::of(&caller), Paise::of_rupees("5").unwrap());
        let key = |text| IdempotencyKey::parse(text).unwrap();
        let doctor = Payer::of(&Caller::Doctor(DoctorId::parse("ada@x.com").unwrap()));
        let references = [
            Reference::fresh(&SeededChance::new(1)),
            Reference::of_key(&payer, amount, &key("a")),
            Reference::of_key(&payer, amount, &key("b")),
            Reference::of_key(&payer, Paise::of_rupees("6").unwrap(), &key("a")),
            Reference::of_key(&doctor, amount, &key("a")),
        ];
        for (n, reference) in references.iter().enumerate() {
            assert!(reference.as_str().len() <= RAZORPAY_MAX);
            assert_eq!(Reference::parse(reference.as_str()).as_ref(), Some(reference));
            assert_eq!(references.iter().position(|other| other == reference), Some(n));
        }
        assert_eq!(references[1], Reference::of_key(&payer, amount, &key("a")));
        assert!(!format!("{payer:?}{doctor:?}").contains("ada"));
    }

    #[test]
    fn what_cannot_stand_in_a_path_is_no_id() {
        assert!(matches!(PaymentId::parse("pay_29QQoUBi66xm2f"), Some(PaymentId::Payment(_))));
        assert!(matches!(PaymentId::parse("plink_ExjpAUN3gVHrPJ"), Some(PaymentId::Link(_))));
        let long = format!("pay_{}", "a".repeat(41));
        for text in [
            "",
            "pay_",
            "plink_",
            "order_1",
            "pay_a/b",
            "pay_..",
            "pay_a?x=1",
            "pay_é",
            "pay_a b",
            "PAY_a",
            &long,
        ] {
            assert_eq!(PaymentId::parse(text), None, "{text}");
        }
        for text in ["", "TS1989", "kokoro_", "kokoro_0123", &"kokoro_g".repeat(5)] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
