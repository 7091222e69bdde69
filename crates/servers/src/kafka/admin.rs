//! Topics: made, changed, deleted.

use std::time::Duration;

use futures::executor::block_on;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::Kafka;
use crate::wait;

const ASK_WITHIN: Duration = Duration::from_secs(60);

impl Kafka {
    /// Makes a topic with as many copies as there are brokers (3 at most), and waits until its partitions have leaders.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let copies = i32::try_from(self.lock().len().min(3)).expect("3 at most");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
        topic.config = config.to_vec();
        done(name, block_on(self.admin.create_topics([&topic], &options())));
        self.wait_for_leaders(name, partitions);
    }

    /// Deletes a topic, and waits until the cluster has forgotten it.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        done(name, block_on(self.admin.delete_topics(&[name], &options())));
        wait::until(&format!("topic {name}: deleted"), || (self.leaders(name)? == 0).then_some(()));
    }

    /// Adds partitions, so that there are `count`.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_partitions(&self, topic: &str, count: i32) {
        let partitions = NewPartitions::new(topic, usize::try_from(count).expect("a count"));
        done(topic, block_on(self.admin.create_partitions([&partitions], &options())));
        self.wait_for_leaders(topic, count);
    }

    /// Deletes the messages of a partition that lie before an offset, as retention does.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(before)).expect("a valid offset");
        let deleted = block_on(self.admin.delete_records(&offsets, &options()));
        let deleted = deleted.unwrap_or_else(|e| panic!("{topic}: {e}"));
        deleted.elements().iter().for_each(|p| p.error().unwrap_or_else(|e| panic!("{topic}/{partition}: {e}")));
    }

    /// Changes settings of a topic; those not named go back to their defaults.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn configure_topic(&self, topic: &str, config: &[(&str, &str)]) {
        let resource = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = config.iter().fold(resource, |change, (key, value)| change.set(key, value));
        let changed = block_on(self.admin.alter_configs([&change], &options())).expect("the cluster answers");
        for result in changed {
            result.unwrap_or_else(|(_, e)| panic!("{topic}: {e}"));
        }
    }

    /// The first offset of a partition and the one after its last.
    ///
    /// # Panics
    /// When the partition is not there.
    #[track_caller]
    pub fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer: BaseConsumer = self.client().create().expect("a client");
        let offsets = consumer.fetch_watermarks(topic, partition, ASK_WITHIN);
        offsets.unwrap_or_else(|e| panic!("{topic}/{partition}: {e}"))
    }

    /// How many messages a topic has; those that expired, or were compacted away, are none.
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    pub fn count(&self, topic: &str) -> usize {
        let mut client = self.client();
        client.set("group.id", "count").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = client.create().expect("a client");
        let metadata = consumer.fetch_metadata(Some(topic), ASK_WITHIN).unwrap_or_else(|e| panic!("{topic}: {e}"));
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&all).expect("partitions that are there");
        let (mut messages, mut ended) = (0, 0);
        while ended < all.count() {
            match consumer.poll(ASK_WITHIN).unwrap_or_else(|| panic!("{topic}: nothing comes")) {
                Ok(_) => messages += 1,
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(e) => panic!("{topic}: {e}"),
            }
        }
        messages
    }

    /// The broker (1, 2, 3) that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> usize {
        wait::until(&format!("{topic}/{partition}: a leader"), || {
            let metadata = self.admin.inner().fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let partition = metadata.topics().first()?.partitions().iter().find(|p| p.id() == partition)?;
            usize::try_from(partition.leader()).ok().filter(|leader| *leader > 0)
        })
    }

    fn wait_for_leaders(&self, topic: &str, partitions: i32) {
        let count = usize::try_from(partitions).expect("a count");
        wait::until(&format!("topic {topic}: leaders"), || (self.leaders(topic)? == count).then_some(()));
        (0..partitions).for_each(|partition| self.wait_for_leader(topic, partition));
    }

    /// A broker is named as the leader a moment before it knows that it is.
    pub(super) fn wait_for_leader(&self, topic: &str, partition: i32) {
        let consumer: BaseConsumer = self.client().create().expect("a client");
        wait::until(&format!("{topic}/{partition}: an answer of its leader"), || {
            consumer.fetch_watermarks(topic, partition, ASK_WITHIN).ok()
        });
    }

    /// How many partitions of a topic have a leader.
    fn leaders(&self, topic: &str) -> Option<usize> {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        Some(partitions.iter().filter(|p| p.error().is_none() && p.leader() > 0).count())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ASK_WITHIN)).operation_timeout(Some(ASK_WITHIN))
}

#[track_caller]
fn done(topic: &str, results: rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>) {
    for result in results.unwrap_or_else(|e| panic!("{topic}: {e}")) {
        result.unwrap_or_else(|(topic, e)| panic!("{topic}: {e}"));
    }
}
