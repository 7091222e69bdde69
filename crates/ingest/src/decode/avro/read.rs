//! One record from its bytes, written as JSON text.

use super::schema::{AvroSchema, Node, NodeId};
use super::values;
use crate::decode::json::{MAX_DEPTH, push_text};

/// Why bytes are not one record of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// What is wrong, and at which byte.
    Bytes { what: &'static str, at: usize },
    /// Nested too deep.
    TooDeep,
    /// Its text would be longer than the limit.
    TooLong,
}

type Read<T> = Result<T, Wrong>;

impl AvroSchema {
    /// Appends the record that `bytes` are, as a JSON object of at most `limit` bytes.
    ///
    /// # Errors
    /// Why they are not exactly one record; `out` then holds part of one.
    pub(crate) fn write_json(&self, bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Wrong> {
        let mut reader = Reader { nodes: &self.nodes, bytes, at: 0, most: out.len() + limit };
        reader.value(self.root, out, 1)?;
        if reader.at < bytes.len() {
            return Err(reader.wrong("bytes after the record"));
        }
        Ok(())
    }
}

struct Reader<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    at: usize,
    /// The greatest length of what is written.
    most: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &'static str) -> Wrong {
        Wrong::Bytes { what, at: self.at }
    }

    fn value(&mut self, id: NodeId, out: &mut Vec<u8>, depth: usize) -> Read<()> {
        // Each value writes something, so that neither a count of empty items nor a record of itself goes on for ever.
        if out.len() > self.most {
            return Err(Wrong::TooLong);
        }
        let nodes = self.nodes;
        match &nodes[id] {
            Node::Null => out.extend_from_slice(b"null"),
            Node::Boolean => match self.byte()? {
                0 => out.extend_from_slice(b"false"),
                1 => out.extend_from_slice(b"true"),
                _ => return Err(self.wrong("a boolean that is neither 0 nor 1")),
            },
            Node::Int => values::integer(self.int()?.into(), out),
            Node::Long => values::integer(self.long()?, out),
            Node::Float => values::float(f32::from_le_bytes(self.array()?), out),
            Node::Double => values::float(f64::from_le_bytes(self.array()?), out),
            Node::String => {
                let at = self.at;
                let text = self.sized(None)?;
                if simdutf8::basic::from_utf8(text).is_err() {
                    return Err(Wrong::Bytes { what: "a string that is not UTF-8", at });
                }
                push_text(text, out);
            }
            Node::Bytes { fixed } => values::bytes(self.sized(*fixed)?, out),
            Node::Decimal { fixed, scale } => {
                let at = self.at;
                let number = self.sized(*fixed)?;
                if number.is_empty() {
                    return Err(Wrong::Bytes { what: "a decimal without bytes", at });
                }
                values::decimal(number, *scale, out);
            }
            Node::Uuid => values::uuid(self.array()?, out),
            Node::Date => values::date(self.int()?, out),
            Node::Time(unit) => {
                let count = self.long()?;
                values::time(count, *unit, out);
            }
            Node::Timestamp { unit, local } => values::timestamp(self.long()?, *unit, *local, out),
            Node::Enum(symbols) => {
                let symbol = self.choice(symbols, "a symbol that the schema does not have")?;
                out.extend_from_slice(symbol);
            }
            Node::Union(branches) => {
                let branch = *self.choice(branches, "a branch of a union that the schema does not have")?;
                self.value(branch, out, depth)?;
            }
            Node::Record(fields) => self.record(fields, out, depth)?,
            Node::Array(items) => self.array_of(*items, out, depth)?,
            Node::Map(values) => self.map_of(*values, out, depth)?,
        }
        if out.len() > self.most { Err(Wrong::TooLong) } else { Ok(()) }
    }

    fn record(&mut self, fields: &[(Box<[u8]>, NodeId)], out: &mut Vec<u8>, depth: usize) -> Read<()> {
        check_depth(depth)?;
        out.push(b'{');
        for (index, (name, kind)) in fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            self.value(*kind, out, depth + 1)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn array_of(&mut self, kind: NodeId, out: &mut Vec<u8>, depth: usize) -> Read<()> {
        self.items(*b"[]", out, depth, |reader, out| reader.value(kind, out, depth + 1))
    }

    fn map_of(&mut self, kind: NodeId, out: &mut Vec<u8>, depth: usize) -> Read<()> {
        self.items(*b"{}", out, depth, |reader, out| {
            let at = reader.at;
            let name = reader.sized(None)?;
            if simdutf8::basic::from_utf8(name).is_err() {
                return Err(Wrong::Bytes { what: "a name that is not UTF-8", at });
            }
            push_text(name, out);
            out.push(b':');
            reader.value(kind, out, depth + 1)
        })
    }

    /// The items of an array or map, each written by `one`, between brackets.
    fn items(
        &mut self,
        [open, close]: [u8; 2],
        out: &mut Vec<u8>,
        depth: usize,
        one: impl Fn(&mut Self, &mut Vec<u8>) -> Read<()>,
    ) -> Read<()> {
        check_depth(depth)?;
        out.push(open);
        let mut first = true;
        while let Some(count) = self.block()? {
            for _ in 0..count {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                one(self, out)?;
            }
        }
        out.push(close);
        Ok(())
    }

    /// The number of items of the next block of an array or map; `None` at its end. A negative number is followed by the
    /// block's size, for those who pass over it.
    fn block(&mut self) -> Read<Option<u64>> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok(Some(count.unsigned_abs()).filter(|count| *count > 0))
    }

    fn choice<T>(&mut self, among: &'a [T], what: &'static str) -> Read<&'a T> {
        let at = self.at;
        let index = usize::try_from(self.int()?).ok();
        index.and_then(|index| among.get(index)).ok_or(Wrong::Bytes { what, at })
    }

    fn byte(&mut self) -> Read<u8> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.wrong("the record ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn int(&mut self) -> Read<i32> {
        let at = self.at;
        i32::try_from(self.long()?).map_err(|_| Wrong::Bytes { what: "an int of more than 32 bits", at })
    }

    /// A number in groups of 7 bits, the lowest first, whose lowest bit is its sign.
    #[inline]
    fn long(&mut self) -> Read<i64> {
        let (mut value, mut shift, at) = (0u64, 0, self.at);
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Wrong::Bytes { what: "a number of more than 64 bits", at });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
            shift += 7;
        }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let found = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>).copied();
        let found = found.ok_or_else(|| self.wrong("the record ends too early"))?;
        self.at += N;
        Ok(found)
    }

    /// So many bytes, or as many as the number before them says.
    fn sized(&mut self, fixed: Option<usize>) -> Read<&'a [u8]> {
        let at = self.at;
        let size = match fixed {
            Some(size) => size,
            None => {
                let size = self.long()?;
                usize::try_from(size).map_err(|_| Wrong::Bytes { what: "a negative length", at })?
            }
        };
        let bytes = self.bytes;
        let found = self.at.checked_add(size).and_then(|end| bytes.get(self.at..end));
        let found = found.ok_or(Wrong::Bytes { what: "the record ends too early", at })?;
        self.at += size;
        Ok(found)
    }
}

fn check_depth(depth: usize) -> Read<()> {
    if depth > MAX_DEPTH { Err(Wrong::TooDeep) } else { Ok(()) }
}
