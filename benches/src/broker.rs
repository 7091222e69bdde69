//! A broker with a topic full of events, and a consumer that only counts them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use servers::{Kafka, KafkaOptions};

use crate::child;

/// The shipped contract of sales reads this topic.
pub const TOPIC: &str = "sales_topic";

/// How long the broker may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a broker on its own port and data folder, with these settings (`server.properties`) beside the usual ones.
///
/// # Errors
/// When it is not installed here.
pub fn start(config: &[(&str, &str)]) -> Result<Kafka> {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = KafkaOptions { heap_mb: 1024, config, ..KafkaOptions::default() };
    Kafka::start(options).context("Kafka is not installed: tests/servers/setup.sh kafka")
}

/// Puts each line of a file into the topic as a message; gives how many. A process of its own does it: the peak of memory
/// of what is started afterwards would count what the client's queue took here.
///
/// # Errors
/// When a message is not stored.
pub fn load(kafka: &Kafka, topic: &str, partitions: i32, file: &Path) -> Result<u64> {
    let stored = || (0..partitions).map(|partition| kafka.offsets(topic, partition).1).sum::<i64>();
    let before = stored();
    let mut loader = Command::new(std::env::current_exe()?);
    loader.args(["load", kafka.bootstrap_servers(), topic, &partitions.to_string()]).arg(file);
    let count: u64 = child::run(&mut loader)?.output.trim().parse().context("what the loader said")?;
    let stored = stored() - before;
    ensure!(stored == count as i64, "{stored} of {count} messages are stored");
    Ok(count)
}

/// Sends each line of a file as a message, evenly over the partitions, as a producer with its default batches would; gives
/// how many.
///
/// # Errors
/// When a message is not taken.
pub fn send_lines(servers: &str, topic: &str, partitions: i32, file: &Path) -> Result<u64> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers).set("acks", "1");
    client.set("linger.ms", "20").set("queue.buffering.max.messages", "500000");
    let producer: BaseProducer = client.create()?;
    let mut count = 0;
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let payload = line.strip_suffix(b"\n").unwrap_or(&line);
        // A thousand in a row, so that batches are full.
        let partition = (count / 1000 % u64::try_from(partitions)?) as i32;
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(payload).partition(partition);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                bail!("message {count} is not sent: {error}");
            }
            producer.poll(Duration::from_millis(5));
            record = back;
        }
        count += 1;
    }
    producer.flush(PATIENCE)?;
    Ok(count)
}

/// Reads a topic from its start to the ends that it has now, and gives the messages: what a client costs that does
/// nothing with them.
///
/// # Errors
/// When the broker fails.
pub fn count(servers: &str, topic: &str) -> Result<u64> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers).set("group.id", "count").set("enable.auto.commit", "false");
    // As the source of Smelt sets them.
    client.set("queued.max.messages.kbytes", "32768").set("queued.min.messages", "100000");
    client.set("fetch.queue.backoff.ms", "10");
    let consumer: BaseConsumer = client.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let found = metadata.topics().first().context("no topic")?;
    let (mut list, mut expected) = (TopicPartitionList::new(), 0);
    for partition in found.partitions() {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        expected += consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?.1;
    }
    consumer.assign(&list)?;
    let (mut seen, mut bytes, began) = (0, 0, Instant::now());
    while seen < expected {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            bytes += message?.payload().map_or(0, <[u8]>::len);
            seen += 1;
        }
        ensure!(began.elapsed() < 10 * PATIENCE, "only {seen} of {expected} messages came, {bytes} bytes");
    }
    Ok(seen as u64)
}
