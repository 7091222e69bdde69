//! What can go wrong, by what a caller can do about it.

use std::fmt;

use object_store::path::Path;
use schema::TableName;

/// The result of every operation of this crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a commit was not accepted (ENGINE.md, rule 3). The whole batch is to be dropped and made again from the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// An input does not stand where the commit started: another writer consumed it.
    InputMoved {
        /// The input's id.
        input: String,
        /// Where the commit started.
        expected: Option<i64>,
        /// Where the table stands.
        found: Option<i64>,
    },
    /// A file that the commit removes is no longer live: another writer rewrote or removed it.
    FileGone {
        /// Path of the file, relative to the table.
        path: String,
    },
    /// Schema, properties or model fingerprint are no longer those of the commit's base.
    MetadataChanged,
    /// The protocol version is no longer that of the commit's base.
    ProtocolChanged,
    /// Rows changed after the base of a commit that takes no other change beside it.
    RowsChanged {
        /// The version that changed them.
        version: i64,
    },
    /// Another run had consumed the inputs already.
    SlotTaken,
}

impl fmt::Display for ConflictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |position: &Option<i64>| position.map_or_else(|| "its start".to_string(), |p| p.to_string());
        match self {
            Self::InputMoved { input, expected, found } => {
                write!(f, "input {input} stands at {}, the batch starts at {}", at(found), at(expected))
            }
            Self::FileGone { path } => write!(f, "file {path} was removed by another writer"),
            Self::MetadataChanged => f.write_str("schema, properties or fingerprint changed"),
            Self::ProtocolChanged => f.write_str("the protocol version changed"),
            Self::RowsChanged { version } => write!(f, "version {version} changed rows meanwhile"),
            Self::SlotTaken => f.write_str("another writer was first"),
        }
    }
}

/// The class of an error, for exit codes, HTTP status and SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A table, version or file that does not exist.
    NotFound,
    /// Another writer was first; begin again from the table.
    Conflict,
    /// A table or lake that this version does not read or write.
    Unsupported,
    /// The caller's arguments or configuration are wrong.
    Invalid,
    /// What is stored breaks the format.
    Corrupt,
    /// History that was cleaned up, or an upstream that fell back.
    History,
    /// Storage refused for lack of rights (also read-only mounts).
    Denied,
    /// Storage is full.
    Full,
    /// Storage failed in a way that may pass.
    Storage,
    /// Parquet, Arrow or DataFusion failed; not the user's doing.
    Internal,
}

/// Errors of the lake.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The lake's address or its options are wrong.
    #[error("{url}: {message}")]
    BadUrl {
        /// The address as given.
        url: String,
        /// What was expected.
        message: String,
    },
    /// The lake was written by a newer Smelt.
    #[error("lake {url} has format {found}, this version reads up to {supported}: use a newer smelt")]
    NewerLake {
        /// Address of the lake.
        url: String,
        /// Format found in `_smelt/format.json`.
        found: u64,
        /// The newest format that this binary knows.
        supported: u64,
    },
    /// A table that a caller needs does not exist.
    #[error("table {table} does not exist")]
    NoSuchTable {
        /// The table.
        table: TableName,
    },
    /// A version that was never committed, or whose log is cleaned up.
    #[error("table {table} has no version {version} that can still be read")]
    NoSuchVersion {
        /// The table.
        table: TableName,
        /// The version asked for.
        version: i64,
    },
    /// The table needs features that this crate does not have.
    #[error("table {table} needs {feature}; smelt reads and writes Delta reader version 1 and writer versions up to 4")]
    UnsupportedTable {
        /// The table.
        table: TableName,
        /// What the table asks for.
        feature: String,
    },
    /// A schema that Delta tables or Smelt cannot hold.
    #[error("table {table}, column {column}: {message}")]
    BadColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A contract or model asks for a table that differs from the stored one in more than new nullable columns.
    #[error("table {table}: {message}; {advice}")]
    Incompatible {
        /// The table.
        table: TableName,
        /// The difference.
        message: String,
        /// What to do about it.
        advice: String,
    },
    /// The commit was not accepted: drop the batch and start again from the table.
    #[error("commit to {table} after version {base} refused: {reason}")]
    Conflict {
        /// The table.
        table: TableName,
        /// The version that the commit was checked against.
        base: i64,
        /// What another writer did.
        reason: ConflictReason,
    },
    /// Storage failed so often around the put that nobody knows whether the commit landed. Start again from the table.
    #[error("commit {version} to {table} has an unknown fate")]
    FateUnknown {
        /// The table.
        table: TableName,
        /// The version that was put.
        version: i64,
        /// The last error of the store.
        #[source]
        source: object_store::Error,
    },
    /// The files of a commit are so old that maintenance may already have taken them for orphans.
    #[error(
        "commit to {table} names {path}, which is {age_hours} h old; files are committed within 24 h or written again"
    )]
    StaleFiles {
        /// The table.
        table: TableName,
        /// The oldest file.
        path: String,
        /// Its age.
        age_hours: i64,
    },
    /// A commit that contradicts itself.
    #[error("commit to {table}: {message}")]
    BadCommit {
        /// The table.
        table: TableName,
        /// What is wrong.
        message: String,
    },
    /// Changes were asked for from a version whose log is cleaned up: the consumer has to be rebuilt.
    #[error(
        "the changes of {table} after version {from} are no longer kept (oldest is {oldest:?}): rebuild what reads it"
    )]
    HistoryGone {
        /// The upstream table.
        table: TableName,
        /// The version that was consumed.
        from: i64,
        /// The oldest version whose changes can be read.
        oldest: Option<i64>,
    },
    /// The upstream is behind what was consumed: it lost commits (ENGINE.md, rule 5).
    #[error(
        "table {table} is at version {head}, but version {consumed} was already consumed from it: it was restored or lost commits"
    )]
    UpstreamBehind {
        /// The upstream table.
        table: TableName,
        /// Its head.
        head: i64,
        /// What a consumer holds.
        consumed: i64,
    },
    /// The log or a data file breaks the format.
    #[error("table {table}: {path}: {message}")]
    Corrupt {
        /// The table.
        table: TableName,
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A release or the lake's own bookkeeping cannot be read.
    #[error("{path}: {message}")]
    BadFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A release number that somebody else published.
    #[error("release {number} is taken")]
    ReleaseTaken {
        /// The number.
        number: u64,
    },
    /// Storage failed.
    #[error("storage: {context}")]
    Storage {
        /// What was attempted, with the path.
        context: String,
        /// The store's error.
        #[source]
        source: object_store::Error,
    },
    /// Parquet failed.
    #[error("parquet: {context}")]
    Parquet {
        /// What was attempted, with the path.
        context: String,
        /// Its error.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Arrow failed.
    #[error("arrow: {context}")]
    Arrow {
        /// What was attempted.
        context: String,
        /// Its error.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A worker thread ended early (a panic, or the runtime shut down).
    #[error("worker stopped: {0}")]
    Worker(String),
}

impl StoreError {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadUrl { .. } | Self::BadColumn { .. } | Self::Incompatible { .. } | Self::BadCommit { .. } => {
                ErrorKind::Invalid
            }
            Self::NewerLake { .. } | Self::UnsupportedTable { .. } => ErrorKind::Unsupported,
            Self::NoSuchTable { .. } | Self::NoSuchVersion { .. } => ErrorKind::NotFound,
            Self::Conflict { .. } | Self::ReleaseTaken { .. } | Self::StaleFiles { .. } => ErrorKind::Conflict,
            Self::HistoryGone { .. } | Self::UpstreamBehind { .. } => ErrorKind::History,
            Self::Corrupt { .. } | Self::BadFile { .. } => ErrorKind::Corrupt,
            Self::FateUnknown { source, .. } | Self::Storage { source, .. } => storage_kind(source),
            Self::Parquet { .. } | Self::Arrow { .. } | Self::Worker(_) => ErrorKind::Internal,
        }
    }

    /// Whether the same work, begun again from the table, may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Conflict | ErrorKind::Storage)
    }

    /// Whether a run that goes on for good waits for its end: storage fails, or refuses what it let through before, until
    /// keys or rights are renewed.
    pub fn is_outage(&self) -> bool {
        matches!(self.kind(), ErrorKind::Storage | ErrorKind::Denied)
    }

    /// Wraps an error of the store with what was attempted on which path.
    pub(crate) fn storage(action: &str, path: &Path, source: object_store::Error) -> Self {
        Self::Storage { context: format!("{action} {path}"), source }
    }

    /// Wraps an error of Parquet with what was attempted.
    pub(crate) fn parquet(context: impl Into<String>, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet { context: context.into(), source }
    }

    /// Wraps an error of Arrow with what was attempted.
    pub(crate) fn arrow(context: impl Into<String>, source: arrow::error::ArrowError) -> Self {
        Self::Arrow { context: context.into(), source }
    }
}

/// Finds the operating system's reason below a store's error, because a full disk and a read-only mount need other
/// advice than a lost connection.
fn storage_kind(error: &object_store::Error) -> ErrorKind {
    match error {
        object_store::Error::NotFound { .. } => return ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            return ErrorKind::Denied;
        }
        _ => {}
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
                _ => ErrorKind::Storage,
            };
        }
        cause = current.source();
    }
    ErrorKind::Storage
}
