//! Why a project was refused.

use std::fmt;

/// A place in a project's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file's path, relative to the project folder.
    pub path: String,
    /// The 1-based line.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// What is wrong with a project's files. Every variant that comes from a file names file and line, and the key where
/// there is one. All of them are mistakes in the project: trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The TOML or the comment around it cannot be read.
    #[error("{at}: {message}")]
    Syntax {
        /// Where.
        at: Location,
        /// What the parser expected.
        message: String,
    },
    /// A key that means nothing here.
    #[error("{at}: unknown key `{key}`{}", hint(.suggestion, .expected))]
    UnknownKey {
        /// Where.
        at: Location,
        /// The key as written, with its tables: `fields.price.typ`.
        key: String,
        /// The known key that looks most like it.
        suggestion: Option<String>,
        /// All keys that are known here.
        expected: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("{at}: key `{key}` is missing: expected {expected}")]
    MissingKey {
        /// The line of the table that lacks the key.
        at: Location,
        /// The missing key.
        key: String,
        /// What its value should be.
        expected: String,
    },
    /// A value is of the wrong type or out of range, or names something that does not exist.
    #[error("{at}: `{key}` is {found}: expected {expected}")]
    WrongValue {
        /// Where.
        at: Location,
        /// The key, with its tables.
        key: String,
        /// The value as found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Two things claim one name.
    #[error("{at}: {what} is already defined in {other}")]
    Duplicate {
        /// Where the second one is.
        at: Location,
        /// What is defined twice.
        what: String,
        /// Where the first one is.
        other: String,
    },
    /// A file where no project file belongs.
    #[error("{path}: not a project file: expected {expected}")]
    Path {
        /// The file's path.
        path: String,
        /// What the project can hold there.
        expected: String,
    },
    /// A text that is not a table's name.
    #[error("`{text}` is not a table name: expected <layer>.<name>, for example gold.daily_store_sales")]
    TableName {
        /// The text.
        text: String,
    },
    /// A contract that no longer fits the table made from it.
    #[error("{table}: {problem}; {advice}")]
    Incompatible {
        /// The table.
        table: String,
        /// The field and how it differs.
        problem: String,
        /// What the user can do.
        advice: String,
    },
}

/// The end of an unknown-key message: a suggestion, or else all that is known.
fn hint(suggestion: &Option<String>, expected: &[String]) -> String {
    match suggestion {
        Some(known) => format!(", did you mean `{known}`?"),
        None if expected.is_empty() => String::new(),
        None => format!(": expected one of {}", expected.join(", ")),
    }
}
