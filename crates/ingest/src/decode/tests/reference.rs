//! What a record means, worked out slowly: `serde_json` for the text, strings for the numbers, `chrono` for the times.
//! Shares no code with the decoders.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime};
use schema::{Contract, Field, FieldType};
use serde_json::value::RawValue;

use super::NOW;

/// A value, null included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Text(String),
    Number(i128),
    Instant(i64),
    List(Vec<Row>),
}

/// Fields by conformed name.
pub(super) type Row = BTreeMap<String, Value>;

/// A good record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) row: Row,
    /// Members that the contract does not name, or that hold such members: name and JSON text.
    pub(super) rescued: Vec<(String, String)>,
}

/// Members of an object, in order, repeated ones too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// What a JSON record means under a contract; `None`: it is bad.
pub(super) fn json_record(contract: &Contract, bytes: &[u8], rules: &[super::Rule]) -> Option<Good> {
    let text = std::str::from_utf8(bytes).ok()?;
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let mut good = Good { row: Row::new(), rescued: Vec::new() };
    let mut has_unknown = false;
    let mut unknown = |name: &str, value: &str| good.rescued.push((name.to_owned(), value.to_owned()));
    let row = object(contract, &contract.fields, whole.get(), 1, &mut unknown, &mut has_unknown)?;
    good.row = row;
    good.rescued = in_order(good.rescued);
    accept(contract, good, rules)
}

/// Members by name, plain texts in one spelling: what may differ between two ways to keep them.
pub(super) fn in_order(mut members: Vec<(String, String)>) -> Vec<(String, String)> {
    for (_, value) in members.iter_mut().filter(|(_, value)| value.starts_with('"')) {
        let text: String = serde_json::from_str(value).unwrap();
        *value = serde_json::to_string(&text).unwrap();
    }
    members.sort();
    members
}

/// The rules over a decoded row.
pub(super) fn accept(contract: &Contract, good: Good, rules: &[super::Rule]) -> Option<Good> {
    for rule in rules {
        let text = match &good.row[rule.column] {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        if !(rule.accepts)(&text) {
            return None;
        }
    }
    match contract.event_time.as_ref().map(|name| &good.row[name]) {
        Some(Value::Instant(at)) if *at > NOW + 86_400_000_000 => None,
        _ => Some(good),
    }
}

fn object(
    contract: &Contract,
    fields: &[Field],
    text: &str,
    depth: usize,
    unknown: &mut dyn FnMut(&str, &str),
    has_unknown: &mut bool,
) -> Option<Row> {
    if depth > 100 || !text.starts_with('{') {
        return None;
    }
    let Members(members) = serde_json::from_str(text).ok()?;
    let mut row = Row::new();
    let mut strangers = std::collections::BTreeSet::new();
    for (name, value) in &members {
        let Some(field) = fields.iter().find(|f| f.wire_names().any(|n| n == name)) else {
            if !strangers.insert(name) {
                return None;
            }
            check_any(value.get(), depth)?;
            *has_unknown = true;
            unknown(name, value.get());
            continue;
        };
        let mut unknown_within = false;
        let value_read = json_value(contract, field, value.get(), depth, &mut unknown_within)?;
        if row.insert(field.name.clone(), value_read).is_some() {
            return None;
        }
        if unknown_within {
            *has_unknown = true;
            unknown(name, value.get());
        }
    }
    complete(fields, row)
}

/// Nulls for absent fields, unless one is required.
fn complete(fields: &[Field], mut row: Row) -> Option<Row> {
    for field in fields {
        let value = row.entry(field.name.clone()).or_insert(Value::Null);
        if field.required && *value == Value::Null {
            return None;
        }
    }
    Some(row)
}

/// Any value: nesting, texts and names are right.
fn check_any(text: &str, depth: usize) -> Option<()> {
    match text.as_bytes()[0] {
        b'"' => serde_json::from_str::<String>(text).ok().map(drop),
        b'{' if depth < 100 => {
            let Members(members) = serde_json::from_str(text).ok()?;
            let mut names = std::collections::BTreeSet::new();
            members.iter().try_for_each(|(name, value)| {
                names.insert(name).then_some(())?;
                check_any(value.get(), depth + 1)
            })
        }
        b'[' if depth < 100 => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            items.iter().try_for_each(|item| check_any(item.get(), depth + 1))
        }
        b'{' | b'[' => None,
        _ => Some(()),
    }
}

fn json_value(contract: &Contract, field: &Field, text: &str, depth: usize, has_unknown: &mut bool) -> Option<Value> {
    if text == "null" {
        return Some(Value::Null);
    }
    let string = || serde_json::from_str::<String>(text).ok();
    match &field.kind {
        FieldType::String if text.starts_with('"') => string().map(Value::Text),
        FieldType::String if field.accepts_integer => Some(Value::Text(exact(text, 38, 0)?.to_string())),
        FieldType::Int | FieldType::BigInt | FieldType::Decimal { .. } => number(&field.kind, text),
        FieldType::Timestamp => instant(contract, field, &string()?),
        FieldType::List(fields) if text.starts_with('[') && depth < 100 => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            let mut item =
                |item: &RawValue| object(contract, fields, item.get(), depth + 2, &mut |_, _| {}, &mut *has_unknown);
            items.iter().map(|i| item(i)).collect::<Option<Vec<Row>>>().map(Value::List)
        }
        _ => None,
    }
}

fn number(kind: &FieldType, text: &str) -> Option<Value> {
    let first = text.as_bytes().first()?;
    if !first.is_ascii_digit() && *first != b'-' {
        return None;
    }
    let value = match kind {
        FieldType::Int => i32::try_from(exact(text, 38, 0)?).ok()?.into(),
        FieldType::BigInt => i64::try_from(exact(text, 38, 0)?).ok()?.into(),
        FieldType::Decimal { precision, scale } => exact(text, (*precision).into(), *scale as i64)?,
        _ => return None,
    };
    Some(Value::Number(value))
}

/// The number times ten to the `scale`, worked out on its digits as text.
fn exact(text: &str, precision: i64, scale: i64) -> Option<i128> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    // An exponent of more digits than this outweighs everything.
    let most = 1 << 60;
    let exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { -most } else { most });
    let exponent = exponent.clamp(-most, most);
    let zeros = exponent - fraction.len() as i64 + trailing as i64 + scale;
    if zeros < 0 || significant.len() as i64 + zeros > precision {
        return None;
    }
    let value: i128 = format!("{significant}{}", "0".repeat(zeros as usize)).parse().ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

fn instant(contract: &Contract, field: &Field, text: &str) -> Option<Value> {
    assert_eq!(contract.time_zone, chrono_tz::Tz::UTC, "the reference knows no other zone");
    let by_pattern = || {
        let read = |pattern: &String| NaiveDateTime::parse_from_str(text, pattern).ok();
        field.formats.iter().find_map(read).map(|clock| clock.and_utc().timestamp_micros())
    };
    standard_instant(text).or_else(by_pattern).map(Value::Instant)
}

fn standard_instant(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
    };
    let is = |at: usize, allowed: &str| text.get(at..at + 1).is_some_and(|c| allowed.contains(c));
    if !(is(4, "-") && is(7, "-") && is(10, " Tt") && is(13, ":") && is(16, ":")) {
        return None;
    }
    let year = number(0..4).filter(|y| *y > 0)? as i32;
    let date = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
    let clock = date.and_hms_opt(number(11..13)?, number(14..16)?, number(17..19)?)?;
    let mut rest = text.get(19..)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        let digits = fraction.get(..end).filter(|d| !d.is_empty())?.trim_end_matches('0');
        micros = format!("{digits:0<6}").parse::<i64>().ok().filter(|_| digits.len() <= 6)?;
        rest = &fraction[end..];
    }
    let offset = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let at = text.len() - rest.len();
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            if rest.len() != 6 || !is(at, "+-") || !is(at + 3, ":") || hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 60 + minutes) * 60;
            if is(at, "+") { seconds } else { -seconds }
        }
    };
    Some(clock.and_utc().timestamp_micros() - offset * 1_000_000 + micros)
}

/// What a CSV row means; `None`: it is bad.
pub(super) fn csv_record(
    contract: &Contract,
    header: &[String],
    row: &[String],
    rules: &[super::Rule],
) -> Option<Good> {
    if row.len() != header.len() || row.iter().all(String::is_empty) || row == header {
        return None;
    }
    let mut good = Good { row: Row::new(), rescued: Vec::new() };
    for (name, text) in header.iter().zip(row).filter(|(_, text)| !text.is_empty()) {
        match contract.fields.iter().find(|f| f.wire_names().any(|n| n == name)) {
            None => good.rescued.push((name.clone(), serde_json::to_string(text).ok()?)),
            Some(field) => {
                let value = match &field.kind {
                    FieldType::String => Value::Text(text.clone()),
                    FieldType::Timestamp => instant(contract, field, text)?,
                    kind => {
                        // The same grammar as JSON's, but for leading zeros.
                        let sign = if text.starts_with('-') { "-" } else { "" };
                        let digits = text.strip_prefix('-').unwrap_or(text);
                        let bare = digits.trim_start_matches('0');
                        let zero =
                            if bare.starts_with(|c: char| c.is_ascii_digit()) || digits == bare { "" } else { "0" };
                        let json = format!("{sign}{zero}{bare}");
                        serde_json::from_str::<&RawValue>(&json).ok().filter(|raw| raw.get() == json)?;
                        number(kind, &json)?
                    }
                };
                good.row.insert(field.name.clone(), value);
            }
        }
    }
    good.row = complete(&contract.fields, good.row)?;
    good.rescued = in_order(good.rescued);
    accept(contract, good, rules)
}
