//! Rows that wait until all of their entity are there: in memory, and past a share of it in files.

use std::fs::File;
use std::io::{BufReader, BufWriter};
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
    spilled: Option<Spilled>,
    pub(crate) rows: u64,
}

struct Spilled {
    /// Removed with its files when dropped.
    dir: tempfile::TempDir,
    writers: Vec<Option<StreamWriter<BufWriter<File>>>>,
}

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
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            None => {
                let dir = match &self.temp_dir {
                    Some(dir) => tempfile::Builder::new().prefix("smelt-refine-").tempdir_in(dir),
                    None => tempfile::Builder::new().prefix("smelt-refine-").tempdir(),
                };
                let shown = self.temp_dir.clone().unwrap_or_else(std::env::temp_dir).display().to_string();
                let dir = dir.map_err(|source| RefineError::Spill { path: shown, source })?;
                self.spilled.insert(Spilled { dir, writers: (0..PARTS).map(|_| None).collect() })
            }
        };
        for batch in batches {
            let mut parts: Vec<Vec<u32>> = vec![Vec::new(); PARTS];
            for (row, key) in batch.column(self.key).as_primitive::<Decimal128Type>().values().iter().enumerate() {
                parts[part(*key)].push(row as u32);
            }
            for (index, rows) in parts.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                // With text of their own: each part would be written with the text of all of them.
                let rows = compact(&take_record_batch(&batch, &UInt32Array::from(rows))?)?;
                spilled.writer(index, &self.schema)?.write(&rows)?;
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
        let Some(spilled) = &mut self.spilled else {
            let batches = std::mem::take(&mut self.memory);
            return Ok(concat_batches(&self.schema, &batches)?);
        };
        let Some(mut writer) = spilled.writers[index].take() else {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        };
        writer.finish()?;
        drop(writer);
        let path = part_path(spilled.dir.path(), index);
        let file = File::open(&path).map_err(|source| failed(&path, source))?;
        let batches = StreamReader::try_new(BufReader::new(file), None)?.collect::<Result<Vec<_>, _>>()?;
        std::fs::remove_file(&path).map_err(|source| failed(&path, source))?;
        Ok(concat_batches(&self.schema, &batches)?)
    }
}

impl Spilled {
    fn writer(&mut self, index: usize, schema: &SchemaRef) -> Result<&mut StreamWriter<BufWriter<File>>> {
        let slot = &mut self.writers[index];
        if slot.is_none() {
            let path = part_path(self.dir.path(), index);
            let file = File::create(&path).map_err(|source| failed(&path, source))?;
            *slot = Some(StreamWriter::try_new(BufWriter::new(file), schema)?);
        }
        slot.as_mut().ok_or_else(|| RefineError::Worker("a spill file was not opened".to_owned()))
    }
}

fn part(key: i128) -> usize {
    (key as u128 >> 64) as usize % PARTS
}

fn part_path(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("{index}.arrow"))
}

fn failed(path: &Path, source: std::io::Error) -> RefineError {
    RefineError::Spill { path: path.display().to_string(), source }
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
        let dir = held.spilled.as_ref().expect("spilled").dir.path().to_owned();
        for part in 0..held.parts() {
            let writer = held.spilled.as_mut().and_then(|spilled| spilled.writers[part].as_mut());
            writer.expect("rows of each part").flush().expect("flushed");
        }
        let written: u64 = std::fs::read_dir(dir)
            .expect("there")
            .map(|file| file.expect("read").metadata().expect("a file").len())
            .sum();
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
