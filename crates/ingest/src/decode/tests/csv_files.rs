//! CSV files against the `csv` crate, where the two agree on the grammar, and spoiled ones for their accounts.

use arrow::array::StringArray;
use schema::{Contract, FieldType, Format};

use super::generate::{Random, mutate, number, timestamp};
use super::reference::{self, Good};
use super::splitting::split;
use super::{column, contract, decoder, fuzz, rules};

const STREAMS: [&str; 3] = ["pos_sales", "pos_stock", "sales_transactions"];

/// A file's rows as they should be read: header first.
fn rows(random: &mut Random, contract: &Contract) -> Vec<Vec<String>> {
    let n = random.below(2);
    let mut header: Vec<String> =
        contract.fields.iter().map(|f| f.wire_names().nth(n).unwrap_or(&f.name).to_owned()).collect();
    if random.once_in(2) {
        header.insert(random.below(header.len() + 1), "more".to_owned());
    }
    let mut rows = vec![header.clone()];
    for _ in 0..random.below(60) {
        let mut row: Vec<String> = header.iter().map(|name| field(random, contract, name)).collect();
        match random.below(30) {
            0 => row = header.clone(),
            1 => row.iter_mut().for_each(String::clear),
            2 => row.push("x".to_owned()),
            3 if row.len() > 2 => drop(row.pop()),
            _ => {}
        }
        rows.push(row);
    }
    rows
}

fn field(random: &mut Random, contract: &Contract, name: &str) -> String {
    if random.once_in(25) {
        return random
            .pick(&["", "0", "-1", "x", "1,5", "08", "-08", "00", "1.50", " 1", "1e2", "a \"b\" c", "new\nline"])
            .to_owned();
    }
    match contract.fields.iter().find(|f| f.wire_names().any(|n| n == name)).map(|f| &f.kind) {
        Some(FieldType::Int) => number(random, 0, 200),
        Some(FieldType::Decimal { .. }) => number(random, 2, 200),
        Some(FieldType::Timestamp) if random.once_in(2) => {
            let (month, day) = (1 + random.below(12), 1 + random.below(28));
            format!("{month:02}/{day:02}/19 {:02}:{:02}", random.below(25), random.below(60))
        }
        Some(FieldType::Timestamp) => timestamp(random, 40),
        _ => random
            .pick(&[
                "USB-C Charging Cable",
                "",
                "917 1st St, Dallas, TX 75001",
                "16\" x 9\"",
                "Zoë",
                "a;b",
                "\"quoted\"",
                "l1\r\nl2",
            ])
            .to_owned(),
    }
}

/// The rows as text. Fields are quoted where they must be, and sometimes where they need not be.
fn written(random: &mut Random, rows: &[Vec<String>], delimiter: u8) -> Vec<u8> {
    let end = random.pick(&["\n", "\r\n"]);
    let mut text = String::new();
    for row in rows {
        for (i, field) in row.iter().enumerate() {
            if i > 0 {
                text.push(delimiter.into());
            }
            let must = field.starts_with('"') || field.contains([delimiter.into(), '\n', '\r']);
            if must || random.once_in(4) {
                text.push('"');
                text.push_str(&field.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(field);
            }
        }
        text.push_str(end);
    }
    if random.once_in(4) {
        text.truncate(text.len() - end.len());
    }
    text.into_bytes()
}

#[test]
fn csv_decodes_as_the_csv_crate_and_the_reference_say() {
    let files = fuzz::setting("TEST_FUZZ_RECORDS", 200_000) / 100;
    let (mut records, mut stored) = (0, 0);
    for n in 0..files {
        let mut random = Random(n * 77 + 5);
        let contract = contract(STREAMS[random.below(3)]);
        let delimiter = *random.pick(&[&b',', &b';', &b'\t', &b'|']);
        let rows = rows(&mut random, &contract);
        let file = written(&mut random, &rows, delimiter);
        let mut reader = csv::ReaderBuilder::new();
        let reader =
            reader.flexible(true).has_headers(false).delimiter(delimiter).from_reader(file.as_slice()).into_records();
        let read: Vec<Vec<String>> = reader.map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
        assert_eq!(read, rows, "the csv crate reads what was written");
        let (batches, _) = split(&contract, Format::Csv { delimiter: None }, &file, &mut random).unwrap();
        let wanted: Vec<Option<Good>> = rows[1..]
            .iter()
            .map(|row| reference::csv_record(&contract, &rows[0], row, &rules(&contract.name)))
            .collect();
        let (mut decoder, mut first) = (decoder(&contract), 0);
        for mut batch in batches {
            let raws: Vec<Vec<u8>> = (0..batch.len()).map(|i| batch.record(i).to_vec()).collect();
            let wanted = &wanted[first..first + batch.len()];
            // Lines have gaps where rows span several; the comparison goes by place.
            batch.offsets = (0..batch.len() as i64).collect();
            stored += fuzz::compare(&contract, &raws, wanted, &decoder.decode(&batch, super::NOW).unwrap());
            first += batch.len();
        }
        assert_eq!(first, rows.len() - 1);
        records += first;
    }
    assert!((records / 3..records * 9 / 10).contains(&stored), "{stored} of {records} stored");
}

#[test]
fn spoiled_files_lose_no_record() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let contract = contract(STREAMS[random.below(3)]);
        let rows = rows(&mut random, &contract);
        let mut file = written(&mut random, &rows, b',');
        if rows.len() == 1 && !file.ends_with(b"\n") {
            file.push(b'\n');
        }
        let start = file.iter().position(|b| *b == b'\n').unwrap_or(file.len() - 1) + 1;
        let mut body = file.split_off(start);
        for _ in 0..random.below(9) {
            mutate(&mut random, &mut body);
        }
        file.extend(body);
        let (batches, end) = split(&contract, Format::Csv { delimiter: None }, &file, &mut random).unwrap();
        let mut decoder = decoder(&contract);
        let decoded = batches.iter().map(|b| decoder.decode(b, super::NOW).unwrap());
        let rows: usize = decoded.map(|d| d.stored.num_rows() + d.quarantined.num_rows()).sum();
        assert_eq!(rows as u64, end.records);
    }
}

#[test]
fn rows_that_are_no_data_say_why() {
    let contract = contract("pos_sales");
    let header = "Order ID,Product,Quantity Ordered,Price Each,Order Date,Purchase Address";
    let good = "176558,USB-C Charging Cable,2,11.95,04/19/19 08:46,\"917 1st St, Dallas, TX 75001\"";
    let file = format!(
        "{header}\n{good}\n,,,,,\n\n{header}\n1,a,1\n\"1\"x,a,1,1,04/19/19 08:46,b\n{good},\n1,a\0,1,1,04/19/19 08:46,b\n\"1,2"
    );
    let (batches, end) = split(&contract, Format::Csv { delimiter: None }, file.as_bytes(), &mut Random(1)).unwrap();
    let mut decoder = decoder(&contract);
    let decoded: Vec<_> = batches.iter().map(|b| decoder.decode(b, super::NOW).unwrap()).collect();
    let errors = |d: &crate::decode::Decoded| -> Vec<String> {
        column::<StringArray>(&d.quarantined, "_error").iter().flatten().map(str::to_owned).collect()
    };
    assert_eq!(
        decoded.iter().flat_map(errors).collect::<Vec<_>>(),
        [
            "blank row",
            "blank row",
            "repeated header",
            "3 fields where the header has 6",
            "text after a closing quote",
            "7 fields where the header has 6",
            "NUL byte",
            "quote without an end",
        ]
    );
    assert_eq!((end.records, decoded.iter().map(|d| d.stored.num_rows()).sum::<usize>()), (9, 1));
}

#[test]
fn unknown_columns_are_rescued() {
    let contract = contract("pos_stock");
    let file = "product,colour,stock_quantity,\na,\"re\"\"d\n\",1,x\nb,,2,\n";
    let (batches, _) = split(&contract, Format::Csv { delimiter: None }, file.as_bytes(), &mut Random(1)).unwrap();
    let mut decoder = decoder(&contract);
    let rescued: Vec<Option<String>> = batches
        .iter()
        .map(|b| decoder.decode(b, super::NOW).unwrap().stored)
        .flat_map(|b| column::<StringArray>(&b, "_rescued").iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>())
        .collect();
    assert_eq!(rescued, [Some(r#"{"colour":"re\"d\u000a","column 4":"x"}"#.to_owned()), None]);
}
