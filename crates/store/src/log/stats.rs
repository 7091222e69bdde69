//! Statistics of files as Delta's JSON: `{"numRecords":…,"minValues":{…},"maxValues":{…},"nullCount":{…}}`.
//!
//! Numbers are kept as the text that they are in JSON, because a decimal through a double would be another decimal, and a
//! bound that is wrong by a cent drops rows.

use std::collections::HashMap;
use std::fmt::Write;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate};
use datafusion::common::ScalarValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::file::{ColumnStats, FileStats};
use crate::meta::TableMeta;

/// Top-level columns of a file that get bounds: the leading ones, as other Delta writers have it.
pub(crate) const STATS_COLUMNS: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    num_records: Option<u64>,
    #[serde(borrow, default)]
    min_values: HashMap<&'a str, &'a RawValue>,
    #[serde(borrow, default)]
    max_values: HashMap<&'a str, &'a RawValue>,
    #[serde(borrow, default)]
    null_count: HashMap<&'a str, &'a RawValue>,
}

/// Reads Delta's statistics. What is missing or cannot be read is unknown, which prunes nothing.
pub(crate) fn parse(json: Option<&str>, meta: &TableMeta) -> FileStats {
    let Some(json) = json.and_then(|text| serde_json::from_str::<Json<'_>>(text).ok()) else {
        return FileStats::default();
    };
    let columns = meta.file_schema.fields().iter().filter_map(|field| {
        let name = field.name().as_str();
        let bound = |values: &HashMap<&str, &RawValue>, max| {
            values.get(name).and_then(|raw| scalar(raw.get(), field.data_type(), max))
        };
        let stats = ColumnStats {
            min: bound(&json.min_values, false),
            max: bound(&json.max_values, true),
            nulls: json.null_count.get(name).and_then(|raw| raw.get().parse().ok()),
        };
        (stats != ColumnStats::default()).then(|| (name.to_string(), stats))
    });
    FileStats { rows: json.num_records, columns: columns.collect() }
}

fn scalar(json: &str, kind: &DataType, max: bool) -> Option<ScalarValue> {
    Some(match kind {
        DataType::Int8 => ScalarValue::Int8(Some(json.parse().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(json.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(json.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(json.parse().ok()?)),
        DataType::Utf8 => ScalarValue::Utf8View(Some(serde_json::from_str(json).ok()?)),
        DataType::Date32 => ScalarValue::Date32(Some(days(serde_json::from_str(json).ok()?)?)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text: &str = serde_json::from_str(json).ok()?;
            let micros = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
            // Writers may cut bounds to milliseconds, the upper one too.
            let micros = if max { micros.checked_add(999)? } else { micros };
            ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())
        }
        DataType::Decimal128(precision, scale) => {
            let text = json.trim_matches('"');
            ScalarValue::Decimal128(Some(decimal(text, scale.cast_unsigned())?), *precision, *scale)
        }
        // Doubles: a NaN is in no bound and yet compares as greater than all; others have no order worth a bound.
        _ => return None,
    })
}

fn days(text: &str) -> Option<i32> {
    let date: NaiveDate = text.parse().ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days()).ok()
}

/// A plain decimal at exactly this scale; nothing is rounded.
fn decimal(text: &str, scale: u8) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > scale.into() {
        return None;
    }
    let mut value: i128 = whole.parse().ok()?;
    for digit in fraction.bytes().chain(std::iter::repeat_n(b'0', usize::from(scale) - fraction.len())) {
        value = value.checked_mul(10)?.checked_add((digit - b'0').into())?;
    }
    Some(if negative { -value } else { value })
}

/// A bound as a file's footer has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    /// Integers, dates (days), timestamps (microseconds) and unscaled decimals.
    Number(i128),
    /// Text.
    Text(String),
}

/// What the footer of a file says of one column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footer {
    pub min: Option<Bound>,
    pub max: Option<Bound>,
    pub nulls: Option<u64>,
}

/// Writes Delta's statistics for columns in the order of the file.
pub(crate) fn to_json<'a>(
    rows: u64,
    columns: impl Iterator<Item = (&'a str, &'a DataType, &'a Footer)> + Clone,
) -> String {
    let mut out = String::with_capacity(1024);
    // Writing to a string cannot fail.
    let _ = write!(out, "{{\"numRecords\":{rows}");
    let mut object = |title: &str, value: &dyn Fn(&DataType, &Footer) -> Option<String>| {
        let _ = write!(out, ",\"{title}\":{{");
        let mut first = true;
        for (name, kind, footer) in columns.clone() {
            if let Some(text) = value(kind, footer) {
                let comma = if first { "" } else { "," };
                let _ = write!(out, "{comma}{}:{text}", quoted(name));
                first = false;
            }
        }
        out.push('}');
    };
    object("minValues", &|kind, footer| footer.min.as_ref().and_then(|bound| bound_to_json(bound, kind, false)));
    object("maxValues", &|kind, footer| footer.max.as_ref().and_then(|bound| bound_to_json(bound, kind, true)));
    object("nullCount", &|_, footer| footer.nulls.map(|n| n.to_string()));
    out.push('}');
    out
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn bound_to_json(bound: &Bound, kind: &DataType, max: bool) -> Option<String> {
    match (bound, kind) {
        (Bound::Text(text), DataType::Utf8) => Some(quoted(text)),
        (Bound::Number(n), DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => Some(n.to_string()),
        (Bound::Number(n), DataType::Date32) => {
            let date = NaiveDate::from_num_days_from_ce_opt(i32::try_from(*n).ok()?.checked_add(719_163)?)?;
            in_four_digits(chrono::Datelike::year(&date)).then(|| format!("\"{date}\""))
        }
        (Bound::Number(n), DataType::Timestamp(..)) => {
            // Delta keeps milliseconds: the lower bound goes down, the upper one up.
            let micros = i64::try_from(*n).ok()?;
            let millis = if max { micros.checked_add(999)?.div_euclid(1000) } else { micros.div_euclid(1000) };
            let time = DateTime::from_timestamp_millis(millis)?;
            in_four_digits(chrono::Datelike::year(&time))
                .then(|| format!("\"{}\"", time.format("%Y-%m-%dT%H:%M:%S%.3fZ")))
        }
        (Bound::Number(n), DataType::Decimal128(_, scale)) => Some(decimal_text(*n, scale.cast_unsigned().into())),
        _ => None,
    }
}

/// Years that every reader's date format has.
fn in_four_digits(year: i32) -> bool {
    (0..=9999).contains(&year)
}

fn decimal_text(value: i128, scale: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn meta(kind: DataType) -> TableMeta {
        let schema = Arc::new(Schema::new(vec![Field::new("c", kind, true)]));
        TableMeta::new("gold.t".parse().expect("a name"), "id".into(), schema, vec![], (1, 2))
    }

    fn round_trip(kind: &DataType, min: Bound, max: Bound) -> ColumnStats {
        let footer = Footer { min: Some(min), max: Some(max), nulls: Some(3) };
        let json = to_json(7, [("c", kind, &footer)].into_iter());
        let stats = parse(Some(&json), &meta(kind.clone()));
        assert_eq!(stats.rows, Some(7));
        stats.columns["c"].clone()
    }

    #[test]
    fn timestamps_are_bounds_at_milliseconds() {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let stats = round_trip(&kind, Bound::Number(-1), Bound::Number(1_500_000_000_000_001));
        assert_eq!(stats.min, Some(ScalarValue::TimestampMicrosecond(Some(-1000), Some("UTC".into()))));
        assert_eq!(stats.max, Some(ScalarValue::TimestampMicrosecond(Some(1_500_000_000_001_999), Some("UTC".into()))));
        assert_eq!(stats.nulls, Some(3));
    }

    #[test]
    fn text_dates_and_unknown_types() {
        let stats = round_trip(&DataType::Utf8, Bound::Text("a\"\n".into()), Bound::Text("é".into()));
        assert_eq!(stats.min, Some(ScalarValue::Utf8View(Some("a\"\n".into()))));
        let stats = round_trip(&DataType::Date32, Bound::Number(-1), Bound::Number(20_000));
        assert_eq!(stats.min, Some(ScalarValue::Date32(Some(-1))));
        assert_eq!(stats.max, Some(ScalarValue::Date32(Some(20_000))));
        assert_eq!(
            parse(Some("{\"numRecords\":1,\"minValues\":{\"c\":1.5}}"), &meta(DataType::Float64)).columns.len(),
            0
        );
        assert_eq!(parse(Some("not json"), &meta(DataType::Int32)), FileStats::default());
    }

    #[test]
    fn decimals_that_do_not_fit_are_unknown() {
        for text in ["1e3", "1.005", "", "-", ".5", "1.", "999999999999999999999999999999999999999999"] {
            let known = decimal(text, 2);
            assert_eq!(known, if text == "1." { Some(100) } else { None }, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_round_trip(value in any::<i64>(), scale in 0u8..19) {
            let text = decimal_text(value.into(), scale.into());
            prop_assert_eq!(decimal(&text, scale), Some(value.into()));
        }
    }
}
