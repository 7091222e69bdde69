//! What can go wrong while checks are evaluated or results and incidents are kept.

use datafusion::error::DataFusionError;
use session::SessionError;
use store::StoreError;

/// The result of every operation of this crate.
pub type Result<T, E = QualityError> = std::result::Result<T, E>;

/// Errors of checks, results and incidents. A check that is not met is none: it is a [`crate::CheckResult`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QualityError {
    /// The SQL of a check cannot be run.
    #[error("check {check}: {source}")]
    Sql {
        /// The check's name.
        check: String,
        /// Why.
        source: SessionError,
    },
    /// The session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state of an incident cannot be read or written.
    #[error("{path}: {message}")]
    Incident {
        /// The object in the lake.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// Alerts cannot be sent from this process at all.
    #[error("alerts: {0}")]
    Alerts(String),
}

impl From<DataFusionError> for QualityError {
    fn from(error: DataFusionError) -> Self {
        Self::Session(error.into())
    }
}

impl From<arrow::error::ArrowError> for QualityError {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}
