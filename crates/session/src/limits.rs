//! Limits of a running query: its time, and errors that say which setting to raise.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, exec_datafusion_err, exec_err};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::{Stream, StreamExt, ready};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use crate::plans::Prepared;
use crate::{SessionError, SessionOptions};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// Batches that may wait between the query and its reader.
const WAITING_BATCHES: usize = 2;

/// How many polls of tasks a worker makes before it looks for input, output and time: queries poll long.
const POLLS_BETWEEN_EVENTS: u32 = 8;

/// The threads that queries run on, apart from those of the caller: a query that computes without giving way must not
/// keep its time limit, a Ctrl-C or another connection waiting.
pub(crate) struct QueryThreads {
    runtime: Option<Runtime>,
}

impl QueryThreads {
    pub(crate) fn start(threads: usize) -> Result<Self, SessionError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("smelt-query")
            .event_interval(POLLS_BETWEEN_EVENTS)
            .enable_all()
            .build()
            .map_err(SessionError::Threads)?;
        Ok(Self { runtime: Some(runtime) })
    }

    fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime is there until the drop").handle()
    }
}

impl Drop for QueryThreads {
    /// The last factory may be dropped inside of an async task, where waiting for threads is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a query on `threads` under the limits of `options` and gives its rows as they come: the stream ends with
/// [`SessionError::TimeLimit`] once the time is up, and an exhausted memory pool is a [`SessionError::MemoryLimit`].
/// Dropping it stops the query. The query works ahead of its reader by a few batches.
///
/// # Errors
/// What can be told before the first row: a plan that fails, or takes longer than the time limit.
pub(crate) async fn start(
    query: Prepared,
    threads: &QueryThreads,
    options: &SessionOptions,
) -> Result<SendableRecordBatchStream, SessionError> {
    let (started, planned) = tokio::sync::oneshot::channel();
    let (sender, batches) = tokio::sync::mpsc::channel(WAITING_BATCHES);
    let mut task = JoinSet::new();
    task.spawn_on(run(query, started, sender, options.memory_bytes), threads.handle());
    let mut deadline = options.time_limit.map(|limit| (limit, Box::pin(sleep(limit))));
    let planned = match &mut deadline {
        None => planned.await,
        Some((limit, deadline)) => tokio::select! {
            planned = planned => planned,
            () = deadline.as_mut() => return Err(SessionError::TimeLimit { limit: *limit }),
        },
    };
    // No word from the task: it panicked.
    let schema = planned.map_err(|_| exec_datafusion_err!("the query's task panicked while it planned"))??;
    Ok(Box::pin(Limited { schema, batches, task, deadline }))
}

type Started = tokio::sync::oneshot::Sender<Result<SchemaRef, SessionError>>;

async fn run(query: Prepared, started: Started, sender: Sender<Result<RecordBatch>>, memory_bytes: usize) {
    let mut stream = match query.start().await {
        Ok(stream) => stream,
        Err(error) => {
            // If nobody waits for the plan any more, nobody wants to hear that it failed.
            let _ = started.send(Err(name_limit(error, memory_bytes)));
            return;
        }
    };
    if started.send(Ok(stream.schema())).is_err() {
        return;
    }
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| name_limit(error, memory_bytes).into());
        let failed = batch.is_err();
        // Nobody reads on when the receiver is gone, and nothing follows an error.
        if sender.send(batch).await.is_err() || failed {
            return;
        }
    }
}

struct Limited {
    schema: SchemaRef,
    batches: Receiver<Result<RecordBatch>>,
    /// The task of the query; dropping it aborts the task.
    task: JoinSet<()>,
    deadline: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Stream for Limited {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some((limit, deadline)) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            let limit = *limit;
            this.deadline = None;
            this.task.abort_all();
            this.batches.close();
            while this.batches.try_recv().is_ok() {}
            return Poll::Ready(Some(Err(SessionError::TimeLimit { limit }.into())));
        }
        match ready!(this.batches.poll_recv(context)) {
            Some(batch) => Poll::Ready(Some(batch)),
            None => this.ended(context),
        }
    }
}

impl Limited {
    /// No batch follows: the query is done, or its task panicked, which must not look like the end of the answer.
    fn ended(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        match ready!(self.task.poll_join_next(context)) {
            Some(Err(error)) if error.is_panic() => Poll::Ready(Some(exec_err!("the query's task panicked: {error}"))),
            _ => Poll::Ready(None),
        }
    }
}

impl RecordBatchStream for Limited {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

/// The error, with what was exhausted and which setting says how much there is.
fn name_limit(error: DataFusionError, memory_bytes: usize) -> SessionError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(detail) if detail.contains("disk space") => {
            SessionError::SpillLimit { detail: detail.clone() }
        }
        DataFusionError::ResourcesExhausted(detail) => {
            SessionError::MemoryLimit { limit_mb: memory_bytes / 1_000_000, detail: detail.replace('\n', " ") }
        }
        _ => error.into(),
    }
}
