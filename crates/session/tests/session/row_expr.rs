//! Row rules: three-valued, checked, and never more than one row's affair.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int32Array, RecordBatch, StringArray};
use session::RowExpr;

fn rows() -> RecordBatch {
    let price = Decimal128Array::from(vec![Some(10), Some(-1), None, Some(0)]);
    RecordBatch::try_from_iter_with_nullable([
        ("quantity", Arc::new(Int32Array::from(vec![Some(1), Some(0), None, Some(i32::MAX)])) as ArrayRef, true),
        ("price", Arc::new(price.with_precision_and_scale(18, 2).expect("fits")) as ArrayRef, true),
        ("kind", Arc::new(StringArray::from(vec![Some("ORDER"), Some("x"), None, Some("RETURN")])) as ArrayRef, true),
    ])
    .expect("columns of one length")
}

fn check(sql: &str, expected: [Option<bool>; 4]) {
    let rows = rows();
    let rule = RowExpr::compile(sql, rows.schema_ref()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rule.evaluate(&rows).expect("evaluated"), BooleanArray::from(expected.to_vec()), "{sql}");
    let failures: Vec<bool> = expected.iter().map(|value| *value == Some(false)).collect();
    assert_eq!(rule.failures(&rows).expect("evaluated"), BooleanArray::from(failures), "{sql}");
}

#[test]
fn null_passes_and_false_fails() {
    check("quantity > 0", [Some(true), Some(false), None, Some(true)]);
    check("price >= 0", [Some(true), Some(false), None, Some(true)]);
    check("price >= 0.10", [Some(true), Some(false), None, Some(false)]);
    check("kind IN ('ORDER', 'RETURN')", [Some(true), Some(false), None, Some(true)]);
    check("quantity IS NOT NULL", [Some(true), Some(true), Some(false), Some(true)]);
    check("coalesce(quantity, 5) > 0", [Some(true), Some(false), Some(true), Some(true)]);
    check("nullif(quantity, 0) > 0", [Some(true), None, None, Some(true)]);
    check("NULL", [None; 4]);
    check("true", [Some(true); 4]);
}

#[test]
fn a_row_that_cannot_be_computed_fails_alone() {
    check("1 / quantity >= 0", [Some(true), Some(false), None, Some(true)]);
    check("quantity + quantity > 0", [Some(true), Some(false), None, Some(false)]);
    check("CAST(substr(kind, 1, 1) AS INT) = 1", [Some(false), Some(false), None, Some(false)]);
}

#[test]
fn rules_that_are_not_of_one_row_are_refused() {
    let refuse = |sql: &str, reason: &str| {
        let message = RowExpr::compile(sql, rows().schema_ref()).expect_err(sql).to_string();
        assert!(message.starts_with(sql) && message.contains(reason), "{message}");
    };
    refuse("quantty > 0", "unknown column quantty; did you mean quantity?");
    refuse("quantity", "a rule must be true or false, this is Int32");
    refuse("sum(quantity) > 0", "a rule sees one");
    refuse("sum(quantity) OVER () > 0", "a rule sees one");
    refuse("now() > TIMESTAMP '2024-01-01'", "depends on the clock");
    refuse("random() > 0", "depends on the clock or on chance");
    refuse("quantity >", "xpected");
    refuse("nonsense(quantity)", "nonsense");
    refuse("quantity IN (SELECT 1)", "");
    refuse("quantity > $n", "has a parameter");
}

#[test]
fn an_empty_batch_is_evaluated() {
    let rows = rows().slice(0, 0);
    let rule = RowExpr::compile("1 / quantity > 0", rows.schema_ref()).expect("compiled");
    assert_eq!(rule.failures(&rows).expect("evaluated").len(), 0);
    assert_eq!(rule.columns(), [0]);
}
