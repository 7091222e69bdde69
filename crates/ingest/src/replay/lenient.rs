//! What can be read of records that are bad as a whole: each field that is good by itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Int64Type;
use schema::Contract;

use super::wire::{Parts, relaxed};
use crate::IngestError;
use crate::decode::{CsvHeader, Decoder};
use crate::records::{ArrivedAt, RawBatch};

/// One column a field of the contract, one row a record: the field's value, null where it is absent or does not fit.
///
/// # Errors
/// A defect of the decoder, never what a record holds.
pub(super) fn columns(contract: &Contract, records: &[Parts]) -> Result<Vec<ArrayRef>, IngestError> {
    let contract = relaxed(contract);
    let mut decoder = Decoder::new(&contract, Vec::new(), Vec::new());
    (0..contract.fields.len()).map(|place| column(&contract, &mut decoder, place, records)).collect()
}

fn column(
    contract: &Contract,
    decoder: &mut Decoder,
    place: usize,
    records: &[Parts],
) -> Result<ArrayRef, IngestError> {
    let field = &contract.fields[place];
    // Values of CSV files are read by the rules of CSV: a header of this one column.
    let header =
        Arc::new(CsvHeader::read(field.name.as_bytes(), contract, Some(b',')).map_err(|error| {
            IngestError::Internal(format!("{} cannot be the header of a file: {error}", field.name))
        })?);
    let mut values: Vec<ArrayRef> = Vec::new();
    let mut at: Vec<Option<u32>> = vec![None; records.len()];
    let mut found = 0;
    for header in [None, Some(header)] {
        let is_csv = header.is_some();
        let alone = records.iter().enumerate().filter(|(_, parts)| matches!(parts, Parts::Csv(..)) == is_csv);
        let alone = alone.filter_map(|(row, parts)| Some((row, parts.alone(place, field)?)));
        let decoded = decoder.decode(&batch(alone, header), 0)?.stored;
        let rows = decoded.column_by_name("_offset").map(|rows| rows.as_primitive::<Int64Type>().values().to_vec());
        for row in rows.unwrap_or_default() {
            at[usize::try_from(row).unwrap_or_default()] = Some(found);
            found += 1;
        }
        values.push(Arc::clone(decoded.column(place)));
    }
    let internal = |error| IngestError::Internal(format!("values of {}: {error}", field.name));
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    take(&concat(&values).map_err(internal)?, &UInt32Array::from(at), None).map_err(internal)
}

/// Records of one field; the offset is the record's place among all.
fn batch(records: impl Iterator<Item = (usize, String)>, header: Option<Arc<CsvHeader>>) -> RawBatch {
    let (mut bytes, mut ranges, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for (row, record) in records {
        // Together they are no longer than the records that they are taken from.
        let start = bytes.len() as u32;
        bytes.extend_from_slice(record.as_bytes());
        ranges.push(start..bytes.len() as u32);
        offsets.push(row as i64);
    }
    RawBatch {
        bytes: bytes.into(),
        ranges,
        offsets,
        source: "".into(),
        partition: 0,
        arrived_at: ArrivedAt::All(0),
        keys: None,
        oversize: Vec::new(),
        header,
        headers: None,
        framing: None,
    }
}
