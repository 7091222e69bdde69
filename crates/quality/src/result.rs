//! What a check found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use schema::{Check, Model, Severity, TableName};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::Result;

/// What a check or a gate found.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// The table.
    pub table: TableName,
    /// The feed that a gate is about; `None` for checks of a table.
    pub feed: Option<String>,
    /// The check as the model's header has it: `unique(a, b)`.
    pub check: String,
    /// What a failure means.
    pub severity: Severity,
    /// Whether the check is met.
    pub success: bool,
    /// Whether somebody let the rows through by name although the gate failed.
    pub allowed: bool,
    /// The table's version that holds the rows; `None` while, or because, they are not published.
    pub version: Option<i64>,
    /// What was measured, for checks that measure the table as a whole.
    pub observed_value: Option<String>,
    /// Rows that were looked at, where that is known.
    pub element_count: Option<u64>,
    /// Rows (or keys, of `unique`) that break it.
    pub unexpected_count: u64,
    /// The first few of them.
    pub sample: Vec<SampleRow>,
}

impl CheckResult {
    /// A check that is met, of which nothing is known yet.
    pub fn met(table: &TableName, severity: Severity, check: &Check) -> Self {
        Self {
            table: table.clone(),
            feed: None,
            check: check.to_string(),
            severity,
            success: true,
            allowed: false,
            version: None,
            observed_value: None,
            element_count: None,
            unexpected_count: 0,
            sample: Vec::new(),
        }
    }

    /// Whether the rows are to be held back.
    pub fn holds(&self) -> bool {
        !self.success && !self.allowed && self.severity == Severity::Fail
    }

    /// The share of unexpected rows in percent; `None` where rows are not known or there are none.
    pub fn unexpected_percent(&self) -> Option<f64> {
        let of = self.element_count.filter(|of| *of > 0)?;
        Some(100.0 * self.unexpected_count as f64 / of as f64)
    }

    /// What is wrong when it fails, as an incident's key: the same for every run that finds it.
    pub fn incident(&self) -> String {
        match &self.feed {
            Some(feed) => gate_incident(&self.table, feed),
            None => check_incident(&self.table, &self.check),
        }
    }
}

fn gate_incident(table: &TableName, feed: &str) -> String {
    format!("gate:{table}:{feed}")
}

fn check_incident(table: &TableName, check: &str) -> String {
    format!("check:{table}:{check}")
}

/// The keys of all incidents that the checks and gates of a model can open: what [`CheckResult::incident`] gives of their
/// results.
pub fn incidents_of(model: &Model) -> impl Iterator<Item = String> {
    let checks = model.all_checks().map(move |(_, check)| check_incident(&model.name, &check.to_string()));
    let gated = model.feeds.iter().filter(|feed| feed.gate.is_some());
    checks.chain(gated.map(move |feed| gate_incident(&model.name, &feed.name)))
}

/// Whether an incident is about a check or a gate of this table, whether or not its model still has it.
pub(crate) fn is_incident_of(key: &str, table: &TableName) -> bool {
    [gate_incident(table, ""), check_incident(table, "")].iter().any(|prefix| key.starts_with(prefix))
}

impl fmt::Display for CheckResult {
    /// One line: `gold.daily: range(units, 0, 50) is broken by 2 rows, for example day=2020-01-01, units=90`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.table)?;
        if let Some(feed) = &self.feed {
            write!(f, "feed {feed}: ")?;
        }
        write!(f, "{}", self.check)?;
        match (self.success, &self.observed_value) {
            (true, _) => write!(f, " is met")?,
            (false, Some(observed)) => write!(f, " is not met: {observed}")?,
            (false, None) => {
                let noun = if self.unexpected_count == 1 { "row" } else { "rows" };
                write!(f, " is broken by {} {noun}", self.unexpected_count)?;
            }
        }
        match self.sample.first() {
            Some(first) => write!(f, ", for example {first}"),
            None => Ok(()),
        }
    }
}

/// A row that breaks a check: columns with their values as text. Shown as `day=2020-01-01, units=90`; as JSON an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRow(pub Vec<(String, Option<String>)>);

impl SampleRow {
    /// The rows that a JSON array of objects stands for; what is none gives none.
    pub(crate) fn of_json(json: &str) -> Vec<SampleRow> {
        let rows: Vec<BTreeMap<String, Option<String>>> = serde_json::from_str(json).unwrap_or_default();
        rows.into_iter().map(|row| SampleRow(row.into_iter().collect())).collect()
    }

    /// The rows of a batch, without Smelt's own columns (`_lineage`).
    pub(crate) fn all(batch: &RecordBatch) -> Result<Vec<SampleRow>> {
        let options = FormatOptions::default().with_null("null");
        let schema = batch.schema();
        let shown = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !field.name().starts_with('_'));
        let mut columns = Vec::new();
        for (field, column) in shown {
            columns.push((field.name(), Arc::clone(column), ArrayFormatter::try_new(column, &options)?));
        }
        let value = |row: usize, (name, column, text): &(&String, Arc<dyn Array>, ArrayFormatter<'_>)| {
            ((*name).clone(), column.is_valid(row).then(|| text.value(row).to_string()))
        };
        let row = |row| SampleRow(columns.iter().map(|column| value(row, column)).collect());
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

impl fmt::Display for SampleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={}", value.as_deref().unwrap_or("null"))?;
        }
        Ok(())
    }
}

impl Serialize for SampleRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
