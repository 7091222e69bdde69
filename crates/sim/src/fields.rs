//! Fields that several streams have, and what a message's badness makes of them.

use crate::bad::BadKind;
use crate::clock::{HOUR, MINUTE, SECOND, StampWriter, digits};
use crate::json::{JsonObject, write_decimal};

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// `YYYY-MM-DD HH:MM:SS`, in the contract's zone.
    Plain,
    /// `YYYY-MM-DDTHH:MM:SSZ`, with milliseconds if they are not 0.
    Utc,
    /// `YYYY-MM-DDTHH:MM:SS+05:30`, likewise.
    Kolkata,
}

impl JsonObject<'_> {
    /// A string field whose text, which needs no escape, is written by the caller.
    pub fn quoted(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let text = self.name(name);
        text.push(b'"');
        write(text);
        text.push(b'"');
    }

    /// An int that is required and, where the stream has a rule, above 0.
    pub fn quantity(&mut self, name: &str, value: i32, bad: Option<BadKind>) {
        match bad {
            Some(BadKind::StringForNumber) => self.raw(name, "\"2\""),
            Some(BadKind::FractionForInt) => self.raw(name, "1.5"),
            Some(BadKind::OutOfRange) => self.raw(name, "3000000000"),
            Some(BadKind::BrokenRule) => self.raw(name, "0"),
            Some(BadKind::NullField) => self.raw(name, "null"),
            _ => self.int(name, i64::from(value)),
        }
    }

    /// A price of `minor` / 10^`scale`; `all` keeps the zeros at its end.
    pub fn price(&mut self, name: &str, minor: i64, scale: u32, all: bool, bad: Option<BadKind>) {
        match bad {
            Some(BadKind::TooManyDecimals) => self.raw(name, "10.0005"),
            _ => write_decimal(i128::from(minor), scale, all, self.name(name)),
        }
    }

    /// The event time.
    pub fn time(&mut self, name: &str, at_us: i64, form: TimeForm, bad: Option<BadKind>, stamps: &mut StampWriter) {
        match bad {
            Some(BadKind::BadTime) => self.string(name, "2024-02-30 10:00:00"),
            Some(BadKind::FutureTime) => self.string(name, "2999-12-31 23:59:59"),
            _ => self.instant(name, at_us, form, stamps),
        }
    }

    /// An instant, whatever is wrong elsewhere.
    pub fn instant(&mut self, name: &str, at_us: i64, form: TimeForm, stamps: &mut StampWriter) {
        self.quoted(name, |text| match form {
            TimeForm::Plain => stamps.write(at_us, b' ', text),
            TimeForm::Utc => {
                stamps.write(at_us, b'T', text);
                push_millis(at_us, text);
                text.push(b'Z');
            }
            TimeForm::Kolkata => {
                stamps.write(at_us + 5 * HOUR + 30 * MINUTE, b'T', text);
                push_millis(at_us, text);
                text.extend_from_slice(b"+05:30");
            }
        });
    }
}

fn push_millis(at_us: i64, out: &mut Vec<u8>) {
    let millis = (at_us.rem_euclid(SECOND) / 1_000) as u32;
    if millis != 0 {
        out.extend_from_slice(&[b'.', b'0' + (millis / 100) as u8]);
        out.extend_from_slice(&digits(millis % 100));
    }
}
