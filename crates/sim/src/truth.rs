//! The right answers, as the tables that named queries must give.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::clock::{StampWriter, day_of};
use crate::config::Stream;
use crate::error::SimError;
use crate::event::Counts;

/// The answer of one named query: its columns in order, and rows of text, an empty one being null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTable {
    /// Name of the query.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Its rows, each as wide as the columns; instants are UTC, decimals have all places of their type.
    pub rows: Vec<Vec<String>>,
}

impl AnswerTable {
    pub(crate) fn new(name: &str, columns: &[&str]) -> AnswerTable {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        AnswerTable { name: name.to_owned(), columns, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// The table as CSV with a header; fields are quoted where they must be.
    pub fn to_csv(&self) -> String {
        let mut text = String::new();
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            for (index, field) in row.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_csv_field(field, &mut text);
            }
            text.push('\n');
        }
        text
    }
}

/// Appends a CSV field, in quotes if it holds a comma, a quote or a line break.
pub(crate) fn push_csv_field(field: &str, out: &mut String) {
    if field.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&field.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(field);
    }
}

/// What a lake must hold and answer once all events of a simulation are in it.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// The answer tables by name: `pos_totals`, `invoice_daily` and so on, for the streams that have rows.
    pub answers: BTreeMap<String, AnswerTable>,
    /// How many messages, facts and bad messages each stream has; the exports of the till count for `pos_sales`.
    pub counts: BTreeMap<Stream, Counts>,
    /// Rows of `pos_stock`, each of them good and another product; 0 without the till.
    pub stock_rows: u64,
}

impl Truth {
    pub(crate) fn add(&mut self, tables: Vec<AnswerTable>) {
        self.answers.extend(tables.into_iter().map(|table| (table.name.clone(), table)));
    }

    pub(crate) fn add_counts(&mut self, stream: Stream, counts: Counts) {
        let sum = self.counts.entry(stream).or_default();
        *sum = sum.plus(counts);
    }

    /// The counts as a table: stream, events (all messages), facts (distinct ones), quarantined (messages).
    pub fn counts_table(&self) -> AnswerTable {
        let mut table = AnswerTable::new("counts", &["stream", "events", "facts", "quarantined"]);
        let mut push = |name: &str, events: u64, facts: u64, quarantined: u64| {
            table.push(vec![name.to_owned(), events.to_string(), facts.to_string(), quarantined.to_string()]);
        };
        for (stream, counts) in &self.counts {
            push(stream.name(), counts.events, counts.facts, counts.quarantined);
        }
        if self.stock_rows > 0 {
            push("pos_stock", self.stock_rows, self.stock_rows, 0);
        }
        table
    }

    /// Writes `<name>.csv` for each answer and `counts.csv` into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`SimError::Io`] with the path that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), SimError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SimError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for table in self.answers.values().chain([&self.counts_table()]) {
            let path = folder.join(format!("{}.csv", table.name));
            fs::write(&path, table.to_csv()).map_err(failed(&path))?;
        }
        Ok(())
    }
}

/// An instant as answers have it: `YYYY-MM-DD HH:MM:SS` in UTC.
pub(crate) fn stamp(at_us: i64) -> String {
    let mut out = Vec::with_capacity(19);
    StampWriter::new().write(at_us, b' ', &mut out);
    String::from_utf8(out).expect("a time is ASCII")
}

/// The day of an instant as answers have it: `YYYY-MM-DD` in UTC.
pub(crate) fn day(at_us: i64) -> String {
    day_of(at_us).to_string()
}
