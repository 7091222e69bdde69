//! What the client's callbacks do: note that partitions came or went. The consumer's loop acts on it.
//!
//! librdkafka waits with a rebalance until the application has called (un)assign; doing that in the loop and not in the
//! callback lets rows be committed and the table be asked in between.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

/// A change of ownership that the loop has to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// These partitions are ours now.
    Assigned(Vec<i32>),
    /// These are not ours any more; `lost`: they may be somebody else's already.
    Revoked { partitions: Vec<i32>, lost: bool },
}

/// Collects what the callbacks say.
pub(super) struct Context {
    stream: String,
    changes: Mutex<VecDeque<Change>>,
    /// Whether the consumer is being closed: then nobody carries out changes any more.
    closing: AtomicBool,
}

impl Context {
    /// For the consumer of a stream.
    pub fn new(stream: &str) -> Self {
        Self { stream: stream.to_owned(), changes: Mutex::default(), closing: AtomicBool::new(false) }
    }

    /// From now on changes are carried out at once: closing a consumer waits for them.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// The next change that was not carried out.
    pub fn next_change(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Ends the ownership of partitions whose rows are committed or dropped already; an assignment that comes now is answered
/// with nothing, as the close that follows gives it back.
pub(super) fn give_back(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    };
    if let Err(error) = done {
        tracing::debug!(%error, "kafka: partitions were not given back");
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(stream = self.stream, facility, "kafka: {message}");
            }
            _ => tracing::debug!(stream = self.stream, facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(stream = self.stream, %error, "kafka: {reason}");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = list.elements().iter().map(|element| element.partition()).collect();
        let change = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(partitions),
            // Anything else ends the ownership, as librdkafka asks of every rebalance callback.
            _ => Change::Revoked { partitions, lost: consumer.assignment_lost() },
        };
        if self.closing.load(Ordering::Relaxed) {
            give_back(consumer, list);
            return;
        }
        tracing::debug!(stream = self.stream, ?change, "kafka: rebalance");
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(stream = self.stream, %error, "kafka: offsets for lag tools were not taken");
        }
    }
}
