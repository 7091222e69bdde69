//! Right answers: real data of others, and small data of our own whose answers do not come through Smelt.

use std::fs;
use std::path::{Path, PathBuf};

use crate::answers::assert_same;
use crate::pieces::shuffled;
use crate::support::{Lake, files_in, shared, workspace};

const POS: [&str; 4] = ["pos_totals", "pos_monthly", "pos_product", "pos_product_month"];
const INVOICES: [&str; 3] = ["invoice_daily", "invoice_kpi_minute", "invoice_kpi_minute_country"];

/// Every query's answer on `lake` is the file of its name in `folder`.
#[track_caller]
fn check(lake: &Lake, queries: &[&str], folder: &Path) {
    for query in queries {
        let expected = fs::read_to_string(folder.join(format!("{query}.csv"))).expect("the answer file");
        assert_same(query, &expected, &lake.answer(query), 1e-9);
    }
}

/// Delivered = stored + quarantined, and every quarantined row has its reason and its bytes.
#[track_caller]
fn check_reconciled(lake: &Lake, stream: &str, delivered: u64) {
    let stored: u64 = lake.sql(&format!("SELECT count(*) FROM bronze.{stream}")).parse().expect("a count");
    let quarantined: u64 = lake.sql(&format!("SELECT count(*) FROM quarantine.{stream}")).parse().expect("a count");
    assert_eq!(stored + quarantined, delivered, "{stream}: {stored} stored + {quarantined} quarantined");
    let silent = lake.sql(&format!("SELECT count(*) FROM quarantine.{stream} WHERE _error IS NULL OR _raw IS NULL"));
    assert_eq!(silent, "0", "{stream}: quarantined rows without reason or bytes");
}

fn lines_of(files: &[PathBuf]) -> u64 {
    use std::io::{BufRead, BufReader};
    let lines = |path: &PathBuf| {
        BufReader::new(flate2::read::GzDecoder::new(fs::File::open(path).expect("a file"))).lines().count()
    };
    files.iter().map(|path| lines(path) as u64).sum()
}

#[test]
fn point_of_sale_answers_are_right_to_the_cent() {
    let (Some(pos), Some(stock), Some(answers)) =
        (shared("real/pos"), shared("real/pos_stock.csv"), shared("real/answers"))
    else {
        return;
    };
    let lake = Lake::new();
    lake.ingest("pos_sales", &pos);
    lake.ingest("pos_stock", &stock);
    lake.refine();
    check(&lake, &POS, &answers);
    let files = files_in(&pos);
    // The header of each file is no message.
    check_reconciled(&lake, "pos_sales", lines_of(&files) - files.len() as u64);

    let before = lake.commits();
    lake.ingest("pos_sales", &pos);
    lake.refine();
    assert_eq!(lake.commits(), before, "a second run commits nothing");

    lake.run(["refine", "--full-refresh"]).fine();
    check(&lake, &POS, &answers);
}

#[test]
fn point_of_sale_files_in_any_order_give_the_same_answers() {
    let (Some(pos), Some(stock), Some(answers)) =
        (shared("real/pos"), shared("real/pos_stock.csv"), shared("real/answers"))
    else {
        return;
    };
    let lake = Lake::new();
    for file in shuffled(&files_in(&pos), 5) {
        lake.ingest("pos_sales", &file);
        lake.refine();
    }
    lake.ingest("pos_stock", &stock);
    lake.refine();
    check(&lake, &POS, &answers);
}

#[test]
fn invoice_answers_are_right() {
    let (Some(invoices), Some(answers)) = (shared("real/invoices"), shared("real/answers")) else { return };
    let lake = Lake::new();
    lake.ingest("invoices", &invoices);
    lake.refine();
    check(&lake, &INVOICES, &answers);
    check_reconciled(&lake, "invoices", lines_of(&files_in(&invoices)));

    let other = Lake::new();
    for file in shuffled(&files_in(&invoices), 3) {
        other.ingest("invoices", &file);
        other.refine();
    }
    check(&other, &INVOICES, &answers);
}

#[test]
fn orders_with_bare_quotes_keep_every_row_and_their_names() {
    let Some(sample) = shared("real/ecommerce/sample.csv") else { return };
    let text = fs::read_to_string(&sample).expect("the sample");
    let cents = |price: &str| price.replace('.', "").parse::<u64>().expect("a price with two decimals");
    // No field of the sample holds a comma.
    let orders: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let revenue: u64 = orders.iter().map(|of| cents(of[5]) * of[6].parse::<u64>().expect("a number")).sum();
    let lake = Lake::new();
    lake.ingest("sales_events", &sample).says(&["120 delivered = 120 stored + 0 quarantined"]);
    lake.refine();
    let totals = "SELECT count(*), sum(net_amount) FROM silver.sales_lines WHERE source = 'sales_events'";
    assert_eq!(lake.sql(totals), format!("120,{}.{:02}0", revenue / 100, revenue % 100));
    let names =
        lake.run(["sql", "SELECT product_name FROM silver.sales_lines ORDER BY event_id", "--format", "ndjson"]);
    let expected = orders.iter().map(|order| format!("{{\"product_name\":\"{}\"}}\n", order[3].replace('"', "\\\"")));
    assert_eq!(names.fine().stdout, expected.collect::<String>());
}

#[test]
fn the_projects_own_data_gives_the_simulators_truth() {
    let data = workspace().join("data");
    let lake = Lake::new();
    for (stream, path) in [("pos_sales", "pos_sales"), ("pos_stock", "pos_stock.csv"), ("invoices", "invoices")] {
        lake.ingest(stream, &data.join(path));
    }
    lake.refine();
    check(&lake, &POS, &data.join("truth"));
    check(&lake, &INVOICES, &data.join("truth"));
}
