//! Customers and products of the web shop (system 5) as they are at a time: customers move, products appear, get another
//! name, are moved to another category. All of it follows from the seed, so nothing is kept.

use crate::clock::{DAY, midnight};
use crate::config::SimConfig;
use crate::rng::scramble;

/// Countries, by number.
pub(crate) const COUNTRIES: [&str; 9] = [
    "India",
    "United States",
    "Germany",
    "Canada",
    "Côte d'Ivoire",
    "Korea, South",
    "Brazil",
    "日本",
    "United Kingdom",
];
/// Categories, by number; products only ever move to the last one. With null they are ten, all of which an answer shows.
pub(crate) const CATEGORIES: [&str; 9] =
    ["Apparel", "Electronics", "Footwear", "Home", "Toys", "Garden, Outdoor", "Beauty", "\"Fresh\" Food", "Clearance"];
const CLEARANCE: u8 = 8;

/// The shop.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    seed: u64,
    start: i64,
    span: i64,
    customers: u32,
    products: u32,
}

impl Shop {
    pub fn new(config: &SimConfig) -> Shop {
        Shop {
            seed: config.seed,
            start: midnight(config.start),
            span: i64::from(config.days) * DAY,
            customers: config.catalog.customers,
            products: config.catalog.products,
        }
    }

    /// Number of customers.
    pub fn customers(&self) -> u32 {
        self.customers
    }

    /// Number of products.
    pub fn products(&self) -> u32 {
        self.products
    }

    /// Where a customer lives: one in 8 moves once, and half of these back again.
    pub fn country(&self, customer: u32, at_us: i64) -> u8 {
        let hash = self.hash(1, customer);
        let (first, step) = (hash % 9, 1 + (hash >> 8) % 8);
        let moves = (hash >> 16).is_multiple_of(8);
        let moved_at = self.moment(hash);
        let is_back = (hash >> 20) & 1 == 0 && at_us >= moved_at + self.span / 6;
        (if moves && at_us >= moved_at && !is_back { (first + step) % 9 } else { first }) as u8
    }

    /// The product, or one that is there already: each tenth appears on the way.
    pub fn offered(&self, product: u32, at_us: i64) -> u32 {
        let is_there = product % 10 != 9 || at_us >= self.moment(self.hash(2, product));
        if is_there { product } else { product - 1 }
    }

    /// How often the product has been renamed: one in 4 is once, and half of these a second time.
    pub fn title(&self, product: u32, at_us: i64) -> u8 {
        let hash = self.hash(3, product);
        let renamed_at = self.moment(hash);
        if !(hash >> 16).is_multiple_of(4) || at_us < renamed_at {
            return 0;
        }
        1 + u8::from((hash >> 20) & 1 == 0 && at_us >= renamed_at + self.span / 5)
    }

    /// The product's category: one in 6 ends in clearance.
    pub fn category(&self, product: u32, at_us: i64) -> u8 {
        let hash = self.hash(4, product);
        let is_cleared = (hash >> 16).is_multiple_of(6) && at_us >= self.moment(hash);
        if is_cleared { CLEARANCE } else { (product % 8) as u8 }
    }

    fn hash(&self, what: u64, of: u32) -> u64 {
        scramble(self.seed ^ (what << 56) ^ (u64::from(of) << 8))
    }

    /// An instant of the simulated days, in whole seconds.
    fn moment(&self, hash: u64) -> i64 {
        self.start + ((i128::from(hash >> 32) * i128::from(self.span / 1_000_000)) >> 32) as i64 * 1_000_000
    }
}

/// The name of a product that was renamed so many times.
pub(crate) fn title(product: u32, renamed: u8) -> String {
    match renamed {
        0 => format!("Item {product}"),
        1 => format!("Item {product}, new"),
        _ => format!("Item {product} \"Édition\""),
    }
}
