//! `[fields]` of a contract: names, types, aliases.

use crate::field::EXPECTED_TYPE;
use crate::name::is_identifier;
use crate::text::table::{Table, Value};
use crate::{Field, FieldType, Rule, SchemaError};

const KEYS: &[&str] = &["type", "aliases", "unit", "description", "required", "rule", "formats", "accepts", "fields"];

/// How deep lists may lie in lists.
const MAX_NESTING: usize = 8;

/// Reads the fields of a record, at least one. `depth` is 0 for those of the contract itself.
pub(crate) fn fields(value: &Value<'_>, depth: usize) -> Result<Vec<Field>, SchemaError> {
    let expected = "a table of fields, each `name = { type = \"...\" }`";
    let table = value.open_table(expected)?;
    let mut fields: Vec<Field> = Vec::new();
    for (name, value) in table.entries() {
        let field = field(name, &value, depth)?;
        let taken = fields.iter().find(|f| f.wire_names().any(|n| field.wire_names().any(|m| m == n)));
        if let Some(other) = taken {
            return Err(
                value.wrong(format!("names that `{}` does not have: a field and its aliases are one name", other.name))
            );
        }
        fields.push(field);
    }
    if fields.is_empty() { Err(value.wrong(expected)) } else { Ok(fields) }
}

fn field(name: &str, value: &Value<'_>, depth: usize) -> Result<Field, SchemaError> {
    if !is_identifier(name) || name.starts_with('_') {
        return Err(value.wrong("a field named with lower-case letters, digits and `_`, starting with a letter (other names go to `aliases`)"));
    }
    let table = value.table(KEYS, "a table such as { type = \"string\" }")?;
    let kind = kind(&table, depth)?;
    let mut field = Field {
        name: name.to_owned(),
        kind,
        aliases: aliases(&table, name)?,
        unit: table.optional_text("unit", "a unit, for example \"pieces\"")?,
        description: table.optional_text("description", "a text")?,
        required: table.get("required").map_or(Ok(false), |v| v.boolean())?,
        rule: None,
        formats: formats(&table)?,
        accepts_integer: table.get("accepts").map_or(Ok(false), |v| v.choice(&[("integer", true)]))?,
    };
    if let Some(rule) = table.get("rule") {
        if depth > 0 {
            return Err(
                rule.wrong("no rule here: rules are for the contract's own fields, not for those within a list")
            );
        }
        let sql = rule.text("a SQL condition, for example \"quantity > 0\"")?;
        field.rule = Some(Rule { name: name.to_owned(), sql, at: rule.at(), key: rule.key.clone() });
    }
    refuse_unfit_options(&table, &field)?;
    Ok(field)
}

fn kind(table: &Table<'_>, depth: usize) -> Result<FieldType, SchemaError> {
    let value = table.need("type", EXPECTED_TYPE)?;
    let kind: FieldType = value.text(EXPECTED_TYPE)?.parse().map_err(|expected: String| value.wrong(expected))?;
    match kind {
        FieldType::List(_) if depth >= MAX_NESTING => Err(value.wrong("no more lists within lists")),
        FieldType::List(_) => {
            let inner = table.need("fields", "the fields of one item of the list")?;
            Ok(FieldType::List(fields(&inner, depth + 1)?))
        }
        other => Ok(other),
    }
}

fn aliases(table: &Table<'_>, name: &str) -> Result<Vec<String>, SchemaError> {
    let aliases = table.texts("aliases", "a list of names, for example [\"Sale_ID\"]")?;
    match table.get("aliases") {
        Some(value) if aliases.iter().any(|a| a == name) => Err(value.wrong("other names than the field's own")),
        _ => Ok(aliases),
    }
}

fn formats(table: &Table<'_>) -> Result<Vec<String>, SchemaError> {
    let formats = table.texts("formats", "a list of strftime patterns, for example [\"%m/%d/%y %H:%M\"]")?;
    let broken = |f: &String| chrono::format::StrftimeItems::new(f).any(|i| i == chrono::format::Item::Error);
    match (table.get("formats"), formats.iter().find(|f| broken(f))) {
        (Some(value), Some(format)) => Err(value.wrong(format!("strftime patterns: `{format}` is none"))),
        _ => Ok(formats),
    }
}

/// Options that mean nothing for the field's type.
fn refuse_unfit_options(table: &Table<'_>, field: &Field) -> Result<(), SchemaError> {
    let fits = |option: &str| match option {
        "formats" => matches!(field.kind, FieldType::Timestamp | FieldType::Date),
        "accepts" => field.kind == FieldType::String,
        _ => matches!(field.kind, FieldType::List(_)),
    };
    for (option, of) in [("formats", "a timestamp or a date"), ("accepts", "a string"), ("fields", "a list")] {
        if let Some(value) = table.get(option).filter(|_| !fits(option)) {
            return Err(value.wrong(format!("`{option}` only on {of}: `{}` is of type {}", field.name, field.kind)));
        }
    }
    Ok(())
}
