//! Checks of models and gates of feeds: what must hold before rows are published.

use std::fmt;

use crate::TableName;

/// What a failed check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The table is published; the result says that the check failed.
    Warn,
    /// The table is held back.
    Fail,
}

impl Severity {
    /// `warn` or `fail`, as results store it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warn => "warn",
            Severity::Fail => "fail",
        }
    }
}

/// A check on a model's table. Shown as the model's header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `not_null(column)`
    NotNull(String),
    /// `unique(a, b)`
    Unique(Vec<String>),
    /// `accepted_values(column, A, B)`: null passes.
    AcceptedValues {
        /// The column.
        column: String,
        /// The values, compared as text.
        values: Vec<String>,
    },
    /// `range(column, min, max)`: bounds included, either may be left empty; null passes.
    Range {
        /// The column.
        column: String,
        /// The least value, a SQL literal.
        min: Option<String>,
        /// The greatest value, a SQL literal.
        max: Option<String>,
    },
    /// `references(column, silver.products.product_id)`: each value is one of the other column's; null passes.
    References {
        /// The column.
        column: String,
        /// The table that has the values.
        table: TableName,
        /// Its column.
        to: String,
    },
    /// `freshness(column, 1d)`: the greatest value is not longer ago than that. A table without rows passes.
    Freshness {
        /// A date or timestamp column.
        column: String,
        /// The greatest age, seconds.
        max_age_seconds: u64,
    },
    /// `volume(min, max)`: how many rows the table has; bounds included, either may be left empty.
    Volume {
        /// The least count.
        min: Option<u64>,
        /// The greatest count.
        max: Option<u64>,
    },
    /// `row_loss(silver.sales_lines, 0.05)`: the share of the other table's rows that this one has fewer.
    RowLoss {
        /// The table that the rows come from.
        table: TableName,
        /// The greatest share, 0 to 1.
        max: Share,
    },
    /// A `[check.NAME]` entry.
    Sql {
        /// Its name.
        name: String,
        /// A query that must return no rows. It may read the model's own table, which then shows the staged state.
        sql: String,
    },
}

impl Check {
    /// The model's own columns that the check names. What SQL names is found where it is planned.
    pub fn columns(&self) -> Vec<&String> {
        match self {
            Check::NotNull(column)
            | Check::AcceptedValues { column, .. }
            | Check::Range { column, .. }
            | Check::References { column, .. }
            | Check::Freshness { column, .. } => vec![column],
            Check::Unique(columns) => columns.iter().collect(),
            Check::Volume { .. } | Check::RowLoss { .. } | Check::Sql { .. } => Vec::new(),
        }
    }

    /// The other table that the check compares with, and its column if it needs one.
    pub fn other(&self) -> Option<(&TableName, Option<&str>)> {
        match self {
            Check::References { table, to, .. } => Some((table, Some(to))),
            Check::RowLoss { table, .. } => Some((table, None)),
            _ => None,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::NotNull(column) => write!(f, "not_null({column})"),
            Check::Unique(columns) => write!(f, "unique({})", columns.join(", ")),
            Check::AcceptedValues { column, values } => write!(f, "accepted_values({column}, {})", values.join(", ")),
            Check::Range { column, min, max } => write!(f, "range({column}, {}, {})", shown(min), shown(max)),
            Check::References { column, table, to } => write!(f, "references({column}, {table}.{to})"),
            Check::Freshness { column, max_age_seconds } => {
                write!(f, "freshness({column}, {})", shown_seconds(*max_age_seconds))
            }
            Check::Volume { min, max } => write!(f, "volume({}, {})", shown(min), shown(max)),
            Check::RowLoss { table, max } => write!(f, "row_loss({table}, {max})"),
            Check::Sql { name, .. } => f.write_str(name),
        }
    }
}

/// A share of a whole, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// `None` for what is not a number from 0 to 1.
    pub fn new(share: f64) -> Option<Share> {
        (0.0..=1.0).contains(&share).then_some(Share(share))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// No share is NaN.
impl Eq for Share {}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What holds a feed of a `latest` table back (ENGINE.md 21): over a trailing window by arrival, the share of the rows
/// received that are lost (in quarantine and not mended, or good and without a row in the table) must stay below a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The share of lost rows from which on the feed is held.
    pub max_loss: Share,
    /// Windows with fewer rows than this hold nothing; default 1,000.
    pub min_rows: u64,
    /// The window's length; default a day.
    pub window_seconds: u64,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss below {}", self.max_loss)
    }
}

fn shown<T: fmt::Display>(bound: &Option<T>) -> String {
    bound.as_ref().map(T::to_string).unwrap_or_default()
}

/// Seconds in the largest unit that divides them.
fn shown_seconds(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    match units.iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}
