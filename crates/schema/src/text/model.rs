//! Models: `models/<layer>/<name>.sql`, or a folder with `table.toml` and a SQL file a feed.

use crate::field::EXPECTED_TYPE;
use crate::name::is_identifier;
use crate::text::check::{Checks, DURATIONS, checks};
use crate::text::header::{SqlFile, split};
use crate::text::table::{Table, Toml, Value};
use crate::{ColumnDoc, Feed, FieldType, Gate, Kept, Model, Publication, SchemaError, Share, SourceFile, TableName};

const TABLE_KEYS: &[&str] =
    &["description", "grain", "kept", "scope", "partition_by", "columns", "checks", "warnings", "check", "publish"];
const FEED_KEYS: &[&str] = &["description", "entity", "version", "gate"];

/// Reads a model of one file.
pub(crate) fn single(name: TableName, file: &SourceFile) -> Result<Model, SchemaError> {
    let parts = split(&file.path, &file.text)?;
    let toml = Toml::new(&file.path, parts.toml, parts.toml_line);
    let root = toml.parse()?;
    let keys: Vec<&str> = TABLE_KEYS.iter().chain(FEED_KEYS).copied().collect();
    let table = Table::root(&toml, &root, &keys)?;
    let mut model = model(name, &file.path, &table)?;
    let feed = feed(model.name.name.clone(), file, &parts, &table, &model.kept)?;
    model.feeds.push(feed);
    Ok(model)
}

/// Reads a model of several feeds. `feeds` has at least one file.
pub(crate) fn folder(
    name: TableName,
    file: &SourceFile,
    feeds: &[(String, &SourceFile)],
) -> Result<Model, SchemaError> {
    let toml = Toml::new(&file.path, &file.text, 1);
    let root = toml.parse()?;
    let mut model = model(name, &file.path, &Table::root(&toml, &root, TABLE_KEYS)?)?;
    for (name, file) in feeds {
        let parts = split(&file.path, &file.text)?;
        let toml = Toml::new(&file.path, parts.toml, parts.toml_line);
        let root = toml.parse()?;
        let table = Table::root(&toml, &root, FEED_KEYS)?;
        model.feeds.push(feed(name.clone(), file, &parts, &table, &model.kept)?);
    }
    Ok(model)
}

/// Everything but the feeds.
fn model(name: TableName, path: &str, table: &Table<'_>) -> Result<Model, SchemaError> {
    let description = table.text("description", "what one row is")?;
    let kept = kept(table)?;
    let grain = columns_of(table, "grain")?;
    if grain.is_empty() && !matches!(kept, Kept::Append | Kept::View) {
        table.need("grain", "the columns that tell one row from another")?;
    }
    let partition_by = columns_of(table, "partition_by")?;
    if let (Some(value), Kept::View) = (table.get("partition_by"), &kept) {
        return Err(value.wrong("no partitions of a view: it is not stored"));
    }
    let columns = column_docs(table)?;
    let Checks { checks, warnings } = checks(table)?;
    let publication = publication(table, &kept, &grain)?;
    Ok(Model {
        name,
        path: path.to_owned(),
        description,
        grain,
        kept,
        partition_by,
        columns,
        checks,
        warnings,
        publication,
        feeds: Vec::new(),
    })
}

fn publication(table: &Table<'_>, kept: &Kept, grain: &[String]) -> Result<Option<Publication>, SchemaError> {
    let Some(value) = table.get("publish") else { return Ok(None) };
    if *kept == Kept::View {
        return Err(value.wrong("nothing to publish of a view: what changed is told by stored tables"));
    }
    let keys = ["window", "width", "stream", "lateness", "figures"];
    let table = value.table(&keys, "a table [publish]")?;
    let window = table.need("window", "the column that holds the start of a window")?;
    let expected = format!("a column of the grain: {}", grain.join(", "));
    if !grain.contains(&window.text(&expected)?) {
        return Err(window.wrong(expected));
    }
    let duration = "a duration, for example \"1m\"";
    let figures = table.need("figures", "what is published: `figures.name = \"SQL expression\"`")?;
    let named = |(name, value): (&str, Value<'_>)| match is_identifier(name) {
        true => Ok((name.to_owned(), value.text("a SQL expression over the table's columns")?)),
        false => Err(value.wrong("a name of lower-case letters, digits and `_`")),
    };
    let entries =
        figures.open_table("`name = \"SQL expression\"`")?.entries().map(named).collect::<Result<Vec<_>, _>>()?;
    if entries.is_empty() {
        return Err(figures.wrong("at least one figure"));
    }
    Ok(Some(Publication {
        window: window.text("a column")?,
        width_seconds: table.need("width", duration)?.quantity(DURATIONS, duration)?,
        stream: table.text("stream", "the stream whose events fill the windows")?,
        lateness_seconds: table.need("lateness", duration)?.quantity(DURATIONS, duration)?,
        figures: entries,
    }))
}

fn columns_of(table: &Table<'_>, key: &str) -> Result<Vec<String>, SchemaError> {
    let expected = "names of columns, each once, for example [\"event_date\"]";
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(value) => match value.one_or_more_texts(expected)? {
            names if names.is_empty() => Err(value.wrong(expected)),
            names => Ok(names),
        },
    }
}

fn kept(table: &Table<'_>) -> Result<Kept, SchemaError> {
    let expected = "how the table is kept: \"append\", \"latest\", \"scoped\", \"full\" or \"view\"";
    let value = table.need("kept", expected)?;
    let words = [("append", 0), ("latest", 1), ("scoped", 2), ("full", 3), ("view", 4)];
    let kept = match value.choice(&words)? {
        0 => Kept::Append,
        1 => Kept::Latest,
        2 => {
            table.need("scope", "the columns that a row depends on, for example \"event_date\"")?;
            Kept::Scoped { scope: columns_of(table, "scope")? }
        }
        3 => Kept::Full,
        _ => Kept::View,
    };
    match table.get("scope") {
        Some(scope) if !matches!(kept, Kept::Scoped { .. }) => Err(scope.wrong("a scope only with kept = \"scoped\"")),
        _ => Ok(kept),
    }
}

fn feed(
    name: String,
    file: &SourceFile,
    parts: &SqlFile<'_>,
    table: &Table<'_>,
    kept: &Kept,
) -> Result<Feed, SchemaError> {
    let entity = columns_of(table, "entity")?;
    if *kept == Kept::Latest {
        table.need("entity", "the columns that name what is replaced as a whole")?;
    }
    for key in ["entity", "version", "gate"] {
        if let Some(value) = table.get(key).filter(|_| *kept != Kept::Latest) {
            return Err(value.wrong(format!("`{key}` only with kept = \"latest\"")));
        }
    }
    Ok(Feed {
        name,
        path: file.path.clone(),
        description: table.text("description", "what the feed brings")?,
        sql: parts.sql.to_owned(),
        sql_first_line: parts.sql_line,
        entity,
        version: table.optional_text("version", "the name of a column")?,
        gate: gate(table)?,
    })
}

fn gate(table: &Table<'_>) -> Result<Option<Gate>, SchemaError> {
    let Some(value) = table.get("gate") else { return Ok(None) };
    let table = value.table(&["max_loss", "min_rows", "window"], "a table such as { max_loss = 0.05 }")?;
    let expected = "a share from 0 to 1, for example 0.05";
    let max_loss = table.need("max_loss", expected)?;
    let max_loss = Share::new(max_loss.number(expected)?).ok_or_else(|| max_loss.wrong(expected))?;
    let min_rows = table.get("min_rows").map_or(Ok(1000), |v| v.integer(1..i64::MAX, "a count of at least 1"))?;
    let window_seconds = match table.get("window") {
        None => 86_400,
        Some(window) => {
            let expected = "a duration from 1s to 366d, for example \"1d\"";
            let seconds = window.quantity(DURATIONS, expected)?;
            if !(1..=366 * 86_400).contains(&seconds) {
                return Err(window.wrong(expected));
            }
            seconds
        }
    };
    Ok(Some(Gate { max_loss, min_rows: min_rows.unsigned_abs(), window_seconds }))
}

fn column_docs(table: &Table<'_>) -> Result<Vec<ColumnDoc>, SchemaError> {
    let Some(value) = table.get("columns") else { return Ok(Vec::new()) };
    let expected = "a table of columns, each `name = { unit = \"...\", description = \"...\" }`";
    value.open_table(expected)?.entries().map(|(name, value)| column_doc(name, &value)).collect()
}

fn column_doc(name: &str, value: &Value<'_>) -> Result<ColumnDoc, SchemaError> {
    if !is_identifier(name) {
        return Err(value.wrong("a column named with lower-case letters, digits and `_`"));
    }
    let table = value.table(&["type", "unit", "description"], "a table such as { description = \"...\" }")?;
    let kind = table.get("type").map(|v| column_type(&v)).transpose()?;
    Ok(ColumnDoc {
        name: name.to_owned(),
        kind,
        unit: table.optional_text("unit", "a unit, for example \"pieces\"")?,
        description: table.optional_text("description", "a text")?,
    })
}

/// A type that is not a list.
pub(crate) fn column_type(value: &Value<'_>) -> Result<FieldType, SchemaError> {
    match value.text(EXPECTED_TYPE)?.parse().map_err(|expected: String| value.wrong(expected))? {
        FieldType::List(_) => Err(value.wrong("a type that is not a list")),
        kind => Ok(kind),
    }
}
