//! JSON records straight into columns, in one pass over their bytes.
//!
//! A record is exactly one JSON object (RFC 8259, in UTF-8, no byte order mark) in which no object, at any depth,
//! repeats a name; names are compared after their escapes are resolved, and in the objects that the contract describes
//! a field and its aliases are one name. Escapes must give Unicode: half a surrogate pair is refused, in fields that
//! the contract does not name as well. Those fields are otherwise kept as they came.

mod cursor;
mod names;
mod shape;
mod value;

use std::ops::Range;

use schema::{Contract, Drift};

use super::columns::{Column, Texts};
use super::reject::{Fate, Reject};
pub(crate) use cursor::Cursor;
use cursor::plain_end;
use names::Names;
pub(crate) use shape::Shape;

/// The greatest nesting of objects and lists in a record; the record itself is level 1.
pub(crate) const MAX_DEPTH: usize = 100;

/// What decoding a record needs besides the columns; kept between records for its memory.
pub(crate) struct Scratch {
    /// Names in the objects that are open.
    names: Names,
    /// A text with escapes, resolved.
    text: Vec<u8>,
    /// Where fields of the record that the contract does not name (or that hold such fields) stand: name and value.
    rescued: Vec<Range<usize>>,
    /// Whether the list that was just read holds fields that the contract does not name.
    unknown_within: bool,
    /// How many clock times of the record do not exist or exist twice.
    pub(crate) special_clocks: u32,
    drift: Drift,
}

impl Scratch {
    pub(crate) fn new(contract: &Contract) -> Self {
        Scratch {
            names: Names::default(),
            text: Vec::new(),
            rescued: Vec::new(),
            unknown_within: false,
            special_clocks: 0,
            drift: contract.drift,
        }
    }

    /// Whether the list that was just read holds fields that the contract does not name; asked once.
    pub(crate) fn take_unknown(&mut self) -> bool {
        std::mem::take(&mut self.unknown_within)
    }

    /// Forgets what the last record left.
    pub(crate) fn clear(&mut self) {
        self.names.clear();
        self.rescued.clear();
        self.unknown_within = false;
        self.special_clocks = 0;
    }
}

/// Appends the fields of one record (valid UTF-8) to `columns`, and what the contract does not name to `rescued`.
///
/// # Errors
/// Why the record is bad; the columns then hold part of it and must be cut back to their rows before.
pub(crate) fn record(
    bytes: &[u8],
    shape: &mut Shape,
    columns: &mut [Column],
    rescued: &mut Texts,
    scratch: &mut Scratch,
) -> Fate<()> {
    scratch.clear();
    let mut cursor = Cursor::new(bytes, 0);
    cursor.white();
    match cursor.peek() {
        Some(b'{') => cursor.at += 1,
        Some(_) => return Err(Reject::json("expected {", cursor.at)),
        None => return Err(Box::new(Reject::Empty)),
    }
    shape.object(&mut cursor, columns, 1, scratch)?;
    cursor.white();
    if cursor.at < bytes.len() {
        return Err(Reject::json("text after the object", cursor.at));
    }
    match scratch.rescued.as_slice() {
        [] => rescued.push_null(),
        parts => rescue(bytes, parts, rescued),
    }
    Ok(())
}

/// One object of the parts of a record, as they came.
fn rescue(bytes: &[u8], parts: &[Range<usize>], rescued: &mut Texts) {
    for (i, part) in parts.iter().enumerate() {
        rescued.bytes.push(if i == 0 { b'{' } else { b',' });
        rescued.bytes.extend_from_slice(&bytes[part.clone()]);
    }
    rescued.bytes.push(b'}');
    rescued.end_row();
}

/// Appends a text (valid UTF-8) with its quotes and escapes.
pub(crate) fn push_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    loop {
        let end = plain_end(text, from);
        out.extend_from_slice(&text[from..end]);
        match text.get(end) {
            None => break,
            Some(byte @ (b'"' | b'\\')) => out.extend([b'\\', *byte]),
            Some(byte) => out.extend(format!("\\u{byte:04x}").bytes()),
        }
        from = end + 1;
    }
    out.push(b'"');
}
