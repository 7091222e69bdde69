//! The web shop: the greatest version of an order wins, wherever and whenever it arrived; customers and products have
//! history.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};
use sim::{Simulation, Stream};

use crate::support::{assert_rows, cents, decimal, instant, int, object, readable, stamp, text};

const DAY: i64 = 86_400_000_000;

/// The version that counts of each order, and its timestamp.
fn winners(simulation: &Simulation) -> HashMap<String, (i64, Map<String, Value>)> {
    let mut winners: HashMap<String, (i64, Map<String, Value>)> = HashMap::new();
    let (mut lost, mut moved) = (0, 0);
    for event in simulation.events(Stream::SalesEvents) {
        let order = object(&event).unwrap();
        let at = instant(&text(&order, "order_timestamp"));
        let of = |order: &Map<String, Value>| order.get("event_time").and_then(Value::as_str).map(instant);
        let version = |at: i64, order: &Map<String, Value>| of(order).unwrap_or(at);
        match winners.get(&text(&order, "order_id")) {
            Some((stands, standing)) if version(*stands, standing) > version(at, &order) => {
                lost += 1;
                continue;
            }
            Some((stands, _)) => moved += usize::from(stands / DAY != at / DAY),
            None => {}
        }
        winners.insert(text(&order, "order_id"), (at, order));
    }
    assert!(lost > 30 && moved > 30, "{lost} came after a later version, {moved} moved to another day");
    winners
}

/// One version: attributes, valid from, valid to.
type Version = (Vec<String>, Option<i64>, Option<i64>);

fn history(
    winners: &HashMap<String, (i64, Map<String, Value>)>,
    key: &str,
    attributes: &[&str],
) -> BTreeMap<String, Vec<Version>> {
    let mut seen: BTreeMap<(String, i64), Seen<'_>> = BTreeMap::new();
    for (id, (at, order)) in winners {
        let values = attributes.iter().map(|name| text(order, name)).collect();
        let place = seen.entry((text(order, key), *at)).or_insert((b"", Vec::new()));
        if place.0 < id.as_bytes() {
            *place = (id.as_bytes(), values);
        }
    }
    let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for ((key, at), (_, values)) in seen {
        let of_key = versions.entry(key).or_default();
        if of_key.last().is_some_and(|last| last.0 == values) {
            continue;
        }
        let from = of_key.last_mut().map(|last| *last.2.insert(at));
        of_key.push((values, from, None));
    }
    versions
}

fn history_rows(versions: &BTreeMap<String, Vec<Version>>) -> Vec<Vec<String>> {
    let end = |at: &Option<i64>| at.map_or_else(String::new, stamp);
    let row = |key: &String, version: &Version| {
        [vec![key.clone()], version.0.clone(), vec![end(&version.1), end(&version.2)]].concat()
    };
    versions.iter().flat_map(|(key, of_key)| of_key.iter().map(move |version| row(key, version))).collect()
}

/// The number of the order that counts at an instant, and its attributes.
type Seen<'a> = (&'a [u8], Vec<String>);

#[test]
fn the_winning_orders_are_summed_by_day_category_and_country() {
    let simulation = readable(31, &["sales_events"]);
    let winners = winners(&simulation);
    let mut days: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    let mut categories: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    let mut countries: BTreeMap<String, (i64, BTreeSet<String>)> = BTreeMap::new();
    for (at, order) in winners.values() {
        let add = [cents(order, "price") * int(order, "quantity"), 1, int(order, "quantity")];
        let day = stamp(*at)[..10].to_owned();
        for sums in [days.entry(day).or_default(), categories.entry(text(order, "category")).or_default()] {
            sums.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
        }
        let country = countries.entry(text(order, "country")).or_default();
        country.0 += add[0];
        country.1.insert(text(order, "customer_id"));
    }
    assert!(categories.contains_key("") && categories.len() <= 10 && countries.contains_key(""));
    let truth = simulation.truth().answers;
    let daily = days
        .into_iter()
        .map(|(day, [revenue, orders, items])| vec![day, decimal(revenue), orders.to_string(), items.to_string()]);
    assert_rows(&truth["ec_daily"], daily.collect());
    let by_category =
        categories.into_iter().map(|(name, [revenue, orders, _])| vec![name, decimal(revenue), orders.to_string()]);
    assert_rows(&truth["ec_category"], by_category.collect());
    let by_country = countries
        .into_iter()
        .map(|(name, (revenue, customers))| vec![name, decimal(revenue), customers.len().to_string()]);
    assert_rows(&truth["ec_country"], by_country.collect());
}

#[test]
fn dimensions_keep_history_and_each_sale_joins_what_was_valid() {
    let simulation = readable(32, &["sales_events"]);
    let winners = winners(&simulation);
    let customers = history(&winners, "customer_id", &["country"]);
    let products = history(&winners, "product_id", &["product_name", "category"]);
    let truth = simulation.truth().answers;
    assert!(
        customers.values().any(|versions| versions.len() > 3) && products.values().any(|versions| versions.len() > 3)
    );
    assert_rows(&truth["dim_customer_history"], history_rows(&customers));
    assert_rows(&truth["dim_product_history"], history_rows(&products));
    let valid = |versions: &[Version], at: i64| {
        let holds = |version: &&Version| version.1.is_none_or(|from| from <= at) && version.2.is_none_or(|to| at < to);
        versions.iter().find(holds).unwrap().0.clone()
    };
    let joined = winners.iter().map(|(id, (at, order))| {
        let (product, customer) = (text(order, "product_id"), text(order, "customer_id"));
        [vec![id.clone(), product.clone()], valid(&products[&product], *at), valid(&customers[&customer], *at)].concat()
    });
    assert_rows(&truth["ec_sales_as_of"], joined.collect());
}
