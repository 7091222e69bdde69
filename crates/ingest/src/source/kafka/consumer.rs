//! The consumer's loop, on a thread of its own: poll, gather, hand on; carry out rebalances; tell the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use schema::KafkaSpec;
use store::{Lake, Snapshot};

use super::Committed;
use super::checker::Checker;
use super::client::Client;
use super::config::refresh_interval;
use super::context::{Change, Context, give_back, take_unread};
use super::messages::Batch;
use super::not_yet::{NotYet, Trouble, failed};
use super::ownership::names;
use super::partitions::{Partitions, TopicPartition};
use super::schemas::Wait;
use super::topics::Topics;
use crate::registry::Registry;
use crate::source::log_batch::Keep;
use crate::source::{Outlet, SourceError};
use crate::{IngestError, Mode};

/// The longest that the loop waits for a message before it looks at other things.
const POLL: Duration = Duration::from_millis(50);

/// How soon topics are looked for again when that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the loop works with.
pub(super) struct ReaderEnv {
    pub lake: Lake,
    pub stream: String,
    pub spec: KafkaSpec,
    pub keep: Keep,
    pub client: ClientConfig,
    /// Messages are handed on when the oldest has waited this long.
    pub hand_on_after: Duration,
    pub mode: Mode,
    /// In once mode, how long a broker may be away before the run gives up.
    pub patience: Duration,
    /// Whether to go on behind messages that are gone, and with a topic that was made anew.
    pub accept_gap: bool,
    /// The schema registry, where messages stand behind ids of schemas.
    pub registry: Option<Arc<Registry>>,
    pub committed: Committed,
    pub stop: Arc<AtomicBool>,
    pub out: Outlet,
}

/// The consumer of one stream.
pub(super) struct Reader {
    pub(super) env: ReaderEnv,
    pub(super) consumer: Client,
    pub(super) checker: Option<Checker>,
    /// The cluster's id; empty before the first connection.
    pub(super) cluster: String,
    topics: Topics,
    pub(super) partitions: Partitions,
    /// The topic that is being read in once mode: one after the other, because the client names the end of a partition
    /// by the partition's number alone.
    pub(super) reading: Option<Arc<str>>,
    /// Partitions that are ours and that the broker did not know when they were to be placed.
    pub(super) left_out: BTreeSet<TopicPartition>,
    /// The topics that are subscribed to.
    subscribed: Vec<Arc<str>>,
    /// When topics are looked for again.
    look_at: Instant,
    /// Errors that came and were not looked into.
    pub(super) late: Vec<Trouble>,
    /// Whether partitions have to be placed anew, because messages were forgotten.
    pub(super) astray: bool,
    /// When the broker refused us first and last, with no message since.
    pub(super) refused: Option<(Instant, Instant)>,
    /// What the broker or the client said last, with no message since.
    pub(super) trouble: Option<String>,
    /// When which reason was put into the log.
    pub(super) said: BTreeMap<String, Instant>,
    pub(super) told: Instant,
}

impl Reader {
    /// Connects, and waits until the broker says which cluster it is.
    pub fn open(env: ReaderEnv) -> Result<Self, SourceError> {
        let context = Context::new(&env.stream);
        let consumer: BaseConsumer<Context> =
            env.client.create_with_context(context).map_err(|e| failed("making a client", &e))?;
        let mut reader = Self {
            topics: Topics::new(&env.spec)?,
            partitions: Partitions::new(&env.spec),
            env,
            consumer: Client::new(consumer),
            checker: None,
            cluster: String::new(),
            reading: None,
            left_out: BTreeSet::new(),
            subscribed: Vec::new(),
            look_at: Instant::now(),
            late: Vec::new(),
            astray: false,
            refused: None,
            trouble: None,
            said: BTreeMap::new(),
            told: Instant::now(),
        };
        reader.cluster = reader.patiently("asking for the cluster's id", |reader| {
            let id = reader.consumer.client().fetch_cluster_id(Duration::from_millis(500));
            id.ok_or_else(|| NotYet::Away("no broker answers".to_owned()))
        })?;
        Ok(reader)
    }

    /// Reads until the run is over.
    pub fn run(mut self, start: Option<Arc<Snapshot>>) -> Result<(), SourceError> {
        let result = match self.env.mode {
            Mode::Once => self.read_once(start),
            Mode::Follow => self.follow(),
        };
        self.tell_broker_now();
        result
    }

    /// Reads all partitions from the table's positions to the ends that they have now, without joining the group.
    fn read_once(&mut self, start: Option<Arc<Snapshot>>) -> Result<(), SourceError> {
        let found = self.patiently("looking for topics", |reader| reader.topics.find(&reader.consumer))?;
        let partition = |topic: &Arc<str>, id: &i32| TopicPartition { topic: Arc::clone(topic), id: *id };
        let all = found.iter().flat_map(|(topic, ids)| ids.iter().map(move |id| partition(topic, id)));
        self.stand(&all.collect::<Vec<_>>(), start.as_ref())?;
        for topic in found.keys() {
            self.read_topic(topic)?;
        }
        self.hand_on(Duration::ZERO)?;
        self.env.out.blocking_settle(false)?;
        Ok(())
    }

    fn read_topic(&mut self, topic: &Arc<str>) -> Result<(), SourceError> {
        let open = self.partitions.open(topic);
        if open.is_empty() {
            return Ok(());
        }
        self.reading = Some(Arc::clone(topic));
        self.assign(&open)?;
        let (mut place, mut since) = (self.partitions.place(), Instant::now());
        while !self.partitions.open(topic).is_empty() {
            self.step()?;
            if place != self.partitions.place() {
                (place, since) = (self.partitions.place(), Instant::now());
            } else if since.elapsed() > self.env.patience {
                let reason = self.trouble.take().unwrap_or_else(|| "no message came".to_owned());
                return Err(IngestError::Kafka { context: "reading".to_owned(), reason }.into());
            }
        }
        Ok(())
    }

    /// Reads what the group assigns, until stopped.
    fn follow(&mut self) -> Result<(), SourceError> {
        if !self.topics.can_grow() {
            self.subscribe(self.topics.names().to_vec())?;
        }
        let every = refresh_interval(&self.env.client);
        loop {
            if Instant::now() >= self.look_at {
                self.look_at = Instant::now() + every;
                self.look_for_topics(every)?;
                self.look_for_partitions()?;
            }
            self.step()?;
            while let Some(change) = self.consumer.context().next_change() {
                self.carry_out(change)?;
            }
        }
    }

    /// Looks whether the broker knows by now what it did not know.
    fn look_for_partitions(&mut self) -> Result<(), SourceError> {
        if self.left_out.is_empty() {
            return Ok(());
        }
        let left_out = std::mem::take(&mut self.left_out);
        self.carry_out(Change::Assigned(left_out.into_iter().collect()))
    }

    /// Looks whether patterns match other topics than before.
    fn look_for_topics(&mut self, every: Duration) -> Result<(), SourceError> {
        if !self.topics.can_grow() {
            return Ok(());
        }
        let found = match self.topics.look(&self.consumer) {
            Ok(found) => found,
            Err(not_yet) => {
                self.say(&format!("looking for topics: {}", not_yet.reason()));
                self.look_at = Instant::now() + every.min(LOOK_AGAIN);
                return Ok(());
            }
        };
        // A topic that is named is subscribed to also if it is not there: the client says so.
        let missing = self.topics.names().iter().filter(|name| !found.contains_key(*name)).cloned();
        let topics: Vec<Arc<str>> = found.keys().cloned().chain(missing).collect();
        if topics.is_empty() {
            self.say(&format!("there is no topic that {} matches", self.env.spec.shown()));
        }
        self.subscribe(topics)
    }

    fn subscribe(&mut self, topics: Vec<Arc<str>>) -> Result<(), SourceError> {
        if topics == self.subscribed || topics.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
        self.consumer.subscribe(&names).map_err(|e| failed("subscribing", &e))?;
        tracing::info!(stream = self.env.stream, topics = names.join(", "), "subscribed");
        self.subscribed = topics;
        Ok(())
    }

    /// One turn: takes what the client has, hands on what waited long enough.
    fn step(&mut self) -> Result<(), SourceError> {
        if self.env.stop.load(Ordering::Relaxed) {
            return Err(SourceError::Closed);
        }
        self.gather()?;
        self.same_topics()?;
        for trouble in std::mem::take(&mut self.late) {
            self.look_into(trouble)?;
        }
        if std::mem::take(&mut self.astray) {
            self.place_anew()?;
        }
        self.hand_on(self.env.hand_on_after)?;
        self.tell_broker();
        Ok(())
    }

    /// Takes the messages that wait, hears everything else that the client says, and gathers the messages; full batches are
    /// handed on.
    ///
    /// What was said before a message may be heard after it was taken. If it says that a topic was made anew, nobody knows of
    /// which of the two topics the messages are. And if there is a message among the events, because the client lost a
    /// partition and found it again between being told where to lead it and fetching it, it stands before those that were
    /// taken. In both cases they are forgotten.
    fn gather(&mut self) -> Result<(), SourceError> {
        let is_read = |key: &TopicPartition| self.reading.as_ref().is_none_or(|topic| *topic == key.topic);
        self.partitions.resting().filter(is_read).for_each(|key| self.consumer.messages().lead(&key));
        // Nobody else takes messages: without a partition there are none.
        let is_idle = self.partitions.is_empty();
        let taken = (!is_idle).then(|| self.consumer.messages().take(POLL));
        if let Some(trouble) = self.hear(if is_idle { POLL } else { Duration::ZERO }) {
            self.late.push(trouble);
        }
        while self.consumer.messages().events() > 0 {
            let trouble = self.hear(Duration::ZERO);
            self.late.extend(trouble);
        }
        if self.astray || self.consumer.context().is_recreated() {
            return Ok(());
        }
        for message in taken.iter().flat_map(Batch::iter) {
            if message.is_end() {
                self.at_end(message.partition());
            } else if let Some(trouble) = message.trouble() {
                self.late.push(trouble);
                // The client's position stands behind the error: what follows it is read again.
                if message.offset() >= 0 {
                    self.astray = true;
                    break;
                }
            } else {
                let full = self.partitions.take(&message);
                self.is_well();
                // While the group waits for an answer, a schema registry is not asked again for each message that is left.
                if let Some(full) = full.filter(|_| !self.consumer.context().has_changes()) {
                    self.hand_on_partition(&full, Wait::Patiently)?;
                }
            }
        }
        Ok(())
    }

    /// Hears what the client has to say within `wait`: an error is returned, anything else is noted on the way.
    pub(super) fn hear(&mut self, wait: Duration) -> Option<Trouble> {
        match self.consumer.poll(wait)? {
            Ok(_) | Err(KafkaError::PartitionEOF(_)) => {
                tracing::debug!(stream = self.env.stream, "kafka: a message came among the events");
                self.astray = true;
                None
            }
            Err(error) => Some(Trouble::new(error, self.consumer.context().take_reason())),
        }
    }
}

impl Drop for Reader {
    /// Closing the consumer waits until every change of ownership is answered, also those that came and were not
    /// carried out.
    fn drop(&mut self) {
        let context = Arc::clone(self.consumer.context());
        context.close();
        while let Some(change) = context.next_change() {
            let answered = match change {
                Change::Assigned(keys) => take_unread(&self.consumer, names(&keys)),
                Change::Revoked { partitions, .. } => give_back(&self.consumer, &names(&partitions)),
            };
            if let Err(error) = answered {
                tracing::debug!(stream = self.env.stream, %error, "kafka: a change of ownership was not answered");
            }
        }
    }
}
