//! Sending to librdkafka's mock cluster, which makes topics by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use produce::{ProduceError, ProduceOptions, send};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sim::{Rows, SimConfig, Simulation, Stream};
use tokio_util::sync::CancellationToken;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn simulation() -> Simulation {
    let rows = Rows { invoices: 300, sales_events: 500, ..Rows::default() };
    Simulation::new(SimConfig { rows, ..SimConfig::default() }).expect("valid settings")
}

fn options(cluster: &Cluster) -> ProduceOptions {
    let properties = [("bootstrap.servers", cluster.bootstrap_servers()), ("group.id", "of consumers".to_owned())];
    ProduceOptions {
        properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
        topics: [(Stream::Invoices, "orders".to_owned()), (Stream::SalesEvents, "shop".to_owned())].into(),
        ..ProduceOptions::default()
    }
}

/// All messages of a topic of one partition: key and payload.
fn read(cluster: &Cluster, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let client = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "read")
        .set("enable.partition.eof", "true")
        .create::<BaseConsumer>();
    let consumer = client.expect("a client");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&list).expect("assigned");
    let next = || consumer.poll(Duration::from_secs(30)).expect("in time").ok();
    let owned = |message: rdkafka::message::BorrowedMessage<'_>| {
        (message.key().unwrap_or_default().to_vec(), message.payload().unwrap_or_default().to_vec())
    };
    std::iter::from_fn(|| next().map(owned)).collect()
}

#[test]
fn each_message_once_in_its_order_under_its_key() {
    let cluster = Cluster::new(1).expect("a mock");
    cluster.create_topic("orders", 1, 1).expect("a topic");
    cluster.create_topic("shop", 1, 1).expect("a topic");
    let simulation = simulation();
    let sent = send(&simulation, &options(&cluster), &CancellationToken::new()).expect("sent");
    assert!(sent.is_whole);
    for (stream, topic) in [(Stream::Invoices, "orders"), (Stream::SalesEvents, "shop")] {
        let made: Vec<_> = simulation.events(stream).map(|event| (event.key, event.payload)).collect();
        assert_eq!(sent.topics[topic], made.len() as u64);
        assert!(read(&cluster, topic) == made, "{topic} has other messages");
    }
}

#[test]
fn a_stop_ends_cleanly_with_what_was_sent() {
    let cluster = Cluster::new(1).expect("a mock");
    let cancel = CancellationToken::new();
    let options = ProduceOptions { rate: Some(50), ..options(&cluster) };
    let stopping = cancel.clone();
    let stop = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        stopping.cancel();
    });
    let sent = send(&simulation(), &options, &cancel).expect("stopped");
    stop.join().expect("no panic");
    let count: u64 = sent.topics.values().sum();
    assert!(!sent.is_whole && (1..=110).contains(&count), "{sent:?}");
}

#[test]
fn what_is_wrong_is_told() {
    let nobody = [("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())];
    let away = ProduceOptions {
        properties: nobody.clone().into(),
        topics: [(Stream::Invoices, "orders".to_owned())].into(),
        patience: Duration::from_secs(1),
        rate: None,
    };
    let error = send(&simulation(), &away, &CancellationToken::new()).expect_err("nobody is there");
    assert!(error.to_string().contains("no broker answers within 1 s"), "{error}");
    let properties =
        BTreeMap::from(nobody).into_iter().chain([("linger.mz".to_owned(), "hunter2".to_owned())]).collect();
    let error = send(&simulation(), &ProduceOptions { properties, ..away }, &CancellationToken::new());
    let error = error.expect_err("no such property");
    assert!(matches!(error, ProduceError::Property { .. }), "{error}");
    assert!(error.to_string().contains("linger.mz") && !error.to_string().contains("hunter2"), "{error}");
}
