//! Each format, byte for byte, and large answers in bounded memory.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use insta::assert_snapshot;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use query::{Format, QueryError};
use schema::Project;

use crate::shared::session;

/// Every kind of cell: text that needs quotes, nulls, decimals, doubles, instants with and without fraction, nested.
const CELLS: &str = "
SELECT * FROM (VALUES
  (1, 'plain',       1234.50,  CAST(0.1 AS DOUBLE), arrow_cast('2010-12-01 08:26:00Z', 'Timestamp(µs, \"UTC\")'),     DATE '2010-12-01', true,  make_array(1, NULL),   named_struct('a', 1.50, 'b', 'x,\"y\"')),
  (2, 'a,\"b\"\nc',  -0.05,    CAST(1e20 AS DOUBLE),              arrow_cast('2010-12-01 08:26:00.25Z', 'Timestamp(µs, \"UTC\")'),  DATE '1969-12-31', false, make_array(),          named_struct('a', NULL, 'b', NULL)),
  (3, '',            NULL,     NULL,                NULL,                                 NULL,              NULL,  NULL,                  NULL),
  (40, 'größe',      0.00,     CAST(-3 AS DOUBLE),  arrow_cast('0001-01-01 00:00:00Z', 'Timestamp(µs, \"UTC\")'),     DATE '9999-12-31', true,  make_array(3),         named_struct('a', 2.00, 'b', ''))
) AS t(id, text, money, ratio, at, day, flag, list, record) ORDER BY id";

async fn written(format: Format, sql: &str) -> Vec<u8> {
    let session = session(Project::default()).await;
    let mut bytes = Vec::new();
    let answer = session.query(sql, &Default::default()).await.unwrap_or_else(|error| panic!("{error}"));
    format.write(answer, &mut bytes).await.unwrap_or_else(|error| panic!("{format:?}: {error}"));
    bytes
}

async fn text(format: Format, sql: &str) -> String {
    String::from_utf8(written(format, sql).await).expect("text")
}

#[tokio::test]
async fn table() {
    assert_snapshot!(text(Format::Table, CELLS).await, @r#"
    id  text        money  ratio  at                       day         flag   list      record
    ──  ────────  ───────  ─────  ───────────────────────  ──────────  ─────  ────────  ────────────────────────
     1  plain     1234.50    0.1  2010-12-01 08:26:00      2010-12-01  true   [1,null]  {"a":1.50,"b":"x,\"y\""}
     2  a,"b"\nc    -0.05   1e20  2010-12-01 08:26:00.250  1969-12-31  false  []        {"a":null,"b":null}
     3
    40  größe        0.00   -3.0  0001-01-01 00:00:00      9999-12-31  true   [3]       {"a":2.00,"b":""}
    "#);
}

#[tokio::test]
async fn csv() {
    assert_snapshot!(text(Format::Csv, CELLS).await, @r#"
    id,text,money,ratio,at,day,flag,list,record
    1,plain,1234.50,0.1,2010-12-01 08:26:00,2010-12-01,true,"[1,null]","{""a"":1.50,""b"":""x,\""y\""""}"
    2,"a,""b""
    c",-0.05,1e20,2010-12-01 08:26:00.250,1969-12-31,false,[],"{""a"":null,""b"":null}"
    3,,,,,,,,
    40,größe,0.00,-3.0,0001-01-01 00:00:00,9999-12-31,true,[3],"{""a"":2.00,""b"":""""}"
    "#);
}

#[tokio::test]
async fn json() {
    assert_snapshot!(text(Format::Json, &format!("SELECT * FROM ({CELLS}) LIMIT 1")).await, @r#"
    [{"id":1,"text":"plain","money":1234.50,"ratio":0.1,"at":"2010-12-01T08:26:00Z","day":"2010-12-01","flag":true,"list":[1,null],"record":{"a":1.50,"b":"x,\"y\""}}]
    "#);
    let value: serde_json::Value = serde_json::from_str(&text(Format::Json, CELLS).await).expect("JSON");
    assert_eq!(value.as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn ndjson() {
    assert_snapshot!(text(Format::Ndjson, CELLS).await, @r#"
    {"id":1,"text":"plain","money":1234.50,"ratio":0.1,"at":"2010-12-01T08:26:00Z","day":"2010-12-01","flag":true,"list":[1,null],"record":{"a":1.50,"b":"x,\"y\""}}
    {"id":2,"text":"a,\"b\"\nc","money":-0.05,"ratio":1.0e20,"at":"2010-12-01T08:26:00.250Z","day":"1969-12-31","flag":false,"list":[],"record":{"a":null,"b":null}}
    {"id":3,"text":"","money":null,"ratio":null,"at":null,"day":null,"flag":null,"list":null,"record":null}
    {"id":40,"text":"größe","money":0.00,"ratio":-3.0,"at":"0001-01-01T00:00:00Z","day":"9999-12-31","flag":true,"list":[3],"record":{"a":2.00,"b":""}}
    "#);
}

#[tokio::test]
async fn answers_without_rows_have_their_header() {
    let none = "SELECT 1 AS id, 'x' AS text WHERE false";
    assert_eq!(text(Format::Table, none).await, "id  text\n──  ────\n");
    assert_eq!(text(Format::Csv, none).await, "id,text\n");
    assert_eq!(text(Format::Json, none).await, "[]\n");
    assert_eq!(text(Format::Ndjson, none).await, "");
    assert_eq!(parquet_rows(written(Format::Parquet, none).await).len(), 0);
    assert!(arrow_rows(&written(Format::Arrow, none).await).iter().all(|batch| batch.num_rows() == 0));
}

#[tokio::test]
async fn parquet_and_arrow_keep_types() {
    let session = session(Project::default()).await;
    let expected = session.sql(CELLS).await.expect("planned").collect().await.expect("answered");
    let expected = pretty_format_batches(&expected).expect("printable").to_string();
    for batches in
        [parquet_rows(written(Format::Parquet, CELLS).await), arrow_rows(&written(Format::Arrow, CELLS).await)]
    {
        assert_eq!(pretty_format_batches(&batches).expect("printable").to_string(), expected);
    }
}

fn parquet_rows(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).expect("Parquet");
    reader.build().expect("readable").collect::<Result<_, _>>().expect("readable")
}

fn arrow_rows(bytes: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(bytes, None).expect("an IPC stream").collect::<Result<_, _>>().expect("readable")
}

#[tokio::test]
async fn wide_cells_after_the_measured_rows_stick_out() {
    let sql = "SELECT v, repeat('x', CASE WHEN v = 30000 THEN 20 ELSE 3 END) AS t FROM generate_series(1, 30000) AS s(v) ORDER BY v";
    let text = text(Format::Table, sql).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 30_002);
    assert_eq!(
        lines[2],
        "   1  xxx".replace(
            "   1",
            &format!("{:>width$}", 1, width = lines[1].split("  ").next().expect("a rule").chars().count())
        )
    );
    assert!(lines[30_001].ends_with(&"x".repeat(20)));
}

/// Counts what it is given, and fails like a pipe whose reader left after `left` bytes.
struct Pipe {
    left: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        self.left -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_can_be_told() {
    let session = session(Project::default()).await;
    for format in [Format::Table, Format::Csv, Format::Json, Format::Ndjson, Format::Parquet, Format::Arrow] {
        let rows = session.query("SELECT v FROM generate_series(1, 1000000) AS s(v)", &Default::default()).await;
        let error = format.write(rows.expect("planned"), &mut Pipe { left: 500 }).await.expect_err("closed");
        assert!(
            matches!(&error, QueryError::Write(source) if source.kind() == io::ErrorKind::BrokenPipe),
            "{format:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn scripts_run_one_statement_after_the_other() {
    let session = session(Project::default()).await;
    let mut out = Vec::new();
    let script = "SELECT 1 AS a; -- then\nSELECT 'x;y' AS b;";
    let written = query::run_script(&session, script, Format::Csv, &mut out).await.expect("answered");
    assert_eq!((written.rows, String::from_utf8(out).expect("text")), (2, "a\n1\nb\nx;y\n".to_owned()));

    let mut out = Vec::new();
    let failed = query::run_script(&session, "SELECT 1 AS a; DROP TABLE x; SELECT 2", Format::Csv, &mut out).await;
    assert!(failed.expect_err("refused").is_usage());
    assert_eq!(String::from_utf8(out).expect("text"), "a\n1\n");
}
