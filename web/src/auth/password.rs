//! Passwords: Argon2id for what is written, bcrypt for what the old platform left, or is to be able to check again; and
//! never on a thread that serves other requests.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::time::Instant;

use crate::config::{PasswordConfig, PasswordScheme};
use crate::metrics::{self, PendingPassword};
use crate::peer::Network;
use crate::places::{Bounds, Places};

/// The part of a password that bcrypt looked at, in bytes.
const BCRYPT_BYTES_MAX: usize = 72;

/// How long a password waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Hashes and verifies passwords, a few at a time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Passwords {
    hasher: Hasher,
    /// Verified against when there is no account, so that a missing one costs as much as a wrong password.
    nobody: Arc<str>,
    /// Places for hashes that are being computed.
    running: Arc<Places<()>>,
}

/// How hashes are made and compared.
#[derive(Clone)]
struct Hasher {
    argon2: Argon2<'static>,
    scheme: PasswordScheme,
}

/// What became of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the right one.
    Right,
    /// It is the right one, and its hash should be replaced by one of today's making.
    RightButOld,
    /// It is not.
    Wrong,
}

/// A password that was looked at.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What became of it.
    pub(crate) verdict: Verdict,
    /// When its turn came: what it took from here on depends on the stored hash.
    pub(crate) begun: Instant,
}

/// No verdict and no hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Too many passwords are being hashed; nothing happened.
    #[error("too many passwords to hash, a retry is safe")]
    Busy,
    /// The settings of Argon2 make no sense, or its thread died.
    #[error("cannot hash: {0}")]
    Failed(String),
}

impl Passwords {
    /// A hasher with these costs. Computes one hash, to have something to compare with.
    pub(crate) fn new(config: PasswordConfig) -> Result<Self, PasswordError> {
        let params = Params::new(config.memory_kib, config.passes, 1, None)
            .map_err(|error| PasswordError::Failed(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hasher = Hasher { argon2, scheme: config.scheme };
        let nobody = hasher.hash("nobody has this password")?;
        Ok(Self {
            hasher,
            nobody: nobody.into(),
            running: Arc::new(Places::new(Bounds {
                name: "passwords",
                at_once: config.workers.max(1),
                // A hash takes a moment, and networks take turns: none has to leave a core idle for others.
                of_network: config.workers.max(1),
                waiting_max: config.pending_max.saturating_sub(config.workers),
                wait: WAIT_MAX,
                evicted_after: None,
            })),
        })
    }

    /// The hash to store for a password.
    pub(crate) async fn hash(&self, password: &str, network: Network) -> Result<String, PasswordError> {
        let (hasher, password) = (self.hasher.clone(), password.to_owned());
        self.aside(network, move || hasher.hash(&password)).await?.0
    }

    /// Whether `password` made the stored hash; `None` stands for an account that does not exist, and costs the same.
    pub(crate) async fn verify(
        &self,
        password: &str,
        stored: Option<&str>,
        network: Network,
    ) -> Result<Verified, PasswordError> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or(&self.nobody).to_owned();
        let hasher = self.hasher.clone();
        let mut password = password.to_owned();
        let verdict = self.aside(network, move || {
            if !exists {
                password.clear();
            }
            hasher.verify(&password, &stored)
        });
        let (verdict, begun) = verdict.await?;
        Ok(Verified { verdict: if exists { verdict } else { Verdict::Wrong }, begun })
    }

    /// Runs `work` on a blocking thread, as one of a few, and says when; refuses when too many wait. The place belongs to the work:
    /// a client that goes away does not make room for another hash while its own is still being computed.
    async fn aside<T: Send + 'static>(
        &self,
        network: Network,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Instant), PasswordError> {
        let (counted, came) = (PendingPassword::begin(), Instant::now());
        let place = self.running.take((), usize::MAX, network).await.map_err(|_| PasswordError::Busy)?;
        let begun = Instant::now();
        metrics::password_waited(begun - came);
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            metrics::password_hashed(begun.elapsed());
            drop((place, counted));
            outcome
        });
        let outcome = done.await.map_err(|error| PasswordError::Failed(error.to_string()))?;
        Ok((outcome, begun))
    }
}

impl Hasher {
    fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let failed = |error: &dyn std::fmt::Display| PasswordError::Failed(error.to_string());
        match self.scheme {
            PasswordScheme::Argon2id => {
                let hash = self.argon2.hash_password(password.as_bytes());
                hash.map(|hash| hash.to_string()).map_err(|error| failed(&error))
            }
            PasswordScheme::Bcrypt { cost } => {
                bcrypt::hash(seen_by_bcrypt(password), cost).map_err(|error| failed(&error))
            }
        }
    }

    /// A stored text that is no hash at all lets nobody in.
    fn verify(&self, password: &str, stored: &str) -> Verdict {
        let (is_right, is_old) = if is_bcrypt(stored) {
            let is_right = bcrypt::verify(seen_by_bcrypt(password), stored).unwrap_or(false);
            (is_right, self.scheme == PasswordScheme::Argon2id)
        } else {
            let is_right = self.argon2.verify_password(password.as_bytes(), stored).is_ok();
            (is_right, self.scheme != PasswordScheme::Argon2id)
        };
        match (is_right, is_old) {
            (true, true) => Verdict::RightButOld,
            (true, false) => Verdict::Right,
            (false, _) => Verdict::Wrong,
        }
    }
}

fn seen_by_bcrypt(password: &str) -> &[u8] {
    &password.as_bytes()[..password.len().min(BCRYPT_BYTES_MAX)]
}

fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Network {
        Network::of(std::net::IpAddr::from([127, 0, 0, 1]))
    }

    fn fast() -> Passwords {
        with(PasswordScheme::Argon2id)
    }

    fn with(scheme: PasswordScheme) -> Passwords {
        let config = PasswordConfig { scheme, memory_kib: 8, passes: 1, workers: 1, pending_max: 2 };
        Passwords::new(config).unwrap()
    }

    async fn verdict(passwords: &Passwords, password: &str, stored: Option<&str>) -> Verdict {
        passwords.verify(password, stored, here()).await.unwrap().verdict
    }

    #[actix_web::test]
    async fn a_new_hash_is_argon2id_and_verifies() {
        let passwords = fast();
        let hash = passwords.hash("correct horse", here()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse", here()).await.unwrap(), "salted");
        assert_eq!(verdict(&passwords, "correct horse", Some(&hash)).await, Verdict::Right);
        assert_eq!(verdict(&passwords, "wrong horse", Some(&hash)).await, Verdict::Wrong);
    }

    #[actix_web::test]
    async fn a_hash_of_the_old_platform_verifies_as_old_under_each_of_its_prefixes() {
        let passwords = fast();
        let parts = bcrypt::hash_with_result("pw", 4).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = parts.format_for_version(version);
            assert_eq!(verdict(&passwords, "pw", Some(&hash)).await, Verdict::RightButOld, "{hash}");
            assert_eq!(verdict(&passwords, "pW", Some(&hash)).await, Verdict::Wrong, "{hash}");
        }
    }

    #[actix_web::test]
    async fn bcrypt_looks_at_72_bytes_only() {
        let (passwords, long) = (fast(), "x".repeat(100));
        let hash = bcrypt::hash(&long[..72], 4).unwrap();
        assert_eq!(verdict(&passwords, &long, Some(&hash)).await, Verdict::RightButOld);
        assert_eq!(verdict(&passwords, &long[..71], Some(&hash)).await, Verdict::Wrong);
    }

    #[actix_web::test]
    async fn while_there_is_a_way_back_hashes_are_such_as_the_old_platform_checks() {
        let (passwords, long) = (with(PasswordScheme::Bcrypt { cost: 4 }), "x".repeat(100));
        let hash = passwords.hash(&long, here()).await.unwrap();
        assert!(bcrypt::verify(&long[..72], &hash).unwrap(), "{hash}");
        assert_eq!(verdict(&passwords, &long, Some(&hash)).await, Verdict::Right);
        let newer = fast().hash("pw", here()).await.unwrap();
        assert_eq!(verdict(&passwords, "pw", Some(&newer)).await, Verdict::RightButOld);
        assert_eq!(verdict(&passwords, "pW", Some(&newer)).await, Verdict::Wrong);
    }

    #[actix_web::test]
    async fn nobody_gets_in_without_an_account_or_with_a_broken_hash() {
        let passwords = fast();
        for stored in
            [None, Some(""), Some("nobody has this password"), Some("$2b$12$"), Some("$argon2id$v=19$")]
        {
            for password in ["nobody has this password", ""] {
                assert_eq!(verdict(&passwords, password, stored).await, Verdict::Wrong, "{stored:?}");
            }
        }
    }

    #[actix_web::test]
    async fn one_password_too_many_is_refused_as_busy() {
        let passwords = fast();
        let hashes = futures::future::join_all((0..3).map(|_| passwords.hash("x", here()))).await;
        let busy = hashes.iter().filter(|hash| matches!(hash, Err(PasswordError::Busy))).count();
        assert_eq!(busy, 1);
    }
}
