//! Whole projects: what is read, and what each refusal says.

use crate::{Check, FieldType, Format, Kept, Layer, Project, RawPolicy, SchemaError, SourceFile, TableName};

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

/// All project files of the repository: `models/` and `queries/`.
fn shipped() -> Vec<SourceFile> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![root.join("models"), root.join("queries")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
                files.push(file(&name, &std::fs::read_to_string(&path).expect("a text file")));
            }
        }
    }
    files
}

#[test]
fn the_shipped_project_is_read() {
    let project = Project::parse(shipped()).unwrap_or_else(|e| panic!("{e}"));
    let pos = &project.contracts["pos_sales"];
    assert_eq!(pos.entity.len(), pos.fields.len());
    assert_eq!((pos.raw, pos.warnings.len(), pos.max_record), (RawPolicy::All, 1, 16 * 1024 * 1024));
    assert_eq!(pos.files.as_ref().map(|f| f.format), Some(Format::Csv { delimiter: None }));
    let names: Vec<&str> = pos.fields[2].wire_names().collect();
    assert_eq!(names, ["quantity", "Quantity_Sold", "Quantity Ordered"]);
    let invoices = &project.contracts["invoices"];
    assert!(invoices.field("invoice_no").is_some_and(|f| f.accepts_integer));
    let Some(FieldType::List(items)) = invoices.field("items").map(|f| &f.kind) else { panic!("no list") };
    assert_eq!(items.iter().filter(|f| f.required).count(), 2);
    assert_eq!(project.contracts["sales_transactions"].rules().len(), 2);
}

#[test]
fn bronze_columns_in_order() {
    let project = Project::parse(shipped()).unwrap_or_else(|e| panic!("{e}"));
    let schema = project.contracts["pos_stock"].bronze_schema();
    let columns: Vec<String> =
        schema.fields().iter().map(|f| format!("{} {} {}", f.name(), f.data_type(), f.is_nullable())).collect();
    insta::assert_snapshot!(columns.join("\n"), @r#"
    product Utf8 true
    stock_quantity Int32 true
    _source Utf8 true
    _partition Int32 true
    _offset Int64 true
    _key Binary true
    _arrived_at Timestamp(µs, "UTC") true
    _ingested_at Timestamp(µs, "UTC") true
    _rescued Utf8 true
    _error Utf8 true
    _raw Binary true
    _header Utf8 true
    _mends Int32 true
    _status Utf8 true
    _ingested_on Date32 true
    "#);
    let stock = schema.field_with_name("stock_quantity").expect("a column");
    assert_eq!(stock.metadata()["comment"], "pieces in stock before the first sale (pieces)");
}

#[test]
fn a_model_with_checks_and_its_override() {
    let sql = |scope: &str| {
        format!(
            "/* models/gold/d.sql\n---\ndescription = \"d\"\ngrain = [\"day\"]\nkept = \"scoped\"\nscope = {scope}\n\
             checks = [\"not_null(day)\", \"accepted_values(kind, 'A', 'B')\", \"range(n, 0,)\", \"even\"]\n\
             columns.day = {{ type = \"date\", description = \"the day\" }}\n\
             [check.even]\nsql = \"SELECT * FROM gold.d WHERE n % 2 = 1\"\n--- */\nSELECT 1 AS day\n"
        )
    };
    let files = [file("models/gold/d.sql", &sql("\"day\"")), file("models/gold/d.sql", &sql("[\"day\", \"shop\"]"))];
    let project = Project::parse(files).unwrap_or_else(|e| panic!("{e}"));
    let model = &project.models[&TableName::gold("d")];
    assert_eq!(model.kept, Kept::Scoped { scope: vec!["day".into(), "shop".into()] });
    assert_eq!(model.checks.len(), 4);
    assert!(matches!(&model.checks[3], Check::Sql { name, .. } if name == "even"));
    assert_eq!((model.feeds[0].name.as_str(), model.feeds[0].sql_first_line), ("d", 12));
    assert_eq!(model.column("day").and_then(|c| c.kind.clone()), Some(FieldType::Date));
}

#[test]
fn a_folder_needs_a_table_and_a_feed() {
    let table = file("models/silver/t/table.toml", "description = \"t\"\ngrain = [\"id\"]\nkept = \"latest\"\n");
    let feed = |name: &str| {
        let path = format!("models/silver/t/{name}.sql");
        let text = format!("/* {path}\n---\ndescription = \"f\"\nentity = [\"id\"]\n--- */\nSELECT 1 AS id\n");
        file(&path, &text)
    };
    let project = Project::parse([table.clone(), feed("a"), feed("b")]).unwrap_or_else(|e| panic!("{e}"));
    let model = &project.models[&TableName::new(Layer::Silver, "t")];
    assert_eq!(model.feeds.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    for files in [vec![table.clone()], vec![feed("a")]] {
        assert!(matches!(Project::parse(files), Err(SchemaError::Path { .. })));
    }
    let single = file("models/silver/t.sql", &feed("a").text.replace("/t/a.sql", "/t.sql"));
    let single = single.text.replace("description = \"f\"", "description = \"f\"\ngrain = [\"id\"]\nkept = \"latest\"");
    let twice = Project::parse([table, feed("a"), file("models/silver/t.sql", &single)]);
    assert!(matches!(twice, Err(SchemaError::Duplicate { .. })), "{twice:?}");
}

#[test]
fn a_query_with_parameters() {
    let text = "/* queries/q.sql\n---\nquestion = \"How much?\"\nchart = { kind = \"bar\", x = \"day\", y = \"n\" }\n\
                [params]\nday = { type = \"date\", default = \"2024-01-31\" }\nn = { type = \"int\", default = 10 }\n\
                --- */\nSELECT $day AS day, $n AS n\n";
    let project = Project::parse([file("queries/q.sql", text)]).unwrap_or_else(|e| panic!("{e}"));
    let query = &project.queries["q"];
    let params: Vec<_> = query.params.iter().map(|p| (p.name.as_str(), p.default.as_deref())).collect();
    assert_eq!(params, [("day", Some("2024-01-31")), ("n", Some("10"))]);
    assert_eq!(query.chart.as_ref().map(|c| c.kind.as_str()), Some("bar"));
}

/// A contract that is right, to be spoiled in one place.
const STOCK: &str = "\
description = \"Stock\"
entity = [\"product\"]
event_time = \"at\"
files = { path = \"landing\", format = \"csv\" }

[fields]
product = { type = \"string\", aliases = [\"Product\"], required = true }
price = { type = \"decimal(18,2)\" }
at = { type = \"timestamp\", formats = [\"%d.%m.%Y\"] }
lines = { type = \"list\", fields = { n = { type = \"int\" } } }
";

#[test]
fn the_members_of_a_set_are_dated_and_claim_files_of_their_own() {
    let member = |name: &str, set: &str, date: &str| {
        let spec = format!("path = \"landing\", format = \"csv\", set = \"{set}\"{date}");
        let text = STOCK.replace("path = \"landing\", format = \"csv\"", &spec);
        file(&format!("models/bronze/{name}.toml"), &text)
    };
    let (a, b) = (", date = \"a_%Y%m%d.csv\"", ", date = \"b_%Y%m%d.csv\"");
    let project = Project::parse([member("a", "both", a), member("b", "both", b)]).unwrap_or_else(|e| panic!("{e}"));
    let sets = project.sets();
    assert_eq!(sets["both"].iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    let check = |files: Vec<SourceFile>, message: &str| {
        let found = Project::parse(files).err().map_or("accepted".to_owned(), |e| e.to_string());
        assert!(found.starts_with(message), "\n  found    {found}\n  expected {message}");
    };
    check(vec![member("a", "both", "")], "models/bronze/a.toml:4: key `files.date` is missing: expected a pattern");
    check(vec![member("a", "Both", a)], "models/bronze/a.toml:4: `files.set` is \"Both\": expected the name of a");
    check(
        vec![member("a", "both", a), file("models/bronze/both.toml", STOCK)],
        "models/bronze/a.toml:4: `both`, a stream and so no name of a set, is already defined in models/bronze/both.toml",
    );
    check(
        vec![member("a", "both", a), member("b", "both", a)],
        "models/bronze/b.toml:4: `a_%Y%m%d.csv` in landing of the set both is already defined in models/bronze/a.toml",
    );
}

#[test]
fn what_a_wrong_contract_is_told() {
    let check = |from: &str, to: &str, message: &str| {
        assert!(STOCK.contains(from), "{from}");
        let text = STOCK.replace(from, to);
        let refused = Project::parse([file("models/bronze/stock.toml", &text)]);
        let found = refused.err().map_or("accepted".to_owned(), |e| e.to_string());
        assert!(found.starts_with(message), "{to}:\n  found    {found}\n  expected {message}");
    };
    let at = |line: usize, rest: &str| format!("models/bronze/stock.toml:{line}: {rest}");
    assert!(Project::parse([file("models/bronze/stock.toml", STOCK)]).is_ok());
    check("description", "descripton", &at(1, "unknown key `descripton`, did you mean `description`?"));
    check("aliases", "alias", &at(7, "unknown key `fields.product.alias`, did you mean `aliases`?"));
    check("entity", "zzz", &at(2, "unknown key `zzz`: expected one of description, entity, version"));
    check("description = \"Stock\"\n", "", &at(1, "key `description` is missing: expected what one record is"));
    check(
        "[\"product\"]",
        "[\"Product\"]",
        &at(2, "`entity` is [\"Product\"]: expected names of fields: `Product` is none, did you mean `product`?"),
    );
    check("\"at\"", "\"price\"", &at(3, "`event_time` is \"price\": expected a field of type timestamp or date"));
    check("\"csv\"", "\"xml\"", &at(4, "`files.format` is \"xml\": expected one of \"csv\", \"ndjson\""));
    check(
        "decimal(18,2)",
        "decimal(18,20)",
        &at(8, "`fields.price.type` is \"decimal(18,20)\": expected decimal(precision,scale) with"),
    );
    check("decimal(18,2)", "money", &at(8, "`fields.price.type` is \"money\": expected a type: string, int, bigint"));
    check(
        "price = {",
        "Price = {",
        &at(8, "`fields.Price` is { type = \"decimal(18,2)\" }: expected a field named with"),
    );
    check("price = {", "product = {", &at(8, "duplicate key"));
    check("price = {", "Product = {", &at(8, "`fields.Product` is"));
    check(
        "type = \"timestamp\",",
        "type = \"string\",",
        &at(9, "`fields.at.formats` is [\"%d.%m.%Y\"]: expected `formats` only on"),
    );
    check("%d.%m.%Y", "%Q", &at(9, "`fields.at.formats` is [\"%Q\"]: expected strftime patterns: `%Q` is none"));
    check(
        "required = true",
        "required = \"yes\"",
        &at(7, "`fields.product.required` is \"yes\": expected true or false"),
    );
    check(
        "n = { type = \"int\" }",
        "n = { type = \"int\", rule = \"n > 0\" }",
        &at(10, "`fields.lines.fields.n.rule`"),
    );
    check("[fields]", "[fields", &at(6, ""));
    check("entity =", "time_zone = \"Mars\"\nentity =", &at(2, "`time_zone` is \"Mars\": expected an IANA time zone"));
    check("entity =", "max_record = \"16 TiB\"\nentity =", &at(2, "`max_record` is \"16 TiB\": expected a size"));
    check(
        "entity =",
        "stop = { max_bad_ratio = 2 }\nentity =",
        &at(2, "`stop.max_bad_ratio` is 2: expected a number from 0 to 1"),
    );
}

#[test]
fn two_fields_may_not_share_a_wire_name() {
    let text = STOCK.replace("price = {", "price = { aliases = [\"Product\"],");
    let error = Project::parse([file("models/bronze/stock.toml", &text)]).expect_err("refused").to_string();
    assert!(error.contains("expected names that `product` does not have"), "{error}");
}

#[test]
fn what_wrong_models_and_queries_are_told() {
    let check = |path: &str, header: &str, sql: &str, message: &str| {
        let text = format!("/* {path}\n---\n{header}\n--- */\n{sql}\n");
        let found = Project::parse([file(path, &text)]).err().map_or("accepted".to_owned(), |e| e.to_string());
        assert!(found.starts_with(&format!("{path}:{message}")), "{header}:\n  found    {found}\n  expected {message}");
    };
    let gold = "models/gold/g.sql";
    let whole = "description = \"d\"\ngrain = [\"a\"]\nkept = \"full\"";
    check(gold, "description = \"d\"\nkept = \"ful\"", "SELECT 1", "4: `kept` is \"ful\": expected one of \"append\"");
    check(gold, "description = \"d\"\nkept = \"full\"", "SELECT 1", "3: key `grain` is missing");
    check(gold, "description = \"d\"\ngrain = \"a\"\nkept = \"scoped\"", "SELECT 1", "3: key `scope` is missing");
    check(gold, "description = \"d\"\ngrain = \"a\"\nkept = \"latest\"", "SELECT 1", "3: key `entity` is missing");
    check(gold, &format!("{whole}\nscope = \"a\""), "SELECT 1", "6: `scope` is \"a\": expected a scope only with");
    check(
        gold,
        &format!("{whole}\nchecks = [\"notnull(a)\"]"),
        "SELECT 1",
        "6: `checks` is \"notnull(a)\": expected a check",
    );
    check(
        gold,
        &format!("{whole}\nchecks = [\"evn\"]\n[check.even]\nsql = \"x\""),
        "SELECT 1",
        "6: `checks` is \"evn\": expected did you mean `even`?",
    );
    check(gold, &format!("{whole}\n[check.even]\nsql = \"x\""), "SELECT 1", "6: `check.even` is");
    check(gold, &format!("{whole}\ncolums.a = {{}}"), "SELECT 1", "6: unknown key `colums`, did you mean `columns`?");
    let query = "queries/q.sql";
    check(query, "question = \"q\"", "SELECT 1,\n  $dya", "6: `$dya` is no parameter of this query");
    check(
        query,
        "question = \"q\"\nparams.day = { type = \"date\" }",
        "SELECT 1",
        "4: `params.day` is { type = \"date\" }: expected the statement to use `$day`",
    );
    check(
        query,
        "question = \"q\"\nparams.day = { type = \"date\", default = \"x\" }",
        "SELECT $day",
        "4: `params.day.default` is \"x\": expected a value of type date",
    );
    check(
        query,
        "question = \"q\"\nchart = { kind = \"pye\", x = \"a\", y = \"b\" }",
        "SELECT 1",
        "4: `chart.kind` is \"pye\": expected one of",
    );
}

#[test]
fn files_that_belong_nowhere_are_refused() {
    for path in [
        "models/bronze/x.sql",
        "models/x.toml",
        "queries/a/b.sql",
        "models/bronze/X.toml",
        "models/tin/x.sql",
        "notes.txt",
    ] {
        let refused = Project::parse([file(path, "")]);
        assert!(matches!(refused, Err(SchemaError::Path { .. })), "{path}: {refused:?}");
    }
}
