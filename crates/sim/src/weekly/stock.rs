//! `inventory_YYYYMMDD.csv`: the stock of each store at the end of a day.

use crate::clock::{DAY, StampWriter, midnight};
use crate::config::SimConfig;
use crate::error::SimError;
use crate::json::write_int;
use crate::rng::{Rng, Share};
use crate::weekly::file::{EachRow, SetModel};
use crate::weekly::tally::WeeklyTally;

/// The stock of one product in one store at the end of one day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StockRow {
    pub product: u32,
    pub store: u32,
    /// The day, from the first one of the simulation.
    pub day: u32,
    pub on_hand: i32,
    pub on_order: i32,
    pub is_out: bool,
    waste: i32,
    is_promoted: bool,
}

/// The stock of all days.
#[derive(Debug)]
pub(crate) struct Stock {
    start: i64,
    products: u32,
    stores: u32,
    share: Share,
}

impl Stock {
    pub fn new(config: &SimConfig) -> Stock {
        Stock {
            start: midnight(config.start),
            products: config.catalog.products,
            stores: config.catalog.stores,
            share: Share::new(config.weekly.stock),
        }
    }
}

/// Quantities of a row. The flag is what the store says: it can be out with pieces on hand, and the other way round.
fn counted(row: StockRow, rng: &mut Rng) -> StockRow {
    let on_hand = if rng.below(9) == 0 { 0 } else { rng.skewed(60) as i32 };
    let differs = rng.below(25) == 0;
    StockRow { on_hand, on_order: rng.below(40) as i32, is_out: (on_hand == 0) != differs, ..row }
}

impl SetModel for Stock {
    type Row = StockRow;
    const NAME: &'static str = "inventory";
    const HEADER: &'static str = "CAL_DT,STORE_KEY,PROD_KEY,INVENTORY_ON_HAND_QTY,INVENTORY_ON_ORDER_QTY,OUT_OF_STOCK_FLG,WASTE_QTY,PROMOTION_FLG,NEXT_DELIVERY_DT\n";
    const INTS: &'static [usize] = &[3, 4];
    const MONEY: Option<usize> = None;
    const DATE: usize = 0;

    fn rows(&self, day: u32, rng: &mut Rng, each: EachRow<'_, StockRow>) -> Result<(), SimError> {
        for store in 1..=self.stores {
            for product in 1..=self.products {
                if !rng.chance(self.share) {
                    continue;
                }
                let (waste, is_promoted) = (rng.below(3) as i32, rng.below(8) == 0);
                let empty =
                    StockRow { product, store, day, on_hand: 0, on_order: 0, is_out: false, waste, is_promoted };
                let row = counted(empty, rng);
                each(row, rng)?;
            }
        }
        Ok(())
    }

    fn correct(&self, row: &StockRow, rng: &mut Rng) -> StockRow {
        counted(*row, rng)
    }

    fn write(&self, row: &StockRow, dates: &mut StampWriter, out: &mut Vec<u8>) {
        let at_us = self.start + i64::from(row.day) * DAY;
        out.extend_from_slice(dates.date(at_us));
        let [store, product] = [row.store as i32, row.product as i32];
        let [is_out, is_promoted] = [i32::from(row.is_out), i32::from(row.is_promoted)];
        for int in [store, product, row.on_hand, row.on_order, is_out, row.waste, is_promoted] {
            out.push(b',');
            write_int(i64::from(int), out);
        }
        out.push(b',');
        out.extend_from_slice(dates.date(at_us + 3 * DAY));
        out.push(b'\n');
    }

    fn count(tally: &mut WeeklyTally, row: &StockRow) {
        tally.stock(row);
    }
}
