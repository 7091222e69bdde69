//! Completion: keywords, tables, and the columns of the tables that a statement names.

use std::collections::{BTreeMap, BTreeSet};

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use schema::{Layer, Project};

use super::split::statements;

const KEYWORDS: &[&str] = &[
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "COUNT",
    "CROSS",
    "CURRENT_DATE",
    "DATE",
    "DATE_TRUNC",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MIN",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "QUALIFY",
    "RATIO",
    "RIGHT",
    "ROUND",
    "SELECT",
    "SHOW",
    "SUM",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];

const COMMANDS: &[&str] = &["\\d", "\\format", "\\q", "\\queries", "\\?"];

/// What can be completed: known from the project alone, so that a Tab reads nothing.
pub(super) struct Completion {
    /// Columns by `schema.table`.
    columns: BTreeMap<String, Vec<String>>,
}

impl Completion {
    pub(super) fn new(project: &Project) -> Self {
        let mut columns = BTreeMap::new();
        for contract in project.contracts.values() {
            let schema = contract.bronze_schema();
            let mut names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            columns.insert(format!("quarantine.{}", contract.name), names.clone());
            names.push(session::LINEAGE_COLUMN.to_owned());
            columns.insert(format!("bronze.{}", contract.name), names);
        }
        for model in project.models.values().filter(|model| model.name.layer != Layer::Bronze) {
            columns.insert(model.name.to_string(), model.columns.iter().map(|column| column.name.clone()).collect());
        }
        Self { columns }
    }

    /// Words that may stand at `at` of `text`, and where the word that they replace starts.
    pub(super) fn candidates(&self, text: &str, at: usize) -> (usize, Vec<String>) {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '\\' | '?');
        let start = text[..at].rfind(|c| !is_word(c)).map_or(0, |place| place + first_len(&text[place..]));
        let word = &text[start..at];
        if word.starts_with('\\') {
            return (start, starting(COMMANDS.iter().copied(), word));
        }
        let lower = word.to_lowercase();
        let named = self.columns.iter().filter(|(table, _)| mentions(text, table));
        let columns: BTreeSet<&str> = named.flat_map(|(_, columns)| columns).map(String::as_str).collect();
        let mut found = starting(columns.into_iter(), &lower);
        found.extend(starting(self.columns.keys().map(String::as_str), &lower));
        if !word.is_empty() && !word.contains('.') {
            // Keywords in the case in which the word was begun.
            let upper = word.chars().all(char::is_uppercase);
            let keywords = starting(KEYWORDS.iter().copied(), &word.to_uppercase());
            found.extend(keywords.into_iter().map(|word| if upper { word } else { word.to_lowercase() }));
        }
        (start, found)
    }
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

fn starting<'a>(words: impl Iterator<Item = &'a str>, prefix: &str) -> Vec<String> {
    words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

/// Whether a statement names the table, by its full name or, in `gold`, by its own.
fn mentions(text: &str, table: &str) -> bool {
    let bare = table.strip_prefix("gold.").unwrap_or(table);
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
        .any(|word| word == table || word == bare)
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>), ReadlineError> {
        let (start, words) = self.candidates(line, pos);
        Ok((start, words.into_iter().map(|word| Pair { display: word.clone(), replacement: word }).collect()))
    }
}

impl Validator for Completion {
    /// A line is read on until its last statement has its `;`; commands end with their line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult, ReadlineError> {
        let input = context.input();
        let complete = input.trim_start().starts_with('\\') || statements(input).1;
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let columns = BTreeMap::from([
            ("gold.pos_daily".to_owned(), vec!["event_date".to_owned(), "sales".to_owned()]),
            ("silver.sales_lines".to_owned(), vec!["event_id".to_owned()]),
        ]);
        let (_, found) = Completion { columns }.candidates(text, text.len());
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn tables_columns_and_keywords() {
        check("sel", &["select"]);
        check("SEL", &["SELECT"]);
        check("SELECT * FROM gold.p", &["gold.pos_daily"]);
        check("SELECT * FROM silver.sales_lines WHERE ev", &["event_id"]);
        check("SELECT * FROM pos_daily ORDER BY sa", &["sales"]);
        check("SELECT 'ü' FROM si", &["silver.sales_lines"]);
        check("\\qu", &["\\queries"]);
    }
}
