//! Single values as JSON.

use std::fmt::Display;
use std::io::Write;

use chrono::{Datelike, NaiveDate};

use super::schema::Unit;

const DAY_S: i64 = 86_400;

impl Unit {
    /// How many of it are a second.
    fn per_second(self) -> i64 {
        match self {
            Unit::Millis => 1_000,
            Unit::Micros => 1_000_000,
            Unit::Nanos => 1_000_000_000,
        }
    }

    /// The digits of its fraction of a second.
    fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }
}

/// Appends what is written; a vector takes all of it.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        write!($out, $($text)*).expect("a vector has no end")
    };
}

pub(super) fn integer(value: i64, out: &mut Vec<u8>) {
    put!(out, "{value}");
}

/// The shortest digits that give the same float again; what is no number as its name, which JSON has no number for.
pub(super) fn float(value: impl Display + Into<f64> + Copy, out: &mut Vec<u8>) {
    let number: f64 = value.into();
    if number.is_finite() { put!(out, "{value}") } else { put!(out, "\"{value}\"") }
}

/// `{"bytes":"…"}`, a character a byte.
pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"bytes\":\"");
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            0x20..0x7f => out.push(*byte),
            _ => put!(out, "\\u{byte:04x}"),
        }
    }
    out.extend_from_slice(b"\"}");
}

/// A number of so many digits after the point, from its unscaled form: big-endian, two's complement, not empty. One of more
/// than 128 bits fits no column, and stays bytes.
pub(super) fn decimal(unscaled: &[u8], scale: usize, out: &mut Vec<u8>) {
    let sign = if unscaled[0] >= 0x80 { 0xff } else { 0 };
    // What repeats the sign says nothing.
    let start = unscaled.len().saturating_sub(16);
    let (head, tail) = unscaled.split_at(start);
    let says_nothing =
        head.iter().all(|byte| *byte == sign) && (head.is_empty() || (tail[0] >= 0x80) == (sign == 0xff));
    if !says_nothing {
        return bytes(unscaled, out);
    }
    let mut word = [sign; 16];
    word[16 - tail.len()..].copy_from_slice(tail);
    let value = i128::from_be_bytes(word);
    if value < 0 {
        out.push(b'-');
    }
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

pub(super) fn uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    out.push(b'"');
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        put!(out, "{byte:02x}");
    }
    out.push(b'"');
}

/// `"YYYY-MM-DD"`; a day outside of the years 0001 to 9999 as its number, which fits no date.
pub(super) fn date(days: i32, out: &mut Vec<u8>) {
    match day(days.into()) {
        Some(day) => put!(out, "\"{:04}-{:02}-{:02}\"", day.year(), day.month(), day.day()),
        None => put!(out, "{days}"),
    }
}

/// `"HH:MM:SS.fff"`; what is no time of a day as its number.
pub(super) fn time(count: i64, unit: Unit, out: &mut Vec<u8>) {
    if !(0..DAY_S * unit.per_second()).contains(&count) {
        return integer(count, out);
    }
    out.push(b'"');
    clock(count, unit, out);
    out.push(b'"');
}

/// `"YYYY-MM-DDTHH:MM:SS.fffZ"`, without the `Z` where it is of no zone; one outside of the years 0001 to 9999 as its
/// number, which fits no timestamp.
pub(super) fn timestamp(count: i64, unit: Unit, local: bool, out: &mut Vec<u8>) {
    let of_day = DAY_S * unit.per_second();
    let Some(day) = day(count.div_euclid(of_day)) else { return integer(count, out) };
    put!(out, "\"{:04}-{:02}-{:02}T", day.year(), day.month(), day.day());
    clock(count.rem_euclid(of_day), unit, out);
    out.extend_from_slice(if local { b"\"" } else { b"Z\"" });
}

/// A time of day.
fn clock(count: i64, unit: Unit, out: &mut Vec<u8>) {
    let (seconds, fraction) = (count / unit.per_second(), count % unit.per_second());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    put!(out, "{hours:02}:{minutes:02}:{:02}.{fraction:0width$}", seconds % 60, width = unit.digits());
}

/// The day so many days after 1970-01-01, within the years 0001 to 9999.
fn day(days: i64) -> Option<NaiveDate> {
    let day = NaiveDate::from_epoch_days(i32::try_from(days).ok()?)?;
    (1..=9999).contains(&day.year()).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
    }

    #[test]
    fn decimals_by_their_digits() {
        for (unscaled, scale, expected) in [
            (&[0x00][..], 0, "0"),
            (&[0x00], 2, "0.00"),
            (&[0x7f], 2, "1.27"),
            (&[0x80], 2, "-1.28"),
            (&[0xff], 3, "-0.001"),
            (&[0xff, 0xff, 0xff], 0, "-1"),
            (&[0x00, 0x80], 1, "12.8"),
            (&[0x04, 0xd2], 6, "0.001234"),
            (
                &[0x4b, 0x3b, 0x4c, 0xa8, 0x5a, 0x86, 0xc4, 0x7a, 0x09, 0x8a, 0x22, 0x3f, 0xff, 0xff, 0xff, 0xff],
                38,
                "0.99999999999999999999999999999999999999",
            ),
        ] {
            check(|out| decimal(unscaled, scale, out), expected);
        }
        let long = |sign: u8, top: u8| [&[sign; 4][..], &[top], &[0; 15]].concat();
        check(|out| decimal(&long(0, 1), 0, out), &(1u128 << 120).to_string());
        check(|out| decimal(&long(0xff, 0x80), 0, out), &i128::MIN.to_string());
        // The sign is not what stands before it: 129 bits.
        check(
            |out| decimal(&long(0, 0x80), 0, out),
            &format!("{{\"bytes\":\"{}\\u0080{}\"}}", "\\u0000".repeat(4), "\\u0000".repeat(15)),
        );
    }

    #[test]
    fn floats_by_the_digits_that_a_person_wrote() {
        check(|out| float(0.1f32, out), "0.1");
        check(|out| float(19.99f64, out), "19.99");
        check(|out| float(-0.0f64, out), "-0");
        check(|out| float(1e21f64, out), "1000000000000000000000");
        check(|out| float(f64::NAN, out), "\"NaN\"");
        check(|out| float(f32::NEG_INFINITY, out), "\"-inf\"");
    }

    #[test]
    fn times_and_what_is_none() {
        check(|out| timestamp(1_700_820_000_123, Unit::Millis, false, out), "\"2023-11-24T10:00:00.123Z\"");
        check(|out| timestamp(-1, Unit::Micros, true, out), "\"1969-12-31T23:59:59.999999\"");
        check(|out| timestamp(1, Unit::Nanos, false, out), "\"1970-01-01T00:00:00.000000001Z\"");
        check(|out| timestamp(i64::MAX, Unit::Millis, false, out), "9223372036854775807");
        check(|out| date(19_685, out), "\"2023-11-24\"");
        check(|out| date(i32::MIN, out), "-2147483648");
        check(|out| time(36_000_007, Unit::Millis, out), "\"10:00:00.007\"");
        check(|out| time(86_400_000_000, Unit::Micros, out), "86400000000");
    }

    #[test]
    fn bytes_and_uuids() {
        check(|out| bytes(b"a\"\x00\xff", out), r#"{"bytes":"a\"\u0000\u00ff"}"#);
        check(
            |out| uuid(*b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x11\x22\x33\x44\x55\x66\x77\x88", out),
            "\"12345678-9abc-def0-1122-334455667788\"",
        );
    }
}
