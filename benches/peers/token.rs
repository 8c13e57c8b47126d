//! Who calls, checked the way the product does (`web/src/auth/token.rs`): the same crate, with ring's HMAC.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use anyhow::ensure;
use engine::{Clock, SystemClock, UserId};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ring::hmac;
use serde::Deserialize;
use signature::{Signer, Verifier};

use crate::contract::Refusal;

/// The variable with the secret; the product's own.
const SECRET: &str = "KOKORO_JWT_SECRET";
/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// Reads tokens.
pub(crate) struct Tokens {
    decoding: DecodingKey,
    validation: Validation,
}

/// The patient who calls.
pub(crate) struct User(pub(crate) UserId);

#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: String,
    exp: i64,
}

impl Tokens {
    /// Checks with the secret of the environment.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let secret = std::env::var(SECRET).unwrap_or_default();
        ensure!(
            secret.len() >= SECRET_BYTES_MIN,
            "{SECRET} must be set, to {SECRET_BYTES_MIN} bytes or more"
        );
        let provider = Box::leak(Box::new(CryptoProvider {
            signer_factory: |_, key| Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
            verifier_factory: |algorithm, key| {
                if *algorithm != Algorithm::HS256 {
                    return Err(ErrorKind::InvalidAlgorithm.into());
                }
                Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?))))
            },
            key_utils: KeyUtils::new_unimplemented(),
        }));
        ensure!(provider.install_default().is_ok(), "the JWT crate has its cryptography already");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        Ok(Self { decoding: DecodingKey::from_secret(secret.as_bytes()), validation })
    }

    fn read(&self, token: &str) -> JwtResult<UserId> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)?.claims;
        if claims.exp <= SystemClock.now().timestamp() {
            return Err(ErrorKind::ExpiredSignature.into());
        }
        let user = UserId::parse(&claims.sub).ok().filter(|_| claims.role == "user");
        user.ok_or_else(|| ErrorKind::InvalidToken.into())
    }
}

impl FromRequest for User {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        let user = token
            .zip(request.app_data::<Data<Tokens>>())
            .and_then(|(token, tokens)| tokens.read(token.trim()).ok());
        ready(user.map(Self).ok_or(Refusal::Unauthenticated))
    }
}

struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
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
