//! A value that no log shows.

use std::fmt;

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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
