//! Checkpoints: the state of a table in one Parquet file (Delta's classic, single-file form).
//!
//! We write them from our own state. The stock way replays the log first, which for 5,000 commits took 3.7 s; this takes
//! what the live files take.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use deltalake_core::kernel::{Action, Add};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use schema::TableName;
use serde::{Deserialize, Serialize};

use super::action;
use crate::error::{Result, StoreError};
use crate::snapshot::Snapshot;

/// Removed files are named in checkpoints for this long. Later their files, if any are left, are orphans to vacuum.
const TOMBSTONES_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// The content of `_last_checkpoint`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastCheckpoint {
    pub version: i64,
    pub size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_of_add_files: Option<i64>,
}

/// Whether a checkpoint is due: the log since the last one is long in proportion to the state. The cost of checkpoints
/// then grows with the number of commits, however large the state gets; but nobody has to read more than a thousand.
pub(crate) fn is_due(snapshot: &Snapshot, last: i64) -> bool {
    let state = snapshot.files.len() + snapshot.tombstones.len();
    let tail = snapshot.version - last.max(0);
    tail >= i64::try_from(state / 8).unwrap_or(i64::MAX).clamp(100, 1000)
}

/// Writes a checkpoint of a snapshot and the file that points to it.
///
/// # Errors
/// When storage fails.
pub(crate) async fn write(snapshot: Arc<Snapshot>) -> Result<()> {
    let table = snapshot.meta.table.clone();
    let store = snapshot.lake.store().clone();
    let version = snapshot.version;
    let adds = i64::try_from(snapshot.files.len()).unwrap_or(i64::MAX);
    let worker = tokio::task::spawn_blocking(move || encode(&snapshot));
    let (bytes, rows) = worker.await.map_err(|e| StoreError::Worker(e.to_string()))??;
    let path = super::checkpoint_path(&table, version);
    store.put(&path, bytes.into()).await.map_err(|e| StoreError::storage("write", &path, e))?;

    let hint = LastCheckpoint { version, size: rows, parts: None, num_of_add_files: Some(adds) };
    let path = super::last_checkpoint_path(&table);
    if read_hint(store.as_ref(), &table).await?.is_some_and(|found| found.version > version) {
        return Ok(());
    }
    let json = serde_json::to_vec(&hint).map_err(|e| StoreError::Worker(e.to_string()))?;
    store.put(&path, json.into()).await.map_err(|e| StoreError::storage("write", &path, e))?;
    Ok(())
}

/// Reads `_last_checkpoint`. One that cannot be read is as good as none: the checkpoints are then listed.
pub(crate) async fn read_hint(store: &dyn ObjectStore, table: &TableName) -> Result<Option<LastCheckpoint>> {
    let bytes = super::read(store, &super::last_checkpoint_path(table)).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn encode(snapshot: &Snapshot) -> Result<(Bytes, i64)> {
    let meta = &snapshot.meta;
    let now = snapshot.lake.now_ms();
    let mut actions = vec![action::protocol(meta)?, action::metadata(meta)?];
    actions.extend(snapshot.txns.iter().map(|(input, position)| action::txn(input, *position, now)));
    actions.extend(snapshot.files.values().map(|file| action::add(meta, file, false)));
    let kept = snapshot.tombstones.iter().filter(|(_, t)| t.deleted_ms > now - TOMBSTONES_KEPT_MS);
    actions.extend(kept.map(|(path, tombstone)| {
        Action::Remove(deltalake_core::kernel::Remove {
            path: path.to_string(),
            data_change: false,
            deletion_timestamp: Some(tombstone.deleted_ms),
            extended_file_metadata: Some(tombstone.partition_values.is_some()),
            partition_values: tombstone.partition_values.as_ref().map(|values| values.iter().cloned().collect()),
            size: tombstone.size.map(u64::cast_signed),
            ..Default::default()
        })
    }));

    let failed = |e: ParquetError| StoreError::parquet("write a checkpoint", e);
    let schema = schema();
    let level = ZstdLevel::try_new(1).map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(failed)?;
    for chunk in actions.chunks(4096) {
        writer.write(&to_batch(&schema, chunk)?).map_err(failed)?;
    }
    let rows = i64::try_from(actions.len()).unwrap_or(i64::MAX);
    Ok((writer.into_inner().map_err(failed)?.into(), rows))
}

fn to_batch(schema: &SchemaRef, actions: &[Action]) -> Result<RecordBatch> {
    let failed = |e| StoreError::arrow("write a checkpoint", e);
    let mut decoder =
        ReaderBuilder::new(schema.clone()).with_batch_size(actions.len()).build_decoder().map_err(failed)?;
    decoder.serialize(actions).map_err(failed)?;
    Ok(decoder.flush().map_err(failed)?.unwrap_or_else(|| RecordBatch::new_empty(schema.clone())))
}

/// The columns of a checkpoint, by Delta's protocol: one struct per kind of action, one of them set in each row.
fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let list = |name: &str| Field::new_list(name, Field::new("element", DataType::Utf8, true), true);
    let map = |name: &str| {
        let entry = (Field::new("key", DataType::Utf8, false), text("value"));
        Field::new_map(name, "key_value", entry.0, entry.1, false, true)
    };
    let action = |name: &str, fields: Vec<Field>| Field::new_struct(name, fields, true);
    Arc::new(Schema::new(vec![
        action("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        action(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text("stats"),
            ],
        ),
        action(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        action(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                action("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        action(
            "protocol",
            vec![int("minReaderVersion"), int("minWriterVersion"), list("readerFeatures"), list("writerFeatures")],
        ),
    ]))
}

/// Reads the actions of a checkpoint.
///
/// # Errors
/// When it is not a checkpoint that Smelt can read.
pub(crate) fn decode(table: &TableName, path: &str, bytes: Bytes) -> Result<Vec<Action>> {
    let corrupt = |message: String| StoreError::Corrupt { table: table.clone(), path: path.to_string(), message };
    // The file's own types, whatever Arrow types its writer noted.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|e| corrupt(e.to_string()))?;
    let mut actions = Vec::new();
    for batch in builder.with_batch_size(8192).build().map_err(|e| corrupt(e.to_string()))? {
        let batch = batch.map_err(|e| corrupt(e.to_string()))?;
        let adds = batch.column_by_name("add").and_then(|column| column.as_struct_opt());
        let adds = adds.ok_or_else(|| corrupt("no column add".to_string()))?;
        read_adds(adds, &mut actions).ok_or_else(|| corrupt("column add has another form".to_string()))?;
        // All other kinds are few: they take the way of a commit's lines.
        let others = arrow::compute::is_null(adds).and_then(|rest| filter_record_batch(&batch, &rest));
        let others = others.map_err(|e| corrupt(e.to_string()))?;
        let mut lines = LineDelimitedWriter::new(Vec::new());
        lines.write(&others).and_then(|()| lines.finish()).map_err(|e| corrupt(e.to_string()))?;
        actions.extend(action::parse(table, path, &lines.into_inner())?);
    }
    Ok(actions)
}

/// Reads the rows that are `add` actions; `None` when a column is missing or has another type.
fn read_adds(adds: &StructArray, actions: &mut Vec<Action>) -> Option<()> {
    let paths = adds.column_by_name("path")?.as_string_opt::<i32>()?;
    let sizes = adds.column_by_name("size")?.as_primitive_opt::<Int64Type>()?;
    let modified = adds.column_by_name("modificationTime")?.as_primitive_opt::<Int64Type>()?;
    let stats = adds.column_by_name("stats").and_then(|column| column.as_string_opt::<i32>());
    let partitions = adds.column_by_name("partitionValues")?.as_map_opt()?;
    let keys = partitions.keys().as_string_opt::<i32>()?;
    let values = partitions.values().as_string_opt::<i32>()?;
    for row in (0..adds.len()).filter(|row| adds.is_valid(*row)) {
        let [start, end] = [row, row + 1].map(|at| usize::try_from(partitions.value_offsets()[at]).unwrap_or(0));
        let value = |at: usize| values.is_valid(at).then(|| values.value(at).to_string());
        actions.push(Action::Add(Add {
            path: decode_path(paths.value(row))?,
            partition_values: (start..end).map(|at| (keys.value(at).to_string(), value(at))).collect(),
            size: sizes.value(row),
            modification_time: modified.value(row),
            data_change: false,
            stats: stats.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_string()),
            ..Add::default()
        }));
    }
    Some(())
}

/// Paths in the log are URL-encoded.
fn decode_path(path: &str) -> Option<String> {
    percent_encoding::percent_decode_str(path).decode_utf8().ok().map(|path| path.into_owned())
}
