//! Parameters of named queries: from text to typed values.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use datafusion::common::ScalarValue;
use schema::{FieldType, NamedQuery, Param};
use session::Parameters;

use crate::QueryError;

/// The values of a query's parameters: those given, else the defaults.
///
/// A text is read by the parameter's type: whole numbers and decimals in plain digits, `true`/`false`, dates as
/// `YYYY-MM-DD`, timestamps as a date, `YYYY-MM-DD HH:MM[:SS[.ffffff]]` (UTC) or RFC 3339. An empty text is null for
/// every type but string: that is how a query says that a parameter may be left out.
///
/// # Errors
/// A parameter that the query does not have, one that has neither value nor default, a value of another type. Each names
/// the parameter and what was expected.
pub fn bind(query: &NamedQuery, given: &BTreeMap<String, String>) -> Result<Parameters, QueryError> {
    if let Some(name) = given.keys().find(|name| !query.params.iter().any(|param| param.name == **name)) {
        let known: Vec<String> = query.params.iter().map(|param| param.name.clone()).collect();
        return Err(QueryError::UnknownParameter {
            query: query.name.clone(),
            name: name.clone(),
            suggestion: nearest(name, known.iter().map(String::as_str)),
            known,
        });
    }
    query.params.iter().map(|param| Ok((param.name.clone(), value_of(query, param, given)?))).collect()
}

fn value_of(query: &NamedQuery, param: &Param, given: &BTreeMap<String, String>) -> Result<ScalarValue, QueryError> {
    let text = given.get(&param.name).or(param.default.as_ref()).ok_or_else(|| QueryError::MissingParameter {
        query: query.name.clone(),
        name: param.name.clone(),
        kind: param.kind.to_string(),
        description: param.description.clone().unwrap_or_default(),
    })?;
    parse(text, &param.kind).ok_or_else(|| QueryError::WrongValue {
        query: query.name.clone(),
        name: param.name.clone(),
        found: text.clone(),
        expected: expected(&param.kind),
    })
}

fn expected(kind: &FieldType) -> String {
    match kind {
        FieldType::Int | FieldType::BigInt => format!("a whole number ({kind})"),
        FieldType::Decimal { .. } => format!("a number in plain digits that fits {kind}"),
        FieldType::Timestamp => "a time, for example 2024-01-31 08:30:00 (UTC) or 2024-01-31T08:30:00+01:00".to_owned(),
        FieldType::Date => "a date, for example 2024-01-31".to_owned(),
        FieldType::Bool => "true or false".to_owned(),
        FieldType::String => "text".to_owned(),
        FieldType::List(_) => "nothing: a parameter cannot be a list".to_owned(),
    }
}

fn parse(text: &str, kind: &FieldType) -> Option<ScalarValue> {
    if text.is_empty() && *kind != FieldType::String {
        return ScalarValue::try_from(&kind.to_arrow()).ok();
    }
    Some(match kind {
        FieldType::String => ScalarValue::Utf8(Some(text.to_owned())),
        FieldType::Int => ScalarValue::Int32(Some(text.parse().ok()?)),
        FieldType::BigInt => ScalarValue::Int64(Some(text.parse().ok()?)),
        FieldType::Bool => ScalarValue::Boolean(Some(text.parse().ok()?)),
        FieldType::Date => ScalarValue::Date32(Some(days(text.parse().ok()?)?)),
        FieldType::Timestamp => {
            ScalarValue::TimestampMicrosecond(Some(instant(text)?.timestamp_micros()), Some("UTC".into()))
        }
        FieldType::Decimal { precision, scale } => {
            ScalarValue::Decimal128(Some(decimal(text, *precision, *scale)?), *precision, *scale)
        }
        FieldType::List(_) => return None,
    })
}

fn days(date: NaiveDate) -> Option<i32> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    i32::try_from(date.signed_duration_since(epoch).num_days()).ok()
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_time(NaiveTime::MIN).and_utc());
    }
    let formats = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|at| at.and_utc())
}

/// The unscaled value of a decimal in plain digits; `None` when it does not fit exactly.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let scale = usize::try_from(scale).ok()?;
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > scale {
        return None;
    }
    let value: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    (value < 10i128.pow(u32::from(precision))).then_some(sign * value)
}

/// The known name that looks most like `name`, if one does.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then(|| best.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: FieldType = FieldType::Decimal { precision: 6, scale: 2 };

    fn query(params: Vec<Param>) -> NamedQuery {
        NamedQuery {
            name: "sales".into(),
            path: "queries/sales.sql".into(),
            question: "How much?".into(),
            params,
            chart: None,
            sql: String::new(),
            sql_first_line: 1,
        }
    }

    fn param(name: &str, kind: FieldType, default: Option<&str>) -> Param {
        Param { name: name.into(), kind, default: default.map(str::to_owned), description: Some("what it is".into()) }
    }

    fn check(kind: &FieldType, text: &str, expected: Option<&str>) {
        assert_eq!(parse(text, kind).map(|value| value.to_string()).as_deref(), expected, "{text:?} as {kind}");
    }

    #[test]
    fn texts_are_read_by_type() {
        check(&FieldType::Int, "7", Some("7"));
        check(&FieldType::Int, "2147483648", None);
        check(&FieldType::Int, "7.0", None);
        check(&FieldType::BigInt, "-2147483649", Some("-2147483649"));
        check(&FieldType::Bool, "true", Some("true"));
        check(&FieldType::Bool, "yes", None);
        check(&FieldType::Date, "2024-02-29", Some("2024-02-29"));
        check(&FieldType::Date, "2023-02-29", None);
        check(&FieldType::Timestamp, "2024-01-31T08:30:00+01:00", Some("1706686200000000"));
        check(&FieldType::Timestamp, "2024-01-31 07:30", Some("1706686200000000"));
        check(&FieldType::Timestamp, "soon", None);
        check(&FieldType::String, "", Some(""));
        check(&FieldType::Int, "", Some("NULL"));
    }

    #[test]
    fn decimals_fit_exactly_or_not_at_all() {
        check(&MONEY, "12.5", Some("12.50"));
        check(&MONEY, "-0.010", Some("-0.01"));
        check(&MONEY, "9999.99", Some("9999.99"));
        check(&MONEY, "10000", None);
        check(&MONEY, "1.005", None);
        check(&MONEY, "1e3", None);
        check(&MONEY, ".5", None);
        check(&MONEY, "-", None);
    }

    #[test]
    fn errors_name_the_parameter() {
        let query = query(vec![param("top", FieldType::Int, Some("10")), param("from", FieldType::Date, None)]);
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = |given| bind(&query, &given).expect_err("refused").to_string();

        assert_eq!(error(given("topp", "3")), "query sales has no parameter topp; did you mean top?");
        assert_eq!(error(given("xyz", "3")), "query sales has no parameter xyz; it has top, from");
        assert_eq!(error(given("top", "3")), "query sales needs the parameter from (date): what it is");
        assert_eq!(
            error(given("from", "31.1.2024")),
            "parameter from of query sales is \"31.1.2024\": expected a date, for example 2024-01-31"
        );
        let bound = bind(&query, &given("from", "2024-01-31")).expect("complete");
        assert_eq!(bound["top"], ScalarValue::Int32(Some(10)));
    }
}
