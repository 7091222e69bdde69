//! Pieces of SQL: names, literals, and the condition under which a row breaks a check.

use schema::Check;

/// The condition under which a row breaks a check that looks at each row by itself; `None` for other checks.
pub(crate) fn broken(check: &Check) -> Option<String> {
    match check {
        Check::NotNull(column) => Some(format!("{} IS NULL", quoted(column))),
        Check::AcceptedValues { column, values } => {
            let list: Vec<String> = values.iter().map(|value| literal(value)).collect();
            Some(format!("CAST({} AS VARCHAR) NOT IN ({})", quoted(column), list.join(", ")))
        }
        Check::Range { column, min, max } => {
            let column = quoted(column);
            let under = min.as_ref().map(|min| format!("{column} < {}", bound(min)));
            let over = max.as_ref().map(|max| format!("{column} > {}", bound(max)));
            Some(under.into_iter().chain(over).collect::<Vec<_>>().join(" OR "))
        }
        _ => None,
    }
}

/// A column's name.
pub(crate) fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

/// A bound: a number as it stands, anything else (a date) as text, which SQL reads in the column's type.
fn bound(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number =
        digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.chars().any(|c| c.is_ascii_digit());
    if is_number { text.to_owned() } else { literal(text) }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_values_are_literals() {
        let range = |min: &str, max: &str| Check::Range {
            column: "a\"b".into(),
            min: Some(min.to_owned()),
            max: Some(max.to_owned()),
        };
        assert_eq!(
            broken(&range("-1.5", "2024-01-31")).unwrap_or_default(),
            "\"a\"\"b\" < -1.5 OR \"a\"\"b\" > '2024-01-31'"
        );
        let accepted = Check::AcceptedValues { column: "k".into(), values: vec!["it's".into()] };
        assert_eq!(broken(&accepted).unwrap_or_default(), "CAST(\"k\" AS VARCHAR) NOT IN ('it''s')");
        assert_eq!(broken(&Check::Unique(vec!["a".into()])), None);
    }
}
