//! Writing files again without some of their rows.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use datafusion::execution::context::SessionContext;
use store::DataFile;

use crate::job::Job;
use crate::stage::{Stage, split};
use crate::{Result, stream};

/// Writes these files of the model's table again with only the rows that `keep` chooses. Files of a partitioned table are
/// read at the same time; those of another one after the other, so that rows stay in the order in which statistics tell
/// files apart.
///
/// # Errors
/// When a scan or a write fails.
pub(crate) async fn rewrite<K>(
    job: &Job<'_>,
    context: &SessionContext,
    files: Vec<Arc<DataFile>>,
    keep: K,
    stage: &mut Stage,
) -> Result<()>
where
    K: Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync + 'static,
{
    let keep = Arc::new(keep);
    let groups: Vec<Vec<Arc<DataFile>>> = match job.model.model.partition_by.is_empty() {
        true => files.into_iter().map(|file| vec![file]).collect(),
        false if files.is_empty() => Vec::new(),
        false => vec![files],
    };
    for files in groups {
        let frame = job.stored(context, files.clone(), None)?;
        let keep = Arc::clone(&keep);
        let work = move |batch: RecordBatch| Ok(split(&batch, &keep(&batch)?)?.0);
        stream::each(frame, work, async |kept| stage.keep(kept).await).await?;
        files.into_iter().for_each(|file| stage.replace(file));
    }
    Ok(())
}
