//! Where a partition is read from, and whether it is still the log that the table was read from (ENGINE.md, rule 7).

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use store::{Lake, Snapshot};
use tokio::runtime::Handle;

use super::partitions::TopicPartition;
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

/// The generation of a topic's log that the table was read from, the highest of `inputs`; `None` if it never was read.
///
/// A topic that was made anew is another log under the same name, with its own offsets. Once that is accepted, its
/// inputs and rows carry the topic's name with a number, which no name of a topic can hold.
pub(super) fn generation<'a>(inputs: impl Iterator<Item = &'a str>, cluster: &str, topic: &str) -> Option<u32> {
    let prefix = format!("kafka:{cluster}/{topic}");
    let of = |input: &str| {
        let (number, _) = input.strip_prefix(&prefix)?.rsplit_once('/')?;
        if number.is_empty() { Some(1) } else { number.strip_prefix('#')?.parse().ok() }
    };
    inputs.filter_map(of).max()
}

/// The name of a topic's log in inputs and rows.
pub(super) fn log_name(topic: &str, generation: u32) -> String {
    if generation <= 1 { topic.to_owned() } else { format!("{topic}#{generation}") }
}

/// Whether a partition has the offset that the table wants next.
///
/// # Errors
/// [`IngestError::Expired`] and [`IngestError::Recreated`].
pub(super) fn in_range(partition: &TopicPartition, position: i64, marks: Watermarks) -> Result<(), IngestError> {
    if position < marks.low {
        return Err(IngestError::Expired {
            topic: partition.topic.to_string(),
            partition: partition.id,
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
        return Err(IngestError::Recreated { log: partition.to_string(), reason });
    }
    Ok(())
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

/// Compares a stored message with what the broker has at its offset.
///
/// # Errors
/// [`IngestError::Recreated`] when they differ.
pub(super) fn compare(
    partition: &TopicPartition,
    stored: &Stored,
    arrived_at_us: Option<i64>,
    key: Option<&[u8]>,
) -> Result<(), IngestError> {
    let differs = |what: &str| {
        let reason = format!(
            "the message at offset {} has another {what} than the one that is stored: the topic was made anew",
            stored.offset
        );
        Err(IngestError::Recreated { log: partition.to_string(), reason })
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

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), id: 1 }
    }

    #[test]
    fn the_table_wants_what_the_broker_has() {
        let marks = Watermarks { low: 10, high: 20 };
        let wants = |position| in_range(&partition(), position, marks);
        assert!(wants(10).is_ok() && wants(20).is_ok());
        assert_eq!(
            wants(4).expect_err("expired").to_string(),
            "t/1: 6 messages are gone: the table stands at offset 4, the broker's earliest is 10 (ingest --accept-gap \
             goes on without them)"
        );
        assert!(matches!(wants(21), Err(IngestError::Recreated { .. })));
    }

    #[test]
    fn a_topic_that_was_made_anew_is_another_log() {
        let of = |inputs: &[&str]| generation(inputs.iter().copied(), "c", "t");
        assert_eq!(of(&["files:t", "kafka:c/t2/0", "kafka:d/t/0", "replay:t"]), None);
        assert_eq!(of(&["kafka:c/t/0", "kafka:c/t/1"]), Some(1));
        assert_eq!(of(&["kafka:c/t#3/0", "kafka:c/t#2/7", "kafka:c/t/1"]), Some(3));
        assert_eq!((log_name("t", 1), log_name("t", 3)), ("t".to_owned(), "t#3".to_owned()));
    }

    #[test]
    fn another_message_at_the_same_offset_is_another_topic() {
        let stored = Stored { offset: 7, arrived_at_us: Some(5), key: Some(b"k".to_vec()) };
        assert!(compare(&partition(), &stored, Some(5), Some(b"k")).is_ok());
        assert!(compare(&partition(), &stored, None, Some(b"k")).is_ok(), "no timestamp to compare");
        for (at, key) in [(Some(6), Some(b"k" as &[u8])), (Some(5), Some(b"x")), (Some(5), None)] {
            assert!(compare(&partition(), &stored, at, key).is_err());
        }
    }
}
