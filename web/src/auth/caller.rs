//! The caller of a request, as its token says.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::{FromRequest, HttpRequest};
use engine::{DoctorId, UserId};

use super::cookies::session_tokens;
use crate::error::ApiError;
use crate::state::AppState;

/// Who calls. A doctor and a user of one address are two accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A patient.
    User(UserId),
    /// A doctor.
    Doctor(DoctorId),
}

impl Caller {
    /// The patient who calls; a doctor may not.
    pub(crate) fn user(&self) -> Result<&UserId, ApiError> {
        match self {
            Self::User(user) => Ok(user),
            Self::Doctor(_) => Err(ApiError::Forbidden),
        }
    }

    /// The doctor who calls; a patient may not.
    pub(crate) fn doctor(&self) -> Result<&DoctorId, ApiError> {
        match self {
            Self::Doctor(doctor) => Ok(doctor),
            Self::User(_) => Err(ApiError::Forbidden),
        }
    }

    /// The address in the spelling that keys and tokens carry.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::Doctor(doctor) => doctor.as_str(),
        }
    }

    /// Refuses a call about somebody else. `named` is what the body says whom the call is about: the stored spelling,
    /// or one that the look-up takes for it. Nothing named is nobody else.
    pub(crate) fn acts_for(&self, named: Option<&str>) -> Result<(), ApiError> {
        let own = self.address();
        match named {
            Some(named) if named != own && named.to_lowercase() != own => Err(ApiError::Forbidden),
            Some(_) | None => Ok(()),
        }
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request).and_then(|caller| caller.ok_or(ApiError::Unauthenticated)))
    }
}

/// Who calls, for what anybody may call. A token that comes along must be good all the same.
#[derive(Debug)]
pub(crate) struct AnyCaller(pub(crate) Option<Caller>);

impl FromRequest for AnyCaller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request).map(Self))
    }
}

/// Whom the token names, if there is one. The bearer token wins over the cookies, also when it is a bad one. Of several
/// session cookies the first valid one counts, because another application of the same host can set one of our name.
fn read(request: &HttpRequest) -> Result<Option<Caller>, ApiError> {
    let app = AppState::of(request)?;
    let read = |token: &str| app.tokens.read(token, app.clock.now()).map_err(|_| ApiError::Unauthenticated);
    let caller = match request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(bearer) {
        Some(token) => Some(std::str::from_utf8(token).map_err(|_| ApiError::Unauthenticated).and_then(read)),
        None => session_tokens(request.headers()).map(read).reduce(Result::or),
    };
    let caller = caller.transpose()?;
    if let Some(caller) = &caller {
        app.limits.account(caller)?;
    }
    Ok(caller)
}

/// The token of a header that carries one. Other schemes are between the browser and a proxy on the way.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let space = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (scheme, token) = header.split_at(space);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}
