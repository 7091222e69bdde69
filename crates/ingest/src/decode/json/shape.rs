//! Objects that the contract describes: names to fields, by the order in which the producer writes them.

use hashbrown::HashMap;
use schema::{Contract, Drift, Field};

use super::Scratch;
use super::cursor::{Cursor, Text, check_depth, unescape};
use super::names::Name;
use super::value::Spec;
use crate::decode::columns::Column;
use crate::decode::reject::{Fate, Reject};

/// Names longer than this, or at a later place, are looked up each time.
const LEARNED: usize = 256;

/// What an object of one kind holds, and how its names come.
pub(crate) struct Shape {
    pub(crate) fields: Vec<Spec>,
    by_name: HashMap<Box<[u8]>, u16, foldhash::fast::FixedState>,
    /// Per place in the object: the name that stood there last. Producers write one order for hours.
    order: Vec<Slot>,
    /// Per field: the number of the object in which it was last seen.
    seen_in: Vec<u64>,
    object: u64,
}

struct Slot {
    /// The name with its quotes and the colon.
    token: Box<[u8]>,
    field: Option<u16>,
}

/// A name that was read: a field, or the name of something else.
enum Key<'a> {
    Field(usize),
    Unknown((usize, Text<'a>)),
}

impl Shape {
    /// The shape of records of `contract`.
    pub(crate) fn new(contract: &Contract) -> Self {
        Shape::of(&contract.fields, contract)
    }

    pub(crate) fn of(fields: &[Field], contract: &Contract) -> Self {
        let names =
            fields.iter().enumerate().flat_map(|(i, f)| f.wire_names().map(move |n| (n.as_bytes().into(), i as u16)));
        Shape {
            by_name: names.collect(),
            fields: fields.iter().map(|f| Spec::new(f, contract)).collect(),
            order: Vec::new(),
            seen_in: vec![0; fields.len()],
            object: 0,
        }
    }

    /// The field that a name on the wire belongs to.
    pub(crate) fn field(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).map(|field| usize::from(*field))
    }

    /// Reads an object from behind its brace, one value or null for each field. `depth` is its level.
    pub(crate) fn object(
        &mut self,
        cursor: &mut Cursor<'_>,
        columns: &mut [Column],
        depth: usize,
        scratch: &mut Scratch,
    ) -> Fate<()> {
        check_depth(depth)?;
        self.object += 1;
        let first_name = scratch.names.open();
        let (mut place, mut seen) = (0, 0);
        cursor.white();
        let mut more = cursor.peek() != Some(b'}');
        cursor.at += usize::from(!more);
        while more {
            let start = cursor.at;
            match self.key(cursor, &mut place)? {
                Key::Field(field) => {
                    if std::mem::replace(&mut self.seen_in[field], self.object) == self.object {
                        return Err(Box::new(Reject::Repeated { name: self.fields[field].name.clone() }));
                    }
                    seen += 1;
                    self.fields[field].read(cursor, &mut columns[field], depth, scratch)?;
                    if scratch.unknown_within && depth == 1 {
                        scratch.unknown_within = false;
                        scratch.rescued.push(start..cursor.at);
                    }
                }
                Key::Unknown(name) => {
                    if scratch.drift == Drift::Fail {
                        let name = String::from_utf8_lossy(name.1.raw).into_owned();
                        return Err(Box::new(Reject::Unknown { name }));
                    }
                    scratch.names.add(first_name, Name::new(&name), cursor.bytes)?;
                    cursor.skip(depth, &mut scratch.names)?;
                    match depth {
                        1 => scratch.rescued.push(start..cursor.at),
                        _ => scratch.unknown_within = true,
                    }
                }
            }
            more = cursor.more(b'}', "expected , or } in an object")?;
        }
        scratch.names.close(first_name, cursor.bytes)?;
        if seen < self.fields.len() { self.fill(columns) } else { Ok(()) }
    }

    /// Fields that the object does not have.
    fn fill(&self, columns: &mut [Column]) -> Fate<()> {
        for ((field, seen_in), column) in self.fields.iter().zip(&self.seen_in).zip(columns) {
            if *seen_in != self.object {
                field.absent(column)?;
            }
        }
        Ok(())
    }

    /// Reads a name and the colon after it. `place` is where the order is expected to go on.
    #[inline]
    fn key<'a>(&mut self, cursor: &mut Cursor<'a>, place: &mut usize) -> Fate<Key<'a>> {
        let rest = &cursor.bytes[cursor.at..];
        // The next place too: an optional field that is absent this time moves the others forward.
        for (skipped, slot) in self.order.iter().skip(*place).take(2).enumerate() {
            if rest.starts_with(&slot.token) {
                *place += skipped + 1;
                let start = cursor.at + 1;
                cursor.at += slot.token.len();
                cursor.white();
                return Ok(match slot.field {
                    Some(field) => Key::Field(field.into()),
                    None => {
                        let raw = &cursor.bytes[start..start + slot.token.len() - 3];
                        Key::Unknown((start, Text { raw, escaped: false }))
                    }
                });
            }
        }
        self.look_up(cursor, place)
    }

    #[inline(never)]
    fn look_up<'a>(&mut self, cursor: &mut Cursor<'a>, place: &mut usize) -> Fate<Key<'a>> {
        let start = cursor.at;
        let name = cursor.name()?;
        let field = if name.1.escaped {
            let mut resolved = Vec::new();
            unescape(name.1.raw, &mut resolved);
            self.field(&resolved)
        } else {
            self.field(name.1.raw)
        };
        let is_plain = !name.1.escaped && cursor.peek() == Some(b':') && name.1.raw.len() <= LEARNED;
        if is_plain && *place <= self.order.len() && *place < LEARNED {
            let token = cursor.bytes[start..cursor.at + 1].into();
            let slot = Slot { token, field: field.map(|f| f as u16) };
            match self.order.get_mut(*place) {
                Some(known) => *known = slot,
                None => self.order.push(slot),
            }
        }
        *place += 1;
        cursor.colon()?;
        Ok(field.map_or(Key::Unknown(name), Key::Field))
    }
}
