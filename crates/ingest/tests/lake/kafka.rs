//! Kafka by librdkafka's mock cluster: every message once, whatever happens to consumers and brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ingest::{FlushPolicy, IngestError, IngestOptions, IngestReport, Mode, Progress, ProgressEvent};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use schema::TableName;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::files::until;
use crate::world::{World, ask, assert_each_once, number};

type Cluster = MockCluster<'static, DefaultProducerContext>;

struct Broker {
    cluster: Cluster,
    producer: BaseProducer,
}

impl Broker {
    fn new(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", partitions, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "1")
            .set("log_level", "0")
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    /// Sends events `first..first + count`, by key over the partitions.
    fn send(&self, first: usize, count: usize) {
        for id in first..first + count {
            self.send_one(&format!("k{id}"), &format!("{{\"id\":{id},\"name\":\"n{id}\"}}"));
        }
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn send_one(&self, key: &str, payload: &str) {
        let mut record = BaseRecord::to("events").key(key).payload(payload);
        while let Err((_, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(5));
            record = back;
        }
    }

    fn options(&self, mode: Mode) -> IngestOptions {
        let servers = self.cluster.bootstrap_servers();
        let kafka = [
            ("bootstrap.servers", servers.as_str()),
            // The mock waits 3 s before it settles a group's first rebalance, and a session must be longer than that.
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "100"),
            ("reconnect.backoff.max.ms", "200"),
        ];
        IngestOptions {
            streams: vec!["events".to_owned()],
            kafka: kafka.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            mode,
            flush: FlushPolicy { rows: 500, interval: Duration::from_millis(50), ..FlushPolicy::default() },
            ..IngestOptions::default()
        }
    }
}

/// Counts the rows that a run has stored.
#[derive(Default)]
struct Stored(AtomicU64);

impl Progress for Stored {
    fn event(&self, event: ProgressEvent<'_>) {
        if let ProgressEvent::Committed { counts, .. } = event {
            self.0.fetch_add(counts.stored, Ordering::SeqCst);
        }
    }
}

/// A run that goes on until it is stopped.
struct Follower {
    cancel: CancellationToken,
    stored: Arc<Stored>,
    task: JoinHandle<Result<IngestReport, IngestError>>,
}

impl Follower {
    /// Each with an open lake of its own, as processes have.
    async fn start(world: &World, options: IngestOptions) -> Self {
        let lake = crate::world::open(&world.path("lake")).await;
        let env = ingest::IngestEnv { lake, ..world.env() };
        let cancel = CancellationToken::new();
        let stored = Arc::new(Stored::default());
        Self { task: tokio::spawn(ingest::run(env, options, cancel.clone(), stored.clone())), cancel, stored }
    }

    async fn stop(self) -> IngestReport {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap()
    }

    /// As a kill: nothing is flushed.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn stored(world: &World) -> i64 {
    number(&world.lake, &TableName::bronze("events"), "SELECT count(*) FROM t").await
}

#[tokio::test(flavor = "multi_thread")]
async fn once_takes_what_is_there_and_the_next_run_only_what_is_new() {
    let world = World::new().await;
    let broker = Broker::new(3);
    broker.send(0, 1_000);
    broker.send_one("bad", "no json");
    broker.producer.flush(Duration::from_secs(10)).unwrap();
    let report = world.ingest(broker.options(Mode::Once)).await;
    assert!(!report.failed(), "{report:?}");
    let counts = report.counts();
    assert_eq!((counts.delivered, counts.stored, counts.quarantined, counts.skipped), (1_001, 1_000, 1, 0));
    assert_each_once(&world.lake, "events", 1_000).await;
    let shape = ask(
        &world.lake,
        &TableName::bronze("events"),
        "SELECT count(DISTINCT _partition), count(DISTINCT _source), min(_source) LIKE 'kafka:mockCluster%/events', \
         count(*) FILTER (WHERE CAST(_key AS VARCHAR) = 'k' || id), bool_and(_arrived_at <= _ingested_at) FROM t",
    )
    .await;
    assert_eq!(shape, [["3", "1", "true", "1000", "true"]]);

    let before = world.versions().await;
    assert_eq!(world.ingest(broker.options(Mode::Once)).await.counts().delivered, 0);
    assert_eq!(world.versions().await, before);
    broker.send(1_000, 10);
    assert_eq!(world.ingest(broker.options(Mode::Once)).await.counts().stored, 10);
    assert_each_once(&world.lake, "events", 1_010).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_once_while_a_consumer_joins_and_leaves() {
    tokio::join!(join_and_leave("cooperative-sticky"), join_and_leave("range"));
}

async fn join_and_leave(strategy: &str) {
    let world = World::new().await;
    let broker = Broker::new(4);
    let mut options = broker.options(Mode::Follow);
    options.kafka.insert("partition.assignment.strategy".into(), strategy.into());
    let first = Follower::start(&world, options.clone()).await;
    broker.send(0, 3_000);
    until("the first consumer", async || stored(&world).await > 0).await;
    let second = Follower::start(&world, options).await;
    // Sends on until the second consumer has had its share, which needs a rebalance.
    let mut sent = 3_000;
    until("the second consumer", async || {
        broker.send(sent, 200);
        sent += 200;
        sent >= 20_000 && second.stored.0.load(Ordering::SeqCst) > 0
    })
    .await;
    let second = second.stop().await;
    broker.send(sent, 1_000);
    sent += 1_000;
    until("all messages", async || stored(&world).await >= sent as i64).await;
    let first = first.stop().await;
    assert!(!first.failed() && !second.failed(), "{first:?} {second:?}");
    assert_each_once(&world.lake, "events", sent).await;
    assert!(second.counts().stored > 0, "{strategy}: the second consumer had partitions: {second:?}");
    assert_eq!(first.counts().stored + second.counts().stored, sent as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_once_after_kills() {
    let world = World::new().await;
    let broker = Broker::new(3);
    let mut sent = 0;
    for round in 0..3 {
        broker.send(sent, 2_000);
        sent += 2_000;
        let follower = Follower::start(&world, broker.options(Mode::Follow)).await;
        let target = stored(&world).await + 100 + round * 300;
        until("some messages", async || stored(&world).await >= target.min(sent as i64)).await;
        follower.kill().await;
    }
    let report = world.ingest(broker.options(Mode::Once)).await;
    assert!(!report.failed(), "{report:?}");
    assert_each_once(&world.lake, "events", sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_once_over_a_broker_that_goes_down_and_comes_back() {
    let world = World::new().await;
    let broker = Broker::new(2);
    broker.send(0, 500);
    let follower = Follower::start(&world, broker.options(Mode::Follow)).await;
    until("the first messages", async || stored(&world).await == 500).await;
    broker.cluster.broker_down(1).unwrap();
    // A second run that meets the broker down waits for it.
    let waiting = Follower::start(&world, broker.options(Mode::Once)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!follower.task.is_finished() && !waiting.task.is_finished());
    broker.cluster.broker_up(1).unwrap();
    broker.send(500, 500);
    until("the later messages", async || stored(&world).await == 1_000).await;
    let (followed, waited) = (follower.stop().await, waiting.stop().await);
    assert!(!followed.failed() && !waited.failed(), "{followed:?} {waited:?}");
    assert_each_once(&world.lake, "events", 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_expired_unread_are_an_error_that_counts_them() {
    let world = World::new().await;
    let broker = Broker::new(1);
    broker.send(0, 10);
    assert_eq!(world.ingest(broker.options(Mode::Once)).await.counts().stored, 10);
    // The mock keeps 5 MiB a partition and forgets the oldest.
    let text = "x".repeat(200_000);
    for id in 10..60 {
        broker.send_one("k", &format!("{{\"id\":{id},\"name\":\"{text}\"}}"));
        broker.producer.flush(Duration::from_secs(10)).unwrap();
    }
    let before = world.versions().await;
    let report = world.ingest(broker.options(Mode::Once)).await;
    let error = report.streams[0].error.as_deref().unwrap_or_default();
    assert!(
        error.starts_with("events/0: ") && error.contains(" messages are gone: the table stands at offset 10"),
        "{report:?} {:?}",
        broker.producer.client().fetch_watermarks("events", 0, Duration::from_secs(5))
    );
    assert_eq!(world.versions().await, before, "nothing was taken beyond the gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_new_starts_where_the_contract_says() {
    let mut world = World::new().await;
    let latest = crate::world::EVENTS.replace("topic = \"events\"", "topic = \"events\", start = \"latest\"");
    world.project = crate::world::project(&[("events", &latest)]);
    let broker = Broker::new(1);
    broker.send(0, 10);
    let report = world.ingest(broker.options(Mode::Once)).await;
    assert_eq!((report.counts().delivered, report.failed()), (0, false));
    broker.send(10, 5);
    assert_eq!(world.ingest(broker.options(Mode::Once)).await.counts().stored, 5);
    let ids = ask(&world.lake, &TableName::bronze("events"), "SELECT min(id), max(id) FROM t").await;
    assert_eq!(ids, [["10", "14"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_kept_from_when_the_contract_asks_for_them() {
    let mut world = World::new().await;
    let broker = Broker::new(1);
    let send = |id: usize, headers: &[(&str, Option<&str>)]| {
        let payload = if id == 99 { "no json".to_owned() } else { format!("{{\"id\":{id},\"name\":\"n{id}\"}}") };
        let headers =
            headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        let record = BaseRecord::<(), _>::to("events").payload(&payload).headers(headers);
        broker.producer.send(record).map_err(|(error, _)| error).unwrap();
        broker.producer.flush(Duration::from_secs(10)).unwrap();
    };
    send(0, &[("before", Some("1"))]);
    assert_eq!(world.ingest(broker.options(Mode::Once)).await.counts().stored, 1);
    let events = TableName::bronze("events");
    let asked = crate::world::EVENTS.replace("topic = \"events\"", "topic = \"events\", headers = true");
    world.project = crate::world::project(&[("events", &asked)]);
    send(1, &[("trace", Some("a")), ("trace", Some("")), ("none", None)]);
    send(2, &[]);
    send(99, &[("trace", Some("bad"))]);
    let counts = world.ingest(broker.options(Mode::Once)).await.counts();
    assert_eq!((counts.stored, counts.quarantined), (2, 1));
    world.write("in/more.ndjson", "{\"id\":3}\n");
    world.load("events", "in/more.ndjson").await;
    let shown = "SELECT id, _headers[1]['key'], cast(_headers[1]['value'] AS VARCHAR), cardinality(_headers), \
                 _headers IS NULL FROM t ORDER BY coalesce(id, 99)";
    let expected = [
        ["0", "", "", "", "true"],
        ["1", "trace", "a", "3", "false"],
        ["2", "", "", "0", "false"],
        ["3", "", "", "", "true"],
        ["", "trace", "bad", "1", "false"],
    ];
    assert_eq!(world.ask(&events, shown).await, expected);
    let nulls = "SELECT _headers[3]['key'] = 'none' AND _headers[3]['value'] IS NULL, _headers[2]['value'] = X'' \
                 FROM t WHERE id = 1";
    assert_eq!(world.ask(&events, nulls).await, [["true", "true"]]);

    // No longer asked for, the column stays.
    world.project = crate::world::project(&[("events", crate::world::EVENTS)]);
    send(4, &[("after", Some("1"))]);
    assert_eq!(world.ingest(broker.options(Mode::Once)).await.counts().stored, 1);
    assert_eq!(world.ask(&events, "SELECT count(*), count(_headers) FROM t").await, [["6", "3"]]);
}
