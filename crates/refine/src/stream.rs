//! Running plans: each partition on its own task, what comes out in one place.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{RefineError, Result};

/// Results that may wait for the one who takes them, per partition: enough that no side stands still.
const WAITING: usize = 2;

/// Runs `frame` with all its partitions at the same time, applies `work` to each batch on the partition's own task, and
/// hands what it gives to `take`, one after the other. Batches of one partition keep their order. Empty batches are left
/// out.
///
/// # Errors
/// The first error of the plan, of `work` or of `take`; the rest of the plan is then dropped.
pub(crate) async fn each<T, W, F>(frame: DataFrame, work: W, take: F) -> Result<()>
where
    T: Send + 'static,
    W: Fn(RecordBatch) -> Result<T> + Send + Sync + 'static,
    F: AsyncFnMut(T) -> Result<()>,
{
    each_of(frame.execute_stream_partitioned().await?, work, take).await
}

/// As [`each`], of partitions that run already.
///
/// # Errors
/// As [`each`].
pub(crate) async fn each_of<T, W, F>(streams: Vec<SendableRecordBatchStream>, work: W, mut take: F) -> Result<()>
where
    T: Send + 'static,
    W: Fn(RecordBatch) -> Result<T> + Send + Sync + 'static,
    F: AsyncFnMut(T) -> Result<()>,
{
    let (sender, mut receiver) = mpsc::channel(WAITING * streams.len().max(1));
    let work = Arc::new(work);
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        let (sender, work) = (sender.clone(), Arc::clone(&work));
        tasks.spawn(async move {
            while let Some(batch) = stream.next().await {
                let done = match batch {
                    Ok(batch) if batch.num_rows() == 0 => continue,
                    Ok(batch) => work(batch),
                    Err(error) => Err(RefineError::from(error)),
                };
                let failed = done.is_err();
                // The receiver is gone when another partition failed.
                if sender.send(done).await.is_err() || failed {
                    return;
                }
            }
        });
    }
    drop(sender);
    while let Some(done) = receiver.recv().await {
        take(done?).await?;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| RefineError::Worker(error.to_string()))?;
    }
    Ok(())
}

/// Plans that run at the same time, each on one task; what comes out in one place.
pub(crate) struct Running {
    sender: mpsc::Sender<(usize, Option<Result<RecordBatch>>)>,
    receiver: mpsc::Receiver<(usize, Option<Result<RecordBatch>>)>,
    tasks: JoinSet<()>,
}

impl Running {
    /// None yet; about `width` are meant to run at a time.
    pub(crate) fn new(width: usize) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING * width.max(1));
        Self { sender, receiver, tasks: JoinSet::new() }
    }

    /// Starts one more, as the one of this number.
    ///
    /// # Errors
    /// When it cannot be planned.
    pub(crate) async fn start(&mut self, number: usize, frame: DataFrame) -> Result<()> {
        let mut stream = frame.execute_stream().await?;
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            while let Some(batch) = stream.next().await {
                let failed = batch.is_err();
                // The receiver is gone when another plan failed.
                if sender.send((number, Some(batch.map_err(RefineError::from)))).await.is_err() || failed {
                    return;
                }
            }
            // As above.
            let _ = sender.send((number, None)).await;
        });
        Ok(())
    }

    /// The next rows of any of them; no rows say that the one of this number has ended. To be called while any has not.
    ///
    /// # Errors
    /// The first error of a plan.
    pub(crate) async fn next(&mut self) -> Result<(usize, Option<RecordBatch>)> {
        loop {
            tokio::select! {
                biased;
                Some((number, batch)) = self.receiver.recv() => return Ok((number, batch.transpose()?)),
                Some(ended) = self.tasks.join_next() => ended.map_err(|error| RefineError::Worker(error.to_string()))?,
            }
        }
    }
}
