//! Human sizes and durations, as configuration files write them: `"256MiB"`, `"30s"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written with an optional unit: `kB`, `MB`, `GB` (powers of 1,000) or `KiB`, `MiB`, `GiB` (of 1,024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

const SIZES: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a size; expected for example \"256MiB\" or \"1GB\"");
        let text = text.trim();
        let (digits, unit) = SIZES
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|digits| (digits, *unit)))
            .unwrap_or((text, 1));
        let number: u64 = digits.trim().parse().map_err(|_| expected())?;
        number.checked_mul(unit).map(ByteSize).ok_or_else(expected)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZES[..3].iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A length of time, written with its unit: `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a duration; expected for example \"500ms\", \"30s\" or \"5m\"");
        let text = text.trim();
        let (digits, millis) = SPANS
            .iter()
            .find_map(|(suffix, millis)| text.strip_suffix(suffix).map(|digits| (digits, *millis)))
            .ok_or_else(expected)?;
        let number: u64 = digits.trim().parse().map_err(|_| expected())?;
        number.checked_mul(millis).map(|millis| Span(Duration::from_millis(millis))).ok_or_else(expected)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match SPANS
            .iter()
            .rev()
            .find(|(_, unit)| millis >= u128::from(*unit) && millis.is_multiple_of(u128::from(*unit)))
        {
            Some((suffix, unit)) => write!(f, "{}{suffix}", millis / u128::from(*unit)),
            None => write!(f, "{millis}ms"),
        }
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
as_text!(ByteSize);
as_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_back_as_written() {
        for text in ["256MiB", "1GiB", "7B", "3KiB"] {
            assert_eq!(text.parse::<ByteSize>().map(|size| size.to_string()), Ok(text.to_owned()));
        }
        for text in ["500ms", "30s", "5m", "2h", "1d"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("2 GB".parse::<ByteSize>(), Ok(ByteSize(2_000_000_000)));
    }

    #[test]
    fn what_is_not_a_size_or_duration_says_what_was_expected() {
        for text in ["", "MiB", "-1B", "1.5GiB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err_and(|error| error.contains("256MiB")), "{text}");
        }
        for text in ["", "5", "5 weeks", "-1s"] {
            assert!(text.parse::<Span>().is_err_and(|error| error.contains("30s")), "{text}");
        }
    }
}
