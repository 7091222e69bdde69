//! `sales_transactions`: a sale of one product in a store chain (SYSTEMS.md, system 1).

use std::collections::BTreeMap;

use crate::bad::BadKind;
use crate::clock::{HOUR, SECOND, StampWriter};
use crate::config::Stream;
use crate::generator::{StreamModel, Style};
use crate::json::{JsonObject, decimal, write_decimal};
use crate::rng::{Rng, scramble};
use crate::truth::{AnswerTable, stamp};

const STORES: u32 = 50;
const PRODUCTS: u32 = 1000;

/// One sale.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    id: u64,
    at_us: i64,
    product: u32,
    store: u32,
    quantity: i32,
    cents: i64,
}

/// Makes sales with ids that never repeat under one seed.
#[derive(Debug)]
pub(crate) struct SalesTransactions {
    seed: u64,
    made: u64,
    stamps: StampWriter,
}

impl SalesTransactions {
    pub fn new(seed: u64) -> SalesTransactions {
        SalesTransactions { seed, made: 0, stamps: StampWriter::new() }
    }
}

/// Count, units and revenue in cents by (store, hour).
#[derive(Debug, Default)]
pub(crate) struct SalesTally(BTreeMap<(u32, i64), (u64, i64, i128)>);

impl SalesTally {
    /// Totals by store and hour.
    pub fn answers(&self) -> Vec<AnswerTable> {
        let mut table = AnswerTable::new("sales_store_hour", &["store_id", "hour", "transactions", "units", "revenue"]);
        for ((store, hour), (count, units, cents)) in &self.0 {
            table.push(vec![
                format!("W{store:03}"),
                stamp(*hour),
                count.to_string(),
                units.to_string(),
                decimal(*cents, 2),
            ]);
        }
        vec![table]
    }
}

impl StreamModel for SalesTransactions {
    type Fact = Sale;
    type Tally = SalesTally;
    const STREAM: Stream = Stream::SalesTransactions;
    const EXACT_COPIES: bool = false;
    const BAD_KINDS: &'static [BadKind] = &[
        BadKind::RepeatedName,
        BadKind::AliasTwice,
        BadKind::MissingField,
        BadKind::NullField,
        BadKind::StringForNumber,
        BadKind::FractionForInt,
        BadKind::TooManyDecimals,
        BadKind::OutOfRange,
        BadKind::BadTime,
        BadKind::FutureTime,
        BadKind::BrokenRule,
    ];

    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Sale {
        self.made += 1;
        let product = rng.skewed(PRODUCTS);
        Sale {
            id: scramble(self.seed ^ (self.made << 20)),
            at_us: at_us - at_us.rem_euclid(SECOND),
            product,
            store: 1 + rng.below(STORES),
            quantity: 1 + rng.skewed(6) as i32,
            cents: 199 + i64::from(product) * 37 % 50_000 + i64::from(rng.below(3)) * 10,
        }
    }

    fn correct(&mut self, sale: &Sale, rng: &mut Rng) -> Option<Sale> {
        // The time stays: the stream has no version field, so arrival alone orders versions.
        Some(Sale { quantity: sale.quantity + 1 + rng.skewed(3) as i32, cents: sale.cents + 5, ..sale.clone() })
    }

    fn key(&self, sale: &Sale, out: &mut Vec<u8>) {
        write_id(sale.id, out);
    }

    fn write(&mut self, sale: &Sale, style: Style, out: &mut Vec<u8>) {
        let bad = style.bad;
        let mut object = JsonObject::open(out, style.spaced);
        let id = object.name("transaction_id");
        id.push(b'"');
        write_id(sale.id, id);
        id.push(b'"');
        let product = object.name("product_id");
        product.extend_from_slice(b"\"P");
        crate::json::write_int(i64::from(500 + sale.product), product);
        product.push(b'"');
        self.write_time(sale, style, &mut object);
        match bad {
            Some(BadKind::StringForNumber) => object.raw("quantity", "\"2\""),
            Some(BadKind::FractionForInt) => object.raw("quantity", "1.5"),
            Some(BadKind::OutOfRange) => object.raw("quantity", "3000000000"),
            Some(BadKind::BrokenRule) => object.raw("quantity", "0"),
            Some(BadKind::NullField) => object.raw("quantity", "null"),
            _ => object.int("quantity", i64::from(sale.quantity)),
        }
        match bad {
            Some(BadKind::TooManyDecimals) => object.raw("unit_price", "10.005"),
            Some(BadKind::MissingField) => {}
            _ => write_decimal(i128::from(sale.cents), 2, style.variant, object.name("unit_price")),
        }
        let store = [b'"', b'W', b'0', b'0' + (sale.store / 10) as u8, b'0' + (sale.store % 10) as u8, b'"'];
        object.name("store_id").extend_from_slice(&store);
        if bad == Some(BadKind::RepeatedName) {
            object.name("store_id").extend_from_slice(&store);
        }
        if style.unknown {
            object.raw("loyalty", r#"{"tier":"gold","points":[3,1.50]}"#);
        }
        object.close();
    }

    fn count(tally: &mut SalesTally, sale: &Sale) {
        let group = tally.0.entry((sale.store, sale.at_us - sale.at_us.rem_euclid(HOUR))).or_default();
        group.0 += 1;
        group.1 += i64::from(sale.quantity);
        group.2 += i128::from(sale.cents) * i128::from(sale.quantity);
    }
}

impl SalesTransactions {
    fn write_time(&mut self, sale: &Sale, style: Style, object: &mut JsonObject<'_>) {
        match style.bad {
            Some(BadKind::BadTime) => return object.string("timestamp", "2024-13-45 25:61:00"),
            Some(BadKind::FutureTime) => return object.string("timestamp", "2999-12-31 23:59:59"),
            _ => {}
        }
        let (name, between) = if style.variant { ("timestamp_", b'T') } else { ("timestamp", b' ') };
        let text = object.name(name);
        text.push(b'"');
        self.stamps.write(sale.at_us, between, text);
        text.extend_from_slice(if style.variant { b"Z\"" } else { b"\"" });
        if style.bad == Some(BadKind::AliasTwice) {
            let other = if style.variant { "timestamp" } else { "timestamp_" };
            let text = object.name(other);
            text.push(b'"');
            self.stamps.write(sale.at_us, b' ', text);
            text.push(b'"');
        }
    }
}

fn write_id(id: u64, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"T-");
    out.extend((0..16).rev().map(|nibble| HEX[(id >> (4 * nibble)) as usize & 15]));
}
