//! The answers of the store chain (system 1), over its sales and its stock.

use std::collections::BTreeMap;

use crate::answer::AnswerTable;
use crate::catalog::{Chain, product_id, store_id};
use crate::clock::stamp;
use crate::event::Counts;
use crate::stream::Stream;
use crate::streams::inventory_updates::StockTally;
use crate::streams::sales_transactions::{SalesTally, Sold};

/// `bf_store_hour`, `bf_category`, `bf_supplier`, `bf_stock`, `bf_counts`.
pub(crate) fn answers(
    chain: &Chain,
    sales: &SalesTally,
    stock: &StockTally,
    counts: &BTreeMap<String, Counts>,
) -> Vec<AnswerTable> {
    vec![
        by_store_hour(sales),
        by_category(chain, sales),
        by_supplier(chain, sales),
        stock_left(chain, stock),
        both_counts(counts),
    ]
}

fn by_store_hour(sales: &SalesTally) -> AnswerTable {
    let mut table = AnswerTable::new("bf_store_hour", &["store_id", "hour", "units", "revenue"]);
    for ((store, hour), group) in &sales.by_store_hour {
        table.row(|row| {
            row.text(&store_id(*store));
            row.text(&stamp(*hour));
            row.int(group.units);
            row.decimal(group.cents, 2);
        });
    }
    table
}

fn by_category(chain: &Chain, sales: &SalesTally) -> AnswerTable {
    let mut groups: BTreeMap<Option<&str>, Sold> = BTreeMap::new();
    for (product, group) in &sales.by_product {
        groups.entry(chain.category(*product)).or_default().add(*group);
    }
    let mut table = AnswerTable::new("bf_category", &["category", "units", "revenue"]);
    for (category, group) in groups {
        table.row(|row| {
            row.text(category.unwrap_or_default());
            row.int(group.units);
            row.decimal(group.cents, 2);
        });
    }
    table
}

fn by_supplier(chain: &Chain, sales: &SalesTally) -> AnswerTable {
    let mut groups: BTreeMap<Option<u32>, i128> = BTreeMap::new();
    for (product, group) in &sales.by_product {
        *groups.entry(chain.supplier(*product)).or_default() += group.cents;
    }
    let mut table = AnswerTable::new("bf_supplier", &["supplier_id", "revenue"]);
    for (supplier, cents) in groups {
        table.row(|row| {
            row.text(&supplier.map_or_else(String::new, |number| format!("S{number}")));
            row.decimal(cents, 2);
        });
    }
    table
}

/// Every pair that has an opening row or an update.
fn stock_left(chain: &Chain, stock: &StockTally) -> AnswerTable {
    let mut table = AnswerTable::new("bf_stock", &["store_id", "product_id", "stock"]);
    for store in 1..=chain.stores() {
        for product in 0..chain.products() {
            let left = match (chain.opening(store, product), stock.0.get(&(store, product))) {
                (None, None) => continue,
                (opening, change) => opening.unwrap_or(0) + change.copied().unwrap_or(0),
            };
            table.row(|row| {
                row.text(&store_id(store));
                row.text(&product_id(product));
                row.int(left);
            });
        }
    }
    table
}

fn both_counts(counts: &BTreeMap<String, Counts>) -> AnswerTable {
    let of = |stream: Stream| counts.get(stream.name()).copied().unwrap_or_default();
    let (sales, updates) = (of(Stream::SalesTransactions), of(Stream::InventoryUpdates));
    let mut table = AnswerTable::new("bf_counts", &["sales", "quarantined_sales", "quarantined_updates"]);
    table.row(|row| {
        row.int(sales.facts);
        row.int(sales.quarantined);
        row.int(updates.quarantined);
    });
    table
}
