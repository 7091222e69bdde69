//! Results as JUnit's XML: a suite for each table, a case for each check.

use std::collections::BTreeMap;
use std::fmt::Write;

use schema::{Severity, TableName};

use crate::CheckResult;
use crate::results::Run;

/// One document for a run. Checks of severity fail that are not met are failures; a warning is its case's output.
pub fn junit(run: &Run, results: &[CheckResult]) -> String {
    let mut tables: BTreeMap<&TableName, Vec<&CheckResult>> = BTreeMap::new();
    results.iter().for_each(|result| tables.entry(&result.table).or_default().push(result));
    let all: Vec<&CheckResult> = results.iter().collect();
    let mut xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"smelt check\" {}>\n", counts(&all));
    for (table, results) in tables {
        let (name, counts, at) = (escaped(&table.to_string()), counts(&results), run.at.format("%Y-%m-%dT%H:%M:%S"));
        // Writing to a text cannot fail.
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" {counts} timestamp=\"{at}\">");
        results.iter().for_each(|result| case(&mut xml, result));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn is_failure(result: &CheckResult) -> bool {
    !result.success && result.severity == Severity::Fail
}

fn counts(results: &[&CheckResult]) -> String {
    let failures = results.iter().filter(|result| is_failure(result)).count();
    format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", results.len())
}

fn case(xml: &mut String, result: &CheckResult) {
    let name = match &result.feed {
        Some(feed) => format!("feed {feed}: {}", result.check),
        None => result.check.clone(),
    };
    let (name, class) = (escaped(&name), escaped(&result.table.to_string()));
    let _ = write!(xml, "    <testcase classname=\"{class}\" name=\"{name}\"");
    if result.success {
        xml.push_str("/>\n");
        return;
    }
    let message = escaped(&CheckResult { sample: Vec::new(), ..result.clone() }.to_string());
    let rows: Vec<String> = result.sample.iter().map(|row| escaped(&row.to_string())).collect();
    let inner = match is_failure(result) {
        true => format!("<failure type=\"fail\" message=\"{message}\">{}</failure>", rows.join("\n")),
        false => format!("<system-out>warning: {message}</system-out>"),
    };
    let _ = writeln!(xml, ">\n      {inner}\n    </testcase>");
}

/// Text as XML 1.0 takes it, in attributes and between tags: marks are escaped, and characters that no document may hold
/// become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\r' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
