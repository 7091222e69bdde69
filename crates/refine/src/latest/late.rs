//! Late messages against copies that left no trace.
//!
//! Say A came at 1 and was stored, and came again at 3: the copy has the stored content, so it was dropped and the table
//! still says 1. Now B, made at 2, arrives. By the orders that the table knows (1 < 2) it would win, but the latest
//! version is A at 3. So a message that is about to replace a stored row is first looked up against: is there a consumed
//! message of the same entity with a greater order? Then that one is what the table shows, and the late one loses.
//!
//! Only messages of the same version can hide like this, and only if their lineage is greater: most files of Bronze are
//! ruled out by their statistics, and for a stream that arrives in order all of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ident;
use datafusion::prelude::DataFrame;
use schema::TableName;
use session::LINEAGE_COLUMN;
use session::functions::lineage::FILES_PREFIX;
use session::functions::natural_key::natural_key;
use store::{DataFile, TableMeta};

use super::resolve::{Replaced, Shape};
use super::seen_as;
use crate::job::{Input, Job};
use crate::keys::{hash_rows, pick, places};
use crate::plan::LoadedFeed;
use crate::{Result, stream};

/// A feed whose candidates are in doubt.
pub(super) struct Late<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) feed: &'a LoadedFeed,
    pub(super) name: &'a TableName,
    pub(super) shape: &'a Shape,
    pub(super) entity: &'a [usize],
    /// Files that hold the candidates' own messages.
    pub(super) news: &'a [Arc<DataFile>],
}

/// The start of a lineage: when, and in which file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    at: Option<i64>,
    name: String,
}

impl Late<'_> {
    /// The entities among the doubtful ones of which a greater message was consumed. `fresh` are the rows that their
    /// `row` points into.
    pub(super) async fn vetoed(
        &self,
        input: &Input,
        fresh: &RecordBatch,
        doubtful: &[Replaced],
    ) -> Result<HashSet<u128>> {
        let least = doubtful.iter().map(|replaced| start(self.shape, fresh, replaced.row)).min();
        let Some(least) = least else { return Ok(HashSet::new()) };
        let news: HashSet<&str> = self.news.iter().map(|file| file.path.as_ref()).collect();
        let dated = self.dated();
        let meta = input.at.meta();
        let older = input.at.files().filter(|file| !news.contains(file.path.as_ref()));
        let files: Vec<_> = older.filter(|file| may_follow(file, meta, &least, dated)).cloned().collect();
        if files.is_empty() {
            return Ok(HashSet::new());
        }
        self.look(input, files, doubtful).await
    }

    async fn look(&self, input: &Input, files: Vec<Arc<DataFile>>, doubtful: &[Replaced]) -> Result<HashSet<u128>> {
        let context = self.job.context(seen_as(self.job, self.name, input.at.provider_of(files))?).await?;
        let plan = self.job.feed(&context, self.feed).await?;
        let wanted = &self.feed.feed;
        let mut names: Vec<String> = wanted.entity.clone();
        for name in wanted.version.iter().map(String::as_str).chain([LINEAGE_COLUMN]) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let frame = DataFrame::new(context.state(), plan).select(names.iter().map(ident).collect::<Vec<_>>())?;
        let columns = Arc::new(self.job.columns().project(&places(&self.job.columns(), &names)?)?);
        let entity = places(&columns, &wanted.entity)?;
        let shape = Shape::of(wanted, &columns)?;
        debug_assert_eq!(entity.len(), self.entity.len());
        let orders: HashMap<u128, Box<[u8]>> = doubtful.iter().map(|r| (r.key, r.order.clone())).collect();
        let work = move |batch: RecordBatch| {
            let keys = hash_rows(&pick(&batch, &entity), batch.num_rows())?;
            if !keys.iter().any(|key| orders.contains_key(key)) {
                return Ok(Vec::new());
            }
            let found = shape.orders(&shape.converter(&columns)?, &batch)?;
            let beaten = keys
                .into_iter()
                .enumerate()
                .filter(|(row, key)| orders.get(key).is_some_and(|order| found.row(*row).as_ref() > order.as_ref()));
            Ok(beaten.map(|(_, key)| key).collect())
        };
        let mut vetoed = HashSet::new();
        stream::each(frame, work, async |keys: Vec<u128>| {
            vetoed.extend(keys);
            Ok(())
        })
        .await?;
        Ok(vetoed)
    }

    /// Whether files of the stream are ordered by a date in their names.
    fn dated(&self) -> bool {
        let contract = self.job.env.project.contracts.get(&self.name.name);
        contract.and_then(|contract| contract.files.as_ref()).is_some_and(|files| files.date.is_some())
    }
}

fn start(shape: &Shape, batch: &RecordBatch, row: usize) -> Start {
    let lineage = batch.column(shape.lineage).as_struct();
    let at = lineage.column(0).as_primitive::<TimestampMicrosecondType>();
    let name = lineage.column(1).as_string::<i32>();
    Start {
        at: at.is_valid(row).then(|| at.value(row)),
        name: if name.is_valid(row) { name.value(row).to_owned() } else { String::new() },
    }
}

/// Whether a file of Bronze may hold a message of a greater lineage, by its statistics.
fn may_follow(file: &DataFile, meta: &TableMeta, least: &Start, dated: bool) -> bool {
    let stats = file.stats(meta);
    let bounds = |name: &str| stats.columns.get(name).and_then(|column| column.min.as_ref().zip(column.max.as_ref()));
    let source = bounds("_source").filter(|(min, max)| min == max).and_then(|(min, _)| min.try_as_str().flatten());
    if !dated && let Some(path) = source.and_then(|source| source.strip_prefix(FILES_PREFIX)) {
        // One landing file, whose rows have no time: they come before all rows that have one.
        return least.at.is_none() && natural_key(path).as_str() >= least.name.as_str();
    }
    match (least.at, bounds("_arrived_at")) {
        (Some(at), Some((_, ScalarValue::TimestampMicrosecond(Some(max), _)))) => *max >= at,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use store::{Lake, LakeOptions, TableSpec};

    use super::*;

    /// A correction would read all of Bronze otherwise.
    #[tokio::test]
    async fn files_that_come_before_are_ruled_out() {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = [Field::new("_source", DataType::Utf8, true), Field::new("_arrived_at", instant, true)];
        let spec = TableSpec::new(Arc::new(Schema::new(fields.to_vec())));
        let lake = Lake::open("memory:///", LakeOptions::default()).await.expect("a lake");
        let table = lake.create_table(&"bronze.t".parse().expect("a name"), &spec).await.expect("a table");
        let meta = Arc::clone(table.snapshot().meta());
        let file = |stats: &str| DataFile::new("a.parquet", 1, vec![], 0, Some(stats.into()));
        let of = |name: &str| {
            let source = format!(r#"{{"_source":"{FILES_PREFIX}{name}"}}"#);
            file(&format!(r#"{{"numRecords":1,"minValues":{source},"maxValues":{source}}}"#))
        };
        let landed = |name: &str| Start { at: None, name: natural_key(name).to_string() };
        assert!(!may_follow(&of("sales-9.csv"), &meta, &landed("sales-10.csv"), false));
        assert!(may_follow(&of("sales-10.csv"), &meta, &landed("sales-9.csv"), false));
        assert!(may_follow(&of("sales-9.csv"), &meta, &landed("sales-10.csv"), true), "the date counts, not the name");
        let time = r#"{"_arrived_at":"2024-01-01T00:00:00.000Z"}"#;
        let arrived = file(&format!(r#"{{"numRecords":1,"minValues":{time},"maxValues":{time}}}"#));
        let at = |seconds: i64| Start { at: Some((1_704_067_200 + seconds) * 1_000_000), name: String::new() };
        assert!(may_follow(&arrived, &meta, &at(-1), false) && !may_follow(&arrived, &meta, &at(1), false));
        assert!(may_follow(&file(r#"{"numRecords":1}"#), &meta, &at(1), false), "nothing is known");
    }

    #[test]
    fn rows_without_a_time_come_first() {
        let file = |name: &str| Start { at: None, name: name.to_owned() };
        let broker = Start { at: Some(0), name: String::new() };
        assert!(file("b") < broker && file("a") < file("b"));
    }
}
