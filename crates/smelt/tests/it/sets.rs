//! The weekly set with the real binary: a day's five files or none, in any order, repeated, incomplete, and two at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::server::Server;
use crate::support::{Lake, Ran, shared};

const MEMBERS: [&str; 5] = ["calendar", "inventory", "product", "sales", "store"];

/// What each table holds: its latest row per key, counted and summed.
const FACTS: [&str; 5] = [
    "SELECT count(*), sum(sales_qty), sum(sales_amt), sum(sales_cost), sum(ship_cost) FROM (SELECT *, row_number() OVER \
     (PARTITION BY trans_id ORDER BY _arrived_at DESC, _partition DESC, _offset DESC) AS place FROM bronze.weekly_sales) \
     WHERE place = 1",
    "SELECT count(*), sum(inventory_on_hand_qty), sum(inventory_on_order_qty), sum(out_of_stock_flg) FROM (SELECT *, \
     row_number() OVER (PARTITION BY cal_dt, store_key, prod_key ORDER BY _arrived_at DESC, _partition DESC, _offset DESC) \
     AS place FROM bronze.weekly_inventory) WHERE place = 1",
    "SELECT count(DISTINCT cal_dt), max(yr_num), max(wk_num) FROM bronze.weekly_calendar",
    "SELECT count(DISTINCT prod_key) FROM bronze.weekly_product",
    "SELECT count(DISTINCT store_key) FROM bronze.weekly_store",
];

fn facts(lake: &Lake) -> Vec<String> {
    FACTS.iter().map(|sql| lake.sql(sql)).collect()
}

fn file(member: &str, day: &str) -> String {
    format!("{member}_{day}.csv")
}

/// The days of a landing folder, ascending.
fn days(landing: &Path) -> Vec<String> {
    let names = fs::read_dir(landing).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let day = |name: String| name.strip_prefix("sales_").and_then(|rest| rest.strip_suffix(".csv")).map(str::to_owned);
    let mut days: Vec<String> = names.filter_map(|name| day(name.to_string_lossy().into_owned())).collect();
    days.sort();
    days
}

/// Puts the five files of a day into the folder `landing` of the lake's folder, each under the name that `named` gives.
fn deliver(from: &Path, lake: &Lake, day: &str, named: impl Fn(&str) -> String) -> PathBuf {
    let landing = lake.folder().join("landing");
    for member in MEMBERS {
        let to = landing.join(named(&file(member, day)));
        fs::create_dir_all(to.parent().expect("a folder")).expect("a landing folder");
        // Not a copy of its mode too: it may be delivered again over itself.
        fs::write(to, fs::read(from.join(file(member, day))).expect("a file")).expect("a landing file");
    }
    landing
}

fn input(landing: &Path) -> String {
    format!("weekly={}", landing.display())
}

#[test]
fn the_weekly_files_in_any_order_and_again_give_the_same_rows() {
    let (Some(from), Some(answers)) = (shared("made/weekly/landing"), shared("made/answers")) else { return };
    let once = Lake::new();
    once.ingest("weekly", &from).says(&["weekly: 28 days accepted; 140 new files of 140"]);
    let expected = facts(&once);
    let counts = fs::read_to_string(answers.join("weekly_counts.csv")).expect("the answer");
    let quarantined = once.sql("SELECT count(*) FROM quarantine.weekly_sales");
    let [sales, stock] = [0, 1].map(|place: usize| expected[place].split(',').next().unwrap_or_default());
    assert_eq!(counts.lines().nth(1), Some(format!("{sales},{stock},{quarantined}").as_str()));
    let before = once.commits();
    once.ingest("weekly", &from);
    assert_eq!(once.commits(), before, "a second run commits nothing");

    let all = days(&from);
    let shuffled: Vec<String> = (0..all.len()).map(|i| all[(i * 11 + 5) % all.len()].clone()).collect();
    for order in [&all, &shuffled] {
        let lake = Lake::new();
        for part in order.chunks(3) {
            let mut landing = PathBuf::new();
            for day in part {
                landing = deliver(&from, &lake, day, str::to_owned);
            }
            lake.run(["ingest", "--input", &input(&landing)]).fine();
        }
        assert_eq!(facts(&lake), expected);
        assert_eq!(lake.sql("SELECT count(*) FROM quarantine.weekly_sales"), quarantined);
    }

    // Each day again: in another place, there once more, in a folder below it, and under names without a date.
    once.refine();
    let fact = once.answer("weekly_store_product");
    let names: [fn(&str) -> String; 4] =
        [str::to_owned, str::to_owned, |name| format!("again/{name}"), |name| name.replace(".csv", "_copy.csv")];
    for named in names {
        let mut landing = PathBuf::new();
        for day in &all {
            landing = deliver(&from, &once, day, named);
        }
        once.run(["ingest", "--input", &input(&landing)]).fine().says(&["weekly: 0 days accepted", "140 same"]);
        assert_eq!(facts(&once), expected);
        assert_eq!(once.sql("SELECT count(*) FROM quarantine.weekly_sales"), quarantined);
        once.refine();
        assert_eq!(once.answer("weekly_store_product"), fact);
    }
}

/// Small files of a day, enough for a set.
fn write_day(landing: &Path, day: &str) {
    fs::create_dir_all(landing).expect("a landing folder");
    let date = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
    let number = &day[6..];
    let text = |member: &str| match member {
        "calendar" => format!("CAL_DT,YR_NUM,WK_NUM\n{date},2023,5\n"),
        "inventory" => format!(
            "CAL_DT,STORE_KEY,PROD_KEY,INVENTORY_ON_HAND_QTY,INVENTORY_ON_ORDER_QTY,OUT_OF_STOCK_FLG,WASTE_QTY,\
             PROMOTION_FLG,NEXT_DELIVERY_DT\n{date},1,1,5,0,0,0,0,{date}\n"
        ),
        "product" => "PROD_KEY,PROD_NAME,BRAND_NAME,CATEGORY_NAME,SUBCATEGORY_NAME\n1,P,B,C,S\n".to_owned(),
        "sales" => format!(
            "TRANS_ID,PROD_KEY,STORE_KEY,TRANS_DT,TRANS_TIME,SALES_QTY,SALES_PRICE,SALES_AMT,DISCOUNT,SALES_COST,\
             SALES_MGRN,SHIP_COST\n{number}1,1,1,{date},9,2,1.50,3.00,0.00,2.00,1.00,0.10\n\
             {number}2,1,1,{date},10,1,1.50,1.50,0.00,1.00,0.50,0.10\n"
        ),
        _ => "STORE_KEY,STORE_NUM,STORE_DESC,CITY,REGION,CNTRY_NM\n1,001,\"Store, 1\",Bonn,West,Germany\n".to_owned(),
    };
    for member in MEMBERS {
        fs::write(landing.join(file(member, day)), text(member)).expect("a landing file");
    }
}

#[test]
fn an_incomplete_day_ends_with_4_names_its_files_and_stores_nothing_of_it() {
    let lake = Lake::new();
    let landing = lake.folder().join("landing/weekly");
    for day in ["20230101", "20230102", "20230103"] {
        write_day(&landing, day);
    }
    let sales = landing.join("sales_20230102.csv");
    let whole = fs::read(&sales).expect("the file");
    let stored =
        |lake: &Lake| lake.sql("SELECT count(*), count(DISTINCT trans_dt), sum(sales_amt) FROM bronze.weekly_sales");

    fs::write(&sales, &whole[..whole.len() - 4]).expect("a cut file");
    fs::write(landing.join("store_20230102.csv"), "").expect("an empty file");
    fs::remove_file(landing.join("calendar_20230102.csv")).expect("a missing file");
    let says = [
        "the set weekly of 2023-01-02 is not complete",
        "calendar_20230102.csv is missing",
        "sales_20230102.csv: the last line is not ended",
        "store_20230102.csv is empty",
    ];
    // Without flags, by the set's name, and for its day: the contracts' folder is read.
    let slack = Server::start(&[]);
    let alerting = |args: &[&str]| {
        let alerts = ["--set", "alerts.slack_url_env=SMELT_SLACK_URL"];
        let mut command = lake.command([args, &alerts[..]].concat());
        Ran::of(command.env("SMELT_SLACK_URL", slack.url("/hook")).output().expect("the binary starts"))
    };
    for args in [&["ingest"][..], &["ingest", "--stream", "weekly"], &["ingest", "--day", "2023-01-02"]] {
        alerting(args).exit(4).says(&says);
        assert_eq!(stored(&lake), "4,2,9.00", "the other days are loaded");
    }
    let others = lake.sql("SELECT count(*) FROM bronze.weekly_inventory WHERE cal_dt = DATE '2023-01-02'");
    assert_eq!(others, "0", "no file of the day is stored");

    write_day(&landing, "20230102");
    let alerts = slack.accepted("/hook");
    assert!(alerts.len() == 1 && alerts[0].contains("calendar_20230102.csv"), "one alert, with the names: {alerts:?}");
    alerting(&["ingest", "--day", "2023-01-02"]).fine().says(&["weekly: 1 day accepted"]);
    let alerts = slack.accepted("/hook");
    assert!(alerts.len() == 2 && alerts[1].contains("Resolved"), "and one that it is over: {alerts:?}");
    assert_eq!(stored(&lake), "6,3,13.50");
    let stores = "SELECT count(*), min(store_num) FROM bronze.weekly_store";
    assert_eq!(lake.sql(stores), "2,001", "the copy of a later day adds nothing; a number is kept as written");

    // A day of which nothing came is missing only for a run that asks for it.
    lake.run(["ingest"]).fine();
    lake.run(["ingest", "--stream", "weekly", "--day", "2023-01-04"])
        .exit(4)
        .says(&["inventory_20230104.csv is missing"]);
    lake.run(["ingest", "--stream", "weekly", "--day"]).exit(4).says(&["is missing"]);
    lake.run(["ingest", "--day", "monday"]).exit(2).says(&["2024-01-31"]);
    lake.run(["ingest", "--stream", "invoices", "--day"]).exit(2).says(&["landing set"]);
    lake.run(["ingest", "--stream", "weekly_sales"]).exit(2).says(&["weekly, the landing set"]);
}

#[test]
fn a_day_with_one_bad_file_changes_no_fact_and_is_told() {
    let missing: fn(&Path) = |file| fs::remove_file(file).expect("it is there");
    let empty: fn(&Path) = |file| fs::write(file, "").expect("an empty file");
    let cut: fn(&Path) = |file| {
        let whole = fs::read(file).expect("it is there");
        fs::write(file, &whole[..whole.len() - 4]).expect("a cut file");
    };
    let fact = |lake: &Lake| {
        lake.refine();
        lake.sql("SELECT sum(total_sales_qty), sum(total_sales_amt), sum(inventory_on_hand_qty) FROM gold.weekly_store_product")
    };
    for (member, spoil, says) in [
        ("inventory", missing, "inventory_20230102.csv is missing"),
        ("calendar", empty, "calendar_20230102.csv is empty"),
        ("sales", cut, "sales_20230102.csv: the last line is not ended"),
    ] {
        let lake = Lake::new();
        let landing = lake.folder().join("landing/weekly");
        let slack = Server::start(&[]);
        let ingest = || {
            let mut command = lake.command(["ingest", "--set", "alerts.slack_url_env=SMELT_SLACK_URL"]);
            Ran::of(command.env("SMELT_SLACK_URL", slack.url("/hook")).output().expect("the binary starts"))
        };
        write_day(&landing, "20230101");
        ingest().fine();
        let before = fact(&lake);
        write_day(&landing, "20230102");
        spoil(&landing.join(file(member, "20230102")));
        ingest().exit(4).says(&[says]);
        assert_eq!(fact(&lake), before, "{says}");
        let alerts = slack.accepted("/hook");
        assert!(alerts.len() == 1 && alerts[0].contains(&file(member, "20230102")), "{says}: {alerts:?}");
        // A day that is whole does not wait for one that is not.
        write_day(&landing, "20230103");
        ingest().exit(4).says(&[says]);
        let after = fact(&lake);
        assert_ne!(after, before, "{says}");
        assert_eq!(lake.sql("SELECT count(DISTINCT trans_dt), sum(sales_amt) FROM bronze.weekly_sales"), "2,9.00");
        write_day(&landing, "20230102");
        ingest().fine();
        assert_ne!(fact(&lake), after, "{says}");
        assert_eq!(lake.sql("SELECT count(DISTINCT trans_dt), sum(sales_amt) FROM bronze.weekly_sales"), "3,13.50");
    }
}

#[test]
fn two_runs_of_a_set_at_once_count_each_row_once() {
    let lake = Lake::new();
    let landing = lake.folder().join("landing/weekly");
    for day in 1..=28 {
        write_day(&landing, &format!("202302{day:02}"));
    }
    let both: Vec<Child> = (0..2)
        .map(|_| {
            let mut command = lake.command(["ingest", "--stream", "weekly"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
        })
        .collect();
    for child in both {
        let output = child.wait_with_output().expect("the child ends");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(lake.sql("SELECT count(*), count(DISTINCT trans_id) FROM bronze.weekly_sales"), "56,56");
    for member in MEMBERS {
        let twice = format!(
            "SELECT count(*) FROM (SELECT 1 FROM bronze.weekly_{member} GROUP BY _source, _offset HAVING count(*) > 1)"
        );
        assert_eq!(lake.sql(&twice), "0", "{member}");
    }
}
