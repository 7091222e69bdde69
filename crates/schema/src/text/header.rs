//! The header of a SQL file: a first comment that holds the file's path and TOML between lines of dashes.
//!
//! ```sql
//! /* models/gold/sales_by_day.sql
//! ---
//! description = "Sales by day"
//! --- */
//! SELECT ...
//! ```

use crate::{Location, SchemaError};

/// A SQL file in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SqlFile<'a> {
    pub(crate) toml: &'a str,
    /// The 1-based line on which `toml` starts.
    pub(crate) toml_line: usize,
    /// The statement, trimmed, without a semicolon at its end.
    pub(crate) sql: &'a str,
    /// The 1-based line on which `sql` starts.
    pub(crate) sql_line: usize,
}

const SHAPE: &str = "the file to start with a comment `/* <its path>`, a line `---`, TOML, and a line `--- */`";

/// Splits a SQL file.
///
/// # Errors
/// [`SchemaError::Syntax`]: no header, another path in it, no end of it, or no statement after it.
pub(crate) fn split<'a>(path: &str, text: &'a str) -> Result<SqlFile<'a>, SchemaError> {
    let wrong =
        |line: usize, message: String| SchemaError::Syntax { at: Location { path: path.to_owned(), line }, message };
    let mut lines = Lines { text, position: 0, line: 0 };
    let first = lines.by_ref().find(|(_, line, _)| !line.trim().is_empty());
    let (number, line, _) = first.ok_or_else(|| wrong(1, format!("empty file: expected {SHAPE}")))?;
    let named = line.trim().trim_start_matches('\u{feff}').strip_prefix("/*").map(str::trim);
    let named = named.ok_or_else(|| wrong(number, format!("no header: expected {SHAPE}")))?;
    if named != path {
        return Err(wrong(number, format!("the header names `{named}`: expected the file's own path, `{path}`")));
    }
    let (number, line, toml_start) = lines.next().ok_or_else(|| wrong(number, format!("expected {SHAPE}")))?;
    if line.trim() != "---" {
        return Err(wrong(number, "expected a line `---` after the path".to_owned()));
    }
    let toml_line = number + 1;
    let end = lines.by_ref().find(|(_, line, _)| {
        let rest = line.trim().strip_prefix("---");
        rest.is_some_and(|rest| rest.trim() == "*/")
    });
    let (_, line, sql_start) =
        end.ok_or_else(|| wrong(toml_line, "expected a line `--- */` after the TOML".to_owned()))?;
    let toml_end = sql_start - line.len();
    let rest = &text[sql_start..];
    let sql = rest.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    if sql.is_empty() {
        return Err(wrong(lines.line, "expected a SELECT after the header".to_owned()));
    }
    let blank = &rest[..rest.len() - rest.trim_start().len()];
    let sql_line = lines.line + 1 + blank.matches('\n').count();
    Ok(SqlFile { toml: &text[toml_start..toml_end], toml_line, sql, sql_line })
}

/// Lines with their 1-based number, their text including the newline, and the offset of what follows.
struct Lines<'a> {
    text: &'a str,
    position: usize,
    line: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return None;
        }
        let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.position += end;
        self.line += 1;
        Some((self.line, &rest[..end], self.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_lines_of_a_file() {
        let text = "\n/* q.sql\n---\na = 1\nb = \"*/\"\n--- */\n\n-- why\nSELECT 1;\n";
        let file = split("q.sql", text).expect("valid");
        assert_eq!(file, SqlFile { toml: "a = 1\nb = \"*/\"\n", toml_line: 4, sql: "-- why\nSELECT 1", sql_line: 8 });
    }

    #[test]
    fn windows_line_ends() {
        let file = split("q.sql", "/* q.sql\r\n---\r\na = 1\r\n--- */\r\nSELECT 1\r\n").expect("valid");
        assert_eq!((file.toml, file.sql, file.sql_line), ("a = 1\r\n", "SELECT 1", 5));
    }

    #[test]
    fn what_is_not_a_header_is_refused() {
        for (text, line) in [
            ("", 1),
            ("SELECT 1", 1),
            ("/* other.sql\n---\n--- */ SELECT 1", 1),
            ("/* q.sql\nTOML", 2),
            ("/* q.sql\n---\na = 1\n", 3),
            ("/* q.sql\n---\na = 1\n--- */\n;\n", 4),
        ] {
            match split("q.sql", text) {
                Err(SchemaError::Syntax { at, .. }) => assert_eq!(at.line, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
