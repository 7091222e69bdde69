//! `sales_transactions`: a sale of one product in a store chain (SYSTEMS.md, system 1).

use std::collections::BTreeMap;

use crate::bad::BadKind;
use crate::catalog::{Chain, price_cents, push_product_id, push_store_id};
use crate::clock::{HOUR, SECOND, StampWriter};
use crate::config::SimConfig;
use crate::fields::TimeForm;
use crate::generator::{StreamModel, Style};
use crate::json::JsonObject;
use crate::rng::{Rng, scramble};
use crate::stream::Stream;
use crate::truth::Tallies;

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
    chain: Chain,
    stamps: StampWriter,
}

impl SalesTransactions {
    pub fn new(config: &SimConfig) -> SalesTransactions {
        SalesTransactions { seed: config.seed, made: 0, chain: Chain::new(config), stamps: StampWriter::new() }
    }
}

/// Units and revenue in cents.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sold {
    pub units: i64,
    pub cents: i128,
}

impl Sold {
    pub fn add(&mut self, other: Sold) {
        self.units += other.units;
        self.cents += other.cents;
    }
}

/// What was sold, by (store, start of the hour) and by product.
#[derive(Debug, Default)]
pub(crate) struct SalesTally {
    pub by_store_hour: BTreeMap<(u32, i64), Sold>,
    pub by_product: BTreeMap<u32, Sold>,
}

impl StreamModel for SalesTransactions {
    type Fact = Sale;
    type Tally = SalesTally;
    const STREAM: Stream = Stream::SalesTransactions;
    const EXACT_COPIES: bool = false;
    const UNKNOWN_KINDS: &'static [BadKind] = &[];

    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Sale {
        self.made += 1;
        let product = rng.skewed(self.chain.products());
        Sale {
            id: scramble(self.seed ^ (self.made << 20)),
            at_us: at_us - at_us.rem_euclid(SECOND),
            product,
            store: 1 + rng.below(self.chain.stores()),
            quantity: 1 + rng.skewed(6) as i32,
            cents: price_cents(product) + i64::from(rng.below(3)) * 10,
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
        object.quoted("transaction_id", |id| write_id(sale.id, id));
        object.quoted("product_id", |id| push_product_id(sale.product, id));
        let (time, form) = if style.variant { ("timestamp_", TimeForm::Utc) } else { ("timestamp", TimeForm::Plain) };
        object.time(time, sale.at_us, form, bad, &mut self.stamps);
        if bad == Some(BadKind::AliasTwice) {
            let other = if style.variant { "timestamp" } else { "timestamp_" };
            object.time(other, sale.at_us, TimeForm::Plain, None, &mut self.stamps);
        }
        object.quantity("quantity", sale.quantity, bad);
        if bad != Some(BadKind::MissingField) {
            object.price("unit_price", sale.cents, 2, style.variant, bad);
        }
        object.quoted("store_id", |id| push_store_id(sale.store, id));
        if bad == Some(BadKind::RepeatedName) {
            object.quoted("store_id", |id| push_store_id(sale.store, id));
        }
        if style.unknown {
            object.raw("loyalty", r#"{"tier":"gold","points":[3,1.50]}"#);
        }
        object.close();
    }

    fn count(tally: &mut SalesTally, sale: &Sale) {
        let sold = Sold { units: i64::from(sale.quantity), cents: i128::from(sale.cents) * i128::from(sale.quantity) };
        let hour = sale.at_us - sale.at_us.rem_euclid(HOUR);
        tally.by_store_hour.entry((sale.store, hour)).or_default().add(sold);
        tally.by_product.entry(sale.product).or_default().add(sold);
    }

    fn settle(tally: SalesTally, tallies: &mut Tallies) {
        tallies.sales = Some(tally);
    }
}

fn write_id(id: u64, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"T-");
    out.extend((0..16).rev().map(|nibble| HEX[(id >> (4 * nibble)) as usize & 15]));
}
