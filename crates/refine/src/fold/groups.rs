//! The arithmetic of folding: stored groups, plus groups that came, minus groups that went.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch};
use arrow::compute::{filter_record_batch, interleave};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;

use crate::Result;
use crate::keys::{hash_rows, pick};
use crate::plan::{Folding, Measure, MeasureKind};

/// Groups in the model's columns, found by key.
pub(super) struct Side {
    pub(super) rows: RecordBatch,
    keys: Vec<u128>,
    by_key: HashMap<u128, usize>,
}

impl Side {
    /// `None` where two rows have the same key.
    pub(super) fn new(rows: RecordBatch, group_places: &[usize]) -> Result<Option<Self>> {
        let keys = hash_rows(&pick(&rows, group_places), rows.num_rows())?;
        let by_key: HashMap<u128, usize> = keys.iter().enumerate().map(|(row, key)| (*key, row)).collect();
        Ok((by_key.len() == keys.len()).then_some(Self { rows, keys, by_key }))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = u128> {
        self.keys.iter().copied()
    }

    /// The rows of these keys.
    pub(super) fn only(&self, keys: &HashSet<u128>) -> Result<RecordBatch> {
        let wanted: BooleanArray = self.keys.iter().map(|key| Some(keys.contains(key))).collect();
        Ok(filter_record_batch(&self.rows, &wanted)?)
    }
}

/// What is put together.
pub(super) struct Groups<'a> {
    pub(super) folding: &'a Folding,
    pub(super) columns: SchemaRef,
    pub(super) came: Side,
    pub(super) went: Side,
    pub(super) stored: Side,
    /// Whether what came is still there, because the change is of one version: over several, a row may have come and
    /// gone again.
    pub(super) stays: bool,
}

/// What becomes of the touched groups.
#[derive(Default)]
pub(super) struct Folded {
    /// New rows, of new groups and of groups whose values changed.
    pub(super) fresh: Vec<RecordBatch>,
    /// Keys of stored rows that go.
    pub(super) gone: HashSet<u128>,
    /// Keys of groups that have to be computed from their rows.
    pub(super) doubtful: HashSet<u128>,
}

/// The new value of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    Known(Option<i128>),
    /// Zero or null: rows with a value went, and what is left adds up to zero.
    ZeroOrNull,
    /// Nothing that adding can give.
    Unknown,
}

/// The new value of a measure of `kind`, from the values of the group as it is stored, came and went; `None` where the
/// group is not there or its value is null. `stays`: what came is still there.
fn sum(kind: MeasureKind, stored: Option<i128>, came: Option<i128>, went: Option<i128>, stays: bool) -> Sum {
    let added = stored.unwrap_or(0).checked_add(came.unwrap_or(0));
    let Some(new) = added.and_then(|added| added.checked_sub(went.unwrap_or(0))) else { return Sum::Unknown };
    match kind {
        MeasureKind::Rows | MeasureKind::Count if new < 0 => Sum::Unknown,
        MeasureKind::Rows | MeasureKind::Count => Sum::Known(Some(new)),
        MeasureKind::Sum | MeasureKind::SumOfSome if went.is_none() => {
            Sum::Known((stored.is_some() || came.is_some()).then_some(new))
        }
        // A value that went must have been there.
        MeasureKind::Sum | MeasureKind::SumOfSome if stored.is_none() && came.is_none() => Sum::Unknown,
        MeasureKind::Sum | MeasureKind::SumOfSome if new != 0 || (stays && came.is_some()) => Sum::Known(Some(new)),
        MeasureKind::Sum | MeasureKind::SumOfSome => Sum::ZeroOrNull,
    }
}

/// What becomes of one group.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It has these values.
    Stays(Vec<Option<i128>>),
    /// It has no rows any more.
    Vanishes,
    /// It has to be computed from its rows.
    Doubtful,
}

/// What becomes of a group with these new values; `came`: rows came that are still there.
fn fate(measures: &[Measure], sums: &[Sum], came: bool) -> Fate {
    let rows = measures.iter().zip(sums).find(|(measure, _)| measure.kind == MeasureKind::Rows).map(|(_, sum)| *sum);
    if rows == Some(Sum::Known(Some(0))) {
        return if came { Fate::Doubtful } else { Fate::Vanishes };
    }
    let has_value = sums.iter().any(|sum| matches!(sum, Sum::Known(Some(value)) if *value != 0));
    if !came && rows.is_none() && !has_value {
        return Fate::Doubtful;
    }
    let value = |(measure, sum): (&Measure, &Sum)| match (sum, measure.kind) {
        (Sum::Known(value), _) => Some(*value),
        // The group has rows, and each has a value.
        (Sum::ZeroOrNull, MeasureKind::Sum) => Some(Some(0)),
        _ => None,
    };
    match measures.iter().zip(sums).map(value).collect() {
        Some(values) => Fate::Stays(values),
        None => Fate::Doubtful,
    }
}

impl Groups<'_> {
    /// Puts the sides together.
    ///
    /// # Errors
    /// When arrays cannot be built.
    pub(super) fn fold(&self) -> Result<Folded> {
        let mut folded = Folded::default();
        let read = |side: &Side| self.values(&side.rows);
        let (came, went, stored) = (read(&self.came)?, read(&self.went)?, read(&self.stored)?);
        let mut origins: Vec<(usize, usize)> = Vec::new();
        let mut values: Vec<Vec<Option<i128>>> = vec![Vec::new(); self.folding.measures.len()];
        let only_went = self.went.keys.iter().filter(|key| !self.came.by_key.contains_key(key));
        for &key in self.came.keys.iter().chain(only_went) {
            let row = |side: &Side| side.by_key.get(&key).copied();
            let (from_came, from_went, from_stored) = (row(&self.came), row(&self.went), row(&self.stored));
            let of =
                |values: &[Vec<Option<i128>>], place: usize, row: Option<usize>| row.and_then(|r| values[place][r]);
            let sums: Vec<Sum> = (self.folding.measures.iter().enumerate())
                .map(|(place, measure)| {
                    let (old, new) = (of(&stored, place, from_stored), of(&came, place, from_came));
                    sum(measure.kind, old, new, of(&went, place, from_went), self.stays)
                })
                .collect();
            // Rows that went must have been in a stored group, or have come in the same change.
            let fate = match from_went.is_some() && from_stored.is_none() && from_came.is_none() {
                true => Fate::Doubtful,
                false if from_went.is_none() => without_removals(&sums),
                false => fate(&self.folding.measures, &sums, self.stays && from_came.is_some()),
            };
            match fate {
                Fate::Doubtful => {
                    folded.doubtful.insert(key);
                }
                Fate::Vanishes => {
                    folded.gone.extend(from_stored.map(|_| key));
                }
                Fate::Stays(new) => {
                    let same = from_stored.is_some_and(|row| (0..new.len()).all(|m| stored[m][row] == new[m]));
                    if same {
                        continue;
                    }
                    folded.gone.extend(from_stored.map(|_| key));
                    origins.push(from_came.map_or_else(|| (1, from_stored.unwrap_or_default()), |row| (0, row)));
                    values.iter_mut().zip(new).for_each(|(column, value)| column.push(value));
                }
            }
        }
        folded.fresh.push(self.rows(&origins, values)?);
        Ok(folded)
    }

    /// The measures of rows: a vector a measure.
    fn values(&self, rows: &RecordBatch) -> Result<Vec<Vec<Option<i128>>>> {
        self.folding
            .measures
            .iter()
            .map(|measure| numbers(rows.column(self.columns.index_of(&measure.name)?)))
            .collect()
    }

    /// Rows whose measures are `values`, and whose other columns are those of rows that came (0) or are stored (1).
    fn rows(&self, origins: &[(usize, usize)], mut values: Vec<Vec<Option<i128>>>) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.fields().len());
        for (place, field) in self.columns.fields().iter().enumerate() {
            let measure = self.folding.measures.iter().position(|measure| &measure.name == field.name());
            columns.push(match measure {
                Some(measure) => array(std::mem::take(&mut values[measure]), field.data_type())?,
                None => interleave(
                    &[self.came.rows.column(place).as_ref(), self.stored.rows.column(place).as_ref()],
                    origins,
                )?,
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.columns), columns)?)
    }
}

impl Folded {
    /// Takes the doubtful groups as they were computed.
    ///
    /// # Errors
    /// When rows cannot be taken.
    pub(super) fn settle(&mut self, groups: &Groups<'_>, computed: &Side) -> Result<()> {
        let contents = |rows: &RecordBatch| hash_rows(rows.columns(), rows.num_rows());
        let (new, old) = (contents(&computed.rows)?, contents(&groups.stored.rows)?);
        let mut fresh = HashSet::new();
        for key in std::mem::take(&mut self.doubtful) {
            let was = groups.stored.by_key.get(&key).map(|row| old[*row]);
            let is = computed.by_key.get(&key).map(|row| new[*row]);
            if was != is {
                self.gone.extend(was.map(|_| key));
                fresh.extend(is.map(|_| key));
            }
        }
        self.fresh.push(computed.only(&fresh)?);
        Ok(())
    }
}

/// What becomes of a group that only grew: it is there, whatever its values.
fn without_removals(sums: &[Sum]) -> Fate {
    let known = |sum: &Sum| match sum {
        Sum::Known(value) => Some(*value),
        Sum::ZeroOrNull | Sum::Unknown => None,
    };
    sums.iter().map(known).collect::<Option<_>>().map_or(Fate::Doubtful, Fate::Stays)
}

fn numbers(column: &ArrayRef) -> Result<Vec<Option<i128>>> {
    match column.data_type() {
        DataType::Int64 => Ok(column.as_primitive::<Int64Type>().iter().map(|value| value.map(i128::from)).collect()),
        DataType::Decimal128(..) => Ok(column.as_primitive::<Decimal128Type>().iter().collect()),
        other => Err(ArrowError::SchemaError(format!("a folded measure is a bigint or a decimal, not {other}")).into()),
    }
}

/// # Errors
/// When a sum does not fit the type, as it would when it is computed.
fn array(values: Vec<Option<i128>>, kind: &DataType) -> Result<ArrayRef> {
    let overflow = |value: i128| ArrowError::ArithmeticOverflow(format!("the sum {value} does not fit {kind}"));
    match kind {
        DataType::Int64 => {
            let narrow = |value: Option<i128>| value.map(|v| i64::try_from(v).map_err(|_| overflow(v))).transpose();
            Ok(Arc::new(values.into_iter().map(narrow).collect::<Result<Int64Array, _>>()?))
        }
        DataType::Decimal128(precision, scale) => {
            debug_assert!(*precision <= DECIMAL128_MAX_PRECISION);
            let array = Decimal128Array::from(values).with_precision_and_scale(*precision, *scale)?;
            array.validate_decimal_precision(*precision)?;
            Ok(Arc::new(array))
        }
        other => Err(ArrowError::SchemaError(format!("a folded measure is a bigint or a decimal, not {other}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_know_when_zero_may_be_null() {
        use MeasureKind::{Count, Rows, Sum as Always, SumOfSome};
        let table = [
            (SumOfSome, (Some(5), Some(2), Some(3)), Sum::Known(Some(4))),
            (SumOfSome, (None, None, None), Sum::Known(None)),
            (SumOfSome, (None, Some(0), None), Sum::Known(Some(0))),
            (SumOfSome, (Some(3), None, Some(3)), Sum::ZeroOrNull),
            (SumOfSome, (None, None, Some(3)), Sum::Unknown),
            (Always, (Some(3), None, Some(3)), Sum::ZeroOrNull),
            (Rows, (Some(3), None, Some(3)), Sum::Known(Some(0))),
            (Count, (Some(3), None, Some(4)), Sum::Unknown),
            (Always, (Some(i128::MAX), Some(1), None), Sum::Unknown),
        ];
        for (kind, (stored, came, went), expected) in table {
            assert_eq!(sum(kind, stored, came, went, true), expected, "{kind:?} {stored:?} {came:?} {went:?}");
        }
        assert_eq!(sum(SumOfSome, Some(3), Some(0), Some(3), true), Sum::Known(Some(0)));
        assert_eq!(sum(SumOfSome, Some(3), Some(0), Some(3), false), Sum::ZeroOrNull, "it may have gone again");
    }

    #[test]
    fn a_group_without_rows_vanishes_and_one_that_may_have_some_is_computed() {
        let measures = |kinds: &[MeasureKind]| -> Vec<Measure> {
            kinds.iter().map(|kind| Measure { name: String::new(), kind: *kind }).collect()
        };
        use MeasureKind::{Rows, Sum as Always, SumOfSome};
        let counted = measures(&[Rows, Always, SumOfSome]);
        let zero = [Sum::Known(Some(0)), Sum::ZeroOrNull, Sum::ZeroOrNull];
        assert_eq!(fate(&counted, &zero, false), Fate::Vanishes);
        let one = [Sum::Known(Some(1)), Sum::ZeroOrNull, Sum::Known(None)];
        assert_eq!(fate(&counted, &one, false), Fate::Stays(vec![Some(1), Some(0), None]));
        let unsure = [Sum::Known(Some(1)), Sum::ZeroOrNull, Sum::ZeroOrNull];
        assert_eq!(fate(&counted, &unsure, false), Fate::Doubtful);
        let uncounted = measures(&[Always]);
        assert_eq!(fate(&uncounted, &[Sum::ZeroOrNull], false), Fate::Doubtful);
        assert_eq!(fate(&uncounted, &[Sum::Known(Some(2))], false), Fate::Stays(vec![Some(2)]));
    }
}
