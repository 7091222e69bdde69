//! The generator from outside: the same seed gives the same bytes, good messages are good, bad ones are bad, and the
//! truth is what a plain reading of the good messages gives.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sim::{
    BadKind, Exports, FolderOptions, Rows, Shares, SimConfig, SimEvent, Simulation, Stream, Truth, write_folder,
};

const WITH_TRUTH: FolderOptions = FolderOptions { gzip: false, truth: true };

/// A small simulation with far more dirt than usual.
fn dirty(seed: u64) -> SimConfig {
    SimConfig {
        seed,
        rows: Rows { pos_sales: 3_000, invoices: 3_000, sales_transactions: 3_000 },
        shares: Shares { bad: 0.05, duplicate: 0.1, late: 0.1, corrected: 0.2, unknown: 0.1 },
        exports: Some(Exports { first_month: "2024-01-01".parse().unwrap(), months: 2, rows: 2_000 }),
        ..SimConfig::default()
    }
}

fn simulation(config: SimConfig) -> Simulation {
    Simulation::new(config).unwrap()
}

/// The object of a good message. Names that are there twice would be lost here: the test of bad kinds looks for them.
fn object(event: &SimEvent) -> Option<serde_json::Map<String, Value>> {
    match serde_json::from_slice(&event.payload) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn cell(truth: &Truth, table: &str, row: usize, column: &str) -> String {
    let table = &truth.answers[table];
    let at = table.columns.iter().position(|name| name == column).unwrap();
    table.rows[row][at].clone()
}

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
    let shares = Shares { bad: 0.0, ..dirty(6).shares };
    let simulation = simulation(SimConfig { shares, exports: None, ..dirty(6) });
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
    assert_eq!(cell(&truth, "pos_totals", 0, "sale_lines"), lines.len().to_string());
    assert_eq!(cell(&truth, "pos_totals", 0, "units"), units.to_string());
    assert_eq!(cell(&truth, "pos_totals", 0, "sales"), format!("{}.{:02}", cents / 100, cents % 100));
    assert_eq!(truth.counts[&Stream::PosSales].facts as usize, lines.len());
}

#[test]
fn the_last_good_message_of_an_invoice_is_the_truth() {
    let shares = Shares { bad: 0.0, ..dirty(7).shares };
    let simulation = simulation(SimConfig { shares, exports: None, ..dirty(7) });
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
    let days = 0..truth.answers["invoice_daily"].rows.len();
    let invoices: usize =
        days.clone().map(|row| cell(&truth, "invoice_daily", row, "invoices").parse::<usize>().unwrap()).sum();
    let sales: f64 = days.map(|row| cell(&truth, "invoice_daily", row, "net_sales").parse::<f64>().unwrap()).sum();
    let expected: f64 = last.values().map(|(is_return, cost)| if *is_return { -cost } else { *cost }).sum();
    assert_eq!(truth.counts[&Stream::Invoices].facts as usize, last.len());
    assert_eq!(invoices, last.len());
    assert!((sales - expected).abs() < 0.01, "{sales} {expected}");
}

#[test]
fn the_folder_is_the_events_and_its_truth() {
    let folder = tempfile::tempdir().unwrap();
    let simulation = simulation(dirty(8));
    let truth = write_folder(&simulation, folder.path(), WITH_TRUTH).unwrap();
    assert_eq!(truth.counts_table(), simulation.truth().counts_table());
    assert_eq!(truth.answers, simulation.truth().answers);
    for stream in [Stream::Invoices, Stream::SalesTransactions] {
        let written = concatenated(&folder.path().join(stream.name()));
        let made: Vec<u8> =
            simulation.events(stream).flat_map(|event| [event.payload, b"\n".to_vec()].concat()).collect();
        assert!(written == made, "{stream}");
    }
    for (name, table) in &truth.answers {
        let text = fs::read_to_string(folder.path().join("truth").join(format!("{name}.csv"))).unwrap();
        assert_eq!(text, table.to_csv());
    }
}

fn concatenated(folder: &Path) -> Vec<u8> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn exports_hold_what_real_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = SimConfig { rows: Rows { pos_sales: 0, invoices: 0, sales_transactions: 0 }, ..dirty(9) };
    let truth = write_folder(&simulation(config), folder.path(), WITH_TRUTH).unwrap();
    let counts = truth.counts[&Stream::PosSales];
    let text = String::from_utf8(concatenated(&folder.path().join("pos_sales"))).unwrap();
    let header = text.lines().next().unwrap();
    let (mut good, mut bad) = (Vec::new(), 0);
    for line in text.lines() {
        let dirt = [",,,,,", header, ""].contains(&line) || line.ends_with(",nowhere") || line.ends_with("too many");
        if dirt { bad += 1 } else { good.push(line) }
    }
    // The first line of each file is its header and no message.
    assert_eq!((good.len() + bad - 2) as u64, counts.events);
    assert_eq!(bad as u64 - 2, counts.quarantined);
    good.sort_unstable();
    good.dedup();
    assert_eq!(good.len() as u64, counts.facts);
    assert_eq!(cell(&truth, "pos_totals", 0, "sale_lines"), counts.facts.to_string());
    assert_eq!(truth.answers["pos_monthly"].rows.len(), 2);
}

#[test]
fn settings_that_cannot_be_followed_are_refused_by_name() {
    let refused = |config: SimConfig, key: &str| {
        let message = Simulation::new(config).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    };
    refused(SimConfig { days: 0, ..SimConfig::default() }, "days");
    refused(SimConfig { partitions: 0, ..SimConfig::default() }, "partitions");
    refused(SimConfig { shares: Shares { late: 1.5, ..Shares::clean() }, ..SimConfig::default() }, "shares.late");
    refused(SimConfig { bad_kinds: Vec::new(), ..SimConfig::default() }, "bad_kinds");
}
