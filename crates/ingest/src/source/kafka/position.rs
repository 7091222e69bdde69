//! Where a partition is read from, and whether it is still the log that the table was read from (ENGINE.md, rule 7).

use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schema::KafkaStart;
use store::{Lake, Snapshot};
use tokio::runtime::Handle;

use crate::IngestError;

/// How far below the position the last stored message is looked for, when the very last offset held none.
const LOOK_BACK: i64 = 100_000;

/// Watermarks of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    /// The earliest offset that the broker has.
    pub low: i64,
    /// The offset of the next message.
    pub high: i64,
}

/// The first offset to read, given what the table says.
///
/// # Errors
/// [`IngestError::Expired`] and [`IngestError::Recreated`].
pub(super) fn first_offset(
    topic: &str,
    partition: i32,
    stored: Option<i64>,
    marks: Watermarks,
    start: KafkaStart,
) -> Result<i64, IngestError> {
    let Some(position) = stored else {
        return Ok(match start {
            KafkaStart::Earliest => marks.low,
            KafkaStart::Latest => marks.high,
        });
    };
    if position < marks.low {
        return Err(IngestError::Expired {
            topic: topic.to_owned(),
            partition,
            position,
            earliest: marks.low,
            gone: marks.low - position,
        });
    }
    if position > marks.high {
        let reason = format!(
            "the table was read up to offset {position}, but the topic ends at {}: it was made anew or lost messages",
            marks.high
        );
        return Err(IngestError::Recreated { topic: topic.to_owned(), partition, reason });
    }
    Ok(position)
}

/// A message that the table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub offset: i64,
    pub arrived_at_us: Option<i64>,
    pub key: Option<Vec<u8>>,
}

/// The last stored message of a partition before `position`, if it is not too far below.
///
/// # Errors
/// When the table cannot be read.
pub(super) fn last_stored(
    lake: &Lake,
    snapshot: &Snapshot,
    source: &str,
    partition: i32,
    position: i64,
) -> Result<Option<Stored>, IngestError> {
    for from in [position - 1, position - LOOK_BACK] {
        let read = async {
            let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
            context.runtime_env().register_object_store(lake.object_store_url().as_ref(), lake.object_store());
            let rows = context
                .read_table(snapshot.provider())?
                .filter(col("_source").eq(lit(source)))?
                .filter(col("_partition").eq(lit(partition)))?
                .filter(col("_offset").gt_eq(lit(from)).and(col("_offset").lt(lit(position))))?
                .filter(col("_mends").is_null())?
                .select(vec![col("_offset"), col("_arrived_at"), col("_key")])?
                .sort(vec![col("_offset").sort(false, false)])?
                .limit(0, Some(1))?;
            rows.collect().await
        };
        let batches = Handle::current().block_on(read).map_err(|e| IngestError::Kafka {
            context: format!("reading the last stored message of {source}/{partition}"),
            reason: e.to_string(),
        })?;
        if let Some(stored) = batches.iter().find_map(first_row) {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

fn first_row(batch: &RecordBatch) -> Option<Stored> {
    if batch.num_rows() == 0 {
        return None;
    }
    let key = arrow::compute::cast(batch.column(2), &arrow::datatypes::DataType::Binary).ok()?;
    let at = batch.column(1);
    Some(Stored {
        offset: batch.column(0).as_primitive::<Int64Type>().value(0),
        arrived_at_us: at.is_valid(0).then(|| at.as_primitive::<TimestampMicrosecondType>().value(0)),
        key: key.is_valid(0).then(|| key.as_binary::<i32>().value(0).to_vec()),
    })
}

/// Reads one message of a partition beside the consumer of the stream, which may be in the middle of a rebalance.
pub(super) struct Checker {
    consumer: BaseConsumer,
    topic: String,
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
    pub fn new(client: &ClientConfig, topic: &str) -> Result<Self, IngestError> {
        let mut client = client.clone();
        client.set("enable.partition.eof", "true").set("queued.max.messages.kbytes", "1024");
        let consumer = client.create().map_err(|e| super::consumer::failed("making a client", &e))?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    /// Reads what lies at `offset`.
    pub fn read(&self, partition: i32, offset: i64, patience: Duration) -> AtOffset {
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&self.topic, partition, Offset::Offset(offset))
            .and_then(|()| self.consumer.assign(&list));
        if let Err(error) = assigned {
            return AtOffset::Unknown(error.to_string());
        }
        let until = std::time::Instant::now() + patience;
        let mut reason = "no answer".to_owned();
        let found = loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
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

/// Compares a stored message with what the broker has at its offset.
///
/// # Errors
/// [`IngestError::Recreated`] when they differ.
pub(super) fn compare(
    topic: &str,
    partition: i32,
    stored: &Stored,
    arrived_at_us: Option<i64>,
    key: Option<&[u8]>,
) -> Result<(), IngestError> {
    let differs = |what: &str| {
        let reason = format!(
            "the message at offset {} has another {what} than the one that is stored: the topic was made anew",
            stored.offset
        );
        Err(IngestError::Recreated { topic: topic.to_owned(), partition, reason })
    };
    // A message without a timestamp was stored with the time of its reading.
    if arrived_at_us.is_some() && stored.arrived_at_us != arrived_at_us {
        return differs("timestamp");
    }
    if stored.key.as_deref() != key {
        return differs("key");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_where_to_start() {
        let marks = Watermarks { low: 10, high: 20 };
        let first = |stored, start| first_offset("t", 1, stored, marks, start);
        assert_eq!(first(None, KafkaStart::Earliest).expect("never seen"), 10);
        assert_eq!(first(None, KafkaStart::Latest).expect("never seen"), 20);
        assert_eq!(first(Some(10), KafkaStart::Latest).expect("seen"), 10);
        assert_eq!(first(Some(20), KafkaStart::Earliest).expect("all read"), 20);
        assert_eq!(
            first(Some(4), KafkaStart::Earliest).expect_err("expired").to_string(),
            "t/1: 6 messages are gone: the table stands at offset 4, the broker's earliest is 10"
        );
        assert!(matches!(first(Some(21), KafkaStart::Earliest), Err(IngestError::Recreated { .. })));
    }

    #[test]
    fn another_message_at_the_same_offset_is_another_topic() {
        let stored = Stored { offset: 7, arrived_at_us: Some(5), key: Some(b"k".to_vec()) };
        assert!(compare("t", 0, &stored, Some(5), Some(b"k")).is_ok());
        assert!(compare("t", 0, &stored, None, Some(b"k")).is_ok(), "no timestamp to compare");
        for (at, key) in [(Some(6), Some(b"k" as &[u8])), (Some(5), Some(b"x")), (Some(5), None)] {
            assert!(compare("t", 0, &stored, at, key).is_err());
        }
    }
}
