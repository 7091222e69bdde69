//! Strict reading of TOML tables: every key is known, every error has a file, a line and a key.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Location, SchemaError};

/// A piece of TOML in a file.
pub(crate) struct Toml<'a> {
    path: &'a str,
    text: &'a str,
    /// The 1-based line of the file on which `text` starts.
    first_line: usize,
}

impl<'a> Toml<'a> {
    pub(crate) fn new(path: &'a str, text: &'a str, first_line: usize) -> Self {
        Toml { path, text, first_line }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// [`SchemaError::Syntax`], also for a key that stands twice in a table.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'a>>, SchemaError> {
        DeTable::parse(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            SchemaError::Syntax { at: self.at(offset), message: error.message().trim().replace('\n', ", ") }
        })
    }

    /// The place of a byte of the text.
    pub(crate) fn at(&self, offset: usize) -> Location {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count();
        Location { path: self.path.to_owned(), line: self.first_line + line }
    }
}

/// A table being read, all of whose keys are known.
pub(crate) struct Table<'a> {
    toml: &'a Toml<'a>,
    /// The table's own key with a dot after it, or nothing for the root.
    prefix: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

/// A value with its place and key.
pub(crate) struct Value<'a> {
    toml: &'a Toml<'a>,
    /// The full key, `fields.price.type`.
    pub(crate) key: String,
    spanned: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    /// The root table.
    ///
    /// # Errors
    /// [`SchemaError::UnknownKey`] for the first key that is not in `known`.
    pub(crate) fn root(
        toml: &'a Toml<'a>,
        root: &'a Spanned<DeTable<'a>>,
        known: &[&str],
    ) -> Result<Self, SchemaError> {
        let table = Table { toml, prefix: String::new(), span: root.span(), entries: root.get_ref() };
        table.check_keys(known)?;
        Ok(table)
    }

    fn check_keys(&self, known: &[&str]) -> Result<(), SchemaError> {
        match self.entries.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some(key) => Err(SchemaError::UnknownKey {
                at: self.toml.at(key.span().start),
                key: format!("{}{}", self.prefix, key.get_ref()),
                suggestion: closest(key.get_ref(), known),
                expected: known.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// Where the table starts.
    pub(crate) fn at(&self) -> Location {
        self.toml.at(self.span.start)
    }

    /// The value of `key`, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        let spanned = self.entries.get(key)?;
        Some(Value { toml: self.toml, key: format!("{}{key}", self.prefix), spanned })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`SchemaError::MissingKey`]
    pub(crate) fn need(&self, key: &str, expected: &str) -> Result<Value<'a>, SchemaError> {
        self.get(key).ok_or_else(|| SchemaError::MissingKey {
            at: self.at(),
            key: format!("{}{key}", self.prefix),
            expected: expected.to_owned(),
        })
    }

    /// All entries, in file order: name, place of the name, value.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.entries.iter().map(|(key, spanned)| {
            let value = Value { toml: self.toml, key: format!("{}{}", self.prefix, key.get_ref()), spanned };
            (key.get_ref().as_ref(), value)
        })
    }

    /// A text that must be there and not be blank.
    pub(crate) fn text(&self, key: &str, expected: &str) -> Result<String, SchemaError> {
        self.need(key, expected)?.text(expected)
    }

    /// A text that may be absent.
    pub(crate) fn optional_text(&self, key: &str, expected: &str) -> Result<Option<String>, SchemaError> {
        self.get(key).map(|value| value.text(expected)).transpose()
    }

    /// A list of texts; absent: empty.
    pub(crate) fn texts(&self, key: &str, expected: &str) -> Result<Vec<String>, SchemaError> {
        self.get(key).map_or(Ok(Vec::new()), |value| value.texts(expected))
    }
}

impl<'a> Value<'a> {
    /// Where the value stands.
    pub(crate) fn at(&self) -> Location {
        self.toml.at(self.spanned.span().start)
    }

    /// The refusal of this value.
    pub(crate) fn wrong(&self, expected: impl Into<String>) -> SchemaError {
        SchemaError::WrongValue { at: self.at(), key: self.key.clone(), found: self.shown(), expected: expected.into() }
    }

    /// The value as the file has it, shortened.
    fn shown(&self) -> String {
        let text = self.toml.text.get(self.spanned.span()).unwrap_or_default().trim();
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return format!("a {}", self.spanned.get_ref().type_str());
        }
        let short: String = line.chars().take(60).collect();
        if short.len() < text.len() { format!("{short}...") } else { short }
    }

    /// A text that is not blank.
    pub(crate) fn text(&self, expected: &str) -> Result<String, SchemaError> {
        match self.spanned.get_ref().as_str() {
            Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
            _ => Err(self.wrong(expected)),
        }
    }

    /// A list of texts that are not blank and do not repeat.
    pub(crate) fn texts(&self, expected: &str) -> Result<Vec<String>, SchemaError> {
        let items = self.items().ok_or_else(|| self.wrong(expected))?;
        let mut texts: Vec<String> = Vec::new();
        for item in items {
            let text = item.text(expected)?;
            if texts.contains(&text) {
                return Err(item.wrong("each value once"));
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// A text, or a list of them.
    pub(crate) fn one_or_more_texts(&self, expected: &str) -> Result<Vec<String>, SchemaError> {
        if self.spanned.get_ref().is_str() { Ok(vec![self.text(expected)?]) } else { self.texts(expected) }
    }

    /// The items of an array.
    pub(crate) fn items(&self) -> Option<Vec<Value<'a>>> {
        let array = self.spanned.get_ref().as_array()?;
        let item = |spanned| Value { toml: self.toml, key: self.key.clone(), spanned };
        Some(array.iter().map(item).collect())
    }

    /// One of a fixed set of words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, SchemaError> {
        let found = self.spanned.get_ref().as_str();
        let chosen = choices.iter().find(|(word, _)| Some(*word) == found);
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(format!("one of {}", words.join(", ")))
        })
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Result<bool, SchemaError> {
        self.spanned.get_ref().as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// An integer within `range`.
    pub(crate) fn integer(&self, range: Range<i64>, expected: &str) -> Result<i64, SchemaError> {
        let parsed = self.spanned.get_ref().as_integer();
        let parsed = parsed.and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok());
        parsed.filter(|value| range.contains(value)).ok_or_else(|| self.wrong(expected))
    }

    /// A number, written with or without a point.
    pub(crate) fn number(&self, expected: &str) -> Result<f64, SchemaError> {
        let value = self.spanned.get_ref();
        let text = value.as_float().map(|f| f.as_str()).or_else(|| value.as_integer().map(|i| i.as_str()));
        text.and_then(|t| t.parse().ok()).ok_or_else(|| self.wrong(expected))
    }

    /// A number with a unit: an integer, or a text such as `"16 MiB"`. `units` gives each unit's factor.
    pub(crate) fn quantity(&self, units: &[(&str, u64)], expected: &str) -> Result<u64, SchemaError> {
        let value = self.spanned.get_ref();
        let parsed = match value.as_str() {
            Some(text) => {
                let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let (number, unit) = text.split_at(digits);
                let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
                number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f))
            }
            None => value.as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok()),
        };
        parsed.filter(|n| *n > 0).ok_or_else(|| self.wrong(expected))
    }

    /// Any scalar as text: `1`, `1.5`, `true`, `2024-01-31`, `"text"`.
    pub(crate) fn scalar_text(&self, expected: &str) -> Result<String, SchemaError> {
        match self.spanned.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(i) if i.radix() == 10 => Ok(i.as_str().to_owned()),
            DeValue::Float(f) => Ok(f.as_str().to_owned()),
            DeValue::Boolean(b) => Ok(b.to_string()),
            DeValue::Datetime(d) => Ok(d.to_string()),
            _ => Err(self.wrong(expected)),
        }
    }

    /// A table with these keys.
    pub(crate) fn table(&self, known: &[&str], expected: &str) -> Result<Table<'a>, SchemaError> {
        let table = self.open_table(expected)?;
        table.check_keys(known)?;
        Ok(table)
    }

    /// A table with keys of the user's choice.
    pub(crate) fn open_table(&self, expected: &str) -> Result<Table<'a>, SchemaError> {
        let entries = self.spanned.get_ref().as_table().ok_or_else(|| self.wrong(expected))?;
        Ok(Table { toml: self.toml, prefix: format!("{}.", self.key), span: self.spanned.span(), entries })
    }
}

/// The known word that is most like `word`, if any is like it at all.
pub(crate) fn closest(word: &str, known: &[&str]) -> Option<String> {
    let scored = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), *k));
    let (distance, best) = scored.min_by_key(|(distance, _)| *distance)?;
    let tolerated = (word.len().max(best.len()) / 3).max(1);
    (distance <= tolerated).then(|| best.to_owned())
}
