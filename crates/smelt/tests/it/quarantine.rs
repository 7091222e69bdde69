//! `smelt quarantine` with the real binary: list, show, edit, mend, replay.

use std::fs;

use crate::support::{Lake, Ran};

/// A till export: a bad quantity, a bad number, a row of another width, Latin-1 text.
const EXPORT: &[u8] = b"Order ID,Product,Quantity Ordered,Price Each,Order Date,Purchase Address\n\
    1,Cable,2,11.95,04/19/19 08:46,A\n\
    2,Cable,x3,11.95,04/19/19 09:46,B\n\
    3,Cable,1,11.955,04/20/19 09:46,C\n\
    4,Cable,1\n\
    5,Caf\xe9,1,11.95,04/21/19 09:46,D\n";

fn lake() -> Lake {
    let lake = Lake::new();
    let landing = lake.folder().join("landing");
    fs::create_dir_all(&landing).expect("a folder");
    fs::write(landing.join("till.csv"), EXPORT).expect("a landing file");
    lake.ingest("pos_sales", &landing).says(&["5 delivered = 1 stored + 4 quarantined"]);
    // What is in quarantine does not need its file.
    fs::remove_dir_all(&landing).expect("the landing file is removed");
    lake
}

fn quarantine(lake: &Lake, args: &[&str]) -> Ran {
    lake.run([&["quarantine"], args].concat())
}

fn open(lake: &Lake) -> String {
    lake.sql("SELECT count(*) FROM quarantine.pos_sales WHERE NOT _mended")
}

#[test]
fn reasons_are_listed_and_records_shown() {
    let lake = lake();
    let list = quarantine(&lake, &["list", "--format", "csv"]).fine().stdout;
    assert_eq!(list.lines().next(), Some("stream,reason,records,open,mended,first_arrived,last_arrived"));
    let mut reader = csv::Reader::from_reader(list.as_bytes());
    let rows = reader.records().map(|row| row.expect("a row"));
    let reasons: Vec<String> = rows.map(|row| row.iter().take(5).collect::<Vec<_>>().join("|")).collect();
    assert_eq!(
        reasons,
        [
            "pos_sales|3 fields where the header has 6|1|1|0",
            "pos_sales|not text: invalid UTF-8|1|1|0",
            "pos_sales|quantity: does not fit int|1|1|0",
            "pos_sales|unit_price: does not fit decimal(18,2)|1|1|0",
        ]
    );
    let today = chrono::Utc::now().date_naive();
    let by_day =
        quarantine(&lake, &["list", "--by-day", "--from", &today.to_string(), "--format", "csv"]).fine().stdout;
    assert_eq!(by_day.lines().count(), 5, "{by_day}");
    let none = quarantine(&lake, &["list", "--to", "2019-12-31", "--format", "csv"]).fine().stdout;
    assert_eq!(none.lines().count(), 1, "{none}");

    let shown = quarantine(&lake, &["show", "--reason", "UTF-8", "--format", "csv"]).fine().stdout;
    assert!(
        shown.starts_with("stream,source,partition,offset,arrived_at,ingested_at,reason,mended,header,escaped,raw\n")
    );
    assert!(shown.contains("pos_sales,files:till.csv,1,6,") && shown.contains(r"true,"), "{shown}");
    assert!(shown.contains(r"5,Caf\xe9,1,11.95"), "{shown}");
    for format in ["table", "json", "ndjson", "parquet", "arrow"] {
        quarantine(&lake, &["show", "--limit", "2", "--format", format, "--output", "shown"]).fine();
        assert!(fs::metadata(lake.folder().join("shown")).is_ok_and(|file| file.len() > 100), "{format}");
    }
}

#[test]
fn expressions_mend_after_a_dry_run_said_what_they_would_do() {
    let lake = lake();
    let before = lake.commits();
    let mend = [
        "replay",
        "--stream",
        "pos_sales",
        "--mend",
        "quantity=replace(_wire['quantity'], 'x', '')",
        "--format",
        "csv",
    ];
    let dry = quarantine(&lake, &mend).fine().says(&["4 open records = 1 would be mended + 3 still bad", "--yes"]);
    assert!(
        dry.stdout.contains("pos_sales,would be mended,quantity: x3 does not fit int,1,files:till.csv,1,3,"),
        "{}",
        dry.stdout
    );
    assert_eq!(lake.commits(), before, "a dry run commits nothing");

    quarantine(&lake, &[&mend[..], &["--yes"]].concat()).fine().says(&["1 mended + 3 still bad; replay 1"]);
    quarantine(&lake, &["replay", "--stream", "pos_sales", "--mend", "_raw=_raw_latin1", "--yes"]).fine();
    assert_eq!(open(&lake), "2");
    lake.refine();
    assert_eq!(lake.sql("SELECT count(*), sum(net_amount) FROM silver.sales_lines"), "3,71.700");
    assert_eq!(
        lake.sql("SELECT product, _offset, _mends FROM bronze.pos_sales ORDER BY 2"),
        "Cable,2,\nCable,3,1\nCafé,6,1"
    );
    let balance = lake.answer("ingest_balance");
    assert!(balance.ends_with("pos_sales,3,5,2,3,4,0\n"), "{balance}");

    let after = lake.commits();
    quarantine(&lake, &[&mend[..], &["--yes"]].concat()).fine().says(&["2 open records = 0 mended + 2 still bad"]);
    assert_eq!(lake.commits(), after, "a mended record is mended once");
    let list = quarantine(&lake, &["list", "--reason", "UTF-8", "--format", "csv"]).fine().stdout;
    assert!(list.contains("invalid UTF-8,1,0,1,"), "{list}");
}

#[test]
fn an_edited_file_mends_its_records() {
    let lake = lake();
    let bad = lake.folder().join("bad.ndjson");
    quarantine(&lake, &["show", "--format", "ndjson", "--output", "bad.ndjson"]).fine();
    let shown = fs::read_to_string(&bad).expect("what was shown");
    let edited = shown.replace("x3,", "3,").replace("11.955", "11.95").replace(r"Caf\\xe9", "Café");
    assert_ne!(shown, edited);
    fs::write(&bad, &edited).expect("the edited file");
    quarantine(&lake, &["replay", "--file", "bad.ndjson"])
        .fine()
        .says(&["4 open records = 3 would be mended + 1 still bad"]);
    assert_eq!(open(&lake), "4");
    quarantine(&lake, &["replay", "--file", "bad.ndjson", "--yes"]).fine().says(&["3 mended + 1 still bad"]);
    assert_eq!(open(&lake), "1");
    let again = lake.commits();
    quarantine(&lake, &["replay", "--file", "bad.ndjson", "--yes"]).fine().says(&["3 mended before"]);
    assert_eq!(lake.commits(), again);
    assert_eq!(
        lake.sql("SELECT quantity, unit_price, product FROM bronze.pos_sales ORDER BY _offset"),
        "2,11.95,Cable\n3,11.95,Cable\n1,11.95,Cable\n1,11.95,Café"
    );
    let all = quarantine(&lake, &["show", "--all", "--format", "ndjson"]).fine().stdout;
    assert_eq!(all.matches("\"mended\":true").count(), 3, "{all}");
    let records = fs::read_dir(lake.path().join("_smelt/runs")).expect("run records");
    assert_eq!(records.flatten().filter(|file| file.file_name().to_string_lossy().contains("-replay-")).count(), 2);
}

#[test]
fn wrong_usage_changes_nothing() {
    let lake = lake();
    let before = lake.commits();
    let refused = |args: &[&str], says: &[&str]| drop(quarantine(&lake, args).exit(2).says(says));
    refused(&["list", "--stream", "pos_sale"], &["no such stream", "pos_sales"]);
    refused(&["list", "--from", "yesterday"], &["--from", "2024-01-31"]);
    refused(&["replay", "--mend", "quantity=1", "--yes"], &["--stream"]);
    refused(&["replay", "--stream", "pos_sales", "--mend", "quantity", "--yes"], &["COLUMN=SQL"]);
    refused(&["replay", "--stream", "pos_sales", "--mend", "quantty=1", "--yes"], &["quantty=1", "quantity"]);
    refused(&["replay", "--stream", "pos_sales", "--mend", "quantity=abs(", "--yes"], &["quantity=abs("]);
    refused(&["replay", "--yes", "--dry-run"], &["--dry-run"]);
    fs::write(lake.folder().join("bad.ndjson"), "{\"stream\":\"pos_sales\"}\n").expect("a file");
    refused(&["replay", "--file", "bad.ndjson", "--yes"], &["bad.ndjson:1", "source"]);
    let line = r#"{"stream":"pos_sales","source":"files:till.csv","partition":1,"offset":2,"raw":""}"#;
    fs::write(lake.folder().join("bad.ndjson"), format!("{line}\n")).expect("a file");
    refused(&["replay", "--file", "bad.ndjson", "--yes"], &["bad.ndjson:1", "no row in quarantine", "offset 2"]);
    refused(&["replay", "--file", "bad.ndjson", "--limit", "1"], &["--file"]);
    quarantine(&lake, &["replay", "--file", "none.ndjson"]).exit(1).says(&["none.ndjson"]);
    assert_eq!(lake.commits(), before);

    let empty = Lake::new();
    quarantine(&empty, &["replay", "--yes"]).fine().says(&["no open record"]);
    quarantine(&empty, &["list"]).fine();
    assert!(empty.commits().is_empty(), "asking makes no table");
}
