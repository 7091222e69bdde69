//! Checks on what is about to be published: which of the staged files each must look at, and what needs no look.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use quality::{CheckResult, QualityError, Reach, Rows, Subject};
use schema::{Check, Kept};
use store::{DataFile, LakeFiles, TableMeta};

use crate::job::{Input, Job, Mode};
use crate::plan::LoadedFeed;
use crate::stage::Finished;
use crate::{RefineError, Result};

/// Evaluates the model's checks on the staged files. Row checks look at the files that the commit adds, after a rebuild
/// at the whole table; all others at the table as it would be, but for keys that only new rows can repeat.
///
/// # Errors
/// When a check's SQL fails.
pub(crate) async fn results(job: &Job<'_>, finished: &Finished) -> Result<Vec<CheckResult>> {
    if job.model.model.all_checks().next().is_none() {
        return Ok(Vec::new());
    }
    let adds = &finished.staged.adds;
    let whole: Vec<Arc<DataFile>> = {
        let gone: Vec<&str> = finished.removes.iter().map(|file| file.path.as_ref()).collect();
        job.base.files().filter(|file| !gone.contains(&file.path.as_ref())).chain(adds).cloned().collect()
    };
    let fresh = if job.mode == Mode::Refresh { adds.clone() } else { whole.clone() };
    let subject = Subject {
        model: &job.model.model,
        fresh: rows(job, &finished.meta, fresh.clone()),
        whole: rows(job, &finished.meta, whole),
        now: job.env.lake.now(),
    };
    let results = subject.evaluate(|check| reach(job, &finished.meta, &fresh, check)).await;
    results.map_err(|error| match error {
        QualityError::Sql { check, source } => job.model.error(format!("check {check}: {source}")),
        other => RefineError::Quality(other),
    })
}

/// These files under the model's own name, beside the tables that only its checks read.
fn rows(job: &Job<'_>, meta: &Arc<TableMeta>, files: Vec<Arc<DataFile>>) -> Rows {
    let mut tables: HashMap<_, Arc<dyn TableProvider>> = job.others.clone();
    let own = LakeFiles::new(job.env.lake.clone(), Arc::clone(meta), files);
    tables.insert(job.model.name().clone(), Arc::new(own));
    Rows::Context(job.env.factory.context(tables))
}

fn reach(job: &Job<'_>, meta: &TableMeta, fresh: &[Arc<DataFile>], check: &Check) -> Reach {
    let proven = || Reach::Proven { rows: fresh.iter().map(|file| file.rows(meta)).sum() };
    match check {
        Check::Unique(columns) if is_proven(job, columns) => proven(),
        Check::Unique(columns) if is_local(job, columns) => Reach::Fresh,
        Check::NotNull(column) if no_nulls(meta, fresh, column) => proven(),
        Check::NotNull(_) | Check::AcceptedValues { .. } | Check::Range { .. } | Check::References { .. } => {
            Reach::Fresh
        }
        _ => Reach::Whole,
    }
}

/// Whether the way in which the table is kept makes these columns unique.
fn is_proven(job: &Job<'_>, columns: &[String]) -> bool {
    let within = |names: &[String]| names.iter().all(|name| columns.contains(name));
    match &job.model.model.kept {
        // What another feed has stored was looked at when that had news.
        Kept::Latest => {
            let mut feeds = job.model.feeds.iter().filter(|feed| may_add(job, feed));
            is_local(job, columns) && feeds.all(|feed| feed.at_most_one)
        }
        Kept::Scoped { .. } | Kept::Full => match job.model.feeds.as_slice() {
            [feed] => feed.grouped_by.as_ref().is_some_and(|groups| within(groups)),
            _ => false,
        },
        Kept::Append | Kept::View => false,
    }
}

/// Whether rows of this feed can be among those that a commit adds.
fn may_add(job: &Job<'_>, feed: &LoadedFeed) -> bool {
    let has_news = |name| job.inputs.get(name).is_some_and(Input::has_news);
    job.mode != Mode::Refresh || feed.reads.iter().any(has_news)
}

/// Whether rows that agree in these columns are always of one message, so that looking at new rows is enough.
fn is_local(job: &Job<'_>, columns: &[String]) -> bool {
    matches!(job.model.model.kept, Kept::Latest)
        && job.model.feeds.iter().all(|feed| feed.feed.entity.iter().all(|name| columns.contains(name)))
}

/// Whether the files' statistics say that a column has no nulls.
fn no_nulls(meta: &TableMeta, files: &[Arc<DataFile>], column: &str) -> bool {
    match meta.partition_columns.iter().position(|name| name == column) {
        Some(place) => files.iter().all(|file| file.partition_values[place].is_some()),
        None => files.iter().all(|file| file.stats(meta).columns.get(column).and_then(|c| c.nulls) == Some(0)),
    }
}
