//! Tokens, for every text.

use chrono::DateTime;
use engine::UserId;

use super::caller::Caller;
use super::token::Tokens;
use crate::config::Secret;

pub(crate) fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let tokens = Tokens::new(&Secret::of_any_length(b"0123456789abcdef0123456789abcdef".to_vec()).into());
    let now = DateTime::UNIX_EPOCH;
    // Nobody has this secret but this function.
    assert!(tokens.read(text, now).is_err());
    let Ok(user) = UserId::parse(text) else { return };
    let caller = Caller::User(user);
    let issued = tokens.issue(&caller, now);
    assert!(issued.is_ok_and(|token| tokens.read(&token, now) == Ok(caller)));
}
