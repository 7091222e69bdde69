//! A lake in memory with two streams, and models of every kind over them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use refine::{Limits, Outcome, Quiet, RefineEnv, RefineOptions, RefineReport};
use schema::{Project, SourceFile, TableName};
use session::{SessionFactory, SessionOptions};
use store::{Commit, Consumed, Lake, LakeOptions, Operation, TableSpec, WriterOptions};
use tokio_util::sync::CancellationToken;

/// The runtime of all tests: as a process has one.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Runs a test's future.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

pub const ORDERS_CONTRACT: &str = r#"
description = "An order with its lines"
entity = ["id"]
version = "version"
kafka = { topic = "orders" }
files = { path = "landing/orders", format = "ndjson" }
[fields]
id = { type = "string", required = true }
day = { type = "date", required = true }
version = { type = "int" }
shop = { type = "string" }
[fields.lines]
type = "list"
fields.sku = { type = "string" }
fields.qty = { type = "int" }
fields.price = { type = "decimal(18,2)" }
"#;

pub const SHOPS_CONTRACT: &str = r#"
description = "A shop"
entity = ["shop"]
files = { path = "landing/shops", format = "csv" }
[fields]
shop = { type = "string", required = true }
region = { type = "string" }
"#;

/// Models of every kind. `silver.lines` replaces whole orders within their day, `silver.orders` lets orders move between
/// days.
pub const MODELS: &[(&str, &str)] = &[
    ("models/bronze/orders.toml", ORDERS_CONTRACT),
    ("models/bronze/shops.toml", SHOPS_CONTRACT),
    (
        "models/silver/lines.sql",
        r#"/* models/silver/lines.sql
---
description = "Lines of orders; an order is its id and its day"
grain = ["id", "day", "line"]
kept = "latest"
entity = ["id", "day"]
partition_by = ["day"]
checks = ["not_null(id)", "unique(id, day, line)"]
--- */
SELECT id, day, shop, line, item['sku'] AS sku, item['qty'] AS qty, item['qty'] * item['price'] AS amount, _lineage
FROM (SELECT id, day, shop, _lineage,
        unnest(CASE WHEN cardinality(lines) = 0 THEN NULL ELSE lines END) AS item,
        unnest(CASE WHEN cardinality(lines) = 0 THEN [0] ELSE generate_series(1, CAST(cardinality(lines) AS BIGINT)) END) AS line
      FROM bronze.orders)"#,
    ),
    (
        "models/silver/orders.sql",
        r#"/* models/silver/orders.sql
---
description = "Orders, which may move to another day"
grain = ["id"]
kept = "latest"
entity = ["id"]
version = "version"
checks = ["unique(id)"]
--- */
SELECT id, day, shop, version, _lineage FROM bronze.orders WHERE shop <> 'hidden'"#,
    ),
    (
        "models/silver/shops.sql",
        r#"/* models/silver/shops.sql
---
description = "Shops"
grain = ["shop"]
kept = "latest"
entity = ["shop"]
--- */
SELECT shop, region, _lineage FROM bronze.shops"#,
    ),
    (
        "models/silver/messages.sql",
        r#"/* models/silver/messages.sql
---
description = "Every message once"
kept = "append"
--- */
SELECT id, day, shop, upper(shop) AS loud FROM bronze.orders WHERE version IS NOT NULL"#,
    ),
    (
        "models/gold/daily.sql",
        r#"/* models/gold/daily.sql
---
description = "Sales by day"
grain = ["day"]
kept = "scoped"
scope = "day"
checks = ["not_null(day)", "unique(day)"]
--- */
SELECT day, count(*) AS lines, sum(qty) AS units, sum(amount) AS sales FROM silver.lines GROUP BY day"#,
    ),
    (
        "models/gold/monthly.sql",
        r#"/* models/gold/monthly.sql
---
description = "Sales by month"
grain = ["month"]
kept = "scoped"
scope = "month"
--- */
SELECT CAST(date_trunc('month', day) AS DATE) AS month, sum(units) AS units, sum(sales) AS sales
FROM gold.daily GROUP BY CAST(date_trunc('month', day) AS DATE)"#,
    ),
    (
        "models/gold/large.sql",
        r#"/* models/gold/large.sql
---
description = "Days and skus of more than four units: a condition on groups"
grain = ["day", "sku"]
kept = "scoped"
scope = ["day", "sku"]
partition_by = ["day"]
--- */
SELECT day, sku, sum(qty) AS units FROM silver.lines GROUP BY day, sku HAVING sum(qty) > 4"#,
    ),
    (
        "models/gold/regions.sql",
        r#"/* models/gold/regions.sql
---
description = "Sales by day and region; shops that are not known have none"
grain = ["day", "region"]
kept = "scoped"
scope = "day"
--- */
SELECT l.day, s.region, count(*) AS lines, sum(l.qty) AS units
FROM silver.lines AS l LEFT JOIN silver.shops AS s ON l.shop = s.shop GROUP BY l.day, s.region"#,
    ),
    (
        "models/gold/homeless.sql",
        r#"/* models/gold/homeless.sql
---
description = "Orders of shops that are not known, by day"
grain = ["day"]
kept = "scoped"
scope = "day"
--- */
SELECT o.day, count(*) AS orders FROM silver.orders AS o LEFT JOIN silver.shops AS s ON o.shop = s.shop
WHERE s.shop IS NULL GROUP BY o.day"#,
    ),
    (
        "models/gold/last_line.sql",
        r#"/* models/gold/last_line.sql
---
description = "The last line of each sku: a condition on a window"
grain = ["sku"]
kept = "scoped"
scope = "sku"
--- */
SELECT sku, id, day, line FROM (
  SELECT sku, id, day, line, row_number() OVER (PARTITION BY sku ORDER BY day DESC, id DESC, line DESC) AS place
  FROM silver.lines)
WHERE place = 1"#,
    ),
    (
        "models/gold/order_days.sql",
        r#"/* models/gold/order_days.sql
---
description = "Orders by day"
grain = ["day"]
kept = "scoped"
scope = "day"
--- */
SELECT day, count(*) AS orders FROM gold.seen_orders GROUP BY day"#,
    ),
    (
        "models/gold/seen_orders.sql",
        r#"/* models/gold/seen_orders.sql
---
description = "Orders with a shop"
kept = "view"
--- */
SELECT id, day FROM silver.orders WHERE shop IS NOT NULL"#,
    ),
    (
        "models/gold/pairs.sql",
        r#"/* models/gold/pairs.sql
---
description = "Pairs of orders of one day and shop: a table joined with itself"
grain = ["day", "one", "other"]
kept = "scoped"
scope = "day"
--- */
SELECT a.day, a.id AS one, b.id AS other FROM silver.orders AS a JOIN silver.orders AS b
ON a.day = b.day AND a.shop = b.shop AND a.id < b.id"#,
    ),
    (
        "models/gold/top.sql",
        r#"/* models/gold/top.sql
---
description = "The two best days"
grain = ["day"]
kept = "full"
--- */
SELECT day, units FROM gold.daily ORDER BY units DESC, day LIMIT 2"#,
    ),
];

/// The tables that [`MODELS`] stores, with the columns that are compared: all but `_lineage`.
pub const TABLES: &[(&str, &str)] = &[
    ("silver.lines", "id, day, shop, line, sku, qty, amount"),
    ("silver.orders", "id, day, shop, version"),
    ("silver.shops", "shop, region"),
    ("silver.messages", "id, day, shop, loud"),
    ("gold.daily", "day, lines, units, sales"),
    ("gold.monthly", "month, units, sales"),
    ("gold.large", "day, sku, units"),
    ("gold.regions", "day, region, lines, units"),
    ("gold.homeless", "day, orders"),
    ("gold.last_line", "sku, id, day, line"),
    ("gold.order_days", "day, orders"),
    ("gold.pairs", "day, one, other"),
    ("gold.top", "day, units"),
];

/// A message of the stream `orders`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    pub id: String,
    pub day: i32,
    pub version: Option<i32>,
    pub shop: String,
    /// Sku, quantity.
    pub lines: Vec<(String, i32)>,
    pub from: Place,
}

/// A message of the stream `shops`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shop {
    pub shop: String,
    pub region: Option<String>,
    pub from: Place,
}

/// Where a message came from: it alone orders messages, whichever is landed first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Broker time in microseconds, offset.
    Kafka(i64, i64),
    /// Number of the file, line.
    File(i32, i64),
}

impl Place {
    /// The lineage, as it must be ordered: files without a date first, by name; then by time.
    pub fn lineage(&self) -> (Option<i64>, i64, i64) {
        match self {
            Place::Kafka(at, offset) => (Some(*at), 0, *offset),
            Place::File(number, line) => (None, i64::from(*number), *line),
        }
    }

    fn source(&self) -> String {
        match self {
            Place::Kafka(..) => "kafka:c/t".to_owned(),
            Place::File(number, _) => format!("files:day-{number}.ndjson"),
        }
    }

    fn part_and_offset(&self) -> (i32, i64) {
        match self {
            Place::Kafka(_, offset) => (0, *offset),
            Place::File(number, line) => (*number, *line),
        }
    }

    /// When it arrived; of a file the time of its last change, which must not matter.
    fn arrived(&self) -> i64 {
        match self {
            Place::Kafka(at, _) => *at,
            Place::File(number, _) => 1_000_000 - i64::from(*number),
        }
    }
}

pub fn project(files: &[(&str, &str)]) -> Arc<Project> {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() });
    Arc::new(Project::parse(files).unwrap())
}

/// A lake and its project.
pub struct World {
    pub lake: Lake,
    pub project: Arc<Project>,
    /// With which limits the lake is refreshed.
    pub limits: Limits,
}

impl World {
    pub async fn new() -> World {
        World::of(MODELS).await
    }

    pub async fn of(files: &[(&str, &str)]) -> World {
        World::on(Lake::open("memory:///", LakeOptions::default()).await.unwrap(), files)
    }

    pub fn on(lake: Lake, files: &[(&str, &str)]) -> World {
        World { lake, project: project(files), limits: Limits::default() }
    }

    /// The same lake under other models.
    pub fn with(&self, files: &[(&str, &str)]) -> World {
        World::on(self.lake.clone(), files)
    }

    pub fn env(&self) -> RefineEnv {
        let options = SessionOptions { threads: 2, ..SessionOptions::default() };
        let factory = SessionFactory::new(self.lake.clone(), self.project.clone(), options).unwrap();
        RefineEnv { factory, lake: self.lake.clone(), project: self.project.clone() }
    }

    pub async fn try_refine(&self, options: RefineOptions) -> refine::Result<RefineReport> {
        refine::run(self.env(), options, CancellationToken::new(), Arc::new(Quiet)).await
    }

    pub async fn refine(&self) -> RefineReport {
        self.try_refine(RefineOptions { limits: self.limits, ..RefineOptions::default() }).await.unwrap()
    }

    pub async fn rebuild(&self) -> RefineReport {
        let options = RefineOptions { full_refresh: true, limits: self.limits, ..RefineOptions::default() };
        self.try_refine(options).await.unwrap()
    }

    /// Commits messages to Bronze as one batch.
    pub async fn land(&self, orders: &[Order], shops: &[Shop]) {
        if !orders.is_empty() {
            self.commit("orders", order_rows(orders)).await;
        }
        if !shops.is_empty() {
            self.commit("shops", shop_rows(shops)).await;
        }
    }

    /// Commits orders that were in quarantine and are mended: rows at the places where they came, of revision 1.
    pub async fn land_mended(&self, orders: &[Order]) {
        let rows = order_rows(orders);
        let mends: ArrayRef = Arc::new(Int32Array::from(vec![schema::MENDED_REVISION; rows.num_rows()]));
        let names = rows.schema();
        let columns = names.fields().iter().map(|field| field.name().as_str()).zip(rows.columns().iter().cloned());
        let columns = columns.chain([("_mends", mends)]).map(|(name, column)| (name, column, true));
        self.commit("orders", RecordBatch::try_from_iter_with_nullable(columns).unwrap()).await;
    }

    /// Commits rows of a stream's table as one batch.
    pub async fn commit(&self, stream: &str, rows: RecordBatch) {
        let contract = &self.project.contracts[stream];
        let mut spec = TableSpec::new(contract.bronze_schema());
        spec.partition_by = schema::PARTITION_COLUMNS.map(str::to_owned).to_vec();
        let table = self.lake.create_table(&contract.table(), &spec).await.unwrap();
        let base = table.refresh().await.unwrap();
        let mut writer = table.writer(WriterOptions::default());
        writer.write(rows).await.unwrap();
        let input = format!("files:{stream}");
        let from = base.txn(&input);
        let mut commit = Commit::new(base, Operation::Append);
        commit.inputs.push(Consumed { input, from, to: from.unwrap_or(0) + 1 });
        commit.stage(writer.finish().await.unwrap());
        table.commit(commit).await.unwrap();
    }

    /// The rows of a table at its head as text, sorted.
    pub async fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        let name: TableName = table.parse().unwrap();
        let Some(opened) = self.lake.open_table(&name).await.unwrap() else { return Vec::new() };
        let provider = opened.refresh().await.unwrap().provider();
        let context = self.env().factory.context(HashMap::from([(name, provider)]));
        let batches = context.sql(&format!("SELECT {columns} FROM {table}")).await.unwrap().collect().await.unwrap();
        let mut rows: Vec<String> = batches.iter().flat_map(lines).collect();
        rows.sort();
        rows
    }

    /// The contents of all tables.
    pub async fn state(&self) -> BTreeMap<String, Vec<String>> {
        let mut state = BTreeMap::new();
        for (table, columns) in TABLES {
            state.insert((*table).to_owned(), self.rows(table, columns).await);
        }
        state
    }

    /// The versions of all tables, and the number of the latest release.
    pub async fn versions(&self) -> (BTreeMap<String, i64>, Option<u64>) {
        let mut versions = BTreeMap::new();
        for name in self.lake.tables().await.unwrap() {
            let table = self.lake.table(&name).await.unwrap();
            versions.insert(name.to_string(), table.refresh().await.unwrap().version());
        }
        let release = self.lake.releases().latest().await.unwrap();
        (versions, release.map(|release| release.number))
    }
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

/// The outcomes of a report by model.
pub fn outcomes(report: &RefineReport) -> BTreeMap<String, Outcome> {
    report.models.iter().map(|model| (model.model.to_string(), model.outcome.clone())).collect()
}

fn order_rows(orders: &[Order]) -> RecordBatch {
    let text =
        |f: &dyn Fn(&Order) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(orders.iter().map(f))) };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", text(&|o| o.id.clone())),
        ("day", Arc::new(Date32Array::from_iter_values(orders.iter().map(|o| o.day)))),
        ("version", Arc::new(Int32Array::from_iter(orders.iter().map(|o| o.version)))),
        ("shop", text(&|o| o.shop.clone())),
        ("lines", order_lines(orders)),
    ];
    columns.extend(system(&orders.iter().map(|o| &o.from).collect::<Vec<_>>()));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn order_lines(orders: &[Order]) -> ArrayRef {
    let all: Vec<&(String, i32)> = orders.iter().flat_map(|o| &o.lines).collect();
    let all = || all.iter();
    let fields: Vec<FieldRef> = vec![
        Arc::new(Field::new("sku", DataType::Utf8, true)),
        Arc::new(Field::new("qty", DataType::Int32, true)),
        Arc::new(Field::new("price", DataType::Decimal128(18, 2), true)),
    ];
    let price = Decimal128Array::from_iter_values(all().map(|(sku, _)| 100 + sku.len() as i128));
    let values: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(all().map(|(sku, _)| sku.clone()))),
        Arc::new(Int32Array::from_iter_values(all().map(|(_, qty)| *qty))),
        Arc::new(price.with_precision_and_scale(18, 2).unwrap()),
    ];
    let items = StructArray::new(fields.clone().into(), values, None);
    let element = Arc::new(Field::new("element", DataType::Struct(fields.into()), true));
    let offsets = OffsetBuffer::from_lengths(orders.iter().map(|o| o.lines.len()));
    Arc::new(ListArray::new(element, offsets, Arc::new(items), None))
}

fn shop_rows(shops: &[Shop]) -> RecordBatch {
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("shop", Arc::new(StringArray::from_iter_values(shops.iter().map(|s| s.shop.clone())))),
        ("region", Arc::new(StringArray::from_iter(shops.iter().map(|s| s.region.clone())))),
    ];
    columns.extend(system(&shops.iter().map(|s| &s.from).collect::<Vec<_>>()));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn system(places: &[&Place]) -> Vec<(&'static str, ArrayRef)> {
    let n = places.len();
    let parts = places.iter().map(|place| place.part_and_offset());
    let arrived = TimestampMicrosecondArray::from_iter_values(places.iter().map(|place| place.arrived()));
    vec![
        ("_source", Arc::new(StringArray::from_iter_values(places.iter().map(|place| place.source())))),
        ("_partition", Arc::new(Int32Array::from_iter_values(parts.clone().map(|(part, _)| part)))),
        ("_offset", Arc::new(Int64Array::from_iter_values(parts.map(|(_, offset)| offset)))),
        ("_arrived_at", Arc::new(arrived.with_timezone("UTC"))),
        ("_status", Arc::new(StringArray::from_iter_values(std::iter::repeat_n("stored", n)))),
        ("_ingested_on", Arc::new(Date32Array::from_iter_values(std::iter::repeat_n(20_000, n)))),
    ]
}

/// An order of one line from Kafka, for tests that need few words.
pub fn order(id: &str, day: i32, shop: &str, qty: i32, at: i64) -> Order {
    Order {
        id: id.into(),
        day,
        version: Some(1),
        shop: shop.into(),
        lines: vec![("sku".into(), qty)],
        from: Place::Kafka(at, at),
    }
}
