//! What the text of a landing file must begin with: a CSV header that fits, and in a set also a row.

use std::sync::Arc;

use schema::{Contract, Format};

use crate::decode::{Origin, SplitLimits, Splitter};

/// A header that is longer than this is judged when the file is loaded.
const HEADER_WITHIN: u64 = 64 << 10;
/// Bytes looked at at once: what must be there is mostly in the first of them.
const PIECE: usize = 4 << 10;

/// Looks at the first part of a text until it has seen what must be there.
pub(super) struct Head {
    /// None: all was seen.
    splitter: Option<Splitter>,
    /// Whether a row must follow: a file of a set without one is not complete.
    wants_row: bool,
    read: u64,
}

impl Head {
    /// What a file of the contract, in this format, must begin with.
    pub fn new(contract: &Contract, format: Format) -> Self {
        let wants_row = contract.set().is_some();
        let wanted = wants_row || matches!(format, Format::Csv { .. });
        let origin = Origin { source: Arc::from(""), partition: 0, arrived_at: 0 };
        // A record at a time: the first that is no blank line ends the look.
        let limits = SplitLimits { records: if wants_row { 1 } else { usize::MAX }, ..SplitLimits::default() };
        Self { splitter: wanted.then(|| Splitter::new(contract, format, origin, limits)), wants_row, read: 0 }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// Why the file cannot be read as its contract says.
    pub fn push(&mut self, block: &[u8]) -> Result<(), String> {
        for piece in block.chunks(PIECE) {
            let Some(splitter) = &mut self.splitter else { return Ok(()) };
            splitter.push(piece).map_err(|error| error.to_string())?;
            self.read += piece.len() as u64;
            let seen = match self.wants_row {
                true => has_row(splitter),
                false => splitter.header().is_some() || self.read >= HEADER_WITHIN,
            };
            if seen {
                self.splitter = None;
            }
        }
        Ok(())
    }

    /// Says that the text is over.
    ///
    /// # Errors
    /// Why the file cannot be read as its contract says.
    pub fn finish(mut self) -> Result<(), String> {
        let Some(splitter) = &mut self.splitter else { return Ok(()) };
        splitter.finish().map_err(|error| error.to_string())?;
        if self.wants_row && !has_row(splitter) { Err("holds no row".to_owned()) } else { Ok(()) }
    }
}

/// Whether one of the records that are complete holds more than blanks.
fn has_row(splitter: &mut Splitter) -> bool {
    let mut found = false;
    while let Some(batch) = splitter.take() {
        found |= (0..batch.len()).any(|record| !batch.record(record).trim_ascii().is_empty());
    }
    found
}
