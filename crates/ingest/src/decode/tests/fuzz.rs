//! The decoders against the references, record by record.
//!
//! `TEST_FUZZ_RECORDS` sets how many records the JSON test makes (default 200,000), `TEST_FUZZ_SEED` where it starts.

use std::collections::HashMap;

use arrow::array::{
    Array, BinaryArray, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use schema::{Contract, Field, FieldType};
use serde_json::value::RawValue;

use super::generate::{Random, json_record};
use super::reference::{self, Good, Row, Value};
use super::{batch, column, contract, decoder, rules};
use crate::decode::Decoded;

pub(super) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}: a number is expected")))
}

#[test]
fn json_decodes_as_the_reference_says() {
    let records = setting("TEST_FUZZ_RECORDS", 200_000) as usize;
    let seed = setting("TEST_FUZZ_SEED", 1);
    let streams = ["sales_transactions", "pos_sales", "pos_stock", "invoices"];
    let mut stored = 0;
    for (n, stream) in streams.into_iter().enumerate() {
        let contract = contract(stream);
        let mut decoder = decoder(&contract);
        let mut random = Random(seed.wrapping_mul(0x1234_5678_9abc_def1).wrapping_add(n as u64));
        let mut left = records.div_ceil(streams.len());
        while left > 0 {
            let size = left.min(1 + random.below(2000));
            let batch_records: Vec<Vec<u8>> = (0..size).map(|_| json_record(&mut random, &contract)).collect();
            let decoded = decoder.decode(&batch(&batch_records), super::NOW).unwrap();
            let wanted = |record: &Vec<u8>| reference::json_record(&contract, record, &rules(stream));
            let wanted: Vec<Option<Good>> = batch_records.iter().map(wanted).collect();
            stored += compare(&contract, &batch_records, &wanted, &decoded);
            left -= size;
        }
    }
    // A generator that makes hardly any good (or hardly any bad) record would test nothing.
    assert!((records * 3 / 10..records * 9 / 10).contains(&stored), "{stored} of {records} stored");
}

/// Asserts that each record met the wanted fate; returns how many are stored.
pub(super) fn compare(contract: &Contract, records: &[Vec<u8>], wanted: &[Option<Good>], decoded: &Decoded) -> usize {
    let (good, bad) = (&decoded.stored, &decoded.quarantined);
    assert_eq!(good.num_rows() + bad.num_rows(), records.len());
    let rows: HashMap<i64, usize> =
        column::<Int64Array>(good, "_offset").values().iter().enumerate().map(|(row, offset)| (*offset, row)).collect();
    let first =
        column::<Int64Array>(good, "_offset").iter().chain(column::<Int64Array>(bad, "_offset")).flatten().min();
    let first = first.unwrap_or(0);
    for (index, (record, wanted)) in records.iter().zip(wanted).enumerate() {
        let found = rows.get(&(first + index as i64)).map(|row| good_of(contract, good, *row));
        let shown = || String::from_utf8_lossy(record).into_owned();
        assert_eq!(
            found.as_ref(),
            wanted.as_ref(),
            "{}: {}\n{}",
            contract.name,
            shown(),
            reason(bad, first + index as i64)
        );
    }
    for row in 0..bad.num_rows() {
        let offset = column::<Int64Array>(bad, "_offset").value(row);
        assert_eq!(column::<BinaryArray>(bad, "_raw").value(row), records[(offset - first) as usize]);
        assert!(column::<StringArray>(bad, "_error").value(row).len() > 4);
    }
    good.num_rows()
}

fn reason(bad: &RecordBatch, offset: i64) -> String {
    let row = column::<Int64Array>(bad, "_offset").values().iter().position(|o| *o == offset);
    row.map_or("stored".to_owned(), |row| column::<StringArray>(bad, "_error").value(row).to_owned())
}

/// A stored row in the reference's terms.
fn good_of(contract: &Contract, batch: &RecordBatch, row: usize) -> Good {
    let values =
        contract.fields.iter().map(|f| (f.name.clone(), value_of(f, batch.column_by_name(&f.name).unwrap(), row)));
    let rescued = column::<StringArray>(batch, "_rescued");
    let rescued = if rescued.is_null(row) { Vec::new() } else { members(rescued.value(row)) };
    Good { row: values.collect(), rescued }
}

/// The members of a JSON object that repeats no name.
fn members(text: &str) -> Vec<(String, String)> {
    let map: HashMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    reference::in_order(map.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect())
}

fn value_of(field: &Field, array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let any = array.as_any();
    match &field.kind {
        FieldType::String => Value::Text(any.downcast_ref::<StringArray>().unwrap().value(row).to_owned()),
        FieldType::Int => Value::Number(any.downcast_ref::<Int32Array>().unwrap().value(row).into()),
        FieldType::BigInt => Value::Number(any.downcast_ref::<Int64Array>().unwrap().value(row).into()),
        FieldType::Decimal { .. } => Value::Number(any.downcast_ref::<Decimal128Array>().unwrap().value(row)),
        FieldType::Timestamp => Value::Instant(any.downcast_ref::<TimestampMicrosecondArray>().unwrap().value(row)),
        FieldType::List(fields) => {
            let items = any.downcast_ref::<ListArray>().unwrap().value(row);
            let items: &StructArray = items.as_any().downcast_ref().unwrap();
            let item = |i: usize| -> Row {
                fields.iter().zip(items.columns()).map(|(f, c)| (f.name.clone(), value_of(f, c, i))).collect()
            };
            Value::List((0..items.len()).map(item).collect())
        }
        other => panic!("the shipped contracts have no {other}"),
    }
}
