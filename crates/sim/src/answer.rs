//! The answer of one question, as text.

use crate::json::{write_decimal, write_int, write_ratio};

/// The answer of one named query: its columns in order, and rows of text, an empty field being null. Instants are UTC
/// (`YYYY-MM-DD HH:MM:SS`), decimals have all places of their type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTable {
    /// Name of the query.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// All of it as CSV, header and rows: an answer can have millions of rows, which as fields would need several times
    /// as much memory.
    csv: Vec<u8>,
    rows: usize,
}

impl AnswerTable {
    pub(crate) fn new(name: &str, columns: &[&str]) -> AnswerTable {
        let mut table = AnswerTable {
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            csv: Vec::new(),
            rows: 0,
        };
        let mut header = Row { csv: &mut table.csv, is_first: true };
        columns.iter().for_each(|column| header.text(column));
        table.csv.push(b'\n');
        table
    }

    /// Adds a row of as many fields as there are columns.
    pub(crate) fn row(&mut self, write: impl FnOnce(&mut Row<'_>)) {
        write(&mut Row { csv: &mut self.csv, is_first: true });
        self.csv.push(b'\n');
        self.rows += 1;
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The table as CSV with a header, in UTF-8; fields are quoted where they must be.
    pub fn as_csv(&self) -> &[u8] {
        &self.csv
    }

    /// The table as CSV with a header.
    pub fn to_csv(&self) -> String {
        String::from_utf8_lossy(&self.csv).into_owned()
    }
}

/// A row under way.
pub(crate) struct Row<'a> {
    csv: &'a mut Vec<u8>,
    is_first: bool,
}

impl Row<'_> {
    fn field(&mut self) -> &mut Vec<u8> {
        if !self.is_first {
            self.csv.push(b',');
        }
        self.is_first = false;
        self.csv
    }

    /// A null.
    pub fn null(&mut self) {
        self.field();
    }

    /// Text; empty text is null.
    pub fn text(&mut self, value: &str) {
        push_csv_field(value, self.field());
    }

    /// An integer.
    pub fn int(&mut self, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX);
        write_int(value, self.field());
    }

    /// `minor` / 10^`scale` with all places.
    pub fn decimal(&mut self, minor: i128, scale: u32) {
        write_decimal(minor, scale, true, self.field());
    }

    /// `a / b` to 12 decimals; null over zero.
    pub fn ratio(&mut self, a: i128, b: i128) {
        write_ratio(a, b, self.field());
    }
}

/// Appends a CSV field, in quotes if it holds a comma, a quote or a line break.
pub(crate) fn push_csv_field(field: &str, out: &mut Vec<u8>) {
    if field.contains([',', '"', '\n', '\r']) {
        out.push(b'"');
        out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(field.as_bytes());
    }
}
