//! All five systems in one lake: every answer file is the answer of the query of its name, whatever way the data came.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::answers::assert_same;
use crate::pieces::{PIECES, Piece, pieces, shuffled};
use crate::support::{Lake, files_in, shared};

/// Streams whose files may come cut in pieces, with the place of their files.
const CUT: [(&str, &str); 5] = [
    ("sales_transactions", "made/blackfriday/sales.ndjson"),
    ("inventory_updates", "made/blackfriday/inventory.ndjson"),
    ("sales_events", "made/ecommerce/events.ndjson"),
    ("invoices", "real/invoices"),
    ("pos_sales", "real/pos"),
];

/// Dimension files.
const DIMENSIONS: [(&str, &str); 4] = [
    ("products", "made/blackfriday/products.csv"),
    ("stores", "made/blackfriday/stores.csv"),
    ("opening_stock", "made/blackfriday/opening_stock.csv"),
    ("pos_stock", "real/pos_stock.csv"),
];

/// Folders of answers, with the tolerance of the ratios in them.
const ANSWERS: [(&str, f64); 2] = [("made/answers", 1e-6), ("real/answers", 1e-9)];

/// Queries that have nothing to tell of this data: no day lacks its calendar, and no stock of the shop is low.
const SILENT: [&str; 2] = ["pos_low_stock", "weekly_waiting"];

type Input = (String, PathBuf);

/// The shared data, or `None` where a part of it is not there.
fn is_shared() -> bool {
    let streams = CUT.iter().chain(&DIMENSIONS).map(|(_, path)| *path);
    let rest = ["made/weekly/landing", "made/answers", "real/answers"];
    streams.chain(rest).all(|path| shared(path).is_some())
}

fn place(path: &str) -> PathBuf {
    shared(path).expect("looked for before")
}

fn inputs(of: &[(&str, &str)]) -> Vec<Input> {
    of.iter().map(|(stream, path)| ((*stream).to_owned(), place(path))).collect()
}

/// The files of all days of the weekly report.
fn weekly() -> Vec<Input> {
    vec![("weekly".to_owned(), place("made/weekly/landing"))]
}

/// The five files of each day of the weekly report, as a glob.
fn weekly_days() -> Vec<Input> {
    let landing = place("made/weekly/landing");
    let days: BTreeSet<String> = files_in(&landing)
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.rsplit_once('_')?.1.to_owned()))
        .collect();
    days.iter().map(|day| ("weekly".to_owned(), landing.join(format!("*_{day}.csv")))).collect()
}

/// The pieces of each stream that comes in pieces.
fn cut_streams(folder: &Path) -> Vec<(&'static str, Vec<Piece>)> {
    CUT.iter().map(|(stream, path)| (*stream, pieces(&place(path), &folder.join(stream)))).collect()
}

#[track_caller]
fn check_answers(lake: &Lake) {
    let mut compared = 0;
    for (folder, tolerance) in ANSWERS {
        for file in files_in(&place(folder)) {
            let query = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let expected = fs::read_to_string(&file).expect("the answer file");
            assert_same(&query, &expected, &lake.answer(&query), tolerance);
            compared += 1;
        }
    }
    assert!(compared >= 21, "only {compared} answer files");
}

/// The rows of all Gold tables, in an order of their own.
fn gold(lake: &Lake) -> BTreeMap<String, Vec<String>> {
    let status = lake.run(["status", "--format", "csv"]).fine().stdout;
    let names = status.lines().filter_map(|line| line.split(',').next()).filter(|name| name.starts_with("gold."));
    let rows = |name: &str| {
        let mut rows: Vec<String> = lake.sql(&format!("SELECT * FROM {name}")).lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    names.map(|name| (name.to_owned(), rows(name))).collect()
}

/// The Gold tables are those of a lake into which all came at once.
#[track_caller]
fn check_gold(lake: &Lake) {
    static WHOLE: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| gold(&whole()));
    let found = gold(lake);
    assert!(whole.len() >= 20 && whole.keys().eq(found.keys()), "{:?} and {:?}", whole.keys(), found.keys());
    for (name, rows) in whole {
        let differs = rows.iter().zip(&found[name]).find(|(one, other)| one != other);
        assert_eq!(differs, None, "{name}");
        assert_eq!(rows.len(), found[name].len(), "{name}");
    }
}

/// A lake into which all comes at once.
fn whole() -> Lake {
    let lake = Lake::new();
    lake.ingest_all(&[inputs(&CUT), inputs(&DIMENSIONS), weekly()].concat());
    lake.refine();
    lake
}

/// Every question can be asked, and has an answer.
#[track_caller]
fn check_queries(lake: &Lake) {
    let list = lake.run(["query", "--list", "--format", "csv"]).fine().stdout;
    let mut reader = csv::Reader::from_reader(list.as_bytes());
    let names: Vec<String> = reader.records().map(|row| row.expect("a row")[0].to_owned()).collect();
    assert!(names.len() >= 49, "{names:?}");
    for name in &names {
        let rows = lake.answer(name).lines().count() - 1;
        assert_eq!(rows == 0, SILENT.contains(&name.as_str()), "{name}: {rows} rows");
    }
}

#[test]
fn every_answer_is_right_and_every_question_can_be_asked() {
    if !is_shared() {
        return;
    }
    let lake = whole();
    check_answers(&lake);
    check_queries(&lake);

    let before = lake.commits();
    lake.ingest_all(&[inputs(&CUT), inputs(&DIMENSIONS), weekly()].concat());
    lake.refine();
    assert_eq!(lake.commits(), before, "a second run commits nothing");
    lake.run(["refine", "--full-refresh"]).fine();
    check_answers(&lake);
    check_gold(&lake);
}

#[test]
fn pieces_with_a_refresh_after_each_give_the_same_answers() {
    if !is_shared() {
        return;
    }
    let lake = Lake::new();
    lake.ingest_all(&inputs(&DIMENSIONS));
    let streams = cut_streams(&lake.folder().join("pieces"));
    let days = weekly_days();
    for round in 0..PIECES {
        let pieces = streams.iter().map(|(stream, pieces)| ((*stream).to_owned(), pieces[round].clone()));
        lake.ingest_all(&pieces.collect::<Vec<_>>());
        ingest_days(&lake, &days, round);
        lake.refine();
    }
    check_answers(&lake);
    check_gold(&lake);
}

#[test]
fn pieces_and_days_in_any_order_give_the_same_answers() {
    if !is_shared() {
        return;
    }
    let lake = Lake::new();
    let streams: Vec<_> = cut_streams(&lake.folder().join("pieces"))
        .into_iter()
        .zip([7, 3, 11, 5, 13])
        .map(|((stream, pieces), step)| (stream, shuffled(&pieces, step)))
        .collect();
    let days = shuffled(&weekly_days(), 11);
    for round in 0..PIECES {
        let pieces = streams.iter().map(|(stream, pieces)| ((*stream).to_owned(), pieces[round].clone()));
        lake.ingest_all(&pieces.collect::<Vec<_>>());
        ingest_days(&lake, &days, round);
        lake.refine();
    }
    // Facts that came before their dimensions are healed.
    lake.ingest_all(&inputs(&DIMENSIONS));
    lake.refine();
    check_answers(&lake);
    check_gold(&lake);
}

/// Ingests the share of the weekly report's days that falls to a round, one day after the other.
#[track_caller]
fn ingest_days(lake: &Lake, days: &[Input], round: usize) {
    for day in &days[days.len() * round / PIECES..days.len() * (round + 1) / PIECES] {
        lake.ingest_all(std::slice::from_ref(day));
    }
}
