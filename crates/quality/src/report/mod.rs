//! Results for other tools: JSON in the shape that Great Expectations gave its name, and JUnit's XML for CI servers.

mod json;
mod junit;

pub use json::json;
pub use junit::junit;

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use schema::{Check, Severity, TableName};

    use super::*;
    use crate::results::Run;
    use crate::{CheckResult, SampleRow};

    fn results() -> (Run, Vec<CheckResult>) {
        let table = TableName::silver("sales");
        let range = Check::Range { column: "price".into(), min: Some("0".into()), max: None };
        let bad = CheckResult {
            success: false,
            element_count: Some(8),
            unexpected_count: 2,
            version: Some(3),
            sample: vec![SampleRow(vec![
                ("name".into(), Some("<a> & \"b\" \u{1} ]]>".into())),
                ("price".into(), None),
            ])],
            ..CheckResult::met(&table, Severity::Fail, &range)
        };
        let late = CheckResult {
            success: false,
            observed_value: Some("no rows".into()),
            ..CheckResult::met(&table, Severity::Warn, &Check::NotNull("a<b".into()))
        };
        let good = CheckResult::met(&TableName::gold("daily"), Severity::Fail, &Check::NotNull("day".into()));
        let run = Run { id: "r-1".into(), at: DateTime::UNIX_EPOCH, by: "check" };
        (run, vec![good, bad, late])
    }

    #[test]
    fn json_has_the_known_shape() {
        let (run, results) = results();
        let found = json(&run, &results);
        assert_eq!(found["success"], false);
        assert_eq!(found["statistics"]["evaluated_expectations"], 3);
        assert_eq!(found["statistics"]["unsuccessful_expectations"], 2);
        let bad = &found["results"][1];
        assert_eq!((&bad["success"], &bad["severity"]), (&false.into(), &"fail".into()));
        assert_eq!(bad["expectation_config"]["type"], "range(price, 0, )");
        assert_eq!(bad["expectation_config"]["kwargs"]["table"], "silver.sales");
        let counts = [&bad["result"]["element_count"], &bad["result"]["unexpected_count"]];
        assert_eq!(counts, [&serde_json::json!(8), &serde_json::json!(2)]);
        assert_eq!(bad["result"]["unexpected_percent"], 25.0);
        assert_eq!(found["results"][2]["result"]["observed_value"], "no rows");
        assert_eq!(found["results"][0]["success"], true);
        assert_eq!(bad["result"]["partial_unexpected_list"][0]["price"], serde_json::Value::Null);
    }

    #[test]
    fn junit_is_xml_whatever_is_in_the_data() {
        let (run, results) = results();
        let xml = junit(&run, &results);
        assert!(xml.starts_with(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"smelt check\" tests=\"3\" failures=\"1\""
        ));
        assert!(xml.contains("name=&lt;a&gt; &amp; &quot;b&quot; \u{fffd} ]]&gt;, price=null"), "{xml}");
        assert!(xml.contains("name=\"not_null(a&lt;b)\""), "{xml}");
        assert!(xml.contains("<system-out>warning: silver.sales: not_null(a&lt;b)"), "a warning is no failure: {xml}");
        assert!(!xml.contains('\u{1}'), "{xml}");
        assert_eq!(xml.matches("<testcase").count(), xml.matches("</testcase>").count() + xml.matches("\"/>").count());
    }
}
