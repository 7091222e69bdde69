//! `kafka = { … }` of a contract.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use regex::Regex;

use crate::text::table::{Table, Value};
use crate::{KafkaFormat, KafkaSpec, KafkaStart, SchemaError, Tombstones, is_pattern};

const TOPICS: &str = "the name of a topic, a pattern of names that starts with ^, or a list of them";
const START: &str = "\"earliest\", \"latest\", a time such as \"2024-01-31T00:00:00Z\", or offsets by partition such as \
                     { \"0\" = 100 }";

/// Reads where a stream's messages come from.
pub(crate) fn kafka(table: &Table<'_>) -> Result<Option<KafkaSpec>, SchemaError> {
    let Some(value) = table.get("kafka") else { return Ok(None) };
    let known = ["topic", "start", "tombstones", "format", "headers"];
    let table = value.table(&known, "a table such as { topic = \"sales\" }")?;
    let topics = topics(&table.need("topic", TOPICS)?)?;
    let start = table.get("start").map_or(Ok(KafkaStart::Earliest), |value| start(&value))?;
    let words = [("quarantine", Tombstones::Quarantine), ("skip", Tombstones::Skip)];
    let tombstones = table.get("tombstones").map_or(Ok(Tombstones::Quarantine), |value| value.choice(&words))?;
    let formats =
        [KafkaFormat::Json, KafkaFormat::JsonRegistered, KafkaFormat::Avro].map(|format| (format.word(), format));
    let format = table.get("format").map_or(Ok(KafkaFormat::Json), |value| value.choice(&formats))?;
    let headers = table.get("headers").map_or(Ok(false), |value| value.boolean())?;
    let spec = KafkaSpec { topics, start, tombstones, format, headers };
    match table.get("start") {
        Some(value) if matches!(spec.start, KafkaStart::Offsets(_)) && spec.topic().is_none() => {
            Err(value.wrong("no offsets where there can be more than one topic"))
        }
        _ => Ok(Some(spec)),
    }
}

fn topics(value: &Value<'_>) -> Result<Vec<String>, SchemaError> {
    let topics = value.one_or_more_texts(TOPICS)?;
    if topics.is_empty() {
        return Err(value.wrong(TOPICS));
    }
    for topic in &topics {
        if is_pattern(topic) {
            Regex::new(topic).map_err(|error| {
                let reason = error.to_string();
                value.wrong(format!("a regular expression: {}", reason.lines().last().unwrap_or(&reason)))
            })?;
        } else if !topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(
                value.wrong("letters, digits, `.`, `_` and `-` in the name of a topic; a pattern starts with ^")
            );
        }
    }
    Ok(topics)
}

fn start(value: &Value<'_>) -> Result<KafkaStart, SchemaError> {
    if let Ok(offsets) = value.open_table(START) {
        let offset = |(partition, value): (&str, Value<'_>)| {
            let id = partition.parse().ok().filter(|id: &i32| *id >= 0);
            let id = id.ok_or_else(|| value.wrong("numbers of partitions as keys"))?;
            Ok((id, value.integer(0..i64::MAX, "an offset, which is 0 or more")?))
        };
        return Ok(KafkaStart::Offsets(offsets.entries().map(offset).collect::<Result<BTreeMap<_, _>, _>>()?));
    }
    match value.scalar_text(START)?.as_str() {
        "earliest" => Ok(KafkaStart::Earliest),
        "latest" => Ok(KafkaStart::Latest),
        text => {
            let time = DateTime::parse_from_rfc3339(text).map_err(|_| value.wrong(START))?;
            Ok(KafkaStart::Timestamp(time.with_timezone(&Utc)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kafka: &str) -> Result<KafkaSpec, String> {
        let text = format!("description = \"d\"\nkafka = {kafka}\n[fields]\na = {{ type = \"int\" }}\n");
        let contract = crate::text::contract::contract("s", "s.toml", &text).map_err(|error| error.to_string())?;
        contract.kafka.ok_or_else(|| "no topic".to_owned())
    }

    #[test]
    fn topics_and_where_they_start() {
        let spec = read("{ topic = [\"sales\", \"^sales_[a-z]+$\"], tombstones = \"skip\" }").expect("right");
        assert_eq!((spec.topic(), spec.shown().as_str()), (None, "sales, ^sales_[a-z]+$"));
        assert_eq!((spec.start, spec.tombstones), (KafkaStart::Earliest, Tombstones::Skip));
        assert_eq!((spec.format, spec.headers), (KafkaFormat::Json, false));
        let spec = read("{ topic = \"t\", format = \"avro\", headers = true }").expect("right");
        assert_eq!((spec.format, spec.headers), (KafkaFormat::Avro, true));
        let at = |start: &str| read(&format!("{{ topic = \"t\", start = {start} }}")).expect("right").start;
        let time = DateTime::parse_from_rfc3339("2026-11-27T01:00:00Z").expect("a time").with_timezone(&Utc);
        assert_eq!(at("\"latest\""), KafkaStart::Latest);
        assert_eq!(at("\"2026-11-27T02:00:00+01:00\""), KafkaStart::Timestamp(time));
        assert_eq!(at("2026-11-27T01:00:00Z"), KafkaStart::Timestamp(time));
        assert_eq!(at("{ \"0\" = 100, 1 = 250 }"), KafkaStart::Offsets(BTreeMap::from([(0, 100), (1, 250)])));
    }

    #[test]
    fn what_names_no_topic_or_start_is_refused() {
        for (kafka, expected) in [
            ("{ topic = [] }", "a pattern of names that starts with ^"),
            ("{ topic = \"sales_*\" }", "in the name of a topic; a pattern starts with ^"),
            ("{ topic = \"^sales_(\" }", "a regular expression: error: unclosed group"),
            ("{ topic = \"t\", start = \"yesterday\" }", "a time such as"),
            ("{ topic = \"t\", start = \"2026-11-27T00:00:00\" }", "a time such as"),
            ("{ topic = \"t\", start = { zero = 1 } }", "numbers of partitions as keys"),
            ("{ topic = \"t\", start = { \"0\" = -1 } }", "0 or more"),
            ("{ topic = \"t\", format = \"protobuf\" }", "one of \"json\", \"json_sr\", \"avro\""),
            ("{ topic = \"t\", headers = \"yes\" }", "true or false"),
            ("{ topic = \"^t\", start = { \"0\" = 1 } }", "no offsets where there can be more than one topic"),
        ] {
            let error = read(kafka).expect_err(kafka);
            assert!(error.contains(expected), "{kafka}: {error}");
        }
    }
}
