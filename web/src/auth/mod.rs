//! Who calls: tokens, passwords, and the slowing of those who guess them.

mod caller;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod password;
mod throttle;
mod token;

pub(crate) use caller::{AnyCaller, Caller, SESSION_COOKIE};
pub(crate) use caller::{expired_session, session};
pub(crate) use password::{PasswordError, Passwords, Verdict, Verified};
pub(crate) use throttle::{Attempt, Throttle, TooMany};
pub(crate) use token::TOKEN_LIFE;
pub(crate) use token::Tokens;
