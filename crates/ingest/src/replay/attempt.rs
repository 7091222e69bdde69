//! One attempt to replay a stream: read the open records as of one version, decode them, commit the good ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::compute::concat_batches;
use schema::{MENDED_REVISION, STATUS_STORED};
use serde_json::{Map, Value, json};
use store::{Commit, Consumed, Operation, Snapshot, Staged, Table, TableWriter};
use tokio_util::sync::CancellationToken;

use super::edits::Matching;
use super::mend::Replayed;
use super::open::{Records, Selection};
use super::report::{StreamReplay, Tally};
use super::{ReplayOptions, Stream};
use crate::sink::{committed, writer_options};
use crate::{IngestEnv, IngestError, bronze};

impl Stream {
    /// Replays the stream once, from where its table stands; a `dry` attempt changes nothing.
    ///
    /// # Errors
    /// A conflict when another commit was first; what reading, decoding and storing can raise. Nothing is stored then.
    pub(super) async fn attempt(
        &self,
        env: &IngestEnv,
        options: &ReplayOptions,
        dry: bool,
        cancel: &CancellationToken,
    ) -> Result<StreamReplay, IngestError> {
        let mut edits = options.edits.as_ref().map(|edits| edits.of(&self.contract.name));
        let mut report = StreamReplay::of(&self.contract.name);
        let table = match dry {
            true => env.lake.open_table(&self.contract.table()).await?,
            false => bronze::existing(&env.lake, &self.contract).await?,
        };
        let Some(table) = table else {
            edits.as_ref().map_or(Ok(()), Matching::check)?;
            return Ok(report);
        };
        let base = table.refresh().await?;
        let mut writer = (!dry).then(|| table.writer(writer_options()));
        let decoded = self.decode_all(env, options, &base, &mut edits, &mut writer, cancel).await;
        let tally = match (decoded, writer) {
            (Ok(tally), Some(writer)) if tally.mended() > 0 => {
                let staged = writer.finish().await?;
                self.commit(&table, base, staged, tally.mended(), options, &mut report).await?;
                tally
            }
            (decoded, writer) => {
                if let Some(writer) = writer {
                    writer.abort().await;
                }
                decoded?
            }
        };
        report.mended_before = edits.map_or(0, |edits| edits.mended_before);
        tally.fill(&mut report);
        Ok(report)
    }

    /// Decodes the selected records and hands the good ones to the writer.
    async fn decode_all(
        &self,
        env: &IngestEnv,
        options: &ReplayOptions,
        base: &Snapshot,
        edits: &mut Option<Matching<'_>>,
        writer: &mut Option<TableWriter>,
        cancel: &CancellationToken,
    ) -> Result<Tally, IngestError> {
        let at = (env.clock)();
        let partition = [Some(STATUS_STORED.to_owned()), Some(at.date_naive().format("%Y-%m-%d").to_string())];
        let selection = Selection { filter: &options.filter, limit: options.limit, mended_too: edits.is_some() };
        let mut records = Records::read(&env.lake, &self.contract, base, selection).await?;
        let mut tally = Tally::default();
        while let Some(mut chunk) = records.next().await? {
            if let Some(edits) = edits {
                chunk.retain_mut(|record| edits.apply(record));
            }
            let framing = self.framing(&chunk, options, cancel).await?;
            let (mender, decoders) = (Arc::clone(&self.mender), Arc::clone(&self.decoders));
            let decoding = tokio::task::spawn_blocking(move || mender.replay(&decoders, chunk, framing, at));
            let replayed =
                decoding.await.map_err(|error| IngestError::Internal(format!("a decoder died: {error}")))??;
            replayed.records.iter().zip(&replayed.fates).for_each(|(record, why)| tally.add(record, why.as_deref()));
            if let Some(writer) = writer
                && let Some(rows) = mended_rows(&replayed)?
            {
                writer.write_partition(&partition, rows).await?;
            }
            // What was decoded so far is stored; the rest stays open.
            if cancel.is_cancelled() {
                return Ok(tally);
            }
        }
        edits.as_ref().map_or(Ok(()), Matching::check)?;
        Ok(tally)
    }

    async fn commit(
        &self,
        table: &Table,
        base: Arc<Snapshot>,
        staged: Staged,
        mended: u64,
        options: &ReplayOptions,
        report: &mut StreamReplay,
    ) -> Result<(), IngestError> {
        let input = format!("replay:{}", self.contract.name);
        let from = base.txn(&input);
        let number = from.unwrap_or(0) + 1;
        let mut commit = Commit::new(base, Operation::Append);
        commit.stage(staged);
        commit.info = info(&input, mended, options);
        commit.inputs.push(Consumed { input, from, to: number });
        let done = committed(table, table.commit(commit).await?)?;
        (report.replay, report.version) = (Some(number), Some(done.version));
        Ok(())
    }
}

/// What the commit says of itself: it delivers nothing, and stores what was delivered before and set aside.
fn info(input: &str, mended: u64, options: &ReplayOptions) -> Map<String, Value> {
    let counts = json!({ "delivered": 0, "stored": 0, "quarantined": 0, "skipped": 0, "mended": mended });
    let mut info = counts.as_object().cloned().unwrap_or_default();
    info.insert("inputs".to_owned(), json!({ input: counts }));
    if !options.mends.is_empty() {
        let mends: Vec<String> = options.mends.iter().map(ToString::to_string).collect();
        info.insert("mends".to_owned(), json!(mends));
    }
    info
}

/// The good rows of a chunk, marked as mended.
fn mended_rows(replayed: &Replayed) -> Result<Option<RecordBatch>, IngestError> {
    let Some(first) = replayed.stored.first() else { return Ok(None) };
    let internal = |error| IngestError::Internal(format!("mended rows do not fit together: {error}"));
    let rows = concat_batches(&first.schema(), &replayed.stored).map_err(internal)?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let mends = rows.schema().index_of("_mends").map_err(internal)?;
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns[mends] = Arc::new(Int32Array::from(vec![MENDED_REVISION; rows.num_rows()]));
    RecordBatch::try_new(rows.schema(), columns).map(Some).map_err(internal)
}
