//! DynamoDB's numbers: up to 38 significant digits, of magnitudes from 1E-130 to under 1E+126.

use std::cmp::Ordering;
use std::fmt;

use crate::error::Refusal;

/// Significant digits of a number.
const DIGITS_MAX: u32 = 38;
/// The largest power of ten of a first digit, and the smallest.
const MAGNITUDES: std::ops::RangeInclusive<i32> = -130..=125;
/// What makes every power of ten a positive byte.
const MAGNITUDE_OFFSET: i32 = 131;
/// How a key says zero; negative numbers come before, positive ones after.
pub(crate) const ZERO: u8 = 0x80;

/// A number, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    is_negative: bool,
    /// Without zeros at the end.
    digits: u128,
    /// The power of ten of the last digit.
    exponent: i32,
}

impl Number {
    pub(crate) const ZERO: Self = Self { is_negative: false, digits: 0, exponent: 0 };

    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid =
            || Refusal::invalid(format!("The parameter cannot be converted to a numeric value: {text}"));
        let (is_negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, power)) => {
                let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
                if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                    return Err(invalid());
                }
                // A power beyond all bounds is one beyond ours.
                let bound = if power.starts_with('-') { -1_000_000 } else { 1_000_000 };
                (mantissa, power.parse::<i32>().unwrap_or(bound).clamp(-1_000_000, 1_000_000))
            }
            None => (unsigned, 0),
        };
        let (mut digits, mut zeros, mut exponent) = (0_u128, 0_u32, power);
        let (mut is_fraction, mut any, mut count) = (false, false, 0_u32);
        for byte in mantissa.bytes() {
            match byte {
                b'.' if !is_fraction => is_fraction = true,
                b'0'..=b'9' => {
                    any = true;
                    if is_fraction {
                        exponent -= 1;
                    }
                    if byte == b'0' {
                        zeros += u32::from(digits != 0);
                        continue;
                    }
                    count += if digits == 0 { 1 } else { zeros + 1 };
                    if count > DIGITS_MAX {
                        return Err(Refusal::invalid(
                            "Attempting to store more than 38 significant digits in a Number",
                        ));
                    }
                    digits = digits * 10_u128.pow(zeros + 1) + u128::from(byte - b'0');
                    zeros = 0;
                }
                _ => return Err(invalid()),
            }
        }
        if !any {
            return Err(invalid());
        }
        let zeros = i32::try_from(zeros).map_err(|_| invalid())?;
        Self { is_negative, digits, exponent: exponent.saturating_add(zeros) }.checked()
    }

    /// The sum.
    pub(crate) fn plus(self, other: Self) -> Result<Self, Refusal> {
        if self.digits == 0 {
            return Ok(other);
        }
        if other.digits == 0 {
            return Ok(self);
        }
        let exponent = self.exponent.min(other.exponent);
        let aligned = |number: Self| {
            let power = u32::try_from(number.exponent - exponent).ok()?;
            let magnitude = i128::try_from(number.digits.checked_mul(10_u128.checked_pow(power)?)?).ok()?;
            Some(if number.is_negative { -magnitude } else { magnitude })
        };
        let sum = aligned(self).zip(aligned(other)).and_then(|(one, other)| one.checked_add(other));
        let sum = sum.ok_or_else(too_precise)?;
        let mut result = Self { is_negative: sum < 0, digits: sum.unsigned_abs(), exponent };
        while result.digits != 0 && result.digits.is_multiple_of(10) {
            result.digits /= 10;
            result.exponent += 1;
        }
        if result.digits >= 10_u128.pow(DIGITS_MAX) {
            return Err(too_precise());
        }
        result.checked()
    }

    /// The number with the other sign.
    pub(crate) const fn negated(self) -> Self {
        Self { is_negative: !self.is_negative && self.digits != 0, ..self }
    }

    /// Whole seconds, for a time to live; `None` beyond what a time can be.
    pub(crate) fn seconds(self) -> Option<u64> {
        if self.is_negative || self.magnitude() > 18 {
            return None;
        }
        let digits = u64::try_from(self.digits);
        match u32::try_from(self.exponent) {
            Ok(power) => digits.ok()?.checked_mul(10_u64.checked_pow(power)?),
            Err(_) => {
                let power = self.exponent.unsigned_abs();
                10_u128.checked_pow(power).map_or(Some(0), |unit| u64::try_from(self.digits / unit).ok())
            }
        }
    }

    /// Bytes, as DynamoDB counts them, about.
    pub(crate) fn size(self) -> usize {
        if self.digits == 0 {
            return 1;
        }
        usize::try_from(self.digits.ilog10() + 2).unwrap_or_default() / 2 + 1 + usize::from(self.is_negative)
    }

    /// Appends bytes that sort as numbers do, none of which continues another's.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        if self.digits == 0 {
            return out.push(ZERO);
        }
        // 0 for what is positive flips nothing.
        let flip = if self.is_negative { 0xff } else { 0 };
        out.push(if self.is_negative { ZERO - 1 } else { ZERO + 1 });
        let magnitude = u16::try_from(self.magnitude() + MAGNITUDE_OFFSET).unwrap_or_default();
        out.extend(magnitude.to_be_bytes().map(|byte| byte ^ flip));
        // The first digit is the highest of 39, so that numbers of one magnitude compare digit by digit.
        let mut rest = self.digits * 10_u128.pow(DIGITS_MAX - 1 - self.digits.ilog10());
        let mut unit = 10_u128.pow(DIGITS_MAX - 2);
        while rest != 0 {
            let pair = u8::try_from(rest / unit).unwrap_or_default();
            rest %= unit;
            // From 1 to 100, so that the end, 0, comes before every continuation.
            out.push((pair + 1) ^ flip);
            unit = (unit / 100).max(1);
        }
        out.push(flip);
    }

    /// The power of ten of the first digit.
    fn magnitude(self) -> i32 {
        if self.digits == 0 {
            return 0;
        }
        self.exponent.saturating_add(i32::try_from(self.digits.ilog10()).unwrap_or_default())
    }

    fn checked(self) -> Result<Self, Refusal> {
        if self.digits == 0 {
            return Ok(Self::ZERO);
        }
        let magnitude = self.magnitude();
        if magnitude > *MAGNITUDES.end() {
            return Err(Refusal::invalid(
                "Number overflow. Attempting to store a number with magnitude larger than supported range",
            ));
        }
        if magnitude < *MAGNITUDES.start() {
            return Err(Refusal::invalid(
                "Number underflow. Attempting to store a number with magnitude smaller than supported range",
            ));
        }
        Ok(self)
    }
}

fn too_precise() -> Refusal {
    Refusal::invalid("Attempting to store more than 38 significant digits in a Number")
}

/// Whether the text is already as this server writes a number: a plain integer, which most are.
pub(crate) fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    (1..=18).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits[0] != b'0' || text == "0")
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits, number.is_negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let (one, another) = (sign(self), sign(other));
        if one != another || one == 0 {
            return one.cmp(&another);
        }
        let scaled = |number: &Self| number.digits * 10_u128.pow(DIGITS_MAX - 1 - number.digits.ilog10());
        let bigger = self.magnitude().cmp(&other.magnitude()).then_with(|| scaled(self).cmp(&scaled(other)));
        if one < 0 { bigger.reverse() } else { bigger }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    /// In full, without a power of ten.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_negative {
            f.write_str("-")?;
        }
        let digits = self.digits.to_string();
        if let Ok(zeros) = usize::try_from(self.exponent) {
            return write!(f, "{digits}{:0<zeros$}", "");
        }
        let fraction = usize::try_from(self.exponent.unsigned_abs()).unwrap_or_default();
        match digits.len().checked_sub(fraction) {
            Some(whole @ 1..) => write!(f, "{}.{}", &digits[..whole], &digits[whole..]),
            Some(0) | None => write!(f, "0.{digits:0>fraction$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_written_in_one_way() {
        for (text, written) in [
            ("7.0", "7"),
            ("-0", "0"),
            ("+1e3", "1000"),
            ("1.50E-2", "0.015"),
            ("00012", "12"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-123.4500", "-123.45"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("1000000000000000000000000000000000000000000", "1000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(number(text).to_string(), written);
        }
        assert_eq!(number("1e125").to_string().len(), 126);
        assert_eq!(number("1e-130").to_string().len(), 132);
        for text in ["", "-", ".", "1e", "e5", "1.2.3", "0x1", " 1", "1_0", "NaN", "1e+", "--1"] {
            assert!(Number::parse(text).is_err(), "{text:?}");
        }
        for text in ["123456789012345678901234567890123456789", "1e126", "1e-131", "9e99999999999"] {
            assert!(Number::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn keys_and_numbers_sort_alike() {
        let ascending = [
            "-9.99e125",
            "-1e125",
            "-1000",
            "-999.5",
            "-10",
            "-9",
            "-1.01",
            "-1",
            "-0.5",
            "-1e-130",
            "0",
            "1e-130",
            "0.05",
            "0.5",
            "0.51",
            "1",
            "1.0000000001",
            "1.01",
            "9",
            "10",
            "10.1",
            "11",
            "99",
            "100",
            "101",
            "12345678901234567890",
            "12345678901234567890123456789012345678",
            "1e125",
            "9.99e125",
        ];
        let numbers: Vec<Number> = ascending.iter().map(|text| number(text)).collect();
        let keys = numbers.iter().map(|number| {
            let mut key = Vec::new();
            number.encode(&mut key);
            key
        });
        assert!(numbers.is_sorted_by(|one, other| one < other));
        assert!(keys.collect::<Vec<_>>().is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn sums_are_exact_or_refused() {
        for (one, other, sum) in [
            ("1", "2", "3"),
            ("0.1", "0.2", "0.3"),
            ("-5", "5", "0"),
            ("1e37", "1", "10000000000000000000000000000000000001"),
        ] {
            assert_eq!(number(one).plus(number(other)).unwrap(), number(sum));
        }
        assert!(number("1e38").plus(number("1")).is_err());
        assert!(number("9e125").plus(number("9e125")).is_err());
        assert_eq!(number("3").negated().plus(number("1")).unwrap(), number("-2"));
    }

    #[test]
    fn seconds_are_whole() {
        assert_eq!(number("1700000000.9").seconds(), Some(1_700_000_000));
        assert_eq!(number("17e8").seconds(), Some(1_700_000_000));
        assert_eq!(number("-1").seconds(), None);
        assert_eq!(number("1e-130").seconds(), Some(0));
        assert_eq!(number("1e30").seconds(), None);
    }
}
