//! Sets of 64-bit hashes that cost eight bytes a key: sorted, in 256 parts by their first byte.

/// Parts of a set; each is small enough to sort and search in a core's cache.
const PARTS: usize = 256;

fn part(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// What one part has gathered: hashes of single messages, and pairs of entity and message.
type Gathered = (Vec<u64>, Vec<(u64, u64)>);

/// Collects the hashes of all candidates, and finds those that come more than once.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Entity hashes, where each row is a message of its own.
    single: Vec<Vec<u64>>,
    /// Entity and message hashes, where a message may give several rows.
    paired: Vec<Vec<(u64, u64)>>,
    rows: u64,
}

impl Collector {
    /// An empty collector, for about so many rows of single messages: parts that grow are copied into new memory.
    pub(crate) fn new(single: u64) -> Self {
        let share = single as usize / PARTS;
        let part = |_| Vec::with_capacity(share + share / 8);
        Self { single: (0..PARTS).map(part).collect(), paired: vec![Vec::new(); PARTS], rows: 0 }
    }

    /// Adds rows that are one message each.
    pub(crate) fn extend(&mut self, keys: &[u64]) {
        self.rows += keys.len() as u64;
        for &key in keys {
            self.single[part(key)].push(key);
        }
    }

    /// Adds rows with their messages; rows of one message that follow each other are taken once.
    pub(crate) fn extend_paired(&mut self, keys: &[u64], messages: &[u64]) {
        self.rows += keys.len() as u64;
        let mut last = None;
        for pair in keys.iter().copied().zip(messages.iter().copied()) {
            if last != Some(pair) {
                self.paired[part(pair.0)].push(pair);
                last = Some(pair);
            }
        }
    }

    /// Rows that were added.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// All entities, and those that have more than one message. Sorts on two threads.
    pub(crate) fn finish(self, want_all: bool) -> (KeySet, KeySet) {
        let mut parts: Vec<Gathered> = self.single.into_iter().zip(self.paired).collect();
        let (left, right) = parts.split_at_mut(PARTS / 2);
        let sort = |half: &mut [Gathered]| -> Vec<(Vec<u64>, Vec<u64>)> {
            half.iter_mut().map(|(single, paired)| one_part(single, paired, want_all)).collect()
        };
        let mut done = std::thread::scope(|scope| {
            let other = scope.spawn(|| sort(right));
            let mut done = sort(left);
            match other.join() {
                Ok(second) => done.extend(second),
                Err(panic) => std::panic::resume_unwind(panic),
            }
            done
        });
        let repeated: Vec<Vec<u64>> = done.iter_mut().map(|(_, repeated)| std::mem::take(repeated)).collect();
        let all: Vec<Vec<u64>> = done.into_iter().map(|(all, _)| all).collect();
        (KeySet::from_parts(all), KeySet::from_parts(repeated))
    }
}

/// The distinct keys of a part (empty unless wanted), and those that come more than once. Frees what it is given.
fn one_part(single: &mut Vec<u64>, paired: &mut Vec<(u64, u64)>, want_all: bool) -> (Vec<u64>, Vec<u64>) {
    let mut keys = std::mem::take(single);
    let mut pairs = std::mem::take(paired);
    pairs.sort_unstable();
    pairs.dedup();
    keys.extend(pairs.into_iter().map(|(key, _)| key));
    keys.sort_unstable();
    let mut repeated: Vec<u64> = keys.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    repeated.dedup();
    if want_all {
        keys.dedup();
    } else {
        keys = Vec::new();
    }
    (keys, repeated)
}

/// A set of hashes. A bitmap of one bit in eight or more answers most questions about keys that are not in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    parts: Vec<Vec<u64>>,
    bitmap: Vec<u64>,
    len: usize,
}

impl KeySet {
    /// A set from any keys.
    pub(crate) fn from_keys(keys: impl IntoIterator<Item = u64>) -> Self {
        let mut parts = vec![Vec::new(); PARTS];
        for key in keys {
            parts[part(key)].push(key);
        }
        for keys in &mut parts {
            keys.sort_unstable();
            keys.dedup();
        }
        Self::from_parts(parts)
    }

    fn from_parts(parts: Vec<Vec<u64>>) -> Self {
        let len: usize = parts.iter().map(Vec::len).sum();
        let words = if len == 0 { 0 } else { (len * 8 / 64 + 1).next_power_of_two() };
        let mut set = Self { parts, bitmap: vec![0; words], len };
        for index in 0..set.parts.len() {
            for place in 0..set.parts[index].len() {
                let (word, bit) = set.bit(set.parts[index][place]);
                set.bitmap[word] |= bit;
            }
        }
        set
    }

    fn bit(&self, key: u64) -> (usize, u64) {
        // The first byte chooses the part; the last bits are independent of it.
        let slot = key as usize & (self.bitmap.len() * 64 - 1);
        (slot / 64, 1 << (slot % 64))
    }

    /// Whether the key is in the set.
    pub(crate) fn contains(&self, key: u64) -> bool {
        if self.len == 0 {
            return false;
        }
        let (word, bit) = self.bit(key);
        self.bitmap[word] & bit != 0 && is_among(&self.parts[part(key)], key)
    }

    /// The keys from `first` to `last`, inclusive, in order.
    pub(crate) fn between(&self, first: u64, last: u64) -> Vec<u64> {
        let parts = self.parts.iter().skip(part(first)).take(part(last) + 1 - part(first));
        let within = |keys: &Vec<u64>| {
            let from = keys.partition_point(|key| *key < first);
            let to = keys.partition_point(|key| *key <= last);
            keys[from..to].to_vec()
        };
        parts.flat_map(within).collect()
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// This set with further keys.
    pub(crate) fn union(&self, keys: impl IntoIterator<Item = u64>) -> Self {
        Self::from_keys(self.parts.iter().flatten().copied().chain(keys))
    }
}

/// Whether a key is among those of its part. Hashes are spread evenly, so that it is about where its bits say.
fn is_among(keys: &[u64], key: u64) -> bool {
    let share = u128::from(key << 8) * keys.len() as u128;
    let mut at = (share >> 64) as usize;
    while keys.get(at).is_some_and(|other| *other < key) {
        at += 1;
    }
    while at > 0 && keys.get(at).is_none_or(|other| *other > key) {
        at -= 1;
    }
    keys.get(at) == Some(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn keys_that_come_twice_are_found() {
        let mut collector = Collector::new(0);
        let keys: Vec<u64> = (0..10_000).map(spread).collect();
        collector.extend(&keys);
        collector.extend(&keys[10..20]);
        let (all, repeated) = collector.finish(true);
        assert_eq!((all.len(), repeated.len()), (10_000, 10));
        assert!(keys.iter().all(|key| all.contains(*key)));
        assert!(keys[10..20].iter().all(|key| repeated.contains(*key)));
        assert!(!repeated.contains(keys[9]) && !all.contains(spread(10_001)));
    }

    #[test]
    fn keys_within_bounds_come_in_order() {
        let keys: Vec<u64> = (0..5_000).map(spread).collect();
        let set = KeySet::from_keys(keys.iter().copied());
        for (first, last) in [(0, u64::MAX), (1 << 60, 3 << 60), (keys[7], keys[7]), (keys[7] + 1, keys[7] + 1)] {
            let mut expected: Vec<u64> = keys.iter().copied().filter(|key| (first..=last).contains(key)).collect();
            expected.sort_unstable();
            assert_eq!(set.between(first, last), expected);
        }
        assert!(KeySet::default().between(0, u64::MAX).is_empty());
    }

    #[test]
    fn rows_of_one_message_are_no_repetition() {
        let mut collector = Collector::new(0);
        collector.extend_paired(&[1, 1, 2, 1], &[7, 7, 8, 7]);
        collector.extend_paired(&[2], &[9]);
        let (all, repeated) = collector.finish(false);
        assert!(all.is_empty());
        assert!(repeated.contains(2) && !repeated.contains(1));
    }
}
