//! How nodes know each other: by a secret that all of them have, with which each call and each answer is sealed. A seal
//! (HMAC-SHA256) covers whom the call is for, what it asks, when, for how long, and for which request; an answer's seal
//! covers the call's, so that it answers that call and no other. A random nonce makes every seal another one, and a node
//! accepts a seal once ([`super::accepted`]).
//!
//! What is sealed can be read on the way: the network between nodes is to be one that strangers are not on.

use std::time::Duration;

use engine::limits::ASK_DEADLINE;
use ring::hmac;

use crate::config::{Secret, SigningSecrets};

/// How far the clocks of two nodes may be apart.
pub(super) const SKEW_SECONDS_MAX: i64 = 60;

/// Seals, and knows what others have sealed.
#[derive(Clone)]
pub(super) struct Seals {
    signing: hmac::Key,
    /// That one, and those of secrets that are being replaced.
    known: Vec<hmac::Key>,
}

/// What a call says beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// What is asked for.
    pub(super) path: &'static str,
    /// The node that is asked, by the address under which it is known to the others.
    pub(super) to: String,
    /// When, in seconds since 1970.
    pub(super) at: i64,
    /// How long the asking node waits, in milliseconds.
    pub(super) within_ms: u64,
    /// The request that it belongs to: 32 hexadecimal digits.
    pub(super) request_id: String,
    /// Random: no other call has it. `None` in calls of versions before December 2026, and in calls to them.
    pub(super) nonce: Option<String>,
}

/// The first half of a seal, by which it is remembered: too long for two seals to share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tag(u128);

impl Tag {
    /// The tag of a seal, or of anything with 16 bytes or more; 0 otherwise.
    pub(super) fn of(seal: &[u8]) -> Self {
        Self(seal.first_chunk().map_or(0, |half| u128::from_be_bytes(*half)))
    }
}

/// Whether a call that was made at `at` is of now, give or take what clocks may be apart.
pub(super) const fn is_fresh(at: i64, now: i64) -> bool {
    now.abs_diff(at) <= SKEW_SECONDS_MAX.unsigned_abs()
}

impl Envelope {
    /// How long there is left to answer: never longer than any ask may take.
    pub(super) fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms).min(ASK_DEADLINE)
    }

    /// Each line ends where the next begins: none of them has a line's end in it.
    fn sealed(&self, body: &[u8]) -> Vec<u8> {
        let Self { path, to, at, within_ms, request_id, nonce } = self;
        let call = format!("call\nPOST\n{path}\n{to}\n{at}\n{within_ms}\n{request_id}\n");
        let mut sealed = match nonce {
            Some(nonce) => format!("once\n{nonce}\n{call}"),
            None => call,
        }
        .into_bytes();
        sealed.extend_from_slice(body);
        sealed
    }
}

impl Seals {
    /// Seals with the first secret, and knows the seals of all.
    pub(super) fn new(secrets: &SigningSecrets) -> Self {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Self { signing: key(secrets.signing()), known: secrets.all().map(key).collect() }
    }

    /// The seal of a call.
    pub(super) fn seal(&self, envelope: &Envelope, body: &[u8]) -> String {
        self.sign(&envelope.sealed(body))
    }

    /// Reads the seal of this call; `None` unless one who knows the secret has sealed it. Takes as long for any wrong seal.
    pub(super) fn tag(&self, envelope: &Envelope, body: &[u8], seal: &str) -> Option<Tag> {
        self.verify(&envelope.sealed(body), seal)
    }

    /// The seal of the answer to the call that bears the seal `call`.
    pub(super) fn seal_answer(&self, call: &str, body: &[u8]) -> String {
        self.sign(&answer(call, body))
    }

    /// Whether one who knows the secret has sealed this as the answer to that call.
    pub(super) fn has_sealed_answer(&self, call: &str, body: &[u8], seal: &str) -> bool {
        self.verify(&answer(call, body), seal).is_some()
    }

    fn sign(&self, sealed: &[u8]) -> String {
        hex::encode(hmac::sign(&self.signing, sealed))
    }

    fn verify(&self, sealed: &[u8], seal: &str) -> Option<Tag> {
        // The bytes count: one seal can be spelled in several ways.
        let seal = hex::decode(seal).ok()?;
        let is_good = self.known.iter().any(|key| hmac::verify(key, sealed, &seal).is_ok());
        is_good.then(|| Tag::of(&seal))
    }
}

fn answer(call: &str, body: &[u8]) -> Vec<u8> {
    [b"answer\n", call.as_bytes(), b"\n", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(byte: u8) -> Seals {
        Seals::new(&Secret::new(vec![byte; 32]).unwrap().into())
    }

    fn envelope() -> Envelope {
        Envelope {
            path: "/node/ask",
            to: "10.0.0.1:7000".to_owned(),
            at: 1_764_000_000,
            within_ms: 15_000,
            request_id: "6f1ed002ab5595859014ebf0951522d9".to_owned(),
            nonce: Some("0b7c2d8f5f3b4e0c9a86d1c2e3f40516".to_owned()),
        }
    }

    fn has_sealed(seals: &Seals, envelope: &Envelope, body: &[u8], seal: &str) -> bool {
        seals.tag(envelope, body, seal).is_some()
    }

    #[test]
    fn whatever_is_altered_breaks_the_seal() {
        let (ours, body) = (seals(7), b"a body");
        let seal = ours.seal(&envelope(), body);
        assert!(has_sealed(&ours, &envelope(), body, &seal));
        assert!(!has_sealed(&seals(8), &envelope(), body, &seal), "another secret");
        for altered in [
            Envelope { path: "/node/view", ..envelope() },
            Envelope { to: "10.0.0.2:7000".to_owned(), ..envelope() },
            Envelope { at: 1_764_000_001, ..envelope() },
            Envelope { within_ms: 1_500, ..envelope() },
            Envelope { request_id: "6f1ed002ab5595859014ebf0951522d8".to_owned(), ..envelope() },
            Envelope { nonce: Some("0b7c2d8f5f3b4e0c9a86d1c2e3f40517".to_owned()), ..envelope() },
            Envelope { nonce: None, ..envelope() },
        ] {
            assert!(!has_sealed(&ours, &altered, body, &seal), "{altered:?}");
        }
        for altered in [&b"another body"[..], b"a bod", b""] {
            assert!(!has_sealed(&ours, &envelope(), altered, &seal));
        }
        for wrong in ["", "00", &seal[2..], &format!("{seal}00"), &seal.replace(['0', '1'], "2"), "é"] {
            assert!(!has_sealed(&ours, &envelope(), body, wrong), "{wrong}");
        }
    }

    #[test]
    fn while_the_secret_is_replaced_nodes_understand_each_other_at_every_step() {
        let (old, new) = ("o".repeat(32), "n".repeat(32));
        let of = |text: &str| Seals::new(&SigningSecrets::parse(text).unwrap());
        let steps = [old.clone(), format!("{old},{new}"), format!("{new},{old}"), new];
        let understands = |listener: &str, speaker: &str| {
            let (listener, speaker) = (of(listener), of(speaker));
            let call = speaker.seal(&envelope(), b"one");
            let answer = listener.seal_answer(&call, b"done");
            has_sealed(&listener, &envelope(), b"one", &call)
                && speaker.has_sealed_answer(&call, b"done", &answer)
        };
        for (before, after) in steps.iter().zip(&steps[1..]) {
            assert!(understands(before, after) && understands(after, before), "{before} {after}");
        }
        assert!(!understands(&steps[0], &steps[2]), "the step between must not be left out");
    }

    #[test]
    fn an_answer_is_to_one_call_only_and_is_no_call() {
        let ours = seals(7);
        let (call, other) = (ours.seal(&envelope(), b"one"), ours.seal(&envelope(), b"two"));
        let seal = ours.seal_answer(&call, b"done");
        assert!(ours.has_sealed_answer(&call, b"done", &seal));
        assert!(!ours.has_sealed_answer(&other, b"done", &seal));
        assert!(!ours.has_sealed_answer(&call, b"undone", &seal));
        assert!(!ours.has_sealed_answer(&call, b"one", &call));
        assert!(!seals(8).has_sealed_answer(&call, b"done", &seal));
    }

    #[test]
    fn a_call_is_good_for_as_long_as_clocks_may_be_apart() {
        let at = envelope().at;
        for (off, fresh) in [(-61, false), (-60, true), (0, true), (60, true), (61, false)] {
            assert_eq!(is_fresh(at, at + off), fresh, "{off}");
        }
        assert!(!is_fresh(i64::MIN, i64::MAX));
    }

    #[test]
    fn a_nonce_cannot_be_taken_for_a_part_of_the_body() {
        let (ours, with) = (seals(7), envelope());
        let seal = ours.seal(&with, b"a body");
        let without = Envelope { nonce: None, ..envelope() };
        let body = format!("{}\na body", with.nonce.unwrap());
        assert!(!has_sealed(&ours, &without, body.as_bytes(), &seal));
    }

    #[test]
    fn a_seal_has_one_tag_however_it_is_spelled() {
        let ours = seals(7);
        let seal = ours.seal(&envelope(), b"one");
        let tag = ours.tag(&envelope(), b"one", &seal);
        assert!(tag.is_some());
        assert_eq!(ours.tag(&envelope(), b"one", &seal.to_uppercase()), tag);
        assert_ne!(ours.tag(&envelope(), b"two", &ours.seal(&envelope(), b"two")), tag);
    }

    #[test]
    fn nobody_waits_longer_than_an_ask_may_take() {
        assert_eq!(Envelope { within_ms: 250, ..envelope() }.within(), Duration::from_millis(250));
        assert_eq!(Envelope { within_ms: u64::MAX, ..envelope() }.within(), ASK_DEADLINE);
    }
}
