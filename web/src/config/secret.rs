//! Values that no log shows.

use std::fmt;

use super::environment::{Environment, members};

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

    /// Takes a secret that somebody else has chosen.
    pub fn of_any_length(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the places that sign with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// What is signed with and what signatures are checked against: more than one while a secret is being replaced.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    signing: Secret,
    /// Good as well, for what was signed before or is signed elsewhere.
    others: Vec<Secret>,
}

impl SigningSecrets {
    /// Reads secrets between commas: the first signs. `None` when there is none, or one is too short.
    pub fn parse(text: &str) -> Option<Self> {
        let secrets: Option<Vec<Secret>> =
            members(text).map(|secret| Secret::new(secret.as_bytes().to_vec())).collect();
        let mut secrets = secrets?.into_iter();
        Some(Self { signing: secrets.next()?, others: secrets.collect() })
    }

    /// Reads a variable; `None` when it is not set, or holds none that is good, which is noted.
    pub(super) fn from_env(env: &mut Environment, name: &str) -> Option<Self> {
        let secrets = Self::parse(&env.text(name)?);
        if secrets.is_none() {
            // The value is not repeated.
            env.problem(format!(
                "{name} must be {} bytes or more; while it is being replaced, so must each of the two between which a \
                 comma stands",
                Secret::BYTES_MIN
            ));
        }
        secrets
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
            assert!(SigningSecrets::parse(text).is_none(), "{text}");
        }
        let mut env = Environment::of(&[("KOKORO_JWT_SECRET", &format!("{NEW},hunter2"))]);
        assert!(SigningSecrets::from_env(&mut env, "KOKORO_JWT_SECRET").is_none());
        let error = env.finish(()).unwrap_err().to_string();
        assert!(error.contains("KOKORO_JWT_SECRET") && error.contains("32 bytes"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains(NEW), "{error}");
    }
}
