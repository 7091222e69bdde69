//! Why a record is quarantined: the text of `_error`.

use std::fmt;

/// The reason that a record was not decoded. Made only for bad records, so its texts may allocate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Nothing but white space.
    Empty,
    /// Longer than the contract allows.
    TooLong { length: u64, limit: usize, hash: u128 },
    /// Not UTF-8.
    NotText,
    /// Not one JSON object.
    Json { what: &'static str, at: usize },
    /// Objects and lists nested too deep.
    TooDeep,
    /// A name twice in one object.
    Repeated { name: String },
    /// A required field absent or null.
    Missing { field: String },
    /// A value that its type cannot hold.
    Unfit { field: String, found: String, kind: String },
    /// A field that the contract does not name, where it forbids that.
    Unknown { name: String },
    /// A CSV row that is not one of the header's width.
    Width { found: usize, wanted: usize },
    /// A CSV row without any value.
    Blank,
    /// The header line again.
    RepeatedHeader,
    /// A CSV row with wrong quotes or characters.
    Csv { what: &'static str },
    /// No id of a schema before the record.
    NoSchemaId { length: usize },
    /// A schema, or a record under it, that cannot be used.
    Schema { id: u32, what: String },
    /// The records of the batch are too long together, once they are text.
    TooMuchText,
    /// A rule of the contract is broken.
    Rule { rule: String },
    /// An event time too long after the arrival.
    FromTheFuture { field: String },
}

/// What decoding a piece of a record gives; boxed, so that the good case stays one word.
pub(crate) type Fate<T> = Result<T, Box<Reject>>;

impl Reject {
    /// A syntax error at byte `at` of the record.
    #[cold]
    pub(crate) fn json(what: &'static str, at: usize) -> Box<Self> {
        Box::new(Reject::Json { what, at })
    }

    /// A value of field `field` that does not fit `kind`.
    #[cold]
    pub(crate) fn unfit(field: &str, found: &[u8], kind: &impl ToString) -> Box<Self> {
        let found = shortened(&String::from_utf8_lossy(found));
        Box::new(Reject::Unfit { field: field.to_owned(), found, kind: kind.to_string() })
    }

    /// What is wrong with the schema of this id, or with a record under it.
    #[cold]
    pub(crate) fn schema(id: u32, what: &str) -> Box<Self> {
        Box::new(Reject::Schema { id, what: what.to_owned() })
    }

    /// The same, said of a field within item `index` of list `list`.
    #[cold]
    pub(crate) fn within(mut self: Box<Self>, list: &str, index: usize) -> Box<Self> {
        match self.as_mut() {
            Reject::Repeated { name: text }
            | Reject::Missing { field: text }
            | Reject::Unfit { field: text, .. }
            | Reject::Unknown { name: text } => *text = format!("{list}[{index}].{text}"),
            _ => {}
        }
        self
    }
}

/// A text for a message: at most 80 characters of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// How the reason of a record begins of which only the start was kept.
pub(crate) const CUT: &str = "too long: ";

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reject::Empty => f.write_str("empty message"),
            Reject::TooLong { length, limit, hash } => {
                write!(f, "{CUT}{length} bytes, at most {limit} are read; xxh3 {hash:032x}")
            }
            Reject::NotText => f.write_str("not text: invalid UTF-8"),
            Reject::Json { what, at } => write!(f, "not one JSON object: {what} at byte {at}"),
            Reject::TooDeep => write!(f, "nested deeper than {} levels", super::json::MAX_DEPTH),
            Reject::Repeated { name } => write!(f, "{}: name occurs twice", shortened(name)),
            Reject::Missing { field } => write!(f, "{field}: required, but absent or null"),
            Reject::Unfit { field, found, kind } => write!(f, "{field}: {found} does not fit {kind}"),
            Reject::Unknown { name } => write!(f, "{}: not a field of the contract", shortened(name)),
            Reject::Width { found, wanted } => write!(f, "{found} fields where the header has {wanted}"),
            Reject::Blank => f.write_str("blank row"),
            Reject::RepeatedHeader => f.write_str("repeated header"),
            Reject::Csv { what } => f.write_str(what),
            Reject::NoSchemaId { length: ..5 } => f.write_str("no schema id: shorter than the 5 bytes before a record"),
            Reject::NoSchemaId { .. } => f.write_str("no schema id: the message does not start with the magic byte 0"),
            Reject::Schema { id, what } => write!(f, "schema id {id}: {what}"),
            Reject::TooMuchText => f.write_str("too long as JSON, with the records beside it"),
            Reject::Rule { rule } => write!(f, "rule broken: {rule}"),
            Reject::FromTheFuture { field } => write!(f, "{field}: more than a day after the arrival"),
        }
    }
}
