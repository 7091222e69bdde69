//! Commands of the prompt that are not SQL: `\d`, `\format`, `\q`.

use std::io::Write;

use session::{LakeSession, TableDescription, TableEntry};

use crate::params::nearest;
use crate::{Format, QueryError, list};

/// What a line that starts with `\` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meta {
    /// `\d`, `\dt`: all tables.
    Tables,
    /// `\d NAME`: a table's columns.
    Describe(String),
    /// `\queries`: the named queries.
    Queries,
    /// `\format NAME`: how answers are written from now on.
    Format(Format),
    /// `\?`
    Help,
    /// `\q`
    Quit,
    /// Anything else, with what to say about it.
    Wrong(String),
}

pub(super) const HELP: &str = r"Statements end with `;` and may span lines. Only queries run here.
  \d             tables                    \d NAME        a table's columns, with units and meaning
  \queries       named queries             \format NAME   table, csv, json or ndjson
  \?             this help                 \q             quit (or Ctrl-D)
Tab completes names. Ctrl-C stops a running query, or clears the line.
";

const COMMANDS: [&str; 6] = ["\\d", "\\dt", "\\queries", "\\format", "\\?", "\\q"];

pub(super) fn parse(line: &str) -> Meta {
    let mut words = line.trim().trim_end_matches(';').split_whitespace();
    match (words.next().unwrap_or_default(), words.next()) {
        ("\\d" | "\\dt", None) => Meta::Tables,
        ("\\d" | "\\dt", Some(table)) => Meta::Describe(table.to_owned()),
        ("\\queries", None) => Meta::Queries,
        ("\\format", Some("table")) => Meta::Format(Format::Table),
        ("\\format", Some("csv")) => Meta::Format(Format::Csv),
        ("\\format", Some("json")) => Meta::Format(Format::Json),
        ("\\format", Some("ndjson")) => Meta::Format(Format::Ndjson),
        ("\\format", _) => Meta::Wrong("\\format takes table, csv, json or ndjson".to_owned()),
        ("\\?" | "\\h" | "\\help", _) => Meta::Help,
        ("\\q" | "\\quit", _) => Meta::Quit,
        (other, _) => Meta::Wrong(match nearest(other, COMMANDS.into_iter()) {
            Some(known) => format!("unknown command {other}; did you mean {known}?"),
            None => format!("unknown command {other}; \\? shows all"),
        }),
    }
}

/// Answers a command that asks about the session.
pub(super) async fn answer(meta: &Meta, session: &LakeSession, out: &mut (dyn Write + Send)) -> Result<(), QueryError> {
    match meta {
        Meta::Tables => write_tables(&session.tables(), out),
        Meta::Describe(table) => write_table(&session.describe(table).await?, out),
        Meta::Queries => {
            let entries = list(session.factory().project());
            let rows = entries.iter().map(|query| vec![query.name.clone(), query.question.clone()]);
            write_rows(["query", "question"].map(str::to_owned).to_vec(), rows, out)
        }
        Meta::Help => Ok(out.write_all(HELP.as_bytes())?),
        Meta::Wrong(why) => Ok(writeln!(out, "{why}")?),
        Meta::Format(_) | Meta::Quit => Ok(()),
    }
}

fn write_tables(tables: &[TableEntry], out: &mut (dyn Write + Send)) -> Result<(), QueryError> {
    let rows = tables
        .iter()
        .map(|table| vec![format!("{}.{}", table.schema, table.name), table.kind.clone(), table.description.clone()]);
    write_rows(["table", "kept", "one row is"].map(str::to_owned).to_vec(), rows, out)
}

fn write_table(table: &TableDescription, out: &mut (dyn Write + Send)) -> Result<(), QueryError> {
    writeln!(out, "{}.{} ({}): {}", table.table.schema, table.table.name, table.table.kind, table.table.description)?;
    let rows = table.columns.iter().map(|column| {
        let key = if table.grain.contains(&column.name) { "key" } else { "" };
        let texts = [column.unit.clone(), column.description.clone()].map(Option::unwrap_or_default);
        [vec![column.name.clone(), column.kind.clone(), key.to_owned()], texts.to_vec()].concat()
    });
    write_rows(["column", "type", "", "unit", "description"].map(str::to_owned).to_vec(), rows, out)
}

fn write_rows(
    header: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    out: &mut (dyn Write + Send),
) -> Result<(), QueryError> {
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width =
        |column: usize| rows.iter().map(|row| unicode_width::UnicodeWidthStr::width(row[column].as_str())).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| {
            let padding = width.saturating_sub(unicode_width::UnicodeWidthStr::width(cell.as_str()));
            format!("{cell}{}", " ".repeat(padding))
        });
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_parsed() {
        assert_eq!(parse("\\d"), Meta::Tables);
        assert_eq!(parse(" \\d gold.pos_daily ;"), Meta::Describe("gold.pos_daily".into()));
        assert_eq!(parse("\\format csv"), Meta::Format(Format::Csv));
        assert_eq!(parse("\\q"), Meta::Quit);
        assert!(matches!(parse("\\format parquet"), Meta::Wrong(_)));
        assert_eq!(parse("\\formt csv"), Meta::Wrong("unknown command \\formt; did you mean \\format?".into()));
    }
}
