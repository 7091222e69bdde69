//! Whole batches: each record's fate, the rules over what decoded, the two record batches that come of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Date32Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use schema::{Contract, RawPolicy};

use super::assemble::{Assembler, Details, Rows};
use super::columns::{Column, Texts};
use super::csv::CsvReader;
use super::json::{self, Scratch, Shape};
use super::reject::{Fate, Reject};
use super::{DecodeError, Decoded, Framing, RowCheck};
use crate::records::{MAX_BATCH_BYTES, RawBatch};

/// An event may claim to be at most this much later than its arrival (ENGINE.md 22).
const FUTURE_US: i64 = 86_400_000_000;

/// The most text that the records of a batch may become which came in another form: what a column of text can hold is twice
/// that. Only an attack gets there, a batch of tiny records that stand for many empty items each.
const MOST_TEXT: usize = 1 << 30;

/// Decodes the records of one stream. Keep it: it learns the order in which a producer writes its fields.
///
/// A bad record costs about what a good one costs: its part of the columns is cut off again, its neighbours are not
/// touched. In a quarantined row the contract's fields are filled when the record decoded and then broke a rule (or its
/// event time is too late), and null when it did not decode; `_error` and `_raw` are always set.
pub struct Decoder {
    stream: String,
    contract: Contract,
    /// The column of the event time.
    event_time: Option<usize>,
    schema: SchemaRef,
    payload: SchemaRef,
    rules: Vec<Box<dyn RowCheck>>,
    warnings: Vec<Box<dyn RowCheck>>,
    shape: Shape,
    columns: Vec<Column>,
    rescued: Texts,
    scratch: Scratch,
    csv: CsvReader,
    /// The text of a record that came in another form, and how long those of the batch are together.
    text: Vec<u8>,
    text_bytes: usize,
    assembler: Assembler,
}

/// What decoding record by record gives.
struct Sorted {
    /// The fields of the records that decoded.
    payload: RecordBatch,
    rescued: ArrayRef,
    /// Per row of `payload`: its record.
    records: Vec<u32>,
    /// Records that did not decode, and why.
    rejected: Vec<(u32, Box<Reject>)>,
    /// Rows of `payload` with a special clock time.
    clocks: Vec<u32>,
}

impl Decoder {
    /// A decoder for `contract`. `rules` quarantine, `warnings` only count.
    pub fn new(contract: &Contract, rules: Vec<Box<dyn RowCheck>>, warnings: Vec<Box<dyn RowCheck>>) -> Self {
        let event_time = contract.event_time.as_ref();
        Decoder {
            stream: contract.name.clone(),
            event_time: event_time.and_then(|name| contract.fields.iter().position(|f| f.name == *name)),
            schema: contract.decoded_schema(),
            payload: contract.payload_schema(),
            rules,
            warnings,
            shape: Shape::new(contract),
            columns: contract.fields.iter().map(|f| Column::new(&f.kind)).collect(),
            rescued: Texts::default(),
            scratch: Scratch::new(contract),
            csv: CsvReader::default(),
            text: Vec::new(),
            text_bytes: 0,
            assembler: Assembler::new(contract),
            contract: contract.clone(),
        }
    }

    /// Decodes all records of `raw`: JSON, CSV if it has a header, or what its framing says. `ingested_at_us` is the clock, microseconds UTC.
    ///
    /// # Errors
    /// [`DecodeError`]; never because of what a record holds.
    pub fn decode(&mut self, raw: &RawBatch, ingested_at_us: i64) -> Result<Decoded, DecodeError> {
        if raw.bytes.len() > MAX_BATCH_BYTES {
            return Err(DecodeError::BatchTooLarge(raw.bytes.len()));
        }
        let sorted = self.sort(raw).map_err(|e| self.arrow(e))?;
        let broken = self.broken(raw, &sorted)?;
        let (stored, clock_warnings) = self.stored(raw, &sorted, &broken, ingested_at_us).map_err(|e| self.arrow(e))?;
        let fields: Vec<usize> = (0..self.payload.fields().len()).collect();
        let payload = stored.project(&fields).map_err(|e| self.arrow(e))?;
        let warnings = self.warnings.iter().map(|w| Ok(self.falses(w.as_ref(), &payload)?.len() as u64));
        let warnings = warnings.collect::<Result<Vec<u64>, DecodeError>>()?;
        let quarantined = self.quarantined(raw, sorted, broken, ingested_at_us).map_err(|e| self.arrow(e))?;
        Ok(Decoded { stored, quarantined, warnings, clock_warnings })
    }

    fn arrow(&self, source: ArrowError) -> DecodeError {
        DecodeError::Arrow { stream: self.stream.clone(), source }
    }

    /// Decodes record by record.
    fn sort(&mut self, raw: &RawBatch) -> Result<Sorted, ArrowError> {
        let text = raw.framing.is_none().then(|| simdutf8::basic::from_utf8(&raw.bytes).ok()).flatten();
        self.text_bytes = 0;
        let has_nul = raw.header.is_some() && memchr::memchr(0, &raw.bytes).is_some();
        let mut oversize = raw.oversize.iter().peekable();
        let mut records = Vec::with_capacity(raw.len());
        let (mut rejected, mut clocks) = (Vec::new(), Vec::new());
        for index in 0..raw.len() {
            let fate = match oversize.next_if(|o| o.record as usize == index) {
                Some(o) => Err(self.too_long(o.length, o.hash)),
                None => self.record(raw, index, text, has_nul),
            };
            match fate {
                Ok(()) => {
                    if self.scratch.special_clocks > 0 {
                        clocks.push(records.len() as u32);
                    }
                    records.push(index as u32);
                }
                Err(reject) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(records.len()));
                    self.rescued.truncate(records.len());
                    rejected.push((index as u32, reject));
                }
            }
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let rescued = self.rescued.finish_utf8()?;
        let payload = RecordBatch::try_new(self.payload.clone(), columns)?;
        Ok(Sorted { payload, rescued, records, rejected, clocks })
    }

    /// Decodes one record. `text` is the whole batch if all of it is UTF-8.
    #[inline]
    fn record(&mut self, raw: &RawBatch, index: usize, text: Option<&str>, has_nul: bool) -> Fate<()> {
        let range = &raw.ranges[index];
        let (start, end) = (range.start as usize, range.end as usize);
        let bytes = &raw.bytes[start..end];
        if bytes.len() > self.contract.max_record {
            return Err(self.too_long(bytes.len() as u64, xxhash_rust::xxh3::xxh3_128(bytes)));
        }
        if let Some(framing) = &raw.framing {
            return self.framed(bytes, framing);
        }
        // Halves of a character at the seam of two records would be valid together only.
        let is_text = match text {
            Some(text) => text.is_char_boundary(start) && text.is_char_boundary(end),
            None => simdutf8::basic::from_utf8(bytes).is_ok(),
        };
        if !is_text {
            return Err(Box::new(Reject::NotText));
        }
        match &raw.header {
            None => json::record(bytes, &mut self.shape, &mut self.columns, &mut self.rescued, &mut self.scratch),
            Some(_) if has_nul && bytes.contains(&0) => Err(Box::new(Reject::Csv { what: "NUL byte" })),
            Some(header) => {
                let target = (&mut self.shape, self.columns.as_mut_slice(), &mut self.rescued);
                self.csv.record(bytes, header, target, &mut self.scratch, self.contract.drift)
            }
        }
    }

    /// Decodes a record that stands behind the id of its schema.
    fn framed(&mut self, message: &[u8], framing: &Framing) -> Fate<()> {
        let text = framing.text(message, &mut self.text, self.contract.max_record)?;
        self.text_bytes += text.len();
        if self.text_bytes > MOST_TEXT {
            return Err(Box::new(Reject::TooMuchText));
        }
        json::record(text, &mut self.shape, &mut self.columns, &mut self.rescued, &mut self.scratch)
    }

    #[cold]
    fn too_long(&self, length: u64, hash: u128) -> Box<Reject> {
        Box::new(Reject::TooLong { length, limit: self.contract.max_record, hash })
    }

    /// Rows that decoded but break a rule, ascending, each with the first reason.
    fn broken(&self, raw: &RawBatch, sorted: &Sorted) -> Result<Vec<(u32, Box<Reject>)>, DecodeError> {
        let mut broken = self.too_late(raw, sorted);
        for rule in &self.rules {
            let reject = || Box::new(Reject::Rule { rule: rule.name().to_owned() });
            broken.extend(self.falses(rule.as_ref(), &sorted.payload)?.into_iter().map(|row| (row, reject())));
        }
        broken.sort_by_key(|(row, _)| *row);
        broken.dedup_by_key(|(row, _)| *row);
        Ok(broken)
    }

    /// Rows for which a check is false.
    fn falses(&self, check: &dyn RowCheck, batch: &RecordBatch) -> Result<Vec<u32>, DecodeError> {
        let wrong = |source| DecodeError::Rule { stream: self.stream.clone(), name: check.name().to_owned(), source };
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let answers = check.check(batch).map_err(wrong)?;
        if answers.len() != batch.num_rows() {
            return Err(wrong(format!("{} answers for {} rows", answers.len(), batch.num_rows()).into()));
        }
        if answers.null_count() == 0 && answers.true_count() == answers.len() {
            return Ok(Vec::new());
        }
        let is_false = |row: &usize| answers.is_valid(*row) && !answers.value(*row);
        Ok((0..answers.len()).filter(is_false).map(|row| row as u32).collect())
    }

    fn too_late(&self, raw: &RawBatch, sorted: &Sorted) -> Vec<(u32, Box<Reject>)> {
        let Some(column) = self.event_time else { return Vec::new() };
        let array = sorted.payload.column(column);
        let field = &self.contract.fields[column].name;
        let mut late = Vec::new();
        let mut compare = |row: usize, event_us: i64| {
            let arrived = raw.arrived_at.at(sorted.records[row] as usize);
            if event_us > arrived.saturating_add(FUTURE_US) && array.is_valid(row) {
                late.push((row as u32, Box::new(Reject::FromTheFuture { field: field.clone() })));
            }
        };
        if let Some(times) = array.as_any().downcast_ref::<TimestampMicrosecondArray>() {
            times.values().iter().enumerate().for_each(|(row, us)| compare(row, *us));
        } else if let Some(dates) = array.as_any().downcast_ref::<Date32Array>() {
            dates.values().iter().enumerate().for_each(|(row, day)| compare(row, i64::from(*day) * 86_400_000_000));
        }
        late
    }

    /// The good rows, and how many of them have a special clock time.
    fn stored(
        &mut self,
        raw: &RawBatch,
        sorted: &Sorted,
        broken: &[(u32, Box<Reject>)],
        ingested_at_us: i64,
    ) -> Result<(RecordBatch, u64), ArrowError> {
        let is_broken = |row: &u32| broken.binary_search_by_key(row, |(row, _)| *row).is_ok();
        let clocks = sorted.clocks.iter().filter(|row| !is_broken(row)).count() as u64;
        let (with_raw, max_record) = (self.contract.raw == RawPolicy::All, self.contract.max_record);
        let details = |rescued| Details { rescued, errors: None, with_raw, with_header: false, max_record };
        if broken.is_empty() {
            let all = sorted.rejected.is_empty();
            let rows = if all { Rows::All(raw.len()) } else { Rows::Only(&sorted.records) };
            let system = self.assembler.columns(raw, rows, ingested_at_us, details(sorted.rescued.clone()))?;
            return Ok((self.join(sorted.payload.columns().to_vec(), system)?, clocks));
        }
        let mut keep = vec![true; sorted.records.len()];
        broken.iter().for_each(|(row, _)| keep[*row as usize] = false);
        let kept: Vec<u32> = sorted.records.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(r, _)| *r).collect();
        let keep = BooleanArray::from(keep);
        let payload = filter_record_batch(&sorted.payload, &keep)?;
        let rescued = arrow::compute::filter(&sorted.rescued, &keep)?;
        let system = self.assembler.columns(raw, Rows::Only(&kept), ingested_at_us, details(rescued))?;
        Ok((self.join(payload.columns().to_vec(), system)?, clocks))
    }

    /// The bad rows: those that did not decode and those that broke a rule, in the order of their records.
    fn quarantined(
        &mut self,
        raw: &RawBatch,
        sorted: Sorted,
        broken: Vec<(u32, Box<Reject>)>,
        ingested_at_us: i64,
    ) -> Result<RecordBatch, ArrowError> {
        let mut bad: Vec<(u32, Option<u32>, Box<Reject>)> =
            sorted.rejected.into_iter().map(|(record, reject)| (record, None, reject)).collect();
        bad.extend(broken.into_iter().map(|(row, reject)| (sorted.records[row as usize], Some(row), reject)));
        if bad.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        bad.sort_by_key(|(record, ..)| *record);
        let records: Vec<u32> = bad.iter().map(|(record, ..)| *record).collect();
        // A row that did not decode takes nothing: null in every field.
        let rows: UInt32Array = bad.iter().map(|(_, row, _)| *row).collect();
        let payload = sorted.payload.columns().iter().map(|c| take(c, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let rescued = take(&sorted.rescued, &rows, None)?;
        let errors = Some(bad.into_iter().map(|(.., reject)| *reject).collect());
        let max_record = self.contract.max_record;
        let details = Details { rescued, errors, with_raw: true, with_header: true, max_record };
        let system = self.assembler.columns(raw, Rows::Only(&records), ingested_at_us, details)?;
        self.join(payload, system)
    }

    fn join(&self, mut payload: Vec<ArrayRef>, system: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        payload.extend(system);
        RecordBatch::try_new(Arc::clone(&self.schema), payload)
    }
}
