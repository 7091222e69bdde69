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
