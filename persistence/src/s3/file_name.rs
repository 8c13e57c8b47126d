//! What a patient's file may be called.

use std::borrow::Cow;
use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;

/// The longest name, in bytes: what file systems keep.
const BYTES_MAX: usize = 255;

/// A file's name: any script, no path in it, in Unicode form NFC.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

/// Why a text is no file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFileName {
    /// Nothing at all.
    #[error("a file name must not be empty")]
    Empty,
    /// More than 255 bytes.
    #[error("a file name must not be longer than {BYTES_MAX} bytes")]
    TooLong,
    /// A `/` or `\`.
    #[error("a file name must not hold a path separator")]
    Separator,
    /// A control character.
    #[error("a file name must not hold a control character")]
    Control,
    /// A dot to begin with.
    #[error("a file name must not begin with a dot")]
    LeadingDot,
}

impl FileName {
    /// Takes 1 to 255 bytes without path separators, control characters or a leading dot. Composes the text first, so that
    /// a name is the same however a client spells its accents.
    pub fn parse(text: &str) -> Result<Self, InvalidFileName> {
        let text = &*nfc(text);
        if text.is_empty() {
            Err(InvalidFileName::Empty)
        } else if text.len() > BYTES_MAX {
            Err(InvalidFileName::TooLong)
        } else if text.contains(['/', '\\']) {
            Err(InvalidFileName::Separator)
        } else if text.contains(char::is_control) {
            Err(InvalidFileName::Control)
        } else if text.starts_with('.') {
            Err(InvalidFileName::LeadingDot)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The name, composed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text in Unicode form NFC (UAX 15), in which equal texts have equal bytes.
pub fn nfc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileName(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_in_any_script_and_holds_no_path() {
        for good in
            ["a", "report.pdf", "रिपोर्ट.pdf", "రిపోర్ట్ 1.png", "報告書", "a..b", "~", "con", &"x".repeat(255)]
        {
            assert_eq!(FileName::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidFileName::Empty),
            (".", InvalidFileName::LeadingDot),
            ("..", InvalidFileName::LeadingDot),
            (".htaccess", InvalidFileName::LeadingDot),
            ("a/b", InvalidFileName::Separator),
            ("..\\b", InvalidFileName::Separator),
            ("a\nb", InvalidFileName::Control),
            ("a\u{0}", InvalidFileName::Control),
            ("a\u{85}b", InvalidFileName::Control),
            (&"ä".repeat(128), InvalidFileName::TooLong),
        ] {
            assert_eq!(FileName::parse(bad).unwrap_err(), why, "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_the_same_composed_and_decomposed() {
        for (decomposed, composed) in [
            ("Re\u{301}sume\u{301}.pdf", "Résumé.pdf"),
            ("\u{915}\u{93c}.txt", "\u{915}\u{93c}.txt"),
            ("\u{958}.txt", "\u{915}\u{93c}.txt"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("\u{212b}", "Å"),
        ] {
            assert_eq!(FileName::parse(decomposed).unwrap().as_str(), composed);
        }
        let long = "e\u{301}".repeat(127);
        assert!(long.len() > BYTES_MAX && FileName::parse(&long).is_ok(), "its composed form counts");
    }

    #[test]
    fn a_name_is_not_shown() {
        assert_eq!(format!("{:?}", FileName::parse("hiv-test.pdf").unwrap()), "FileName(..)");
    }
}
