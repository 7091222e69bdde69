//! Rows of a landing file that must be quarantined.

use crate::weekly::file::SetModel;

/// What is wrong with a row. SYSTEMS.md, "Bad messages", has the rule that each breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CsvBad {
    /// A column too many.
    TooWide,
    /// A column too few.
    TooNarrow,
    /// A required field without a value.
    EmptyField,
    /// Text where a number belongs.
    TextForInt,
    /// A fraction where an int belongs.
    FractionForInt,
    /// An int beyond 32 bits.
    OutOfRange,
    /// More decimals than money has; a file without money has a day that no calendar has.
    TooManyDecimals,
    /// A day that no calendar has.
    BadDate,
    /// The header again.
    RepeatedHeader,
    /// A line with nothing on it.
    Blank,
}

impl CsvBad {
    /// All kinds, in a fixed order.
    pub const ALL: [CsvBad; 10] = [
        CsvBad::TooWide,
        CsvBad::TooNarrow,
        CsvBad::EmptyField,
        CsvBad::TextForInt,
        CsvBad::FractionForInt,
        CsvBad::OutOfRange,
        CsvBad::TooManyDecimals,
        CsvBad::BadDate,
        CsvBad::RepeatedHeader,
        CsvBad::Blank,
    ];
}

/// Spoils the row that starts at `from` and ends the text.
pub(crate) fn spoil<M: SetModel>(bad: CsvBad, from: usize, out: &mut Vec<u8>) {
    let row = String::from_utf8_lossy(out[from..].trim_ascii_end()).into_owned();
    out.truncate(from);
    let mut fields: Vec<&str> = row.split(',').collect();
    let last_int = M::INTS[M::INTS.len() - 1];
    match bad {
        CsvBad::TooWide => fields.push("more"),
        CsvBad::TooNarrow => fields.truncate(fields.len() - 1),
        CsvBad::EmptyField => fields[M::INTS[0]] = "",
        CsvBad::TextForInt => fields[last_int] = "two",
        CsvBad::FractionForInt => fields[last_int] = "1.5",
        CsvBad::OutOfRange => fields[last_int] = "3000000000",
        CsvBad::TooManyDecimals => match M::MONEY {
            Some(money) => fields[money] = "10.005",
            None => fields[M::DATE] = "2024-13-01",
        },
        CsvBad::BadDate => fields[M::DATE] = "2024-02-30",
        CsvBad::RepeatedHeader => fields = M::HEADER.trim_ascii_end().split(',').collect(),
        CsvBad::Blank => fields.clear(),
    }
    out.extend_from_slice(fields.join(",").as_bytes());
    out.push(b'\n');
}
