//! The tables that Smelt keeps about quality, below `_smelt/quality/` in the lake and in the schema `quality` in SQL.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::TableName;
use crate::field::UTC;

/// The results of checks and gates: `quality.results` in SQL.
pub fn results_table() -> TableName {
    TableName::system("quality/results")
}

/// What commits to Bronze said of themselves and the log no longer has: read as `quality.commits` and
/// `quality.reconciliation` in SQL.
pub fn loads_table() -> TableName {
    TableName::system("quality/loads")
}

/// One row is what one check or gate found in one run. All columns are nullable in the table; those without "null" in
/// their comment never are.
pub fn results_schema() -> SchemaRef {
    let column = |name: &str, kind: DataType, comment: &str| documented(name, kind, comment);
    Arc::new(Schema::new(vec![
        column("run_id", DataType::Utf8, "the run, one for all results that were found together"),
        column("run_at", instant(), "when the run's results were written"),
        column("run_by", DataType::Utf8, "refine, for rows about to be published, or check, for tables as they stood"),
        column("table_name", DataType::Utf8, "the table, with its layer"),
        column("feed", DataType::Utf8, "the feed that a gate is about; null for checks of a table"),
        column("version", DataType::Int64, "the table's version that holds the rows; null where they were held back"),
        column("check_name", DataType::Utf8, "the check as the model's header has it"),
        column("severity", DataType::Utf8, "fail, which holds rows back, or warn"),
        column("success", DataType::Boolean, "whether the check was met"),
        column("allowed", DataType::Boolean, "whether somebody let the rows through by name although it was not"),
        column("observed_value", DataType::Utf8, "what was measured; null where only rows are counted"),
        column("element_count", DataType::Int64, "rows that were looked at; null where that is not known"),
        column("unexpected_count", DataType::Int64, "rows, or keys of unique, that break the check"),
        column("unexpected_percent", DataType::Float64, "of element_count; null where that is null or 0"),
        column("partial_unexpected_list", DataType::Utf8, "some of the rows that break it, as a JSON array of objects"),
    ]))
}

/// One row is what a commit to Bronze said: as a whole (`input` is null), and for each of its inputs.
pub fn loads_schema() -> SchemaRef {
    let column = |name: &str, kind: DataType, comment: &str| documented(name, kind, comment);
    Arc::new(Schema::new(vec![
        column("stream", DataType::Utf8, "the stream"),
        column("version", DataType::Int64, "the version of the stream's table"),
        column("committed_at", instant(), "when it was committed"),
        column("input", DataType::Utf8, "the input; null in the row of the commit as a whole"),
        column("delivered", DataType::Int64, "records that came"),
        column("stored", DataType::Int64, "records that the commit says were stored as good rows"),
        column("quarantined", DataType::Int64, "records that the commit says were stored as bad rows"),
        column("skipped", DataType::Int64, "places of the log that held no record"),
        column("mended", DataType::Int64, "rows that mend quarantined ones: a replay delivers nothing"),
        column("rows_stored", DataType::Int64, "good rows of the files that the commit added; null for an input"),
        column("rows_quarantined", DataType::Int64, "bad rows of the files that it added; null for an input"),
    ]))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

fn documented(name: &str, kind: DataType, comment: &str) -> Field {
    Field::new(name, kind, true).with_metadata([("comment".to_owned(), comment.to_owned())].into())
}
