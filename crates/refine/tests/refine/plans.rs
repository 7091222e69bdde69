//! What is wrong with a model is said before anything runs, with file and line.

use crate::world::{ORDERS_CONTRACT, SHOPS_CONTRACT, World, run};

fn refused(path: &str, header: &str, sql: &str, expected: &str) {
    let text = format!("/* {path}\n---\ndescription = \"d\"\n{header}\n--- */\n{sql}");
    let daily = "/* models/silver/orders.sql\n---\ndescription = \"d\"\ngrain = [\"id\"]\nkept = \"latest\"\nentity = [\"id\"]\n\
                 --- */\nSELECT id, day, shop, version, _lineage FROM bronze.orders";
    let files = [
        ("models/bronze/orders.toml", ORDERS_CONTRACT),
        ("models/bronze/shops.toml", SHOPS_CONTRACT),
        ("models/silver/orders.sql", daily),
        (path, text.as_str()),
    ];
    let error = run(async { refine::check(&World::of(&files).await.env()).await.unwrap_err().to_string() });
    assert!(error.starts_with(path), "{error}");
    assert!(error.contains(expected), "expected `{expected}` in: {error}");
}

const SCOPED: &str = "grain = [\"day\"]\nkept = \"scoped\"\nscope = \"day\"";
const LATEST: &str = "grain = [\"id\"]\nkept = \"latest\"\nentity = [\"id\"]";
const APPEND: &str = "kept = \"append\"";
const FULL: &str = "grain = [\"day\"]\nkept = \"full\"";

#[test]
fn unknown_tables_and_columns_are_named_with_a_suggestion() {
    let path = "models/gold/x.sql";
    refused(
        path,
        FULL,
        "SELECT day\nFROM silver.ordres",
        "x.sql:8: unknown table silver.ordres; did you mean silver.orders?",
    );
    refused(path, FULL, "SELECT\n  dya AS day\nFROM silver.orders", "x.sql:8: ");
    refused(path, FULL, "SELECT day\nFROM silver.orders\nWHERE day = = 1", "x.sql:9: ");
    refused(path, FULL, "SELECT id FROM silver.orders", "`grain` names the column day");
}

#[test]
fn circles_are_shown() {
    let x = "/* models/gold/x.sql\n---\ndescription = \"d\"\ngrain = [\"day\"]\nkept = \"full\"\n--- */\nSELECT day FROM gold.y";
    let y = x.replace("gold.y", "gold.x").replace("gold/x", "gold/y");
    let files = [("models/gold/x.sql", x), ("models/gold/y.sql", y.as_str())];
    let error = run(async { refine::check(&World::of(&files).await.env()).await.unwrap_err().to_string() });
    assert!(error.contains("gold.x reads gold.y reads gold.x"), "{error}");
}

#[test]
fn a_scope_must_keep_its_rows_apart() {
    let path = "models/gold/x.sql";
    let group = "SELECT max(day) AS day, shop FROM silver.orders GROUP BY shop";
    refused(path, SCOPED, group, "GROUP BY (silver.orders.shop) does not contain the scope (day)");
    let window = "SELECT day, row_number() OVER (PARTITION BY shop ORDER BY day) AS n FROM silver.orders";
    refused(path, SCOPED, window, "PARTITION BY");
    refused(path, SCOPED, "SELECT day FROM silver.orders ORDER BY day LIMIT 3", "LIMIT");
    refused(path, SCOPED, "SELECT day, random() AS r FROM silver.orders", "random() gives another value each time");
    refused(path, SCOPED, "SELECT day, now() AS r FROM silver.orders", "now() gives another value each time");
    refused(path, SCOPED, "SELECT day FROM silver.orders WHERE id IN (SELECT shop FROM bronze.shops)", "write a join");
    let aggregate = "SELECT o.day, t.n FROM silver.orders o JOIN (SELECT shop, count(*) AS n FROM silver.orders GROUP BY shop) t \
                     ON o.shop = t.shop";
    refused(path, SCOPED, aggregate, "does not contain the scope");
    let optional = "SELECT o.day FROM bronze.shops s LEFT JOIN silver.orders o ON s.shop = o.shop";
    refused(path, SCOPED, optional, "the side of each join whose rows are always kept");
    refused(
        path,
        SCOPED,
        "SELECT day, first_value(shop) AS s FROM silver.orders GROUP BY day",
        "depends on the order of the rows",
    );
}

#[test]
fn a_scope_may_be_a_function_of_what_is_grouped_by() {
    let sql = "/* models/gold/x.sql\n---\ndescription = \"d\"\ngrain = [\"month\", \"day\"]\nkept = \"scoped\"\nscope = \"month\"\n--- */\n\
               SELECT date_trunc('month', o.day) AS month, o.day, max(t.n) AS n FROM silver.orders o \
               JOIN (SELECT day, count(*) AS n FROM silver.orders GROUP BY day) t ON o.day = t.day GROUP BY o.day";
    let orders = "/* models/silver/orders.sql\n---\ndescription = \"d\"\ngrain = [\"id\"]\nkept = \"latest\"\nentity = [\"id\"]\n\
                  --- */\nSELECT id, day, _lineage FROM bronze.orders";
    let files = [
        ("models/bronze/orders.toml", ORDERS_CONTRACT),
        ("models/silver/orders.sql", orders),
        ("models/gold/x.sql", sql),
    ];
    run(async { refine::check(&World::of(&files).await.env()).await.unwrap() });
}

#[test]
fn a_feed_of_latest_makes_its_rows_of_one_message() {
    let path = "models/silver/x.sql";
    refused(path, LATEST, "SELECT id FROM bronze.orders", "the SQL must give the column _lineage");
    let sums = "SELECT id, max(_lineage) AS _lineage, count(*) AS n FROM bronze.orders GROUP BY id";
    refused(path, LATEST, sums, "must depend on no other");
    refused(path, LATEST, "SELECT id, _lineage FROM silver.orders", "reads a Bronze table");
    let joined = "SELECT o.id, o._lineage FROM bronze.orders o JOIN bronze.shops s ON o.shop = s.shop";
    refused(path, LATEST, joined, "reads one table");
}

#[test]
fn append_looks_at_one_row_at_a_time() {
    refused(
        "models/silver/x.sql",
        APPEND,
        "SELECT day, count(*) AS n FROM bronze.orders GROUP BY day",
        "GROUP BY looks at more",
    );
    refused("models/silver/x.sql", APPEND, "SELECT o.id FROM bronze.orders o, bronze.shops s", "reads one table");
}
