//! From a source's events to commits: decode on all cores in order, write Parquet, commit rows and positions together.
//!
//! A [`Sink`] lives as long as its source runs from one snapshot of the table. When a commit is refused it is thrown
//! away with everything in it, and source and sink begin again from the table (ENGINE.md, rule 3).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use chrono::NaiveDate;
use schema::{Contract, STATUS_QUARANTINED, STATUS_STORED};
use store::{
    Commit, Committed, ConflictReason, Consumed, Lake, Operation, Snapshot, StoreError, Table, TableWriter,
    WriterOptions,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::decoders::{Done, DoneGroup, SharedDecoders, Work};
use crate::pending::{Pending, Totals, add_each, info};
use crate::records::RawBatch;
use crate::source::{Begins, Event, OnCommit, Reached};
use crate::stop::StopWatch;
use crate::{Clock, Counts, FlushPolicy, IngestError, Progress, ProgressEvent, bronze};

/// Raw bytes that make a decode job: small messages and small files are decoded together.
const JOB_BYTES: usize = 2 << 20;
/// Batches that make a decode job, whatever their size.
const JOB_BATCHES: usize = 512;
/// Decoded rows that are gathered before they go to the writer.
const WRITE_ROWS: usize = 16 * 1024;
/// A decoded batch of so many rows goes to the writer as it is: to gather it would copy it.
const WHOLE_ROWS: usize = 4 * 1024;

/// What a sink needs to know about its stream.
pub(crate) struct SinkEnv {
    /// The lake.
    pub lake: Lake,
    /// The contract.
    pub contract: Arc<Contract>,
    /// Its decoders.
    pub decoders: SharedDecoders,
    /// When to commit.
    pub flush: FlushPolicy,
    /// Threads that decode.
    pub threads: usize,
    /// The clock.
    pub clock: Clock,
    /// Takes progress.
    pub progress: Arc<dyn Progress>,
}

/// Commits what one run of a source hands over.
pub(crate) struct Sink<'a> {
    env: &'a SinkEnv,
    /// Where the table stood when the source asked; what a position that was not moved since is counted from.
    start: Option<Arc<Snapshot>>,
    /// The table; made by the first commit of a stream that has none.
    table: Option<Table>,
    /// The table after the last commit.
    base: Option<Arc<Snapshot>>,
    /// Positions that this sink moved.
    positions: BTreeMap<Arc<str>, i64>,
    gathered: Vec<Work>,
    gathered_bytes: usize,
    jobs: VecDeque<JoinHandle<Result<DoneGroup, crate::decode::DecodeError>>>,
    rows: BTreeMap<(&'static str, NaiveDate), Vec<RecordBatch>>,
    writer: Option<TableWriter>,
    pending: Pending,
    /// Whether what follows the last position may be discarded by itself.
    alone: bool,
    /// Whether every record that came is followed by its position.
    whole: bool,
    watch: &'a mut StopWatch,
    totals: &'a mut Totals,
    committed: OnCommit,
}

impl<'a> Sink<'a> {
    /// A sink for a source that starts at `start`, a snapshot of `table`; `committed` is called after each commit.
    pub fn new(
        env: &'a SinkEnv,
        table: Option<Table>,
        start: Option<Arc<Snapshot>>,
        watch: &'a mut StopWatch,
        totals: &'a mut Totals,
        committed: OnCommit,
    ) -> Self {
        Self {
            env,
            base: start.clone(),
            start,
            table,
            positions: BTreeMap::new(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            jobs: VecDeque::new(),
            rows: BTreeMap::new(),
            writer: None,
            pending: Pending::default(),
            alone: false,
            whole: true,
            watch,
            totals,
            committed,
        }
    }

    /// Takes events until the source ends or `cancel` fires, then commits what was reached.
    ///
    /// # Errors
    /// When a commit is refused or storage fails, and when the stop rule trips; nothing uncommitted is kept then.
    pub async fn consume(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        cancel: &CancellationToken,
    ) -> Result<(), IngestError> {
        let result = self.take_all(events, cancel).await;
        if result.is_err() {
            self.drop_all().await;
        }
        result
    }

    async fn take_all(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        cancel: &CancellationToken,
    ) -> Result<(), IngestError> {
        let mut stopping = false;
        loop {
            let due = self.pending.since.map(|since| since + self.env.flush.interval);
            let event = tokio::select! {
                biased;
                () = cancel.cancelled(), if !stopping => {
                    stopping = true;
                    None
                }
                () = at(due), if due.is_some() && !self.alone && self.whole => {
                    self.commit().await?;
                    continue;
                }
                event = events.recv() => match event {
                    Some(event) => Some(event),
                    None => break,
                },
            };
            if let Some(event) = event {
                self.take(event).await?;
            }
            // A stop waits for the end of a small file; a large one is left for the next run.
            if stopping && (self.alone || self.whole) {
                break;
            }
        }
        if self.alone || !self.whole {
            return self.discard().await;
        }
        self.commit().await
    }

    async fn take(&mut self, event: Event) -> Result<(), IngestError> {
        match event {
            Event::Records(raw, reached) => self.take_records(raw, reached).await,
            Event::Reached(reached) => {
                // A position without records still has to wait for the records before it.
                self.launch();
                self.drain(0).await?;
                self.reached(&reached)?;
                self.whole = true;
                self.commit_if_due().await
            }
            Event::Gap(gap) => {
                self.pending.gaps.push(gap);
                Ok(())
            }
            Event::Alone => {
                self.commit().await?;
                self.alone = true;
                Ok(())
            }
            Event::Discard => self.discard().await,
            Event::Settle { lost, answer } => {
                if lost {
                    self.drop_all().await;
                } else {
                    self.commit().await?;
                }
                self.look().await?;
                // A source that is gone does not want the answer any more.
                let _ = answer.send(self.start.clone());
                Ok(())
            }
        }
    }

    async fn take_records(&mut self, raw: RawBatch, reached: Option<Reached>) -> Result<(), IngestError> {
        self.pending.since.get_or_insert_with(Instant::now);
        self.gathered_bytes += raw.bytes.len();
        let ends = reached.is_some();
        self.whole = ends;
        self.gathered.push((raw, reached));
        if self.gathered_bytes >= JOB_BYTES || self.gathered.len() >= JOB_BATCHES {
            self.launch();
            self.drain(self.env.threads).await?;
        }
        if ends { self.commit_if_due().await } else { Ok(()) }
    }

    /// Starts to decode what was gathered.
    fn launch(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let work = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let decoders = Arc::clone(&self.env.decoders);
        let at = (self.env.clock)();
        self.jobs.push_back(tokio::task::spawn_blocking(move || decoders.decode(work, at)));
    }

    /// Takes the results of decode jobs, in order, until at most `left` are under way.
    async fn drain(&mut self, left: usize) -> Result<(), IngestError> {
        while self.jobs.len() > left {
            let Some(job) = self.jobs.pop_front() else { return Ok(()) };
            let group = job.await.map_err(|e| IngestError::Internal(format!("a decoder died: {e}")))??;
            self.store_group(group).await?;
        }
        Ok(())
    }

    async fn store_group(&mut self, group: DoneGroup) -> Result<(), IngestError> {
        let day = group.at.date_naive();
        for Done { decoded, records, bytes, reached } in group.done {
            let bad = decoded.quarantined.num_rows() as u64;
            let stored = decoded.stored.num_rows() as u64;
            if stored + bad != records {
                return Err(IngestError::Internal(format!("{records} records became {stored} + {bad} rows")));
            }
            let reason = first_reason(&decoded.quarantined);
            self.watch.add(&self.env.contract.name, group.at, records, bad, reason)?;
            self.pending.open += Counts { delivered: records, stored, quarantined: bad, skipped: 0 };
            self.pending.bytes += bytes;
            self.pending.clock_warnings += decoded.clock_warnings;
            add_each(&mut self.pending.warnings, &decoded.warnings);
            self.env.progress.event(ProgressEvent::Read { stream: &self.env.contract.name, rows: records, bytes });
            self.put(STATUS_STORED, day, decoded.stored).await?;
            self.put(STATUS_QUARANTINED, day, decoded.quarantined).await?;
            if let Some(reached) = reached {
                self.reached(&reached)?;
            }
        }
        Ok(())
    }

    /// Gathers rows of one partition and hands them to the writer in batches worth its while.
    async fn put(&mut self, status: &'static str, day: NaiveDate, batch: RecordBatch) -> Result<(), IngestError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let held = self.rows.entry((status, day)).or_default();
        let is_whole = held.is_empty() && batch.num_rows() >= WHOLE_ROWS;
        held.push(batch);
        if !is_whole && held.iter().map(RecordBatch::num_rows).sum::<usize>() < WRITE_ROWS {
            return Ok(());
        }
        let batches = std::mem::take(held);
        self.write(status, day, batches).await
    }

    async fn write(&mut self, status: &str, day: NaiveDate, batches: Vec<RecordBatch>) -> Result<(), IngestError> {
        let Some(first) = batches.first() else { return Ok(()) };
        let batch = match batches.len() {
            1 => first.clone(),
            _ => concat_batches(&first.schema(), &batches)
                .map_err(|e| IngestError::Internal(format!("decoded batches do not fit together: {e}")))?,
        };
        let partition = [Some(status.to_owned()), Some(day.format("%Y-%m-%d").to_string())];
        if self.writer.is_none() {
            self.writer = Some(self.table().await?.writer(writer_options()));
        }
        match &mut self.writer {
            Some(writer) => Ok(writer.write_partition(&partition, batch).await?),
            None => Ok(()),
        }
    }

    /// The table, which the first record makes.
    async fn table(&mut self) -> Result<Table, IngestError> {
        if let Some(table) = &self.table {
            return Ok(table.clone());
        }
        let table = bronze::table(&self.env.lake, &self.env.contract).await?;
        self.base = Some(table.snapshot());
        self.table = Some(table.clone());
        Ok(table)
    }

    /// Asks the table where it stands; everything before is committed or dropped.
    async fn look(&mut self) -> Result<(), IngestError> {
        if self.table.is_none() {
            self.table = self.env.lake.open_table(&self.env.contract.table()).await?;
        }
        if let Some(table) = &self.table {
            self.base = Some(table.refresh().await?);
        }
        self.start = self.base.clone();
        self.positions.clear();
        Ok(())
    }

    /// Notes that everything up to a position was handed to the writer.
    ///
    /// # Errors
    /// When the source left something out.
    fn reached(&mut self, reached: &Reached) -> Result<(), IngestError> {
        let open = std::mem::take(&mut self.pending.open);
        let counts = self.pending.counts.entry(Arc::clone(&reached.input)).or_default();
        *counts += open;
        counts.skipped += reached.skipped;
        let input = &reached.input;
        match (reached.from, self.pending.inputs.get_mut(input)) {
            (Begins::At(from), Some((_, to))) if from != Some(*to) => {
                return Err(IngestError::Internal(format!("{input}: {from:?} does not follow on {to}")));
            }
            (_, Some((_, to))) => *to = reached.to,
            (begins, None) => {
                let from = match begins {
                    Begins::At(position) => position,
                    Begins::AsAnswered => self.answered(input),
                };
                self.pending.inputs.insert(Arc::clone(input), (from, reached.to));
            }
        }
        self.pending.since.get_or_insert_with(Instant::now);
        self.alone = false;
        Ok(())
    }

    /// Where the table stood when the source last asked, or where this sink has moved it since. Not `base`: a commit may
    /// have brought in what another run consumed meanwhile.
    fn answered(&self, input: &Arc<str>) -> Option<i64> {
        match self.positions.get(input) {
            Some(position) => Some(*position),
            None => self.start.as_ref().and_then(|start| start.txn(input)),
        }
    }

    async fn commit_if_due(&mut self) -> Result<(), IngestError> {
        let flush = &self.env.flush;
        let gathered = self.gathered.iter().map(|(raw, _)| raw.len() as u64).sum::<u64>();
        let rows = self.pending.records() + gathered;
        let bytes = self.pending.bytes + self.gathered_bytes as u64;
        let old = self.pending.since.is_some_and(|since| since.elapsed() >= flush.interval);
        if rows >= flush.rows || bytes >= flush.bytes || old { self.commit().await } else { Ok(()) }
    }

    /// Commits all that was reached; nothing if nothing was.
    async fn commit(&mut self) -> Result<(), IngestError> {
        self.launch();
        self.drain(0).await?;
        for ((status, day), batches) in std::mem::take(&mut self.rows) {
            self.write(status, day, batches).await?;
        }
        let pending = std::mem::take(&mut self.pending);
        if pending.inputs.is_empty() {
            return Ok(());
        }
        let table = self.table().await?;
        let base = self.base.clone().unwrap_or_else(|| table.snapshot());
        let mut commit = Commit::new(base, Operation::Append);
        if let Some(writer) = self.writer.take() {
            commit.stage(writer.finish().await?);
        }
        commit.info = info(&pending);
        commit.inputs = pending
            .inputs
            .iter()
            .map(|(input, (from, to))| Consumed { input: input.to_string(), from: *from, to: *to })
            .collect();
        let done = committed(&table, table.commit(commit).await?)?;
        for (input, (_, to)) in &pending.inputs {
            self.positions.insert(Arc::clone(input), *to);
        }
        let counts = pending.sum();
        self.totals.add(&pending, counts, done.version);
        self.env.progress.event(ProgressEvent::Committed {
            stream: &self.env.contract.name,
            version: done.version,
            counts,
        });
        (self.committed)(&done.snapshot);
        self.base = Some(done.snapshot);
        Ok(())
    }

    /// Forgets what came since the last commit, which is all of a large file that turned out wrong.
    async fn discard(&mut self) -> Result<(), IngestError> {
        self.drop_all().await;
        Ok(())
    }

    async fn drop_all(&mut self) {
        self.gathered.clear();
        self.gathered_bytes = 0;
        for job in std::mem::take(&mut self.jobs) {
            // A job that runs cannot be stopped; its result is not wanted any more.
            job.abort();
        }
        self.rows.clear();
        self.pending = Pending::default();
        self.alone = false;
        self.whole = true;
        if let Some(writer) = self.writer.take() {
            writer.abort().await;
        }
    }
}

/// Refuses an answer that says that another commit consumed the same ranges: what that one stored is not what this batch
/// counts, and not even the same rows where both only agree on the last position.
///
/// # Errors
/// [`StoreError::Conflict`] then.
pub(crate) fn committed(table: &Table, done: Committed) -> Result<Committed, StoreError> {
    if !done.already {
        return Ok(done);
    }
    let reason = ConflictReason::SlotTaken;
    Err(StoreError::Conflict { table: table.name().clone(), base: done.version, reason })
}

/// Row groups of half the usual size, because memory is what a run may not take much of: decoded rows are wide (raw
/// bytes, lineage), and what they decode from waits beside them.
pub(crate) fn writer_options() -> WriterOptions {
    WriterOptions { row_group_rows: 64 * 1024, memory_bytes: 48 << 20, ..WriterOptions::default() }
}

fn first_reason(quarantined: &RecordBatch) -> Option<&str> {
    let column = quarantined.column_by_name("_error")?.as_any().downcast_ref::<StringArray>()?;
    (!column.is_empty() && column.is_valid(0)).then(|| column.value(0))
}

/// Completes at an instant, never if there is none.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
