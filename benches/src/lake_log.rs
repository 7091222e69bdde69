//! How far a lake is, as its releases and its tables' logs say: read from outside, commit by commit, and not through
//! Smelt's own reader, which is what is measured.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;
use store::LakeOptions;
use tokio::runtime::{Builder, Runtime};

/// Positions of inputs by their ids.
type Positions = BTreeMap<String, i64>;

/// Versions of tables by their names, as a release holds them.
pub type Versions = BTreeMap<String, i64>;

/// A lake whose logs are followed.
pub struct LakeLog {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    logs: BTreeMap<String, Log>,
}

/// What is known of a table's log.
#[derive(Debug, Default, PartialEq)]
struct Log {
    /// The table's id, under which others keep how far they have consumed it.
    id: String,
    /// The positions that the table had reached at each version.
    versions: Vec<Positions>,
}

/// The lines of a commit that matter here.
#[derive(Deserialize)]
struct Line {
    txn: Option<Txn>,
    #[serde(rename = "metaData")]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
struct Metadata {
    id: String,
}

#[derive(Deserialize)]
struct Release {
    tables: Versions,
}

impl LakeLog {
    /// The lake at a path or URL, with the storage options that it needs.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(lake: &str, storage: BTreeMap<String, String>) -> Result<LakeLog> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // A client of S3 may want the runtime that it is used in.
        let entered = runtime.enter();
        let options = LakeOptions { sync: false, storage, ..LakeOptions::default() };
        let store = store::open_location(lake, &options)?.1;
        drop(entered);
        Ok(LakeLog { runtime, store, logs: BTreeMap::new() })
    }

    /// A release by its number, `None` as long as it is not there.
    ///
    /// # Errors
    /// When storage fails or the release cannot be read.
    pub fn release(&self, number: u64) -> Result<Option<Versions>> {
        let Some(bytes) = self.read(&format!("_releases/{number:020}.json"))? else { return Ok(None) };
        let release: Release = serde_json::from_slice(&bytes).with_context(|| format!("reading release {number}"))?;
        Ok(Some(release.tables))
    }

    /// The offsets, by partition, up to which a version of the first table of `chain` has consumed a topic, through the
    /// tables after it: each names the version of the next one that it has consumed, and the last one names offsets.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn consumed(&mut self, chain: &[&str], version: i64, topic: &str, partitions: usize) -> Result<Vec<i64>> {
        let mut at = version;
        for (table, upstream) in chain.iter().zip(chain.iter().skip(1)) {
            self.read_on(upstream, Some(0))?;
            let id = format!("table:{}", self.log(upstream).id);
            self.read_on(table, Some(at))?;
            match self.log(table).versions[at as usize].get(&id) {
                Some(consumed) => at = *consumed,
                None => return Ok(vec![0; partitions]),
            }
        }
        let last = chain.last().context("no table")?;
        self.read_on(last, Some(at))?;
        Ok(offsets(&self.log(last).versions[at as usize], topic, partitions))
    }

    /// The offsets, by partition, up to which a table holds a topic by now.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn stored(&mut self, table: &str, topic: &str, partitions: usize) -> Result<Vec<i64>> {
        self.read_on(table, None)?;
        let newest = self.log(table).versions.last();
        Ok(newest.map_or_else(|| vec![0; partitions], |positions| offsets(positions, topic, partitions)))
    }

    fn log(&mut self, table: &str) -> &Log {
        self.logs.entry(table.to_owned()).or_default()
    }

    /// Reads a log up to a version, which must be there, or to its end.
    fn read_on(&mut self, table: &str, to: Option<i64>) -> Result<()> {
        loop {
            let next = self.log(table).versions.len();
            if to.is_some_and(|to| to < next as i64) {
                return Ok(());
            }
            let path = format!("{}/_delta_log/{next:020}.json", table.replace('.', "/"));
            match (self.read(&path)?, to) {
                (Some(bytes), _) => {
                    let log = self.logs.entry(table.to_owned()).or_default();
                    log.apply(&bytes).with_context(|| format!("reading {path}"))?;
                }
                (None, Some(to)) => bail!("{path} is not there, and version {to} is wanted"),
                (None, None) => return Ok(()),
            }
        }
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let path = Path::from(path);
        let read = async { self.store.get(&path).await?.bytes().await };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {path}")),
        }
    }
}

impl Log {
    /// Takes in the next commit.
    fn apply(&mut self, commit: &[u8]) -> Result<()> {
        let mut positions = self.versions.last().cloned().unwrap_or_default();
        for line in commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_slice(line)?;
            if let Some(Metadata { id }) = line.metadata {
                self.id = id;
            }
            if let Some(Txn { app_id, version }) = line.txn {
                positions.insert(app_id, version);
            }
        }
        ensure!(!self.id.is_empty(), "the log starts without the table's id");
        self.versions.push(positions);
        Ok(())
    }
}

/// The next offset of each partition of a topic: `kafka:<cluster>/<topic>/<partition>`.
fn offsets(positions: &Positions, topic: &str, partitions: usize) -> Vec<i64> {
    let mut offsets = vec![0; partitions];
    for (input, position) in positions {
        let mut parts = input.strip_prefix("kafka:").unwrap_or_default().rsplitn(3, '/');
        let (partition, of) = (parts.next().and_then(|id| id.parse::<usize>().ok()), parts.next());
        if let Some(offset) = partition.filter(|_| of == Some(topic)).and_then(|id| offsets.get_mut(id)) {
            *offset = *position;
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_from_commit_to_commit() {
        let mut log = Log::default();
        let first = "{\"metaData\":{\"id\":\"b\",\"schemaString\":\"{}\"}}\n{\"protocol\":{\"minReaderVersion\":1}}\n";
        log.apply(first.as_bytes()).expect("a commit");
        let txn = |input: &str, to: i64| format!("{{\"txn\":{{\"appId\":\"{input}\",\"version\":{to}}}}}\n");
        log.apply((txn("kafka:c/sales/0", 5) + &txn("kafka:c/sales/1", 7)).as_bytes()).expect("a commit");
        log.apply((txn("kafka:c/sales/0", 9) + "{\"add\":{\"path\":\"x\"}}").as_bytes()).expect("a commit");
        let at = |version: usize| offsets(&log.versions[version], "sales", 3);
        assert_eq!((at(0), at(1), at(2)), (vec![0, 0, 0], vec![5, 7, 0], vec![9, 7, 0]));
        assert_eq!(offsets(&log.versions[2], "sale", 2), [0, 0]);
        assert!(Log::default().apply(b"{\"add\":{}}").is_err());
    }
}
