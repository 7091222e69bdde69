//! Bad input: a clear message or a quarantined row each, never a panic, nothing half-committed.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Lake, skip};

const GOOD: &str = r#"{"transaction_id":"T1","product_id":"P1","timestamp":"2023-11-24 07:03:01","quantity":1,"unit_price":9.99,"store_id":"W1"}"#;

fn ingest(lake: &Lake, stream: &str, name: &str, bytes: &[u8]) -> crate::support::Ran {
    let path = lake.folder().join(name);
    fs::write(&path, bytes).expect("the input is written");
    lake.run(["ingest".to_owned(), "--input".to_owned(), format!("{stream}={}", path.display())])
}

fn count(lake: &Lake, table: &str) -> String {
    lake.sql(&format!("SELECT count(*) FROM {table}"))
}

/// One record between two good ones is quarantined with a reason that names `reason`, and the good ones are stored.
#[track_caller]
fn quarantined(record: &[u8], reason: &str) {
    let lake = Lake::new();
    let second = GOOD.replace("T1", "T2");
    let bytes = [GOOD.as_bytes(), record, second.as_bytes(), b""].join(&b'\n');
    ingest(&lake, "sales_transactions", "sales.ndjson", &bytes).fine();
    assert_eq!(count(&lake, "bronze.sales_transactions"), "2", "{reason}");
    let error = lake.sql("SELECT _error FROM quarantine.sales_transactions").to_lowercase();
    assert!(error.contains(reason), "{reason:?} is not in {error:?}");
    assert_eq!(lake.sql("SELECT _offset FROM quarantine.sales_transactions"), "2");
}

#[test]
fn a_truncated_gzip_stores_nothing_and_is_named() {
    let lake = Lake::new();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for number in 0..20_000 {
        writeln!(gzip, "{}", GOOD.replace("T1", &format!("T{number}"))).expect("compresses");
    }
    let whole = gzip.finish().expect("compresses");
    ingest(&lake, "sales_transactions", "cut.ndjson.gz", &whole[..whole.len() / 2]).exit(1).says(&["cut.ndjson.gz"]);
    assert_eq!(count(&lake, "bronze.sales_transactions"), "0");
    // The whole file under the same name is loaded afterwards.
    ingest(&lake, "sales_transactions", "cut.ndjson.gz", &whole).fine();
    assert_eq!(count(&lake, "bronze.sales_transactions"), "20000");
}

#[test]
fn a_csv_without_a_required_column_is_refused_by_name() {
    let lake = Lake::new();
    ingest(&lake, "pos_sales", "pos.csv", b"Order ID,Product,Quantity Ordered,Order Date\n1,Phone,1,04/19/19 08:46\n")
        .exit(1)
        .says(&["pos.csv", "Price Each"]);
    assert_eq!(count(&lake, "bronze.pos_sales"), "0");
}

#[test]
fn an_empty_file_and_a_folder_named_like_a_file_add_nothing() {
    let lake = Lake::new();
    ingest(&lake, "sales_transactions", "empty.ndjson", b"").fine().says(&["empty.ndjson"]);
    let landing = lake.folder().join("landing");
    fs::create_dir_all(landing.join("folder.ndjson")).expect("a folder");
    fs::write(landing.join("good.ndjson"), format!("{GOOD}\n")).expect("a file");
    let input = format!("sales_transactions={}", landing.display());
    lake.run(["ingest", "--input", &input]).exit(1).says(&["folder.ndjson", "folder"]);
    assert_eq!(count(&lake, "bronze.sales_transactions"), "1");
}

#[test]
fn records_that_are_not_json_are_quarantined_with_the_reason() {
    quarantined(b"{\"transaction_id\":\"T\xff\xfe\",\"product_id\":\"P1\"}", "utf-8");
    quarantined(b"{\"transaction_id\":\"T\x00\",\"product_id\":\"P1\"}", "control");
    quarantined(br#"{"transaction_id":"T9""#, "expected");
    quarantined(b"", "empty");
    quarantined(b"[1,2]", "object");
    quarantined(format!("{GOOD}{GOOD}").as_bytes(), "after");
    quarantined(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes(), "object");
    let deep = format!("{{\"x\":{}1{},{}", "[".repeat(100_000), "]".repeat(100_000), &GOOD[1..]);
    quarantined(deep.as_bytes(), "deep");
}

#[test]
fn records_that_break_the_contract_are_quarantined_with_the_field() {
    quarantined(GOOD.replace("9.99", &"9".repeat(260)).as_bytes(), "unit_price");
    quarantined(GOOD.replace("9.99", &format!("1.{}", "5".repeat(400))).as_bytes(), "unit_price");
    quarantined(GOOD.replace("9.99", "9.999").as_bytes(), "unit_price");
    quarantined(GOOD.replace("9.99", "\"9.99\"").as_bytes(), "unit_price");
    quarantined(GOOD.replace("\"quantity\":1", "\"quantity\":1.5").as_bytes(), "quantity");
    quarantined(GOOD.replace("\"quantity\":1", "\"quantity\":0").as_bytes(), "quantity");
    quarantined(GOOD.replace("\"quantity\":1", "\"quantity\":99999999999").as_bytes(), "quantity");
    quarantined(GOOD.replace("\"quantity\":1,", "").as_bytes(), "quantity");
    quarantined(GOOD.replace("{", "{\"quantity\":2,").as_bytes(), "quantity");
    quarantined(GOOD.replace("{", "{\"timestamp_\":\"2023-11-24 07:03:01\",").as_bytes(), "timestamp");
    quarantined(GOOD.replace("2023-11-24 07:03:01", "2023-02-30 07:03:01").as_bytes(), "timestamp");
}

#[test]
fn a_record_over_the_limit_keeps_its_head_length_and_hash() {
    let lake = Lake::new();
    let large = GOOD.replace("P1", &"P".repeat(17 << 20));
    let bytes = format!("{GOOD}\n{large}\n{}\n", GOOD.replace("T1", "T2"));
    ingest(&lake, "sales_transactions", "large.ndjson", bytes.as_bytes()).fine();
    assert_eq!(count(&lake, "bronze.sales_transactions"), "2");
    assert_eq!(
        lake.sql("SELECT octet_length(CAST(_raw AS VARCHAR)) FROM quarantine.sales_transactions"),
        (64 << 10).to_string()
    );
    let error = lake.sql("SELECT _error FROM quarantine.sales_transactions");
    assert!(error.contains(&large.len().to_string()), "{error}");
}

#[test]
fn marks_line_ends_delimiters_and_bare_quotes_are_read() {
    let lake = Lake::new();
    let csv = "\u{feff}Order ID;Product;Quantity Ordered;Price Each;Order Date;Purchase Address\r\n\
               1;27in 4K \"Gaming\" Monitor;2;11.95;04/19/19 08:46;\"917 1st St; Dallas, TX\"\r\n";
    ingest(&lake, "pos_sales", "pos.csv", csv.as_bytes()).fine();
    assert_eq!(
        lake.sql("SELECT product, quantity, unit_price, sold_at, address FROM bronze.pos_sales"),
        "\"27in 4K \"\"Gaming\"\" Monitor\",2,11.95,2019-04-19 08:46:00,\"917 1st St; Dallas, TX\""
    );
}

#[test]
fn a_project_file_that_is_wrong_is_refused_with_file_line_and_key() {
    let lake = Lake::new();
    let folder = lake.folder().join("models/bronze");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("mine.toml"), "description = \"x\"\nentitty = [\"a\"]\n[fields]\na = { type = \"int\" }\n")
        .expect("a file");
    lake.run(["query", "--list"]).exit(2).says(&["models/bronze/mine.toml", "2", "entitty", "entity"]);
}

#[test]
fn a_full_disk_and_a_read_only_lake_commit_nothing_half() {
    let lake = Lake::new();
    let disk = lake.folder().join("disk");
    fs::create_dir_all(&disk).expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1500k", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("full disk and read-only mount", "a tmpfs cannot be mounted here");
    }
    let _unmount = Unmount(disk.clone());
    let input = lake.folder().join("sales.ndjson");
    let mut text = String::new();
    for number in 0..100_000u64 {
        let noise = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        text.push_str(&GOOD.replace("T1", &format!("T{number}-{noise:x}-{:x}", noise.rotate_left(29) ^ number)));
        text.push('\n');
    }
    fs::write(&input, &text).expect("the input is written");
    let on_disk = |args: &[&str]| {
        let mut command = lake.plain_command(args);
        command.arg("--lake").arg(disk.join("lake")).output().expect("the binary starts")
    };
    let source = format!("sales_transactions={}", input.display());
    let output = on_disk(&["ingest", "--input", &source]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("panicked") && stderr.to_lowercase().contains("space"), "{stderr}");

    // With room again the same command goes on, and every row is there once.
    let grown = Command::new("mount").args(["-o", "remount,size=256m"]).arg(&disk).status().expect("mount runs");
    assert!(grown.success(), "the disk grows");
    assert_eq!(on_disk(&["ingest", "--input", &source]).status.code(), Some(0));
    let rows = |column: &str| {
        let statement = format!("SELECT {column} FROM bronze.sales_transactions");
        String::from_utf8_lossy(&on_disk(&["sql", &statement, "--format", "csv"]).stdout)
            .lines()
            .nth(1)
            .map(str::to_owned)
    };
    assert_eq!(rows("count(*)"), Some("100000".into()));
    assert_eq!(rows("count(DISTINCT transaction_id)"), Some("100000".into()));

    let read_only = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().expect("mount runs");
    assert!(read_only.success(), "the disk is read-only");
    fs::write(&input, format!("{GOOD}\n")).expect("the input is written");
    let output = on_disk(&["ingest", "--input", &source]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("panicked") && stderr.to_lowercase().contains("read-only"), "{stderr}");
    assert_eq!(rows("count(*)"), Some("100000".into()));
}

/// Unmounts when the test ends, however it ends.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
