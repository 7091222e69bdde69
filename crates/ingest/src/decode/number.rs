//! Numbers from their text, exactly: nothing is rounded, cut or wrapped.

/// Powers of ten that a `u64` holds.
const POW10: [u64; 20] = {
    let mut powers = [1u64; 20];
    let mut i = 1;
    while i < 20 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// A number as it is written: where its parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    /// All digits as a number, if there are at most 18 of them and no exponent.
    small: Option<u64>,
    whole: (usize, usize),
    fraction: (usize, usize),
    /// Saturated: beyond it nothing but zero fits anything.
    exponent: i64,
    /// The offset after the number.
    pub(crate) end: usize,
}

/// Whether a number may start with zeros that say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// As in JSON.
    Refused,
    /// As in CSV (`08`).
    Allowed,
}

/// Reads the number at `start`: `-?digits(.digits)?([eE][+-]?digits)?`. `None`: there is none.
#[inline]
pub(crate) fn scan(bytes: &[u8], start: usize, zeros: Zeros) -> Option<Number> {
    let negative = bytes.get(start) == Some(&b'-');
    let whole = start + usize::from(negative);
    let mut value = 0u64;
    let mut at = digits(bytes, whole, &mut value);
    let whole_len = at - whole;
    if whole_len == 0 || (whole_len > 1 && bytes[whole] == b'0' && zeros == Zeros::Refused) {
        return None;
    }
    let mut number = Number { negative, small: None, whole: (whole, at), fraction: (at, at), exponent: 0, end: at };
    if bytes.get(at) == Some(&b'.') {
        let from = at + 1;
        at = digits(bytes, from, &mut value);
        if at == from {
            return None;
        }
        number.fraction = (from, at);
    }
    number.end = at;
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        return exponent(bytes, at + 1, number);
    }
    // `value` has wrapped when there are more digits than this.
    if whole_len + number.fraction.1 - number.fraction.0 <= 18 {
        number.small = Some(value);
    }
    Some(number)
}

/// Adds the digits at `at` to `value` (wrapping) and returns the offset after them.
#[inline]
fn digits(bytes: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(digit) = bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

#[cold]
fn exponent(bytes: &[u8], mut at: usize, mut number: Number) -> Option<Number> {
    let negative = bytes.get(at) == Some(&b'-');
    if matches!(bytes.get(at), Some(b'+' | b'-')) {
        at += 1;
    }
    let from = at;
    let mut exponent = 0i64;
    while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        // Far above the length of any record, so that a saturated exponent outweighs every run of zeros.
        exponent = (exponent * 10 + i64::from(digit - b'0')).min(1 << 50);
        at += 1;
    }
    number.exponent = if negative { -exponent } else { exponent };
    number.end = at;
    (at > from).then_some(number)
}

impl Number {
    /// The number times ten to the `scale`, if that is an integer of at most `precision` (up to 38) digits.
    #[inline]
    pub(crate) fn scaled(&self, bytes: &[u8], precision: u8, scale: u8) -> Option<i128> {
        let fraction = self.fraction.1 - self.fraction.0;
        let magnitude = match self.small {
            Some(value) if fraction <= scale.into() && scale <= 19 => {
                u128::from(value) * u128::from(POW10[usize::from(scale) - fraction])
            }
            _ => self.scaled_slowly(bytes, scale)?,
        };
        if magnitude >= pow10(precision) {
            return None;
        }
        let magnitude = magnitude as i128;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The number if it is an integer of 64 bits.
    #[inline]
    pub(crate) fn integer(&self, bytes: &[u8]) -> Option<i64> {
        match self.small {
            Some(value) if self.fraction.0 == self.fraction.1 => {
                let value = value as i64;
                Some(if self.negative { -value } else { value })
            }
            _ => self.scaled(bytes, 19, 0)?.try_into().ok(),
        }
    }

    /// Any number of digits and any exponent: the significant digits, shifted.
    #[cold]
    fn scaled_slowly(&self, bytes: &[u8], scale: u8) -> Option<u128> {
        let all = bytes[self.whole.0..self.whole.1].iter().chain(&bytes[self.fraction.0..self.fraction.1]);
        let mut shift = self.exponent - (self.fraction.1 - self.fraction.0) as i64 + i64::from(scale);
        let mut magnitude = 0u128;
        let mut zeros = 0u32;
        for byte in all {
            match byte - b'0' {
                // Zeros count only when a digit follows them; before the first digit they never count.
                0 => zeros += u32::from(magnitude != 0),
                digit => {
                    magnitude = magnitude.checked_mul(checked_pow10(zeros.checked_add(1)?)?)?;
                    magnitude = magnitude.checked_add(digit.into())?;
                    zeros = 0;
                }
            }
        }
        shift += i64::from(zeros);
        match magnitude {
            0 => Some(0),
            _ => magnitude.checked_mul(checked_pow10(u32::try_from(shift).ok()?)?),
        }
    }
}

fn checked_pow10(exponent: u32) -> Option<u128> {
    10u128.checked_pow(exponent)
}

/// Ten to the `exponent`, at most 38.
#[inline]
fn pow10(exponent: u8) -> u128 {
    match POW10.get(usize::from(exponent)) {
        Some(power) => u128::from(*power),
        None => 10u128.pow(u32::from(exponent).min(38)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
        let number = scan(text.as_bytes(), 0, Zeros::Refused)?;
        (number.end == text.len()).then(|| number.scaled(text.as_bytes(), precision, scale))?
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("-0.00", Some(0)),
            ("1.5", Some(150)),
            ("1.50000", Some(150)),
            ("1.005", None),
            ("-12.34", Some(-1234)),
            ("9999999999999999.99", Some(999_999_999_999_999_999)),
            ("10000000000000000", None),
            ("1e2", Some(10_000)),
            ("125e-2", Some(125)),
            ("125e-3", None),
            ("1250000e-5", Some(1250)),
            ("0e999999999999999999999", Some(0)),
            ("1e999999999999999999999", None),
            ("1e-999999999999999999999", None),
            ("0.000000000000000000000000000000000000000000000e3", Some(0)),
            ("100000000000000000000000000000000000000000000e-44", Some(100)),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("1e", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(decimal(text, 18, 2), wanted, "{text}");
        }
    }

    #[test]
    fn numbers_of_hundreds_of_digits_do_not_wrap() {
        for digits in [19, 20, 38, 39, 255, 256, 260, 400] {
            let nines = "9".repeat(digits);
            assert_eq!(decimal(&nines, 18, 2), None, "{digits} nines");
            let zeros = format!("0.{}1", "0".repeat(digits));
            assert_eq!(decimal(&zeros, 18, 2), None, "{digits} zeros, then 1");
            assert_eq!(decimal(&format!("7.{}", "0".repeat(digits)), 18, 2), Some(700));
            assert_eq!(decimal(&format!("7{}e-{digits}", "0".repeat(digits)), 18, 2), Some(700));
        }
        assert_eq!(decimal(&"9".repeat(38), 38, 0), Some(10i128.pow(38) - 1));
        assert_eq!(decimal(&"9".repeat(39), 38, 0), None);
    }

    #[test]
    fn integers_of_64_bits() {
        let integer = |text: &str| scan(text.as_bytes(), 0, Zeros::Refused)?.integer(text.as_bytes());
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("-9223372036854775809"), None);
        assert_eq!((integer("2.0"), integer("1.5"), integer("20e-1")), (Some(2), None, Some(2)));
    }

    #[test]
    fn leading_zeros_only_where_allowed() {
        let number = scan(b"008", 0, Zeros::Allowed).expect("a number");
        assert_eq!(number.integer(b"008"), Some(8));
        assert_eq!(scan(b"008", 0, Zeros::Refused), None);
    }
}
