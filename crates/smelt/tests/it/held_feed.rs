//! The gate of the web shop's orders from end to end: a bad day is held and told, mended, and let through by itself.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::server::Server;
use crate::support::{Lake, Ran};

const SLACK: &str = "/services/T0/B0/hook";

/// Orders of a day.
const DAY: usize = 2_000;

/// The built-in project with a channel for alerts.
struct Shop {
    lake: Lake,
    server: Server,
}

impl Shop {
    fn new() -> Shop {
        let shop = Shop { lake: Lake::new(), server: Server::start(&[]) };
        shop.write("smelt.toml", "[alerts]\nslack_url_env = \"SLACK_URL\"\n");
        shop
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        fs::write(path, text).expect("the file is written");
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.lake.folder().join("shop").join(path)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.lake.command(args);
        command.arg("--project").arg(self.lake.folder().join("shop")).env("SLACK_URL", self.server.url(SLACK));
        Ran::of(command.output().expect("the binary starts"))
    }

    /// Lands the orders of a day that ended `days_ago`; the first `bad` of them have a quantity that no order has.
    fn orders(&self, day: usize, days_ago: u64, bad: usize) -> Ran {
        let order = |n: usize| {
            let quantity = if n < bad { -2 } else { 2 };
            format!(
                "{{\"order_id\":\"D{day}-{n}\",\"customer_id\":\"C{}\",\"product_id\":\"P{}\",\"product_name\":\"Pen\",\
                 \"category\":\"Office\",\"price\":1.50,\"quantity\":{quantity},\
                 \"order_timestamp\":\"2024-01-{day:02} 10:00:00\",\"country\":\"India\"}}\n",
                n % 50,
                n % 7
            )
        };
        let file = format!("landing/sales_events/day_{day}.ndjson");
        self.write(&file, &(0..DAY).map(order).collect::<String>());
        arrived(&self.path(&file), days_ago);
        self.run(&["ingest", "--stream", "sales_events"]).fine()
    }

    /// Lands a sale of a store, of one piece at 2.50.
    fn store_sale(&self, id: &str) {
        let sale = format!(
            "{{\"transaction_id\":\"{id}\",\"product_id\":\"A\",\"timestamp\":\"2024-01-02 10:00:00\",\"quantity\":1,\
             \"unit_price\":2.50,\"store_id\":\"S\"}}\n"
        );
        self.write(&format!("landing/sales_transactions/{id}.ndjson"), &sale);
        self.run(&["ingest", "--stream", "sales_transactions"]).fine();
    }

    /// Takes the bad quantities that came first for what they were meant to be.
    fn mend(&self, records: usize) {
        let says = format!(" {records} mended + 0 still bad");
        let (limit, sign) = (records.to_string(), "quantity=abs(quantity)");
        let replay = ["quarantine", "replay", "--stream", "sales_events", "--mend", sign, "--limit", &limit, "--yes"];
        self.run(&replay).fine().says(&[&says]);
    }

    fn sql(&self, statement: &str) -> String {
        let csv = self.run(&["sql", statement, "--format", "csv"]).fine().stdout;
        csv.split_once('\n').map_or(String::new(), |(_, rows)| rows.trim_end().to_owned())
    }

    /// A cell of `smelt status`.
    fn status(&self, table: &str, column: &str) -> String {
        let text = self.run(&["status", "--format", "csv"]).fine().stdout;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let place = reader.headers().expect("a header").iter().position(|name| name == column);
        let mut rows = reader.records().map(|row| row.expect("a row"));
        let row = rows.find(|row| &row[0] == table).expect("the table's row");
        row[place.expect("a column of status")].to_owned()
    }

    /// Orders of the web shop that are published: lines, and the orders and revenue of each day in Gold.
    fn published(&self) -> (String, String) {
        let days = self.run(&["query", "ec_daily", "--format", "csv"]).fine().stdout;
        (
            self.sql("SELECT count(*) FROM silver.sales_lines WHERE source = 'sales_events'"),
            days.lines().skip(1).collect::<Vec<_>>().join("; "),
        )
    }

    /// Sales of the stores that are published, in Silver and in Gold.
    fn store_sales(&self) -> String {
        self.sql(
            "SELECT (SELECT count(*) FROM silver.sales_lines WHERE source = 'sales_transactions') AS lines, \
             (SELECT sum(units) FROM gold.bf_store_product_day) AS units",
        )
    }

    fn told(&self) -> Vec<String> {
        self.server.accepted(SLACK)
    }
}

/// Dates a landing file: an undated one arrived when it was last written.
fn arrived(file: &Path, days_ago: u64) {
    let at = SystemTime::now() - Duration::from_secs(days_ago * 86_400);
    File::options().append(true).open(file).and_then(|file| file.set_modified(at)).expect("the file is dated");
}

#[test]
fn a_bad_day_is_held_and_told_once_and_passes_when_enough_of_it_is_mended() {
    let shop = Shop::new();
    shop.orders(1, 3, 0);
    shop.store_sale("T1");
    shop.run(&["refine"]).fine();
    let good_day = ("2000".to_owned(), "2024-01-01,6000.00,2000,4000".to_owned());
    assert_eq!((shop.published(), shop.store_sales()), (good_day.clone(), "1,1".to_owned()));

    // 6 % of a day is bad: nothing of it is published, and what the stores sold is.
    shop.orders(2, 0, 120).says(&["2,000 delivered = 1,880 stored + 120 quarantined"]);
    shop.store_sale("T2");
    let held = ["feed sales_events", "loss below 0.05 is not met", "120 in quarantine", "1 alert sent"];
    shop.run(&["refine"]).exit(3).says(&held);
    assert_eq!((shop.published(), shop.store_sales()), (good_day.clone(), "2,2".to_owned()));
    let told = shop.told();
    assert!(told.len() == 1 && told[0].contains("sales_events") && told[0].contains(":red_circle:"), "{told:?}");
    shop.run(&["status"]).fine().says(&["silver.sales_lines: feed sales_events is held back"]);

    // What the last run of a table cost is told: one line came.
    assert_eq!(shop.status("silver.sales_lines", "last_run_rows"), "1");
    assert!(shop.status("silver.sales_lines", "last_run_s").parse::<f64>().expect("seconds") > 0.0);
    assert_eq!(shop.status("bronze.sales_events", "quarantine_rate"), "0.03");

    // It stays so, and is not told again; the stores sell on.
    shop.store_sale("T3");
    shop.run(&["refine"]).exit(3);
    assert_eq!((shop.published(), shop.store_sales()), (good_day.clone(), "3,3".to_owned()));

    // 100 of 2,000 are still 5 %: one more must be mended, and then the same run passes.
    shop.mend(20);
    shop.run(&["refine"]).exit(3).says(&["100 in quarantine"]);
    assert_eq!((shop.published(), shop.told().len()), (good_day, 1));
    shop.mend(1);
    shop.run(&["refine"]).fine().says(&["1 alert sent"]);
    let mended = ("3901".to_owned(), "2024-01-01,6000.00,2000,4000; 2024-01-02,5703.00,1901,3802".to_owned());
    assert_eq!((shop.published(), shop.store_sales()), (mended, "3,3".to_owned()));
    let told = shop.told();
    assert!(told.len() == 2 && told[1].contains("Resolved"), "{told:?}");

    // The rest follows by itself, and there is nothing more to tell.
    shop.mend(99);
    shop.run(&["refine"]).fine();
    let whole = ("4000".to_owned(), "2024-01-01,6000.00,2000,4000; 2024-01-02,6000.00,2000,4000".to_owned());
    assert_eq!((shop.published(), shop.told().len()), (whole, 2));
    assert!(!shop.run(&["status"]).fine().stderr.contains("held back"), "the incident is over");
}
