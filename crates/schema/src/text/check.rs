//! Checks of a model: `checks = ["not_null(a)", "unique(a, b)", "name"]` and `[check.name]`.

use crate::text::table::{Table, Value, closest};
use crate::{Check, SchemaError};

const EXPECTED: &str = "a check: not_null(column), unique(column, ...), accepted_values(column, value, ...), \
                        range(column, least, greatest) or the name of a [check.NAME] entry";

/// Reads the checks of a model: those that `checks` lists, in its order.
pub(crate) fn checks(table: &Table<'_>) -> Result<Vec<Check>, SchemaError> {
    let named = named(table)?;
    let Some(value) = table.get("checks") else { return unused(&[], &named).map_or(Ok(Vec::new()), Err) };
    let items = value.items().ok_or_else(|| value.wrong("a list of checks"))?;
    let mut checks = Vec::new();
    for item in items {
        let check = check(&item, &named)?;
        if checks.contains(&check) {
            return Err(item.wrong("each check once"));
        }
        checks.push(check);
    }
    unused(&checks, &named).map_or(Ok(checks), Err)
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
    Some(unused.value.wrong(format!("\"{}\" to be listed in `checks`", unused.name)))
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
    use super::arguments;

    #[test]
    fn arguments_with_and_without_quotes() {
        let of = |text| arguments(text).map(|parts| parts.join("|"));
        assert_eq!(of("a, b").as_deref(), Some("a|b"));
        assert_eq!(of("kind, 'ORDER', 'it''s, so'").as_deref(), Some("kind|ORDER|it's, so"));
        assert_eq!(of("q, 0, ").as_deref(), Some("q|0|"));
        assert_eq!(of("a, 'b").as_deref(), None);
        assert_eq!(of("a, 'b' c").as_deref(), None);
    }
}
