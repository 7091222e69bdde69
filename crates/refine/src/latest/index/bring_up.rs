//! Bringing an index up to a version of its table: from the changes since the version that it covers, or from all rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::{Expr, ident};
use datafusion::prelude::DataFrame;
use object_store::path::Path;
use store::{Snapshot, TableMeta};

use super::manifest::{Manifest, Partition, Partitions, files_of};
use super::objects::{Listed, Objects};
use super::runs::{Gatherer, settle};
use super::{IndexError, KeyIndex, definition};
use crate::job::{Job, conform};
use crate::keys::{hash_rows, low, pick};
use crate::{Result, stream};

/// Manifests that are tried before the index is made anew.
const TRIED: usize = 4;

/// Versions of the table, without a row that came, after which the index is tagged anew: reading what they changed must
/// not become a long way.
const QUIET: i64 = 16;

/// Entries for each row of the table, and besides, at which the index holds so much of what is gone that it is made anew.
const STALE: u64 = 2;
const STALE_AT_LEAST: u64 = 1 << 16;

impl KeyIndex {
    /// The index by `entity` at a version of the table.
    ///
    /// # Errors
    /// When the rows or the folder of the index cannot be read or written.
    pub(super) async fn at(job: &Job<'_>, entity: &[String], snapshot: &Arc<Snapshot>) -> Result<Self, IndexError> {
        let objects = Self::objects(job, entity, snapshot);
        let source = Source { job, entity, snapshot, objects: &objects };
        let listed = objects.manifests().await?;
        for listed in listed.into_iter().filter(|listed| listed.version <= snapshot.version()).take(TRIED) {
            match source.go_on(&listed).await {
                Ok(Some((path, manifest))) => return Ok(Self { path: Some(path), manifest, objects, tails: None }),
                Ok(None) => tracing::debug!(path = %listed.path, "of another history, or too far behind"),
                Err(error) if error.is_broken() => {
                    tracing::warn!(path = %listed.path, %error, "a key index cannot be used");
                    objects.drop_manifest(&listed.path).await;
                }
                Err(error) => return Err(error),
            }
        }
        let (path, manifest) = source.anew().await?;
        Ok(Self { path: Some(path), manifest, objects, tails: None })
    }
}

/// What an index is made of.
struct Source<'a> {
    job: &'a Job<'a>,
    entity: &'a [String],
    snapshot: &'a Arc<Snapshot>,
    objects: &'a Objects,
}

impl Source<'_> {
    /// Goes on from a manifest; `None` where the table's changes do not lead from it to the snapshot.
    async fn go_on(&self, listed: &Listed) -> Result<Option<(Path, Manifest)>, IndexError> {
        let manifest = self.objects.manifest(&listed.path).await?;
        let version = self.snapshot.version();
        if manifest.version == version {
            return Ok(manifest.fits(self.snapshot).then(|| (listed.path.clone(), manifest)));
        }
        // A version that is no longer kept says nothing; neither do changes.
        let Ok(covered) = self.job.table.snapshot_at(manifest.version).await else { return Ok(None) };
        if !manifest.fits(&covered) {
            return Ok(None);
        }
        let Ok(changes) = self.job.table.changes(manifest.version, version).await else { return Ok(None) };
        if changes.reshaped() {
            return Ok(None);
        }
        let has_news = !changes.inserted_files().is_empty();
        if !has_news && version - manifest.version < QUIET {
            return Ok(Some((listed.path.clone(), manifest)));
        }
        let mut partitions = Partitions::from(manifest.partitions);
        let mut gatherer = Gatherer::new(self.objects);
        if has_news {
            self.gather(changes.inserts(), &mut partitions, &mut gatherer).await?;
        }
        let mut runs = manifest.runs;
        runs.extend(gatherer.finish().await?);
        let runs = settle(self.objects, runs).await?;
        let entries: u64 = runs.iter().map(super::manifest::Run::entries).sum();
        if entries > STALE * self.snapshot.rows().unwrap_or(u64::MAX / STALE) + STALE_AT_LEAST {
            return Ok(None);
        }
        let next = self.manifest(partitions, runs);
        let path = self.objects.put_manifest(&next).await?;
        self.objects.tidy(&[&path, &listed.path]).await;
        Ok(Some((path, next)))
    }

    /// Makes the index of all rows.
    async fn anew(&self) -> Result<(Path, Manifest), IndexError> {
        let mut partitions = Partitions::default();
        let mut gatherer = Gatherer::new(self.objects);
        self.gather(self.snapshot.provider(), &mut partitions, &mut gatherer).await?;
        let runs = gatherer.finish().await?.into_iter().collect();
        let manifest = self.manifest(partitions, runs);
        let path = self.objects.put_manifest(&manifest).await?;
        self.objects.tidy(&[&path]).await;
        let columns = self.job.columns();
        let feeds = self.job.model.feeds.iter();
        let definitions: Vec<String> =
            feeds.map(|feed| definition(&feed.feed.entity, &columns, self.snapshot)).collect();
        self.objects.drop_others(&definitions).await;
        Ok((path, manifest))
    }

    fn manifest(&self, partitions: Partitions, runs: Vec<super::manifest::Run>) -> Manifest {
        Manifest {
            table: self.job.model.name().to_string(),
            entity: self.entity.to_vec(),
            version: self.snapshot.version(),
            files: files_of(self.snapshot),
            partitions: partitions.into_names(),
            runs,
        }
    }

    /// Adds an entry for each of these rows of the table.
    async fn gather(
        &self,
        rows: Arc<dyn TableProvider>,
        partitions: &mut Partitions,
        gatherer: &mut Gatherer<'_>,
    ) -> Result<(), IndexError> {
        let mut failed = None;
        let meta = Arc::clone(self.snapshot.meta());
        let places: Vec<usize> = (0..self.entity.len()).collect();
        let work = move |batch: RecordBatch| by_partition(&meta, &batch, &places);
        stream::each(self.frame(rows)?, work, async |parts: Vec<(Partition, Vec<u64>)>| {
            for (partition, hashes) in parts {
                if failed.is_none() {
                    failed = gatherer.add(partitions.number(partition), &hashes).await.err();
                }
            }
            Ok(())
        })
        .await?;
        failed.map_or(Ok(()), Err)
    }

    /// The entity's columns, then those of the partition that are not among them, as candidates have them.
    fn frame(&self, rows: Arc<dyn TableProvider>) -> Result<DataFrame> {
        let context = self.job.env.factory.context(HashMap::new());
        let (state, plan) = context.read_table(rows)?.into_parts();
        let partition_by = self.snapshot.partition_columns().iter();
        let others = partition_by.filter(|column| !self.entity.contains(column));
        let columns: Vec<Expr> = self.entity.iter().chain(others).map(ident).collect();
        Ok(DataFrame::new(state, conform(plan, &self.job.columns())?).select(columns)?)
    }
}

/// The hashes of the entities in each partition of a batch; `entity` are the places of its columns.
fn by_partition(meta: &TableMeta, batch: &RecordBatch, entity: &[usize]) -> Result<Vec<(Partition, Vec<u64>)>> {
    let hashes = hash_rows(&pick(batch, entity), batch.num_rows())?;
    let hashes = UInt64Array::from_iter_values(hashes.into_iter().map(low));
    let schema = Schema::new(vec![Field::new("hash", DataType::UInt64, false)]);
    let hashes = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(hashes)])?;
    let parts = store::by_partition(meta, batch, hashes)?;
    let values = |rows: RecordBatch| rows.column(0).as_primitive::<UInt64Type>().values().to_vec();
    Ok(parts.into_iter().map(|(partition, rows)| (partition, values(rows))).collect())
}
