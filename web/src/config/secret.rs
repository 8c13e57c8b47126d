//! Values that no log shows.

use std::fmt;

use super::parsers::Expected;

/// Bytes that must not be seen: `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// How short a signing secret may be.
    pub const BYTES_MIN: usize = 32;

    /// Takes a secret; `None` when it is shorter than [`Self::BYTES_MIN`].
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::BYTES_MIN).then_some(Self(bytes))
    }

    /// Takes a secret of another service, which chose its length.
    pub fn of_any_length(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the places that sign with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

const _: () = assert!(Secret::BYTES_MIN == 32);
const TOO_SHORT: Expected =
    Expected("32 bytes or more; while it is being replaced, that of each of the two secrets around a comma");

/// What is signed with and what signatures are checked against: more than one while a secret is being replaced.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    signing: Secret,
    /// Good as well, for what was signed before or is signed elsewhere.
    others: Vec<Secret>,
}

impl SigningSecrets {
    /// Reads secrets between commas: the first signs. Each must have [`Secret::BYTES_MIN`] bytes.
    ///
    /// # Errors
    /// If there is none, or one is too short.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        let secrets: Option<Vec<Secret>> = members.map(|secret| Secret::new(secret.into())).collect();
        let mut secrets = secrets.ok_or(TOO_SHORT)?.into_iter();
        Ok(Self { signing: secrets.next().ok_or(TOO_SHORT)?, others: secrets.collect() })
    }

    /// The one that signs.
    pub const fn signing(&self) -> &Secret {
        &self.signing
    }

    /// Each that a signature may be of, the one that signs first.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.signing).chain(&self.others)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::of_any_length(text.into_bytes())
    }
}

impl From<Secret> for SigningSecrets {
    fn from(signing: Secret) -> Self {
        Self { signing, others: Vec::new() }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const NEW: &str = "new-new-new-new-new-new-new-new-";
    const OLD: &str = "old-old-old-old-old-old-old-old-";

    #[test]
    fn the_first_signs_and_each_is_good() {
        let all = |text: &str| {
            let secrets = SigningSecrets::parse(text).unwrap();
            assert_eq!(secrets.all().next(), Some(secrets.signing()));
            secrets
                .all()
                .map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&format!("{NEW},{OLD}")), [NEW, OLD]);
        assert_eq!(all(&format!(" {NEW} , {OLD} \n")), [NEW, OLD]);
        assert_eq!(all(&format!("{NEW},")), [NEW]);
        assert_eq!(all(NEW), [NEW]);
    }

    #[test]
    fn one_that_is_too_short_is_refused_however_long_the_other_is_and_never_shown() {
        for text in ["", ",", "hunter2", &format!("{NEW},hunter2"), &format!("hunter2,{NEW}")] {
            assert_eq!(SigningSecrets::parse(text).err(), Some(TOO_SHORT), "{text}");
        }
        let env = Environment::of(&[("KOKORO_JWT_SECRET", &format!("{NEW},hunter2"))]);
        let error = Config::from_env(&env).unwrap_err().to_string();
        assert!(error.contains("KOKORO_JWT_SECRET") && error.contains("32 bytes"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains(NEW), "{error}");
    }
}
