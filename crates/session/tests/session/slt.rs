//! Runs `tests/slt/*.slt`: SQL with its expected answer or error, over an empty lake.
//!
//! A file is a list of cases, separated by empty lines. `query` then SQL, `----` and the rows with columns separated by
//! `|` (null is NULL); `error TEXT` then SQL that must fail with a message that holds TEXT. `#` starts a comment line.

use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use session::{LakeSession, SessionOptions};

use crate::lake::{empty_lake, factory, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slt_files() {
    let session = factory(&empty_lake().await, SessionOptions::default()).session().await.expect("a session");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        for case in text.split("\n\n").map(without_comments).filter(|case| !case.is_empty()) {
            run(&session, &path, &case).await;
            cases += 1;
        }
    }
    assert!(cases > 30, "only {cases} cases were found");
}

fn without_comments(case: &str) -> String {
    case.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").trim().to_owned()
}

async fn run(session: &LakeSession, path: &Path, case: &str) {
    let (kind, rest) = case.split_once('\n').expect("a case is more than one line");
    if let Some(expected) = kind.strip_prefix("error ") {
        let message = refused(session, rest).await;
        assert!(message.contains(expected), "{}:\n{case}\nfailed with: {message}", path.display());
        return;
    }
    assert_eq!(kind, "query", "{}: unknown kind of case", path.display());
    let (sql, expected) = rest.split_once("\n----").expect("an expected answer");
    assert_eq!(rows(session, sql).await, expected.trim(), "{}:\n{sql}", path.display());
}

async fn rows(session: &LakeSession, sql: &str) -> String {
    let answer = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = answer.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("printable"))
            .collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines.join("\n")
}
