//! CSV: the header's meaning under a contract, and rows into columns.
//!
//! RFC 4180 with what real exports need: a field that starts with a quote ends with one, `""` within it is a quote;
//! quotes elsewhere are plain characters. An empty field is null, quoted or not.

use schema::{Contract, Drift};

use super::HeaderError;
use super::columns::{Column, Texts};
use super::json::{Scratch, Shape, push_text};
use super::reject::{Fate, Reject};

/// Delimiters that are told from a header, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The header of a CSV file, mapped to a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvHeader {
    /// The line as it came, without a byte order mark.
    text: String,
    delimiter: u8,
    columns: Vec<CsvColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CsvColumn {
    /// As the header has it.
    name: String,
    /// The contract's field of that name.
    field: Option<usize>,
}

impl CsvHeader {
    /// Reads a header line (without its end). Columns may come in any order, and optional fields may lack one; columns
    /// that the contract does not name are rescued. `delimiter` `None` takes the one of `,`, `;`, tab and `|` that
    /// gives most of the contract's names.
    ///
    /// # Errors
    /// [`HeaderError`]: a required field without a column, a name twice, or no text.
    pub fn read(line: &[u8], contract: &Contract, delimiter: Option<u8>) -> Result<CsvHeader, HeaderError> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if simdutf8::basic::from_utf8(line).is_err() || line.contains(&0) {
            return Err(HeaderError::Unreadable("the header is not text".to_owned()));
        }
        if line.trim_ascii().is_empty() {
            return Err(HeaderError::Unreadable("the first line is blank: expected a header".to_owned()));
        }
        let candidates = delimiter.map_or(DELIMITERS.to_vec(), |d| vec![d]);
        // A line that is broken under one delimiter may be whole under another.
        let read = candidates.iter().map(|delimiter| CsvHeader::with_delimiter(line, contract, *delimiter));
        let known = |header: &CsvHeader| header.columns.iter().filter(|c| c.field.is_some()).count();
        let best = read.reduce(|best, next| match (&best, &next) {
            (Ok(a), Ok(b)) if known(b) <= known(a) => best,
            (Ok(_), Err(_)) | (Err(_), Err(_)) => best,
            _ => next,
        });
        let header = best.ok_or_else(|| HeaderError::Unreadable("no delimiter".to_owned()))??;
        header.check(contract)?;
        Ok(header)
    }

    /// The line as it came, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Per column: the place of the contract's field that it holds.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Option<usize>> {
        self.columns.iter().map(|column| column.field)
    }

    /// The texts of a row, one a column; `None` for a row that is not whole or of another width.
    pub(crate) fn texts(&self, row: &str) -> Option<Vec<String>> {
        let (mut parts, mut buffer) = (Vec::new(), Vec::new());
        split(row.as_bytes(), self.delimiter, &mut parts).ok()?;
        let text = |part: &Part| String::from_utf8_lossy(part.value(row.as_bytes(), &mut buffer)).into_owned();
        (parts.len() == self.columns.len()).then(|| parts.iter().map(text).collect())
    }

    /// The byte between fields.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The columns' names, in order; a column without a name is `column <n>`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    fn with_delimiter(line: &[u8], contract: &Contract, delimiter: u8) -> Result<CsvHeader, HeaderError> {
        let mut parts = Vec::new();
        split(line, delimiter, &mut parts)
            .map_err(|reject| HeaderError::Unreadable(format!("the header: {reject}")))?;
        let mut text = Vec::new();
        let column = |(i, part): (usize, &Part)| {
            let name = String::from_utf8_lossy(part.value(line, &mut text)).into_owned();
            let field = contract.fields.iter().position(|f| f.wire_names().any(|n| n == name));
            CsvColumn { name: if name.is_empty() { format!("column {}", i + 1) } else { name }, field }
        };
        let columns = parts.iter().enumerate().map(column).collect();
        Ok(CsvHeader { text: String::from_utf8_lossy(line).into_owned(), delimiter, columns })
    }

    fn check(&self, contract: &Contract) -> Result<(), HeaderError> {
        for (i, column) in self.columns.iter().enumerate() {
            let same =
                |other: &CsvColumn| other.name == column.name || (other.field.is_some() && other.field == column.field);
            if self.columns[..i].iter().any(same) {
                return Err(HeaderError::Repeated(column.name.clone()));
            }
        }
        let has = |field: usize| self.columns.iter().any(|c| c.field == Some(field));
        let required = contract.fields.iter().enumerate().filter(|(i, f)| f.required && !has(*i));
        let missing: Vec<String> =
            required.map(|(_, f)| f.wire_names().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(" or ")).collect();
        if missing.is_empty() { Ok(()) } else { Err(HeaderError::Missing(missing)) }
    }
}

/// A field of a row: where it is, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    start: usize,
    end: usize,
    /// Whether it holds doubled quotes.
    doubled: bool,
}

impl Part {
    /// The field's text; `buffer` holds it when it has to be put together.
    fn value<'a>(&self, row: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let raw = &row[self.start..self.end];
        if !self.doubled {
            return raw;
        }
        buffer.clear();
        let mut rest = raw;
        while let Some(at) = memchr::memchr(b'"', rest) {
            buffer.extend_from_slice(&rest[..=at]);
            rest = &rest[at + 2..];
        }
        buffer.extend_from_slice(rest);
        buffer
    }
}

/// Splits a row into its fields.
pub(crate) fn split(row: &[u8], delimiter: u8, parts: &mut Vec<Part>) -> Fate<()> {
    parts.clear();
    let mut start = 0;
    if memchr::memchr(b'"', row).is_none() {
        for end in memchr::memchr_iter(delimiter, row) {
            parts.push(Part { start, end, doubled: false });
            start = end + 1;
        }
        parts.push(Part { start, end: row.len(), doubled: false });
        return Ok(());
    }
    loop {
        let (part, after) = if row.get(start) == Some(&b'"') {
            quoted(row, start + 1)?
        } else {
            let end = memchr::memchr(delimiter, &row[start..]).map_or(row.len(), |n| start + n);
            (Part { start, end, doubled: false }, end)
        };
        parts.push(part);
        match row.get(after) {
            Some(byte) if *byte == delimiter => start = after + 1,
            Some(_) => return Err(Box::new(Reject::Csv { what: "text after a closing quote" })),
            None => return Ok(()),
        }
    }
}

/// The field whose opening quote stands before `start`, and the offset after its closing quote.
fn quoted(row: &[u8], start: usize) -> Fate<(Part, usize)> {
    let mut doubled = false;
    let mut from = start;
    loop {
        let Some(at) = memchr::memchr(b'"', &row[from..]) else {
            return Err(Box::new(Reject::Csv { what: "quote without an end" }));
        };
        let end = from + at;
        if row.get(end + 1) != Some(&b'"') {
            return Ok((Part { start, end, doubled }, end + 1));
        }
        doubled = true;
        from = end + 2;
    }
}

/// Decodes rows; kept for its memory.
#[derive(Default)]
pub(crate) struct CsvReader {
    parts: Vec<Part>,
    text: Vec<u8>,
}

impl CsvReader {
    /// Appends the fields of one row (valid UTF-8) to `columns`, and those that the contract does not name to
    /// `rescued`.
    ///
    /// # Errors
    /// Why the row is bad; the columns then hold part of it and must be cut back.
    pub(crate) fn record(
        &mut self,
        row: &[u8],
        header: &CsvHeader,
        target: (&mut Shape, &mut [Column], &mut Texts),
        scratch: &mut Scratch,
        drift: Drift,
    ) -> Fate<()> {
        scratch.clear();
        split(row, header.delimiter, &mut self.parts)?;
        self.check_row(row, header)?;
        let (shape, columns, rescued) = target;
        let rows = rescued.len();
        let mut found = 0;
        for (part, column) in self.parts.iter().zip(&header.columns) {
            let name = &column.name;
            let value = part.value(row, &mut self.text);
            match column.field {
                Some(field) => {
                    found += 1;
                    let (spec, column) = (&mut shape.fields[field], &mut columns[field]);
                    if value.is_empty() {
                        spec.absent(column)?
                    } else {
                        spec.read_plain(value, column, scratch)?
                    }
                    if scratch.take_unknown() {
                        rescue(name, value, rescued);
                    }
                }
                None if drift == Drift::Fail => return Err(Box::new(Reject::Unknown { name: name.clone() })),
                None if value.is_empty() => {}
                None => rescue(name, value, rescued),
            }
        }
        if found < columns.len() {
            let absent = |field: &usize| !header.columns.iter().any(|c| c.field == Some(*field));
            for field in (0..columns.len()).filter(absent) {
                shape.fields[field].absent(&mut columns[field])?;
            }
        }
        end_rescued(rescued, rows)
    }

    /// Refuses rows that are no data: blank ones, the header again, ones of another width.
    fn check_row(&self, row: &[u8], header: &CsvHeader) -> Fate<()> {
        let parts = &self.parts;
        if parts.iter().all(|p| p.start == p.end) {
            return Err(Box::new(Reject::Blank));
        }
        if parts.len() != header.columns.len() {
            return Err(Box::new(Reject::Width { found: parts.len(), wanted: header.columns.len() }));
        }
        // A doubled quote in a column's name is too rare to be looked for in each row.
        let is_name = |(part, column): (&Part, &CsvColumn)| row[part.start..part.end] == *column.name.as_bytes();
        if parts.iter().zip(&header.columns).all(is_name) {
            return Err(Box::new(Reject::RepeatedHeader));
        }
        Ok(())
    }
}

/// Appends a member to the JSON object of the row under construction.
fn rescue(name: &str, value: &[u8], rescued: &mut Texts) {
    rescued.bytes.push(if rescued.is_row_open() { b',' } else { b'{' });
    push_text(name.as_bytes(), &mut rescued.bytes);
    rescued.bytes.push(b':');
    push_text(value, &mut rescued.bytes);
}

/// Ends the row's object. Names are repeated in each row, so that a hostile header could outgrow what a column of texts
/// can hold: such a row is bad.
fn end_rescued(rescued: &mut Texts, rows: usize) -> Fate<()> {
    debug_assert_eq!(rescued.len(), rows, "one rescued text a row");
    if !rescued.is_row_open() {
        rescued.push_null();
        return Ok(());
    }
    if rescued.bytes.len() >= i32::MAX as usize {
        return Err(Box::new(Reject::Csv { what: "too many unknown columns" }));
    }
    rescued.bytes.push(b'}');
    rescued.end_row();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: &str, delimiter: u8, wanted: &[&str]) {
        let (mut parts, mut buffer) = (Vec::new(), Vec::new());
        split(row.as_bytes(), delimiter, &mut parts).unwrap_or_else(|e| panic!("{row}: {e}"));
        let found: Vec<String> =
            parts.iter().map(|p| String::from_utf8_lossy(p.value(row.as_bytes(), &mut buffer)).into_owned()).collect();
        assert_eq!(found, wanted, "{row}");
    }

    #[test]
    fn rows_with_all_kinds_of_quotes() {
        check("a,b,c", b',', &["a", "b", "c"]);
        check("", b',', &[""]);
        check(",,", b',', &["", "", ""]);
        check("a;\"b;c\";d", b';', &["a", "b;c", "d"]);
        check("\"a \"\"b\"\"\",c", b',', &["a \"b\"", "c"]);
        check("\"\",\"\"\"\"", b',', &["", "\""]);
        check("MacBook Pro 16\",5\" x 7\",c", b',', &["MacBook Pro 16\"", "5\" x 7\"", "c"]);
        check("\"a\nb\",c", b',', &["a\nb", "c"]);
    }

    #[test]
    fn broken_quotes_are_refused() {
        let mut parts = Vec::new();
        for (row, what) in [("\"a", "quote without an end"), ("\"a\"b,c", "text after a closing quote")] {
            assert_eq!(split(row.as_bytes(), b',', &mut parts), Err(Box::new(Reject::Csv { what })), "{row}");
        }
    }
}
