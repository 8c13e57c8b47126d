//! Money, in whole paise. Floating point cannot hold 19.99; the text of a number can.

use std::fmt;

/// An amount that somebody can be asked to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paise(u64);

impl Paise {
    /// 1 rupee: Razorpay refuses less.
    const MIN: u64 = 100;
    /// ₹5,00,000: the most that Razorpay takes in one payment unless an account has agreed on more.
    const MAX: u64 = 500_000 * 100;

    /// Reads the text of a JSON number of rupees, however it is spelled (RFC 8259, 6): `100`, `100.000` and `1E+2` are the same
    /// amount. `None` for an amount that is out of bounds or not whole in paise.
    pub(crate) fn of_rupees(number: &str) -> Option<Self> {
        let (decimal, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
        if whole.is_empty() || fraction.is_empty() {
            return None;
        }
        let digits = [whole, fraction].concat();
        let significant = digits.trim_start_matches('0');
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) || significant.is_empty() {
            return None;
        }
        // How many of the significant digits count whole paise; zeros follow where there are fewer.
        let leading_zeros = i64::try_from(digits.len() - significant.len()).ok()?;
        let point = i64::try_from(whole.len()).ok()?.checked_add(exponent.parse().ok()?)?;
        let places = usize::try_from(point.checked_add(2)?.checked_sub(leading_zeros)?).ok()?;
        if places > Self::MAX.ilog10() as usize + 1 {
            return None;
        }
        let (paise, below) = significant.split_at(places.min(significant.len()));
        let is_whole = below.bytes().all(|byte| byte == b'0');
        let paise = format!("{paise:0<places$}").parse().ok().filter(|_| is_whole)?;
        (Self::MIN..=Self::MAX).contains(&paise).then_some(Self(paise))
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rupees_become_paise_to_the_last_one() {
        for (number, paise) in [
            ("1", 100),
            ("1.0", 100),
            ("1.5", 150),
            ("19.99", 1_999),
            ("1.07", 107),
            ("1.10", 110),
            ("4.35", 435),
            ("1234.56", 123_456),
            ("499999.99", 49_999_999),
            ("500000", 50_000_000),
            ("500000.00", 50_000_000),
            ("1.000", 100),
            ("1E+2", 10_000),
            ("1e2", 10_000),
            ("100.000", 10_000),
            ("150e-2", 150),
            ("0.0150E2", 150),
            ("0.00000123e8", 12_300),
            ("50000000000000000000000e-20", 50_000),
            ("5e5", 50_000_000),
            ("1e0000000000000000000000002", 10_000),
        ] {
            assert_eq!(Paise::of_rupees(number).map(Paise::get), Some(paise), "{number}");
        }
    }

    #[test]
    fn an_amount_out_of_bounds_or_below_a_paisa_is_refused() {
        for number in [
            "0",
            "0.0",
            "0e5",
            "-0",
            "-1",
            "-0.01",
            "-1e2",
            "0.01",
            "0.5",
            "0.50",
            "0.99",
            "99e-2",
            "1.005",
            "1e-2",
            "100.001e0",
            "19.990000000000002",
            "0.9999999999999999999",
            "1.0000000000000000001",
            "500000.01",
            "500001",
            "5.0000001e5",
            "123456789.99",
            "99999999999999999999999",
            "1e6",
            "1e400",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "1e9223372036854775807",
            "1e-9223372036854775808",
        ] {
            assert_eq!(Paise::of_rupees(number), None, "{number}");
        }
    }

    #[test]
    fn a_text_that_is_no_number_is_refused() {
        for number in [
            "", ".", "1.", ".5", "+1", "e2", "1e", "1e+", "1e2.0", "1.e2", "NaN", "Infinity", "\"5\"",
            "null", "true", "[5]", "{}", " 1", "1 ", "1,5", "1_000", "0x10", "१", "1.٢", "1e٢",
        ] {
            assert_eq!(Paise::of_rupees(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_the_same_in_every_spelling(
            paise in Paise::MIN..=Paise::MAX,
            shift in -30_i32..30,
            padding in 0_usize..20,
            capital: bool,
        ) {
            // The digits of the amount, its point moved by `shift` places, and an exponent that moves it back.
            let digits = format!("{}{paise:02}{}", "0".repeat(40), "0".repeat(40));
            let point = usize::try_from(i32::try_from(digits.len() - 40 - 2).unwrap() + shift).unwrap();
            let whole = digits[..point].trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let fraction = digits[point..].trim_end_matches('0');
            let zeros = "0".repeat(padding);
            let decimal = match format!("{fraction}{zeros}") {
                none if none.is_empty() => whole.to_owned(),
                fraction => format!("{whole}.{fraction}"),
            };
            let e = if capital { 'E' } else { 'e' };
            let spellings = match shift {
                0 => vec![decimal.clone(), format!("{decimal}{e}0"), format!("{decimal}{e}-0")],
                1.. => vec![format!("{decimal}{e}-{shift}"), format!("{decimal}{e}-0{shift}")],
                ..0 => vec![format!("{decimal}{e}{}", -shift), format!("{decimal}{e}+{}", -shift)],
            };
            for spelling in spellings {
                prop_assert!(serde_json::from_str::<f64>(&spelling).is_ok(), "{}", spelling);
                prop_assert_eq!(Paise::of_rupees(&spelling).map(Paise::get), Some(paise), "{}", spelling);
            }
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
