//! Contracts: where a stream comes from and what its records hold (`models/bronze/<stream>.toml`).

use chrono_tz::Tz;

use crate::{Field, KafkaSpec, Location, SchemaError, TableName};

/// A stream's contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// The stream's name: the file's name without `.toml`, and its table's name in Bronze.
    pub name: String,
    /// The file, relative to the project folder.
    pub path: String,
    /// What one record is.
    pub description: String,
    /// Conformed names of the fields that name what is replaced as a whole (an order, an invoice). Empty: each record
    /// counts. In the text `["*"]` stands for all fields.
    pub entity: Vec<String>,
    /// The field that orders the versions of an entity; ties and contracts without one go by lineage.
    pub version: Option<String>,
    /// The field that says when it happened. A record whose event time is more than a day after its arrival is
    /// quarantined.
    pub event_time: Option<String>,
    /// The zone of times that carry none; default UTC.
    pub time_zone: Tz,
    /// What happens to fields that the contract does not name; default [`Drift::Rescue`].
    pub drift: Drift,
    /// Which rows keep their raw bytes; default [`RawPolicy::Errors`].
    pub raw: RawPolicy,
    /// The Kafka topics, if the stream has any.
    pub kafka: Option<KafkaSpec>,
    /// The landing files, if the stream has them.
    pub files: Option<FilesSpec>,
    /// The longest record in bytes that is decoded (default 16 MiB); a longer one is quarantined with its first 64 KiB,
    /// its length and its hash.
    pub max_record: usize,
    /// When to stop because too much is bad.
    pub stop: Option<StopRule>,
    /// The fields, in column order.
    pub fields: Vec<Field>,
    /// Rules that only warn, in file order: a row that breaks one is stored and counted.
    pub warnings: Vec<Rule>,
}

impl Contract {
    /// The stream's table, `bronze.<name>`.
    pub fn table(&self) -> TableName {
        TableName::bronze(&self.name)
    }

    /// The field of this conformed name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The name of the landing set whose member the stream is.
    pub fn set(&self) -> Option<&str> {
        Some(self.files.as_ref()?.set.as_ref()?.name.as_str())
    }

    /// The rules that quarantine, in field order: those of the fields, each named after its field.
    pub fn rules(&self) -> Vec<Rule> {
        self.fields.iter().filter_map(|field| field.rule.clone()).collect()
    }
}

/// What happens to a field that the contract does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drift {
    /// It is kept in `_rescued`.
    #[default]
    Rescue,
    /// The record is quarantined.
    Fail,
}

/// Which rows keep their raw bytes in `_raw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RawPolicy {
    /// Only the quarantined ones.
    #[default]
    Errors,
    /// All.
    All,
}

/// Landing files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesSpec {
    /// A file, a folder or a glob, relative to the project folder unless it is absolute or an URL.
    pub path: String,
    /// How records are written in the files.
    pub format: Format,
    /// A pattern of the date in a file's name (`sales_%Y%m%d.csv`), `*` for any text. With it a file's arrival is that
    /// date (00:00 in the contract's zone) and orders the versions of an entity.
    pub date: Option<String>,
    /// The landing set whose member the stream is; a member always has a [`FilesSpec::date`].
    pub set: Option<SetName>,
}

/// The landing set that a contract names: the files of a day of all its members are accepted together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetName {
    /// The set's name, which no stream has.
    pub name: String,
    /// Where the contract names it.
    pub at: Location,
}

/// The format of landing files; compression is told from the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CSV with a header.
    Csv {
        /// The delimiter; `None`: told from the header (`,`, `;`, tab or `|`).
        delimiter: Option<u8>,
    },
    /// One JSON object a line.
    Ndjson,
}

/// A named rule: a SQL boolean expression over the contract's fields, broken by a row for which it is false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A rule of a field has the field's name; a warning has the name that the contract gives it.
    pub name: String,
    /// The expression.
    pub sql: String,
    /// Where it stands.
    pub at: Location,
    /// The key it stands under: `fields.quantity.rule`.
    pub key: String,
}

impl Rule {
    /// The error for an expression that is no condition over the contract's fields.
    pub fn wrong(&self, expected: impl Into<String>) -> SchemaError {
        let found = format!("{:?}", self.sql);
        SchemaError::WrongValue { at: self.at.clone(), key: self.key.clone(), found, expected: expected.into() }
    }
}

/// Stop when more than `max_bad_ratio` of the records of the last `window_seconds` are bad, given `min_records`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopRule {
    /// 0 to 1.
    pub max_bad_ratio: f64,
    /// Length of the window, by the clock.
    pub window_seconds: u64,
    /// Fewer records than this in the window stop nothing.
    pub min_records: u64,
}
