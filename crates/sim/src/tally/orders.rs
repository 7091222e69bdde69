//! The answers of the web shop (system 5), over the final version of each order.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use crate::answer::{AnswerTable, Row};
use crate::clock::{day_of, stamp};
use crate::event::Counts;
use crate::json::rounded;
use crate::shop::{CATEGORIES, COUNTRIES, title};
use crate::stream::Stream;
use crate::streams::sales_events::{Order, push_customer_id, push_order_id, push_product_id};
use crate::tally::history::{Observation, Version, history, valid_at};

/// The code of null among those of countries, categories and titles.
const NULL: u8 = u8::MAX;

/// What the dimensions and the join need of an order.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at_us: i64,
    order: u32,
    customer: u32,
    product: u32,
    country: u8,
    title: u8,
    category: u8,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    cents: i128,
    orders: u64,
    items: i64,
}

impl Sums {
    fn add(&mut self, order: &Order) {
        self.cents += i128::from(order.cents) * i128::from(order.quantity);
        self.orders += 1;
        self.items += i64::from(order.quantity);
    }
}

/// Sums by day, category and country, and 32 bytes of each order.
#[derive(Debug, Default)]
pub(crate) struct OrderTally {
    days: BTreeMap<NaiveDate, Sums>,
    categories: BTreeMap<u8, Sums>,
    countries: BTreeMap<u8, Sums>,
    seen: Vec<Seen>,
}

impl OrderTally {
    /// Adds an order's final version.
    pub fn add(&mut self, order: &Order) {
        let (country, category) = (order.country.unwrap_or(NULL), order.category.unwrap_or(NULL));
        self.days.entry(day_of(order.at_us)).or_default().add(order);
        self.categories.entry(category).or_default().add(order);
        self.countries.entry(country).or_default().add(order);
        self.seen.push(Seen {
            at_us: order.at_us,
            order: order.number,
            customer: order.customer,
            product: order.product,
            country,
            title: order.title.unwrap_or(NULL),
            category,
        });
    }

    /// `ec_daily`, `ec_category`, `ec_country`, `ec_mom`, `ec_counts`, `dim_customer_history`, `dim_product_history`,
    /// `ec_sales_as_of`.
    pub fn answers(&self, counts: &BTreeMap<String, Counts>) -> Vec<AnswerTable> {
        let customers = self.history(|seen| (seen.customer, u16::from(seen.country)));
        let products = self.history(|seen| (seen.product, u16::from_be_bytes([seen.title, seen.category])));
        vec![
            self.daily(),
            self.by_category(),
            self.by_country(),
            self.month_over_month(),
            order_counts(counts),
            customer_history(&customers),
            product_history(&products),
            self.as_of(&customers, &products),
        ]
    }

    fn history(&self, of: impl Fn(&Seen) -> (u32, u16)) -> Vec<Version> {
        let seen = self.seen.iter().map(|seen| {
            let (key, value) = of(seen);
            Observation { key, at_us: seen.at_us, order: seen.order, value }
        });
        history(seen.collect(), |a, b| id(push_order_id, a).cmp(&id(push_order_id, b)))
    }

    fn daily(&self) -> AnswerTable {
        let mut table = AnswerTable::new("ec_daily", &["order_date", "revenue", "orders", "items"]);
        for (day, sums) in &self.days {
            table.row(|row| {
                row.text(&day.to_string());
                row.decimal(sums.cents, 2);
                row.int(sums.orders);
                row.int(sums.items);
            });
        }
        table
    }

    fn by_category(&self) -> AnswerTable {
        let mut table = AnswerTable::new("ec_category", &["category", "revenue", "orders"]);
        for (category, sums) in &self.categories {
            table.row(|row| {
                row.text(name(&CATEGORIES, *category));
                row.decimal(sums.cents, 2);
                row.int(sums.orders);
            });
        }
        table
    }

    fn by_country(&self) -> AnswerTable {
        let mut pairs: Vec<(u8, u32)> = self.seen.iter().map(|seen| (seen.country, seen.customer)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut table = AnswerTable::new("ec_country", &["country", "revenue", "customers"]);
        for (country, sums) in &self.countries {
            let first = pairs.partition_point(|pair| pair.0 < *country);
            let after = pairs.partition_point(|pair| pair.0 <= *country);
            table.row(|row| {
                row.text(name(&COUNTRIES, *country));
                row.decimal(sums.cents, 2);
                row.int(after - first);
            });
        }
        table
    }

    fn month_over_month(&self) -> AnswerTable {
        let mut months: BTreeMap<i32, i128> = BTreeMap::new();
        for (day, sums) in &self.days {
            *months.entry(day.year() * 12 + day.month0() as i32).or_default() += sums.cents;
        }
        let mut table = AnswerTable::new("ec_mom", &["month", "revenue", "growth_pct"]);
        for (month, cents) in &months {
            table.row(|row| {
                row.text(&format!("{:04}-{:02}-01", month.div_euclid(12), month.rem_euclid(12) + 1));
                row.decimal(*cents, 2);
                match months.get(&(month - 1)).filter(|before| **before != 0) {
                    Some(before) => row.decimal(rounded((cents - before) * 10_000, *before), 2),
                    None => row.null(),
                }
            });
        }
        table
    }

    /// Each order with what was valid of its product and customer at its time.
    fn as_of(&self, customers: &[Version], products: &[Version]) -> AnswerTable {
        let columns = ["order_id", "product_id", "product_name", "category", "customer_country"];
        let mut table = AnswerTable::new("ec_sales_as_of", &columns);
        for seen in &self.seen {
            let product = valid_at(products, seen.product, seen.at_us).unwrap_or(u16::MAX);
            let country = valid_at(customers, seen.customer, seen.at_us).unwrap_or(u16::MAX);
            table.row(|row| {
                row.text(&id(push_order_id, seen.order));
                row.text(&id(push_product_id, seen.product));
                write_product(row, seen.product, product);
                row.text(name(&COUNTRIES, country as u8));
            });
        }
        table
    }
}

fn order_counts(counts: &BTreeMap<String, Counts>) -> AnswerTable {
    let counts = counts.get(Stream::SalesEvents.name()).copied().unwrap_or_default();
    let mut table = AnswerTable::new("ec_counts", &["orders", "quarantined", "events"]);
    table.row(|row| {
        row.int(counts.facts);
        row.int(counts.quarantined);
        row.int(counts.events);
    });
    table
}

fn customer_history(versions: &[Version]) -> AnswerTable {
    let mut table = AnswerTable::new("dim_customer_history", &["customer_id", "country", "valid_from", "valid_to"]);
    for version in versions {
        table.row(|row| {
            row.text(&id(push_customer_id, version.key));
            row.text(name(&COUNTRIES, version.value as u8));
            write_validity(row, version);
        });
    }
    table
}

fn product_history(versions: &[Version]) -> AnswerTable {
    let columns = ["product_id", "product_name", "category", "valid_from", "valid_to"];
    let mut table = AnswerTable::new("dim_product_history", &columns);
    for version in versions {
        table.row(|row| {
            row.text(&id(push_product_id, version.key));
            write_product(row, version.key, version.value);
            write_validity(row, version);
        });
    }
    table
}

/// Name and category.
fn write_product(row: &mut Row<'_>, product: u32, value: u16) {
    let [renamed, category] = value.to_be_bytes();
    row.text(&if renamed == NULL { String::new() } else { title(product, renamed) });
    row.text(name(&CATEGORIES, category));
}

fn write_validity(row: &mut Row<'_>, version: &Version) {
    for end in [version.from, version.to] {
        row.text(&end.map_or_else(String::new, stamp));
    }
}

/// The name of a code; empty (null) for that of null.
fn name(names: &[&'static str], code: u8) -> &'static str {
    names.get(usize::from(code)).copied().unwrap_or_default()
}

fn id(push: impl Fn(u32, &mut Vec<u8>), number: u32) -> String {
    let mut out = Vec::new();
    push(number, &mut out);
    out.into_iter().map(char::from).collect()
}
