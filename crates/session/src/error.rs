//! What can go wrong with a session or a query, and how DataFusion's errors become these.

use std::time::Duration;

use datafusion::common::{DataFusionError, SchemaError};

use crate::options::{MEMORY_SETTING, TIME_LIMIT_SETTING};

/// An error of a session or of a query in it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The statement is not SQL.
    #[error("{message}")]
    Syntax {
        /// What the parser says, with line and column.
        message: String,
    },
    /// The statement would do something other than read.
    #[error(
        "only queries can run here (SELECT, EXPLAIN, SHOW, DESCRIBE), not {statement}: tables are written by ingest and refine alone"
    )]
    NotReadOnly {
        /// The statement's first words.
        statement: String,
    },
    /// More or fewer than one statement where one is wanted.
    #[error("one statement is wanted, not {found}")]
    OneStatement {
        /// How many there are.
        found: usize,
    },
    /// A table that neither the project nor the latest release knows.
    #[error("unknown table {name}{}", did_you_mean(suggestions))]
    UnknownTable {
        /// The name as the query has it.
        name: String,
        /// Names that are near it, best first.
        suggestions: Vec<String>,
    },
    /// A column that none of the query's tables has.
    #[error("unknown column {name}{}", did_you_mean(suggestions))]
    UnknownColumn {
        /// The name as the query has it.
        name: String,
        /// Names that are near it, best first.
        suggestions: Vec<String>,
    },
    /// A `$name` in the SQL for which no value was given.
    #[error("the query needs a value for the parameter ${name}")]
    MissingParameter {
        /// The parameter, without `$`.
        name: String,
    },
    /// A model's SQL cannot be planned, or views read each other in a circle.
    #[error("{path}: {message}")]
    Model {
        /// The model's file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// An expression of a contract cannot be used as a row rule.
    #[error("{expression}: {message}")]
    RowExpr {
        /// The expression as written.
        expression: String,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// The query needs more memory than it may have, even with spilling.
    #[error(
        "the query needs more than the {limit_mb} MB that it may use: raise the setting `{MEMORY_SETTING}` ({detail})"
    )]
    MemoryLimit {
        /// The limit, in megabytes (10^6 bytes).
        limit_mb: usize,
        /// Which operators held it.
        detail: String,
    },
    /// The query spilled more than the temporary directory may hold.
    #[error("the query spilled more to the temporary directory than it may: {detail}")]
    SpillLimit {
        /// How much, and where.
        detail: String,
    },
    /// The query ran longer than it may.
    #[error("the query ran longer than {} s: raise the setting `{TIME_LIMIT_SETTING}`", limit.as_secs_f64())]
    TimeLimit {
        /// The limit.
        limit: Duration,
    },
    /// The temporary directory for spilling cannot be made.
    #[error("temporary directory {path}: {source}")]
    TempDir {
        /// The directory.
        path: String,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The threads for queries cannot be started.
    #[error("threads for queries: {0}")]
    Threads(std::io::Error),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Anything else that DataFusion reports while it plans or runs a query.
    #[error("{0}")]
    Query(Box<DataFusionError>),
}

fn did_you_mean(suggestions: &[String]) -> String {
    match suggestions {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [most @ .., last] => format!("; did you mean {} or {last}?", most.join(", ")),
    }
}

impl SessionError {
    /// Whether the one who asked can mend it by asking otherwise (exit code 2, HTTP 400), as against a failure of the
    /// run (exit code 1, HTTP 500).
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Syntax { .. }
            | Self::NotReadOnly { .. }
            | Self::OneStatement { .. }
            | Self::UnknownTable { .. }
            | Self::UnknownColumn { .. }
            | Self::MissingParameter { .. }
            | Self::RowExpr { .. } => true,
            Self::Query(source) => {
                matches!(source.find_root(), DataFusionError::Plan(_) | DataFusionError::SchemaError(..))
            }
            _ => false,
        }
    }
}

impl From<DataFusionError> for SessionError {
    /// Takes one of ours out of DataFusion's wrappings, and recognises syntax errors and unknown columns.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<SessionError>() {
                Ok(ours) => *ours,
                Err(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(inner) => Self::from(*inner),
                    Err(inner) => Self::Query(Box::new(DataFusionError::External(inner))),
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::SQL(parser, _) => Self::Syntax { message: parser.to_string() },
            DataFusionError::SchemaError(schema, backtrace) => match *schema {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let known = valid_fields.iter().map(|column| column.name.clone());
                    Self::UnknownColumn {
                        suggestions: crate::describe::nearest(&field.name, known),
                        name: field.flat_name(),
                    }
                }
                other => Self::Query(Box::new(DataFusionError::SchemaError(Box::new(other), backtrace))),
            },
            other => Self::Query(Box::new(other)),
        }
    }
}

impl From<SessionError> for DataFusionError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Query(inner) => *inner,
            ours => DataFusionError::External(Box::new(ours)),
        }
    }
}
