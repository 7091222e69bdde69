//! Placing partitions: where the table stands, after a look whether they are still the log that it was read from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use schema::KafkaStart;
use store::Snapshot;

use super::ANSWER;
use super::checker::{AtOffset, Checker};
use super::consumer::Reader;
use super::first::{FirstOffset, offset_at};
use super::not_yet::{GaveUp, NotYet};
use super::partitions::{Partition, TopicPartition};
use super::position::{Watermarks, compare, generation, in_range, last_stored, log_name};
use super::topics::partitions_of;
use crate::source::log_batch::{LogBatch, input};
use crate::source::{Begins, Event, Reached, SourceError};
use crate::{Gap, IngestError, Mode};

/// How many stored messages are looked for, as the newest may be compacted away.
const LOOKS: usize = 4;
/// How long a broker that took over may not know yet how far a log goes.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);

/// The log of a topic.
struct Log<'a> {
    topic: &'a Arc<str>,
    /// Its name in inputs and rows.
    name: String,
    /// How often the topic was accepted as another one, and 1.
    generation: u32,
    /// Whether the table was read from it before.
    is_known: bool,
}

/// Partitions with where they go on and what the broker has of them.
type Placed = Vec<(TopicPartition, LogBatch, Watermarks)>;

impl Reader {
    /// Places partitions where the table stands. One that the broker does not know (any more) is left out.
    pub(super) fn stand(
        &mut self,
        wanted: &[TopicPartition],
        snapshot: Option<&Arc<Snapshot>>,
    ) -> Result<(), SourceError> {
        // Messages that come while the broker is asked are of the old places: nobody takes them.
        wanted.iter().for_each(|partition| self.partitions.remove(partition));
        let mut placed = Placed::new();
        let mut topics: BTreeMap<Arc<str>, Vec<TopicPartition>> = BTreeMap::new();
        for partition in wanted {
            topics.entry(Arc::clone(&partition.topic)).or_default().push(partition.clone());
        }
        for (topic, partitions) in topics {
            let inputs = snapshot.iter().flat_map(|snapshot| snapshot.txns()).map(|(input, _)| input);
            let generation = generation(inputs, &self.cluster, &topic);
            let log = |generation: u32, is_known| {
                let name = log_name(&topic, generation);
                Log { topic: &topic, name, generation, is_known }
            };
            let known = log(generation.unwrap_or(1), generation.is_some());
            match self.stand_in(&known, &partitions, snapshot, &mut placed) {
                Err(SourceError::Failed(error @ IngestError::Recreated { .. })) if self.env.accept_gap => {
                    let anew = log(generation.unwrap_or(1) + 1, true);
                    placed.retain(|(at, ..)| at.topic != topic);
                    self.accept((&known, &anew), &partitions, snapshot, &error, &mut placed)?;
                }
                done => done?,
            }
        }
        for (at, batch, marks) in placed {
            let end = (self.env.mode == Mode::Once).then_some(marks.high);
            self.partitions.insert(at, Partition::new(batch, end));
        }
        Ok(())
    }

    /// Places partitions of one log.
    fn stand_in(
        &mut self,
        log: &Log<'_>,
        partitions: &[TopicPartition],
        snapshot: Option<&Arc<Snapshot>>,
        placed: &mut Placed,
    ) -> Result<(), SourceError> {
        let ends = self.note_ends(log)?;
        for partition in partitions {
            let stored = snapshot.and_then(|s| s.txn(&input(&self.cluster, &log.name, partition.id)));
            let Some(marks) = self.watermarks(partition, stored)? else {
                self.left_out.insert(partition.clone());
                continue;
            };
            let batch = match (stored, snapshot) {
                (Some(position), Some(snapshot)) => self.go_on(log, partition, position, marks, snapshot)?,
                _ => {
                    let first = FirstOffset { start: &self.env.spec.start, partition, marks, is_known: log.is_known };
                    match first.by_itself()? {
                        Some(offset) => self.batch(log, partition, (None, offset)),
                        None => self.asked(log, partition, marks, &ends)?,
                    }
                }
            };
            placed.push((partition.clone(), batch, marks));
        }
        Ok(())
    }

    /// A partition that the table was read from: it goes on at `position`, if that is still the same log.
    fn go_on(
        &mut self,
        log: &Log<'_>,
        partition: &TopicPartition,
        position: i64,
        marks: Watermarks,
        snapshot: &Snapshot,
    ) -> Result<LogBatch, SourceError> {
        let mut batch = self.batch(log, partition, (Some(position), position));
        match in_range(partition, position, marks) {
            Err(error @ IngestError::Expired { .. }) if self.env.accept_gap => {
                self.note_gap(&batch, &error)?;
                batch.skip_to(marks.low);
                batch.seal(None).map_or(Ok(()), |event| self.env.out.blocking_send(event))?;
            }
            result => result?,
        }
        self.same_log(log, partition, position, marks, snapshot)?;
        Ok(batch)
    }

    /// Where a partition starts that was never read, where the broker has to be asked. The start is worth a commit: after
    /// a restart "the next message" would be a later one.
    fn asked(
        &mut self,
        log: &Log<'_>,
        partition: &TopicPartition,
        marks: Watermarks,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<LogBatch, SourceError> {
        let KafkaStart::Timestamp(at) = self.env.spec.start else {
            let noted = ends.get(&partition.id).copied();
            return Ok(self.batch(log, partition, (noted, noted.unwrap_or(marks.low))));
        };
        let offset = self.patiently("asking for the offset of a time", |reader| {
            offset_at(&reader.consumer, partition, at, ANSWER)
        })?;
        if let Some(offset) = offset {
            return Ok(self.batch(log, partition, (None, offset)));
        }
        self.note(input(&self.cluster, &partition.topic, partition.id).into(), marks.high)?;
        Ok(self.batch(log, partition, (Some(marks.high), marks.high)))
    }

    /// Where a topic starts with its next messages: the ends of all its partitions, also of those that other members of
    /// the group have, become the table's positions at once, so that a partition that comes later is known to be new.
    fn note_ends(&mut self, log: &Log<'_>) -> Result<BTreeMap<i32, i64>, SourceError> {
        let mut ends = BTreeMap::new();
        if self.env.spec.start != KafkaStart::Latest || log.is_known {
            return Ok(ends);
        }
        let ids =
            self.patiently("asking for the topic's partitions", |reader| partitions_of(&reader.consumer, log.topic))?;
        for id in ids {
            let partition = TopicPartition { topic: Arc::clone(log.topic), id };
            let Some(marks) = self.watermarks(&partition, None)? else { continue };
            self.note(input(&self.cluster, &log.name, id).into(), marks.high)?;
            ends.insert(id, marks.high);
        }
        Ok(ends)
    }

    /// Begins a log anew under its next name, because the user accepted that it is another one. A partition that has the
    /// message that was stored last is none the less what it was: it goes on behind that message.
    fn accept(
        &mut self,
        (known, anew): (&Log<'_>, &Log<'_>),
        partitions: &[TopicPartition],
        snapshot: Option<&Arc<Snapshot>>,
        error: &IngestError,
        placed: &mut Placed,
    ) -> Result<(), SourceError> {
        for partition in partitions {
            let position = snapshot.and_then(|s| s.txn(&input(&self.cluster, &known.name, partition.id)));
            let Some(marks) = self.watermarks(partition, position)? else { continue };
            let intact = match (position, snapshot) {
                (Some(position), Some(snapshot)) => self.intact(known, partition, position, marks, snapshot)?,
                _ => None,
            };
            let from = intact.unwrap_or(marks.low);
            let batch = self.batch(anew, partition, (Some(from), from));
            if intact.is_none() {
                self.note_gap(&batch, error)?;
            }
            self.note(Arc::clone(batch.input()), from)?;
            placed.push((partition.clone(), batch, marks));
        }
        Ok(())
    }

    /// The position in a partition, if that is surely the log that the table was read from.
    fn intact(
        &mut self,
        log: &Log<'_>,
        partition: &TopicPartition,
        position: i64,
        marks: Watermarks,
        snapshot: &Snapshot,
    ) -> Result<Option<i64>, SourceError> {
        if in_range(partition, position, marks).is_err() {
            return Ok(None);
        }
        match self.same_log(log, partition, position, marks, snapshot) {
            Ok(is_seen) => Ok(is_seen.then_some(position)),
            Err(SourceError::Failed(IngestError::Recreated { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn note_gap(&self, batch: &LogBatch, error: &IngestError) -> Result<(), SourceError> {
        let gap = Gap { input: batch.input().to_string(), reason: error.to_string() };
        tracing::warn!(stream = self.env.stream, "kafka: accepted: {}", gap.reason);
        Ok(self.env.out.blocking_send(Event::Gap(gap))?)
    }

    /// Has the table note where an input begins that it does not know.
    fn note(&self, input: Arc<str>, to: i64) -> Result<(), SourceError> {
        let reached = Reached { input, from: Begins::At(None), to, skipped: 0 };
        Ok(self.env.out.blocking_send(Event::Reached(reached))?)
    }

    fn batch(&self, log: &Log<'_>, partition: &TopicPartition, place: (Option<i64>, i64)) -> LogBatch {
        LogBatch::new(&self.cluster, &log.name, partition.id, place, self.env.keep.clone())
    }

    /// Compares the messages before the position with what is stored. Gives whether one was there to be compared.
    fn same_log(
        &mut self,
        log: &Log<'_>,
        partition: &TopicPartition,
        position: i64,
        marks: Watermarks,
        snapshot: &Snapshot,
    ) -> Result<bool, SourceError> {
        for name in self.stored_under(log, partition, position, snapshot) {
            let source = format!("kafka:{}/{name}", self.cluster);
            let mut below = position;
            for _ in 0..LOOKS {
                let Some(stored) = last_stored(&self.env.lake, snapshot, &source, partition.id, below)? else { break };
                if stored.offset < marks.low {
                    break;
                }
                match self.message_at(partition, stored.offset)? {
                    AtOffset::Message { arrived_at_us, key } => {
                        compare(partition, &stored, arrived_at_us, key.as_deref())?;
                        return Ok(arrived_at_us.is_some() || key.is_some());
                    }
                    AtOffset::Nothing | AtOffset::Unknown(_) => below = stored.offset,
                }
            }
        }
        Ok(false)
    }

    /// The names under which the messages before a position may be stored: the log's, and those of generations before it
    /// from which the partition was carried over as it stood, without a message since.
    fn stored_under(
        &self,
        log: &Log<'_>,
        partition: &TopicPartition,
        position: i64,
        snapshot: &Snapshot,
    ) -> Vec<String> {
        let before = (1..log.generation).rev().map(|generation| log_name(log.topic, generation));
        let stands = |name: &String| snapshot.txn(&input(&self.cluster, name, partition.id)) == Some(position);
        std::iter::once(log.name.clone()).chain(before.take_while(stands)).collect()
    }

    fn message_at(&mut self, partition: &TopicPartition, offset: i64) -> Result<AtOffset, SourceError> {
        if self.checker.is_none() {
            self.checker = Some(Checker::new(&self.env.client)?);
        }
        let found = self.patiently("reading the last stored message again", |reader| match &reader.checker {
            Some(checker) => match checker.read(partition, offset, ANSWER) {
                AtOffset::Unknown(reason) => Err(NotYet::Away(reason)),
                found => Ok(found),
            },
            None => Ok(AtOffset::Nothing),
        })?;
        Ok(found)
    }

    /// The offsets that the broker has of a partition; `None` while following, if it knows no such partition. A log that
    /// ends before the table's position is asked for again: a broker that took over a moment ago may not know its end.
    fn watermarks(
        &mut self,
        partition: &TopicPartition,
        position: Option<i64>,
    ) -> Result<Option<Watermarks>, SourceError> {
        let begun = Instant::now();
        let marks = self.patiently("asking for the partition's offsets", |reader| {
            let (low, high) = reader.consumer.fetch_watermarks(&partition.topic, partition.id, ANSWER)?;
            if position.is_some_and(|position| position > high) && begun.elapsed() < SETTLES_WITHIN {
                return Err(NotYet::Away(format!("{partition} ends at {high}, before the table's position")));
            }
            Ok(Watermarks { low, high })
        });
        match marks {
            Ok(marks) => Ok(Some(marks)),
            Err(GaveUp::Unknown(error)) if self.env.mode == Mode::Follow => {
                self.say(&format!("{partition}: {error}"));
                Ok(None)
            }
            Err(gave_up) => Err(gave_up.into()),
        }
    }

    /// Fails if a partition has lost what is wanted next of it.
    pub(super) fn check_range(&mut self) -> Result<(), SourceError> {
        for key in self.partitions.keys() {
            let next = self.partitions.get(&key).map(|partition| partition.batch.next());
            let marks = self.watermarks(&key, next)?;
            if let (Some(next), Some(marks)) = (next, marks) {
                in_range(&key, next, marks)?;
            }
        }
        Ok(())
    }
}
