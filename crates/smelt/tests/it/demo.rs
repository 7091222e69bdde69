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
        // An answer of each system, to be read; and all that the simulator knows, compared.
        for query in ["pos_daily", "invoice_kpi_minute_country", "bf_top_products", "ec_daily", "weekly_worst_stores"] {
            assert!(ran.stdout.contains(&format!("[smelt query {query}]")), "{query}: {}", ran.stdout);
        }
        let ran = ran.says(&[" answers equal", " quarantined", " events/s", "next:\n"]);
        let compared = ran.stderr.split_once(" answers equal").and_then(|(before, _)| before.rsplit(' ').next());
        assert!(compared.is_some_and(|count| count.parse::<usize>().is_ok_and(|count| count >= 20)), "{compared:?}");
        for query in ["pos_totals", "pos_product_month", "invoice_daily", "invoice_kpi_minute_country"] {
            let expected = fs::read_to_string(format!("{dir}/truth/{query}.csv")).expect("the truth");
            let answer = lake.run_plain(["query", query, "--format", "csv", "--lake", &format!("{dir}/lake")]).fine();
            assert_same(query, &expected, &answer.stdout, 1e-9);
        }
    }
}
