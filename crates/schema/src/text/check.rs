//! Checks of a model: `checks = ["not_null(a)", "unique(a, b)", "name"]`, `warnings = ["range(n, 0, 9)"]` and
//! `[check.name]`.

use crate::text::table::{Table, Value, closest};
use crate::{Check, SchemaError, Share, TableName};

const EXPECTED: &str = "a check: not_null(column), unique(column, ...), accepted_values(column, value, ...), \
                        range(column, least, greatest), references(column, table.column), freshness(column, 1d), \
                        volume(least, greatest), row_loss(table, share) or the name of a [check.NAME] entry";

/// Units of a duration in a check or a gate, in seconds.
pub(crate) const DURATIONS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400)];

/// The checks of a model, in the order of its lists.
pub(crate) struct Checks {
    /// Those of `checks`, which hold the table back.
    pub(crate) checks: Vec<Check>,
    /// Those of `warnings`.
    pub(crate) warnings: Vec<Check>,
}

/// Reads the checks of a model: those that `checks` and `warnings` list. No check is in both.
pub(crate) fn checks(table: &Table<'_>) -> Result<Checks, SchemaError> {
    let named = named(table)?;
    let mut all = Vec::new();
    let fail = listed(table, "checks", &named, &mut all)?;
    let warn = listed(table, "warnings", &named, &mut all)?;
    debug_assert_eq!(all.len(), fail + warn);
    if let Some(refusal) = unused(&all, &named) {
        return Err(refusal);
    }
    let warnings = all.split_off(fail);
    Ok(Checks { checks: all, warnings })
}

/// Appends the checks that a key lists; gives how many they are.
fn listed(table: &Table<'_>, key: &str, named: &[Named<'_>], all: &mut Vec<Check>) -> Result<usize, SchemaError> {
    let Some(value) = table.get(key) else { return Ok(0) };
    let items = value.items().ok_or_else(|| value.wrong("a list of checks"))?;
    let count = items.len();
    for item in items {
        let check = check(&item, named)?;
        if all.contains(&check) {
            return Err(item.wrong("each check once"));
        }
        all.push(check);
    }
    Ok(count)
}

/// A `[check.NAME]` entry: its name, its place for errors, its SQL.
struct Named<'a> {
    name: &'a str,
    value: Value<'a>,
    sql: String,
}

fn named<'a>(table: &Table<'a>) -> Result<Vec<Named<'a>>, SchemaError> {
    let Some(value) = table.get("check") else { return Ok(Vec::new()) };
    let mut named = Vec::new();
    for (name, value) in value.open_table("tables [check.NAME]")?.entries() {
        let expected = "a query that must return no rows";
        let sql = value.table(&["sql"], "a table with the key `sql`")?.text("sql", expected)?;
        named.push(Named { name, value, sql });
    }
    Ok(named)
}

/// The refusal of the first named check that is listed nowhere.
fn unused(checks: &[Check], named: &[Named<'_>]) -> Option<SchemaError> {
    let is_used = |n: &Named<'_>| checks.iter().any(|c| matches!(c, Check::Sql { name, .. } if name == n.name));
    let unused = named.iter().find(|n| !is_used(n))?;
    Some(unused.value.wrong(format!("\"{}\" to be listed in `checks` or `warnings`", unused.name)))
}

fn check(item: &Value<'_>, named: &[Named<'_>]) -> Result<Check, SchemaError> {
    let text = item.text(EXPECTED)?;
    let Some((function, rest)) = text.split_once('(') else {
        return named.iter().find(|n| n.name == text).map_or_else(
            || {
                let names: Vec<&str> = named.iter().map(|n| n.name).collect();
                Err(item.wrong(closest(&text, &names).map_or(EXPECTED.to_owned(), |n| format!("did you mean `{n}`?"))))
            },
            |n| Ok(Check::Sql { name: n.name.to_owned(), sql: n.sql.clone() }),
        );
    };
    let arguments = rest.trim_end().strip_suffix(')').and_then(arguments).ok_or_else(|| item.wrong(EXPECTED))?;
    let built = match function.trim() {
        "not_null" => not_null(&arguments),
        "unique" => unique(&arguments),
        "accepted_values" => accepted_values(&arguments),
        "range" => range(&arguments),
        "references" => references(&arguments),
        "freshness" => freshness(&arguments),
        "volume" => volume(&arguments),
        "row_loss" => row_loss(&arguments),
        _ => None,
    };
    built.ok_or_else(|| item.wrong(EXPECTED))
}

fn not_null(arguments: &[String]) -> Option<Check> {
    match arguments {
        [column] if !column.is_empty() => Some(Check::NotNull(column.clone())),
        _ => None,
    }
}

fn unique(arguments: &[String]) -> Option<Check> {
    let filled = !arguments.is_empty() && arguments.iter().all(|a| !a.is_empty());
    filled.then(|| Check::Unique(arguments.to_vec()))
}

fn accepted_values(arguments: &[String]) -> Option<Check> {
    let (column, values) = arguments.split_first()?;
    let filled = !column.is_empty() && !values.is_empty();
    filled.then(|| Check::AcceptedValues { column: column.clone(), values: values.to_vec() })
}

fn range(arguments: &[String]) -> Option<Check> {
    let [column, min, max] = arguments else { return None };
    let bound = |text: &String| (!text.is_empty()).then(|| text.clone());
    let bounded = !column.is_empty() && (!min.is_empty() || !max.is_empty());
    bounded.then(|| Check::Range { column: column.clone(), min: bound(min), max: bound(max) })
}

fn references(arguments: &[String]) -> Option<Check> {
    let [column, other] = arguments else { return None };
    let (table, to) = other.rsplit_once('.')?;
    let table = in_sql(table)?;
    let filled = !column.is_empty() && !to.is_empty();
    filled.then(|| Check::References { column: column.clone(), table, to: to.to_owned() })
}

fn freshness(arguments: &[String]) -> Option<Check> {
    let [column, age] = arguments else { return None };
    let max_age_seconds = seconds(age).filter(|seconds| *seconds > 0)?;
    (!column.is_empty()).then(|| Check::Freshness { column: column.clone(), max_age_seconds })
}

fn volume(arguments: &[String]) -> Option<Check> {
    let [min, max] = arguments else { return None };
    let bound = |text: &String| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let (min, max): (Option<u64>, Option<u64>) = (bound(min)?, bound(max)?);
    let ordered = min.is_none() || max.is_none() || min <= max;
    (ordered && (min.is_some() || max.is_some())).then_some(Check::Volume { min, max })
}

fn row_loss(arguments: &[String]) -> Option<Check> {
    let [table, max] = arguments else { return None };
    Some(Check::RowLoss { table: in_sql(table)?, max: Share::new(max.parse().ok()?)? })
}

/// A table that SQL can name.
fn in_sql(text: &str) -> Option<TableName> {
    text.parse().ok().filter(|name: &TableName| name.layer != crate::Layer::System)
}

/// A duration such as `1d` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = DURATIONS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Splits at commas; a part may stand in single quotes, with `''` for a quote.
fn arguments(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = if rest.starts_with('\'') { quoted(rest)? } else { plain(rest) };
        parts.push(part);
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return after.trim().is_empty().then_some(parts),
        }
    }
}

fn plain(text: &str) -> (String, &str) {
    let (part, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    (part.trim().to_owned(), after)
}

/// The text within quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = &text[1..];
    loop {
        let (before, after) = rest.split_once('\'')?;
        part.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => {
                part.push('\'');
                rest = more;
            }
            None => return Some((part, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{arguments, freshness, references, row_loss, volume};

    #[test]
    fn arguments_with_and_without_quotes() {
        let of = |text| arguments(text).map(|parts| parts.join("|"));
        assert_eq!(of("a, b").as_deref(), Some("a|b"));
        assert_eq!(of("kind, 'ORDER', 'it''s, so'").as_deref(), Some("kind|ORDER|it's, so"));
        assert_eq!(of("q, 0, ").as_deref(), Some("q|0|"));
        assert_eq!(of("a, 'b").as_deref(), None);
        assert_eq!(of("a, 'b' c").as_deref(), None);
    }
    #[test]
    fn checks_are_shown_as_they_are_written() {
        let of = |text| arguments(text).expect("arguments");
        let shown = |check: Option<crate::Check>| check.map(|check| check.to_string());
        let same = |text: &str| Some(text.to_owned());
        assert_eq!(shown(references(&of("a, silver.dim.b"))), same("references(a, silver.dim.b)"));
        assert_eq!(shown(freshness(&of("sold_at, 1d"))), same("freshness(sold_at, 1d)"));
        assert_eq!(shown(freshness(&of("sold_at, 90 min"))), same("freshness(sold_at, 90m)"));
        assert_eq!(shown(volume(&of("1,"))), same("volume(1, )"));
        assert_eq!(shown(row_loss(&of("silver.a, 0.05"))), same("row_loss(silver.a, 0.05)"));
    }

    #[test]
    fn checks_that_say_nothing_or_too_much_are_refused() {
        let of = |text| arguments(text).expect("arguments");
        assert_eq!(references(&of("a, dim.b")), None);
        assert_eq!(references(&of("a, system.x.b")), None);
        assert_eq!(freshness(&of("a, 1 week")), None);
        assert_eq!(volume(&of(",")), None);
        assert_eq!(volume(&of("9, 1")), None);
        assert_eq!(volume(&of("-1, 1")), None);
        assert_eq!(row_loss(&of("silver.a, 1.5")), None);
        assert_eq!(row_loss(&of("silver.a, NaN")), None);
    }
}
