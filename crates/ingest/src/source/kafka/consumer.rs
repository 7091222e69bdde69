//! The consumer's loop, on a thread of its own: poll, gather, hand on; carry out rebalances; tell the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schema::KafkaSpec;
use store::{Lake, Snapshot};

use super::Committed;
use super::checker::Checker;
use super::client::Client;
use super::config::refresh_interval;
use super::context::{Change, Context, give_back, take_unread};
use super::not_yet::{NotYet, Trouble, failed};
use super::ownership::names;
use super::partitions::{Partitions, Taken, TopicPartition};
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
    /// Error events that came while the loop waited for something.
    pub(super) late: Vec<Trouble>,
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
        // The first poll may wait, the others take what is there; the clock is read once for all of them.
        let mut wait = POLL;
        for _ in 0..10_000 {
            match self.poll(wait) {
                None => break,
                Some(Ok(Taken::More)) => self.is_well(),
                Some(Ok(Taken::Full(partition))) => {
                    self.hand_on_partition(&partition, Wait::Patiently)?;
                    if self.consumer.context().has_changes() {
                        break;
                    }
                }
                Some(Err(trouble)) => self.look_into(trouble)?,
            }
            wait = Duration::ZERO;
        }
        self.same_topics()?;
        for trouble in std::mem::take(&mut self.late) {
            self.look_into(trouble)?;
        }
        self.hand_on(self.env.hand_on_after)?;
        self.tell_broker();
        Ok(())
    }

    /// Takes a message, or hears an error, that comes within `wait`.
    pub(super) fn poll(&mut self, wait: Duration) -> Option<Result<Taken, Trouble>> {
        match self.consumer.poll(wait)? {
            // Nobody knows of which of the two topics it is.
            Ok(_) if self.consumer.context().is_recreated() => None,
            Ok(message) => Some(Ok(self.partitions.take(&message))),
            Err(error) => Some(Err(Trouble::new(error, self.consumer.context().take_reason()))),
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
