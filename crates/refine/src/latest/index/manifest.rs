//! What an index is at one version of its table: its runs, and which partitions their numbers mean.

use std::collections::HashMap;

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use store::Snapshot;
use xxhash_rust::xxh3::xxh3_64;

use super::IndexError;
use super::segment::Segment;

/// The values of a partition's columns, in Delta's text form.
pub(in crate::latest) type Partition = Vec<Option<String>>;

/// A manifest, as it is stored: this as JSON, a line feed, and the JSON's checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The table, for people.
    pub(super) table: String,
    /// The entity's columns, for people; the folder's name holds both.
    pub(super) entity: Vec<String>,
    /// The version whose rows the index covers. It may cover rows that are gone, too.
    pub(super) version: i64,
    /// Which files the table has at that version: a table that fell back and went on otherwise has the same versions with
    /// other files.
    pub(super) files: String,
    /// The partitions by their numbers. A manifest that goes on from another keeps its numbers.
    pub(super) partitions: Vec<Partition>,
    /// The runs, oldest first.
    pub(super) runs: Vec<Run>,
}

/// Entries in order, without repetition, in segments that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    pub(super) segments: Vec<Segment>,
}

impl Run {
    pub(super) fn entries(&self) -> u64 {
        self.segments.iter().map(|segment| segment.entries).sum()
    }
}

impl Manifest {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, IndexError> {
        let damaged = |what: &str| IndexError::damaged(path.as_ref(), what);
        let at = bytes.iter().rposition(|byte| *byte == b'\n').ok_or_else(|| damaged("its end"))?;
        if bytes[at + 1..] != *checksum(&bytes[..at]).as_bytes() {
            return Err(damaged("its checksum"));
        }
        serde_json::from_slice(&bytes[..at]).map_err(|error| damaged(&error.to_string()))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("text and numbers");
        let checksum = checksum(&bytes);
        bytes.push(b'\n');
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.runs.iter().flat_map(|run| &run.segments)
    }

    /// Whether this is the index of the table as it stands in a snapshot of the same version.
    pub(super) fn fits(&self, snapshot: &Snapshot) -> bool {
        self.version == snapshot.version() && self.files == files_of(snapshot)
    }
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// Says which files are live; names of data files are never used twice.
pub(super) fn files_of(snapshot: &Snapshot) -> String {
    let sum = snapshot.files().fold(0u64, |sum, file| sum.wrapping_add(xxh3_64(file.path.as_bytes())));
    format!("{}-{sum:016x}", snapshot.file_count())
}

/// Numbers for partitions.
#[derive(Clone, Debug, Default)]
pub(in crate::latest) struct Partitions {
    names: Vec<Partition>,
    numbers: HashMap<Partition, u32>,
}

impl Partitions {
    /// Goes on from these numbers.
    pub(super) fn from(names: Vec<Partition>) -> Self {
        let numbers = names.iter().cloned().zip(0..).collect();
        Self { names, numbers }
    }

    /// The number of a partition, a new one if need be.
    pub(in crate::latest) fn number(&mut self, partition: Partition) -> u32 {
        let next = self.names.len() as u32;
        *self.numbers.entry(partition).or_insert_with_key(|partition| {
            self.names.push(partition.clone());
            next
        })
    }

    /// The partition of a number.
    pub(in crate::latest) fn get(&self, number: u32) -> Option<&Partition> {
        self.names.get(number as usize)
    }

    pub(super) fn into_names(self) -> Vec<Partition> {
        self.names
    }
}
