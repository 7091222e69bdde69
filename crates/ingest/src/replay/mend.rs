//! Mends by SQL expressions, and decoding what they give.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use schema::{Contract, Format};
use session::{RowValue, RowValues, SessionError};

use super::framed::unframe;
use super::lenient;
use super::open::Record;
use super::wire::{NewValue, Parts};
use crate::decode::{CsvHeader, Framing};
use crate::decoders::Decoders;
use crate::records::{ArrivedAt, MessageHeaders, RawBatch};
use crate::{IngestError, decode};

/// Bytes of records that are decoded as one batch.
const BATCH_BYTES: usize = 16 << 20;

/// One expression: what a field, or the whole record (`_raw`), is to be.
///
/// Written `COLUMN=SQL`. The expression of `_raw` gives the record's new text. That of a field gives its value: the field is
/// written into the record under the name that it has there, all else stays, and the decoder reads the result. All
/// expressions see the record as it is before any field changes (and after `_raw`'s), by these columns:
///
/// | column | is |
/// |---|---|
/// | each field of the contract | its value, null where it is absent or does not fit (not for `_raw`) |
/// | `_wire['field']` | the text of the field's value as it came (not for `_raw`) |
/// | `_raw`, `_raw_latin1` | the record's text (as JSON, if it stands behind the id of a schema), null if it is not UTF-8; its bytes read as ISO 8859-1 |
/// | `_error` | why it is in quarantine |
/// | `_source`, `_partition`, `_offset`, `_arrived_at`, `_header` | as in quarantine |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// A field of the contract, or `_raw`.
    pub column: String,
    /// The expression.
    pub sql: String,
}

impl FromStr for Mend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((column, sql)) if !column.trim().is_empty() && !sql.trim().is_empty() => {
                Ok(Self { column: column.trim().to_owned(), sql: sql.trim().to_owned() })
            }
            _ => Err("expected COLUMN=SQL, for example quantity=abs(quantity)".to_owned()),
        }
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.column, self.sql)
    }
}

/// The mends of one stream, compiled.
pub(super) struct Mender {
    contract: Contract,
    raw: Option<RowValue>,
    fields: Vec<(usize, RowValue)>,
}

/// What became of records.
pub(super) struct Replayed {
    /// The records, as they were decoded.
    pub records: Vec<Record>,
    /// Per record: why it is bad; `None` where it is good.
    pub fates: Vec<Option<String>>,
    /// The good rows, with the columns of [`Contract::decoded_schema`].
    pub stored: Vec<RecordBatch>,
}

impl Mender {
    /// Compiles the mends of a stream.
    ///
    /// # Errors
    /// [`IngestError::Mend`]: no such field, two mends of one, no expression over the columns that there are.
    pub fn new(contract: &Contract, mends: &[Mend]) -> Result<Self, IngestError> {
        let mut mender = Self { contract: contract.clone(), raw: None, fields: Vec::new() };
        for (index, mend) in mends.iter().enumerate() {
            let wrong = |reason: String| IngestError::Mend { mend: mend.to_string(), reason };
            if mends[..index].iter().any(|other| other.column == mend.column) {
                return Err(wrong(format!("{} is mended twice", mend.column)));
            }
            let compile = |schema: &Schema| {
                let value = RowValue::compile(&mend.sql, schema).map_err(|error| match error {
                    SessionError::RowExpr { message, .. } => wrong(message),
                    other => wrong(other.to_string()),
                })?;
                let kind = value.kind().clone();
                if kind.is_nested() || (mend.column == "_raw" && !is_text(&kind)) {
                    return Err(wrong(format!("expected {}, this is {kind}", expected(&mend.column))));
                }
                Ok(value)
            };
            if mend.column == "_raw" {
                mender.raw = Some(compile(&Schema::new(context_fields()))?);
                continue;
            }
            let place = contract.fields.iter().position(|field| field.name == mend.column).ok_or_else(|| {
                let known: Vec<&str> = contract.fields.iter().map(|field| field.name.as_str()).collect();
                wrong(format!("{} has no such field; it has {} (and _raw)", contract.name, known.join(", ")))
            })?;
            mender.fields.push((place, compile(&mender.field_schema())?));
        }
        Ok(mender)
    }

    /// Mends and decodes records, those in frames once they are taken out of them; `at` is their `_ingested_at`.
    ///
    /// # Errors
    /// A defect, never what a record holds.
    pub fn replay(
        &self,
        decoders: &Decoders,
        mut records: Vec<Record>,
        framing: Option<Framing>,
        at: DateTime<Utc>,
    ) -> Result<Replayed, IngestError> {
        let cut = |record: &Record| {
            let is_cut = !record.is_edited && record.reason.starts_with(decode::CUT);
            is_cut.then(|| format!("only its start was kept ({}): mend it by an edited file", record.reason))
        };
        let mut fates: Vec<Option<String>> = records.iter().map(cut).collect();
        if let Some(framing) = framing {
            unframe(&mut records, &mut fates, &framing, self.contract.max_record);
        }
        self.mend_raw(&mut records, &mut fates)?;
        let mut headers = Headers { contract: &self.contract, known: HashMap::new() };
        self.mend_fields(&mut records, &mut fates, &mut headers)?;
        let stored = decode_all(decoders, &records, &mut fates, &mut headers, at)?;
        Ok(Replayed { records, fates, stored })
    }

    fn mend_raw(&self, records: &mut [Record], fates: &mut [Option<String>]) -> Result<(), IngestError> {
        let Some(raw) = &self.raw else { return Ok(()) };
        let all: Vec<&Record> = records.iter().collect();
        let batch = batch(Arc::new(Schema::new(context_fields())), context(&all))?;
        let found = evaluate(raw, &batch)?;
        let texts = cast(&found.values, &DataType::Utf8).map_err(internal)?;
        let texts = texts.as_string::<i32>();
        let mut failed: HashMap<usize, String> = found.failed.into_iter().collect();
        for (row, record) in records.iter_mut().enumerate() {
            if fates[row].is_some() {
                continue;
            }
            match failed.remove(&row) {
                Some(reason) => fates[row] = Some(format!("mend of _raw: {reason}")),
                None if texts.is_null(row) => fates[row] = Some("mend of _raw: gives null".to_owned()),
                None => record.raw = texts.value(row).as_bytes().to_vec(),
            }
        }
        Ok(())
    }

    /// Writes new values into the records that can be taken apart; the decoder says what is wrong with the others.
    fn mend_fields(
        &self,
        records: &mut [Record],
        fates: &mut [Option<String>],
        headers: &mut Headers<'_>,
    ) -> Result<(), IngestError> {
        if self.fields.is_empty() {
            return Ok(());
        }
        let (mut rows, mut parts) = (Vec::new(), Vec::new());
        for (row, record) in records.iter().enumerate().filter(|(row, _)| fates[*row].is_none()) {
            let Ok(header) = headers.of(record) else { continue };
            if let Some(taken) = Parts::read(&record.raw, header.as_ref()) {
                rows.push(row);
                parts.push(taken);
            }
        }
        let batch = self.field_batch(&rows.iter().map(|row| &records[*row]).collect::<Vec<_>>(), &parts)?;
        let mut values: Vec<Vec<NewValue<'_>>> = vec![Vec::new(); rows.len()];
        for (place, value) in &self.fields {
            let field = &self.contract.fields[*place];
            let found = evaluate(value, &batch)?;
            for (index, reason) in &found.failed {
                fates[rows[*index]].get_or_insert_with(|| format!("mend of {}: {reason}", field.name));
            }
            for (index, text) in texts(&found.values)?.into_iter().enumerate() {
                values[index].push((*place, field, text));
            }
        }
        for ((row, parts), values) in rows.into_iter().zip(parts).zip(values) {
            if fates[row].is_none() {
                (records[row].raw, records[row].header) = parts.with(&values);
            }
        }
        Ok(())
    }

    fn field_schema(&self) -> Schema {
        let payload = self.contract.payload_schema();
        let wire = ArrowField::new("_wire", DataType::Struct(self.wire_fields()), true);
        let system = context_fields().into_iter().chain([Arc::new(wire)]);
        Schema::new(payload.fields().iter().cloned().chain(system).collect::<Vec<_>>())
    }

    fn wire_fields(&self) -> Fields {
        let field = |field: &schema::Field| ArrowField::new(&field.name, DataType::Utf8, true);
        self.contract.fields.iter().map(field).collect()
    }

    fn field_batch(&self, records: &[&Record], parts: &[Parts]) -> Result<RecordBatch, IngestError> {
        let mut columns = lenient::columns(&self.contract, parts)?;
        columns.extend(context(records));
        let texts = self.contract.fields.iter().enumerate().map(|(place, field)| -> ArrayRef {
            Arc::new(parts.iter().map(|parts| parts.text(place, field)).collect::<StringArray>())
        });
        let wire = StructArray::try_new_with_length(self.wire_fields(), texts.collect(), None, parts.len());
        columns.push(Arc::new(wire.map_err(internal)?));
        batch(Arc::new(self.field_schema()), columns)
    }
}

fn expected(column: &str) -> &'static str {
    if column == "_raw" { "the record's new text" } else { "one value, not a list: mend the text of the record, _raw" }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

fn internal(error: impl fmt::Display) -> IngestError {
    IngestError::Internal(format!("records that are mended: {error}"))
}

fn evaluate(value: &RowValue, batch: &RecordBatch) -> Result<RowValues, IngestError> {
    value.evaluate(batch).map_err(internal)
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, IngestError> {
    RecordBatch::try_new(schema, columns).map_err(internal)
}

/// The columns that every mend sees.
fn context_fields() -> Vec<FieldRef> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = [
        ("_raw", DataType::Utf8),
        ("_raw_latin1", DataType::Utf8),
        ("_error", DataType::Utf8),
        ("_source", DataType::Utf8),
        ("_partition", DataType::Int32),
        ("_offset", DataType::Int64),
        ("_arrived_at", instant),
        ("_header", DataType::Utf8),
    ];
    columns.into_iter().map(|(name, kind)| Arc::new(ArrowField::new(name, kind, true))).collect()
}

/// The values of [`context_fields`].
fn context(records: &[&Record]) -> Vec<ArrayRef> {
    let latin1 = |record: &&Record| Some(record.raw.iter().map(|byte| char::from(*byte)).collect::<String>());
    let arrived: TimestampMicrosecondArray = records.iter().map(|record| Some(record.arrived_at_us)).collect();
    vec![
        Arc::new(records.iter().map(|record| std::str::from_utf8(&record.raw).ok()).collect::<StringArray>()),
        Arc::new(records.iter().map(latin1).collect::<StringArray>()),
        Arc::new(records.iter().map(|record| Some(record.reason.as_str())).collect::<StringArray>()),
        Arc::new(records.iter().map(|record| Some(&*record.place.source)).collect::<StringArray>()),
        Arc::new(records.iter().map(|record| Some(record.place.partition)).collect::<Int32Array>()),
        Arc::new(records.iter().map(|record| Some(record.place.offset)).collect::<Int64Array>()),
        Arc::new(arrived.with_timezone("UTC")),
        Arc::new(records.iter().map(|record| record.header.as_deref()).collect::<StringArray>()),
    ]
}

/// Values as a record holds them: plain digits, RFC 3339 for instants (without an offset where the type has none), days
/// as `YYYY-MM-DD`.
fn texts(values: &ArrayRef) -> Result<Vec<Option<String>>, IngestError> {
    let options = FormatOptions::new()
        .with_date_format(Some("%Y-%m-%d"))
        .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.f%:z"));
    let nulls = values.logical_nulls();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let text = ArrayFormatter::try_new(values, &options).map_err(internal)?;
    let one = |row| match is_null(row) {
        true => Ok(None),
        false => text.value(row).try_to_string().map(Some).map_err(internal),
    };
    (0..values.len()).map(one).collect()
}

/// Header lines of CSV records, read once each.
struct Headers<'a> {
    contract: &'a Contract,
    known: HashMap<Arc<str>, Result<Arc<CsvHeader>, String>>,
}

impl Headers<'_> {
    /// The header of a record, `None` for JSON.
    ///
    /// # Errors
    /// Why the contract cannot be read by this header.
    fn of(&mut self, record: &Record) -> Result<Option<Arc<CsvHeader>>, String> {
        let Some(line) = &record.header else { return Ok(None) };
        if let Some(known) = self.known.get(line) {
            return known.clone().map(Some);
        }
        let delimiter = match self.contract.files.as_ref().map(|files| files.format) {
            Some(Format::Csv { delimiter }) => delimiter,
            _ => None,
        };
        let read = CsvHeader::read(line.as_bytes(), self.contract, delimiter);
        let read = read.map(Arc::new).map_err(|error| error.to_string());
        self.known.insert(Arc::clone(line), read.clone());
        read.map(Some)
    }
}

/// Decodes the records that have no fate yet: the good rows, and the fates of the others.
fn decode_all(
    decoders: &Decoders,
    records: &[Record],
    fates: &mut [Option<String>],
    headers: &mut Headers<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<RecordBatch>, IngestError> {
    let mut open: Vec<usize> = (0..records.len()).filter(|row| fates[*row].is_none()).collect();
    let group = |row: &usize| (&records[*row].place.source, records[*row].place.partition, &records[*row].header);
    open.sort_by(|a, b| group(a).cmp(&group(b)));
    let (mut work, mut groups) = (Vec::new(), Vec::new());
    for rows in open.chunk_by(|a, b| group(a) == group(b)) {
        match headers.of(&records[rows[0]]) {
            Err(reason) => rows.iter().for_each(|row| fates[*row] = Some(reason.clone())),
            Ok(header) => {
                for rows in by_size(rows, records) {
                    work.push((raw_batch(rows, records, header.clone()), None));
                    groups.push(rows);
                }
            }
        }
    }
    let mut stored = Vec::with_capacity(groups.len());
    for (done, rows) in decoders.decode(work, at)?.done.into_iter().zip(groups) {
        // Within a source and partition an offset names the record.
        let places: HashMap<i64, usize> = rows.iter().map(|row| (records[*row].place.offset, *row)).collect();
        let bad = &done.decoded.quarantined;
        let column = |name: &str| bad.column_by_name(name).ok_or_else(|| internal(format!("no column {name}")));
        let (offsets, reasons) = (column("_offset")?.as_primitive::<Int64Type>(), column("_error")?.as_string::<i32>());
        for (offset, reason) in offsets.values().iter().zip(reasons) {
            if let Some(row) = places.get(offset) {
                fates[*row] = Some(reason.unwrap_or_default().to_owned());
            }
        }
        stored.push(done.decoded.stored);
    }
    Ok(stored)
}

/// Cuts a group where it would make too large a batch.
fn by_size<'a>(rows: &'a [usize], records: &[Record]) -> Vec<&'a [usize]> {
    let (mut cuts, mut start, mut bytes): (Vec<Range<usize>>, usize, usize) = (Vec::new(), 0, 0);
    for (index, row) in rows.iter().enumerate() {
        bytes += records[*row].raw.len();
        if bytes >= BATCH_BYTES {
            cuts.push(start..index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    cuts.push(start..rows.len());
    cuts.into_iter().filter(|cut| !cut.is_empty()).map(|cut| &rows[cut]).collect()
}

fn raw_batch(rows: &[usize], records: &[Record], header: Option<Arc<CsvHeader>>) -> RawBatch {
    let mut bytes = Vec::new();
    let mut append = |part: &[u8]| {
        // Far below what 32 bits hold: a group is cut by its size.
        let start = bytes.len() as u32;
        bytes.extend_from_slice(part);
        start..bytes.len() as u32
    };
    let of = || rows.iter().map(|row| &records[*row]);
    let ranges = of().map(|record| append(&record.raw)).collect();
    let keys: Vec<Option<Range<u32>>> = of().map(|record| record.key.as_deref().map(&mut append)).collect();
    let headers = of().any(|record| record.headers.is_some()).then(|| {
        let mut headers = MessageHeaders::default();
        for record in of() {
            let start = headers.parts.len() as u32;
            for (name, value) in record.headers.iter().flatten() {
                let name = name.as_deref().map(|name| append(name.as_bytes()));
                headers.parts.push((name, value.as_deref().map(&mut append)));
            }
            headers.records.push(record.headers.is_some().then_some(start..headers.parts.len() as u32));
        }
        headers
    });
    let first = &records[rows[0]].place;
    RawBatch {
        ranges,
        offsets: of().map(|record| record.place.offset).collect(),
        source: Arc::clone(&first.source),
        partition: first.partition,
        arrived_at: ArrivedAt::Each(of().map(|record| record.arrived_at_us).collect()),
        keys: keys.iter().any(Option::is_some).then_some(keys),
        oversize: Vec::new(),
        header,
        headers,
        framing: None,
        bytes: bytes.into(),
    }
}
