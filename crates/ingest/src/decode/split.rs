//! Files to records: cuts byte chunks at line ends, those within CSV quotes aside.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use schema::{Contract, Format};
use xxhash_rust::xxh3::Xxh3;

use super::csv::CsvHeader;
use super::{FileEnd, HeaderError, Origin, SplitLimits};
use crate::buffers::Buffers;
use crate::records::{ArrivedAt, MAX_BATCH_BYTES, OVERSIZE_KEPT, Oversize, RawBatch};

/// A chunk is taken in pieces of this size, so that a large one does not sit in memory twice.
const PIECE: usize = 64 * 1024;

/// Cuts a decompressed file, given in chunks, into batches of records.
///
/// A record is a line: up to `\n` or `\r\n`. In CSV a field that starts with a quote may hold line ends; a quote that
/// is not closed within `max_record` bytes, or at the file's end, costs its own line only: the record ends there, and
/// the decoder says why it is bad. A line that is too long is cut to its first part ([`Oversize`]). A byte order mark
/// at the start is left out. Offsets are 1-based lines, the CSV header being line 1.
///
/// ```text
/// for chunk in file { splitter.push(chunk)?; while let Some(batch) = splitter.take() { decode(batch) } }
/// let end = splitter.finish()?; while let Some(batch) = splitter.take() { decode(batch) }
/// ```
pub struct Splitter {
    contract: Contract,
    format: Format,
    origin: Origin,
    limits: SplitLimits,
    header: Option<Arc<CsvHeader>>,
    /// The batch under construction: complete records, then the start of the next one.
    buffer: Vec<u8>,
    ranges: Vec<Range<u32>>,
    offsets: Vec<i64>,
    oversize: Vec<Oversize>,
    /// Where in `buffer` the record under construction starts, and up to where it was looked through.
    start: usize,
    scanned: usize,
    /// Where in its quotes a CSV record under construction is, at `scanned`.
    quotes: Quotes,
    /// The rest of a record that is too long: only counted and hashed.
    skipping: Option<(Box<Xxh3>, u64)>,
    /// The line on which the record under construction starts.
    line: i64,
    records: u64,
    last_byte: Option<u8>,
    /// Quotes without an end so far.
    given_up: u32,
    ready: VecDeque<RawBatch>,
    buffers: Arc<Buffers>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the end of the field, or half of a doubled quote.
    QuoteSeen,
}

/// Quotes without an end that are looked for in one file, each over `max_record` bytes. After so many, quotes of this file
/// end with their line.
const MOST_GIVEN_UP: u32 = 1_000;

impl Splitter {
    /// A splitter for one file of `contract`'s stream.
    pub fn new(contract: &Contract, format: Format, origin: Origin, limits: SplitLimits) -> Self {
        Splitter {
            contract: contract.clone(),
            format,
            origin,
            limits: SplitLimits { records: limits.records.max(1), bytes: limits.bytes.clamp(1, MAX_BATCH_BYTES / 2) },
            header: None,
            buffer: Vec::new(),
            ranges: Vec::new(),
            offsets: Vec::new(),
            oversize: Vec::new(),
            start: 0,
            scanned: 0,
            quotes: Quotes::FieldStart,
            skipping: None,
            line: 1,
            records: 0,
            last_byte: None,
            given_up: 0,
            ready: VecDeque::new(),
            buffers: Arc::default(),
        }
    }

    /// The header of a CSV file, once it was read.
    pub fn header(&self) -> Option<&CsvHeader> {
        self.header.as_deref()
    }

    /// Adds the next bytes of the file. Take the full batches afterwards: memory is bounded by the chunk, the limits
    /// and one record of at most `max_record` bytes.
    ///
    /// # Errors
    /// [`HeaderError`]: the file cannot be read as this stream.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), HeaderError> {
        self.last_byte = chunk.last().copied().or(self.last_byte);
        for piece in chunk.chunks(PIECE) {
            let rest = self.skip(piece);
            self.buffer.extend_from_slice(rest);
            self.scan()?;
        }
        Ok(())
    }

    /// The next full batch; after [`Splitter::finish`] also the last, partly filled one.
    pub fn take(&mut self) -> Option<RawBatch> {
        self.ready.pop_front()
    }

    /// Bytes held that no batch was made of yet.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Says that the file is over: its last record counts even when no newline ends it.
    ///
    /// # Errors
    /// [`HeaderError`]: a CSV file without a header that can be read.
    pub fn finish(&mut self) -> Result<FileEnd, HeaderError> {
        if let Some((hasher, length)) = self.skipping.take() {
            self.end_oversize(&hasher, length);
        }
        while self.start < self.buffer.len() {
            if self.quotes == Quotes::Quoted && self.give_up_quotes(self.buffer.len()) {
                self.scan()?;
            } else {
                self.end_record(self.buffer.len(), 0)?;
            }
        }
        if matches!(self.format, Format::Csv { .. }) && self.header.is_none() {
            return Err(HeaderError::Unreadable("empty file: expected a header".to_owned()));
        }
        self.cut();
        Ok(FileEnd { ended: self.last_byte.is_none_or(|b| b == b'\n'), records: self.records })
    }

    /// Ends all records that are complete in the buffer. What comes out does not depend on how the file was chunked.
    fn scan(&mut self) -> Result<(), HeaderError> {
        loop {
            let found = self.find_end();
            let end = found.unwrap_or(self.buffer.len());
            let is_too_long = self.is_too_long(end);
            if is_too_long && self.header.is_none() && matches!(self.format, Format::Csv { .. }) {
                return Err(HeaderError::Unreadable("the first line is too long for a header".to_owned()));
            }
            match found {
                _ if is_too_long && self.give_up_quotes(end) => {}
                Some(end) if is_too_long => self.end_long_line(end),
                Some(end) => self.end_record(end, 1)?,
                None if is_too_long => {
                    self.start_oversize();
                    return Ok(());
                }
                None => return Ok(()),
            }
            self.cut_full();
        }
    }

    /// Hands out a batch once it is as large as it may be.
    fn cut_full(&mut self) {
        if self.ranges.len() >= self.limits.records || self.start >= self.limits.bytes {
            self.cut();
        }
    }

    /// Whether the record under construction is too long if it goes to `end`. One byte more than a record may have is
    /// none too many: it can be a carriage return.
    fn is_too_long(&self, end: usize) -> bool {
        end - self.start > self.contract.max_record + 1
    }

    /// The end of the record under construction: the offset of its newline.
    fn find_end(&mut self) -> Option<usize> {
        if self.given_up >= MOST_GIVEN_UP {
            let line = &self.buffer[self.scanned..];
            let end = memchr::memchr(b'\n', line);
            self.scanned += end.unwrap_or(line.len());
            return end.map(|_| self.scanned);
        }
        let delimiter = match &self.header {
            Some(header) if self.quotes != Quotes::FieldStart || self.scanned > self.start => header.delimiter(),
            header => {
                let line = &self.buffer[self.scanned..];
                let end = memchr::memchr(b'\n', line);
                let line = &line[..end.unwrap_or(line.len())];
                match header {
                    // The common case, a line without quotes.
                    Some(header) if end.is_none() || memchr::memchr(b'"', line).is_some() => header.delimiter(),
                    _ => {
                        self.scanned += line.len();
                        return end.map(|_| self.scanned);
                    }
                }
            }
        };
        self.find_end_in_quotes(delimiter)
    }

    fn find_end_in_quotes(&mut self, delimiter: u8) -> Option<usize> {
        while let Some(&byte) = self.buffer.get(self.scanned) {
            self.quotes = match (self.quotes, byte) {
                (Quotes::Quoted, b'"') => Quotes::QuoteSeen,
                (Quotes::Quoted, _) => {
                    let rest = &self.buffer[self.scanned..];
                    self.scanned += memchr::memchr(b'"', rest).unwrap_or(rest.len());
                    continue;
                }
                (_, b'\n') => return Some(self.scanned),
                (Quotes::FieldStart | Quotes::QuoteSeen, b'"') => Quotes::Quoted,
                (_, byte) if byte == delimiter => Quotes::FieldStart,
                _ => Quotes::Plain,
            };
            self.scanned += 1;
        }
        None
    }

    /// Takes the bytes from the record's start to `end` as a record, or as the header; the next one starts `gap` bytes
    /// behind it.
    fn end_record(&mut self, end: usize, gap: usize) -> Result<(), HeaderError> {
        let mut range = self.start..end;
        let is_first = self.line == 1;
        if is_first && self.buffer[range.clone()].starts_with(b"\xef\xbb\xbf") {
            range.start += 3;
        }
        if self.buffer[range.clone()].ends_with(b"\r") {
            range.end -= 1;
        }
        let line = self.line;
        self.line += 1;
        if matches!(self.format, Format::Csv { .. }) {
            // Those within quotes.
            self.line += memchr::memchr_iter(b'\n', &self.buffer[range.clone()]).count() as i64;
        }
        match self.format {
            Format::Csv { delimiter } if self.header.is_none() => {
                let header = CsvHeader::read(&self.buffer[range], &self.contract, delimiter)?;
                self.header = Some(Arc::new(header));
            }
            _ => self.add(range, line),
        }
        self.start_at(end + gap);
        Ok(())
    }

    fn start_at(&mut self, start: usize) {
        self.start = start;
        self.scanned = start;
        self.quotes = Quotes::FieldStart;
    }

    fn add(&mut self, range: Range<usize>, line: i64) {
        self.ranges.push(range.start as u32..range.end as u32);
        self.offsets.push(line);
        self.records += 1;
    }

    /// Ends the record under construction at its first line end before `end` instead of behind its closing quote.
    /// False: it has none.
    fn give_up_quotes(&mut self, end: usize) -> bool {
        let Some(at) = memchr::memchr(b'\n', &self.buffer[self.start..end]) else { return false };
        let end = self.start + at;
        if self.is_too_long(end) {
            self.end_long_line(end);
            return true;
        }
        self.given_up += 1;
        let range = self.start..end - usize::from(self.buffer[self.start..end].ends_with(b"\r"));
        self.add(range, self.line);
        self.line += 1;
        self.start_at(end + 1);
        true
    }

    /// Ends a line that is too long and whose newline, at `end`, is in the buffer already.
    fn end_long_line(&mut self, end: usize) {
        let rest = self.buffer.split_off(end + 1);
        self.buffer.pop();
        self.start_oversize();
        if let Some((hasher, length)) = self.skipping.take() {
            self.end_oversize(&hasher, length);
        }
        self.buffer.extend_from_slice(&rest);
    }

    /// Keeps the first part of a record that is too long, the last in the buffer; what follows up to the line's end is
    /// skipped.
    fn start_oversize(&mut self) {
        let record = &self.buffer[self.start..];
        let mut hasher = Box::new(Xxh3::new());
        hasher.update(record);
        self.skipping = Some((hasher, record.len() as u64));
        self.buffer.truncate(self.start + OVERSIZE_KEPT.min(self.contract.max_record));
        self.scanned = self.buffer.len();
    }

    /// Passes over what belongs to a record that is too long; returns the rest.
    fn skip<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let Some((mut hasher, length)) = self.skipping.take() else { return piece };
        let end = memchr::memchr(b'\n', piece);
        let part = &piece[..end.unwrap_or(piece.len())];
        hasher.update(part);
        let length = length + part.len() as u64;
        match end {
            None => {
                self.skipping = Some((hasher, length));
                &[]
            }
            Some(end) => {
                self.end_oversize(&hasher, length);
                self.cut_full();
                &piece[end + 1..]
            }
        }
    }

    /// Adds the record that is too long, by its first part. Length and hash are those of the whole line, a carriage
    /// return at its end included.
    fn end_oversize(&mut self, hasher: &Xxh3, length: u64) {
        let record = self.ranges.len() as u32;
        self.oversize.push(Oversize { record, length, hash: hasher.digest128() });
        self.add(self.start..self.buffer.len(), self.line);
        self.line += 1;
        self.start_at(self.buffer.len());
    }

    /// Hands out the complete records as a batch; the record under construction moves to a new buffer.
    fn cut(&mut self) {
        let mut next = self.buffers.take(self.buffer.len());
        next.extend_from_slice(&self.buffer[self.start..]);
        self.buffer.truncate(self.start);
        let bytes = std::mem::replace(&mut self.buffer, next);
        self.scanned -= self.start;
        self.start = 0;
        let records = self.ranges.len();
        if records == 0 {
            self.buffers.put(bytes);
            return;
        }
        self.ready.push_back(RawBatch {
            bytes: self.buffers.lend(bytes),
            ranges: std::mem::replace(&mut self.ranges, Vec::with_capacity(records)),
            offsets: std::mem::replace(&mut self.offsets, Vec::with_capacity(records)),
            source: self.origin.source.clone(),
            partition: self.origin.partition,
            arrived_at: ArrivedAt::All(self.origin.arrived_at),
            keys: None,
            oversize: std::mem::take(&mut self.oversize),
            header: self.header.clone(),
            headers: None,
            framing: None,
        });
    }
}
