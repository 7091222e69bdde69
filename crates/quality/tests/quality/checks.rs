//! Each check, met and not met.

use quality::{CheckResult, any_fails, any_holds};
use schema::Severity;

use crate::world::{check, run};

const ROWS: &str = "SELECT * FROM (VALUES (1, 'a', 5.0, TIMESTAMP '2024-01-10 06:00:00', DATE '2024-01-09'), \
                    (2, 'b', NULL, NULL, NULL), (2, 'c', 90.0, TIMESTAMP '2024-01-01 00:00:00', NULL)) \
                    AS t(id, kind, price, at, day)";
const OTHERS: &str = "SELECT * FROM (VALUES ('a'), ('b'), (NULL), ('x')) AS o(kind)";

/// `(success, element_count, unexpected_count)` of one check.
fn found(text: &str) -> CheckResult {
    let results = run(check(&format!("checks = [\"{text}\"]"), ROWS, OTHERS));
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].check, text);
    results.into_iter().next().unwrap()
}

#[track_caller]
fn counts(text: &str, element: Option<u64>, unexpected: u64) -> CheckResult {
    let found = found(text);
    assert_eq!((found.element_count, found.unexpected_count), (element, unexpected), "{found}");
    assert_eq!(found.success, unexpected == 0);
    found
}

#[test]
fn checks_of_single_rows() {
    counts("not_null(id)", Some(3), 0);
    let nulls = counts("not_null(price)", Some(3), 1);
    assert_eq!(
        nulls.to_string(),
        "silver.t: not_null(price) is broken by 1 row, for example id=2, kind=b, price=null, at=null, day=null"
    );
    counts("accepted_values(kind, a, b, c)", Some(3), 0);
    counts("accepted_values(kind, a, b)", Some(3), 1);
    counts("range(price, 0, 90)", Some(3), 0);
    let range = counts("range(price, 6, 80)", Some(3), 2);
    assert!((range.unexpected_percent().unwrap() - 66.666).abs() < 0.01);
    counts("range(day, 2024-01-10, )", Some(3), 1);
}

#[test]
fn checks_of_keys() {
    counts("unique(kind)", Some(3), 0);
    let twice = counts("unique(id)", Some(3), 1);
    assert_eq!(twice.sample[0].to_string(), "id=2");
    let lost = counts("references(kind, silver.other.kind)", Some(3), 1);
    assert_eq!(lost.sample[0].to_string(), "kind=c");
}

#[test]
fn checks_of_the_whole_table() {
    assert!(found("freshness(at, 6h)").success);
    let old = found("freshness(at, 5h)");
    assert!(!old.success && old.observed_value.unwrap().contains("2024-01-10T06:00:00Z"));
    assert!(found("freshness(day, 12h)").success, "a day counts from its end");
    assert!(!found("freshness(day, 11h)").success);
    assert!(found("volume(3, 3)").success && found("volume(, 3)").success);
    assert!(!found("volume(4, )").success);
    assert!(found("row_loss(silver.other, 0.25)").success);
    let lost = found("row_loss(silver.other, 0.2)");
    assert!(!lost.success);
    assert_eq!(lost.observed_value.as_deref(), Some("3 rows of 4"));
}

#[test]
fn warnings_hold_nothing_and_results_keep_the_order() {
    let header = "checks = [\"not_null(id)\", \"none\"]\nwarnings = [\"not_null(price)\", \"unique(id)\"]\n\
                  check.none.sql = \"SELECT id FROM silver.t WHERE id > 2;\"";
    let results = run(check(header, ROWS, OTHERS));
    let shown: Vec<_> = results.iter().map(|r| (r.check.as_str(), r.severity, r.success)).collect();
    let (fail, warn) = (Severity::Fail, Severity::Warn);
    assert_eq!(
        shown,
        [
            ("not_null(id)", fail, true),
            ("none", fail, true),
            ("not_null(price)", warn, false),
            ("unique(id)", warn, false)
        ]
    );
    assert!(!any_holds(&results) && !any_fails(&results));
}

#[test]
fn an_empty_table_breaks_only_what_asks_for_rows() {
    let header = "checks = [\"not_null(id)\", \"unique(id)\", \"freshness(at, 1h)\", \"volume(1, )\"]";
    let results = run(check(header, &format!("{ROWS} WHERE id > 9"), OTHERS));
    let met: Vec<bool> = results.iter().map(|result| result.success).collect();
    assert_eq!(met, [true, true, true, false]);
}
