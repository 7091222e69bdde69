//! The consumer's loop, on a thread of its own: poll, gather, hand on; carry out rebalances; tell the broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schema::KafkaStart;
use store::{Lake, Snapshot};

use super::Committed;
use super::client::Client;
use super::context::{Change, Context, give_back};
use super::position::{AtOffset, Checker, Watermarks, compare, first_offset, last_stored};
use crate::source::log_batch::{LogBatch, Message, input};
use crate::source::{Closed, Event, NotSent, Outlet, Reached, SourceError};
use crate::{IngestError, Mode};

/// The longest that the loop waits for a message before it looks at other things.
const POLL: Duration = Duration::from_millis(50);
/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(5);
/// In once mode, how long a broker may be away before the run gives up.
const ONCE_PATIENCE: Duration = Duration::from_secs(300);
/// The client passes over messages with these errors: going on would count them as never sent.
const UNREADABLE: [RDKafkaErrorCode; 4] = [
    RDKafkaErrorCode::BadMessage,
    RDKafkaErrorCode::BadCompression,
    RDKafkaErrorCode::NotImplemented,
    RDKafkaErrorCode::MessageSizeTooLarge,
];
/// How often the same trouble is put into the log.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// How often offsets are committed to the broker.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the sink may be behind before the partitions are paused, so that the group does not miss our polls.
const PAUSE_AFTER: Duration = Duration::from_secs(5);

/// What the loop works with.
pub(super) struct ReaderEnv {
    pub lake: Lake,
    pub stream: String,
    pub topic: String,
    pub start: KafkaStart,
    pub max_record: usize,
    pub client: ClientConfig,
    /// Messages are handed on when the oldest has waited this long.
    pub hand_on_after: Duration,
    pub mode: Mode,
    pub committed: Committed,
    pub stop: Arc<AtomicBool>,
    pub out: Outlet,
}

/// A partition that is being read.
struct Partition {
    batch: LogBatch,
    /// In once mode, the offset at which it ends.
    end: Option<i64>,
    since: Option<Instant>,
}

/// The consumer of one stream.
pub(super) struct Reader {
    env: ReaderEnv,
    consumer: Client,
    checker: Option<Checker>,
    cluster: String,
    partitions: BTreeMap<i32, Partition>,
    /// Error events that came while a batch waited for the sink.
    late: Vec<KafkaError>,
    said: Option<(String, Instant)>,
    told: Instant,
}

/// An error of the client as one of ours.
pub(super) fn failed(context: &str, error: &KafkaError) -> IngestError {
    IngestError::Kafka { context: context.to_owned(), reason: error.to_string() }
}

impl Reader {
    /// Connects, and waits until the broker says which cluster it is.
    pub fn open(env: ReaderEnv) -> Result<Self, SourceError> {
        let context = Context::new(&env.stream);
        let consumer: BaseConsumer<Context> =
            env.client.create_with_context(context).map_err(|e| failed("making a client", &e))?;
        let consumer = Client::new(consumer);
        let mut reader = Self {
            env,
            consumer,
            checker: None,
            cluster: String::new(),
            partitions: BTreeMap::new(),
            late: Vec::new(),
            said: None,
            told: Instant::now(),
        };
        reader.cluster = reader.patiently("asking for the cluster's id", |reader| {
            let id = reader.consumer.client().fetch_cluster_id(Duration::from_millis(500));
            id.ok_or_else(|| "no broker answers".to_owned())
        })?;
        Ok(reader)
    }

    /// Reads until the run is over.
    pub fn run(mut self, start: Option<Arc<Snapshot>>) -> Result<(), SourceError> {
        let result = match self.env.mode {
            Mode::Once => self.read_once(start),
            Mode::Follow => self.follow(),
        };
        self.tell_broker(true);
        result
    }

    /// Reads all partitions from the table's positions to the ends that they have now, without joining the group.
    fn read_once(&mut self, start: Option<Arc<Snapshot>>) -> Result<(), SourceError> {
        let topic = self.env.topic.clone();
        let partitions = self.patiently("asking for the topic's partitions", |reader| {
            let metadata = reader.consumer.fetch_metadata(Some(&topic), ANSWER).map_err(|e| e.to_string())?;
            let found = metadata.topics().iter().find(|t| t.name() == topic);
            let found: Vec<i32> = found.map(|t| t.partitions().iter().map(|p| p.id()).collect()).unwrap_or_default();
            if found.is_empty() { Err(format!("there is no topic {topic}")) } else { Ok(found) }
        })?;
        self.stand(&partitions, start.as_ref())?;
        let list = self.list(&partitions)?;
        self.consumer.assign(&list).map_err(|e| failed("assigning partitions", &e))?;
        let (mut place, mut since) = (self.place(), Instant::now());
        while self.partitions.values().any(|p| p.end.is_some_and(|end| p.batch.next() < end)) {
            self.step()?;
            if place != self.place() {
                (place, since) = (self.place(), Instant::now());
            } else if since.elapsed() > ONCE_PATIENCE {
                let reason = self.said.as_ref().map_or("no message came", |(reason, _)| reason).to_owned();
                return Err(IngestError::Kafka { context: "reading".to_owned(), reason }.into());
            }
        }
        self.hand_on(Duration::ZERO)?;
        self.env.out.blocking_settle(false)?;
        Ok(())
    }

    /// A number that grows with every message read.
    fn place(&self) -> i64 {
        self.partitions.values().map(|partition| partition.batch.next()).sum()
    }

    /// Reads what the group assigns, until stopped.
    fn follow(&mut self) -> Result<(), SourceError> {
        let topic = self.env.topic.clone();
        self.consumer.subscribe(&[&topic]).map_err(|e| failed("subscribing", &e))?;
        loop {
            self.step()?;
            while let Some(change) = self.consumer.context().next_change() {
                self.carry_out(change)?;
            }
        }
    }

    /// One turn: takes what the client has, hands on what waited long enough.
    fn step(&mut self) -> Result<(), SourceError> {
        if self.env.stop.load(Ordering::Relaxed) {
            return Err(SourceError::Closed);
        }
        // The first poll may wait, the others take what is there; the clock is read once for all of them.
        let mut wait = POLL;
        for _ in 0..10_000 {
            let taken = match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => take(&mut self.partitions, &message),
                Some(Err(error)) => Taken::Error(error),
            };
            wait = Duration::ZERO;
            match taken {
                Taken::More => {}
                Taken::Full(partition) => self.hand_on_partition(partition)?,
                Taken::Error(error) => self.look_into(error)?,
            }
        }
        for error in std::mem::take(&mut self.late) {
            self.look_into(error)?;
        }
        self.hand_on(self.env.hand_on_after)?;
        self.tell_broker(false);
        Ok(())
    }

    /// What an error event means.
    fn look_into(&mut self, error: KafkaError) -> Result<(), SourceError> {
        match error {
            KafkaError::PartitionEOF(id) => {
                if let Some(partition) = self.partitions.get_mut(&id) {
                    // Nothing but markers can lie between the last message and the end.
                    partition.end = partition.end.map(|_| partition.batch.next());
                }
                Ok(())
            }
            KafkaError::MessageConsumptionFatal(_) => Err(failed("reading", &error).into()),
            _ if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => self.out_of_range(),
            _ if error.rdkafka_error_code().is_some_and(|code| UNREADABLE.contains(&code)) => {
                Err(failed("reading", &error).into())
            }
            _ => {
                self.say(&error.to_string());
                Ok(())
            }
        }
    }

    /// The broker has no message at an offset that we want: finds out which, and how many are gone.
    fn out_of_range(&mut self) -> Result<(), SourceError> {
        for id in self.partitions.keys().copied().collect::<Vec<_>>() {
            let marks = self.watermarks(id)?;
            let next = self.partitions.get(&id).map(|p| p.batch.next());
            first_offset(&self.env.topic, id, next, marks, self.env.start)?;
        }
        self.say("an offset was out of range and is not any more");
        // The client fetches such a partition no more until it is placed anew.
        self.hand_on(Duration::ZERO)?;
        let snapshot = self.env.out.blocking_settle(false)?;
        let ids: Vec<i32> = self.partitions.keys().copied().collect();
        self.stand(&ids, snapshot.as_ref())?;
        let list = self.list(&ids)?;
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.consumer.incremental_unassign(&list).and_then(|()| self.consumer.incremental_assign(&list))
            }
            _ => self.consumer.assign(&list),
        }
        .map_err(|e| failed("placing partitions anew", &e).into())
    }

    /// Carries out a change of ownership.
    fn carry_out(&mut self, change: Change) -> Result<(), SourceError> {
        match change {
            Change::Assigned(ids) => {
                self.hand_on(Duration::ZERO)?;
                let snapshot = self.env.out.blocking_settle(false)?;
                self.stand(&ids, snapshot.as_ref())?;
                let list = self.list(&ids)?;
                match self.consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
                    _ => self.consumer.assign(&list),
                }
                .map_err(|e| failed("taking partitions", &e))?;
                tracing::info!(stream = self.env.stream, partitions = ?ids, "partitions assigned");
            }
            Change::Revoked { partitions: ids, lost } => {
                if lost {
                    // Everything that is not committed goes: rows of one partition cannot be taken out of a file.
                    let snapshot = self.env.out.blocking_settle(true)?;
                    ids.iter().for_each(|id| drop(self.partitions.remove(id)));
                    let kept: Vec<i32> = self.partitions.keys().copied().collect();
                    self.stand(&kept, snapshot.as_ref())?;
                    self.unassign(&ids)?;
                    self.seek(&kept)?;
                } else {
                    self.hand_on(Duration::ZERO)?;
                    self.env.out.blocking_settle(false)?;
                    self.tell_broker(true);
                    ids.iter().for_each(|id| drop(self.partitions.remove(id)));
                    self.unassign(&ids)?;
                }
                tracing::info!(stream = self.env.stream, partitions = ?ids, lost, "partitions revoked");
            }
        }
        Ok(())
    }

    fn unassign(&mut self, ids: &[i32]) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        for id in ids {
            list.add_partition(&self.env.topic, *id);
        }
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(&list),
            _ => {
                self.partitions.clear();
                self.consumer.unassign()
            }
        }
        .map_err(|e| failed("giving partitions back", &e).into())
    }

    /// Places partitions where the table stands, after a look whether they are still the log that it was read from.
    fn stand(&mut self, ids: &[i32], snapshot: Option<&Arc<Snapshot>>) -> Result<(), SourceError> {
        for id in ids.iter().copied() {
            let marks = self.watermarks(id)?;
            let (cluster, topic) = (self.cluster.clone(), self.env.topic.clone());
            let stored = snapshot.and_then(|s| s.txn(&input(&cluster, &topic, id)));
            let first = first_offset(&topic, id, stored, marks, self.env.start)?;
            if let (Some(snapshot), Some(position)) = (snapshot, stored) {
                self.same_log(snapshot, id, position, marks)?;
            }
            let batch = LogBatch::new(&cluster, &topic, id, first, self.env.max_record);
            if stored.is_none() && self.env.start == KafkaStart::Latest {
                // The start itself is worth a commit: after a restart "the next message" would be a later one.
                let reached = Reached { input: Arc::clone(batch.input()), to: first, skipped: 0 };
                self.env.out.blocking_send(Event::Reached(reached))?;
            }
            let end = (self.env.mode == Mode::Once).then_some(marks.high);
            self.partitions.insert(id, Partition { batch, end, since: None });
        }
        Ok(())
    }

    /// Compares the message before the position with what is stored.
    fn same_log(&mut self, snapshot: &Snapshot, id: i32, position: i64, marks: Watermarks) -> Result<(), SourceError> {
        let source = format!("kafka:{}/{}", self.cluster, self.env.topic);
        let Some(stored) = last_stored(&self.env.lake, snapshot, &source, id, position)? else { return Ok(()) };
        if stored.offset < marks.low {
            return Ok(());
        }
        if self.checker.is_none() {
            self.checker = Some(Checker::new(&self.env.client, &self.env.topic)?);
        }
        let found = self.patiently("reading the last stored message again", |reader| match &reader.checker {
            Some(checker) => match checker.read(id, stored.offset, ANSWER) {
                AtOffset::Unknown(reason) => Err(reason),
                found => Ok(found),
            },
            None => Ok(AtOffset::Nothing),
        })?;
        match found {
            AtOffset::Message { arrived_at_us, key } => {
                Ok(compare(&self.env.topic, id, &stored, arrived_at_us, key.as_deref())?)
            }
            AtOffset::Nothing | AtOffset::Unknown(_) => Ok(()),
        }
    }

    fn watermarks(&mut self, id: i32) -> Result<Watermarks, SourceError> {
        let topic = self.env.topic.clone();
        self.patiently("asking for the partition's offsets", |reader| {
            let marks = reader.consumer.fetch_watermarks(&topic, id, ANSWER);
            marks.map(|(low, high)| Watermarks { low, high }).map_err(|e| e.to_string())
        })
    }

    fn list(&self, ids: &[i32]) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::new();
        for id in ids {
            if let Some(partition) = self.partitions.get(id) {
                list.add_partition_offset(&self.env.topic, *id, Offset::Offset(partition.batch.next()))
                    .map_err(|e| failed("placing a partition", &e))?;
            }
        }
        Ok(list)
    }

    fn seek(&mut self, ids: &[i32]) -> Result<(), SourceError> {
        if ids.is_empty() {
            return Ok(());
        }
        let list = self.list(ids)?;
        let done = self.consumer.seek_partitions(list, ANSWER).map_err(|e| failed("seeking", &e))?;
        for element in done.elements() {
            element.error().map_err(|e| failed("seeking", &e))?;
        }
        Ok(())
    }

    /// Hands on what has waited for `age`.
    fn hand_on(&mut self, age: Duration) -> Result<(), SourceError> {
        let now = Instant::now();
        for id in self.partitions.keys().copied().collect::<Vec<_>>() {
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            if partition.batch.is_empty() {
                continue;
            }
            let since = *partition.since.get_or_insert(now);
            if now.duration_since(since) >= age {
                self.hand_on_partition(id)?;
            }
        }
        Ok(())
    }

    fn hand_on_partition(&mut self, id: i32) -> Result<(), SourceError> {
        let Some(partition) = self.partitions.get_mut(&id) else { return Ok(()) };
        partition.since = None;
        match partition.batch.seal() {
            Some(event) => Ok(self.push(event)?),
            None => Ok(()),
        }
    }

    /// Hands over an event. While the sink is behind, the client is still served; after a while it is told to pause.
    fn push(&mut self, mut event: Event) -> Result<(), Closed> {
        let begun = Instant::now();
        let mut paused = None;
        let result = loop {
            match self.env.out.try_send(event) {
                Ok(()) => break Ok(()),
                Err(NotSent::Closed) => break Err(Closed),
                Err(NotSent::Full(back)) => event = *back,
            }
            if self.env.stop.load(Ordering::Relaxed) {
                break Err(Closed);
            }
            if begun.elapsed() < PAUSE_AFTER {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            if paused.is_none() {
                paused = self.consumer.assignment().ok();
                if let Some(list) = &paused {
                    // A partition that cannot be paused is only polled and kept.
                    let _ = self.consumer.pause(list);
                }
            }
            match self.consumer.poll(Duration::from_millis(10)) {
                Some(Ok(message)) => drop(take(&mut self.partitions, &message)),
                // The end of a partition is said once: not to be lost here.
                Some(Err(error)) => self.late.push(error),
                None => {}
            }
        };
        if let Some(list) = paused {
            let _ = self.consumer.resume(&list);
        }
        result
    }

    /// Commits the table's positions to the broker, for tools that show lag.
    fn tell_broker(&mut self, now: bool) {
        if !now && self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let Some(snapshot) = self.env.committed.take() else { return };
        let mut list = TopicPartitionList::new();
        for (id, partition) in &self.partitions {
            if let Some(position) = snapshot.txn(partition.batch.input()) {
                drop(list.add_partition_offset(&self.env.topic, *id, Offset::Offset(position)));
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(stream = self.env.stream, %error, "kafka: offsets for lag tools were not taken");
        }
    }

    /// Tries until it works, the run is stopped, or (in once mode) patience ends; the log says what it waits for.
    fn patiently<T>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<T, SourceError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let reason = match attempt(self) {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            if self.env.stop.load(Ordering::Relaxed) {
                return Err(SourceError::Closed);
            }
            if self.env.mode == Mode::Once && begun.elapsed() > ONCE_PATIENCE {
                return Err(IngestError::Kafka { context: what.to_owned(), reason }.into());
            }
            self.say(&format!("{what}: {reason}"));
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    fn say(&mut self, reason: &str) {
        let again = self.said.as_ref().is_some_and(|(last, at)| last == reason && at.elapsed() < SAY_EVERY);
        if !again {
            tracing::warn!(stream = self.env.stream, topic = self.env.topic, "kafka: {reason}; waiting");
            self.said = Some((reason.to_owned(), Instant::now()));
        }
    }
}

impl Drop for Reader {
    /// Closing the consumer waits until every change of ownership is answered, also those that came and were not
    /// carried out.
    fn drop(&mut self) {
        let context = Arc::clone(self.consumer.context());
        context.close();
        while let Some(change) = context.next_change() {
            let (Change::Assigned(ids) | Change::Revoked { partitions: ids, .. }) = change;
            let mut list = TopicPartitionList::new();
            for id in ids {
                list.add_partition(&self.env.topic, id);
            }
            give_back(&self.consumer, &list);
        }
    }
}

/// What became of a message.
enum Taken {
    More,
    Full(i32),
    Error(KafkaError),
}

/// Copies a message into its partition's batch. One of a partition that is not ours (any more) is dropped.
fn take(partitions: &mut BTreeMap<i32, Partition>, message: &BorrowedMessage<'_>) -> Taken {
    let id = message.partition();
    let Some(partition) = partitions.get_mut(&id) else { return Taken::More };
    let offset = message.offset();
    if partition.end.is_some_and(|end| offset >= end) {
        // In once mode what came after the start is for the next run.
        partition.end = partition.end.map(|end| end.min(partition.batch.next()));
        return Taken::More;
    }
    let millis = message.timestamp().to_millis();
    let arrived_at_us = millis.map_or_else(|| chrono::Utc::now().timestamp_micros(), |ms| ms * 1000);
    partition.batch.push(&Message { offset, arrived_at_us, key: message.key(), payload: message.payload() });
    if partition.batch.is_full() { Taken::Full(id) } else { Taken::More }
}
