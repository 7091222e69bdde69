//! What can end a run, a variant per cause that a caller could act on.

use store::StoreError;

use crate::decode::DecodeError;

/// Why a run, or one of its streams, could not go on.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// No contract of that name.
    #[error("no stream {name:?}; the project has {known}")]
    UnknownStream {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A stream was named, but nothing says where it comes from.
    #[error("stream {stream} has no source: {why}")]
    NotConfigured {
        /// The stream.
        stream: String,
        /// What is missing.
        why: String,
    },
    /// An option whose value cannot be used.
    #[error("{key} = {value:?}: expected {expected}")]
    Option {
        /// The option.
        key: String,
        /// Its value.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A landing place that cannot be listed.
    #[error("input {input} of stream {stream}: {reason}")]
    Input {
        /// The stream.
        stream: String,
        /// The path or URL.
        input: String,
        /// Why.
        reason: String,
    },
    /// A landing place that is not there.
    #[error("input {input} of stream {stream}: there is no such file or folder")]
    NoInput {
        /// The stream.
        stream: String,
        /// The path.
        input: String,
    },
    /// Another run holds the landing files of this stream.
    #[error("another run is loading stream {stream}: {holder}")]
    Busy {
        /// The stream.
        stream: String,
        /// The other run, as its lock names it.
        holder: String,
    },
    /// The contract's stop rule tripped; the batch that tripped it was not committed.
    #[error(
        "stream {stream} stopped: {bad} of the last {of} records are bad, more than the contract allows ({allowed}); \
         nothing of this batch was committed. most frequent reason: {reason}"
    )]
    TooManyBad {
        /// The stream.
        stream: String,
        /// Bad records in the window.
        bad: u64,
        /// Records in the window.
        of: u64,
        /// The rule.
        allowed: String,
        /// The reason that most of the bad ones share.
        reason: String,
    },
    /// The table that exists does not fit the contract.
    #[error("{table} does not fit its contract: {reason}")]
    Incompatible {
        /// The table.
        table: String,
        /// What differs and what to do.
        reason: String,
    },
    /// The contract asks for something that cannot be done.
    #[error(transparent)]
    Contract(#[from] schema::SchemaError),
    /// A mend that is no expression over a record.
    #[error("mend {mend}: {reason}")]
    Mend {
        /// The mend as it was written.
        mend: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of an edited file that cannot be used.
    #[error("{file}:{line}: {reason}")]
    Edit {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Records in quarantine that cannot be read.
    #[error("the quarantine of {stream} cannot be read: {reason}")]
    Quarantine {
        /// The stream.
        stream: String,
        /// Why.
        reason: String,
    },
    /// Messages expired before they were read.
    #[error(
        "{topic}/{partition}: {gone} messages are gone: the table stands at offset {position}, the broker's earliest is \
         {earliest} (ingest --accept-gap goes on without them)"
    )]
    Expired {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The next offset that the table wants.
        position: i64,
        /// The earliest offset of the broker.
        earliest: i64,
        /// How many offsets lie between.
        gone: i64,
    },
    /// The topic is not the one that was read before.
    #[error(
        "{log} is not the log that the table was read from: {reason} (ingest --accept-gap goes on with what is there)"
    )]
    Recreated {
        /// The topic, or the partition of it that shows it.
        log: String,
        /// How that shows.
        reason: String,
    },
    /// The contract starts at an offset that the broker does not have.
    #[error("{partition}: the contract starts at offset {offset}, but the broker has {earliest} up to {end}")]
    NoSuchStart {
        /// The topic and partition.
        partition: String,
        /// The offset that the contract names.
        offset: i64,
        /// The earliest offset of the broker.
        earliest: i64,
        /// The offset of the next message.
        end: i64,
    },
    /// The broker was reached and refuses: credentials, certificates, rights, settings of the group.
    #[error("kafka refuses: {reason}")]
    Refused {
        /// What the broker or the client said.
        reason: String,
    },
    /// The Kafka client failed for good.
    #[error("kafka: {context}: {reason}")]
    Kafka {
        /// What was being done.
        context: String,
        /// The client's message.
        reason: String,
    },
    /// The schema registry refuses, or was not there for as long as it is waited for.
    #[error("schema registry {url}: {reason}")]
    Registry {
        /// Its address.
        url: String,
        /// What it said, or what keeps it from being reached.
        reason: String,
    },
    /// Decoding stopped; never because of what a record holds.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The lake failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An inner task died; a bug.
    #[error("internal: {0}")]
    Internal(String),
}

impl IngestError {
    /// Whether the cause is in what the user wrote (exit code 2) and not in the data or the machine (1).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownStream { .. }
                | Self::NotConfigured { .. }
                | Self::Option { .. }
                | Self::Mend { .. }
                | Self::Edit { .. }
                | Self::Contract(_)
        )
    }
}
