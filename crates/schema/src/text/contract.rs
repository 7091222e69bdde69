//! `models/bronze/<stream>.toml`

use chrono_tz::Tz;

use crate::name::is_identifier;
use crate::text::field::fields;
use crate::text::kafka::kafka;
use crate::text::table::{Table, Toml, Value, closest};
use crate::{Contract, Drift, Field, FieldType, FilesSpec, Format, RawPolicy, Rule, SchemaError, SetName, StopRule};

const KEYS: &[&str] = &[
    "description",
    "entity",
    "version",
    "event_time",
    "time_zone",
    "drift",
    "raw",
    "kafka",
    "files",
    "max_record",
    "stop",
    "fields",
    "warnings",
];

const MIB: u64 = 1024 * 1024;
const BYTES: &[(&str, u64)] = &[("B", 1), ("", 1), ("KiB", 1024), ("MiB", MIB), ("KB", 1000), ("MB", 1_000_000)];
const SECONDS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("min", 60), ("h", 3600)];

/// The greatest `max_record`: a batch holds at least one record.
const MAX_MAX_RECORD: u64 = 128 * MIB;

/// Reads a contract. `name` is the stream, `path` the file.
pub(crate) fn contract(name: &str, path: &str, text: &str) -> Result<Contract, SchemaError> {
    let toml = Toml::new(path, text, 1);
    let root = toml.parse()?;
    let table = Table::root(&toml, &root, KEYS)?;
    let description = table.text("description", "what one record is")?;
    let fields = fields(&table.need("fields", "a table of fields")?, 0)?;
    let (kafka, files) = (kafka(&table)?, files(&table)?);
    Ok(Contract {
        name: name.to_owned(),
        path: path.to_owned(),
        description,
        entity: entity(&table, &fields)?,
        version: version(&table, &fields)?,
        event_time: event_time(&table, &fields)?,
        time_zone: time_zone(&table)?,
        drift: table
            .get("drift")
            .map_or(Ok(Drift::Rescue), |v| v.choice(&[("rescue", Drift::Rescue), ("fail", Drift::Fail)]))?,
        raw: table
            .get("raw")
            .map_or(Ok(RawPolicy::Errors), |v| v.choice(&[("errors", RawPolicy::Errors), ("all", RawPolicy::All)]))?,
        kafka,
        files,
        max_record: max_record(&table)?,
        stop: stop(&table)?,
        warnings: warnings(&table)?,
        fields,
    })
}

fn entity(table: &Table<'_>, fields: &[Field]) -> Result<Vec<String>, SchemaError> {
    let Some(value) = table.get("entity") else { return Ok(Vec::new()) };
    let expected = "names of fields, or [\"*\"] for all of them";
    let names = value.texts(expected)?;
    let names = match names.as_slice() {
        [] => return Err(value.wrong(format!("{expected}; without an entity, leave the key out"))),
        [all] if all == "*" => fields.iter().map(|f| f.name.clone()).collect(),
        _ => names,
    };
    for name in &names {
        let field = named(&value, name, fields)?;
        if matches!(field.kind, FieldType::List(_)) {
            return Err(value.wrong(format!("fields that can be compared: `{name}` is a list")));
        }
    }
    Ok(names)
}

fn version(table: &Table<'_>, fields: &[Field]) -> Result<Option<String>, SchemaError> {
    let Some(value) = table.get("version") else { return Ok(None) };
    let name = value.text("the name of a field")?;
    match named(&value, &name, fields)?.kind {
        FieldType::List(_) | FieldType::Bool => Err(value.wrong("a field whose values have an order")),
        _ => Ok(Some(name)),
    }
}

fn event_time(table: &Table<'_>, fields: &[Field]) -> Result<Option<String>, SchemaError> {
    let Some(value) = table.get("event_time") else { return Ok(None) };
    let name = value.text("the name of a timestamp field")?;
    match named(&value, &name, fields)?.kind {
        FieldType::Timestamp | FieldType::Date => Ok(Some(name)),
        _ => Err(value.wrong("a field of type timestamp or date")),
    }
}

/// The field `name`, which `value` names.
fn named<'f>(value: &Value<'_>, name: &str, fields: &'f [Field]) -> Result<&'f Field, SchemaError> {
    fields.iter().find(|f| f.name == name).ok_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
        let wire = fields.iter().find(|f| f.aliases.iter().any(|a| a == name)).map(|f| f.name.clone());
        match wire.or_else(|| closest(name, &names)) {
            Some(known) => value.wrong(format!("names of fields: `{name}` is none, did you mean `{known}`?")),
            None => value.wrong(format!("names of fields: `{name}` is none; they are {}", names.join(", "))),
        }
    })
}

fn time_zone(table: &Table<'_>) -> Result<Tz, SchemaError> {
    let Some(value) = table.get("time_zone") else { return Ok(Tz::UTC) };
    let expected = "an IANA time zone, for example \"Europe/Berlin\"";
    value.text(expected)?.parse().map_err(|_| value.wrong(expected))
}

fn files(table: &Table<'_>) -> Result<Option<FilesSpec>, SchemaError> {
    let Some(value) = table.get("files") else { return Ok(None) };
    let expected = "a table such as { path = \"landing/sales\", format = \"ndjson\" }";
    let table = value.table(&["path", "format", "delimiter", "date", "set"], expected)?;
    let csv = Format::Csv { delimiter: None };
    let format = table.need("format", "\"csv\" or \"ndjson\"")?.choice(&[("csv", csv), ("ndjson", Format::Ndjson)])?;
    let format = match table.get("delimiter") {
        None => format,
        Some(value) if format == Format::Ndjson => return Err(value.wrong("no delimiter with format \"ndjson\"")),
        Some(value) => Format::Csv { delimiter: Some(delimiter(&value)?) },
    };
    let date = table.optional_text("date", "a pattern of file names, for example \"sales_%Y%m%d.csv\"")?;
    if let (Some(value), Some(pattern)) = (table.get("date"), &date) {
        crate::dated::DatedName::parse(pattern).map_err(|expected| value.wrong(expected))?;
    }
    Ok(Some(FilesSpec { path: table.text("path", "a file, a folder or a glob")?, format, date, set: set(&table)? }))
}

fn set(files: &Table<'_>) -> Result<Option<SetName>, SchemaError> {
    let Some(value) = files.get("set") else { return Ok(None) };
    let expected = "the name of a landing set: lower-case letters, digits and `_`, starting with a letter";
    let name = value.text(expected)?;
    if !is_identifier(&name) {
        return Err(value.wrong(expected));
    }
    // The day of a file is what holds a set together.
    files.need("date", "a pattern of file names, for example \"sales_%Y%m%d.csv\", because the stream is in a set")?;
    Ok(Some(SetName { name, at: value.at() }))
}

fn delimiter(value: &Value<'_>) -> Result<u8, SchemaError> {
    let expected = "one character that is neither a quote, a letter, a digit nor a line end, for example \";\"";
    let text = value.scalar_text(expected)?;
    match text.as_bytes() {
        [b] if (b.is_ascii_punctuation() || matches!(b, b'\t' | b' ')) && *b != b'"' => Ok(*b),
        _ => Err(value.wrong(expected)),
    }
}

fn max_record(table: &Table<'_>) -> Result<usize, SchemaError> {
    let expected = "a size from 1 KiB to 128 MiB, for example \"16 MiB\"";
    let Some(value) = table.get("max_record") else { return Ok(16 * MIB as usize) };
    let bytes = value.quantity(BYTES, expected)?;
    if (1024..=MAX_MAX_RECORD).contains(&bytes) { Ok(bytes as usize) } else { Err(value.wrong(expected)) }
}

fn stop(table: &Table<'_>) -> Result<Option<StopRule>, SchemaError> {
    let Some(value) = table.get("stop") else { return Ok(None) };
    let keys = ["max_bad_ratio", "window", "min_records"];
    let table = value.table(&keys, "a table such as { max_bad_ratio = 0.5, window = \"60s\" }")?;
    let ratio_expected = "a number from 0 to 1, for example 0.5";
    let ratio = table.need("max_bad_ratio", ratio_expected)?;
    let max_bad_ratio = ratio.number(ratio_expected)?;
    if !(0.0..=1.0).contains(&max_bad_ratio) {
        return Err(ratio.wrong(ratio_expected));
    }
    let window = table.get("window").map_or(Ok(60), |v| v.quantity(SECONDS, "a duration, for example \"60s\""))?;
    let min_records = table.get("min_records").map_or(Ok(1000), |v| v.integer(1..i64::MAX, "a count of at least 1"))?;
    Ok(Some(StopRule { max_bad_ratio, window_seconds: window, min_records: min_records as u64 }))
}

fn warnings(table: &Table<'_>) -> Result<Vec<Rule>, SchemaError> {
    let Some(value) = table.get("warnings") else { return Ok(Vec::new()) };
    let table = value.open_table("a table of conditions, each `name = \"SQL condition\"`")?;
    let rule = |(name, value): (&str, Value<'_>)| {
        let sql = value.text("a SQL condition, for example \"sales = quantity * unit_price\"")?;
        Ok(Rule { name: name.to_owned(), sql, at: value.at(), key: value.key.clone() })
    };
    table.entries().map(rule).collect()
}
