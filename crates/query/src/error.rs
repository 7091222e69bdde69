//! What can go wrong between a question and its written answer.

use std::io;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use parquet::errors::ParquetError;
use session::SessionError;

/// An error of a named query, of an output format or of the prompt.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No query of that name.
    #[error("unknown query {name}{}; --list shows all", hint(suggestion))]
    UnknownQuery {
        /// The name as given.
        name: String,
        /// The known name that looks most like it.
        suggestion: Option<String>,
    },
    /// A parameter that the query does not have.
    #[error("query {query} has no parameter {name}{}", expected(suggestion, known))]
    UnknownParameter {
        /// The query.
        query: String,
        /// The parameter as given.
        name: String,
        /// The known name that looks most like it.
        suggestion: Option<String>,
        /// All that it has.
        known: Vec<String>,
    },
    /// A parameter without a default for which no value was given.
    #[error("query {query} needs the parameter {name} ({kind}): {description}")]
    MissingParameter {
        /// The query.
        query: String,
        /// The parameter.
        name: String,
        /// Its type.
        kind: String,
        /// What it means.
        description: String,
    },
    /// A value that is not of the parameter's type.
    #[error("parameter {name} of query {query} is {found:?}: expected {expected}")]
    WrongValue {
        /// The query.
        query: String,
        /// The parameter.
        name: String,
        /// The value as given.
        found: String,
        /// What was expected, with an example.
        expected: String,
    },
    /// A named query failed.
    #[error("{path}: {source}")]
    Named {
        /// The query's file.
        path: String,
        /// Why.
        source: Box<SessionError>,
    },
    /// A query failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The answer has a column of a type that the format cannot hold, or a value that it cannot express.
    #[error("{0}")]
    Encode(String),
    /// A table that cannot be published as it says, or at all.
    #[error("{0}")]
    Publish(String),
    /// The place that is published to failed.
    #[error("publishing: {0}")]
    Destination(#[from] object_store::Error),
    /// The answer could not be written.
    #[error("writing the answer: {0}")]
    Write(#[from] io::Error),
    /// The terminal could not be read.
    #[error("reading the terminal: {0}")]
    Terminal(#[from] rustyline::error::ReadlineError),
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

fn expected(suggestion: &Option<String>, known: &[String]) -> String {
    match suggestion {
        Some(_) => hint(suggestion),
        None if known.is_empty() => " (it has none)".to_owned(),
        None => format!("; it has {}", known.join(", ")),
    }
}

impl QueryError {
    /// Whether the one who asked can mend it by asking otherwise (exit code 2, HTTP 400).
    pub fn is_usage(&self) -> bool {
        match self {
            Self::UnknownQuery { .. }
            | Self::UnknownParameter { .. }
            | Self::MissingParameter { .. }
            | Self::WrongValue { .. } => true,
            Self::Publish(_) => true,
            Self::Session(source) => source.is_usage(),
            // A named query that does not plan is the project's fault: wrong configuration too.
            Self::Named { source, .. } => source.is_usage(),
            _ => false,
        }
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        Self::Session(error.into())
    }
}

impl From<object_store::path::Error> for QueryError {
    fn from(error: object_store::path::Error) -> Self {
        Self::Destination(error.into())
    }
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> Self {
        Self::Encode(error.to_string())
    }
}

impl From<ParquetError> for QueryError {
    fn from(error: ParquetError) -> Self {
        Self::Encode(error.to_string())
    }
}
