//! What other engines read from a lake, and what the store reads: rows, sums of the numeric columns, digests of the texts, and
//! how much the lists hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};
use schema::{Layer, TableName};
use store::{Lake, LakeOptions};

/// By table (its folder within the lake) and measure: `rows`, `sum(column)`, of lists of structs `elements(column)`, and
/// `values(column.field)`, those that are not null. Of texts and bytes `digest(column)`, the sum of the first 32 bits of each
/// value's MD5, and, where a table has an `id` of type bigint, `digest(column) of few` and `of late`: of the rows in which it
/// is 3 modulo 7, and of those in which it is over 40,000.
/// The value is a text without zeros at its end, empty for null.
pub type Answers = BTreeMap<(String, String), String>;

/// An engine that reads Delta tables, as a script under `tests/interop` and an environment of `benches/peers/setup.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// DuckDB with its Delta extension.
    DuckDb,
    /// Polars with deltalake.
    Polars,
    /// Spark with Delta.
    Spark,
}

impl Reader {
    /// All readers.
    pub const ALL: [Reader; 3] = [Reader::DuckDb, Reader::Polars, Reader::Spark];

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Reader::DuckDb => ("duckdb-delta", "read_duckdb.py"),
            Reader::Polars => ("polars", "read_polars.py"),
            Reader::Spark => ("spark", "read_spark.py"),
        }
    }

    /// Reads every table of a lake on local disk.
    ///
    /// # Returns
    /// The answers, or why the reader cannot be had on this machine.
    ///
    /// # Errors
    /// When the reader is there and fails.
    pub fn read(self, lake: &Path) -> Result<std::result::Result<Answers, String>> {
        let (environment, script) = self.names();
        let workspace = workspace();
        let setup = Command::new(workspace.join("benches/peers/setup.sh")).arg(environment).output()?;
        if !setup.status.success() {
            return Ok(Err(String::from_utf8_lossy(&setup.stdout).trim().to_owned()));
        }
        let environments = environments()?;
        let mut command = Command::new(environments.join(environment).join("bin/python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(workspace.join("tests/interop").join(script)).arg(lake);
        if self == Reader::Spark {
            command.arg(environments.join("jars"));
        }
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        if !output.status.success() {
            bail!("{self:?} cannot read {}:\n{}", lake.display(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(Ok(parse(&String::from_utf8_lossy(&output.stdout))))
    }
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder of the Python environments.
///
/// # Errors
/// When neither `TEST_PYTHON` nor `HOME` is set.
pub fn environments() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("TEST_PYTHON") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither TEST_PYTHON nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/smelt/python"))
}

/// The scripts print `table,measure,value`; measures and names hold no commas.
fn parse(output: &str) -> Answers {
    let mut answers = Answers::new();
    for line in output.lines() {
        let mut fields = line.splitn(3, ',');
        if let (Some(table), Some(measure), Some(value)) = (fields.next(), fields.next(), fields.next())
            && table != "table"
        {
            // Spark's progress bar may stand before the first field.
            let table = table.rsplit(['\r', ' ']).next().unwrap_or(table);
            answers.insert((table.to_owned(), measure.to_owned()), value.to_owned());
        }
    }
    answers
}

/// What the store reads from every table of a lake on local disk.
///
/// # Errors
/// When a table cannot be read.
pub async fn ours(path: &Path) -> Result<Answers> {
    let lake = Lake::open(&path.to_string_lossy(), LakeOptions::default()).await?;
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    session.register_object_store(lake.object_store_url().as_ref(), lake.object_store());
    let mut answers = Answers::new();
    for (folder, name) in tables(path)? {
        let table = lake.open_table(&name).await?.with_context(|| format!("{name} is gone"))?;
        let snapshot = table.refresh().await?;
        let mut measures = vec![("rows".to_owned(), "count(*)".to_owned())];
        for field in snapshot.schema().fields() {
            if let Some(scale) = numeric_scale(field.data_type()) {
                let sum = format!("sum(CAST(\"{}\" AS DECIMAL(38, {scale})))", field.name());
                measures.push((format!("sum({})", field.name()), sum));
            }
        }
        let select: Vec<&str> = measures.iter().map(|(_, sql)| sql.as_str()).collect();
        session.register_table("t", snapshot.provider())?;
        let batches = session.sql(&format!("SELECT {} FROM t", select.join(", "))).await?.collect().await?;
        for (measure, digest) in digests(&session, snapshot.schema()).await? {
            answers.insert((folder.clone(), measure), digest.to_string());
        }
        session.deregister_table("t")?;
        let row = batches.iter().find(|batch| batch.num_rows() == 1).context("an aggregate gives one row")?;
        for ((measure, _), column) in measures.into_iter().zip(row.columns()) {
            let text = if column.is_null(0) { String::new() } else { array_value_to_string(column, 0)? };
            answers.insert((folder.clone(), measure), without_zeros(&text));
        }
        for field in snapshot.schema().fields() {
            let Some(parts) = list_of(field.data_type()) else { continue };
            let rows = session.read_table(snapshot.provider())?.select_columns(&[field.name()])?.collect().await?;
            for (measure, count) in held(field.name(), parts, &rows) {
                answers.insert((folder.clone(), measure), count.to_string());
            }
        }
    }
    Ok(answers)
}

/// The digests of the texts and bytes of the table `t`, by measure.
async fn digests(session: &SessionContext, columns: &Schema) -> Result<BTreeMap<String, u64>> {
    let is_text = |field: &&FieldRef| matches!(field.data_type(), DataType::Utf8 | DataType::Binary);
    let has_id = columns.field_with_name("id").is_ok_and(|id| *id.data_type() == DataType::Int64);
    let mut digests = BTreeMap::new();
    for name in columns.fields().iter().filter(is_text).map(|field| field.name()) {
        let parts = [("", "true"), (" of few", "id % 7 = 3"), (" of late", "id > 40000")];
        for (of, rows) in parts.into_iter().take(if has_id { 3 } else { 1 }) {
            let sql = format!("SELECT md5(\"{name}\") FROM t WHERE \"{name}\" IS NOT NULL AND {rows}");
            let mut digest = 0;
            for batch in session.sql(&sql).await?.collect().await? {
                let hexes = cast(batch.column(0), &DataType::Utf8)?;
                for hex in hexes.as_string::<i32>().iter().flatten() {
                    digest += u64::from_str_radix(&hex[..8], 16)?;
                }
            }
            digests.insert(format!("digest({name}){of}"), digest);
        }
    }
    Ok(digests)
}

/// The fields of the structs that a column lists.
fn list_of(kind: &DataType) -> Option<&Fields> {
    let DataType::List(element) = kind else { return None };
    let DataType::Struct(parts) = element.data_type() else { return None };
    Some(parts)
}

/// How much the lists of a column hold, by measure.
fn held(column: &str, parts: &Fields, rows: &[RecordBatch]) -> BTreeMap<String, usize> {
    let elements = format!("elements({column})");
    let values = |part: &str| format!("values({column}.{part})");
    let none = parts.iter().map(|part| (values(part.name()), 0));
    let mut held: BTreeMap<String, usize> = none.chain([(elements.clone(), 0)]).collect();
    for list in rows.iter().flat_map(|batch| batch.column(0).as_list::<i32>().iter().flatten()) {
        *held.entry(elements.clone()).or_default() += list.len();
        let list = list.as_struct();
        for (part, column) in parts.iter().zip(list.columns()) {
            *held.entry(values(part.name())).or_default() += column.len() - column.null_count();
        }
    }
    held
}

/// The scale at which a numeric column is summed; `None` for other columns.
fn numeric_scale(kind: &DataType) -> Option<i8> {
    match kind {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(0),
        DataType::Decimal128(_, scale) => Some(*scale),
        _ => None,
    }
}

fn without_zeros(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

/// Every folder with a Delta log: its path within the lake, and the table's name.
fn tables(lake: &Path) -> Result<Vec<(String, TableName)>> {
    let mut found = Vec::new();
    let mut folders = vec![lake.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("_delta_log").is_dir() {
            let path = folder.strip_prefix(lake)?.to_string_lossy().replace('\\', "/");
            let (layer, name) = path.split_once('/').with_context(|| format!("{path} is in no layer"))?;
            let layer = if layer == "_smelt" { Layer::System } else { layer.parse()? };
            found.push((path.clone(), TableName::new(layer, name)));
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What differs between our answers and a reader's, one line each; empty if nothing does.
pub fn differences(ours: &Answers, theirs: &Answers) -> Vec<String> {
    let keys = ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>();
    let differs = keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key));
    differs.map(|key| format!("{} {}: {:?} here, {:?} there", key.0, key.1, ours.get(key), theirs.get(key))).collect()
}
