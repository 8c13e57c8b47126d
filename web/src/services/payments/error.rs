//! Why a payment is not made, shown or believed, and what is said about it.

use super::razorpay::RazorpayError;
use crate::error::ApiError;

/// Why not. Nobody has been charged by a call that ends so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaymentError {
    /// No number of rupees that can be paid.
    InvalidAmount,
    /// There is no such payment, or it is somebody else's: nobody is told which.
    NotFound,
    /// Nobody has signed this event whom we believe.
    BadSignature,
    /// There are no keys.
    NotConfigured,
    /// Razorpay says no; nothing happened.
    Refused,
    /// Razorpay cannot be reached; nothing happened.
    Unavailable,
    /// Razorpay did not answer in time.
    TooSlow,
    /// Razorpay failed, or its answer makes no sense.
    Broken,
}

impl PaymentError {
    /// Its word for a program and its sentence for a person.
    pub(crate) const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidAmount => ("invalid_amount", "Invalid amount"),
            Self::NotFound => ("payment_not_found", "Payment not found"),
            Self::BadSignature => ("bad_signature", "The signature is missing or wrong"),
            Self::NotConfigured => {
                ("payments_not_configured", "There are no payments here. Trying again does not help")
            }
            Self::Refused => ("payment_refused", "The payment service refused. Nobody was charged"),
            Self::Unavailable => (
                "payment_unavailable",
                "The payment service cannot be reached. Nobody was charged: it is safe to try again",
            ),
            Self::TooSlow => (
                "payment_too_slow",
                "The payment service did not answer in time, so the outcome is unknown. Nobody was charged: it is \
                 safe to try again",
            ),
            Self::Broken => (
                "payment_failed",
                "The payment service failed, so the outcome is unknown. Nobody was charged: it is safe to try again",
            ),
        }
    }
}

impl From<RazorpayError> for PaymentError {
    fn from(error: RazorpayError) -> Self {
        match error {
            RazorpayError::Refused(_) => Self::Refused,
            RazorpayError::Unavailable => Self::Unavailable,
            RazorpayError::TooSlow => Self::TooSlow,
            RazorpayError::Broken => Self::Broken,
        }
    }
}

impl From<PaymentError> for ApiError {
    fn from(error: PaymentError) -> Self {
        Self::Payment(error)
    }
}

impl From<RazorpayError> for ApiError {
    fn from(error: RazorpayError) -> Self {
        PaymentError::from(error).into()
    }
}
