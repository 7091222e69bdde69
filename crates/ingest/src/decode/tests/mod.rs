//! Tests of whole batches: single cases by hand, and differential tests against slow references.
#![allow(clippy::unwrap_used)] // A test that unwraps in vain has failed, and says where.

mod avro;
mod cases;
mod csv_files;
mod fuzz;
mod generate;
mod reference;
mod splitting;

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Decimal128Array, Int32Array, RecordBatch, StringArray};
use bytes::Bytes;
use schema::{Contract, Project, SourceFile};

use super::{Decoded, Decoder, RowCheck};
use crate::records::{ArrivedAt, RawBatch};

/// The clock of all tests: 2024-01-01, microseconds.
const NOW: i64 = 1_704_067_200_000_000;

/// The shipped contract of a stream.
fn contract(name: &str) -> Contract {
    let text = match name {
        "invoices" => include_str!("../../../../../models/bronze/invoices.toml"),
        "pos_sales" => include_str!("../../../../../models/bronze/pos_sales.toml"),
        "pos_stock" => include_str!("../../../../../models/bronze/pos_stock.toml"),
        _ => include_str!("../../../../../models/bronze/sales_transactions.toml"),
    };
    contract_of(name, text)
}

fn contract_of(name: &str, text: &str) -> Contract {
    let file = SourceFile { path: format!("models/bronze/{name}.toml"), text: text.to_owned() };
    let mut project = Project::parse([file]).unwrap_or_else(|e| panic!("{e}"));
    project.contracts.remove(name).unwrap()
}

/// JSON records as one batch, with their index as offset, that arrived [`NOW`].
fn batch<R: AsRef<[u8]>>(records: &[R]) -> RawBatch {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    for record in records {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(record.as_ref());
        ranges.push(start..bytes.len() as u32);
    }
    RawBatch {
        bytes: Bytes::from(bytes),
        offsets: (0..ranges.len() as i64).collect(),
        ranges,
        source: Arc::from("kafka:test/topic"),
        partition: 3,
        arrived_at: ArrivedAt::All(NOW),
        keys: None,
        oversize: Vec::new(),
        header: None,
        headers: None,
        framing: None,
    }
}

/// A rule that accepts the rows for which a function of one column's text form is true.
struct Rule {
    name: &'static str,
    column: &'static str,
    accepts: fn(&str) -> bool,
}

impl RowCheck for Rule {
    fn name(&self) -> &str {
        self.name
    }

    fn check(&self, batch: &RecordBatch) -> Result<BooleanArray, Box<dyn std::error::Error + Send + Sync>> {
        let column = batch.column_by_name(self.column).ok_or("no such column")?;
        let texts = (0..batch.num_rows()).map(|row| text_of(column, row).map(|text| (self.accepts)(&text)));
        Ok(texts.collect())
    }
}

/// A scalar as text: of a decimal its digits without the point.
fn text_of(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let any = column.as_any();
    None.or_else(|| any.downcast_ref::<StringArray>().map(|a| a.value(row).to_owned()))
        .or_else(|| any.downcast_ref::<Int32Array>().map(|a| a.value(row).to_string()))
        .or_else(|| any.downcast_ref::<Decimal128Array>().map(|a| a.value(row).to_string()))
}

/// The shipped contract's rules, as SQL would evaluate them.
fn rules(stream: &str) -> Vec<Rule> {
    let positive = |text: &str| text != "0" && !text.starts_with('-');
    match stream {
        "sales_transactions" => vec![
            Rule { name: "quantity > 0", column: "quantity", accepts: positive },
            Rule { name: "unit_price >= 0", column: "unit_price", accepts: |text| !text.starts_with('-') },
        ],
        "invoices" => vec![Rule {
            name: "kind IN ('ORDER', 'RETURN')",
            column: "kind",
            accepts: |text| matches!(text, "ORDER" | "RETURN"),
        }],
        _ => Vec::new(),
    }
}

fn decoder(contract: &Contract) -> Decoder {
    let rules = rules(&contract.name).into_iter().map(|rule| Box::new(rule) as Box<dyn RowCheck>);
    Decoder::new(contract, rules.collect(), Vec::new())
}

fn decode<R: AsRef<[u8]>>(contract: &Contract, records: &[R]) -> Decoded {
    decoder(contract).decode(&batch(records), NOW).unwrap()
}

fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> &'a A {
    batch.column_by_name(name).unwrap().as_any().downcast_ref().unwrap()
}

/// The single record's reason, or `stored`.
fn fate(contract: &Contract, record: impl AsRef<[u8]>) -> String {
    let decoded = decode(contract, &[record]);
    assert_eq!(decoded.stored.num_rows() + decoded.quarantined.num_rows(), 1);
    match decoded.quarantined.num_rows() {
        0 => "stored".to_owned(),
        _ => column::<StringArray>(&decoded.quarantined, "_error").value(0).to_owned(),
    }
}
