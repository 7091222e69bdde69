//! What a broker has at one offset.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::not_yet::failed;
use super::partitions::TopicPartition;
use crate::IngestError;

/// Reads one message of a partition beside the consumer of the stream, which may be in the middle of a rebalance.
pub(super) struct Checker {
    consumer: BaseConsumer,
}

/// What lies at an offset.
pub(super) enum AtOffset {
    Message {
        arrived_at_us: Option<i64>,
        key: Option<Vec<u8>>,
    },
    /// No message: compacted away, a transaction marker, or expired a moment ago.
    Nothing,
    /// The broker did not answer in time.
    Unknown(String),
}

impl Checker {
    /// A second client with the same settings.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(client: &ClientConfig) -> Result<Self, IngestError> {
        let mut client = client.clone();
        client.set("enable.partition.eof", "true").set("queued.max.messages.kbytes", "1024");
        let consumer = client.create().map_err(|e| failed("making a client", &e))?;
        Ok(Self { consumer })
    }

    /// Reads what lies at `offset`.
    pub fn read(&self, partition: &TopicPartition, offset: i64, patience: Duration) -> AtOffset {
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&partition.topic, partition.id, Offset::Offset(offset))
            .and_then(|()| self.consumer.assign(&list));
        if let Err(error) = assigned {
            return AtOffset::Unknown(error.to_string());
        }
        let until = Instant::now() + patience;
        let mut reason = "no answer".to_owned();
        let found = loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break AtOffset::Unknown(reason);
            }
            match self.consumer.poll(left.min(Duration::from_millis(100))) {
                None => {}
                Some(Ok(message)) if message.offset() == offset => {
                    break AtOffset::Message {
                        arrived_at_us: message.timestamp().to_millis().map(|ms| ms * 1000),
                        key: message.key().map(<[u8]>::to_vec),
                    };
                }
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break AtOffset::Nothing,
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    break AtOffset::Nothing;
                }
                Some(Err(error)) => reason = error.to_string(),
            }
        };
        // Nothing more of this partition is wanted; a failure shows at the next assignment.
        let _ = self.consumer.unassign();
        found
    }
}
