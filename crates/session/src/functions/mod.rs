//! The functions that every session of Smelt knows besides DataFusion's own.
//!
//! - [`ratio`](mod@ratio): the one way to divide (ENGINE.md 23);
//! - [`natural_key`](mod@natural_key): text whose byte order is the natural order of names;
//! - [`lineage`](mod@lineage): a row's place in the order of all rows (ENGINE.md 10);
//! - [`raw_text`](mod@raw_text): bytes as text that loses nothing;
//! - [`checked_sum`]: `sum` that fails where DataFusion's wraps around;
//! - [`first_last`]: `first_value` and `last_value` of many groups.

pub mod checked_sum;
pub mod first_last;
pub mod lineage;
pub mod natural_key;
pub mod ratio;
pub mod raw_text;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

/// The scalar functions to register, in addition to DataFusion's.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![ratio::udf(), natural_key::udf(), lineage::udf(), raw_text::udf()]
}

/// The aggregate functions to register; those named like one of DataFusion's replace it.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![checked_sum::udaf(), first_last::first(), first_last::last()]
}
