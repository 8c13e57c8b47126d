//! Money, in whole paise. Floating point cannot hold 19.99; the text of a number can.

use std::fmt;

/// An amount that somebody can be asked to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paise(u64);

impl Paise {
    /// ₹5,00,000: what Razorpay takes in one payment unless an account has agreed on more.
    const MAX: u64 = 500_000 * 100;

    /// Reads the text of a JSON number: rupees with at most two decimals, more than zero, without an exponent.
    pub(crate) fn of_rupees(number: &str) -> Option<Self> {
        let (rupees, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(rupees) || !is_digits(decimals) || decimals.len() > 2 {
            return None;
        }
        let paise = format!("{rupees}{decimals:0<2}").parse().ok()?;
        (1..=Self::MAX).contains(&paise).then_some(Self(paise))
    }

    /// How many.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// Paise as rupees, a decimal number: what the table holds.
pub(super) fn rupees(paise: u64) -> String {
    format!("{}.{:02}", paise / 100, paise % 100)
}

impl fmt::Display for Paise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rupees(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rupees_become_paise_to_the_last_one() {
        for (number, paise) in [
            ("1", 100),
            ("1.0", 100),
            ("1.5", 150),
            ("19.99", 1_999),
            ("0.29", 29),
            ("0.07", 7),
            ("0.01", 1),
            ("1.10", 110),
            ("4.35", 435),
            ("1234.56", 123_456),
            ("499999.99", 49_999_999),
            ("500000", 50_000_000),
            ("500000.00", 50_000_000),
        ] {
            assert_eq!(Paise::of_rupees(number).map(Paise::get), Some(paise), "{number}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for number in [
            "",
            ".",
            "1.",
            ".5",
            "0",
            "0.0",
            "0.00",
            "-0",
            "-1",
            "-0.01",
            "+1",
            "1e2",
            "1E2",
            "1e-2",
            "1.005",
            "1.000",
            "19.990000000000002",
            "500000.01",
            "500001",
            "123456789.99",
            "99999999999999999999999",
            "NaN",
            "Infinity",
            "\"5\"",
            "null",
            "true",
            "[5]",
            "{}",
            " 1",
            "1 ",
            "1,5",
            "1_000",
            "0x10",
            "١",
            "1.٢",
        ] {
            assert_eq!(Paise::of_rupees(number), None, "{number}");
        }
    }

    #[test]
    fn paise_are_written_as_rupees() {
        for (paise, text) in
            [(1, "0.01"), (29, "0.29"), (100, "1.00"), (1_999, "19.99"), (50_000_000, "500000.00")]
        {
            assert_eq!(rupees(paise), text);
        }
    }
}
