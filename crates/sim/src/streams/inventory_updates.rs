//! `inventory_updates`: changes of a store's stock (SYSTEMS.md, system 1). A message has no key: each one counts.

use std::collections::BTreeMap;

use crate::bad::BadKind;
use crate::catalog::{Chain, push_product_id, push_store_id};
use crate::clock::{SECOND, StampWriter};
use crate::config::SimConfig;
use crate::fields::TimeForm;
use crate::generator::{StreamModel, Style};
use crate::json::JsonObject;
use crate::rng::Rng;
use crate::stream::Stream;
use crate::truth::Tallies;

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    at_us: i64,
    product: u32,
    store: u32,
    change: i32,
}

/// Makes changes: the same products, stores and quantities as sales have, and now and then a delivery.
#[derive(Debug)]
pub(crate) struct InventoryUpdates {
    chain: Chain,
    stamps: StampWriter,
}

impl InventoryUpdates {
    pub fn new(config: &SimConfig) -> InventoryUpdates {
        InventoryUpdates { chain: Chain::new(config), stamps: StampWriter::new() }
    }
}

/// The sum of all changes, by (store, product).
#[derive(Debug, Default)]
pub(crate) struct StockTally(pub BTreeMap<(u32, u32), i64>);

impl StreamModel for InventoryUpdates {
    type Fact = Update;
    type Tally = StockTally;
    const STREAM: Stream = Stream::InventoryUpdates;
    const EXACT_COPIES: bool = true;
    const IS_KEYED: bool = false;
    const UNKNOWN_KINDS: &'static [BadKind] = &[BadKind::TooManyDecimals, BadKind::BrokenRule];

    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Update {
        let product = rng.skewed(self.chain.products());
        let store = 1 + rng.below(self.chain.stores());
        let sold = -1 - rng.skewed(6) as i32;
        let change = if rng.below(50) == 0 { 40 + rng.below(120) as i32 } else { sold };
        Update { at_us: at_us - at_us.rem_euclid(SECOND), product, store, change }
    }

    fn key(&self, update: &Update, out: &mut Vec<u8>) {
        push_store_id(update.store, out);
    }

    fn write(&mut self, update: &Update, style: Style, out: &mut Vec<u8>) {
        let bad = style.bad;
        let mut object = JsonObject::open(out, style.spaced);
        object.quoted("product_id", |id| push_product_id(update.product, id));
        let (time, form) =
            if style.variant { ("timestamp", TimeForm::Kolkata) } else { ("timestamp_", TimeForm::Plain) };
        object.time(time, update.at_us, form, bad, &mut self.stamps);
        if bad == Some(BadKind::AliasTwice) {
            let other = if style.variant { "timestamp_" } else { "timestamp" };
            object.time(other, update.at_us, TimeForm::Utc, None, &mut self.stamps);
        }
        object.quantity("quantity_change", update.change, bad);
        if bad == Some(BadKind::RepeatedName) {
            object.quantity("quantity_change", update.change, None);
        }
        if bad != Some(BadKind::MissingField) {
            object.quoted("store_id", |id| push_store_id(update.store, id));
        }
        if style.unknown {
            object.raw("reason", r#"{"code":7,"text":"count \"B\""}"#);
        }
        object.close();
    }

    fn count(tally: &mut StockTally, update: &Update) {
        *tally.0.entry((update.store, update.product)).or_default() += i64::from(update.change);
    }

    fn settle(tally: StockTally, tallies: &mut Tallies) {
        tallies.stock = Some(tally);
    }
}
