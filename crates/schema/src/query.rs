//! Named queries: a question with its SQL (`queries/<name>.sql`).

use crate::FieldType;

/// A named query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedQuery {
    /// The file's name without `.sql`.
    pub name: String,
    /// The file, relative to the project folder.
    pub path: String,
    /// The question that it answers.
    pub question: String,
    /// Parameters, in file order; the statement names them as `$name`.
    pub params: Vec<Param>,
    /// How to draw the answer.
    pub chart: Option<Chart>,
    /// The statement, without the header.
    pub sql: String,
    /// The 1-based line of the file on which `sql` starts.
    pub sql_first_line: usize,
}

/// A parameter of a named query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name, without `$`.
    pub name: String,
    /// Its type; never a list.
    pub kind: FieldType,
    /// The value when none is given, as text (empty is null, for every type but string); `None`: it must be given.
    pub default: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

/// How an answer is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// `bar`, `line`, `area`, `pie`, `scatter` or `number`.
    pub kind: String,
    /// The column along the x axis.
    pub x: String,
    /// The column of the values.
    pub y: String,
    /// The column that splits the values into series.
    pub series: Option<String>,
}
