//! Results as JSON: `success`, `statistics` and `results` as a validation result of Great Expectations has them.

use serde_json::{Value, json as value};

use crate::results::Run;
use crate::{CheckResult, any_fails};

/// One object for a run. `success` is whether no check of severity fail failed; a result's `result` holds what was
/// observed, how many rows were looked at, how many break the check, and some of them.
pub fn json(run: &Run, results: &[CheckResult]) -> Value {
    let met = results.iter().filter(|result| result.success).count();
    let percent = (!results.is_empty()).then(|| 100.0 * met as f64 / results.len() as f64);
    value!({
        "success": !any_fails(results),
        "meta": { "run_id": run.id, "run_at": run.at.to_rfc3339(), "run_by": run.by },
        "statistics": {
            "evaluated_expectations": results.len(),
            "successful_expectations": met,
            "unsuccessful_expectations": results.len() - met,
            "success_percent": percent,
        },
        "results": results.iter().map(one).collect::<Vec<_>>(),
    })
}

fn one(result: &CheckResult) -> Value {
    value!({
        "success": result.success,
        "severity": result.severity.as_str(),
        "allowed": result.allowed,
        "expectation_config": {
            "type": result.check,
            "kwargs": { "table": result.table.to_string(), "feed": result.feed, "version": result.version },
        },
        "result": {
            "observed_value": result.observed_value,
            "element_count": result.element_count,
            "unexpected_count": result.unexpected_count,
            "unexpected_percent": result.unexpected_percent(),
            "partial_unexpected_list": result.sample,
        },
    })
}
