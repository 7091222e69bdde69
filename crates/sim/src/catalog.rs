//! Products, stores and opening stock of the store chain (system 1), and their dimension files.

use std::ops::Range;

use crate::answer::AnswerTable;
use crate::config::SimConfig;
use crate::json::write_int;
use crate::rng::scramble;

const CATEGORIES: [&str; 9] =
    ["Beauty", "Books", "Clothes", "Electronics", "Food, fresh", "Home & Garden", "Café", "Toys \"Mini\"", "Sports"];
const TOWNS: [&str; 8] =
    ["Bangalore", "Mumbai", "New Delhi", "Chennai", "Hyderabad", "Kolkata", "Pune, East", "Thiruvananthapuram"];
const SUPPLIERS: u32 = 25;

/// The chain: products from 0, stores from 1.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    seed: u64,
    products: u32,
    stores: u32,
}

impl Chain {
    pub fn new(config: &SimConfig) -> Chain {
        Chain { seed: config.seed, products: config.catalog.products, stores: config.catalog.stores }
    }

    /// Number of products.
    pub fn products(&self) -> u32 {
        self.products
    }

    /// Number of stores.
    pub fn stores(&self) -> u32 {
        self.stores
    }

    /// The category, unless the dimension lacks the product: one in 40, and the last of several, is sold all the same.
    pub fn category(&self, product: u32) -> Option<&'static str> {
        let is_listed = product % 40 != 39 && (product + 1 < self.products || self.products == 1);
        is_listed.then(|| CATEGORIES[(product % 9) as usize])
    }

    /// The number of the supplier, unless the dimension lacks the product.
    pub fn supplier(&self, product: u32) -> Option<u32> {
        self.category(product).map(|_| 100 + product / 3 % SUPPLIERS)
    }

    /// The pieces that a store had of a product before its first update; one pair in 12 has no such row.
    pub fn opening(&self, store: u32, product: u32) -> Option<i64> {
        let hash = scramble(self.seed ^ (u64::from(store) << 32) ^ u64::from(product));
        (!hash.is_multiple_of(12)).then_some(200 + (hash >> 16) as i64 % 3_000)
    }

    /// The stores that the dimension has: all but the last of several.
    fn listed_stores(&self) -> Range<u32> {
        1..self.stores.max(2)
    }

    /// `products`: product_id, name, category, price, supplier_id.
    pub fn products_table(&self) -> AnswerTable {
        let mut table = AnswerTable::new("products", &["product_id", "name", "category", "price", "supplier_id"]);
        for product in 0..self.products {
            let (Some(category), Some(supplier)) = (self.category(product), self.supplier(product)) else { continue };
            table.row(|row| {
                row.text(&product_id(product));
                row.text(&format!("Product {product}{}", if product % 16 == 5 { ", large" } else { "" }));
                row.text(category);
                row.decimal(i128::from(price_cents(product)), 2);
                row.text(&format!("S{supplier}"));
            });
        }
        table
    }

    /// `stores`: store_id, location, manager.
    pub fn stores_table(&self) -> AnswerTable {
        let mut table = AnswerTable::new("stores", &["store_id", "location", "manager"]);
        for store in self.listed_stores() {
            table.row(|row| {
                row.text(&store_id(store));
                row.text(TOWNS[store as usize % TOWNS.len()]);
                row.text(&format!("Manager {store}"));
            });
        }
        table
    }

    /// `opening_stock`: product_id, store_id, quantity.
    pub fn opening_stock_table(&self) -> AnswerTable {
        let mut table = AnswerTable::new("opening_stock", &["product_id", "store_id", "quantity"]);
        for product in 0..self.products {
            for store in 1..=self.stores {
                let Some(quantity) = self.opening(store, product) else { continue };
                table.row(|row| {
                    row.text(&product_id(product));
                    row.text(&store_id(store));
                    row.int(quantity);
                });
            }
        }
        table
    }
}

/// The list price of a product, in cents.
pub(crate) fn price_cents(product: u32) -> i64 {
    199 + i64::from(product) * 37 % 50_000
}

/// Appends a product's id.
pub(crate) fn push_product_id(product: u32, out: &mut Vec<u8>) {
    out.push(b'P');
    write_int(i64::from(500 + product), out);
}

/// Appends a store's id.
pub(crate) fn push_store_id(store: u32, out: &mut Vec<u8>) {
    out.push(b'W');
    for limit in [100, 10] {
        if store < limit {
            out.push(b'0');
        }
    }
    write_int(i64::from(store), out);
}

/// A product's id.
pub(crate) fn product_id(product: u32) -> String {
    text(|out| push_product_id(product, out))
}

/// A store's id.
pub(crate) fn store_id(store: u32) -> String {
    text(|out| push_store_id(store, out))
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    out.into_iter().map(char::from).collect()
}
