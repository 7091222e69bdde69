//! `append` models: each new upstream row gives its rows once.

use datafusion::prelude::DataFrame;

use crate::job::Job;
use crate::stage::Stage;
use crate::{RefineError, Result, stream};

/// Runs the SQL over the rows that are new upstream and stages what it gives. Gives the number of staged rows.
///
/// # Errors
/// [`RefineError::NotAppendOnly`] when the upstream table removed rows; when the SQL or a table fails.
pub(crate) async fn append(job: &Job<'_>, stage: &mut Stage) -> Result<u64> {
    let mut rows = 0;
    for feed in &job.model.feeds {
        for name in &feed.reads {
            let Some(input) = job.inputs.get(name).filter(|input| input.has_news()) else { continue };
            let fresh = match &input.changes {
                None => input.at.provider(),
                Some(changes) if changes.inserts_only() => changes.inserts(),
                Some(_) => {
                    let (model, upstream) = (job.model.name().clone(), name.clone());
                    return Err(RefineError::NotAppendOnly { model, upstream, kept: "append" });
                }
            };
            let context = job.context([(name.clone(), job.seen(name, Some(fresh))?)]).await?;
            let frame = DataFrame::new(context.state(), job.feed(&context, feed).await?);
            stream::each(frame, Ok, async |batch| {
                rows += batch.num_rows() as u64;
                stage.add(batch).await
            })
            .await?;
        }
    }
    Ok(rows)
}
