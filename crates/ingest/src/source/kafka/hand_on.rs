//! From the client to the sink: batches are handed on, the client is served while the sink is behind, and the broker is
//! told how far the table is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::consumer::Reader;
use super::partitions::TopicPartition;
use super::schemas::{Framed, Wait};
use crate::Mode;
use crate::source::{Closed, Event, NotSent, SourceError};

/// How often offsets are committed to the broker.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the end of a run waits for the broker to take them.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// How long the sink may be behind before the partitions are paused, so that the group does not miss our polls.
const PAUSE_AFTER: Duration = Duration::from_secs(5);

impl Reader {
    /// Hands on what has waited for `age`.
    pub(super) fn hand_on(&mut self, age: Duration) -> Result<(), SourceError> {
        self.hand_on_each(age, Wait::Patiently)
    }

    /// Hands on all that can be without waiting for the schema registry. The rest stays where it is: who has its partition
    /// next, or places it anew, reads it again.
    pub(super) fn hand_on_at_once(&mut self) -> Result<(), SourceError> {
        self.hand_on_each(Duration::ZERO, Wait::No)
    }

    fn hand_on_each(&mut self, age: Duration, wait: Wait) -> Result<(), SourceError> {
        let now = Instant::now();
        for key in self.partitions.keys() {
            let Some(partition) = self.partitions.get_mut(&key) else { continue };
            if partition.batch.is_empty() {
                continue;
            }
            let since = *partition.since.get_or_insert(now);
            if now.duration_since(since) >= age {
                self.hand_on_partition(&key, wait)?;
            }
        }
        Ok(())
    }

    /// Hands on what was gathered of a partition, once the schemas of its messages are known.
    pub(super) fn hand_on_partition(&mut self, key: &TopicPartition, wait: Wait) -> Result<(), SourceError> {
        let Framed::Known(framing) = self.framing(key, wait)? else { return Ok(()) };
        let Some(partition) = self.partitions.get_mut(key) else { return Ok(()) };
        partition.since = None;
        match partition.batch.seal(framing) {
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
            paused.get_or_insert_with(|| self.pause());
            self.serve(Duration::from_millis(10));
        };
        self.resume(paused.flatten());
        result
    }

    /// Stops the flow of messages; the client can be served and keeps its partitions.
    pub(super) fn pause(&self) -> Option<TopicPartitionList> {
        let list = self.consumer.assignment().ok().filter(|list| list.count() > 0)?;
        // A partition that cannot be paused is only polled and kept.
        let _ = self.consumer.pause(&list);
        Some(list)
    }

    /// Lets messages flow again.
    pub(super) fn resume(&self, paused: Option<TopicPartitionList>) {
        if let Some(list) = paused {
            let _ = self.consumer.resume(&list);
        }
    }

    /// Lets the client do its work for `wait` at most. Messages stay where they are, and an error is kept.
    pub(super) fn serve(&mut self, wait: Duration) {
        if let Some(trouble) = self.hear(wait) {
            self.late.push(trouble);
        }
    }

    /// Moves past the places without messages that the client has passed: markers of transactions at the end of a
    /// partition, which would look like messages that wait.
    fn pass_markers(&mut self) {
        let Ok(list) = self.consumer.position() else { return };
        for element in list.elements() {
            let key = TopicPartition { topic: element.topic().into(), id: element.partition() };
            if let (Offset::Offset(position), Some(partition)) = (element.offset(), self.partitions.get_mut(&key))
                && partition.is_moving
            {
                partition.batch.skip_to(position);
            }
        }
    }

    /// Commits the table's positions to the broker now and then, for tools that show lag.
    pub(super) fn tell_broker(&mut self) {
        if self.told.elapsed() >= TELL_EVERY {
            if self.env.mode == Mode::Follow {
                self.pass_markers();
            }
            self.tell();
        }
    }

    /// Tells the broker the last positions, before the client goes, and waits a moment until it has them.
    pub(super) fn tell_broker_now(&mut self) {
        self.await_told();
        self.tell();
        self.await_told();
    }

    /// One commit at a time: librdkafka keeps those that it cannot send, and closing a client waits for all of them.
    pub(super) fn tell(&mut self) {
        if self.consumer.context().is_telling() {
            return;
        }
        self.told = Instant::now();
        let Some(snapshot) = self.env.committed.take() else { return };
        let mut list = TopicPartitionList::new();
        for (key, partition) in self.partitions.iter() {
            if let Some(position) = snapshot.txn(partition.batch.input()) {
                drop(list.add_partition_offset(&key.topic, key.id, Offset::Offset(position)));
            }
        }
        if list.count() == 0 {
            return;
        }
        self.consumer.context().set_telling(true);
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            self.consumer.context().set_telling(false);
            tracing::debug!(stream = self.env.stream, %error, "kafka: offsets for lag tools were not taken");
        }
    }

    fn await_told(&mut self) {
        let until = Instant::now() + TELL_WITHIN;
        while self.consumer.context().is_telling() && Instant::now() < until {
            self.serve(Duration::from_millis(10));
        }
    }
}
