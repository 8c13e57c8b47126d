//! Amounts, what Razorpay tells, and uploads, for every input.

pub(crate) use super::payments::fuzz::{amounts, events};
pub(crate) use super::uploads::fuzz::uploads;
