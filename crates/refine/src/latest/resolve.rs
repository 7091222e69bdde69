//! Who wins: candidates and stored rows of the same entities, decided in memory (ENGINE.md 11, 13, 14).

use std::collections::{BTreeSet, HashMap, HashSet};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Decimal128Type, Int32Type, SchemaRef};
use arrow_row::{RowConverter, Rows, SortField};

use crate::Result;
use crate::keys::{hash_rows, pick};

/// The column with the 128-bit hash of a row's entity, while rows wait to be decided: after the table's columns.
pub(super) const KEY_COLUMN: &str = "__key";

/// The column with the place of a stored row's file in the list of probed files: after the key.
pub(super) const FILE_COLUMN: &str = "__file";

/// What orders the versions of an entity, and what is compared.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Number of the table's columns; the key follows them, and the file of stored rows follows the key.
    pub(crate) width: usize,
    /// The version column, if there is one.
    pub(crate) version: Option<usize>,
    /// `_lineage`.
    pub(crate) lineage: usize,
}

impl Shape {
    /// The shape of the rows that a feed makes in these columns.
    ///
    /// # Errors
    /// When one is missing, which the plan checks rule out.
    pub(crate) fn of(feed: &schema::Feed, columns: &SchemaRef) -> Result<Self> {
        Ok(Self {
            width: columns.fields().len(),
            version: feed.version.as_ref().map(|name| columns.index_of(name)).transpose()?,
            lineage: columns.index_of(session::LINEAGE_COLUMN)?,
        })
    }

    /// The columns of the order: version, then the fields of the lineage.
    fn order_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let version = self.version.map(|place| batch.column(place).clone());
        version.into_iter().chain(batch.column(self.lineage).as_struct().columns().iter().cloned()).collect()
    }

    /// Makes rows of the order comparable across batches.
    pub(crate) fn converter(&self, columns: &SchemaRef) -> Result<RowConverter> {
        let version = self.version.map(|place| columns.field(place).data_type().clone());
        let arrow::datatypes::DataType::Struct(fields) = columns.field(self.lineage).data_type() else {
            let message = "_lineage is not a struct".to_owned();
            return Err(arrow::error::ArrowError::SchemaError(message).into());
        };
        let types = version.into_iter().chain(fields.iter().map(|field| field.data_type().clone()));
        Ok(RowConverter::new(types.map(SortField::new).collect())?)
    }

    /// The order of each row of a batch.
    pub(crate) fn orders(&self, converter: &RowConverter, batch: &RecordBatch) -> Result<Rows> {
        Ok(converter.convert_columns(&self.order_columns(batch))?)
    }

    /// A hash of each row's content: all of the table's columns but `_lineage`.
    pub(super) fn contents(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        let places: Vec<usize> = (0..self.width).filter(|place| *place != self.lineage).collect();
        hash_rows(&pick(batch, &places), batch.num_rows())
    }

    /// A hash of each row's version; the same for all rows without one.
    fn versions(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        match self.version {
            Some(place) => hash_rows(&pick(batch, &[place]), batch.num_rows()),
            None => Ok(vec![0; batch.num_rows()]),
        }
    }
}

/// An entity whose stored rows a candidate would replace, with the candidate's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) key: u128,
    pub(crate) order: Box<[u8]>,
    /// A row of the winning candidate, in the candidates' batch.
    pub(crate) row: usize,
}

/// What was decided.
pub(crate) struct Decision {
    /// Candidates that are to be added, in the table's columns.
    pub(crate) add: RecordBatch,
    /// Stored rows that are to go, in the table's columns.
    pub(crate) gone: RecordBatch,
    /// Their entities.
    pub(crate) gone_keys: HashSet<u128>,
    /// Their files.
    pub(crate) gone_files: BTreeSet<i32>,
    /// Replacements that hold only if no consumed message comes between the stored version and the candidate: a copy of
    /// the stored content that came later than its stored order may have been dropped.
    pub(crate) doubtful: Vec<Replaced>,
}

struct Side<'a> {
    keys: &'a [i128],
    orders: Rows,
    contents: Vec<u128>,
}

/// Decides. `candidates` have the table's columns and the key, `stored` (where there is any) the file too. Entities in
/// `vetoed` keep their stored rows.
///
/// Per entity the rows of the candidate message of the greatest order win among the candidates. They lose against stored
/// rows of an equal or greater order, and against stored rows of the same content: those are no change.
pub(crate) fn decide(
    shape: &Shape,
    candidates: &RecordBatch,
    stored: Option<&RecordBatch>,
    vetoed: &HashSet<u128>,
) -> Result<Decision> {
    let columns = candidates.schema();
    let converter = shape.converter(&columns)?;
    let fresh = Side {
        keys: keys_of(shape, candidates),
        orders: shape.orders(&converter, candidates)?,
        contents: shape.contents(candidates)?,
    };
    let winners = greatest(&fresh);
    let table: Vec<usize> = (0..shape.width).collect();
    let mut losers: HashSet<u128> = HashSet::new();
    let mut gone_keys: HashSet<u128> = HashSet::new();
    let mut doubtful = Vec::new();
    if let Some(stored) = stored {
        let old = Side {
            keys: keys_of(shape, stored),
            orders: shape.orders(&converter, stored)?,
            contents: shape.contents(stored)?,
        };
        let (new_versions, old_versions) = (shape.versions(candidates)?, shape.versions(stored)?);
        let won = rows_by_key(&fresh, |row, key| is_of_winner(&fresh, &winners, row, key));
        for (key, old_rows) in rows_by_key(&old, |_, _| true) {
            let Some(&winner) = winners.get(&key) else { continue };
            let last = old_rows.iter().copied().max_by(|a, b| old.orders.row(*a).cmp(&old.orders.row(*b)));
            let Some(last) = last else { continue };
            let later = fresh.orders.row(winner) > old.orders.row(last);
            if !later || vetoed.contains(&key) || same_contents(&fresh, &won[&key], &old, &old_rows) {
                losers.insert(key);
                continue;
            }
            gone_keys.insert(key);
            // A dropped copy has the stored content, so the stored version: it cannot beat a greater one.
            if new_versions[winner] == old_versions[last] {
                let order = fresh.orders.row(winner).as_ref().into();
                doubtful.push(Replaced { key, order, row: winner });
            }
        }
    }
    let add: BooleanArray = (0..fresh.keys.len())
        .map(|row| {
            let key = fresh.keys[row] as u128;
            Some(!losers.contains(&key) && is_of_winner(&fresh, &winners, row, key))
        })
        .collect();
    let add = filter_record_batch(&candidates.project(&table)?, &add)?;
    let (gone, gone_files) = match stored {
        None => (add.slice(0, 0), BTreeSet::new()),
        Some(stored) => gone_rows(shape, stored, &table, &gone_keys)?,
    };
    Ok(Decision { add, gone, gone_keys, gone_files, doubtful })
}

fn keys_of<'a>(shape: &Shape, batch: &'a RecordBatch) -> &'a [i128] {
    batch.column(shape.width).as_primitive::<Decimal128Type>().values()
}

/// A row of the greatest message of each entity.
fn greatest(side: &Side<'_>) -> HashMap<u128, usize> {
    let mut winners: HashMap<u128, usize> = HashMap::new();
    for (row, key) in side.keys.iter().enumerate() {
        let winner = winners.entry(*key as u128).or_insert(row);
        if side.orders.row(row) > side.orders.row(*winner) {
            *winner = row;
        }
    }
    winners
}

/// Whether a row is of the winning message of its entity, which may have many rows.
fn is_of_winner(side: &Side<'_>, winners: &HashMap<u128, usize>, row: usize, key: u128) -> bool {
    winners.get(&key).is_some_and(|&winner| winner == row || side.orders.row(row) == side.orders.row(winner))
}

fn rows_by_key(side: &Side<'_>, wanted: impl Fn(usize, u128) -> bool) -> HashMap<u128, Vec<usize>> {
    let mut rows: HashMap<u128, Vec<usize>> = HashMap::new();
    for (row, key) in side.keys.iter().enumerate() {
        let key = *key as u128;
        if wanted(row, key) {
            rows.entry(key).or_default().push(row);
        }
    }
    rows
}

/// Whether two sets of rows are the same with all their repetitions.
fn same_contents(fresh: &Side<'_>, new: &[usize], old: &Side<'_>, stored: &[usize]) -> bool {
    if new.len() != stored.len() {
        return false;
    }
    let sorted = |side: &Side<'_>, rows: &[usize]| {
        let mut contents: Vec<u128> = rows.iter().map(|row| side.contents[*row]).collect();
        contents.sort_unstable();
        contents
    };
    sorted(fresh, new) == sorted(old, stored)
}

fn gone_rows(
    shape: &Shape,
    stored: &RecordBatch,
    table: &[usize],
    gone: &HashSet<u128>,
) -> Result<(RecordBatch, BTreeSet<i32>)> {
    let keys = keys_of(shape, stored);
    let files = stored.column(shape.width + 1).as_primitive::<Int32Type>();
    let mask: BooleanArray = keys.iter().map(|key| Some(gone.contains(&(*key as u128)))).collect();
    let touched = (0..keys.len()).filter(|row| mask.value(*row)).map(|row| files.value(row)).collect();
    Ok((filter_record_batch(&stored.project(table)?, &mask)?, touched))
}
