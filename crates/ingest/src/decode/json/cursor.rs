//! A place in a record's bytes: white space, texts, and values that are only checked.

use super::MAX_DEPTH;
use super::names::{Name, Names};
use crate::decode::number::{self, Zeros};
use crate::decode::reject::{Fate, Reject};

/// A place in the bytes of one record.
pub(crate) struct Cursor<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

/// A text as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a [u8],
    /// Whether it holds escapes.
    pub(crate) escaped: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space.
    #[inline]
    pub(crate) fn white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads the text at the cursor, which must be a quote.
    #[inline]
    pub(crate) fn text(&mut self) -> Fate<Text<'a>> {
        let start = self.at + 1;
        let end = plain_end(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Text { raw: &self.bytes[start..end], escaped: false });
        }
        self.escaped_text(start, end)
    }

    #[cold]
    fn escaped_text(&mut self, start: usize, mut at: usize) -> Fate<Text<'a>> {
        loop {
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { raw: &self.bytes[start..at], escaped: true });
                }
                Some(b'\\') => at = escape_end(self.bytes, at)?,
                Some(_) => return Err(Reject::json("control character in a text", at)),
                None => return Err(Reject::json("text without an end", at)),
            }
            at = plain_end(self.bytes, at);
        }
    }

    /// Reads `word` (`null`, `true`, `false`).
    pub(crate) fn word(&mut self, word: &'static str) -> Fate<()> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Reject::json("expected a value", self.at))
        }
    }

    /// Checks any value and moves behind it. `depth` is that of the object or list which holds it.
    pub(crate) fn skip(&mut self, depth: usize, names: &mut Names) -> Fate<()> {
        match self.peek() {
            Some(b'"') => self.text().map(drop),
            Some(b'{') => self.skip_object(depth + 1, names),
            Some(b'[') => self.skip_list(depth + 1, names),
            Some(b'n') => self.word("null"),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            _ => {
                let number = number::scan(self.bytes, self.at, Zeros::Refused);
                self.at = number.ok_or_else(|| Reject::json("expected a value", self.at))?.end;
                Ok(())
            }
        }
    }

    fn skip_list(&mut self, depth: usize, names: &mut Names) -> Fate<()> {
        check_depth(depth)?;
        self.at += 1;
        self.white();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip(depth, names)?;
            if !self.more(b']', "expected , or ] in a list")? {
                return Ok(());
            }
        }
    }

    fn skip_object(&mut self, depth: usize, names: &mut Names) -> Fate<()> {
        check_depth(depth)?;
        self.at += 1;
        self.white();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let first = names.open();
        loop {
            let name = self.name()?;
            names.add(first, Name::new(&name), self.bytes)?;
            self.colon()?;
            self.skip(depth, names)?;
            if !self.more(b'}', "expected , or } in an object")? {
                return names.close(first, self.bytes);
            }
        }
    }

    /// Reads a name, with its place.
    pub(crate) fn name(&mut self) -> Fate<(usize, Text<'a>)> {
        if self.peek() != Some(b'"') {
            return Err(Reject::json("expected a name in quotes", self.at));
        }
        let start = self.at + 1;
        Ok((start, self.text()?))
    }

    /// Reads the colon after a name and the white space around it.
    #[inline]
    pub(crate) fn colon(&mut self) -> Fate<()> {
        self.white();
        if self.peek() != Some(b':') {
            return Err(Reject::json("expected : after a name", self.at));
        }
        self.at += 1;
        self.white();
        Ok(())
    }

    /// After an element: whether a comma (and so another element) follows, or `close`.
    #[inline]
    pub(crate) fn more(&mut self, close: u8, expected: &'static str) -> Fate<bool> {
        self.white();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.white();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(Reject::json(expected, self.at)),
        }
    }
}

/// Refuses a level of nesting beyond [`MAX_DEPTH`].
#[inline]
pub(crate) fn check_depth(depth: usize) -> Fate<()> {
    if depth > MAX_DEPTH { Err(Box::new(Reject::TooDeep)) } else { Ok(()) }
}

/// The first offset from `at` on of a quote, a backslash or a control character, or the length: eight bytes at a time,
/// because most texts are shorter than what wider registers need to pay off.
#[inline]
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * 0x22);
        let slash = word ^ (ONES * 0x5c);
        // The lowest set high bit marks the first hit exactly; borrows can only blur bytes above it.
        let hits = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let hits = hits & HIGH;
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|b| *b >= 0x20 && *b != b'"' && *b != b'\\') {
        at += 1;
    }
    at
}

/// Checks the escape at `at` (a pair of surrogates is one) and returns the offset after it.
fn escape_end(bytes: &[u8], at: usize) -> Fate<usize> {
    let wrong = || Reject::json("wrong escape in a text", at);
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2).ok_or_else(wrong)? {
            0xd800..=0xdbff => {
                let low = bytes[at + 6..].starts_with(b"\\u").then(|| hex4(bytes, at + 8)).flatten();
                low.filter(|low| (0xdc00..=0xdfff).contains(low)).map(|_| at + 12).ok_or_else(wrong)
            }
            0xdc00..=0xdfff => Err(wrong()),
            _ => Ok(at + 6),
        },
        _ => Err(wrong()),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
}

/// Appends a text whose escapes were checked, resolved.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (char, length) = match rest[at + 1] {
            b'u' => unicode(rest, at),
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            other => (other as char, 2),
        };
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest);
}

/// The character of the escape at `at`, and the escape's length.
fn unicode(bytes: &[u8], at: usize) -> (char, usize) {
    let first = hex4(bytes, at + 2).unwrap_or_default();
    match char::from_u32(first) {
        Some(char) => (char, 6),
        None => {
            let low = hex4(bytes, at + 8).unwrap_or_default();
            let code = 0x10000 + ((first & 0x3ff) << 10) + (low & 0x3ff);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
    }
}
