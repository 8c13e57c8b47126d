//! Who and what is meant: identifiers, parsed once at the door.

use std::fmt;
use std::sync::Arc;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// The longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// The longest idempotency key, in characters.
pub const IDEMPOTENCY_KEY_MAX: usize = 64;

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not shaped like `name@domain`, or with a `#`, space, control character or invisible character, or too long.
    #[error(
        "must be an e-mail address of at most {EMAIL_BYTES_MAX} bytes without '#', spaces, control characters or invisible \
         characters"
    )]
    NotAnEmail,
    /// Not 1 to [`IDEMPOTENCY_KEY_MAX`] visible ASCII characters.
    #[error("must be 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters")]
    NotAKey,
}

fn check_email(text: &str) -> Result<(), InvalidId> {
    let well_formed = text.len() <= EMAIL_BYTES_MAX
        && text
            .split_once('@')
            .is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'))
        && is_plain(text);
    if well_formed { Ok(()) } else { Err(InvalidId::NotAnEmail) }
}

/// Whether every character is visible and none is `#`. Nearly all addresses are ASCII, whose bytes tell it.
fn is_plain(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().all(|byte| byte != b'#' && byte.is_ascii_graphic())
    } else {
        !text.chars().any(|c| c == '#' || c.is_whitespace() || c.is_control() || is_ignorable(c))
    }
}

/// Whether a character shows nothing by itself: Unicode's `Default_Ignorable_Code_Point`, which includes the zero-width
/// characters and all controls of the writing direction (UAX 44, 5.3). Two texts that differ only in those look the same.
pub fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn check_key(text: &str) -> Result<(), InvalidId> {
    let well_formed =
        (1..=IDEMPOTENCY_KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if well_formed { Ok(()) } else { Err(InvalidId::NotAKey) }
}

/// Defines a shared text that has passed a check. `Debug` hides it: ids are e-mail addresses.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the text; fails when it is not well-formed.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

text_id!(
    /// A doctor's identity: the e-mail address as `Doctors` spells it.
    DoctorId,
    check_email
);
text_id!(
    /// A patient's identity: the e-mail address as `Users` spells it.
    UserId,
    check_email
);
text_id!(
    /// What a client sends to make a repeat of its booking recognisable.
    IdempotencyKey,
    check_key
);

/// Defines a 128-bit random identifier, written as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Takes 128 bits that nobody else has.
            pub const fn new(bits: u128) -> Self {
                Self(bits)
            }

            /// Reads what `Display` wrote; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !hex {
                    return None;
                }
                u128::from_str_radix(text, 16).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    };
}

random_id!(
    /// One event of one doctor, stored with the booking: tells our own success from somebody else's row.
    EventId
);
random_id!(
    /// One life of one process; fresh at every start, so that a fence item names its owner without doubt.
    NodeId
);
random_id!(
    /// DynamoDB's `ClientRequestToken`: one for each request that is not a repeat.
    RequestToken
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_that_could_break_out_of_a_key_is_refused() {
        for text in
            ["", "a", "a@", "@b", "a#b@c", "a b@c", "a@b\n", "a@b@c", "a@b\u{a0}", "a@b\0", "a@b\u{85}"]
        {
            assert_eq!(UserId::parse(text), Err(InvalidId::NotAnEmail), "{text:?}");
        }
        assert!(UserId::parse(&format!("{}@x.com", "a".repeat(248))).is_ok());
        assert!(UserId::parse(&format!("{}@x.com", "a".repeat(249))).is_err());
        assert!(UserId::parse("अनु@उदाहरण.भारत").is_ok());
    }

    #[test]
    fn an_email_with_a_character_that_shows_nothing_is_refused() {
        // Unicode's PropList and DerivedCoreProperties: every Bidi_Control, and one of each block of ignorable characters.
        let bidi = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}');
        let others = "\u{ad}\u{34f}\u{115f}\u{17b4}\u{180e}\u{200b}\u{200c}\u{200d}\u{2060}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{e0041}";
        for hidden in bidi.chain('\u{2066}'..='\u{2069}').chain(others.chars()) {
            for text in
                [format!("a{hidden}da@x.com"), format!("ada@x{hidden}.com"), format!("अ{hidden}@x.com")]
            {
                assert_eq!(UserId::parse(&text), Err(InvalidId::NotAnEmail), "{hidden:?}");
                assert_eq!(DoctorId::parse(&text), Err(InvalidId::NotAnEmail), "{hidden:?}");
            }
        }
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        assert!(IdempotencyKey::parse("7f-~!").is_ok());
        for text in ["", "a b", "é", &"k".repeat(65)] {
            assert_eq!(IdempotencyKey::parse(text), Err(InvalidId::NotAKey));
        }
    }

    #[test]
    fn a_random_id_survives_its_own_text() {
        let id = EventId::new(0xfe);
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        assert_eq!(EventId::parse("+000000000000000000000000000000f"), None);
    }

    #[test]
    fn debug_output_shows_no_address() {
        assert_eq!(format!("{:?}", UserId::parse("ada@x.com").unwrap()), "UserId(..)");
    }
}
