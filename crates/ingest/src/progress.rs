//! What a run tells while it runs; the binary draws it, a library user may ignore it.

use crate::report::{Counts, IncompleteSet};

/// Something that happened in a run. Rows are records of the source, bytes are bytes of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgressEvent<'a> {
    /// A source of a stream was opened; `bytes` is what it holds, where that is known before reading.
    Started {
        /// The stream.
        stream: &'a str,
        /// The source, as a person would name it.
        source: &'a str,
        /// Bytes to read, if known.
        bytes: Option<u64>,
    },
    /// More bytes are known to be read (landing files that were just accepted).
    Expected {
        /// The stream.
        stream: &'a str,
        /// Additional bytes.
        bytes: u64,
    },
    /// Records were read and decoded; they are not committed yet.
    Read {
        /// The stream.
        stream: &'a str,
        /// Records since the last event of this kind.
        rows: u64,
        /// Bytes since the last event of this kind.
        bytes: u64,
    },
    /// A commit was made.
    Committed {
        /// The stream.
        stream: &'a str,
        /// The table's new version.
        version: i64,
        /// What this commit holds.
        counts: Counts,
    },
    /// Something a person should read.
    Note {
        /// The stream.
        stream: &'a str,
        /// What happened.
        message: &'a str,
        /// Whether it needs attention.
        warning: bool,
    },
    /// A day of a landing set is due and not complete; told once for each state of it.
    Incomplete(&'a IncompleteSet),
    /// A source of a stream ended.
    Finished {
        /// The stream.
        stream: &'a str,
    },
}

/// Takes the events of a run. Called from several threads; must not block.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: ProgressEvent<'_>);
}

/// Ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: ProgressEvent<'_>) {}
}
