//! Numbers of a few bits each, one after the other, and the blocks of entries that are made of them.
//!
//! A block holds entries in order: the differences of their hashes, each in as many bits as the largest of the block
//! needs, then their partitions. Of 50 million keys in 730 partitions that is 6.6 bytes an entry instead of 12.

/// A hash of an entity, and the number of a partition that may hold it.
pub(super) type Entry = (u64, u32);

/// Entries of a block, the last one of a segment aside.
pub(super) const BLOCK: usize = 512;

/// Puts numbers of a few bits together.
#[derive(Default)]
struct Packer {
    bytes: Vec<u8>,
    pending: u128,
    bits: u32,
}

impl Packer {
    /// Appends the low `width` bits (up to 64) of a number, which has no others.
    fn push(&mut self, value: u64, width: u32) {
        self.pending |= u128::from(value) << self.bits;
        self.bits += width;
        while self.bits >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.bits -= 8;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.bits > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// The number of `width` bits at a bit; `None` beyond the end.
fn unpack(bytes: &[u8], at: usize, width: u32) -> Option<u64> {
    let end = (at + width as usize).div_ceil(8);
    let part = bytes.get(at / 8..end)?;
    let mut word = [0; 16];
    word[..part.len()].copy_from_slice(part);
    let value = u128::from_le_bytes(word) >> (at % 8);
    Some((value & ((1u128 << width) - 1)) as u64)
}

/// How many bits a number takes.
pub(super) fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Encodes entries that are in order; the first one's hash is kept elsewhere.
pub(super) fn encode(entries: &[Entry], partition_bits: u32) -> Vec<u8> {
    let deltas = || entries.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let delta_bits = width(deltas().max().unwrap_or(0));
    let mut packer = Packer { bytes: vec![delta_bits as u8], ..Packer::default() };
    deltas().for_each(|delta| packer.push(delta, delta_bits));
    entries.iter().for_each(|(_, partition)| packer.push(u64::from(*partition), partition_bits));
    packer.finish()
}

/// Decodes a block of `count` entries that begins with the hash `first` into `out`. Gives `None` for bytes that are no
/// such block.
pub(super) fn decode(bytes: &[u8], first: u64, count: usize, partition_bits: u32, out: &mut Vec<Entry>) -> Option<()> {
    let (&delta_bits, bytes) = bytes.split_first()?;
    let delta_bits = u32::from(delta_bits);
    if delta_bits > u64::BITS || partition_bits > u32::BITS {
        return None;
    }
    let partitions_at = count.saturating_sub(1) * delta_bits as usize;
    let mut hash = first;
    for index in 0..count {
        if index > 0 {
            hash = hash.checked_add(unpack(bytes, (index - 1) * delta_bits as usize, delta_bits)?)?;
        }
        let partition = unpack(bytes, partitions_at + index * partition_bits as usize, partition_bits)?;
        out.push((hash, partition as u32));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_come_back(mut entries in proptest::collection::vec((any::<u64>(), 0..5000u32), 1..BLOCK), small: bool) {
            if small {
                entries.iter_mut().for_each(|entry| *entry = (entry.0 % 100, entry.1 % 2));
            }
            entries.sort_unstable();
            let partition_bits = width(entries.iter().map(|(_, p)| u64::from(*p)).max().unwrap_or(0));
            let bytes = encode(&entries, partition_bits);
            let mut back = Vec::new();
            prop_assert!(decode(&bytes, entries[0].0, entries.len(), partition_bits, &mut back).is_some());
            prop_assert_eq!(&back, &entries);
            // What was cut off is noticed, or was never needed.
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes[..length], entries[0].0, entries.len(), partition_bits, &mut Vec::new()).is_none());
            }
        }
    }
}
