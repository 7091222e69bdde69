//! Which topics a stream has at a moment: those it names, and those that its patterns match.
//!
//! The patterns are matched here and not by librdkafka, whose expressions are another dialect and work for group members
//! only: `--once` and `--follow` must see the same topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use regex::Regex;
use schema::{KafkaSpec, is_pattern};

use super::ANSWER;
use super::not_yet::NotYet;
use crate::IngestError;

/// Topics with their partitions.
pub(super) type Found = BTreeMap<Arc<str>, Vec<i32>>;

/// What a stream says about its topics.
pub(super) struct Topics {
    names: Vec<Arc<str>>,
    patterns: Vec<Regex>,
    shown: String,
}

impl Topics {
    /// The topics of a contract.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn new(spec: &KafkaSpec) -> Result<Self, IngestError> {
        let (patterns, names): (Vec<&String>, Vec<&String>) = spec.topics.iter().partition(|topic| is_pattern(topic));
        let pattern = |text: &String| {
            Regex::new(text).map_err(|error| IngestError::Option {
                key: "kafka.topic".to_owned(),
                value: text.clone(),
                expected: format!("a regular expression: {error}"),
            })
        };
        Ok(Self {
            names: names.into_iter().map(|name| Arc::from(name.as_str())).collect(),
            patterns: patterns.into_iter().map(pattern).collect::<Result<_, _>>()?,
            shown: spec.shown(),
        })
    }

    /// Whether topics can come to it.
    pub fn can_grow(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The topics that it names.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether this is one of its topics. Kafka's own, which start with `__`, are matched by no pattern.
    fn has(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name.as_ref() == topic)
            || (!topic.starts_with("__") && self.patterns.iter().any(|pattern| pattern.is_match(topic)))
    }

    /// All of its topics that there are.
    ///
    /// # Errors
    /// No answer, or a topic that is named and not there, or no topic at all.
    pub fn find<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) -> Result<Found, NotYet> {
        let found = self.look(consumer)?;
        match self.names.iter().find(|name| !found.contains_key(*name)) {
            Some(name) => Err(NotYet::Unknown(format!("there is no topic {name}"))),
            None if found.is_empty() => Err(NotYet::Unknown(format!("there is no topic that {} matches", self.shown))),
            None => Ok(found),
        }
    }

    /// Those of its topics that there are.
    pub fn look<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) -> Result<Found, NotYet> {
        let mut found = Found::new();
        if self.can_grow() {
            let metadata = consumer.fetch_metadata(None, ANSWER)?;
            for topic in metadata.topics().iter().filter(|topic| self.has(topic.name())) {
                add(&mut found, topic)?;
            }
            return Ok(found);
        }
        for name in &self.names {
            let metadata = consumer.fetch_metadata(Some(name), ANSWER)?;
            metadata.topics().iter().try_for_each(|topic| add(&mut found, topic))?;
        }
        Ok(found)
    }
}

/// The partitions of a topic.
pub(super) fn partitions_of<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Result<Vec<i32>, NotYet> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let mut found = Found::new();
    metadata.topics().iter().try_for_each(|topic| add(&mut found, topic))?;
    found.remove(topic).ok_or_else(|| NotYet::Unknown(format!("there is no topic {topic}")))
}

fn add(found: &mut Found, topic: &MetadataTopic) -> Result<(), NotYet> {
    match topic.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(()),
        Some(code) if topic.partitions().is_empty() => {
            let error = KafkaError::MetadataFetch(code);
            return Err(NotYet::of(&error, format!("topic {}: {code}", topic.name())));
        }
        _ => {}
    }
    let mut ids: Vec<i32> = topic.partitions().iter().map(|partition| partition.id()).collect();
    ids.sort_unstable();
    if !ids.is_empty() {
        found.insert(Arc::from(topic.name()), ids);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use schema::{KafkaFormat, KafkaStart, Tombstones};

    use super::*;

    #[test]
    fn names_and_patterns_say_which_topics() {
        let topics = ["plain", "^sales_(eu|us)$", "^.*_all"].map(str::to_owned).to_vec();
        let spec = KafkaSpec {
            topics,
            start: KafkaStart::Earliest,
            tombstones: Tombstones::Quarantine,
            format: KafkaFormat::Json,
            headers: false,
        };
        let topics = Topics::new(&spec).expect("patterns");
        let of = |name: &str| topics.has(name);
        assert!(of("plain") && of("sales_eu") && of("x_all_y") && topics.can_grow());
        assert!(!of("plain2") && !of("sales_eu2") && !of("__x_all"));
    }
}
