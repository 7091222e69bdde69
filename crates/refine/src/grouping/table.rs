//! Groups by the whole numbers that their keys are.

use std::hash::{BuildHasher, Hasher};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err};
use foldhash::quality::RandomState;

/// Words of a key. With four, no key lies across two cache lines.
const WORDS: usize = 4;

/// Halves of the words that hold columns; the first half says which of them are null.
const HALVES: usize = 2 * WORDS - 1;

/// The columns of a row: who is null, then the values, each in a half or in a word of its own. Equal rows have equal keys,
/// and no others: a null leaves its place at 0.
type Key = [u64; WORDS];

/// How many slots a table begins with.
const FEWEST_SLOTS: usize = 1 << 10;

/// Where a column lies in a key.
#[derive(Clone, Debug)]
struct Place {
    kind: DataType,
    /// In halves of words.
    at: usize,
}

/// Where the columns of a grouping lie in its keys.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    places: Vec<Place>,
}

impl Layout {
    /// The layout of columns of these types: `int`, `date`, `bigint`, `timestamp`; `None` where there are others, or more
    /// than a key has room for.
    pub(super) fn of<'a>(kinds: impl IntoIterator<Item = &'a DataType>) -> Option<Self> {
        let kinds: Vec<&DataType> = kinds.into_iter().collect();
        let is_wide = |kind: &&DataType| match kind {
            DataType::Int32 | DataType::Date32 => Some(false),
            DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => Some(true),
            _ => None,
        };
        let wide: Vec<bool> = kinds.iter().map(is_wide).collect::<Option<_>>()?;
        let count = wide.iter().filter(|wide| **wide).count();
        if 2 * count + (wide.len() - count) > HALVES {
            return None;
        }
        // The wide ones from the end, the others after the nulls.
        let (mut front, mut back) = (1, HALVES + 1);
        let place = |(kind, wide): (&&DataType, bool)| {
            let at = if wide {
                back -= 2;
                back
            } else {
                front += 1;
                front - 1
            };
            Place { kind: (*kind).clone(), at }
        };
        Some(Self { places: kinds.iter().zip(wide).map(place).collect() })
    }

    /// The keys of a batch's rows.
    ///
    /// # Errors
    /// When a column has another type than the layout.
    fn keys(&self, columns: &[ArrayRef], rows: usize, keys: &mut Vec<Key>) -> Result<()> {
        keys.clear();
        keys.resize(rows, [0; WORDS]);
        for (number, (place, column)) in self.places.iter().zip(columns).enumerate() {
            match &place.kind {
                kind if kind != column.data_type() => {
                    return exec_err!("a {} is grouped as {kind}", column.data_type());
                }
                DataType::Int32 => put(column.as_primitive::<Int32Type>(), number, place.at, keys, narrow),
                DataType::Date32 => put(column.as_primitive::<Date32Type>(), number, place.at, keys, narrow),
                DataType::Int64 => put(column.as_primitive::<Int64Type>(), number, place.at, keys, wide),
                _ => put(column.as_primitive::<TimestampMicrosecondType>(), number, place.at, keys, wide),
            }
        }
        Ok(())
    }

    /// The columns of these keys.
    fn columns(&self, keys: &[Key]) -> Vec<ArrayRef> {
        let column = |(number, place): (usize, &Place)| -> ArrayRef {
            match &place.kind {
                DataType::Int32 => take::<Int32Type>(keys, number, place, |half| half as u32 as i32),
                DataType::Date32 => take::<Date32Type>(keys, number, place, |half| half as u32 as i32),
                DataType::Int64 => take::<Int64Type>(keys, number, place, |word| word as i64),
                _ => take::<TimestampMicrosecondType>(keys, number, place, |word| word as i64),
            }
        };
        self.places.iter().enumerate().map(column).collect()
    }
}

fn narrow(value: i32) -> u64 {
    u64::from(value as u32)
}

fn wide(value: i64) -> u64 {
    value as u64
}

/// Puts a column into its place of each key.
fn put<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    number: usize,
    at: usize,
    keys: &mut [Key],
    bits: impl Fn(T::Native) -> u64,
) {
    let (word, shift) = (at / 2, 32 * (at % 2));
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => keys.iter_mut().zip(column.values()).for_each(|(key, value)| key[word] |= bits(*value) << shift),
        Some(nulls) => {
            for ((key, value), is_valid) in keys.iter_mut().zip(column.values()).zip(nulls) {
                match is_valid {
                    true => key[word] |= bits(*value) << shift,
                    false => key[0] |= 1 << number,
                }
            }
        }
    }
}

/// Takes a column from its place of each key.
fn take<T: ArrowPrimitiveType>(
    keys: &[Key],
    number: usize,
    place: &Place,
    value: impl Fn(u64) -> T::Native,
) -> ArrayRef {
    let (word, shift) = (place.at / 2, 32 * (place.at % 2));
    let values: Vec<T::Native> = keys.iter().map(|key| value(key[word] >> shift)).collect();
    let nulls: NullBuffer = keys.iter().map(|key| key[0] >> number & 1 == 0).collect();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    std::sync::Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(place.kind.clone()))
}

/// The groups that were seen, numbered in the order in which they came.
///
/// Open addressing with linear probing. A slot holds the upper half of a key's hash and the number of its group, so that
/// most of what does not match is told without looking at the key.
#[derive(Debug)]
pub(super) struct GroupTable {
    layout: Layout,
    state: RandomState,
    /// The upper half of the hash, then the number of the group plus one; 0 where none is.
    slots: Vec<u64>,
    /// The key of each group.
    keys: Vec<Key>,
    /// Of the batch at hand.
    rows: Vec<Key>,
    hashes: Vec<u64>,
}

impl GroupTable {
    pub(super) fn new(layout: Layout) -> Self {
        let (slots, state) = (vec![0; FEWEST_SLOTS], RandomState::default());
        Self { layout, state, slots, keys: Vec::new(), rows: Vec::new(), hashes: Vec::new() }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        (self.keys.capacity() + self.rows.capacity()) * size_of::<Key>()
            + (self.slots.capacity() + self.hashes.capacity()) * size_of::<u64>()
    }

    /// The group of each row; those that are new are added.
    ///
    /// # Errors
    /// When there are more groups than have numbers (2^32 - 1), or a column has another type than the layout.
    pub(super) fn groups(&mut self, columns: &[ArrayRef], rows: usize, groups: &mut Vec<usize>) -> Result<()> {
        self.layout.keys(columns, rows, &mut self.rows)?;
        self.reserve(rows)?;
        let mask = self.slots.len() - 1;
        let state = &self.state;
        self.hashes.clear();
        self.hashes.extend(self.rows.iter().map(|key| hash(state, key)));
        // What is looked at lies anywhere in memory. These two loops wait for many such places at the same time; the one
        // below, of which each row depends on those before, would wait for one after the other.
        groups.clear();
        groups.extend(self.hashes.iter().map(|hash| self.slots[*hash as usize & mask] as usize));
        for ((group, hash), key) in groups.iter_mut().zip(&self.hashes).zip(&self.rows) {
            *group = match number(*group as u64, *hash) {
                Some(number) if self.keys[number] == *key => number,
                _ => usize::MAX,
            };
        }
        for (row, group) in groups.iter_mut().enumerate().filter(|(_, group)| **group == usize::MAX) {
            *group = self.group(self.hashes[row], self.rows[row]);
        }
        Ok(())
    }

    /// The columns of all groups, in the order of their numbers; none is there afterwards.
    pub(super) fn take_columns(&mut self) -> Vec<ArrayRef> {
        let empty = Self::new(self.layout.clone());
        let full = std::mem::replace(self, empty);
        full.layout.columns(&full.keys)
    }

    fn group(&mut self, hash: u64, key: Key) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            match self.slots[place] {
                0 => {
                    self.keys.push(key);
                    self.slots[place] = slot(hash, self.keys.len());
                    return self.keys.len() - 1;
                }
                slot => match number(slot, hash) {
                    Some(number) if self.keys[number] == key => return number,
                    _ => place = (place + 1) & mask,
                },
            }
        }
    }

    /// Makes room for as many groups more: at most two of three slots are taken.
    fn reserve(&mut self, more: usize) -> Result<()> {
        let most = self.keys.len() + more;
        if most >= u32::MAX as usize {
            return exec_err!("{most} groups, expected fewer than {}", u32::MAX);
        }
        let wanted = (most + most / 2).next_power_of_two();
        if wanted <= self.slots.len() {
            return Ok(());
        }
        self.slots.clear();
        self.slots.resize(wanted, 0);
        let mask = wanted - 1;
        for (number, key) in self.keys.iter().enumerate() {
            let hash = hash(&self.state, key);
            let mut place = hash as usize & mask;
            while self.slots[place] != 0 {
                place = (place + 1) & mask;
            }
            self.slots[place] = slot(hash, number + 1);
        }
        Ok(())
    }
}

fn hash(state: &RandomState, key: &Key) -> u64 {
    let mut hasher = state.build_hasher();
    key.iter().for_each(|word| hasher.write_u64(*word));
    hasher.finish()
}

/// What a slot holds of a hash, and of the number of its group plus one.
fn slot(hash: u64, number: usize) -> u64 {
    hash >> 32 << 32 | number as u64
}

/// The number of the group in a slot, where it can be the one of this hash.
fn number(slot: u64, hash: u64) -> Option<usize> {
    let number = slot as u32;
    (number != 0 && slot >> 32 == hash >> 32).then(|| number as usize - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int32Array, Int64Array, TimestampMicrosecondArray};
    use proptest::prelude::*;

    use super::*;

    type Row = (Option<i32>, Option<i64>, Option<i32>, Option<i64>);

    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let times: TimestampMicrosecondArray = rows.iter().map(|row| row.3).collect();
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Date32Array>()),
            Arc::new(times.with_timezone("UTC")),
        ]
    }

    fn table() -> GroupTable {
        let kinds: Vec<DataType> = columns(&[]).iter().map(|column| column.data_type().clone()).collect();
        GroupTable::new(Layout::of(&kinds).expect("room for 2 x 4 and 2 x 8 bytes"))
    }

    /// Small numbers, so that rows repeat, and those whose bits fill their places.
    fn row() -> impl Strategy<Value = Row> {
        let four = || prop_oneof![Just(None), Just(Some(i32::MIN)), Just(Some(-1)), (0..9i32).prop_map(Some)];
        let eight = || prop_oneof![Just(None), Just(Some(i64::MIN)), Just(Some(-1)), (0..3i64).prop_map(Some)];
        (four(), eight(), four(), eight())
    }

    proptest! {
        #[test]
        fn groups_are_those_of_a_map(batches in prop::collection::vec(prop::collection::vec(row(), 0..400), 1..12)) {
            let mut table = table();
            let mut expected: HashMap<Row, usize> = HashMap::new();
            let mut first = Vec::new();
            let mut groups = Vec::new();
            for batch in &batches {
                table.groups(&columns(batch), batch.len(), &mut groups).expect("groups");
                let number = |row: &Row| {
                    let next = expected.len();
                    *expected.entry(*row).or_insert_with(|| { first.push(*row); next })
                };
                let numbers: Vec<usize> = batch.iter().map(number).collect();
                prop_assert_eq!(&groups, &numbers);
            }
            prop_assert_eq!(table.len(), first.len());
            prop_assert_eq!(table.take_columns(), columns(&first));
        }
    }

    #[test]
    fn a_table_grows() {
        let rows: Vec<Row> = (0..100_000).map(|n| (Some(n), Some(i64::from(n % 7)), None, None)).collect();
        let (mut table, mut groups) = (table(), Vec::new());
        for _ in 0..2 {
            for (number, batch) in rows.chunks(999).enumerate() {
                table.groups(&columns(batch), batch.len(), &mut groups).expect("groups");
                let expected: Vec<usize> = (number * 999..).take(batch.len()).collect();
                assert_eq!(groups, expected);
            }
        }
        assert_eq!(table.take_columns(), columns(&rows));
    }

    #[test]
    fn keys_have_room_for_seven_halves() {
        let (narrow, wide) = (DataType::Int32, DataType::Int64);
        let of = |narrows: usize, wides: usize| {
            let kinds = [vec![&narrow; narrows], vec![&wide; wides]].concat();
            Layout::of(kinds).map(|layout| layout.places.iter().map(|place| place.at).collect::<Vec<_>>())
        };
        assert_eq!(of(5, 1), Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(of(1, 3), Some(vec![1, 6, 4, 2]));
        assert_eq!(of(7, 0), Some(vec![1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(of(6, 1), None);
        assert_eq!(of(0, 4), None);
        assert!(Layout::of([&DataType::Utf8]).is_none());
    }
}
