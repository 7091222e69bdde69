//! The store chain: sales by their last good message, stock by every message.

use std::collections::{BTreeMap, HashMap};

use sim::Stream;

use crate::support::{assert_rows, cents, decimal, fields, instant, int, object, readable, stamp, text};

const HOUR: i64 = 3_600_000_000;

#[test]
fn sales_are_summed_by_store_hour_category_and_supplier() {
    let simulation = readable(21, &["sales_transactions"]);
    let mut sales = HashMap::new();
    for event in simulation.events(Stream::SalesTransactions) {
        let sale = object(&event).unwrap();
        sales.insert(text(&sale, "transaction_id"), sale);
    }
    let products: HashMap<String, Vec<String>> =
        simulation.dimensions()[0].to_csv().lines().map(|line| (fields(line)[0].clone(), fields(line))).collect();
    let mut hours: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    let mut categories: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut suppliers: BTreeMap<String, i64> = BTreeMap::new();
    for sale in sales.values() {
        let (units, revenue) = (int(sale, "quantity"), int(sale, "quantity") * cents(sale, "unit_price"));
        let time = if sale.contains_key("timestamp") { "timestamp" } else { "timestamp_" };
        let hour = instant(&text(sale, time)).div_euclid(HOUR) * HOUR;
        let product = products.get(&text(sale, "product_id"));
        let known = |column: usize| product.map_or_else(String::new, |product| product[column].clone());
        for sums in [hours.entry((text(sale, "store_id"), hour)).or_default(), categories.entry(known(2)).or_default()]
        {
            sums.0 += units;
            sums.1 += revenue;
        }
        *suppliers.entry(known(4)).or_default() += revenue;
    }
    assert!(categories.contains_key(""), "some products are in no dimension");
    let truth = simulation.truth().answers;
    let row = |key: &str, sums: (i64, i64)| vec![key.to_owned(), sums.0.to_string(), decimal(sums.1)];
    assert_rows(&truth["bf_category"], categories.iter().map(|(key, sums)| row(key, *sums)).collect());
    let suppliers = suppliers.into_iter().map(|(key, revenue)| vec![key, decimal(revenue)]);
    assert_rows(&truth["bf_supplier"], suppliers.collect());
    let hours =
        hours.into_iter().map(|((store, hour), sums)| vec![store, stamp(hour), sums.0.to_string(), decimal(sums.1)]);
    assert_rows(&truth["bf_store_hour"], hours.collect());
    assert_rows(&truth["bf_counts"], vec![vec![sales.len().to_string(), "0".into(), "0".into()]]);
}

#[test]
fn each_stock_update_counts_also_a_copy() {
    let simulation = readable(22, &["inventory_updates"]);
    let mut stock: BTreeMap<(String, String), i64> = BTreeMap::new();
    let opening = simulation.dimensions().into_iter().find(|table| table.name == "opening_stock").unwrap();
    for row in opening.to_csv().lines().skip(1).map(fields) {
        stock.insert((row[1].clone(), row[0].clone()), row[2].parse().unwrap());
    }
    let (opening, mut messages) = (stock.len(), 0);
    for event in simulation.events(Stream::InventoryUpdates) {
        let update = object(&event).unwrap();
        let pair = (text(&update, "store_id"), text(&update, "product_id"));
        *stock.entry(pair).or_default() += int(&update, "quantity_change");
        messages += 1;
    }
    assert!(stock.len() > opening, "some pairs have no opening row");
    let truth = simulation.truth();
    let counts = truth.counts_of(Stream::InventoryUpdates);
    assert!(messages > 3_200 && counts.facts == messages && counts.events == messages, "{messages} {counts:?}");
    let stock = stock.into_iter().map(|((store, product), left)| vec![store, product, left.to_string()]);
    assert_rows(&truth.answers["bf_stock"], stock.collect());
}
