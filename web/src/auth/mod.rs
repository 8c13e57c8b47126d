//! Who calls: tokens, passwords, and the slowing of those who guess them.

mod caller;
pub(crate) mod cookies;
mod device;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod password;
mod throttle;
mod token;

pub(crate) use caller::{AnyCaller, Caller};
pub(crate) use cookies::SESSION_COOKIE;
pub(crate) use device::{DeviceId, Devices};
pub(crate) use password::{PasswordError, Passwords, Verdict, Verified};
pub(crate) use throttle::{Attempt, Throttle, TooMany};
pub(crate) use token::TOKEN_LIFE;
pub(crate) use token::Tokens;
