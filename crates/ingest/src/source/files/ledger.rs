//! The landing ledger: a log of file versions, so that files become an input with positions (ENGINE.md, rule 9).
//!
//! It is the Delta table `_smelt/landing/<stream>`, or one `_smelt/landing/<set>` for all members of a set, appended to
//! only. Each row has the next dense number and says what a look found: a version that was accepted, one with the content
//! of another, one that was refused, or that an accepted version had gone before it was loaded. The Bronze table of a
//! stream says by its `txn` of `files:<stream or set>` up to which number it is loaded.
//!
//! A set has one ledger, so that one commit of one table accepts a day of all its members. What follows (a commit to the
//! Bronze table of each) is what follows any acceptance: numbers beyond a table's position are pending, and whichever run
//! comes next loads them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::prelude::{SessionConfig, SessionContext};
use schema::{Contract, TableName};
use store::{Commit, Consumed, Lake, Operation, Snapshot, Table, TableSpec, WriterOptions};

use super::ledger_rows::{columns, read_entries, rows};
use crate::sink::committed;
use crate::{FileOutcome, IngestError};

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number: dense, from 1. [`Ledger::add`] gives it.
    pub number: i64,
    /// The stream whose file it is; empty for a file in a set's landing place that no member claims.
    pub stream: String,
    /// The day that its name states, if the contract has a pattern.
    pub day: Option<NaiveDate>,
    /// Path relative to the landing root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Etag or modification time; empty when the version is to be looked at again.
    pub stamp: String,
    /// Modification time, microseconds UTC.
    pub modified_us: i64,
    /// XXH3 (128 bits, hex) of the bytes as they lie there; empty where they could not be read.
    pub hash: String,
    /// What it was found to be.
    pub outcome: FileOutcome,
    /// Why, where it was not accepted.
    pub reason: String,
    /// The number of the version with the same content.
    pub same_as: Option<i64>,
    /// The number of the accepted version of this path that this row replaces or withdraws.
    pub supersedes: Option<i64>,
    /// In a set: the first number of those that were accepted together.
    pub delivery: Option<i64>,
}

impl Entry {
    /// The row that withdraws this accepted version, because it is not there any more.
    pub fn gone(&self, reason: String) -> Entry {
        Entry {
            stamp: String::new(),
            hash: String::new(),
            outcome: FileOutcome::Gone,
            reason,
            same_as: None,
            supersedes: Some(self.number),
            delivery: None,
            ..self.clone()
        }
    }
}

/// Whose landing files a ledger notes.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// One stream's.
    Stream(Arc<Contract>),
    /// Those of all members of the set of this name.
    Set(String),
}

impl Owner {
    fn name(&self) -> &str {
        match self {
            Self::Stream(contract) => &contract.name,
            Self::Set(name) => name,
        }
    }

    /// Whether names have to state a day.
    fn is_dated(&self) -> bool {
        match self {
            Self::Stream(contract) => contract.files.as_ref().is_some_and(|files| files.date.is_some()),
            Self::Set(_) => true,
        }
    }

    /// The ledger as an input of Bronze tables.
    pub fn input(&self) -> Arc<str> {
        format!("files:{}", self.name()).into()
    }
}

/// A stream and a path.
type File = (String, String);

/// A ledger, in memory and as a table.
pub(crate) struct Ledger {
    lake: Lake,
    owner: Owner,
    table: Option<Table>,
    /// The table's version that is in memory; `None` also while memory is ahead of the table.
    version: Option<i64>,
    last: i64,
    /// Rows that are in memory only.
    unwritten: Vec<Entry>,
    /// Latest row of each file.
    latest: HashMap<File, Entry>,
    /// The accepted version of each file that is in force.
    current: HashMap<File, i64>,
    /// Accepted versions in force by content.
    by_hash: HashMap<String, Vec<i64>>,
    /// Accepted versions that were not withdrawn, by stream and day.
    by_day: HashMap<(String, NaiveDate), BTreeSet<i64>>,
    /// All accepted versions that were not withdrawn, by number.
    accepted: BTreeMap<i64, Entry>,
}

impl Ledger {
    /// The ledger of an owner; nothing is read yet.
    pub fn new(lake: Lake, owner: Owner) -> Self {
        Self {
            lake,
            owner,
            table: None,
            version: None,
            last: 0,
            unwritten: Vec::new(),
            latest: HashMap::new(),
            current: HashMap::new(),
            by_hash: HashMap::new(),
            by_day: HashMap::new(),
            accepted: BTreeMap::new(),
        }
    }

    fn name(&self) -> TableName {
        TableName::system(format!("landing/{}", self.owner.name()))
    }

    /// The ledger's own input: a commit that adds rows must start at the last number that it knows.
    fn input(&self) -> String {
        format!("landing:{}", self.owner.name())
    }

    /// Brings it up to date with the table, without the rows that were added and not written; costs nothing if nobody
    /// wrote to it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn refresh(&mut self) -> Result<(), IngestError> {
        let snapshot = match &self.table {
            Some(table) => Some(table.refresh().await?),
            None => {
                self.table = self.lake.open_table(&self.name()).await?;
                self.table.as_ref().map(Table::snapshot)
            }
        };
        let Some(snapshot) = snapshot else {
            self.forget();
            return Ok(());
        };
        if self.version == Some(snapshot.version()) {
            return Ok(());
        }
        let mut entries = self.read(&snapshot).await?;
        entries.sort_unstable_by_key(|entry| entry.number);
        self.forget();
        for entry in entries {
            self.apply(entry);
        }
        self.version = Some(snapshot.version());
        Ok(())
    }

    fn forget(&mut self) {
        self.last = 0;
        self.unwritten.clear();
        self.latest.clear();
        self.current.clear();
        self.by_hash.clear();
        self.by_day.clear();
        self.accepted.clear();
    }

    async fn read(&self, snapshot: &Arc<Snapshot>) -> Result<Vec<Entry>, IngestError> {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let url = self.lake.object_store_url();
        context.runtime_env().register_object_store(url.as_ref(), self.lake.object_store());
        let unreadable = |reason: String| IngestError::Input {
            stream: self.owner.name().to_owned(),
            input: self.name().to_string(),
            reason: format!("the landing ledger cannot be read: {reason}"),
        };
        let read = async { context.read_table(snapshot.provider())?.collect().await };
        let batches = read.await.map_err(|error| unreadable(error.to_string()))?;
        let mut entries = Vec::new();
        for batch in &batches {
            read_entries(&self.owner, batch, &mut entries).map_err(unreadable)?;
        }
        Ok(entries)
    }

    fn apply(&mut self, entry: Entry) {
        self.last = self.last.max(entry.number);
        let file = (entry.stream.clone(), entry.path.clone());
        match entry.outcome {
            FileOutcome::Accepted => {
                self.leave_force(&file);
                self.current.insert(file.clone(), entry.number);
                self.by_hash.entry(entry.hash.clone()).or_default().push(entry.number);
                if let Some(day) = entry.day {
                    self.by_day.entry((entry.stream.clone(), day)).or_default().insert(entry.number);
                }
                self.accepted.insert(entry.number, entry.clone());
            }
            FileOutcome::Gone => {
                self.withdraw(&file, entry.supersedes);
                if self.current.contains_key(&file) {
                    // A newer version was accepted since: the file is known as that.
                    return;
                }
            }
            FileOutcome::Same | FileOutcome::Empty | FileOutcome::Refused => {}
        }
        self.latest.insert(file, entry);
    }

    fn withdraw(&mut self, file: &File, number: Option<i64>) {
        if number.is_none() || self.current.get(file).copied() == number {
            self.leave_force(file);
        }
        let Some(number) = number else { return };
        // Copies were left out for its sake: they are to be looked at again.
        self.latest.retain(|_, row| row.same_as != Some(number));
        let Some(entry) = self.accepted.remove(&number) else { return };
        if let Some(day) = entry.day
            && let Some(numbers) = self.by_day.get_mut(&(entry.stream, day))
        {
            numbers.remove(&number);
        }
    }

    /// The version of a file in force is so no more: its content may come again under another name.
    fn leave_force(&mut self, file: &File) {
        let Some(number) = self.current.remove(file) else { return };
        let Some(entry) = self.accepted.get(&number) else { return };
        if let Some(numbers) = self.by_hash.get_mut(&entry.hash) {
            numbers.retain(|n| *n != number);
        }
    }

    /// The latest row of a file.
    pub fn latest(&self, stream: &str, path: &str) -> Option<&Entry> {
        self.latest.get(&(stream.to_owned(), path.to_owned()))
    }

    /// Whether the file lies there as its latest row says. A file that was refused for its name is another matter once its
    /// content was accepted under a right one.
    pub fn knows(&self, stream: &str, path: &str, size: u64, stamp: &str) -> Option<&Entry> {
        let entry = self.latest(stream, path).filter(|entry| entry.size == size && entry.stamp == stamp)?;
        let is_copy = entry.outcome == FileOutcome::Refused
            && !entry.hash.is_empty()
            && self.owner.is_dated()
            && entry.day.is_none()
            && self.same_content(&entry.hash, stream, None).is_some();
        (!is_copy).then_some(entry)
    }

    /// The number of the accepted version of a file in force.
    pub fn in_force(&self, stream: &str, path: &str) -> Option<i64> {
        self.current.get(&(stream.to_owned(), path.to_owned())).copied()
    }

    /// The number of a version in force that makes this content add nothing.
    ///
    /// Rows of dated files are ordered by day and number, and the latest copy counts: a copy of another day's file is
    /// left out only if that one is later, a copy of the same day's only if no other version of the day came after that.
    pub fn same_content(&self, hash: &str, stream: &str, day: Option<NaiveDate>) -> Option<i64> {
        let outlives = |number: &i64| {
            let (Some(day), Some(entry)) = (day, self.accepted.get(number)) else { return true };
            let last = || self.by_day.get(&(stream.to_owned(), day)).and_then(BTreeSet::last);
            let is_later = entry.day.is_none_or(|other| other > day);
            entry.stream == stream && (is_later || (entry.day == Some(day) && last() == Some(number)))
        };
        self.by_hash.get(hash)?.iter().copied().find(|number| outlives(number))
    }

    /// Whether a version of this stream's file of `day` was accepted, or left out as the copy of one.
    pub fn has_day(&self, stream: &str, day: NaiveDate) -> bool {
        let is_copy = |row: &Entry| row.outcome == FileOutcome::Same && row.stream == stream && row.day == Some(day);
        let accepted = self.by_day.get(&(stream.to_owned(), day)).is_some_and(|numbers| !numbers.is_empty());
        accepted || self.latest.values().any(is_copy)
    }

    /// Accepted versions of a stream after `position`, in order: accepted by a run that ended before it had loaded them.
    pub fn pending(&self, stream: &str, position: i64) -> Vec<Entry> {
        self.accepted.range(position + 1..).map(|(_, entry)| entry).filter(|e| e.stream == stream).cloned().collect()
    }

    /// The accepted versions of a delivery that were not withdrawn.
    pub fn delivery(&self, first: i64) -> impl Iterator<Item = &Entry> {
        let rows = self.accepted.range(first..).map(|(_, entry)| entry);
        rows.filter(move |entry| entry.delivery == Some(first))
    }

    /// The last number that was given.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Adds a row in memory, and gives it its number; [`Ledger::write`] makes it durable.
    pub fn add(&mut self, entry: Entry) -> Entry {
        let entry = Entry { number: self.last + 1, ..entry };
        self.version = None;
        self.unwritten.push(entry.clone());
        self.apply(entry.clone());
        entry
    }

    /// Writes all rows that were added since, in one commit.
    ///
    /// # Errors
    /// A conflict when another run wrote first. After any error: refresh, which forgets the rows, and look again.
    pub async fn write(&mut self, seen_at_us: i64) -> Result<(), IngestError> {
        let (Some(first), Some(last)) = (self.unwritten.first(), self.unwritten.last()) else { return Ok(()) };
        let (from, to) = ((first.number > 1).then_some(first.number - 1), last.number);
        let table = match &self.table {
            Some(table) => table.clone(),
            None => {
                let mut spec = TableSpec::new(columns(&self.owner));
                spec.description = Some(format!(
                    "landing files of {}: each version that was seen, and what it was",
                    self.owner.name()
                ));
                let table = self.lake.create_table(&self.name(), &spec).await?;
                self.table = Some(table.clone());
                table
            }
        };
        let mut writer = table.writer(WriterOptions::default());
        writer.write(rows(&self.owner, &self.unwritten, seen_at_us)?).await?;
        let mut commit = Commit::new(table.snapshot(), Operation::Append);
        commit.stage(writer.finish().await?);
        commit.inputs.push(Consumed { input: self.input(), from, to });
        let done = committed(&table, table.commit(commit).await?)?;
        self.unwritten.clear();
        self.version = Some(done.version);
        Ok(())
    }
}
