//! Where a partition starts that was never read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};
use schema::KafkaStart;

use super::not_yet::NotYet;
use super::partitions::TopicPartition;
use super::position::Watermarks;
use crate::IngestError;

/// What the first offset follows from.
pub(super) struct FirstOffset<'a> {
    pub start: &'a KafkaStart,
    pub partition: &'a TopicPartition,
    pub marks: Watermarks,
    /// Whether other partitions of the topic were read: then this one is newer than the stream's start.
    pub is_known: bool,
}

impl FirstOffset<'_> {
    /// The offset, where it follows from the contract alone.
    ///
    /// # Errors
    /// [`IngestError::NoSuchStart`] for an offset that the broker does not have.
    pub fn by_itself(&self) -> Result<Option<i64>, IngestError> {
        let Watermarks { low, high } = self.marks;
        match self.start {
            KafkaStart::Earliest => Ok(Some(low)),
            KafkaStart::Latest if self.is_known => Ok(Some(low)),
            KafkaStart::Latest | KafkaStart::Timestamp(_) => Ok(None),
            KafkaStart::Offsets(offsets) => match offsets.get(&self.partition.id) {
                None => Ok(Some(low)),
                Some(offset) if (low..=high).contains(offset) => Ok(Some(*offset)),
                Some(offset) => {
                    let partition = self.partition.to_string();
                    Err(IngestError::NoSuchStart { partition, offset: *offset, earliest: low, end: high })
                }
            },
        }
    }
}

/// The offset of the first message whose timestamp is `at` or later; `None` if there is none yet.
pub(super) fn offset_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partition: &TopicPartition,
    at: DateTime<Utc>,
    answer: Duration,
) -> Result<Option<i64>, NotYet> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&partition.topic, partition.id, Offset::Offset(at.timestamp_millis()))?;
    let found = consumer.offsets_for_times(list, answer)?;
    let Some(element) = found.find_partition(&partition.topic, partition.id) else {
        return Err(NotYet::Away("no answer for the partition".to_owned()));
    };
    element.error()?;
    match element.offset() {
        Offset::Offset(offset) => Ok(Some(offset)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_contract_says_where_a_new_partition_starts() {
        let at = |id, start: KafkaStart, is_known| {
            let partition = TopicPartition { topic: "t".into(), id };
            let marks = Watermarks { low: 10, high: 20 };
            FirstOffset { start: &start, partition: &partition, marks, is_known }.by_itself().map_err(|e| e.to_string())
        };
        let offsets = || KafkaStart::Offsets(BTreeMap::from([(0, 15), (1, 9), (2, 20), (3, 21)]));
        assert_eq!(at(0, KafkaStart::Earliest, false), Ok(Some(10)));
        assert_eq!(at(0, KafkaStart::Latest, false), Ok(None), "the broker is asked");
        assert_eq!(at(0, KafkaStart::Latest, true), Ok(Some(10)), "all of a partition that came later is new");
        assert_eq!((at(0, offsets(), false), at(2, offsets(), false)), (Ok(Some(15)), Ok(Some(20))));
        assert_eq!(at(7, offsets(), true), Ok(Some(10)));
        let error = at(1, offsets(), false).expect_err("expired");
        assert_eq!(error, "t/1: the contract starts at offset 9, but the broker has 10 up to 20");
        assert!(at(3, offsets(), false).is_err());
    }
}
