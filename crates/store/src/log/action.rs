//! Delta's actions: the lines of a commit.
//!
//! The types and their JSON are `deltalake-core`'s; this module turns them into what a snapshot holds, and back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::kernel::{Action, Add, AddCDCFile, CommitInfo, Metadata, Protocol, Remove, Transaction};
use schema::TableName;
use serde_json::{Value, json};

use crate::error::{Result, StoreError};
use crate::file::{DataFile, Tombstone};
use crate::meta::{TableMeta, schema_of_json, schema_to_json};

/// The tag of a change data file that says which sign all of its rows have.
pub(crate) const SIGN_TAG: &str = "smelt.sign";
/// The key in `commitInfo` that tells one attempt to commit from every other.
pub(crate) const COMMIT_ID: &str = "smeltCommitId";

/// Reads the lines of a commit. Lines of kinds that this version does not know are skipped, as the protocol asks.
pub(crate) fn parse(table: &TableName, path: &str, bytes: &[u8]) -> Result<Vec<Action>> {
    let corrupt = |message: String| StoreError::Corrupt { table: table.clone(), path: path.to_string(), message };
    let mut actions = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Action>(line) {
            Ok(action) => actions.push(action),
            Err(e) => {
                let known = ["metaData", "protocol", "add", "remove", "cdc", "txn"];
                let value: Value =
                    serde_json::from_slice(line).map_err(|e| corrupt(format!("line {}: {e}", number + 1)))?;
                if known.iter().any(|key| value.get(key).is_some()) {
                    return Err(corrupt(format!("line {}: {e}", number + 1)));
                }
            }
        }
    }
    Ok(actions)
}

/// The bytes of a commit.
pub(crate) fn serialize(actions: &[Action]) -> Result<Bytes, serde_json::Error> {
    let mut out = Vec::with_capacity(actions.len() * 512);
    for action in actions {
        serde_json::to_writer(&mut out, action)?;
        out.push(b'\n');
    }
    Ok(out.into())
}

/// The id of the attempt that wrote these actions, if Smelt did.
pub(crate) fn commit_id(actions: &[Action]) -> Option<&str> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.get(COMMIT_ID).and_then(Value::as_str),
        _ => None,
    })
}

/// When the commit was made, milliseconds since 1970 UTC.
pub(crate) fn timestamp(actions: &[Action]) -> Option<i64> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.timestamp,
        _ => None,
    })
}

/// The `commitInfo` line of a commit.
pub(crate) fn commit_info(
    operation: &str,
    parameters: &[(&str, String)],
    timestamp_ms: i64,
    read_version: i64,
    id: &str,
    notes: &serde_json::Map<String, Value>,
) -> Action {
    let mut info: HashMap<String, Value> = notes
        .iter()
        .filter(|(key, _)| !RESERVED.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    info.insert(COMMIT_ID.to_string(), id.into());
    Action::CommitInfo(CommitInfo {
        timestamp: Some(timestamp_ms),
        operation: Some(operation.to_string()),
        operation_parameters: Some(parameters.iter().map(|(k, v)| (k.to_string(), Value::from(v.as_str()))).collect()),
        read_version: u64::try_from(read_version).ok(),
        engine_info: Some(concat!("smelt/", env!("CARGO_PKG_VERSION")).to_string()),
        info,
        ..CommitInfo::default()
    })
}

/// Fields of `commitInfo` that notes may not set.
const RESERVED: [&str; 10] = [
    "timestamp",
    "inCommitTimestamp",
    "userId",
    "userName",
    "operation",
    "operationParameters",
    "readVersion",
    "isolationLevel",
    "isBlindAppend",
    "engineInfo",
];

fn partition_map(meta: &TableMeta, file: &DataFile) -> HashMap<String, Option<String>> {
    meta.partition_columns.iter().cloned().zip(file.partition_values.iter().cloned()).collect()
}

/// The partition values in the order of the table's columns; Delta writes null also as the empty string.
fn partition_values(meta: &TableMeta, map: &HashMap<String, Option<String>>) -> Vec<Option<String>> {
    let value = |name| map.get(name).cloned().flatten().filter(|text| !text.is_empty());
    meta.partition_columns.iter().map(value).collect()
}

pub(crate) fn add(meta: &TableMeta, file: &DataFile, data_change: bool) -> Action {
    Action::Add(Add {
        path: file.path.to_string(),
        partition_values: partition_map(meta, file),
        size: file.size.cast_signed(),
        modification_time: file.modified_ms,
        data_change,
        stats: file.stats_json.as_deref().map(str::to_string),
        ..Add::default()
    })
}

pub(crate) fn remove(meta: &TableMeta, file: &DataFile, data_change: bool, now_ms: i64) -> Action {
    Action::Remove(Remove {
        path: file.path.to_string(),
        data_change,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_map(meta, file)),
        size: Some(file.size.cast_signed()),
        ..Remove::default()
    })
}

pub(crate) fn change_file(meta: &TableMeta, file: &DataFile) -> Action {
    let tags = file.sign.map(|sign| HashMap::from([(SIGN_TAG.to_string(), Some(sign.to_string()))]));
    Action::Cdc(AddCDCFile {
        path: file.path.to_string(),
        size: file.size.cast_signed(),
        partition_values: partition_map(meta, file),
        data_change: false,
        tags,
    })
}

pub(crate) fn txn(input: &str, position: i64, now_ms: i64) -> Action {
    Action::Txn(Transaction::new_with_last_update(input, position, Some(now_ms)))
}

/// The file that an `add` names.
pub(crate) fn data_file(meta: &TableMeta, add: Add) -> DataFile {
    let values = partition_values(meta, &add.partition_values);
    DataFile::new(add.path, add.size.cast_unsigned(), values, add.modification_time, add.stats.map(Arc::from))
}

/// The file that a `remove` names, for those who still read it. Its rows are not counted.
pub(crate) fn removed_file(meta: &TableMeta, remove: &Remove) -> DataFile {
    let values = remove.partition_values.as_ref().map(|map| partition_values(meta, map)).unwrap_or_default();
    DataFile::new(remove.path.as_str(), remove.size.unwrap_or(0).cast_unsigned(), values, 0, None)
}

/// The change data file that a `cdc` names.
pub(crate) fn data_file_of_change(meta: &TableMeta, cdc: &AddCDCFile) -> DataFile {
    let values = partition_values(meta, &cdc.partition_values);
    let mut file = DataFile::new(cdc.path.as_str(), cdc.size.cast_unsigned(), values, 0, None);
    let tag = cdc.tags.as_ref().and_then(|tags| tags.get(SIGN_TAG)).and_then(Option::as_deref);
    file.sign = tag.and_then(|text| text.parse().ok());
    file
}

/// The tombstone that a `remove` leaves.
pub(crate) fn tombstone(remove: Remove) -> Tombstone {
    Tombstone {
        deleted_ms: remove.deletion_timestamp.unwrap_or(0),
        size: remove.size.map(i64::cast_unsigned),
        partition_values: remove.partition_values.map(|map| map.into_iter().collect()),
    }
}

/// The `metaData` line of a table.
pub(crate) fn metadata(meta: &TableMeta) -> Result<Action> {
    let value = json!({
        "id": meta.id,
        "name": meta.table.to_string(),
        "description": meta.description,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema_to_json(meta)?,
        "partitionColumns": meta.partition_columns,
        "configuration": meta.properties,
        "createdTime": meta.created_ms,
    });
    let metadata: Metadata = serde_json::from_value(value).map_err(|e| StoreError::BadCommit {
        table: meta.table.clone(),
        message: format!("its metadata cannot be written: {e}"),
    })?;
    Ok(Action::Metadata(metadata))
}

/// The `protocol` line of a table.
pub(crate) fn protocol(meta: &TableMeta) -> Result<Action> {
    let (reader, writer) = meta.protocol;
    let value = json!({ "minReaderVersion": reader, "minWriterVersion": writer });
    let protocol: Protocol = serde_json::from_value(value).map_err(|e| StoreError::BadCommit {
        table: meta.table.clone(),
        message: format!("its protocol cannot be written: {e}"),
    })?;
    Ok(Action::Protocol(protocol))
}

/// The versions that a `protocol` line asks for.
///
/// # Errors
/// When they are above what Smelt reads and writes.
pub(crate) fn versions(table: &TableName, protocol: &Protocol) -> Result<(i32, i32)> {
    let value = serde_json::to_value(protocol).unwrap_or_default();
    let field = |name: &str| value.get(name).and_then(Value::as_i64).and_then(|v| i32::try_from(v).ok());
    let versions = (field("minReaderVersion").unwrap_or(i32::MAX), field("minWriterVersion").unwrap_or(i32::MAX));
    if versions.0 > 1 || versions.1 > 4 {
        let features = value.get("readerFeatures").or(value.get("writerFeatures"));
        let features = features.map(|f| format!(" with features {f}")).unwrap_or_default();
        return Err(StoreError::UnsupportedTable {
            table: table.clone(),
            feature: format!("reader version {} and writer version {}{features}", versions.0, versions.1),
        });
    }
    Ok(versions)
}

/// What a `metaData` line says, for a table of this protocol.
pub(crate) fn table_meta(table: &TableName, metadata: &Metadata, protocol: (i32, i32)) -> Result<TableMeta> {
    let corrupt = |message: String| StoreError::Corrupt {
        table: table.clone(),
        path: "_delta_log".to_string(),
        message: format!("metaData: {message}"),
    };
    let value = serde_json::to_value(metadata).map_err(|e| corrupt(e.to_string()))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_string);
    let json = text("schemaString").ok_or_else(|| corrupt("no schema".to_string()))?;
    let (schema, comments) = schema_of_json(table, &json)?;
    let partition_columns: Vec<String> =
        serde_json::from_value(value["partitionColumns"].clone()).map_err(|e| corrupt(e.to_string()))?;
    let properties: BTreeMap<String, String> =
        serde_json::from_value(value["configuration"].clone()).map_err(|e| corrupt(e.to_string()))?;
    if let Some(mode) = properties.get("delta.columnMapping.mode").filter(|mode| *mode != "none") {
        return Err(StoreError::UnsupportedTable { table: table.clone(), feature: format!("column mapping {mode}") });
    }
    let id = text("id").ok_or_else(|| corrupt("no id".to_string()))?;
    let meta = TableMeta::new(table.clone(), id, schema, partition_columns, protocol);
    let (description, created_ms) = (text("description"), value["createdTime"].as_i64());
    Ok(TableMeta { properties, description, comments, created_ms, ..meta })
}
