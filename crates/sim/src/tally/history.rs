//! History of a dimension (slowly changing, type 2) from what was seen of it.

use std::cmp::Ordering;

/// What one order says of a customer or product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observation {
    /// The customer or product.
    pub key: u32,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// The order.
    pub order: u32,
    /// The attributes, as one number.
    pub value: u16,
}

/// Attributes that hold from an instant, or from the beginning of time, until the next version of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// The customer or product.
    pub key: u32,
    /// First instant of its validity; `None` for the first version of a key.
    pub from: Option<i64>,
    /// First instant after it; `None` for the last version of a key.
    pub to: Option<i64>,
    /// The attributes.
    pub value: u16,
}

/// The versions, in order of key and validity. Of several observations of a key at one instant, the one counts whose order
/// has the greatest id.
pub(crate) fn history(mut seen: Vec<Observation>, by_id: impl Fn(u32, u32) -> Ordering) -> Vec<Version> {
    let instant = |one: &Observation| (one.key, one.at_us);
    seen.sort_unstable_by(|a, b| instant(a).cmp(&instant(b)).then_with(|| by_id(a.order, b.order)));
    let mut versions: Vec<Version> = Vec::new();
    for (index, one) in seen.iter().enumerate() {
        if seen.get(index + 1).is_some_and(|next| instant(next) == instant(one)) {
            continue;
        }
        let last = versions.last_mut().filter(|last| last.key == one.key);
        let from = match last {
            Some(last) if last.value == one.value => continue,
            Some(last) => {
                last.to = Some(one.at_us);
                Some(one.at_us)
            }
            None => None,
        };
        versions.push(Version { key: one.key, from, to: None, value: one.value });
    }
    versions
}

/// The attributes that were valid at an instant; `None` for a key without versions.
pub(crate) fn valid_at(versions: &[Version], key: u32, at_us: i64) -> Option<u16> {
    let begins = |version: &Version| (version.key, version.from.unwrap_or(i64::MIN));
    let after = versions.partition_point(|version| begins(version) <= (key, at_us));
    versions[..after].last().filter(|version| version.key == key).map(|version| version.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seen: &[(u32, i64, u32, u16)]) -> Vec<(u32, Option<i64>, Option<i64>, u16)> {
        let seen = seen.iter().map(|&(key, at_us, order, value)| Observation { key, at_us, order, value });
        let versions = history(seen.collect(), |a, b| a.to_string().cmp(&b.to_string()));
        versions.into_iter().map(|version| (version.key, version.from, version.to, version.value)).collect()
    }

    #[test]
    fn equal_neighbours_are_one_version_and_the_first_has_no_beginning() {
        let seen = [(1, 50, 5, 7), (1, 10, 1, 7), (1, 40, 4, 7), (1, 30, 3, 8), (2, 20, 2, 9)];
        let expected = [(1, None, Some(30), 7), (1, Some(30), Some(40), 8), (1, Some(40), None, 7), (2, None, None, 9)];
        assert_eq!(of(&seen), expected);
    }

    #[test]
    fn of_one_instant_the_greater_id_by_bytes_counts() {
        // By bytes 9 is greater than 10.
        assert_eq!(
            of(&[(1, 10, 1, 1), (1, 20, 10, 2), (1, 20, 9, 3)]),
            [(1, None, Some(20), 1), (1, Some(20), None, 3)]
        );
        assert_eq!(of(&[(1, 10, 10, 2), (1, 10, 9, 3)]), [(1, None, None, 3)]);
    }

    #[test]
    fn validity_is_half_open() {
        let seen = [(1, 10, 1, 5), (1, 20, 2, 6), (3, 15, 3, 8)];
        let seen = seen.map(|(key, at_us, order, value)| Observation { key, at_us, order, value });
        let versions = history(seen.to_vec(), |a, b| a.cmp(&b));
        let at = |key, at_us| valid_at(&versions, key, at_us);
        assert_eq!([at(1, 0), at(1, 19), at(1, 20), at(3, 99)], [Some(5), Some(5), Some(6), Some(8)]);
        assert_eq!([at(0, 50), at(2, 50), at(4, 50)], [None; 3]);
    }
}
