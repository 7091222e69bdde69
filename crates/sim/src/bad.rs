//! The kinds of messages that must be quarantined.

use serde::{Deserialize, Serialize};

/// One way in which a message is bad. SYSTEMS.md, "Bad messages", has the rule that each breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadKind {
    /// An object that ends in the middle.
    Truncated,
    /// Two objects in one message.
    TwoObjects,
    /// JSON, but not an object.
    NotObject,
    /// A name that is there twice.
    RepeatedName,
    /// A field and its alias.
    AliasTwice,
    /// An empty message.
    Empty,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// A NUL byte within a string.
    NulByte,
    /// No comma between two fields.
    MissingComma,
    /// A required field that is not there.
    MissingField,
    /// A required field that is null.
    NullField,
    /// A string where a number belongs.
    StringForNumber,
    /// A fraction where an integer belongs.
    FractionForInt,
    /// More decimals than the type holds.
    TooManyDecimals,
    /// An integer beyond 32 bits.
    OutOfRange,
    /// A time that no calendar has.
    BadTime,
    /// A time far in the future.
    FutureTime,
    /// A value that breaks a rule of the contract.
    BrokenRule,
}

impl BadKind {
    /// All kinds, in a fixed order.
    pub const ALL: [BadKind; 18] = [
        BadKind::Truncated,
        BadKind::TwoObjects,
        BadKind::NotObject,
        BadKind::RepeatedName,
        BadKind::AliasTwice,
        BadKind::Empty,
        BadKind::InvalidUtf8,
        BadKind::NulByte,
        BadKind::MissingComma,
        BadKind::MissingField,
        BadKind::NullField,
        BadKind::StringForNumber,
        BadKind::FractionForInt,
        BadKind::TooManyDecimals,
        BadKind::OutOfRange,
        BadKind::BadTime,
        BadKind::FutureTime,
        BadKind::BrokenRule,
    ];

    /// Spoils a whole message, which starts at `from` in `bytes`, if its kind spoils any JSON object and needs to know
    /// nothing of its fields. Does nothing for the others, which the stream's own writer has put in already.
    pub(crate) fn spoil(self, bytes: &mut Vec<u8>, from: usize) {
        match self {
            BadKind::Truncated => bytes.truncate(from + (bytes.len() - from) * 2 / 3),
            BadKind::TwoObjects => bytes.extend_from_within(from..),
            BadKind::NotObject => {
                bytes.insert(from, b'[');
                bytes.push(b']');
            }
            BadKind::Empty => bytes.truncate(from),
            BadKind::InvalidUtf8 => insert_in_string(bytes, from, 0xff),
            BadKind::NulByte => insert_in_string(bytes, from, 0),
            BadKind::MissingComma => {
                if let Some(at) = find(&bytes[from..], b",\"") {
                    bytes[from + at] = b' ';
                }
            }
            _ => {}
        }
    }
}

fn insert_in_string(bytes: &mut Vec<u8>, from: usize, byte: u8) {
    if let Some(at) = find(&bytes[from..], b":\"") {
        bytes.insert(from + at + 2, byte);
    }
}

fn find(bytes: &[u8], pattern: &[u8; 2]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == pattern)
}
