//! Gates, checks and alerts, as a user meets them.

use std::fs;

use crate::server::{Reply, Server};
use crate::support::{Lake, Ran, files_below};

const SECRET: &str = "/services/T0/B0/s3cret";

const CONTRACT: &str = "description = \"A ticket\"\nentity = [\"ticket\"]\nfiles = { path = \"landing/kiosk\", format = \"csv\" }\n\
                        [fields]\nticket = { type = \"string\", required = true }\npieces = { type = \"int\", required = true }\n";

const MODEL: &str = "/* models/silver/tickets.sql\n---\ndescription = \"Tickets\"\ngrain = [\"ticket\"]\nkept = \"latest\"\n\
                     entity = [\"ticket\"]\ngate = { max_loss = 0.05, min_rows = 100 }\nchecks = [\"not_null(ticket)\"]\n\
                     warnings = [\"range(pieces, 0, 150)\"]\n--- */\nSELECT ticket, pieces, _lineage FROM bronze.kiosk\n";

/// A project of one stream and one model, whose gate alerts.
struct Shop {
    lake: Lake,
    server: Server,
}

impl Shop {
    fn new(replies: &[Reply]) -> Shop {
        let shop = Shop { lake: Lake::new(), server: Server::start(replies) };
        shop.write("models/bronze/kiosk.toml", CONTRACT);
        shop.write("models/silver/tickets.sql", MODEL);
        let alerts = format!(
            "[alerts]\nslack_url_env = \"SMELT_SLACK_URL\"\npagerduty_key_env = \"PD_KEY\"\npagerduty_url = \"{}\"\n",
            shop.server.url("/v2/enqueue")
        );
        shop.write("smelt.toml", &alerts);
        shop
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.lake.folder().join("shop").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        fs::write(path, text).expect("the file is written");
    }

    /// A landing file of 200 tickets from `first` on, of which the first `bad` are bad.
    fn land(&self, name: &str, first: usize, bad: usize) {
        let pieces = |i: usize| if i < first + bad { "many".to_owned() } else { (i % 200).to_string() };
        let rows: String = (first..first + 200).map(|i| format!("T{i},{}\n", pieces(i))).collect();
        self.write(&format!("landing/kiosk/{name}"), &format!("ticket,pieces\n{rows}"));
        self.run(&["ingest", "--stream", "kiosk"]).fine();
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.lake.command(args);
        command.arg("--project").arg(self.lake.folder().join("shop"));
        command.env("SMELT_SLACK_URL", self.server.url(SECRET)).env("PD_KEY", "k3y");
        let ran = Ran::of(command.output().expect("the binary starts"));
        assert!(!ran.stderr.contains("s3cret") && !ran.stderr.contains("k3y"), "{}", ran.stderr);
        ran
    }
}

#[test]
fn a_held_feed_alerts_once_and_is_over_when_it_is_let_through() {
    let shop = Shop::new(&[Reply::Status(500)]);
    shop.land("a.csv", 0, 12);
    shop.run(&["refine"]).exit(3).says(&[
        "feed tickets",
        "loss below 0.05 is not met",
        "12 in quarantine",
        "2 alerts sent",
    ]);
    shop.run(&["refine"]).exit(3);
    assert_eq!((shop.server.accepted(SECRET).len(), shop.server.accepted("/v2/enqueue").len()), (1, 1), "once");
    assert_eq!(shop.server.requests().len(), 3, "and once more for the one that was refused");
    shop.run(&["status"]).fine().says(&["silver.tickets: feed tickets is held back", "smelt refine --allow tickets"]);
    shop.run(&["refine", "--allow", "ticktes"]).exit(2).says(&["silver.tickets.tickets"]);
    shop.run(&["refine", "--allow", "tickets"]).fine().says(&["(let through)", "188 rows added"]);
    let (slack, pagerduty) = (shop.server.accepted(SECRET), shop.server.accepted("/v2/enqueue"));
    assert!(slack.len() == 2 && slack[1].contains("Resolved"), "{slack:?}");
    assert!(pagerduty.len() == 2 && pagerduty[1].contains("\"resolve\""), "{pagerduty:?}");
    let results = "SELECT success, allowed, version IS NULL AS held, unexpected_count FROM quality.results \
                   WHERE feed = 'tickets' ORDER BY run_at";
    let rows = shop.run(&["sql", results, "--format", "csv"]).fine().stdout;
    assert_eq!(
        rows,
        "success,allowed,held,unexpected_count\nfalse,false,true,12\nfalse,false,true,12\nfalse,true,false,12\n"
    );
    for file in files_below(&shop.lake.path()) {
        let bytes = fs::read(&file).expect("a file of the lake");
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "{}", file.display());
    }
}

#[test]
fn a_table_with_too_many_files_is_told_once_until_upkeep_has_caught_up() {
    let shop = Shop::new(&[]);
    shop.land("a.csv", 0, 0);
    let maintain = |most: &str| shop.run(&["maintain", "--table", "bronze.kiosk", "--set", most]).fine();
    maintain("maintain.most_files=0").says(&["2 alerts sent"]);
    maintain("maintain.most_files=0");
    let slack = shop.server.accepted(SECRET);
    assert!(slack.len() == 1 && slack[0].contains("bronze.kiosk: upkeep is behind"), "{slack:?}");
    let says = ["bronze.kiosk: upkeep is behind", "1 live file (most: 0) and 0 tombstones (most: 100,000) are left"];
    shop.run(&["status"]).fine().says(&says);
    maintain("maintain.most_files=1").says(&["2 alerts sent"]);
    let slack = shop.server.accepted(SECRET);
    assert!(slack.len() == 2 && slack[1].contains("Resolved"), "{slack:?}");
}

#[test]
fn checks_of_tables_as_they_stand_end_with_3_and_are_kept() {
    let shop = Shop::new(&[]);
    shop.land("a.csv", 0, 0);
    shop.run(&["refine"]).fine();
    let table = shop.run(&["check", "--select", "silver.tickets"]).fine().stdout;
    assert!(table.contains("not_null(ticket)") && table.contains("warning"), "{table}");
    // A check that is new, and not met by what is there.
    shop.write(
        "models/silver/tickets.sql",
        &MODEL.replace("\"not_null(ticket)\"", "\"not_null(ticket)\", \"volume(201, )\""),
    );
    let file = shop.lake.folder().join("checks.xml");
    let output = file.to_string_lossy().into_owned();
    shop.run(&["check", "--select", "tickets", "--format", "junit", "--output", &output]).exit(3);
    let xml = fs::read_to_string(&file).expect("the report");
    assert!(xml.contains("tests=\"3\" failures=\"1\"") && xml.contains("name=\"volume(201, )\""), "{xml}");
    assert_eq!(shop.server.accepted(SECRET).len(), 1, "it alerts");
    let json = shop.run(&["check", "--last", "--format", "json"]).exit(3).stdout;
    assert!(json.contains("\"loss below 0.05\"") && json.contains("\"volume(201, )\""), "{json}");
    // A check that is removed fails no more.
    shop.write(
        "models/silver/tickets.sql",
        &MODEL.replace("\"not_null(ticket)\"", "\"not_null(ticket)\", \"volume(202, )\""),
    );
    shop.run(&["refine"]).fine();
    shop.run(&["check", "--last"]).fine();
    let slack = shop.server.accepted(SECRET);
    assert!(slack.len() == 2 && slack[1].contains("Resolved"), "{slack:?}");
    shop.run(&["check"]).exit(3);
    assert_eq!(shop.server.accepted(SECRET).len(), 3, "it is another check");
    shop.run(&["check", "--select", "silver.tikets"]).exit(2).says(&["silver.tickets"]);
    // Enough rows: it is over.
    shop.land("b.csv", 200, 0);
    shop.run(&["refine"]).fine();
    shop.run(&["check"]).fine();
    let slack = shop.server.accepted(SECRET);
    assert!(slack.len() == 4 && slack[3].contains("Resolved"), "{slack:?}");
    shop.run(&["maintain"]).fine().says(&["system.quality/results"]);
    let balance = shop.run(&["query", "ingest_balance", "--format", "csv"]).fine().stdout;
    assert!(balance.contains("kiosk,2,400,0,400,0,0"), "{balance}");
}
