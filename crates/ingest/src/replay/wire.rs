//! Records taken apart into named values, and put together again: what a mend of a field changes, and no more.

use std::sync::Arc;

use schema::{Contract, Field, FieldType};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::decode::CsvHeader;

/// A record that could be taken apart. Values stand as they came.
pub(super) enum Parts {
    /// The members of a JSON object, in order.
    Json(Vec<(String, Box<RawValue>)>),
    /// The fields of a CSV row, one a column.
    Csv(Arc<CsvHeader>, Vec<String>),
}

/// A field's new value, as text; `None` is null.
pub(super) type NewValue<'a> = (usize, &'a Field, Option<String>);

impl Parts {
    /// Takes a record apart; `None` for one that is no JSON object, or no row of its header.
    pub fn read(record: &[u8], header: Option<&Arc<CsvHeader>>) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        match header {
            None => serde_json::from_str::<Members>(text).ok().map(|members| Self::Json(members.0)),
            Some(header) => header.texts(text).map(|texts| Self::Csv(Arc::clone(header), texts)),
        }
    }

    /// The text of a field's value, without the quotes of a JSON string; `None` where it is absent, null or (in CSV)
    /// empty. Of a name that occurs twice the first.
    pub fn text(&self, place: usize, field: &Field) -> Option<String> {
        match self {
            Self::Json(members) => {
                let (_, value) = members.iter().find(|(name, _)| is_named(field, name))?;
                match value.get() {
                    "null" => None,
                    text if text.starts_with('"') => serde_json::from_str(text).ok(),
                    text => Some(text.to_owned()),
                }
            }
            Self::Csv(header, texts) => {
                let column = header.fields().position(|field| field == Some(place))?;
                texts.get(column).filter(|text| !text.is_empty()).cloned()
            }
        }
    }

    /// A record of this field alone, under its conformed name: for CSV the row of a file with this one column.
    pub fn alone(&self, place: usize, field: &Field) -> Option<String> {
        match self {
            Self::Json(members) => {
                let (_, value) = members.iter().find(|(name, _)| is_named(field, name))?;
                Some(format!("{{{}:{}}}", json_string(&field.name), value.get()))
            }
            Self::Csv(..) => self.text(place, field).map(|text| csv_text(&text, b',')),
        }
    }

    /// The record with new values, and the header line that it is then read by.
    pub fn with(mut self, values: &[NewValue<'_>]) -> (Vec<u8>, Option<Arc<str>>) {
        match &mut self {
            Self::Json(members) => (with_members(members, values).into_bytes(), None),
            Self::Csv(header, texts) => {
                let (row, header) = with_columns(header, texts, values);
                (row.into_bytes(), Some(header.into()))
            }
        }
    }
}

fn is_named(field: &Field, name: &str) -> bool {
    field.wire_names().any(|known| known == name)
}

fn with_members(members: &[(String, Box<RawValue>)], values: &[NewValue<'_>]) -> String {
    let mut written = vec![false; values.len()];
    let mut object: Vec<String> = Vec::with_capacity(members.len() + values.len());
    for (name, value) in members {
        match values.iter().position(|(_, field, _)| is_named(field, name)) {
            None => object.push(format!("{}:{}", json_string(name), value.get())),
            Some(set) if written[set] => {}
            Some(set) => {
                written[set] = true;
                object.push(format!("{}:{}", json_string(name), json_value(&values[set])));
            }
        }
    }
    let absent = values.iter().zip(&written).filter(|(_, written)| !**written);
    object.extend(absent.map(|(value, _)| format!("{}:{}", json_string(&value.1.name), json_value(value))));
    format!("{{{}}}", object.join(","))
}

/// A value as JSON has it: digits for a field that is a number, if they are one, else a string.
fn json_value((_, field, value): &NewValue<'_>) -> String {
    let Some(text) = value else { return "null".to_owned() };
    let is_text = matches!(field.kind, FieldType::String | FieldType::Timestamp | FieldType::Date);
    let is_plain = !is_text && serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get() == text.as_str());
    if is_plain { text.clone() } else { json_string(text) }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn with_columns(header: &CsvHeader, texts: &mut Vec<String>, values: &[NewValue<'_>]) -> (String, String) {
    let mut line = header.text().to_owned();
    let delimiter = header.delimiter();
    for (place, field, value) in values {
        let value = value.clone().unwrap_or_default();
        match header.fields().position(|field| field == Some(*place)).and_then(|column| texts.get_mut(column)) {
            Some(text) => *text = value,
            None => {
                line.push(char::from(delimiter));
                line.push_str(&csv_text(&field.name, delimiter));
                texts.push(value);
            }
        }
    }
    let row: Vec<String> = texts.iter().map(|text| csv_text(text, delimiter)).collect();
    (row.join(&char::from(delimiter).to_string()), line)
}

/// A field of a CSV row, in quotes where it needs them.
fn csv_text(text: &str, delimiter: u8) -> String {
    let needs = text.starts_with('"') || text.contains([char::from(delimiter), '\n', '\r']);
    if needs { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// The contract with nothing required and no rules: what can be read of a record field by field.
pub(super) fn relaxed(contract: &Contract) -> Contract {
    let mut relaxed = contract.clone();
    for field in &mut relaxed.fields {
        field.required = false;
        field.rule = None;
    }
    relaxed.drift = schema::Drift::Rescue;
    relaxed.raw = schema::RawPolicy::Errors;
    relaxed.event_time = None;
    relaxed.warnings.clear();
    relaxed
}

/// The members of a JSON object, repeated names too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use schema::{Project, SourceFile};

    use super::*;

    const CONTRACT: &str = r#"
description = "x"
entity = ["id"]
files = { path = "x", format = "csv" }
[fields]
id = { type = "int", aliases = ["Order ID"], required = true }
name = { type = "string" }
price = { type = "decimal(18,2)" }
"#;

    fn contract() -> Contract {
        let file = SourceFile { path: "models/bronze/x.toml".into(), text: CONTRACT.into() };
        Project::parse([file]).expect("a contract").contracts["x"].clone()
    }

    /// Sets `id` to 7, `name` to `a"b;` and `price` to null.
    fn check(record: &str, header: Option<&str>, expected: &str, new_header: Option<&str>) {
        let contract = contract();
        let header =
            header.map(|line| Arc::new(CsvHeader::read(line.as_bytes(), &relaxed(&contract), None).expect("a header")));
        let parts = Parts::read(record.as_bytes(), header.as_ref()).expect("a record");
        let texts = [Some("7".to_owned()), Some("a\"b;".to_owned()), None];
        let values: Vec<NewValue<'_>> =
            contract.fields.iter().zip(texts).enumerate().map(|(place, (field, text))| (place, field, text)).collect();
        let (raw, line) = parts.with(&values);
        assert_eq!(String::from_utf8_lossy(&raw), expected);
        assert_eq!(line.as_deref(), new_header);
    }

    #[test]
    fn only_the_fields_that_are_set_change() {
        check(
            r#"{"x": [1, 2.50], "Order ID": "6", "id": 5, "price": 1.10}"#,
            None,
            r#"{"x":[1, 2.50],"Order ID":7,"price":null,"name":"a\"b;"}"#,
            None,
        );
        check("6;1,5;x", Some("Order ID;price;note"), "7;;x;\"a\"\"b;\"", Some("Order ID;price;note;name"));
        assert!(Parts::read(b"[1]", None).is_none() && Parts::read(b"{\"a\":1", None).is_none());
    }
}
