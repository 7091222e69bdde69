//! What a source of landing files has to say: counts, and words about files that were not simply accepted.

use std::collections::HashSet;
use std::sync::Arc;

use super::ledger::Entry;
use crate::report::FileCounts;
use crate::{FileNote, FileOutcome, MAX_NOTES, Progress, ProgressEvent};

/// Counts and notes of one stream or set.
pub(super) struct Notes {
    stream: String,
    progress: Arc<dyn Progress>,
    /// Files by outcome.
    pub counts: FileCounts,
    notes: Vec<FileNote>,
    said: HashSet<(String, String)>,
}

impl Notes {
    /// None yet, of the stream or set of this name.
    pub fn new(stream: &str, progress: Arc<dyn Progress>) -> Self {
        let (counts, notes, said) = (FileCounts::default(), Vec::new(), HashSet::new());
        Self { stream: stream.to_owned(), progress, counts, notes, said }
    }

    /// Says what became of a file.
    pub fn say(&mut self, path: &str, outcome: FileOutcome, reason: &str) {
        let warning = !matches!(outcome, FileOutcome::Same);
        let message = format!("{path}: {reason}");
        self.progress.event(ProgressEvent::Note { stream: &self.stream, message: &message, warning });
        if self.notes.len() < MAX_NOTES {
            self.notes.push(FileNote { path: path.to_owned(), outcome, reason: reason.to_owned() });
        }
    }

    /// Counts what a ledger row says, and says it unless the file was accepted.
    pub fn count(&mut self, entry: &Entry) {
        let count = match entry.outcome {
            FileOutcome::Accepted => {
                self.counts.accepted += 1;
                return;
            }
            FileOutcome::Same => &mut self.counts.same,
            FileOutcome::Empty => &mut self.counts.empty,
            FileOutcome::Refused => &mut self.counts.refused,
            FileOutcome::Gone => &mut self.counts.gone,
        };
        *count += 1;
        self.say(&entry.path, entry.outcome, &entry.reason);
    }

    /// Says what lies in a landing place and can be no landing file, once.
    pub fn refuse_odd(&mut self, odd: &[(String, String)]) {
        for (path, reason) in odd {
            if self.is_new(path, reason) {
                self.counts.refused += 1;
                self.say(path, FileOutcome::Refused, reason);
            }
        }
    }

    /// Whether this was not said yet; from now on it was.
    pub fn is_new(&mut self, about: &str, what: &str) -> bool {
        self.said.insert((about.to_owned(), what.to_owned()))
    }

    /// Says how many bytes are known to be read.
    pub fn expect(&self, bytes: u64) {
        self.progress.event(ProgressEvent::Expected { stream: &self.stream, bytes });
    }

    /// Takes the notes for a report.
    pub fn take(&mut self) -> Vec<FileNote> {
        std::mem::take(&mut self.notes)
    }
}
