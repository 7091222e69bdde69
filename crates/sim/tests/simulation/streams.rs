//! What all streams have in common, the till and the international shop.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sim::{BadKind, Shares, SimConfig, SimEvent, Stream};

use crate::support::{cell, dirty, object, readable, simulation};

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_does_not() {
    for stream in Stream::ALL {
        let all = |seed| simulation(dirty(seed)).events(stream).collect::<Vec<_>>();
        assert!(all(1) == all(1), "{stream}");
        assert!(all(1) != all(2), "{stream}");
    }
}

#[test]
fn arrival_and_offsets_ascend_and_a_key_keeps_its_partition() {
    for stream in Stream::ALL {
        let mut next: HashMap<i32, i64> = HashMap::new();
        let mut homes: HashMap<Vec<u8>, i32> = HashMap::new();
        let mut last = i64::MIN;
        for event in simulation(dirty(3)).events(stream) {
            let expected = next.entry(event.partition).or_default();
            assert_eq!(event.offset, *expected);
            *expected += 1;
            assert!(event.arrived_at_ms >= last);
            last = event.arrived_at_ms;
            assert_eq!(*homes.entry(event.key).or_insert(event.partition), event.partition);
        }
        assert_eq!(next.len(), 4, "{stream} uses all partitions");
    }
}

#[test]
fn without_dirt_each_row_is_one_good_message_in_order() {
    for stream in Stream::ALL {
        let config = SimConfig { shares: Shares::clean(), exports: None, ..dirty(4) };
        let mut events = simulation(config).events(stream);
        assert_eq!(events.by_ref().filter(|event| object(event).is_some()).count(), 3_000);
        let counts = events.counts();
        assert_eq!((counts.events, counts.facts, counts.quarantined, counts.late), (3_000, 3_000, 0, 0));
    }
}

#[test]
fn each_kind_of_badness_is_bad_wherever_it_is_known() {
    let unlike_json = [BadKind::Truncated, BadKind::TwoObjects, BadKind::NotObject, BadKind::Empty];
    let bytes = [BadKind::InvalidUtf8, BadKind::NulByte, BadKind::MissingComma];
    for stream in Stream::ALL {
        for kind in BadKind::ALL {
            let shares = Shares { bad: 1.0, ..Shares::clean() };
            let config = SimConfig { shares, bad_kinds: vec![kind], exports: None, ..dirty(5) };
            let clean = SimConfig { shares: Shares::clean(), ..config.clone() };
            let mut events = simulation(config).events(stream);
            let written: Vec<SimEvent> = events.by_ref().take(50).collect();
            if events.counts().quarantined == 0 {
                assert!(!unlike_json.contains(&kind) && !bytes.contains(&kind), "{stream} knows {kind:?}");
                continue;
            }
            for event in &written {
                let parsed = object(event);
                if unlike_json.contains(&kind) || bytes.contains(&kind) {
                    assert!(parsed.is_none(), "{stream} {kind:?}");
                } else {
                    assert!(parsed.is_some(), "{stream} {kind:?}: {}", String::from_utf8_lossy(&event.payload));
                }
            }
            let good: Vec<_> = simulation(clean).events(stream).take(50).map(|event| event.payload).collect();
            assert!(written.iter().all(|event| !good.contains(&event.payload)), "{stream} {kind:?} changes nothing");
        }
    }
}

#[test]
fn lines_of_the_till_add_up_to_the_truth() {
    let simulation = readable(6, &["pos_sales"]);
    let mut lines: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for event in simulation.events(Stream::PosSales) {
        let line = object(&event).unwrap();
        let quantity = line["Quantity_Sold"].as_f64().unwrap() as i64;
        let cents = |value: &Value| (value.as_f64().unwrap() * 100.0).round() as i64;
        let sales = line.get("Sales").map_or(cents(&line["Each_Price"]) * quantity, cents);
        let key = format!("{} {} {quantity} {}", line["Sale_ID"], line["Product"], line["Sale_Date"]);
        assert!(lines.insert(key, (quantity, sales)).is_none_or(|before| before == (quantity, sales)));
    }
    let truth = simulation.truth();
    let units: i64 = lines.values().map(|line| line.0).sum();
    let cents: i64 = lines.values().map(|line| line.1).sum();
    assert_eq!(cell(&truth.answers["pos_totals"], 0, "sale_lines"), lines.len().to_string());
    assert_eq!(cell(&truth.answers["pos_totals"], 0, "units"), units.to_string());
    assert_eq!(cell(&truth.answers["pos_totals"], 0, "sales"), format!("{}.{:02}", cents / 100, cents % 100));
    assert_eq!(truth.counts_of(Stream::PosSales).facts as usize, lines.len());
}

#[test]
fn the_last_good_message_of_an_invoice_is_the_truth() {
    let simulation = readable(7, &["invoices"]);
    let mut last: HashMap<String, (bool, f64)> = HashMap::new();
    let mut replaced = 0;
    for event in simulation.events(Stream::Invoices) {
        let invoice = object(&event).unwrap();
        let number = invoice["invoice_no"].to_string().replace('"', "");
        let is_return = invoice["type"] == "RETURN";
        assert_eq!(number.starts_with('C'), is_return);
        let items = invoice["items"].as_array().unwrap();
        let cost: f64 =
            items.iter().map(|item| item["unit_price"].as_f64().unwrap() * item["quantity"].as_f64().unwrap()).sum();
        let key = format!("{number} {}", invoice["timestamp"]);
        replaced += usize::from(last.insert(key, (is_return, cost)).is_some_and(|before| before.1 != cost));
    }
    assert!(replaced > 300, "{replaced} corrections");
    let truth = simulation.truth();
    let days = 0..truth.answers["invoice_daily"].rows();
    let invoices: usize =
        days.clone().map(|row| cell(&truth.answers["invoice_daily"], row, "invoices").parse::<usize>().unwrap()).sum();
    let sales: f64 =
        days.map(|row| cell(&truth.answers["invoice_daily"], row, "net_sales").parse::<f64>().unwrap()).sum();
    let expected: f64 = last.values().map(|(is_return, cost)| if *is_return { -cost } else { *cost }).sum();
    assert_eq!(truth.counts_of(Stream::Invoices).facts as usize, last.len());
    assert_eq!(invoices, last.len());
    assert!((sales - expected).abs() < 0.01, "{sales} {expected}");
}
