//! `product_YYYYMMDD.csv` and `store_YYYYMMDD.csv`: what the shops of the landing sets are and sell, as of a day. Products
//! appear, get another name or category; stores are given to another region.

use crate::answer::AnswerTable;
use crate::config::SimConfig;
use crate::rng::scramble;

/// Products and stores, both from 1.
#[derive(Debug, Clone)]
pub(crate) struct Assortment {
    seed: u64,
    days: u32,
    products: u32,
    stores: u32,
}

impl Assortment {
    pub fn new(config: &SimConfig) -> Assortment {
        let (products, stores) = (config.catalog.products, config.catalog.stores);
        Assortment { seed: config.seed, days: config.days, products, stores }
    }

    /// Number of products.
    pub fn products(&self) -> u32 {
        self.products
    }

    /// The key of the product with an index from 0, or of one that is there already: each tenth appears on the way.
    pub fn offered(&self, index: u32, day: u32) -> u32 {
        let key = index + 1;
        if self.is_there(key, day) { key } else { key - 1 }
    }

    fn is_there(&self, key: u32, day: u32) -> bool {
        !key.is_multiple_of(10) || day >= self.moment(1, key)
    }

    /// A day of the simulation.
    fn moment(&self, what: u64, key: u32) -> u32 {
        let hash = scramble(self.seed ^ (what << 48) ^ u64::from(key));
        (hash >> 32) as u32 % self.days
    }

    /// The products as of a day.
    pub fn products_table(&self, day: u32) -> AnswerTable {
        let columns = ["PROD_KEY", "PROD_NAME", "BRAND_NAME", "CATEGORY_NAME", "SUBCATEGORY_NAME"];
        let mut table = AnswerTable::new("product", &columns);
        for key in (1..=self.products).filter(|key| self.is_there(*key, day)) {
            let is_renamed = key % 8 == 3 && day >= self.moment(2, key);
            let is_moved = key % 9 == 4 && day >= self.moment(3, key);
            table.row(|row| {
                row.int(key);
                row.text(&format!("Prod {key}{}", if is_renamed { ", \"new\"" } else { "" }));
                row.text(&format!("Brand {}", key % 17));
                row.text(&format!("Cat {}", if is_moved { 99 } else { key % 12 }));
                row.text(&format!("Sub {}", key % 60));
            });
        }
        table
    }

    /// The stores as of a day.
    pub fn stores_table(&self, day: u32) -> AnswerTable {
        const CITIES: [&str; 4] = ["Vancouver", "Montréal", "Toronto", "St. John's"];
        let columns = ["STORE_KEY", "STORE_NUM", "STORE_DESC", "CITY", "REGION", "CNTRY_NM"];
        let mut table = AnswerTable::new("store", &columns);
        for key in 1..=self.stores {
            let is_moved = key % 5 == 2 && day >= self.moment(4, key);
            table.row(|row| {
                row.int(key);
                row.int(100 + key);
                row.text(&format!("Store, {key}"));
                row.text(CITIES[key as usize % CITIES.len()]);
                row.text(if is_moved { "North" } else { ["East", "West"][key as usize % 2] });
                row.text("Canada");
            });
        }
        table
    }
}
