//! The first day of a user: help, a project from `init`, a stream of one's own by files only.

use std::fs;

use crate::support::{Lake, files_below};

#[test]
fn init_makes_a_project_whose_new_stream_works_by_files_only() {
    let lake = Lake::new();
    lake.run(["init", "shop"]).fine().says(&["smelt ingest"]);
    let project = |args: &[&str]| lake.run([args, &["--project", "shop"]].concat());
    project(&["ingest"]).fine().says(&["kiosk_sales: 7 delivered = 6 stored + 1 quarantined"]);
    project(&["refine"]).fine();
    let answer = project(&["query", "kiosk_daily", "--format", "csv"]).fine().stdout;
    assert_eq!(answer, "event_date,pieces,sales\n2024-01-05,5,13.150\n2024-01-06,5,12.300\n");
    let answer = project(&["query", "kiosk_daily", "--param", "article=Coffee", "--format", "csv"]).fine().stdout;
    assert_eq!(answer, "event_date,pieces,sales\n2024-01-05,4,11.200\n2024-01-06,3,8.400\n");
    let again = lake.commits();
    project(&["ingest"]).fine();
    project(&["refine"]).fine();
    assert_eq!(lake.commits(), again, "a second run commits nothing");

    lake.run(["init", "shop"]).exit(2).says(&["is there already"]);
}

#[test]
fn a_second_stream_flows_into_silver_and_gold_by_files_only() {
    let lake = Lake::new();
    lake.run(["init", "shop"]).fine();
    let project = |args: &[&str]| lake.run([args, &["--project", "shop"]].concat());
    project(&["ingest"]).fine();
    project(&["refine"]).fine();
    for (path, text) in [
        (
            "models/bronze/web_orders.toml",
            "description = \"Orders of the web shop\"\nentity = [\"order\"]\nevent_time = \"at\"\n\
             files = { path = \"landing/web_orders\", format = \"ndjson\" }\n\n[fields]\n\
             order = { type = \"string\", required = true }\nat = { type = \"timestamp\", required = true }\n\
             sku = { type = \"string\", required = true }\nunits = { type = \"int\", required = true, rule = \"units > 0\" }\n\
             amount = { type = \"decimal(18,2)\", required = true, unit = \"EUR\" }\n",
        ),
        (
            "landing/web_orders/1.ndjson",
            "{\"order\":\"W1\",\"at\":\"2024-01-05T23:30:00Z\",\"sku\":\"Coffee\",\"units\":2,\"amount\":5.60}\n\
             {\"order\":\"W2\",\"at\":\"2024-01-06T08:00:00Z\",\"sku\":\"Mug\",\"units\":1,\"amount\":9.90}\n\
             {\"order\":\"W3\",\"at\":\"2024-01-06T09:00:00Z\",\"sku\":\"Mug\",\"units\":0,\"amount\":9.90}\n",
        ),
        (
            "models/silver/sales_lines/web_orders.sql",
            "/* models/silver/sales_lines/web_orders.sql\n---\ndescription = \"Web orders: one line an order\"\nentity = [\"source\", \"event_id\", \"event_date\"]\n--- */\n\
             SELECT 'web_orders' AS source, \"order\" AS event_id, '1' AS line_id, at AS event_at,\n\
             CAST(at AS DATE) AS event_date, CAST(NULL AS TIMESTAMP) AS version_at, 'web' AS store_id,\n\
             'Germany' AS country, 'web' AS channel, CAST(NULL AS VARCHAR) AS customer_id, sku AS product_id,\n\
             sku AS product_name, CAST(NULL AS VARCHAR) AS category, 'ORDER' AS kind, CAST(units AS BIGINT) AS quantity,\n\
             CAST(NULL AS DECIMAL(18, 2)) AS unit_price, CAST(amount AS DECIMAL(19, 3)) AS net_amount,\n\
             CAST(NULL AS DECIMAL(19, 3)) AS discount, CAST(NULL AS DECIMAL(19, 3)) AS cost,\n\
             CAST(NULL AS DECIMAL(19, 3)) AS ship_cost, _lineage\nFROM bronze.web_orders\n",
        ),
        (
            "models/gold/channel_daily.sql",
            "/* models/gold/channel_daily.sql\n---\ndescription = \"Sales by day and channel\"\ngrain = [\"event_date\", \"source\"]\nkept = \"scoped\"\n\
             scope = \"event_date\"\nchecks = [\"unique(event_date, source)\"]\n--- */\n\
             SELECT event_date, source, sum(quantity) AS pieces, sum(net_amount) AS sales\n\
             FROM silver.sales_lines GROUP BY event_date, source\n",
        ),
    ] {
        let path = lake.folder().join("shop").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file of the project");
    }
    project(&["ingest"]).fine().says(&["web_orders: 3 delivered = 2 stored + 1 quarantined"]);
    // Another feed is another definition of the table; the message says what to do.
    project(&["refine"]).exit(2).says(&["run refine --full-refresh --select silver.sales_lines"]);
    project(&["refine", "--full-refresh", "--select", "silver.sales_lines"]).fine();
    project(&["refine"]).fine();
    let statement = "SELECT event_date, source, pieces, sales FROM gold.channel_daily ORDER BY 1, 2";
    let expected = "event_date,source,pieces,sales\n2024-01-05,kiosk_sales,5,13.150\n2024-01-05,web_orders,2,5.600\n\
                    2024-01-06,kiosk_sales,5,12.300\n2024-01-06,web_orders,1,9.900\n";
    assert_eq!(project(&["sql", statement, "--format", "csv"]).fine().stdout, expected);
    let answer = project(&["query", "kiosk_daily", "--format", "csv"]).fine().stdout;
    assert_eq!(
        answer, "event_date,pieces,sales\n2024-01-05,5,13.150\n2024-01-06,5,12.300\n",
        "the kiosk's is as before"
    );
}

#[test]
fn a_new_field_of_a_contract_becomes_a_column_and_a_changed_one_is_refused() {
    let lake = Lake::new();
    lake.run(["init", "shop"]).fine();
    let project = |args: &[&str]| lake.run([args, &["--project", "shop"]].concat());
    project(&["ingest"]).fine();
    let contract = lake.folder().join("shop/models/bronze/kiosk_sales.toml");
    let text = fs::read_to_string(&contract).expect("the contract");
    fs::write(&contract, format!("{text}cashier = {{ type = \"string\" }}\n")).expect("the contract is written");
    fs::write(
        lake.folder().join("shop/landing/kiosk_sales/kiosk_20240107.csv"),
        "ticket,sold_at,article,pieces,price,cashier\nK-1007,2024-01-07 09:00:00,Coffee,1,2.80,Ada\n",
    )
    .expect("a landing file");
    project(&["ingest"]).fine();
    let rows =
        project(&["sql", "SELECT ticket, cashier FROM bronze.kiosk_sales ORDER BY 1 DESC LIMIT 2", "--format", "csv"]);
    assert_eq!(rows.fine().stdout, "ticket,cashier\nK-1007,Ada\nK-1006,\n");

    fs::write(&contract, text.replace("pieces = { type = \"int\"", "pieces = { type = \"string\""))
        .expect("the contract is written");
    project(&["ingest"]).exit(1).says(&["kiosk_sales", "pieces", "another name"]);
}

#[test]
fn status_tells_what_each_table_holds_and_what_it_waits_for() {
    let lake = Lake::new();
    lake.run(["init", "shop"]).fine();
    let project = |args: &[&str]| lake.run([args, &["--project", "shop"]].concat());
    let told = |table: &str, columns: &[&str]| {
        let csv = project(&["status", "--format", "csv"]).fine().stdout;
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().expect("a header");
        let row = lines.find(|row| row[0] == table).unwrap_or_else(|| panic!("{table} is not in {csv}"));
        let cell = |column: &&str| row[names.iter().position(|name| name == column).expect("a column of status")];
        columns.iter().map(cell).collect::<Vec<_>>().join(",")
    };
    project(&["ingest"]).fine();
    project(&["refine"]).fine();
    let bronze = ["version", "rows", "quarantined", "open", "files", "newest_event", "last_run_rows"];
    assert_eq!(told("bronze.kiosk_sales", &bronze), "1,7,1,1,2,2024-01-06 09:12:30,7");
    let model = ["version", "rows", "behind", "waiting_s", "newest_event"];
    assert_eq!(told("silver.sales_lines", &model), "1,5,0,0,2024-01-06 09:12:30");
    assert_eq!(told("gold.kiosk_daily", &model), "1,4,0,0,2024-01-06 09:12:30");

    fs::write(
        lake.folder().join("shop/landing/kiosk_sales/kiosk_20240107.csv"),
        "ticket,sold_at,article,pieces,price\nK-1007,2024-01-07 09:00:00,Coffee,1,2.80\n",
    )
    .expect("a landing file");
    project(&["ingest"]).fine();
    assert_eq!(told("bronze.kiosk_sales", &bronze), "2,8,1,1,3,2024-01-07 08:00:00,1");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(told("silver.sales_lines", &["rows", "behind", "newest_event"]), "5,1,2024-01-06 09:12:30");
    let waiting: u64 = told("silver.sales_lines", &["waiting_s"]).parse().expect("whole seconds");
    assert!((2..600).contains(&waiting), "{waiting} seconds");
    project(&["refine"]).fine();
    assert_eq!(told("silver.sales_lines", &model), "2,6,0,0,2024-01-07 08:00:00");
    assert_eq!(told("gold.kiosk_daily", &model), "2,5,0,0,2024-01-07 08:00:00");
}

#[test]
fn an_empty_lake_answers_every_query_with_its_header() {
    let lake = Lake::new();
    let list = lake.run(["query", "--list", "--format", "csv"]).fine().stdout;
    let names: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert!(names.len() > 10, "{list}");
    for name in names {
        let answer = lake.answer(name);
        assert!(!answer.lines().next().unwrap_or_default().is_empty(), "{name} prints a header");
    }
    assert!(lake.commits().is_empty(), "asking makes no table");
}

#[test]
fn only_reading_statements_are_run() {
    let lake = Lake::new();
    for statement in [
        "CREATE TABLE t (a INT)",
        "INSERT INTO silver.invoices VALUES (1)",
        "COPY (SELECT 1) TO 'x.csv'",
        "DROP TABLE silver.invoices",
    ] {
        lake.run(["sql", statement]).exit(2);
    }
    assert!(files_below(lake.folder()).iter().all(|path| !path.ends_with("x.csv")));
    lake.run(["sql", "SELECT * FROM silver.sales_linse"]).exit(2).says(&["sales_lines"]);
    lake.run(["query", "pos_monthyl"]).exit(2).says(&["pos_monthly"]);
}

#[test]
fn every_command_has_help_with_an_example() {
    let lake = Lake::new();
    lake.run_plain(["init", "shop"]).fine();
    let list = lake.run_plain(["query", "--list", "--format", "csv", "--project", "shop"]).fine().stdout;
    let queries: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    for command in [
        "demo",
        "init",
        "ingest",
        "refine",
        "check",
        "query",
        "sql",
        "publish",
        "quarantine",
        "status",
        "maintain",
        "sim",
        "completions",
    ] {
        let help = lake.run([command, "--help"]).fine().stdout;
        assert!(help.contains("smelt ") && help.contains("Example"), "{help}");
        let examples = help.split("Example").nth(1).unwrap_or_default();
        for example in examples.split("smelt ").skip(1) {
            // A question that an example asks must be one of the built-in project or of the one that `init` makes.
            let words = example.split(['|', '&', '<', '>', '\n']).next().unwrap_or_default();
            let words = words.split("  ").next().unwrap_or_default();
            let words: Vec<&str> = words.split(' ').map(|word| word.trim_matches('"')).collect();
            if let ["query", name, ..] = words[..]
                && !name.starts_with('-')
            {
                assert!(queries.contains(&name), "{name} is no query: {help}");
            }
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(lake.run(["completions", shell]).fine().stdout.contains("ingest"));
    }
}
