//! The demo: right answers, twice.

use std::fs;

use crate::answers::assert_same;
use crate::support::Lake;

#[test]
fn the_demo_equals_the_simulators_truth_and_does_so_again() {
    let lake = Lake::new();
    let dir = lake.folder().join("demo");
    let dir = dir.to_str().expect("a path in UTF-8");
    for _ in 0..2 {
        // The demo compares its answers with the truth itself, and fails where they differ.
        let ran = lake.run_plain(["demo", "--dir", dir, "--rows", "60000"]).fine();
        assert!(ran.stdout.contains("pos_daily"), "{}", ran.stdout);
        for query in ["pos_totals", "pos_product_month", "invoice_daily", "invoice_kpi_minute_country"] {
            let expected = fs::read_to_string(format!("{dir}/truth/{query}.csv")).expect("the truth");
            let answer = lake.run_plain(["query", query, "--format", "csv", "--lake", &format!("{dir}/lake")]).fine();
            assert_same(query, &expected, &answer.stdout, 1e-9);
        }
    }
}
