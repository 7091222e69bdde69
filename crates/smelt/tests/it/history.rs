//! History of dimensions: in whatever order sales arrive, the versions, and those that each sale joins, are the simulator's.

use std::fs;
use std::path::PathBuf;

use crate::answers::assert_same;
use crate::faults::{Random, pieces};
use crate::support::Lake;

/// Orders of arrival that are tried, each with events of its own.
const ORDERS: u64 = 20;

/// Few customers and products, so that most of them have many sales, and much that moves these about.
const SIM: [&str; 17] = [
    "sim",
    "--to",
    "made",
    "--truth",
    "made/truth",
    "--stream",
    "sales_events=2500",
    "--customers",
    "120",
    "--products",
    "30",
    "--corrected",
    "0.1",
    "--late",
    "0.1",
    "--duplicate",
    "0.05",
];

/// The models that the histories come from, and they themselves.
const REFINE: [&str; 7] = [
    "refine",
    "--select",
    "silver.sales_lines",
    "--select",
    "gold.dim_customer_history",
    "--select",
    "gold.dim_product_history",
];

/// Each sale with the version of its product and of its customer that it joins.
const JOINED: &str = "SELECT event_id AS order_id, product_id, product_name, category, customer_country \
                      FROM gold.fct_sales WHERE source = 'sales_events'";

/// What the answer files of the simulator say, which it folds from the sales as they were drawn.
struct Truth(PathBuf);

impl Truth {
    fn of(&self, answer: &str) -> String {
        fs::read_to_string(self.0.join(format!("{answer}.csv"))).expect("the truth")
    }

    /// The history of a dimension, in which some keys have more than one version.
    #[track_caller]
    fn history(&self, answer: &str) -> String {
        let text = self.of(answer);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let begins = reader.headers().expect("a header").iter().position(|name| name == "valid_from");
        let begins = begins.expect("a column of the history");
        let later = reader.records().filter(|row| !row.as_ref().expect("a row")[begins].is_empty()).count();
        assert!(later >= 60, "{answer} has only {later} versions that follow another one");
        text
    }
}

/// Lands the files of a simulation in an order that the seed draws, with a refresh after some of them.
fn arrived(seed: u64) -> (Lake, Truth) {
    let (lake, mut random) = (Lake::new(), Random::seeded(seed));
    let (made, landing) = (lake.folder().join("made"), lake.folder().join("landing"));
    lake.run([&SIM[..], &["--seed", &seed.to_string()]].concat()).fine();
    // Of two versions that are equal, names decide: they say in which order the sales were sent.
    let mut waiting = pieces(&made, &lake.folder().join("waiting"), &["sales_events"], 220);
    assert!(waiting.len() > 10, "{} pieces", waiting.len());
    for last in (1..waiting.len()).rev() {
        waiting.swap(last, random.below(last as u64 + 1) as usize);
    }
    assert!(!waiting.is_sorted(), "the order of seed {seed} is that in which they were sent");
    fs::create_dir_all(&landing).expect("a landing folder");
    while !waiting.is_empty() {
        let many = (1 + random.below(4) as usize).min(waiting.len());
        for (_, piece) in waiting.drain(..many) {
            fs::rename(&piece, landing.join(piece.file_name().expect("a name"))).expect("a piece lands");
        }
        lake.ingest("sales_events", &landing);
        if waiting.is_empty() || random.below(2) == 0 {
            lake.run(REFINE).fine();
        }
    }
    (lake, Truth(made.join("truth")))
}

#[test]
fn versions_and_the_sales_that_join_them_are_right_in_any_order_of_arrival() {
    for seed in 1..=ORDERS {
        let (lake, truth) = arrived(seed);
        for history in ["dim_customer_history", "dim_product_history"] {
            let name = format!("{history}, arrival order {seed}");
            assert_same(&name, &truth.history(history), &lake.answer(history), 0.0);
        }
        let joined = lake.run(["sql", JOINED, "--format", "csv"]).fine().stdout;
        assert_same(&format!("joins, arrival order {seed}"), &truth.of("ec_sales_as_of"), &joined, 0.0);
    }
}
