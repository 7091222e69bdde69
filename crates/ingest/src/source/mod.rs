//! The source seam: what stands behind it hands over records in the order of their log, and says how far it got.
//!
//! A [`Source`] starts where a snapshot of the table stands and never knows how rows are decoded or committed. Landing
//! files, Kafka and the simulator stand behind it.

pub(crate) mod files;
pub(crate) mod kafka;
mod log_batch;
pub(crate) mod simulator;

use std::sync::Arc;

use async_trait::async_trait;
use store::Snapshot;
use tokio::sync::{mpsc, oneshot};

use crate::records::RawBatch;
use crate::{Gap, IngestError, StreamReport};

/// What a source says, in order.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one, and only a few wait at a time")]
pub(crate) enum Event {
    /// Records, in the order of their log, and how far the source is once they are stored.
    Records(RawBatch, Option<Reached>),
    /// The source got further without records.
    Reached(Reached),
    /// What comes next lies behind a gap that the user accepted: the next commit says so.
    Gap(Gap),
    /// Commit what was reached: from here to the next [`Reached`] stands alone, so that it may be discarded.
    Alone,
    /// Forget all since [`Event::Alone`].
    Discard,
    /// The source is about to ask the table where it stands (ownership of partitions changed, a new round of files).
    /// Rows that are `lost` belong to somebody else now and are dropped, others are committed.
    Settle { lost: bool, answer: oneshot::Sender<Option<Arc<Snapshot>>> },
}

/// How far one input is consumed (ENGINE.md, rule 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The input's id.
    pub input: Arc<str>,
    /// Where what was handed over since begins.
    pub from: Begins,
    /// Its position: the next offset, or the number of the last landing file.
    pub to: i64,
    /// Places of the log without a record since the last position (transaction markers, compacted away).
    pub skipped: u64,
}

/// Where a stretch of an input begins: the commit that stores it is refused where the table is not there (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// Where the stretch before it ended, or where the table stood when the source last asked: only for a source that has
    /// nothing in hand while it asks.
    AsAnswered,
    /// At the position from which it was read; `None` where the table had none. A partition that stays with its reader
    /// while others change hands was read from an older position than the answer has, if somebody else has moved it.
    At(Option<i64>),
}

/// The sink that events go to has ended: the source is to return, and its result does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes events any more")]
pub(crate) struct Closed;

/// Why an event was not taken.
pub(crate) enum NotSent {
    /// The sink is behind; the event comes back.
    Full(Box<Event>),
    /// The sink has ended.
    Closed,
}

/// Where a source puts its events. Bounded: a source that is faster than the disk waits here.
#[derive(Clone)]
pub(crate) struct Outlet {
    events: mpsc::Sender<Event>,
}

/// An outlet and its other end. A few batches may wait between them.
pub(crate) fn outlet() -> (Outlet, mpsc::Receiver<Event>) {
    let (events, receiver) = mpsc::channel(4);
    (Outlet { events }, receiver)
}

impl Outlet {
    /// Hands over an event; waits while the sink is behind.
    pub async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }

    /// As [`Outlet::send`], on a thread that may block.
    pub fn blocking_send(&self, event: Event) -> Result<(), Closed> {
        self.events.blocking_send(event).map_err(|_| Closed)
    }

    /// Hands over an event if there is room, else gives it back.
    pub fn try_send(&self, event: Event) -> Result<(), NotSent> {
        self.events.try_send(event).map_err(|error| match error {
            mpsc::error::TrySendError::Full(event) => NotSent::Full(Box::new(event)),
            mpsc::error::TrySendError::Closed(_) => NotSent::Closed,
        })
    }

    /// Has everything committed (or dropped) and returns the table as it then is, if there is one.
    pub async fn settle(&self, lost: bool) -> Result<Option<Arc<Snapshot>>, Closed> {
        let (answer, snapshot) = oneshot::channel();
        self.send(Event::Settle { lost, answer }).await?;
        snapshot.await.map_err(|_| Closed)
    }

    /// As [`Outlet::settle`], on a thread that may block.
    pub fn blocking_settle(&self, lost: bool) -> Result<Option<Arc<Snapshot>>, Closed> {
        let (answer, snapshot) = oneshot::channel();
        self.blocking_send(Event::Settle { lost, answer })?;
        snapshot.blocking_recv().map_err(|_| Closed)
    }
}

/// How a source can end before its input does.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The sink ended first.
    Closed,
    /// The source cannot go on.
    Failed(IngestError),
}

impl From<Closed> for SourceError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl<E: Into<IngestError>> From<E> for SourceError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// An ordered log, or several of them, that feed one stream.
#[async_trait]
pub(crate) trait Source: Send {
    /// The source, as a person would name it.
    fn name(&self) -> String;

    /// Reads from where `start` stands (nowhere, if there is no table yet), until the input ends or (in follow mode) for ever. May be dropped at any await
    /// and run again from another snapshot: nothing but the table says what was consumed.
    async fn run(&mut self, start: Option<Arc<Snapshot>>, out: Outlet) -> Result<(), SourceError>;

    /// Waits, for a bounded time, until what a run left open is closed. To be called after the last run.
    async fn close(&mut self) {}

    /// Takes part in the stream's report.
    fn report(&mut self, _report: &mut StreamReport) {}

    /// What is to be called after each commit.
    fn on_commit(&self) -> OnCommit {
        Box::new(|_| {})
    }
}

/// Told after each commit how far the table now stands. Must not block.
pub(crate) type OnCommit = Box<dyn FnMut(&Arc<Snapshot>) + Send>;
