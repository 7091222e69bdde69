//! Records that a person edited: the lines of `quarantine show --format ndjson`, changed and given back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use session::functions::raw_text::unescaped;

use super::open::{Place, Record};
use crate::IngestError;

/// A file of edited records: one JSON object a line with `stream`, `source`, `partition` and `offset`, which name the
/// quarantined row, and `raw`, the record's new text. With `escaped` true `raw` has `\xNN` for bytes that are no text and
/// `\\` for a backslash. `header` is the header line of a CSV record, null makes it JSON; where it is absent, it stays.
/// Further columns that `show` prints (`arrived_at`, `ingested_at`, `reason`, `mended`) are passed over.
#[derive(Debug, Default)]
pub struct Edits {
    file: String,
    streams: BTreeMap<String, HashMap<Place, Edit>>,
}

#[derive(Debug)]
struct Edit {
    line: usize,
    raw: Vec<u8>,
    /// `None`: the quarantined record's own.
    header: Option<Option<Arc<str>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    stream: String,
    source: String,
    partition: i32,
    offset: i64,
    raw: String,
    #[serde(default)]
    escaped: bool,
    #[serde(default, deserialize_with = "present")]
    header: Option<Option<String>>,
    #[serde(default, rename = "arrived_at")]
    _arrived_at: IgnoredAny,
    #[serde(default, rename = "ingested_at")]
    _ingested_at: IgnoredAny,
    #[serde(default, rename = "reason")]
    _reason: IgnoredAny,
    #[serde(default, rename = "mended")]
    _mended: IgnoredAny,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(value).map(Some)
}

impl Edits {
    /// Reads the lines of `text`, the content of `file`; blank ones are passed over.
    ///
    /// # Errors
    /// [`IngestError::Edit`], with file and line: no such object, a row named twice, a wrong escape.
    pub fn parse(file: &str, text: &str) -> Result<Self, IngestError> {
        let mut edits = Self { file: file.to_owned(), streams: BTreeMap::new() };
        for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let number = index + 1;
            let line: Line = serde_json::from_str(text).map_err(|error| edits.wrong(number, error))?;
            let raw = match line.escaped {
                false => line.raw.into_bytes(),
                true => unescaped(&line.raw)
                    .ok_or_else(|| edits.wrong(number, r"raw: expected \\ or \xNN after a backslash"))?,
            };
            let place = Place { source: line.source.into(), partition: line.partition, offset: line.offset };
            let edit = Edit { line: number, raw, header: line.header.map(|header| header.map(Into::into)) };
            if let Some(before) = edits.streams.entry(line.stream).or_default().insert(place, edit) {
                return Err(edits.wrong(number, format!("names the same row as line {}", before.line)));
            }
        }
        Ok(edits)
    }

    /// The streams whose records were edited.
    pub(super) fn streams(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    /// The edits of one stream.
    pub(super) fn of<'a>(&'a self, stream: &str) -> Matching<'a> {
        Matching { all: self, edits: self.streams.get(stream), seen: HashSet::new(), mended_before: 0 }
    }

    fn wrong(&self, line: usize, reason: impl ToString) -> IngestError {
        IngestError::Edit { file: self.file.clone(), line, reason: reason.to_string() }
    }
}

/// The edits of one stream, while the rows that they name are looked for.
pub(super) struct Matching<'a> {
    all: &'a Edits,
    edits: Option<&'a HashMap<Place, Edit>>,
    seen: HashSet<usize>,
    /// Edits whose record was mended before.
    pub mended_before: u64,
}

impl Matching<'_> {
    /// Edits a record; false for one that is to be left out: not edited, or mended before.
    pub fn apply(&mut self, record: &mut Record) -> bool {
        let Some(edit) = self.edits.and_then(|edits| edits.get(&record.place)) else { return false };
        self.seen.insert(edit.line);
        if record.is_mended {
            self.mended_before += 1;
            return false;
        }
        record.raw.clone_from(&edit.raw);
        if let Some(header) = &edit.header {
            record.header.clone_from(header);
        }
        record.is_edited = true;
        true
    }

    /// Refuses a line that named no row.
    ///
    /// # Errors
    /// [`IngestError::Edit`] for the first such line.
    pub fn check(&self) -> Result<(), IngestError> {
        let unseen = self.edits.into_iter().flatten().filter(|(_, edit)| !self.seen.contains(&edit.line));
        match unseen.min_by_key(|(_, edit)| edit.line) {
            None => Ok(()),
            Some((Place { source, partition, offset }, edit)) => {
                let reason =
                    format!("no row in quarantine has source {source:?}, partition {partition}, offset {offset}");
                Err(self.all.wrong(edit.line, reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rest: &str) -> String {
        format!("{{\"stream\":\"s\",\"source\":\"files:a\",\"partition\":1,\"offset\":2,{rest}}}")
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, reason) in [
            (line("\"raw\":\"{}\",\"note\":1"), "f.ndjson:1: unknown field `note`"),
            (line("\"offset\":3,\"raw\":\"\""), "duplicate field"),
            (line("\"raw\":\"a\\\\z\",\"escaped\":true"), "f.ndjson:1: raw: expected"),
            (
                format!("{}\n\n{}", line("\"raw\":\"\""), line("\"raw\":\"\"")),
                "f.ndjson:3: names the same row as line 1",
            ),
            ("{}".to_owned(), "missing field `stream`"),
        ] {
            let error = Edits::parse("f.ndjson", &text).expect_err(&text);
            assert!(error.to_string().contains(reason) && error.is_usage(), "{error}");
        }
    }
}
