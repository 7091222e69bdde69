//! Fields: what a column of a contract holds.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields, TimeUnit};

use crate::Rule;

/// The zone of every timestamp in the lake: microseconds since the epoch, UTC.
pub(crate) const UTC: &str = "UTC";

/// One field of a contract. In the Bronze table it is always nullable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The conformed name: the column's name.
    pub name: String,
    /// The type.
    pub kind: FieldType,
    /// Further names that the field has on the wire. The conformed name is accepted too; a record that has two of them
    /// is a record with a repeated name.
    pub aliases: Vec<String>,
    /// The unit of the value (`pieces`, `currency`), for the documentation.
    pub unit: Option<String>,
    /// What the field means.
    pub description: Option<String>,
    /// A record without the field, or with null in it, is quarantined.
    pub required: bool,
    /// A SQL boolean expression over the row; a row for which it is false is quarantined (null passes, as in a SQL
    /// `CHECK`).
    pub rule: Option<Rule>,
    /// `strftime` patterns of timestamps and dates that are accepted besides the standard forms.
    pub formats: Vec<String>,
    /// Of a string: whether an integer on the wire is taken as its digits.
    pub accepts_integer: bool,
}

impl Field {
    /// All names of the field on the wire: the conformed one, then the aliases.
    pub fn wire_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    /// The column: nullable, with `comment` (description and unit, which Delta keeps as the column's comment) and
    /// `unit` as metadata.
    pub fn to_arrow(&self) -> FieldRef {
        let mut metadata = std::collections::HashMap::new();
        metadata.extend(comment(self.description.as_deref(), self.unit.as_deref()).map(|c| ("comment".to_owned(), c)));
        metadata.extend(self.unit.clone().map(|u| ("unit".to_owned(), u)));
        Arc::new(ArrowField::new(&self.name, self.kind.to_arrow(), true).with_metadata(metadata))
    }
}

/// A column's comment: what it means, and its unit.
pub(crate) fn comment(description: Option<&str>, unit: Option<&str>) -> Option<String> {
    match (description, unit) {
        (Some(text), Some(unit)) => Some(format!("{text} ({unit})")),
        (Some(text), None) => Some(text.to_owned()),
        (None, Some(unit)) => Some(format!("({unit})")),
        (None, None) => None,
    }
}

/// The type of a field, as contracts and query parameters spell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// `string`: UTF-8 text.
    String,
    /// `int`: 32 bits, signed.
    Int,
    /// `bigint`: 64 bits, signed.
    BigInt,
    /// `decimal(p,s)`: exact.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: i8,
    },
    /// `timestamp`: an instant, microseconds, UTC.
    Timestamp,
    /// `date`: a calendar day.
    Date,
    /// `bool`
    Bool,
    /// `list`: a list of records with these fields (`items = {...}` in a contract).
    List(Vec<Field>),
}

impl FieldType {
    /// The Arrow type: `Utf8`, `Int32`, `Int64`, `Decimal128`, `Timestamp(µs, "UTC")`, `Date32`, `Boolean`, or
    /// `List<element: Struct<..>>` with nullable elements and fields.
    pub fn to_arrow(&self) -> DataType {
        match self {
            FieldType::String => DataType::Utf8,
            FieldType::Int => DataType::Int32,
            FieldType::BigInt => DataType::Int64,
            FieldType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            FieldType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            FieldType::Date => DataType::Date32,
            FieldType::Bool => DataType::Boolean,
            FieldType::List(fields) => {
                let fields: Fields = fields.iter().map(Field::to_arrow).collect();
                DataType::List(Arc::new(ArrowField::new("element", DataType::Struct(fields), true)))
            }
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::String => f.write_str("string"),
            FieldType::Int => f.write_str("int"),
            FieldType::BigInt => f.write_str("bigint"),
            FieldType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            FieldType::Timestamp => f.write_str("timestamp"),
            FieldType::Date => f.write_str("date"),
            FieldType::Bool => f.write_str("bool"),
            FieldType::List(_) => f.write_str("list"),
        }
    }
}

/// What a scalar type looks like, for error messages.
pub(crate) const EXPECTED_TYPE: &str =
    "a type: string, int, bigint, decimal(precision,scale), timestamp, date, bool or list";

impl FromStr for FieldType {
    type Err = String;

    /// Reads a type as [`fmt::Display`] writes it; `list` gives a list without fields.
    ///
    /// # Errors
    /// What was expected, as a phrase for a message.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "string" => Ok(FieldType::String),
            "int" => Ok(FieldType::Int),
            "bigint" => Ok(FieldType::BigInt),
            "timestamp" => Ok(FieldType::Timestamp),
            "date" => Ok(FieldType::Date),
            "bool" => Ok(FieldType::Bool),
            "list" => Ok(FieldType::List(Vec::new())),
            _ => decimal(text).ok_or_else(|| EXPECTED_TYPE.to_owned())?,
        }
    }
}

/// Reads `decimal(p,s)`; `None` when it is not that, an error when the digits are out of range.
fn decimal(text: &str) -> Option<Result<FieldType, String>> {
    let inner = text.strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',')?;
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: i8 = scale.trim().parse().ok()?;
    if (1..=38).contains(&precision) && scale >= 0 && scale as u8 <= precision {
        Some(Ok(FieldType::Decimal { precision, scale }))
    } else {
        Some(Err("decimal(precision,scale) with precision 1 to 38 and scale 0 to precision".to_owned()))
    }
}
