//! What the client's callbacks do: note that partitions came or went, and what is wrong. The consumer's loop acts on it.
//!
//! librdkafka waits with a rebalance until the application has called (un)assign; doing that in the loop and not in the
//! callback lets rows be committed and the table be asked in between.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::partitions::TopicPartition;

/// After this no answer comes to offsets that were sent to the broker.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A change of ownership that the loop has to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// These partitions are ours now.
    Assigned(Vec<TopicPartition>),
    /// These are not ours any more; `lost`: they may be somebody else's already.
    Revoked { partitions: Vec<TopicPartition>, lost: bool },
}

/// Collects what the callbacks say.
pub(super) struct Context {
    stream: String,
    changes: Mutex<VecDeque<Change>>,
    /// What the client said in words about the error event that it hands over next.
    reason: Mutex<Option<String>>,
    /// A topic that was made anew under the client, which would go on at the old offsets.
    recreated: Mutex<Option<String>>,
    is_recreated: AtomicBool,
    /// Since when offsets are on their way to the broker.
    telling: Mutex<Option<Instant>>,
    /// Whether the consumer is being closed: then nobody carries out changes any more.
    closing: AtomicBool,
}

impl Context {
    /// For the consumer of a stream.
    pub fn new(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            changes: Mutex::default(),
            reason: Mutex::default(),
            recreated: Mutex::default(),
            is_recreated: AtomicBool::new(false),
            telling: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// From now on changes are carried out at once: closing a consumer waits for them.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// The next change that was not carried out.
    pub fn next_change(&self) -> Option<Change> {
        lock(&self.changes).pop_front()
    }

    /// Whether there are changes that were not carried out.
    pub fn has_changes(&self) -> bool {
        !lock(&self.changes).is_empty()
    }

    /// What the client said about the error event that was polled last.
    pub fn take_reason(&self) -> Option<String> {
        lock(&self.reason).take()
    }

    /// Whether a topic was made anew while it was read. Cheap: it is asked before every message, so that no message of
    /// the new topic is taken for one of the old.
    pub fn is_recreated(&self) -> bool {
        self.is_recreated.load(Ordering::Acquire)
    }

    /// The topic that was made anew.
    pub fn recreated(&self) -> Option<String> {
        lock(&self.recreated).clone()
    }

    /// Notes whether offsets are on their way to the broker.
    pub fn set_telling(&self, is_telling: bool) {
        *lock(&self.telling) = is_telling.then(Instant::now);
    }

    /// Whether offsets are on their way to the broker. One that a rebalance refused is never answered.
    pub fn is_telling(&self) -> bool {
        lock(&self.telling).is_some_and(|since| since.elapsed() < ANSWERED_WITHIN)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the ownership of partitions whose rows are committed or dropped already.
pub(super) fn give_back(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(&held(consumer, list)?),
        _ => consumer.unassign(),
    }
}

/// Those of the partitions that the client has. One that the broker did not know was never taken, and librdkafka refuses
/// to give back as a whole what it has not as a whole: then it waits for an answer for ever.
fn held(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    let (assigned, mut held) = (consumer.assignment()?, TopicPartitionList::new());
    for element in list.elements() {
        if assigned.find_partition(element.topic(), element.partition()).is_some() {
            held.add_partition(element.topic(), element.partition());
        }
    }
    Ok(held)
}

/// Answers an assignment that nobody carries out any more: the partitions are taken, from their ends, and the close that
/// follows gives them back. Answered by giving them back at once it would be refused, as they are not taken yet, and the
/// close would wait for another answer for ever.
pub(super) fn take_unread(consumer: &BaseConsumer<Context>, mut list: TopicPartitionList) -> KafkaResult<()> {
    list.set_all_offsets(Offset::End)?;
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(&list),
        _ => consumer.assign(&list),
    }
}

/// The topic that a line of the client's debug log says to be another than before. librdkafka 2.12 goes on at the old
/// offset then, without a word elsewhere (`rd_kafka_topic_metadata_update`: "FIXME: an offset reset must be triggered").
fn made_anew(message: &str) -> Option<&str> {
    let (topic, ids) = message.split_once("Topic ")?.1.split_once(" changed id from ")?;
    // The first id that a client learns follows none, which is all zeros.
    let is_first = ids.split(' ').next().is_some_and(|id| id.bytes().all(|b| b == b'A'));
    (!is_first).then_some(topic)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(topic) = made_anew(message) {
            *lock(&self.recreated) = Some(topic.to_owned());
            self.is_recreated.store(true, Ordering::Release);
        }
        match level {
            // These come as errors too, and are told there.
            _ if facility == "FAIL" => tracing::debug!(stream = self.stream, facility, "kafka: {message}"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(stream = self.stream, facility, "kafka: {message}");
            }
            _ => tracing::debug!(stream = self.stream, facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::debug!(stream = self.stream, %error, "kafka: {reason}");
        *lock(&self.reason) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let name = |topic: &str, id| TopicPartition { topic: topic.into(), id };
        let partitions = list.elements().iter().map(|element| name(element.topic(), element.partition())).collect();
        let change = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(partitions),
            // Anything else ends the ownership, as librdkafka asks of every rebalance callback.
            _ => Change::Revoked { partitions, lost: consumer.assignment_lost() },
        };
        if self.closing.load(Ordering::Relaxed) {
            // A client that closes takes any answer for giving back.
            if let Err(error) = give_back(consumer, list) {
                tracing::debug!(stream = self.stream, %error, "kafka: partitions were not given back");
            }
            return;
        }
        tracing::debug!(stream = self.stream, ?change, "kafka: rebalance");
        lock(&self.changes).push_back(change);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.set_telling(false);
        if let Err(error) = result {
            tracing::debug!(stream = self.stream, %error, "kafka: offsets for lag tools were not taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topic_that_had_an_id_is_made_anew() {
        let line = |from: &str| format!("[thrd:main]: Topic sales.eu changed id from {from} to s0m3IdOfTheNewTopic-w");
        assert_eq!(made_anew(&line("AAAAAAAAAAAAAAAAAAAAAA")), None);
        assert_eq!(made_anew(&line("o7her1dOfTheOldTopic_A")), Some("sales.eu"));
        assert_eq!(made_anew("[thrd:main]: Topic sales.eu [0] Leader 1 Epoch 0"), None);
    }
}
