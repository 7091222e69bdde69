//! `sales_YYYYMMDD.csv`: the sales of a day.

use crate::clock::{DAY, StampWriter, apportion, days_from, midnight};
use crate::config::SimConfig;
use crate::error::SimError;
use crate::json::{write_decimal, write_int};
use crate::rng::Rng;
use crate::shares::RateShape;
use crate::weekly::file::{EachRow, SetModel};
use crate::weekly::products::Assortment;
use crate::weekly::tally::WeeklyTally;

/// One sale. Money is in cents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SaleRow {
    id: u64,
    pub product: u32,
    pub store: u32,
    /// The day of the sale, from the first one of the simulation.
    pub day: u32,
    hour: u32,
    pub quantity: i32,
    price: i64,
    pub amount: i64,
    discount: i64,
    pub cost: i64,
    pub ship: i64,
}

impl SaleRow {
    fn priced(self) -> SaleRow {
        let amount = self.price * i64::from(self.quantity) - self.discount;
        SaleRow { amount, cost: amount * 3 / 5, ..self }
    }
}

/// The sales of all days.
#[derive(Debug)]
pub(crate) struct Sales {
    start: i64,
    assortment: Assortment,
    stores: u32,
    shape: RateShape,
    /// The id before the first one of each day, and the last id.
    ids: Vec<u64>,
}

impl Sales {
    pub fn new(config: &SimConfig) -> Sales {
        let weights = days_from(config.start, config.days).map(|day| config.shape.weight(day));
        let mut ids = vec![0];
        for rows in apportion(weights, config.rows.weekly) {
            ids.push(ids[ids.len() - 1] + rows);
        }
        Sales {
            start: midnight(config.start),
            assortment: Assortment::new(config),
            stores: config.catalog.stores,
            shape: config.shape.clone(),
            ids,
        }
    }

    /// An hour by its weight, between 0 and 23.
    fn hour(&self, rng: &mut Rng) -> u32 {
        let mut left = rng.below(self.shape.hours.iter().sum());
        let holds = |weight: &u32| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        };
        self.shape.hours.iter().position(holds).unwrap_or(0) as u32
    }
}

impl SetModel for Sales {
    type Row = SaleRow;
    const NAME: &'static str = "sales";
    const HEADER: &'static str = "TRANS_ID,PROD_KEY,STORE_KEY,TRANS_DT,TRANS_TIME,SALES_QTY,SALES_PRICE,SALES_AMT,DISCOUNT,SALES_COST,SALES_MGRN,SHIP_COST\n";
    const INTS: &'static [usize] = &[0, 5];
    const MONEY: Option<usize> = Some(6);
    const DATE: usize = 3;

    fn rows(&self, day: u32, rng: &mut Rng, each: EachRow<'_, SaleRow>) -> Result<(), SimError> {
        let day_index = day as usize;
        for id in self.ids[day_index] + 1..=self.ids[day_index + 1] {
            let product = self.assortment.offered(rng.skewed(self.assortment.products()), day);
            let quantity = 1 + rng.skewed(6) as i32;
            let price = 99 + i64::from(product) * 131 % 9_000 + i64::from(rng.below(40)) * 5;
            let row = SaleRow {
                id,
                product,
                store: 1 + rng.below(self.stores),
                day,
                hour: self.hour(rng),
                quantity,
                price,
                amount: 0,
                discount: if rng.below(12) == 0 { price * i64::from(quantity) / 10 } else { 0 },
                cost: 0,
                ship: i64::from(rng.below(300)),
            };
            each(row.priced(), rng)?;
        }
        Ok(())
    }

    /// Another quantity or price; some were made on another of the last days, or in another store.
    fn correct(&self, row: &SaleRow, rng: &mut Rng) -> SaleRow {
        let mut other = SaleRow { quantity: row.quantity + 1 + rng.skewed(3) as i32, ..*row };
        match rng.below(4) {
            0 => other.day = row.day.saturating_sub(1 + rng.below(2)),
            1 => other.store = 1 + rng.below(self.stores),
            _ => other.price += 7,
        }
        other.priced()
    }

    fn write(&self, row: &SaleRow, dates: &mut StampWriter, out: &mut Vec<u8>) {
        for int in [row.id as i64, i64::from(row.product), i64::from(row.store)] {
            write_int(int, out);
            out.push(b',');
        }
        out.extend_from_slice(dates.date(self.start + i64::from(row.day) * DAY));
        for int in [i64::from(row.hour), i64::from(row.quantity)] {
            out.push(b',');
            write_int(int, out);
        }
        // Some tills leave the zeros at the end away.
        let all = !row.id.is_multiple_of(11);
        for cents in [row.price, row.amount, row.discount, row.cost, row.amount - row.cost, row.ship] {
            out.push(b',');
            write_decimal(i128::from(cents), 2, all, out);
        }
        out.push(b'\n');
    }

    fn count(tally: &mut WeeklyTally, row: &SaleRow) {
        tally.sale(row);
    }
}
