//! Avro records as Java's Avro 1.11.5 wrote them, and what is wrong with others.

use std::collections::HashMap;

use arrow::array::{BinaryArray, Date32Array, Int64Array, TimestampMicrosecondArray};
use schema::KafkaFormat;

use super::*;
use crate::decode::avro::AvroSchema;
use crate::decode::{Framing, Known};

/// The schema of the records below.
const SALE: &str = include_str!("sale.avsc");

/// A sale with a parent, by `GenericDatumWriter`.
const WRITTEN: &str = "1a5ac3bc7269636820f09f98800a8001feffffffffffffffff013d0ad7a370fd3340cdcccc3d011001b69b4ba630f34e02ff\
     ffffffffff8549f6f5ac8c80630280a9f9bee0b88506f6f5ac8c8063cab3028ec4aa22020600ff410400066122620604fb9b\
     020302000004027800020279020674776f00020c706172656e74ffffffff0fffffffffffffffffff0148afbc9af2d77a3e00\
     0000bf0002fb000100f6f5ac8c8063018ec4aa22000600ff41000000";
/// The same by `BlockingBinaryEncoder`, which says how long the blocks of lists are.
const IN_BLOCKS: &str = "1a5ac3bc7269636820f09f98800a8001feffffffffffffffff013d0ad7a370fd3340cdcccc3d011001b69b4ba630f34e02ff\
     ffffffffff8549f6f5ac8c80630280a9f9bee0b88506f6f5ac8c8063cab3028ec4aa22020600ff41031a00066122620604fb\
     9b02030200000316027800020279020674776f00020c706172656e74ffffffff0fffffffffffffffffff0148afbc9af2d77a\
     3e000000bf0002fb000100f6f5ac8c8063018ec4aa22000600ff41000000";

/// What a producer of JSON would send in its place.
const AS_JSON: &str = r#"{"id":"Zürich 😀\u000a","count":64,"big":9223372036854775807,"ratio":19.99,"small":0.1,"open":true,"amount":1234567890123456.78,"tax":-3.1415,"at":"2023-11-24T10:00:00.123Z","seen":"2023-11-24T10:00:00.123456Z","local":"2023-11-24T10:00:00.123","day":"2023-11-24","clock":"10:00:00.007","kind":"RETURN","raw":{"bytes":"\u0000\u00ffA"},"items":[{"sku":"a\"b","quantity":3,"price":-1.125},{"sku":null,"quantity":-2,"price":0.000}],"tags":{"x":1,"y":"two"},"parent":{"id":"parent","count":-2147483648,"big":-9223372036854775808,"ratio":0.0000001,"small":-0.5,"open":false,"amount":-0.05,"tax":null,"at":"1969-12-31T23:59:59.999Z","seen":null,"local":"2023-11-24T10:00:00.123","day":"1969-12-31","clock":"10:00:00.007","kind":"ORDER","raw":{"bytes":"\u0000\u00ffA"},"items":[],"tags":{},"parent":null}}"#;

const CONTRACT: &str = r#"
description = "A sale"
entity = ["sale_id"]
event_time = "at"
time_zone = "Europe/Berlin"
kafka = { topic = "sales", format = "avro" }

[fields]
sale_id = { type = "string", aliases = ["id"], required = true }
count = { type = "int" }
big = { type = "bigint" }
ratio = { type = "decimal(18,2)" }
open = { type = "bool" }
amount = { type = "decimal(18,2)", required = true }
tax = { type = "decimal(18,4)" }
at = { type = "timestamp", required = true }
seen = { type = "timestamp" }
local = { type = "timestamp" }
day = { type = "date" }
kind = { type = "string" }
items = { type = "list", fields = { sku = { type = "string" }, quantity = { type = "int" }, price = { type = "decimal(9,3)" } } }
missing = { type = "string" }
"#;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[]).unwrap()
}

/// The record as JSON, or why it is none.
fn json(schema: &AvroSchema, record: &[u8]) -> Result<String, String> {
    let mut out = Vec::new();
    schema.write_json(record, &mut out, 1 << 16).map_err(|wrong| format!("{wrong:?}"))?;
    Ok(String::from_utf8(out).unwrap())
}

/// A message: the header with this id, then the record.
fn message(id: u32, record: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], record].concat()
}

/// Decodes messages under what a registry says of ids.
fn decode_framed(contract: &Contract, format: KafkaFormat, known: &[(u32, Known)], messages: &[Vec<u8>]) -> Decoded {
    let schemas = Arc::new(known.iter().cloned().collect::<HashMap<_, _>>());
    let raw = RawBatch { framing: Some(Framing { format, schemas }), ..batch(messages) };
    decoder(contract).decode(&raw, NOW).unwrap()
}

fn errors(decoded: &Decoded) -> Vec<&str> {
    column::<StringArray>(&decoded.quarantined, "_error").iter().flatten().collect()
}

#[test]
fn a_record_becomes_the_json_that_another_would_have_sent() {
    for written in [WRITTEN, IN_BLOCKS] {
        assert_eq!(json(&schema(SALE), &bytes(written)).as_deref(), Ok(AS_JSON));
    }
}

#[test]
fn values_are_columns_under_the_contract_and_the_rest_is_rescued() {
    let contract = contract_of("sales", CONTRACT);
    let known = [(7, Known::Avro(Arc::new(schema(SALE))))];
    let decoded = decode_framed(&contract, KafkaFormat::Avro, &known, &[message(7, &bytes(WRITTEN))]);
    assert_eq!(errors(&decoded), [""; 0]);
    let stored = &decoded.stored;
    assert_eq!(column::<StringArray>(stored, "sale_id").value(0), "Zürich 😀\n");
    assert_eq!(column::<Int64Array>(stored, "big").value(0), i64::MAX);
    assert_eq!(column::<Decimal128Array>(stored, "amount").value(0), 123_456_789_012_345_678);
    assert_eq!(column::<Decimal128Array>(stored, "tax").value(0), -31_415);
    assert_eq!(column::<Decimal128Array>(stored, "ratio").value(0), 1999);
    assert_eq!(column::<TimestampMicrosecondArray>(stored, "seen").value(0), 1_700_820_000_123_456);
    // A local time is of the contract's zone, an hour ahead.
    assert_eq!(column::<TimestampMicrosecondArray>(stored, "local").value(0), 1_700_816_400_123_000);
    assert_eq!(column::<Date32Array>(stored, "day").value(0), 19_685);
    let rescued = column::<StringArray>(stored, "_rescued").value(0);
    assert!(rescued.starts_with(r#"{"small":0.1,"clock":"10:00:00.007","raw":{"bytes":"#), "{rescued}");

    // The same as from JSON, to the last column.
    let json = contract_of("sales", &CONTRACT.replace(", format = \"avro\"", ""));
    let same = decode(&json, &[AS_JSON]).stored;
    for (name, found) in same.schema().fields().iter().zip(stored.columns()) {
        assert_eq!(same.column_by_name(name.name()).unwrap(), found, "{name}");
    }
}

#[test]
fn each_bad_message_says_why_and_keeps_its_bytes() {
    let contract = contract_of("sales", CONTRACT);
    let other =
        r#"{"type":"record","name":"r","fields":[{"name":"sale_id","type":"int"},{"name":"at","type":"long"}]}"#;
    let known = [
        (1, Known::Avro(Arc::new(schema(SALE)))),
        (2, Known::Json),
        (3, Known::Other("PROTOBUF".to_owned())),
        (4, Known::Unreadable("type x is not defined before it is used".to_owned())),
        (5, Known::Absent),
        (6, Known::Avro(Arc::new(schema(other)))),
    ];
    let good = bytes(WRITTEN);
    let cases = [
        (Vec::new(), "empty message"),
        (b"{\"sale_id\":1}".to_vec(), "no schema id: the message does not start with the magic byte 0"),
        (b"\0\0\0\0".to_vec(), "no schema id: shorter than the 5 bytes before a record"),
        (message(2, &good), "schema id 2: is of type JSON, not AVRO"),
        (message(3, &good), "schema id 3: is of type PROTOBUF, not AVRO"),
        (message(4, &good), "schema id 4: cannot be read: type x is not defined before it is used"),
        (message(5, &good), "schema id 5: the registry does not know it"),
        (message(4_000_000_000, &good), "schema id 4000000000: the registry does not know it"),
        (message(1, &good[..40]), "schema id 1: not one record of it: the record ends too early at byte 39"),
        (
            message(1, &[&good[..], b"x"].concat()),
            "schema id 1: not one record of it: bytes after the record at byte 178",
        ),
        (message(6, &[2, 4]), "sale_id: 1 does not fit string"),
    ];
    let messages: Vec<Vec<u8>> = cases.iter().map(|(message, _)| message.clone()).collect();
    let decoded = decode_framed(&contract, KafkaFormat::Avro, &known, &messages);
    assert_eq!(errors(&decoded), cases.iter().map(|(_, reason)| *reason).collect::<Vec<_>>());
    let raw = column::<BinaryArray>(&decoded.quarantined, "_raw");
    assert_eq!(raw.iter().flatten().collect::<Vec<_>>(), messages);

    let json = r#"{"sale_id":"a","amount":1.5,"at":"2023-11-24 10:00:00"}"#;
    let messages = [message(2, json.as_bytes()), message(1, json.as_bytes()), message(2, b"{\"a\":\"\xff\"}")];
    let decoded = decode_framed(&contract, KafkaFormat::JsonRegistered, &known, &messages);
    assert_eq!(decoded.stored.num_rows(), 1);
    assert_eq!(errors(&decoded), ["schema id 1: is of type AVRO, not JSON", "not text: invalid UTF-8"]);
}

#[test]
fn values_that_do_not_fit_are_told_as_those_of_json_are() {
    let contract = contract_of("sales", CONTRACT);
    let fate = |kind: &str, record: &[u8]| {
        let text = r#"{"type":"record","name":"r","fields":[{"name":"sale_id","type":"string"},{"name":"at","type":
            {"type":"long","logicalType":"timestamp-millis"}},{"name":"amount","type":KIND}]}"#;
        let known = [(1, Known::Avro(Arc::new(schema(&text.replace("KIND", kind)))))];
        let record = [&[2, b'a', 0], record].concat();
        let decoded = decode_framed(&contract, KafkaFormat::Avro, &known, &[message(1, &record)]);
        errors(&decoded).first().map_or("stored".to_owned(), |reason| (*reason).to_owned())
    };
    let decimal = |scale: u8| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":20,"scale":{scale}}}"#);
    assert_eq!(fate(&decimal(3), &[2, 10]), "stored", "0.010 is 0.01");
    assert_eq!(fate(&decimal(3), &[2, 11]), "amount: 0.011 does not fit decimal(18,2)");
    assert_eq!(fate(&decimal(2), &[0]), "schema id 1: not one record of it: a decimal without bytes at byte 3");
    assert_eq!(fate("\"bytes\"", &[2, b'1']), "amount: {\"bytes\":\"1\"} does not fit decimal(18,2)");
    assert_eq!(fate("\"double\"", &f64::NAN.to_le_bytes()), "amount: \"NaN\" does not fit decimal(18,2)");
    assert_eq!(fate("\"double\"", &0.1f64.to_le_bytes()), "stored");
    assert_eq!(fate("\"string\"", &[6, b'1', b'.', b'5']), "amount: \"1.5\" does not fit decimal(18,2)");
    assert_eq!(fate("\"long\"", &[2]), "stored");
    assert_eq!(fate("[\"null\",\"int\"]", &[0]), "amount: required, but absent or null");
    let at =
        |record: &[u8]| json(&schema(r#"{"type":"record","name":"r","fields":[{"name":"x","type":"int"}]}"#), record);
    assert_eq!(at(&[0xff; 4]), Err(r#"Bytes { what: "the record ends too early", at: 4 }"#.to_owned()));
    assert_eq!(at(&[0xff; 11]), Err(r#"Bytes { what: "a number of more than 64 bits", at: 0 }"#.to_owned()));
    assert_eq!(
        at(&[0xfe, 0xff, 0xff, 0xff, 0x1f]),
        Err(r#"Bytes { what: "an int of more than 32 bits", at: 0 }"#.to_owned())
    );
}

#[test]
fn no_bytes_go_on_for_ever_or_panic() {
    let schema = schema(SALE);
    let written = bytes(IN_BLOCKS);
    for end in 0..written.len() {
        assert!(json(&schema, &written[..end]).is_err(), "{end} bytes are no record");
    }
    for at in 0..written.len() {
        for bit in 0..8 {
            let mut record = written.clone();
            record[at] ^= 1 << bit;
            if let Ok(text) = json(&schema, &record) {
                serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            }
        }
    }
    // Four thousand million empty items, and a record that is nothing but itself.
    let nothing = r#"{"type":"record","name":"r","fields":[{"name":"x","type":{"type":"array","items":"null"}}]}"#;
    let many = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    assert_eq!(json(&avro::schema(nothing), &many), Err("TooLong".to_owned()));
    let itself = r#"{"type":"record","name":"r","fields":[{"name":"x","type":"r"}]}"#;
    assert_eq!(json(&avro::schema(itself), &[]), Err("TooDeep".to_owned()));
}
