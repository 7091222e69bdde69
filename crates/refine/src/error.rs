//! What can go wrong in a refresh, by what a caller can do about it.

use datafusion::error::DataFusionError;
use quality::{CheckResult, QualityError};
use schema::TableName;
use session::SessionError;
use store::StoreError;

use crate::RefineReport;

/// The result of every operation of this crate.
pub type Result<T, E = RefineError> = std::result::Result<T, E>;

/// The class of an error, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The project or the options are wrong (exit code 2).
    Config,
    /// A quality gate failed (exit code 3).
    Gate,
    /// The run failed (exit code 1).
    Failed,
}

/// Errors of a refresh.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefineError {
    /// A model that cannot be kept as it says.
    #[error("{path}:{line}: {message}")]
    Model {
        /// The model's file.
        path: String,
        /// The 1-based line, or the line on which the SQL starts where no better is known.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Options that name what does not exist, or contradict each other.
    #[error("{0}")]
    Options(String),
    /// The model was edited since its table was made.
    #[error(
        "{model}: the model was changed since its table was made ({what}): run refine --full-refresh --select {model}"
    )]
    Edited {
        /// The model.
        model: TableName,
        /// What differs, as far as it is known.
        what: String,
    },
    /// An upstream of a model that promises to read an append-only table removed rows.
    #[error(
        "{model}: {upstream} removed or changed rows, which a model kept as `{kept}` cannot follow: run refine --full-refresh --select {model}"
    )]
    NotAppendOnly {
        /// The model.
        model: TableName,
        /// The table that it reads.
        upstream: TableName,
        /// `append` or `latest`.
        kept: &'static str,
    },
    /// Checks held models back, or gates feeds. The others were refreshed and, if anything changed, released.
    #[error("{}", .failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Gates {
        /// What failed.
        failures: Vec<CheckResult>,
        /// What the run did otherwise.
        report: Box<RefineReport>,
    },
    /// Other writers were first so often that the run gave up.
    #[error("{model}: another writer was first {attempts} times: {source}")]
    Contended {
        /// The model.
        model: TableName,
        /// How often it was tried.
        attempts: u32,
        /// The last conflict.
        source: StoreError,
    },
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model's SQL failed.
    #[error("{model}: {source}")]
    Sql {
        /// The model.
        model: TableName,
        /// Why.
        source: SessionError,
    },
    /// The session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// DataFusion failed outside a model's own SQL.
    #[error("{0}")]
    Engine(#[from] DataFusionError),
    /// Arrow failed.
    #[error("{0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A check or a gate could not be evaluated, or its result not be kept.
    #[error(transparent)]
    Quality(#[from] QualityError),
    /// Spilling to the temporary directory failed.
    #[error("temporary directory {path}: {source}")]
    Spill {
        /// The directory or file.
        path: String,
        /// What the file system says.
        source: std::io::Error,
    },
    /// A background task ended early.
    #[error("worker stopped: {0}")]
    Worker(String),
}

impl RefineError {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model { .. } | Self::Options(_) | Self::Edited { .. } => ErrorKind::Config,
            Self::Gates { .. } => ErrorKind::Gate,
            _ => ErrorKind::Failed,
        }
    }

    /// Whether a run that follows begins the same work again: another writer was first, or storage fails or refuses,
    /// which may pass.
    pub fn is_retryable(&self) -> bool {
        let of_store = |error: &StoreError| error.is_retryable() || error.is_outage();
        match self {
            Self::Store(error) | Self::Contended { source: error, .. } => of_store(error),
            Self::Quality(QualityError::Store(error)) => of_store(error),
            _ => self.of_engine().is_some_and(|error| matches!(error, DataFusionError::ObjectStore(_))),
        }
    }

    /// What DataFusion met, wherever it ran.
    fn of_engine(&self) -> Option<&DataFusionError> {
        match self {
            Self::Engine(error) => Some(error.find_root()),
            Self::Session(SessionError::Query(error))
            | Self::Sql { source: SessionError::Query(error), .. }
            | Self::Quality(QualityError::Session(SessionError::Query(error))) => Some(error.find_root()),
            _ => None,
        }
    }

    /// Whether the session's memory did not suffice.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Session(SessionError::MemoryLimit { .. })
            | Self::Sql { source: SessionError::MemoryLimit { .. }, .. }
            | Self::Quality(QualityError::Session(SessionError::MemoryLimit { .. })) => true,
            _ => self.of_engine().is_some_and(|error| matches!(error, DataFusionError::ResourcesExhausted(_))),
        }
    }

    /// Names the model whose SQL failed.
    pub(crate) fn in_model(self, model: &TableName) -> Self {
        match self {
            Self::Engine(source) => Self::Sql { model: model.clone(), source: source.into() },
            Self::Session(source) => Self::Sql { model: model.clone(), source },
            other => other,
        }
    }
}
