//! `queries/<name>.sql`

use crate::name::is_identifier;
use crate::text::header::split;
use crate::text::model::column_type;
use crate::text::table::{Table, Toml, Value, closest};
use crate::{Chart, FieldType, Location, NamedQuery, Param, SchemaError, SourceFile};

const CHARTS: &[(&str, &str)] =
    &[("bar", "bar"), ("line", "line"), ("area", "area"), ("pie", "pie"), ("scatter", "scatter"), ("number", "number")];

/// Reads a named query.
pub(crate) fn query(name: &str, file: &SourceFile) -> Result<NamedQuery, SchemaError> {
    let parts = split(&file.path, &file.text)?;
    let toml = Toml::new(&file.path, parts.toml, parts.toml_line);
    let root = toml.parse()?;
    let table = Table::root(&toml, &root, &["question", "params", "chart"])?;
    let query = NamedQuery {
        name: name.to_owned(),
        path: file.path.clone(),
        question: table.text("question", "the question that the query answers")?,
        params: params(&table)?,
        chart: chart(&table)?,
        sql: parts.sql.to_owned(),
        sql_first_line: parts.sql_line,
    };
    check_placeholders(&query, &table)?;
    Ok(query)
}

fn params(table: &Table<'_>) -> Result<Vec<Param>, SchemaError> {
    let Some(value) = table.get("params") else { return Ok(Vec::new()) };
    let expected = "a table of parameters, each `name = { type = \"...\" }`";
    value.open_table(expected)?.entries().map(|(name, value)| param(name, &value)).collect()
}

fn param(name: &str, value: &Value<'_>) -> Result<Param, SchemaError> {
    if !is_identifier(name) {
        return Err(value.wrong("a parameter named with lower-case letters, digits and `_`"));
    }
    let table = value.table(&["type", "default", "description"], "a table such as { type = \"date\" }")?;
    let kind = column_type(&table.need("type", crate::field::EXPECTED_TYPE)?)?;
    let default = table.get("default").map(|v| default_value(&v, &kind)).transpose()?;
    let description = table.optional_text("description", "a text")?;
    Ok(Param { name: name.to_owned(), kind, default, description })
}

/// The default as text; it must be a value of the type, or empty: then the parameter may be left out, and is null (of a
/// string the empty text).
fn default_value(value: &Value<'_>, kind: &FieldType) -> Result<String, SchemaError> {
    let expected = format!("a value of type {kind}");
    let text = value.scalar_text(&expected)?;
    let instant = |format| chrono::NaiveDateTime::parse_from_str(&text, format).is_ok();
    let fits = match kind {
        FieldType::String => true,
        _ if text.is_empty() => true,
        FieldType::Int => text.parse::<i32>().is_ok(),
        FieldType::BigInt => text.parse::<i64>().is_ok(),
        FieldType::Decimal { scale, .. } => is_decimal(&text, *scale),
        FieldType::Date => chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").is_ok(),
        FieldType::Timestamp => instant("%Y-%m-%d %H:%M:%S%.f") || chrono::DateTime::parse_from_rfc3339(&text).is_ok(),
        FieldType::Bool => matches!(text.as_str(), "true" | "false"),
        FieldType::List(_) => false,
    };
    if fits { Ok(text) } else { Err(value.wrong(expected)) }
}

fn is_decimal(text: &str, scale: i8) -> bool {
    let (whole, fraction) = text.strip_prefix('-').unwrap_or(text).split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= scale.unsigned_abs().into()
}

fn chart(table: &Table<'_>) -> Result<Option<Chart>, SchemaError> {
    let Some(value) = table.get("chart") else { return Ok(None) };
    let keys = ["kind", "x", "y", "series"];
    let table = value.table(&keys, "a table such as { kind = \"bar\", x = \"month\", y = \"sales\" }")?;
    let column = "the name of a column of the answer";
    Ok(Some(Chart {
        kind: table.need("kind", "the kind of chart")?.choice(CHARTS)?.to_owned(),
        x: table.text("x", column)?,
        y: table.text("y", column)?,
        series: table.optional_text("series", column)?,
    }))
}

/// Every `$name` of the statement is a parameter, and every parameter is used.
fn check_placeholders(query: &NamedQuery, table: &Table<'_>) -> Result<(), SchemaError> {
    let used = placeholders(&query.sql);
    let names: Vec<&str> = query.params.iter().map(|p| p.name.as_str()).collect();
    if let Some((name, line)) = used.iter().find(|(name, _)| !names.contains(name)) {
        let hint = closest(name, &names).map_or(String::new(), |n| format!(", did you mean `${n}`?"));
        let message = format!("`${name}` is no parameter of this query{hint}");
        let at = Location { path: query.path.clone(), line: query.sql_first_line + line };
        return Err(SchemaError::Syntax { at, message });
    }
    let params = table.get("params").map(|v| v.open_table("a table of parameters")).transpose()?;
    let unused = params.iter().flat_map(Table::entries).find(|(name, _)| !used.iter().any(|(u, _)| u == name));
    unused.map_or(Ok(()), |(name, value)| Err(value.wrong(format!("the statement to use `${name}`"))))
}

/// The `$name`s of a statement outside of texts, quoted names and comments, with the 0-based line of each.
fn placeholders(sql: &str) -> Vec<(&str, usize)> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let rest = &sql[i..];
        i += match bytes[i] {
            quote @ (b'\'' | b'"') => rest[1..].find(quote as char).map_or(rest.len(), |end| end + 2),
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            b'$' => {
                let name = &rest[1..];
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                if end > 0 {
                    found.push((&name[..end], sql[..i].matches('\n').count()));
                }
                end + 1
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn placeholders_outside_of_texts_and_comments() {
        let sql = "SELECT '$a', \"$b\" -- $c\n/* $d */, $e_1 + $f, 'it''s $g'\nWHERE é = $h";
        assert_eq!(placeholders(sql), [("e_1", 1), ("f", 1), ("h", 2)]);
    }
}
