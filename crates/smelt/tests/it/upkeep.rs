//! Maintenance beside everything else: no count ever goes down or doubles, and the answers stay.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::{check_truth, pieces, size_from_env};
use crate::support::Lake;

/// What readers count: rows, and rows that differ in what names them.
const COUNTS: [&str; 4] = [
    "SELECT count(*), count(DISTINCT concat(_source, '/', _partition, '/', _offset)) FROM bronze.pos_sales",
    "SELECT count(*), count(DISTINCT concat(_source, '/', _partition, '/', _offset)) FROM bronze.invoices",
    "SELECT count(*), count(DISTINCT concat(event_id, '/', line_id)) FROM silver.sales_lines WHERE source = 'pos_sales'",
    "SELECT count(*), count(DISTINCT concat(event_date, '/', window_start)) FROM gold.kpi_minute",
];

/// Runs `work` again and again until `stop`, and counts the rounds.
fn again_and_again(stop: &AtomicBool, rounds: &AtomicU64, mut work: impl FnMut()) {
    while !stop.load(Ordering::SeqCst) {
        work();
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reads one count and compares it with the one before.
fn count(lake: &Lake, statement: &str, before: &mut u64) {
    let text = lake.sql(statement);
    let numbers: Vec<u64> = text.split(',').map(|number| number.parse().expect("a count")).collect();
    assert_eq!(numbers[0], numbers[1], "a row counts twice: {statement}");
    assert!(numbers[0] >= *before, "{} after {before}: {statement}", numbers[0]);
    *before = numbers[0];
}

#[test]
fn maintenance_beside_ingest_refine_and_readers_changes_no_count() {
    let soak = Duration::from_secs(size_from_env("TEST_SOAK_SECONDS", 8));
    let lake = Lake::new();
    let (made, landing) = (lake.folder().join("made"), lake.folder().join("landing"));
    let rows = (20_000 + 2_000 * soak.as_secs()).to_string();
    lake.run(["sim", "--to", "made", "--truth", "made/truth", "--rows", &rows, "--seed", "23"]).fine();
    let mut waiting = pieces(&made, &lake.folder().join("waiting"), &["pos_sales", "invoices"], 150).into_iter();
    let streams = ["pos_sales", "invoices"];
    streams.iter().for_each(|stream| fs::create_dir_all(landing.join(stream)).expect("a landing folder"));
    let inputs = streams.map(|stream| format!("{stream}={}", landing.join(stream).display()));
    let ingest = ["ingest", "--input", &inputs[0], "--input", &inputs[1]];
    let land = |(stream, piece): (String, PathBuf)| {
        fs::rename(&piece, landing.join(stream).join(piece.file_name().expect("a name"))).expect("a piece lands");
    };
    // Two pieces are there when the tables are first read.
    waiting.by_ref().take(2).for_each(land);
    lake.run(ingest).fine();
    lake.refine();

    let stop = AtomicBool::new(false);
    let (rounds, compacted): ([AtomicU64; 4], AtomicU64) = Default::default();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| again_and_again(&stop, &rounds[1], || drop(lake.refine())));
        scope.spawn(|| {
            again_and_again(&stop, &rounds[2], || {
                compacted.fetch_add(files_compacted(&lake.run(["maintain"]).fine().stderr), Ordering::SeqCst);
            });
        });
        scope.spawn(|| {
            let mut seen = [0; COUNTS.len()];
            again_and_again(&stop, &rounds[3], || {
                COUNTS.iter().zip(&mut seen).for_each(|(statement, before)| count(&lake, statement, before));
            });
        });
        // The last thing here stops the others also when it fails: they would go on for ever.
        let fed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // As long as it takes until something was compacted beside it.
            while begun.elapsed() < soak || compacted.load(Ordering::SeqCst) == 0 {
                waiting.by_ref().take(1).for_each(land);
                lake.run(ingest).fine();
                rounds[0].fetch_add(1, Ordering::SeqCst);
            }
        }));
        stop.store(true, Ordering::SeqCst);
        fed.expect("ingest goes on");
    });
    let [ingests, refines, maintains, reads] = rounds.map(AtomicU64::into_inner);
    let compacted = compacted.into_inner();
    println!(
        "soak of {soak:?}: {ingests} ingests, {refines} refines, {maintains} maintenances ({compacted} files compacted), \
         {reads} times counted"
    );
    assert!(maintains > 0 && reads > 0 && refines > 0, "each is there beside the others");

    waiting.for_each(land);
    lake.run(ingest).fine();
    lake.ingest("pos_stock", &made.join("pos_stock.csv"));
    lake.refine();
    lake.run(["maintain"]).fine();
    check_truth(&lake, &made.join("truth"));
    assert_files_are_few(&lake);
}

/// How many files `smelt maintain` says to have compacted, of all tables.
fn files_compacted(said: &str) -> u64 {
    let of = |line: &str| line.split_once(" compacted to")?.0.rsplit(' ').nth(1)?.replace(',', "").parse::<u64>().ok();
    said.lines().filter_map(of).sum()
}

/// Each partition of Bronze has fewer small files than are worth the work, and whole ones by their bytes.
fn assert_files_are_few(lake: &Lake) {
    let status = lake.run(["status", "--format", "csv"]).fine().stdout;
    let names: Vec<&str> = status.lines().next().expect("a header").split(',').collect();
    let place = |name: &str| names.iter().position(|known| *known == name).expect("a column of status");
    let (files, bytes) = (place("files"), place("bytes"));
    for line in status.lines().filter(|line| line.starts_with("bronze.")) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |place: usize| cells[place].parse::<u64>().expect("a number");
        // A night may lie within the test: two days, good and bad rows.
        let most = 4 * 3 + number(bytes) / (4 << 20);
        assert!(number(files) <= most, "{} files, at most {most}: {line}", number(files));
    }
    let again = lake.run(["maintain"]).fine();
    for stream in ["pos_sales", "invoices"] {
        assert!(again.stderr.contains(&format!("bronze.{stream}: 0 files compacted")), "{}", again.stderr);
    }
}
