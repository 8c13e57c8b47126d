//! Session tokens: JWTs signed with HMAC-SHA256, valid for twelve hours by our own clock.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use engine::{DoctorId, UserId};
use foldhash::fast::RandomState;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use ring::hmac;
use serde::{Deserialize, Serialize};
use signature::{Signer, Verifier};

use super::caller::Caller;
use crate::config::SigningSecrets;

/// How long a token lives.
pub(crate) const TOKEN_LIFE: TimeDelta = TimeDelta::hours(12);

/// Tokens that are known at once: some two megabytes.
const KNOWN_MAX: usize = 4096;

/// Issues tokens and reads them back.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    /// While the secret is being replaced, that of either.
    decoding: Vec<DecodingKey>,
    validation: Validation,
    /// Tokens that were found to be good lately, whom they name and until when: to read one takes longer than to find it here.
    known: Cache<String, (Caller, i64), UnitWeighter, RandomState>,
}

/// Why a token names no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// Malformed, or not signed by us.
    #[error("not a token of ours")]
    Invalid,
    /// Its time is over.
    #[error("expired")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: Role,
    iat: i64,
    exp: i64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Doctor,
}

impl Tokens {
    /// Signs with the first secret, and takes what any of them has signed.
    pub(crate) fn new(secrets: &SigningSecrets) -> Self {
        install_hmac();
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is checked by our own clock, which tests set.
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(secrets.signing().expose()),
            decoding: secrets.all().map(|secret| DecodingKey::from_secret(secret.expose())).collect(),
            validation,
            known: Cache::with(
                KNOWN_MAX,
                KNOWN_MAX as u64,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    /// A token that says who calls, from `now` on.
    pub(crate) fn issue(&self, caller: &Caller, now: DateTime<Utc>) -> JwtResult<String> {
        let role = match caller {
            Caller::User(_) => Role::User,
            Caller::Doctor(_) => Role::Doctor,
        };
        let claims = Claims {
            sub: caller.address().to_owned(),
            role,
            iat: now.timestamp(),
            exp: (now + TOKEN_LIFE).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// Who calls, according to `token`.
    pub(crate) fn read(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, TokenError> {
        let (caller, expires) = match self.known.get(token) {
            Some(known) => known,
            None => {
                let checked = self.check(token)?;
                self.known.insert(token.to_owned(), checked.clone());
                checked
            }
        };
        if expires <= now.timestamp() { Err(TokenError::Expired) } else { Ok(caller) }
    }

    /// Whom a token of ours names, and until when.
    pub(crate) fn check(&self, token: &str) -> Result<(Caller, i64), TokenError> {
        let claims = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok();
        let Claims { sub, role, exp, .. } =
            self.decoding.iter().find_map(claims).ok_or(TokenError::Invalid)?.claims;
        let caller = match role {
            Role::User => UserId::parse(&sub).map(Caller::User),
            Role::Doctor => DoctorId::parse(&sub).map(Caller::Doctor),
        };
        caller.map(|caller| (caller, exp)).map_err(|_| TokenError::Invalid)
    }
}

/// Gives the JWT crate its cryptography: HMAC-SHA256 by ring, which TLS links anyway, and nothing else.
pub(super) fn install_hmac() {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| CryptoProvider {
        signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?)),
        verifier_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?)),
        key_utils: KeyUtils::new_unimplemented(),
    });
    // An error says that it is installed already, by an earlier application of this process.
    let _ = provider.install_default();
}

struct Hs256(hmac::Key);

impl Hs256 {
    fn new(algorithm: Algorithm, secret: &[u8]) -> JwtResult<Self> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    /// Compares in constant time.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn secret(byte: u8) -> Secret {
        Secret::new(vec![byte; 32]).unwrap()
    }

    fn tokens(byte: u8) -> Tokens {
        Tokens::new(&secret(byte).into())
    }

    fn ada() -> Caller {
        Caller::User(UserId::parse("ada@x.com").unwrap())
    }

    #[test]
    fn a_token_says_who_calls_until_it_expires() {
        let (tokens, now) = (tokens(1), DateTime::UNIX_EPOCH);
        let token = tokens.issue(&ada(), now).unwrap();
        assert_eq!(tokens.read(&token, now), Ok(ada()));
        assert_eq!(tokens.read(&token, now + TOKEN_LIFE - TimeDelta::seconds(1)), Ok(ada()));
        assert_eq!(tokens.read(&token, now + TOKEN_LIFE), Err(TokenError::Expired));
    }

    #[test]
    fn while_the_secret_is_replaced_either_is_good_and_the_first_signs() {
        let now = DateTime::UNIX_EPOCH;
        let both = SigningSecrets::parse(&format!("{},{}", "n".repeat(32), "o".repeat(32))).unwrap();
        let both = Tokens::new(&both);
        for (issued_by, read_by, read) in [
            (&tokens(b'o'), &both, Ok(ada())),
            (&tokens(b'n'), &both, Ok(ada())),
            (&both, &tokens(b'n'), Ok(ada())),
            (&both, &tokens(b'o'), Err(TokenError::Invalid)),
            (&tokens(b'x'), &both, Err(TokenError::Invalid)),
        ] {
            assert_eq!(read_by.read(&issued_by.issue(&ada(), now).unwrap(), now), read);
        }
        let old = tokens(b'o').issue(&ada(), now).unwrap();
        assert_eq!(both.read(&old, now + TOKEN_LIFE), Err(TokenError::Expired));
    }

    #[test]
    fn a_doctor_and_a_user_of_one_address_are_two_callers() {
        let (tokens, now) = (tokens(1), DateTime::UNIX_EPOCH);
        let doctor = Caller::Doctor(DoctorId::parse("ada@x.com").unwrap());
        let token = tokens.issue(&doctor, now).unwrap();
        assert_eq!(tokens.read(&token, now), Ok(doctor));
    }

    #[test]
    fn a_signature_of_the_common_algorithm_is_the_one_of_the_standard() {
        // RFC 4231, test case 2.
        let signed = Hs256::new(Algorithm::HS256, b"Jefe").unwrap().sign(b"what do ya want for nothing?");
        assert_eq!(signed[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn a_forged_token_is_no_token() {
        let (tokens, now) = (tokens(1), DateTime::UNIX_EPOCH);
        let token = tokens.issue(&ada(), now).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        // {"alg":"none"}, {"alg":"HS512","typ":"JWT"}
        let (none, hs512) = ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9");
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{hs512}.{claims}.{signature}"),
            format!("{head}.{claims}."),
            format!("{head}.{claims}"),
            format!("{head}.{claims}.{}", &signature[..20]),
            format!("{head}.{claims}x.{signature}"),
            super::tests::tokens(2).issue(&ada(), now).unwrap(),
            String::new(),
            "...".to_owned(),
        ] {
            assert_eq!(tokens.read(&forged, now), Err(TokenError::Invalid), "{forged}");
        }
    }
}
