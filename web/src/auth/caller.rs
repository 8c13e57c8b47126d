//! The caller of a request, as its token says, and the cookie that carries the token.

use std::future::{Ready, ready};

use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use actix_web::{FromRequest, HttpRequest};
use engine::{DoctorId, UserId};

use super::token::TOKEN_LIFE;
use crate::error::ApiError;
use crate::state::AppState;

/// The cookie that carries a token.
pub(crate) const SESSION_COOKIE: &str = "kokoro_session";

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

/// The values of the cookies of our name, in the order in which the browser sent them. The header is read as bytes, because
/// a cookie of another application may be no text (RFC 6265, 5.4).
fn session_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    cookies.filter_map(|cookie| {
        let (name, value) = cookie.split_at(cookie.iter().position(|byte| *byte == b'=')?);
        if name.trim_ascii() != SESSION_COOKIE.as_bytes() {
            return None;
        }
        // A token that is no text is not valid either.
        Some(std::str::from_utf8(&value[1..]).unwrap_or_default().trim())
    })
}

/// The token of a header that carries one. Other schemes are between the browser and a proxy on the way.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let space = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (scheme, token) = header.split_at(space);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

/// The cookie that makes a browser a session's holder.
pub(crate) fn session(token: String, over_tls: bool) -> Cookie<'static> {
    cookie(token, CookieDuration::seconds(TOKEN_LIFE.num_seconds()), over_tls)
}

/// The cookie that makes a browser forget its session.
pub(crate) fn expired_session(over_tls: bool) -> Cookie<'static> {
    cookie(String::new(), CookieDuration::ZERO, over_tls)
}

fn cookie(value: String, life: CookieDuration, over_tls: bool) -> Cookie<'static> {
    Cookie::build(SESSION_COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(over_tls)
        .max_age(life)
        .finish()
}
