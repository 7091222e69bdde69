//! Rows that wait until all of their entity are there: in memory, and past a share of it in files.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Decimal128Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::stage::compact;
use crate::{RefineError, Result};

/// Parts into which spilled rows are put by their key; one part at a time is read back.
const PARTS: usize = 64;

/// Rows with their keys, to be had back entity by entity.
pub(crate) struct Held {
    schema: SchemaRef,
    /// The place of the key column.
    key: usize,
    memory: Vec<RecordBatch>,
    bytes: usize,
    budget: usize,
    temp_dir: Option<PathBuf>,
    /// One for each part. The files have no names, so that nothing is left of them whichever way the process ends.
    spilled: Option<Vec<Option<Writer>>>,
    pub(crate) rows: u64,
}

type Writer = StreamWriter<BufWriter<File>>;

impl Held {
    /// Holds rows of this schema, up to `budget` bytes in memory.
    pub(crate) fn new(schema: SchemaRef, key: usize, budget: usize, temp_dir: Option<PathBuf>) -> Self {
        Self { schema, key, memory: Vec::new(), bytes: 0, budget, temp_dir, spilled: None, rows: 0 }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When spilling fails.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch.get_array_memory_size();
        self.memory.push(batch);
        if self.bytes > self.budget { self.spill() } else { Ok(()) }
    }

    /// Whether rows went to files. Two sides that are compared must both have done so or both not.
    pub(crate) fn is_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    /// The number of parts to ask for.
    pub(crate) fn parts(&self) -> usize {
        if self.is_spilled() { PARTS } else { 1 }
    }

    /// Moves what is in memory to files.
    pub(crate) fn spill(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.memory);
        self.bytes = 0;
        self.spilled.get_or_insert_with(|| (0..PARTS).map(|_| None).collect());
        for batch in batches {
            let mut parts: Vec<Vec<u32>> = vec![Vec::new(); PARTS];
            for (row, key) in batch.column(self.key).as_primitive::<Decimal128Type>().values().iter().enumerate() {
                parts[part(*key)].push(row as u32);
            }
            for (index, rows) in parts.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                // With text of their own: each part would be written with the text of all of them.
                let rows = compact(&take_record_batch(&batch, &UInt32Array::from(rows))?)?;
                self.writer(index)?.write(&rows)?;
            }
        }
        Ok(())
    }

    /// The rows of one part. Ask for each part once, after the last row was added.
    ///
    /// # Errors
    /// When a file cannot be read back.
    pub(crate) fn take(&mut self, index: usize) -> Result<RecordBatch> {
        if self.is_spilled() && !self.memory.is_empty() {
            self.spill()?;
        }
        let Some(writers) = &mut self.spilled else {
            let batches = std::mem::take(&mut self.memory);
            return Ok(concat_batches(&self.schema, &batches)?);
        };
        let Some(writer) = writers[index].take() else {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        };
        let dir = self.dir();
        let mut file = writer.into_inner()?.into_inner().map_err(|error| failed(&dir, error.into_error()))?;
        file.rewind().map_err(|source| failed(&dir, source))?;
        let batches = StreamReader::try_new(BufReader::new(file), None)?.collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(&self.schema, &batches)?)
    }

    /// What writes a part.
    fn writer(&mut self, index: usize) -> Result<&mut Writer> {
        let dir = self.dir();
        let slot = self.spilled.as_mut().and_then(|writers| writers.get_mut(index));
        let slot = slot.ok_or_else(|| RefineError::Worker("rows were spilled to no files".to_owned()))?;
        Ok(match slot {
            Some(writer) => writer,
            None => {
                let file = tempfile::tempfile_in(&dir).map_err(|source| failed(&dir, source))?;
                slot.insert(StreamWriter::try_new(BufWriter::new(file), &self.schema)?)
            }
        })
    }

    fn dir(&self) -> PathBuf {
        self.temp_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

fn part(key: i128) -> usize {
    (key as u128 >> 64) as usize % PARTS
}

fn failed(dir: &Path, source: io::Error) -> RefineError {
    RefineError::Spill { path: dir.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn batch(keys: std::ops::Range<i128>) -> RecordBatch {
        let spread = keys.map(|key| (key << 64) | key);
        let column: ArrayRef =
            Arc::new(Decimal128Array::from_iter_values(spread).with_data_type(DataType::Decimal128(38, 0)));
        let schema = Schema::new(vec![Field::new("k", DataType::Decimal128(38, 0), false)]);
        RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column")
    }

    #[test]
    fn text_is_spilled_once() {
        let keys = batch(0..4096);
        let text: ArrayRef =
            Arc::new(StringViewArray::from_iter_values((0..4096).map(|n| format!("a text of row {n:020}"))));
        let bytes = 4096 * 34;
        let fields = [keys.schema().field(0).clone(), Field::new("t", DataType::Utf8View, false)];
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::clone(keys.column(0)), text]).expect("two columns");
        let mut held = Held::new(schema, 0, 0, None);
        held.push(rows).expect("spills");
        held.spill().expect("nothing more");
        let length = |writer: &mut Option<Writer>| {
            let writer = writer.as_mut().expect("rows of each part");
            writer.flush().expect("flushed");
            writer.get_ref().get_ref().metadata().expect("a file").len()
        };
        let written: u64 = held.spilled.as_mut().expect("spilled").iter_mut().map(length).sum();
        assert!((bytes..4 * bytes).contains(&written), "{written} bytes for {bytes} of text");
        let read: usize = (0..held.parts()).map(|part| held.take(part).expect("reads back").num_rows()).sum();
        assert_eq!(read, 4096);
    }

    #[test]
    fn spilled_rows_come_back_once_and_equal_keys_together() {
        let schema = batch(0..1).schema();
        for budget in [usize::MAX, 1000, 0] {
            let mut held = Held::new(schema.clone(), 0, budget, None);
            for start in 0..10 {
                held.push(batch(start * 10..start * 10 + 20)).expect("spills");
            }
            let mut seen = std::collections::HashMap::new();
            for index in 0..held.parts() {
                let rows = held.take(index).expect("reads back");
                for key in rows.column(0).as_primitive::<Decimal128Type>().values() {
                    let (first, count) = seen.entry(*key).or_insert((index, 0));
                    assert_eq!(*first, index);
                    *count += 1;
                }
            }
            assert_eq!(seen.values().map(|(_, count)| count).sum::<i32>(), 200, "budget {budget}");
        }
    }
}
