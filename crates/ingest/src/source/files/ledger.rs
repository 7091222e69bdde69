//! The landing ledger: a log of file versions, so that files become an input with positions (ENGINE.md, rule 9).
//!
//! It is the Delta table `_smelt/landing/<stream>`, appended to only. Each row has the next dense number and says what a
//! look found: a version that was accepted, one with the content of another, one that was refused, or that an accepted
//! version had gone before it was loaded. Bronze says by its `txn` of `files:<stream>` up to which number it is loaded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::prelude::{SessionConfig, SessionContext};
use schema::TableName;
use store::{Commit, Consumed, Lake, Operation, Table, TableSpec, WriterOptions};

use crate::sink::committed;
use crate::{FileOutcome, IngestError};

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number: dense, from 1.
    pub number: i64,
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
}

/// The ledger of one stream, in memory and as a table.
pub(crate) struct Ledger {
    lake: Lake,
    stream: String,
    table: Option<Table>,
    version: Option<i64>,
    last: i64,
    /// Latest row of each path.
    latest: HashMap<String, Entry>,
    /// The accepted version of each path that is in force.
    current: HashMap<String, i64>,
    /// Accepted versions in force by content.
    by_hash: HashMap<String, Vec<i64>>,
    /// All accepted versions that were not withdrawn, by number.
    accepted: BTreeMap<i64, Entry>,
}

impl Ledger {
    /// The ledger of a stream; nothing is read yet.
    pub fn new(lake: Lake, stream: &str) -> Self {
        Self {
            lake,
            stream: stream.to_owned(),
            table: None,
            version: None,
            last: 0,
            latest: HashMap::new(),
            current: HashMap::new(),
            by_hash: HashMap::new(),
            accepted: BTreeMap::new(),
        }
    }

    fn name(&self) -> TableName {
        TableName::system(format!("landing/{}", self.stream))
    }

    /// The ledger's own input: a commit that adds rows must start at the last number that it knows.
    fn input(&self) -> String {
        format!("landing:{}", self.stream)
    }

    /// Brings it up to date with the table; costs nothing if nobody wrote to it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn refresh(&mut self) -> Result<(), IngestError> {
        let snapshot = match &self.table {
            Some(table) => table.refresh().await?,
            None => {
                let Some(table) = self.lake.open_table(&self.name()).await? else { return Ok(()) };
                let snapshot = table.snapshot();
                self.table = Some(table);
                snapshot
            }
        };
        if self.version == Some(snapshot.version()) {
            return Ok(());
        }
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let url = self.lake.object_store_url();
        context.runtime_env().register_object_store(url.as_ref(), self.lake.object_store());
        let read = async { context.read_table(snapshot.provider())?.collect().await };
        let batches = read.await.map_err(|error| IngestError::Input {
            stream: self.stream.clone(),
            input: self.name().to_string(),
            reason: format!("the landing ledger cannot be read: {error}"),
        })?;
        let mut entries = Vec::new();
        for batch in &batches {
            read_entries(batch, &mut entries).map_err(|reason| IngestError::Input {
                stream: self.stream.clone(),
                input: self.name().to_string(),
                reason,
            })?;
        }
        entries.sort_unstable_by_key(|entry| entry.number);
        self.last = 0;
        self.latest.clear();
        self.current.clear();
        self.by_hash.clear();
        self.accepted.clear();
        for entry in entries {
            self.apply(entry);
        }
        self.version = Some(snapshot.version());
        Ok(())
    }

    fn apply(&mut self, entry: Entry) {
        self.last = self.last.max(entry.number);
        match entry.outcome {
            FileOutcome::Accepted => {
                self.leave_force(&entry.path);
                self.current.insert(entry.path.clone(), entry.number);
                self.by_hash.entry(entry.hash.clone()).or_default().push(entry.number);
                self.accepted.insert(entry.number, entry.clone());
            }
            FileOutcome::Gone => {
                self.leave_force(&entry.path);
                if let Some(withdrawn) = entry.supersedes {
                    self.accepted.remove(&withdrawn);
                    // Copies were left out for its sake: they are to be looked at again.
                    self.latest.retain(|_, row| row.same_as != Some(withdrawn));
                }
            }
            FileOutcome::Same | FileOutcome::Empty | FileOutcome::Refused => {}
        }
        self.latest.insert(entry.path.clone(), entry);
    }

    /// The version of `path` in force is so no more: its content may come again under another name.
    fn leave_force(&mut self, path: &str) {
        let Some(number) = self.current.remove(path) else { return };
        let Some(entry) = self.accepted.get(&number) else { return };
        if let Some(numbers) = self.by_hash.get_mut(&entry.hash) {
            numbers.retain(|n| *n != number);
        }
    }

    /// The latest row of a path.
    pub fn latest(&self, path: &str) -> Option<&Entry> {
        self.latest.get(path)
    }

    /// The last number that was given.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// The number of the accepted version of `path` in force.
    pub fn in_force(&self, path: &str) -> Option<i64> {
        self.current.get(path).copied()
    }

    /// The number of a version in force with this content.
    pub fn same_content(&self, hash: &str) -> Option<i64> {
        self.by_hash.get(hash).and_then(|numbers| numbers.first()).copied()
    }

    /// Accepted versions after `position`, in order: accepted by a run that ended before it had loaded them.
    pub fn pending(&self, position: i64) -> Vec<Entry> {
        self.accepted.range(position + 1..).map(|(_, entry)| entry.clone()).collect()
    }

    /// Appends rows, whose numbers must follow [`Ledger::last`], in one commit.
    ///
    /// # Errors
    /// A conflict when another run appended first: refresh and look again.
    pub async fn append(&mut self, entries: Vec<Entry>, seen_at_us: i64) -> Result<(), IngestError> {
        let Some(to) = entries.last().map(|entry| entry.number) else { return Ok(()) };
        let table = match &self.table {
            Some(table) => table.clone(),
            None => {
                let mut spec = TableSpec::new(columns());
                spec.description =
                    Some(format!("landing files of {}: each version that was seen, and what it was", self.stream));
                let table = self.lake.create_table(&self.name(), &spec).await?;
                self.table = Some(table.clone());
                table
            }
        };
        let mut writer = table.writer(WriterOptions::default());
        writer.write(rows(&entries, seen_at_us)?).await?;
        let mut commit = Commit::new(table.snapshot(), Operation::Append);
        commit.stage(writer.finish().await?);
        let from = (self.last > 0).then_some(self.last);
        commit.inputs.push(Consumed { input: self.input(), from, to });
        let done = committed(&table, table.commit(commit).await?)?;
        self.version = Some(done.version);
        for entry in entries {
            self.apply(entry);
        }
        Ok(())
    }
}

fn columns() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = |name: &str, kind: DataType, comment: &str| {
        Field::new(name, kind, true).with_metadata([("comment".to_owned(), comment.to_owned())].into())
    };
    Arc::new(Schema::new(vec![
        column("number", DataType::Int64, "dense, from 1; _partition of the version's rows in Bronze"),
        column("path", DataType::Utf8, "relative to the landing root"),
        column("size", DataType::Int64, "bytes"),
        column("stamp", DataType::Utf8, "etag or modification time; empty: looked at again by the next run"),
        column("modified_at", instant.clone(), "modification time"),
        column("hash", DataType::Utf8, "XXH3, 128 bits, of the bytes as they lie there"),
        column("status", DataType::Utf8, "accepted, same, empty, refused or gone"),
        column("reason", DataType::Utf8, "why it was not accepted"),
        column("same_as", DataType::Int64, "the number that has the same content"),
        column("supersedes", DataType::Int64, "the number that this row replaces, or withdraws if it is gone"),
        column("seen_at", instant, "when it was looked at"),
    ]))
}

fn rows(entries: &[Entry], seen_at_us: i64) -> Result<RecordBatch, IngestError> {
    let (mut number, mut size, mut same, mut over) =
        (Int64Builder::new(), Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut path, mut stamp, mut hash, mut status, mut reason) =
        (StringBuilder::new(), StringBuilder::new(), StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut modified = TimestampMicrosecondBuilder::new();
    for entry in entries {
        number.append_value(entry.number);
        path.append_value(&entry.path);
        size.append_value(i64::try_from(entry.size).unwrap_or(i64::MAX));
        stamp.append_value(&entry.stamp);
        modified.append_value(entry.modified_us);
        hash.append_option((!entry.hash.is_empty()).then_some(&entry.hash));
        status.append_value(entry.outcome.as_str());
        reason.append_option((!entry.reason.is_empty()).then_some(&entry.reason));
        same.append_option(entry.same_as);
        over.append_option(entry.supersedes);
    }
    let seen = TimestampMicrosecondArray::from(vec![seen_at_us; entries.len()]).with_timezone("UTC");
    let columns_of: Vec<ArrayRef> = vec![
        Arc::new(number.finish()),
        Arc::new(path.finish()),
        Arc::new(size.finish()),
        Arc::new(stamp.finish()),
        Arc::new(modified.finish().with_timezone("UTC")),
        Arc::new(hash.finish()),
        Arc::new(status.finish()),
        Arc::new(reason.finish()),
        Arc::new(same.finish()),
        Arc::new(over.finish()),
        Arc::new(seen),
    ];
    RecordBatch::try_new(columns(), columns_of).map_err(|e| IngestError::Internal(format!("ledger rows: {e}")))
}

fn read_entries(batch: &RecordBatch, entries: &mut Vec<Entry>) -> Result<(), String> {
    let column = |name: &str, kind: &DataType| {
        let column = batch.column_by_name(name).ok_or_else(|| format!("the landing ledger has no column {name}"))?;
        arrow::compute::cast(column, kind).map_err(|e| format!("the landing ledger's column {name}: {e}"))
    };
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let (number, size) = (column("number", &DataType::Int64)?, column("size", &DataType::Int64)?);
    let (same, over) = (column("same_as", &DataType::Int64)?, column("supersedes", &DataType::Int64)?);
    let (path, stamp) = (column("path", &DataType::Utf8)?, column("stamp", &DataType::Utf8)?);
    let (hash, status) = (column("hash", &DataType::Utf8)?, column("status", &DataType::Utf8)?);
    let (reason, modified) = (column("reason", &DataType::Utf8)?, column("modified_at", &instant)?);
    let whole = |column: &ArrayRef, row: usize| column.as_primitive::<Int64Type>().value(row);
    let optional = |column: &ArrayRef, row: usize| column.is_valid(row).then(|| whole(column, row));
    let text = |column: &ArrayRef, row: usize| match column.is_valid(row) {
        true => column.as_string::<i32>().value(row).to_owned(),
        false => String::new(),
    };
    for row in 0..batch.num_rows() {
        let status = text(&status, row);
        let outcome =
            FileOutcome::from_word(&status).ok_or_else(|| format!("the landing ledger has status {status:?}"))?;
        entries.push(Entry {
            number: whole(&number, row),
            path: text(&path, row),
            size: u64::try_from(whole(&size, row)).unwrap_or_default(),
            stamp: text(&stamp, row),
            modified_us: modified.as_primitive::<TimestampMicrosecondType>().value(row),
            hash: text(&hash, row),
            outcome,
            reason: text(&reason, row),
            same_as: optional(&same, row),
            supersedes: optional(&over, row),
        });
    }
    Ok(())
}
