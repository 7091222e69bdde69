//! What the stored rows of many entities are, as hashes: a row that comes again as it is need not wait to be decided.

/// The first bits of a key, by which its place is found.
const BITS: u32 = 16;

/// The hashes of rows by those of their entities, 24 bytes a row. An entity with several rows is in it for none.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// In the order of the keys.
    rows: Vec<(u64, [u64; 2])>,
    /// Where the keys that begin with the same bits begin; the end last.
    starts: Vec<u32>,
}

impl Contents {
    /// So many rows take so many bytes.
    pub(super) const ROW_BYTES: usize = size_of::<(u64, [u64; 2])>();

    /// The contents of these rows, in any order.
    pub(super) fn of(mut rows: Vec<(u64, [u64; 2])>) -> Self {
        rows.sort_unstable();
        let is_alone = |place: usize, key: u64| {
            let is_other =
                |place: Option<usize>| place.and_then(|place| rows.get(place)).is_none_or(|row| row.0 != key);
            is_other(place.checked_sub(1)) && is_other(place.checked_add(1))
        };
        let alone: Vec<bool> = rows.iter().enumerate().map(|(place, row)| is_alone(place, row.0)).collect();
        let mut alone = alone.into_iter();
        rows.retain(|_| alone.next().unwrap_or(false));
        if rows.is_empty() {
            return Self::default();
        }
        let mut starts = vec![0; (1 << BITS) + 1];
        rows.iter().for_each(|row| starts[first(row.0) + 1] += 1);
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        Self { rows, starts }
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the one row of an entity has this content.
    pub(super) fn has(&self, key: u64, content: u128) -> bool {
        if self.is_empty() {
            return false;
        }
        let (from, to) = (self.starts[first(key)] as usize, self.starts[first(key) + 1] as usize);
        let rows = &self.rows[from..to];
        rows.binary_search_by_key(&key, |row| row.0).is_ok_and(|place| rows[place].1 == halves(content))
    }
}

fn first(key: u64) -> usize {
    (key >> (u64::BITS - BITS)) as usize
}

/// A hash, aligned as its halves are.
pub(super) fn halves(content: u128) -> [u64; 2] {
    [(content >> 64) as u64, content as u64]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few different keys, some of which share their first bits.
    fn row() -> impl Strategy<Value = (u64, u128)> {
        ((0..4u64, 0..8u64), 0..3u128).prop_map(|((first, last), content)| (first << 62 | last, content << 64 | 1))
    }

    proptest! {
        #[test]
        fn only_rows_that_are_alone_are_known(rows in prop::collection::vec(row(), 0..40), asked in row()) {
            let contents = Contents::of(rows.iter().map(|(key, content)| (*key, halves(*content))).collect());
            let of_key: Vec<u128> = rows.iter().filter(|row| row.0 == asked.0).map(|row| row.1).collect();
            prop_assert_eq!(contents.has(asked.0, asked.1), of_key == [asked.1]);
        }
    }
}
