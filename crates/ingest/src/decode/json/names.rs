//! Whether an object repeats a name, at a cost that stays low for objects of a million names.

use std::borrow::Cow;

use super::cursor::{Text, unescape};
use crate::decode::reject::{Fate, Reject};

/// Up to this many names of an object are compared one by one; more are sorted at its end.
const FEW: usize = 16;

/// A name in the record's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    start: u32,
    length: u32,
    escaped: bool,
}

impl Name {
    pub(crate) fn new((start, text): &(usize, Text<'_>)) -> Self {
        // A record is at most as long as a batch, which 32 bits hold.
        Name { start: *start as u32, length: text.raw.len() as u32, escaped: text.escaped }
    }

    /// The name as it stands between its quotes.
    fn raw<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..(self.start + self.length) as usize]
    }

    fn resolved<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let raw = self.raw(bytes);
        if !self.escaped {
            return Cow::Borrowed(raw);
        }
        let mut name = Vec::with_capacity(raw.len());
        unescape(raw, &mut name);
        Cow::Owned(name)
    }

    fn is(&self, other: &Name, bytes: &[u8]) -> bool {
        match self.escaped || other.escaped {
            true => self.resolved(bytes) == other.resolved(bytes),
            false => self.raw(bytes) == other.raw(bytes),
        }
    }
}

/// A stack of the names of all objects that are open.
#[derive(Debug, Default)]
pub(crate) struct Names {
    open: Vec<Name>,
}

impl Names {
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }

    /// Opens an object; the answer names it in [`Names::add`] and [`Names::close`].
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Adds a name to the innermost object.
    pub(crate) fn add(&mut self, first: usize, name: Name, bytes: &[u8]) -> Fate<()> {
        let siblings = &self.open[first..];
        if siblings.len() < FEW && siblings.iter().any(|other| other.is(&name, bytes)) {
            return Err(repeated(&name, bytes));
        }
        self.open.push(name);
        Ok(())
    }

    /// Closes the innermost object.
    pub(crate) fn close(&mut self, first: usize, bytes: &[u8]) -> Fate<()> {
        if self.open.len() - first > FEW {
            let mut siblings: Vec<(Cow<'_, [u8]>, Name)> =
                self.open[first..].iter().map(|name| (name.resolved(bytes), *name)).collect();
            siblings.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            if let Some(pair) = siblings.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(repeated(&pair[0].1, bytes));
            }
        }
        self.open.truncate(first);
        Ok(())
    }
}

#[cold]
fn repeated(name: &Name, bytes: &[u8]) -> Box<Reject> {
    Box::new(Reject::Repeated { name: String::from_utf8_lossy(name.raw(bytes)).into_owned() })
}
