//! Which keys are certainly not in a segment: a Bloom filter whose blocks are in the order of the keys.
//!
//! Each key sets seven bits of one block of 512, the size of a cache line. Which block that is goes by the key's place
//! between the first and the last of the segment, so that keys in order read the filter in order, and a few keys read a
//! few pages of it. At 12 bits a key about one foreign key in 200 passes.

use std::ops::Range;

/// Bits of filter for each key.
const BITS_A_KEY: u64 = 12;

/// Bits and bytes of a block.
const BLOCK_BITS: u64 = 512;
const BLOCK_BYTES: usize = BLOCK_BITS as usize / 8;

/// Bits that a key sets in its block.
const PROBES: u32 = 7;

/// Bytes of a page, which is read and checked as a whole.
pub(super) const PAGE: usize = 4096;

/// The filter's shape: of how many blocks, over which keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    blocks: u64,
    first: u64,
    last: u64,
}

impl Shape {
    /// The shape for `count` keys from `first` to `last`.
    pub(super) fn new(count: u64, first: u64, last: u64) -> Self {
        Self { blocks: (count * BITS_A_KEY).div_ceil(BLOCK_BITS).max(1), first, last }
    }

    /// Its size.
    pub(super) fn bytes(&self) -> usize {
        self.blocks as usize * BLOCK_BYTES
    }

    /// Where the block of a key begins; the key must be within the bounds.
    fn at(&self, key: u64) -> usize {
        let span = u128::from(self.last - self.first) + 1;
        (u128::from(key - self.first) * u128::from(self.blocks) / span) as usize * BLOCK_BYTES
    }

    /// The page that answers for a key.
    pub(super) fn page(&self, key: u64) -> usize {
        self.at(key) / PAGE
    }

    /// The bytes of a page within the filter.
    pub(super) fn page_bytes(&self, page: usize) -> Range<usize> {
        page * PAGE..((page + 1) * PAGE).min(self.bytes())
    }

    /// The filter of these keys.
    pub(super) fn build(&self, keys: impl Iterator<Item = u64>) -> Vec<u8> {
        let mut bytes = vec![0u8; self.bytes()];
        for key in keys {
            let block = self.at(key);
            for bit in bits(key) {
                bytes[block + bit / 8] |= 1 << (bit % 8);
            }
        }
        bytes
    }

    /// Whether a key may be there, by the page that answers for it.
    pub(super) fn may_hold(&self, page: &[u8], key: u64) -> bool {
        let block = self.at(key) % PAGE;
        bits(key).all(|bit| page.get(block + bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
    }
}

/// A filter in memory.
#[derive(Debug)]
pub(in crate::latest) struct Filter {
    shape: Shape,
    bits: Vec<u8>,
}

impl Filter {
    /// The filter of these keys.
    pub(in crate::latest) fn of(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let bounds = (keys.first().copied().unwrap_or(0), keys.last().copied().unwrap_or(0));
        let shape = Shape::new(keys.len() as u64, bounds.0, bounds.1);
        Self { bits: shape.build(keys.into_iter()), shape }
    }

    /// Whether a key may be among them.
    pub(in crate::latest) fn may_hold(&self, key: u64) -> bool {
        let Shape { first, last, .. } = self.shape;
        (first..=last).contains(&key)
            && self.shape.may_hold(&self.bits[self.shape.page_bytes(self.shape.page(key))], key)
    }

    /// Its size.
    pub(in crate::latest) fn bytes(&self) -> usize {
        self.bits.len()
    }
}

/// The bits of a key in its block. The high bits of the product depend on all bits of the key, also on those that do not
/// choose the block.
fn bits(key: u64) -> impl Iterator<Item = usize> {
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| (mixed >> (probe * 9 + 1)) as usize % BLOCK_BITS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_pass_and_few_others() {
        let spread = |n: u64| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes());
        let mut keys: Vec<u64> = (0..100_000).map(spread).collect();
        keys.sort_unstable();
        let (first, last) = (keys[0], keys[keys.len() - 1]);
        let shape = Shape::new(keys.len() as u64, first, last);
        let filter = shape.build(keys.iter().copied());
        let passes = |key: u64| shape.may_hold(&filter[shape.page_bytes(shape.page(key))], key);
        assert!(keys.iter().all(|key| passes(*key)));
        let others = (100_000..200_000).map(spread).filter(|key| (first..=last).contains(key));
        let wrong = others.filter(|key| passes(*key)).count();
        assert!(wrong < 1_200, "{wrong} of 100,000 foreign keys pass");
    }

    #[test]
    fn a_filter_in_memory_takes_keys_in_any_order_and_from_anywhere() {
        let filter = Filter::of(vec![70, 5, 70, u64::MAX]);
        assert!([5, 70, u64::MAX].into_iter().all(|key| filter.may_hold(key)));
        assert!(!filter.may_hold(4) && !filter.may_hold(71));
        let empty = Filter::of(Vec::new());
        assert!(!empty.may_hold(0) && !empty.may_hold(1));
    }

    #[test]
    fn one_key_is_enough_and_bounds_may_be_the_widest() {
        let one = Shape::new(1, 7, 7);
        assert!(one.may_hold(&one.build([7].into_iter()), 7));
        let wide = Shape::new(2, 0, u64::MAX);
        let filter = wide.build([0, u64::MAX].into_iter());
        assert!(wide.may_hold(&filter, 0) && wide.may_hold(&filter, u64::MAX));
    }
}
