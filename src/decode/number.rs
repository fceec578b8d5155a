//! Numbers from their text: whole numbers and decimals, exact, never through a float.
//!
//! The text is JSON's grammar for numbers, widened by a leading `+` and leading zeros, which CSV files
//! have. Anything else is refused, and a value past the type's range is refused, never wrapped.

use super::fault::ValueFault;

/// Reads a whole number; a fraction or an exponent is refused even where its value is whole.
pub(super) fn parse_integer(text: &[u8]) -> Result<i128, ValueFault> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits[0].is_ascii_digit() {
        return Err(ValueFault::Unreadable);
    }
    // 18 digits can't overflow a u64, and nearly every number is that short.
    if digits.len() <= 18 {
        let mut value = 0_u64;
        for &digit in digits {
            let digit_value = digit.wrapping_sub(b'0');
            if digit_value > 9 {
                return Err(fault_of_non_digit(text));
            }
            value = value * 10 + u64::from(digit_value);
        }
        let value = i128::from(value);
        return Ok(if negative { -value } else { value });
    }
    parse_long_integer(text, negative, digits)
}

#[cold]
fn parse_long_integer(text: &[u8], negative: bool, digits: &[u8]) -> Result<i128, ValueFault> {
    let mut value = 0_i128;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(fault_of_non_digit(text));
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit - b'0')))
            .ok_or(ValueFault::TooLarge)?;
    }
    Ok(if negative { -value } else { value })
}

#[cold]
fn fault_of_non_digit(text: &[u8]) -> ValueFault {
    match Parts::split(text) {
        Some(_) => ValueFault::NotWhole,
        None => ValueFault::Unreadable,
    }
}

/// Reads a decimal as a count of 10^-`scale` units, at most 10^`precision` - 1 of them.
///
/// `exponent` is added to the text's own: -2 reads whole cents as units. Digits that the scale can't
/// hold are refused unless they are zeros.
pub(super) fn parse_decimal(text: &[u8], limits: DecimalLimits, exponent: i64) -> Result<i128, ValueFault> {
    let parts = Parts::split(text).ok_or(ValueFault::Unreadable)?;
    let scaled = parts.scaled(i64::from(limits.scale) + exponent)?;
    if scaled.unsigned_abs() >= power_of_ten(u32::from(limits.precision)).unsigned_abs() {
        return Err(ValueFault::TooLarge);
    }
    Ok(scaled)
}

/// Reads a count of units as a count of units 10^`places` times smaller, cutting off what is smaller still.
pub(super) fn parse_epoch(text: &[u8], places: i64) -> Result<i64, ValueFault> {
    let mut parts = Parts::split(text).ok_or(ValueFault::TextWithUnit)?;
    let kept = (places + parts.exponent).clamp(0, parts.fraction.len() as i64);
    parts.fraction = &parts.fraction[..usize::try_from(kept).unwrap_or(0)];
    let micros = parts.scaled(places).map_err(|fault| match fault {
        ValueFault::TooLarge => ValueFault::YearOutOfRange,
        _ => ValueFault::TextWithUnit,
    })?;
    i64::try_from(micros).map_err(|_| ValueFault::YearOutOfRange)
}

/// Digits in all and after the point.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecimalLimits {
    pub(super) precision: u8,
    pub(super) scale: i8,
}

/// A number's text taken apart.
struct Parts<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Parts<'t> {
    /// None where the text is not a number.
    fn split(text: &'t [u8]) -> Option<Self> {
        let (negative, rest) = split_sign(text);
        let (whole, rest) = split_digits(rest);
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => split_digits(rest),
            _ => (&rest[..0], rest),
        };
        let point_without_digits = fraction.is_empty() && text.contains(&b'.');
        if whole.is_empty() || point_without_digits {
            return None;
        }
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => parse_exponent(rest)?,
            Some(_) => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    /// The value times 10^`places`, where that is whole.
    fn scaled(&self, places: i64) -> Result<i128, ValueFault> {
        // Zeros are held back until a digit follows, so those at the end never count.
        let mut value = 0_i128;
        let mut zeros = 0_i64;
        let mut digits_seen = 0_i64;
        for &digit in self.whole.iter().chain(self.fraction) {
            digits_seen += 1;
            if digit == b'0' {
                zeros += i64::from(value != 0);
                continue;
            }
            let whole_places = self.whole.len() as i64 + self.exponent + places;
            if digits_seen > whole_places {
                return Err(ValueFault::TooManyFractionDigits);
            }
            value = shift(value, zeros + 1)
                .and_then(|value| value.checked_add(i128::from(digit - b'0')))
                .ok_or(ValueFault::TooLarge)?;
            zeros = 0;
        }
        if value == 0 {
            return Ok(0);
        }
        let point = zeros - self.fraction.len() as i64 + self.exponent.saturating_add(places);
        let value = shift(value, point).ok_or(ValueFault::TooLarge)?;
        Ok(if self.negative { -value } else { value })
    }
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// An exponent, held within ±1,000,000: no type's range comes near it, and sums of it can't overflow.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + i64::from(digit - b'0')).min(1_000_000);
    }
    Some(if negative { -value } else { value })
}

/// `value` times 10^`places`; none past the range of an i128 or for negative places.
fn shift(value: i128, places: i64) -> Option<i128> {
    let places = u32::try_from(places).ok()?;
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(10_i128.checked_pow(places)?)
}

/// 10^`exponent` for the precisions a decimal can have (at most 38).
fn power_of_ten(exponent: u32) -> i128 {
    10_i128.checked_pow(exponent).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, ValueFault> {
        parse_decimal(text.as_bytes(), DecimalLimits { precision, scale }, 0)
    }

    #[test]
    fn decimals_are_exact_whatever_their_notation() {
        for (text, cents) in [
            ("0", 0),
            ("-0.00", 0),
            ("1", 100),
            ("1.1", 110),
            ("0.07", 7),
            ("1.10000000000000000000000000000000000000000000000000", 110),
            ("1e2", 10_000),
            ("1.5E+1", 1500),
            ("150e-1", 1500),
            ("-12345678.91", -1_234_567_891),
            ("000012.3", 1230),
            ("0e999999999999", 0),
            ("+3.25", 325),
        ] {
            assert_eq!(decimal(text, 18, 2), Ok(cents), "{text}");
        }
    }

    #[test]
    fn digits_that_the_scale_cannot_hold_are_refused() {
        for text in ["1.001", "0.00000000000000000000000000000000000000000000000001", "1e-3", "5e-999999999"]
        {
            assert_eq!(decimal(text, 18, 2), Err(ValueFault::TooManyFractionDigits), "{text}");
        }
    }

    #[test]
    fn decimals_past_the_precision_are_refused() {
        assert_eq!(decimal("9999999.99", 9, 2), Ok(999_999_999));
        for text in
            ["10000000", "1e9", "1e400", "99999999999999999999999999999999999999999999999", "1e999999999"]
        {
            assert_eq!(decimal(text, 9, 2), Err(ValueFault::TooLarge), "{text}");
        }
        let nines = "9".repeat(38);
        assert_eq!(decimal(&nines, 38, 0), Ok(nines.parse::<i128>().unwrap()));
        assert_eq!(decimal(&format!("{nines}9"), 38, 0), Err(ValueFault::TooLarge));
    }

    #[test]
    fn text_that_is_no_number_is_refused() {
        for text in
            ["", "-", ".", "1.", ".5", "1e", "1e+", "1.2.3", "1,5", "0x10", "NaN", "1 ", " 1", "1_000", "--1"]
        {
            assert_eq!(decimal(text, 18, 2), Err(ValueFault::Unreadable), "{text}");
        }
    }

    #[test]
    fn minor_units_scale_a_whole_number() {
        let limits = DecimalLimits { precision: 18, scale: 2 };
        assert_eq!(parse_decimal(b"1999", limits, -2), Ok(1999));
        assert_eq!(parse_decimal(b"1999", limits, 0), Ok(199_900));
        assert_eq!(parse_decimal(b"19990", limits, -3), Ok(1999));
        assert_eq!(parse_decimal(b"19991", limits, -3), Err(ValueFault::TooManyFractionDigits));
        assert_eq!(parse_decimal(b"7", limits, -1), Ok(70));
    }

    #[test]
    fn whole_numbers_refuse_fractions_and_exponents() {
        assert_eq!(parse_integer(b"-42"), Ok(-42));
        assert_eq!(parse_integer(b"18446744073709551615"), Ok(i128::from(u64::MAX)));
        for text in ["1.0", "1.5", "1e3"] {
            assert_eq!(parse_integer(text.as_bytes()), Err(ValueFault::NotWhole), "{text}");
        }
        for text in ["", "x", "-", "1x", "1."] {
            assert_eq!(parse_integer(text.as_bytes()), Err(ValueFault::Unreadable), "{text}");
        }
        assert_eq!(parse_integer("9".repeat(60).as_bytes()), Err(ValueFault::TooLarge));
    }

    #[test]
    fn epochs_keep_microseconds_and_cut_off_what_is_smaller() {
        assert_eq!(parse_epoch(b"1763806502", 6), Ok(1_763_806_502_000_000));
        assert_eq!(parse_epoch(b"1763806502.1234567", 6), Ok(1_763_806_502_123_456));
        assert_eq!(parse_epoch(b"1763806502123", 3), Ok(1_763_806_502_123_000));
        assert_eq!(parse_epoch(b"1763806502123.9", 0), Ok(1_763_806_502_123));
        assert_eq!(parse_epoch(b"1.763806502e9", 6), Ok(1_763_806_502_000_000));
        assert_eq!(parse_epoch(b"-1", 6), Ok(-1_000_000));
        assert_eq!(parse_epoch(b"1e400", 6), Err(ValueFault::YearOutOfRange));
        assert_eq!(parse_epoch(b"2026-01-01", 6), Err(ValueFault::TextWithUnit));
    }
}
