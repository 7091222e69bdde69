//! One value into one column: the rules of each type.

use schema::{ClockTime, Contract, Field, FieldType};

use super::Scratch;
use super::cursor::{Cursor, Text, check_depth, unescape};
use super::shape::Shape;
use crate::decode::columns::{Column, Lists};
use crate::decode::number::{self, Number, Zeros};
use crate::decode::reject::{Fate, Reject};
use crate::decode::time::{Instant, TimeReader};

/// What a value of one field may be.
pub(crate) struct Spec {
    pub(crate) name: String,
    kind: FieldType,
    required: bool,
    accepts_integer: bool,
    time: TimeReader,
    /// Of a list: its items.
    items: Option<Box<Shape>>,
}

impl Spec {
    pub(crate) fn new(field: &Field, contract: &Contract) -> Self {
        let items = match &field.kind {
            FieldType::List(fields) => Some(Box::new(Shape::of(fields, contract))),
            _ => None,
        };
        Spec {
            name: field.name.clone(),
            kind: field.kind.clone(),
            required: field.required,
            accepts_integer: field.accepts_integer,
            time: TimeReader::new(contract.time_zone, &field.formats),
            items,
        }
    }

    /// A record without the field, or with null in it.
    pub(crate) fn absent(&self, column: &mut Column) -> Fate<()> {
        if self.required {
            return Err(Box::new(Reject::Missing { field: self.name.clone() }));
        }
        column.push_null();
        Ok(())
    }

    /// Reads the JSON value at the cursor. `depth` is the level of the object that holds it.
    #[inline]
    pub(crate) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        column: &mut Column,
        depth: usize,
        scratch: &mut Scratch,
    ) -> Fate<()> {
        let start = cursor.at;
        let fits = match (cursor.peek(), &mut *column) {
            (Some(b'"'), Column::Text(texts)) => {
                let text = cursor.text()?;
                match text.escaped {
                    true => unescape(text.raw, &mut texts.bytes),
                    false => texts.bytes.extend_from_slice(text.raw),
                }
                texts.end_row();
                true
            }
            (Some(b'"'), Column::Timestamp(_) | Column::Date(_)) => {
                let text = cursor.text()?;
                self.time_text(text, column, scratch)
            }
            (
                Some(b'-' | b'0'..=b'9'),
                Column::Int(_) | Column::BigInt(_) | Column::Decimal { .. } | Column::Text(_),
            ) => {
                let number = number::scan(cursor.bytes, start, Zeros::Refused);
                let number = number.ok_or_else(|| Reject::json("wrong number", start))?;
                cursor.at = number.end;
                self.number(&number, cursor.bytes, column)
            }
            (Some(b'n'), _) => {
                cursor.word("null")?;
                return self.absent(column);
            }
            (Some(first @ (b't' | b'f')), Column::Bool(values)) => {
                cursor.word(if first == b't' { "true" } else { "false" })?;
                values.values.push(first == b't');
                true
            }
            (Some(b'['), Column::List(lists)) => return self.list(cursor, lists, depth + 1, scratch),
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.unfit_value(cursor, start, depth, scratch)) }
    }

    /// A value of another type, or one that the type cannot hold; unless it is no JSON at all.
    #[cold]
    fn unfit_value(&self, cursor: &Cursor<'_>, start: usize, depth: usize, scratch: &mut Scratch) -> Box<Reject> {
        let mut value = Cursor::new(cursor.bytes, start);
        match value.skip(depth, &mut scratch.names) {
            Ok(()) => Reject::unfit(&self.name, &cursor.bytes[start..value.at], &self.kind),
            Err(reject) => reject,
        }
    }

    fn list(&mut self, cursor: &mut Cursor<'_>, lists: &mut Lists, depth: usize, scratch: &mut Scratch) -> Fate<()> {
        check_depth(depth)?;
        let Some(shape) = &mut self.items else { return Err(Reject::json("expected a value", cursor.at)) };
        let first = lists.items;
        cursor.at += 1;
        cursor.white();
        let mut more = cursor.peek() != Some(b']');
        cursor.at += usize::from(!more);
        while more {
            let index = lists.items - first;
            if cursor.peek() != Some(b'{') {
                let mut value = Cursor::new(cursor.bytes, cursor.at);
                value.skip(depth, &mut scratch.names)?;
                let field = format!("{}[{index}]", self.name);
                return Err(Reject::unfit(&field, &cursor.bytes[cursor.at..value.at], &"an object"));
            }
            cursor.at += 1;
            let read = shape.object(cursor, &mut lists.columns, depth + 1, scratch);
            read.map_err(|reject| reject.within(&self.name, index))?;
            lists.items += 1;
            more = cursor.more(b']', "expected , or ] in a list")?;
        }
        lists.end_row();
        Ok(())
    }

    fn time_text(&mut self, text: Text<'_>, column: &mut Column, scratch: &mut Scratch) -> bool {
        if !text.escaped {
            return self.time(text.raw, column, &mut scratch.special_clocks);
        }
        scratch.text.clear();
        unescape(text.raw, &mut scratch.text);
        self.time(&scratch.text, column, &mut scratch.special_clocks)
    }

    /// Appends a time, if the text is one.
    #[inline]
    pub(crate) fn time(&mut self, text: &[u8], column: &mut Column, special_clocks: &mut u32) -> bool {
        match column {
            Column::Timestamp(values) => {
                let Some((instant, clock)): Option<Instant> = self.time.timestamp(text) else { return false };
                *special_clocks += u32::from(clock != ClockTime::Once);
                values.values.push(instant);
                true
            }
            Column::Date(values) => {
                let Some(day) = self.time.date(text) else { return false };
                values.values.push(day);
                true
            }
            _ => false,
        }
    }

    /// Appends a number, if the type can hold exactly that number.
    #[inline]
    pub(crate) fn number(&self, number: &Number, bytes: &[u8], column: &mut Column) -> bool {
        match column {
            Column::Int(values) => {
                let value = number.integer(bytes).and_then(|value| i32::try_from(value).ok());
                value.map(|value| values.values.push(value)).is_some()
            }
            Column::BigInt(values) => number.integer(bytes).map(|value| values.values.push(value)).is_some(),
            Column::Decimal { column, precision, scale } => {
                let value = number.scaled(bytes, *precision, *scale);
                value.map(|value| column.values.push(value)).is_some()
            }
            Column::Text(texts) if self.accepts_integer => match number.scaled(bytes, 38, 0) {
                Some(value) => {
                    texts.push(value.to_string().as_bytes());
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    /// Appends a value of a CSV row; `text` is valid UTF-8 and not empty.
    pub(crate) fn read_plain(&mut self, text: &[u8], column: &mut Column, scratch: &mut Scratch) -> Fate<()> {
        let fits = match column {
            Column::Text(texts) => {
                texts.push(text);
                true
            }
            Column::Timestamp(_) | Column::Date(_) => self.time(text, column, &mut scratch.special_clocks),
            Column::Int(_) | Column::BigInt(_) | Column::Decimal { .. } => {
                let number = number::scan(text, 0, Zeros::Allowed).filter(|number| number.end == text.len());
                number.is_some_and(|number| self.number(&number, text, column))
            }
            Column::Bool(values) => match text {
                b"true" | b"false" => {
                    values.values.push(text == b"true");
                    true
                }
                _ => false,
            },
            Column::List(_) => {
                let mut cursor = Cursor::new(text, 0);
                let read = self.read(&mut cursor, column, 1, scratch);
                read.is_ok() && cursor.at == text.len()
            }
        };
        if fits { Ok(()) } else { Err(Reject::unfit(&self.name, text, &self.kind)) }
    }
}
