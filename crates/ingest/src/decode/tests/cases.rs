//! Single records, by hand: what each is told, and what becomes of its bytes.

use arrow::array::{Array, BinaryArray, Decimal128Array, Int32Array, Int64Array, ListArray, StringArray};
use arrow::array::{StructArray, TimestampMicrosecondArray};

use super::*;
use crate::records::Oversize;

/// A good sale, with `$` for the members of its middle.
fn sale(middle: &str) -> String {
    format!(r#"{{"transaction_id":"T1","product_id":"P1","timestamp":"2023-11-24 10:00:00",{middle},"store_id":"W1"}}"#)
}

#[test]
fn a_good_record_becomes_columns() {
    let contract = contract("sales_transactions");
    let record = sale(r#""quantity":2.0,"unit_price":1e1,"colour":{"a":[1, 2]},"note":null"#);
    let stored = decode(&contract, &[&record]).stored;
    assert_eq!(stored.schema(), contract.decoded_schema());
    assert_eq!(column::<StringArray>(&stored, "transaction_id").value(0), "T1");
    assert_eq!(column::<Int32Array>(&stored, "quantity").value(0), 2);
    assert_eq!(column::<Decimal128Array>(&stored, "unit_price").value(0), 1000);
    let at = column::<TimestampMicrosecondArray>(&stored, "timestamp").value(0);
    assert_eq!(at, 1_700_820_000_000_000);
    assert_eq!(column::<StringArray>(&stored, "_rescued").value(0), r#"{"colour":{"a":[1, 2]},"note":null}"#);
    assert_eq!(column::<StringArray>(&stored, "_source").value(0), "kafka:test/topic");
    assert_eq!(column::<Int32Array>(&stored, "_partition").value(0), 3);
    assert!(stored.column_by_name("_raw").unwrap().is_null(0));
}

#[test]
fn each_bad_record_says_why() {
    let contract = contract("sales_transactions");
    let good = r#""quantity":1,"unit_price":1.5"#;
    assert_eq!(fate(&contract, sale(good)), "stored");
    for (record, reason) in [
        (String::new(), "empty message"),
        (" \r\n".into(), "empty message"),
        ("[1]".into(), "not one JSON object: expected { at byte 0"),
        ("\u{feff}{}".into(), "not one JSON object: expected { at byte 0"),
        (format!("{}{{}}", sale(good)), "not one JSON object: text after the object at byte 121"),
        ("{\"a\":1 \"b\":2}".into(), "not one JSON object: expected , or } in an object at byte 7"),
        ("{\"a\":1,}".into(), "not one JSON object: expected a name in quotes at byte 7"),
        ("{\"a\":\"x".into(), "not one JSON object: text without an end at byte 7"),
        ("{\"a\":\"\\ud800\"}".into(), "not one JSON object: wrong escape in a text at byte 6"),
        ("{\"a\":\"\0\"}".into(), "not one JSON object: control character in a text at byte 6"),
        (sale(r#""quantity":1,"unit_price":1.5,"quantity":1"#), "quantity: name occurs twice"),
        (sale(r#""quantity":1,"unit_price":1.5,"timestamp_":"2023-11-24 10:00:00""#), "timestamp: name occurs twice"),
        (sale(r#""quantity":1,"unit_price":1.5,"x":1,"\u0078":2"#), "\\u0078: name occurs twice"),
        (sale(r#""quantity":1,"unit_price":1.5,"x":{"y":1,"y":2}"#), "y: name occurs twice"),
        (sale(r#""unit_price":1.5"#), "quantity: required, but absent or null"),
        (sale(r#""quantity":null,"unit_price":1.5"#), "quantity: required, but absent or null"),
        (sale(r#""quantity":1.5,"unit_price":1.5"#), "quantity: 1.5 does not fit int"),
        (sale(r#""quantity":"1","unit_price":1.5"#), "quantity: \"1\" does not fit int"),
        (sale(r#""quantity":2147483648,"unit_price":1.5"#), "quantity: 2147483648 does not fit int"),
        (sale(r#""quantity":true,"unit_price":1.5"#), "quantity: true does not fit int"),
        (sale(r#""quantity":1,"unit_price":1.005"#), "unit_price: 1.005 does not fit decimal(18,2)"),
        (sale(r#""quantity":01,"unit_price":1"#), "not one JSON object: expected , or } in an object at byte 84"),
        (sale(r#""quantity":0,"unit_price":1"#), "rule broken: quantity > 0"),
        (sale(r#""quantity":0,"unit_price":-1"#), "rule broken: quantity > 0"),
        (sale(good).replace("2023-11", "2024-11"), "timestamp: more than a day after the arrival"),
        (sale(good).replace("2023-11-24", "2023-11-31"), "timestamp: \"2023-11-31 10:00:00\" does not fit timestamp"),
        (sale(good).replace("\"T1\"", "7"), "transaction_id: 7 does not fit string"),
    ] {
        let found = fate(&contract, &record);
        // A leading zero is refused as a number or behind it: both say where.
        let zero = record.contains(":01,") && found.starts_with("not one JSON object: wrong number");
        assert!(zero || found == reason, "{record}\n  found    {found}\n  expected {reason}");
    }
}

#[test]
fn bad_bytes_and_bad_neighbours() {
    let contract = contract("sales_transactions");
    let good = sale(r#""quantity":1,"unit_price":1.5"#);
    // Two halves of one character at the seam: valid only together.
    let halves: [&[u8]; 4] = [good.as_bytes(), b"{\"a\":\"\xc3", b"\xa9\"}", good.as_bytes()];
    let decoded = decode(&contract, &halves);
    let errors = column::<StringArray>(&decoded.quarantined, "_error");
    assert_eq!(errors.iter().flatten().collect::<Vec<_>>(), ["not text: invalid UTF-8"; 2]);
    assert_eq!(column::<Int64Array>(&decoded.stored, "_offset").values(), &[0, 3]);
    assert_eq!(column::<Int64Array>(&decoded.quarantined, "_offset").values(), &[1, 2]);
    assert_eq!(column::<BinaryArray>(&decoded.quarantined, "_raw").value(0), halves[1]);
    assert!(column::<StringArray>(&decoded.quarantined, "transaction_id").is_null(0));
}

#[test]
fn a_rule_breaker_keeps_its_fields_and_its_place() {
    let contract = contract("sales_transactions");
    let records = [
        sale(r#""quantity":-1,"unit_price":1.5,"x":1"#),
        "nothing".to_owned(),
        sale(r#""quantity":1,"unit_price":1.5"#),
        sale(r#""quantity":1,"unit_price":-1"#),
    ];
    let quarantined = decode(&contract, &records).quarantined;
    assert_eq!(column::<Int64Array>(&quarantined, "_offset").values(), &[0, 1, 3]);
    let quantity = column::<Int32Array>(&quarantined, "quantity");
    assert_eq!(quantity.iter().collect::<Vec<_>>(), [Some(-1), None, Some(1)]);
    assert_eq!(column::<StringArray>(&quarantined, "_rescued").value(0), r#"{"x":1}"#);
    let raw = column::<BinaryArray>(&quarantined, "_raw");
    assert_eq!(raw.iter().flatten().collect::<Vec<_>>(), [records[0].as_bytes(), b"nothing", records[3].as_bytes()]);
}

#[test]
fn lists_of_items() {
    let contract = contract("invoices");
    let invoice = |number: &str, items: &str| {
        format!(
            r#"{{"invoice_no":{number},"country":"X","timestamp":"2011-01-01 00:00:00","type":"ORDER","items":{items}}}"#
        )
    };
    let records = [
        invoice("536365", r#"[{"SKU":"a","unit_price":-1.125,"quantity":3},{"quantity":1,"unit_price":2}]"#),
        invoice("\"C1\"", "[]"),
        invoice("\"C2\"", r#"[{"unit_price":1,"quantity":1,"colour":"red"}]"#),
        invoice("\"C3\"", r#"[{"unit_price":1,"quantity":1},{"unit_price":1}]"#),
        invoice("\"C4\"", "[null]"),
        invoice("\"C5\"", "null"),
        invoice("\"C6\"", r#"[{"unit_price":1,"quantity":1,"sku":"a","SKU":"b"}]"#),
        invoice("1.5", "[]"),
    ];
    let decoded = decode(&contract, &records);
    let numbers = column::<StringArray>(&decoded.stored, "invoice_no");
    assert_eq!(numbers.iter().flatten().collect::<Vec<_>>(), ["536365", "C1", "C2"]);
    let items = column::<ListArray>(&decoded.stored, "items");
    assert_eq!((0..3).map(|row| items.value_length(row)).collect::<Vec<_>>(), [2, 0, 1]);
    let all: &StructArray = items.values().as_any().downcast_ref().unwrap();
    let prices: &Decimal128Array = all.column_by_name("unit_price").unwrap().as_any().downcast_ref().unwrap();
    assert_eq!(prices.values(), &[-1125, 2000, 1000]);
    let rescued = column::<StringArray>(&decoded.stored, "_rescued");
    assert_eq!(rescued.value(2), r#"{"items":[{"unit_price":1,"quantity":1,"colour":"red"}]}"#);
    let errors = column::<StringArray>(&decoded.quarantined, "_error");
    assert_eq!(
        errors.iter().flatten().collect::<Vec<_>>(),
        [
            "items[1].quantity: required, but absent or null",
            "items[0]: null does not fit an object",
            "items: required, but absent or null",
            "items[0].sku: name occurs twice",
            "invoice_no: 1.5 does not fit string",
        ]
    );
}

#[test]
fn drift_can_be_forbidden() {
    let mut contract = contract("invoices");
    contract.drift = schema::Drift::Fail;
    let record = |items: &str, more: &str| {
        format!(
            r#"{{"invoice_no":"1","country":"X","timestamp":"2011-01-01 00:00:00","type":"ORDER","items":[{items}]{more}}}"#
        )
    };
    assert_eq!(fate(&contract, record("", "")), "stored");
    assert_eq!(fate(&contract, record("", ",\"x\":1")), "x: not a field of the contract");
    let nested = record(r#"{"unit_price":1,"quantity":1,"x":1}"#, "");
    assert_eq!(fate(&contract, nested), "items[0].x: not a field of the contract");
}

#[test]
fn nesting_names_and_digits_are_bounded() {
    let contract = contract("sales_transactions");
    let with = |value: &str| fate(&contract, sale(&format!(r#""quantity":1,"unit_price":1.5,"x":{value}"#)));
    assert_eq!(with(&format!("{}1{}", "[".repeat(99), "]".repeat(99))), "stored");
    assert_eq!(with(&format!("{}1{}", "[".repeat(100), "]".repeat(100))), "nested deeper than 100 levels");
    assert_eq!(with(&"[".repeat(1_000_000)), "nested deeper than 100 levels");
    assert_eq!(with(&"{\"a\":".repeat(1_000_000)), "nested deeper than 100 levels");
    for digits in [260, 400, 100_000] {
        assert_eq!(with(&"9".repeat(digits)), "stored", "unknown fields are kept as they came");
        let nines = "9".repeat(digits);
        let found = fate(&contract, sale(&format!(r#""quantity":{nines},"unit_price":1"#)));
        assert!(found.ends_with("... does not fit int"), "{found}");
        let zeros = format!(r#""quantity":1,"unit_price":1.{}"#, "0".repeat(digits));
        assert_eq!(fate(&contract, sale(&zeros)), "stored");
    }
    let many: Vec<String> = (0..100_000).map(|n| format!("\"n{n}\":0")).collect();
    assert_eq!(with(&format!("{{{}}}", many.join(","))), "stored");
    assert_eq!(with(&format!("{{{},\"n77\":1}}", many.join(","))), "n77: name occurs twice");
}

#[test]
fn records_that_are_too_long_keep_their_start() {
    let mut contract = contract("sales_transactions");
    contract.max_record = 100_000;
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(200_000));
    let decoded = decode(&contract, &[&long]);
    let error = column::<StringArray>(&decoded.quarantined, "_error").value(0).to_owned();
    let hash = xxhash_rust::xxh3::xxh3_128(long.as_bytes());
    assert_eq!(error, format!("too long: 200008 bytes, at most 100000 are read; xxh3 {hash:032x}"));
    assert_eq!(column::<BinaryArray>(&decoded.quarantined, "_raw").value(0), &long.as_bytes()[..65_536]);
    let mut cut = batch(&[&long[..65_536]]);
    cut.oversize = vec![Oversize { record: 0, length: 200_008, hash }];
    let decoded = decoder(&contract).decode(&cut, NOW).unwrap();
    assert_eq!(column::<StringArray>(&decoded.quarantined, "_error").value(0), error);
}

#[test]
fn raw_bytes_of_all_rows_and_warnings() {
    let contract = contract("pos_sales");
    let warning = Rule { name: "odd", column: "quantity", accepts: |text| text == "1" };
    let mut decoder = Decoder::new(&contract, Vec::new(), vec![Box::new(warning)]);
    let record = |quantity: i32| {
        format!(
            r#"{{"Sale_ID":1,"Product":"p","Quantity_Sold":{quantity},"Each_Price":1,"Sale_Date":"2020-01-01 00:00:00"}}"#
        )
    };
    let records = [record(1), record(2), record(3)];
    let decoded = decoder.decode(&batch(&records), NOW).unwrap();
    assert_eq!(decoded.warnings, [2]);
    assert_eq!(column::<BinaryArray>(&decoded.stored, "_raw").value(2), records[2].as_bytes());
    assert!(column::<StringArray>(&decoded.stored, "address").is_null(0));
}

#[test]
fn clock_times_that_are_special_are_counted() {
    let mut contract = contract("sales_transactions");
    contract.time_zone = chrono_tz::Tz::Europe__Berlin;
    let at = |time: &str| sale(r#""quantity":1,"unit_price":1"#).replace("2023-11-24 10:00:00", time);
    let times = ["2023-03-26 02:30:00", "2023-06-01 00:00:00", "2023-10-29 02:30:00", "2023-10-29 02:30:00Z"];
    let decoded = decode(&contract, &times.map(at));
    assert_eq!(decoded.clock_warnings, 2);
    let found = column::<TimestampMicrosecondArray>(&decoded.stored, "timestamp").values().to_vec();
    let wanted = ["2023-03-26T01:30:00Z", "2023-05-31T22:00:00Z", "2023-10-29T00:30:00Z", "2023-10-29T02:30:00Z"];
    assert_eq!(found, wanted.map(|w| chrono::DateTime::parse_from_rfc3339(w).unwrap().timestamp_micros()));
}

#[test]
fn a_rule_that_cannot_be_evaluated_stops_the_batch() {
    let contract = contract("pos_stock");
    let rule = Rule { name: "x", column: "no_such_column", accepts: |_| true };
    let mut decoder = Decoder::new(&contract, vec![Box::new(rule)], Vec::new());
    let error = decoder.decode(&batch(&[r#"{"product":"p","stock_quantity":1}"#]), NOW).unwrap_err();
    assert_eq!(error.to_string(), "rule x of pos_stock cannot be evaluated");
    assert!(decoder.decode(&batch::<&str>(&[]), NOW).is_ok_and(|d| d.stored.num_rows() == 0));
}
