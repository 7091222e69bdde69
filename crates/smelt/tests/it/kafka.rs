//! Topics of a real broker: which are read, from where, and how every place of a log is accounted for.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use servers::Message;

use crate::support::Ran;
use crate::topic::{Feed, beside, broker, events, until};

/// The run's line of counts.
#[track_caller]
fn counts(ran: Ran, line: &str) {
    ran.fine().says(&[line]);
}

#[test]
fn topics_of_a_pattern_are_read_also_those_that_come_later() {
    let Some(kafka) = broker() else { return };
    for topic in ["pattern_eu", "pattern_us", "patterns"] {
        kafka.create_topic(topic, 1, &[]);
    }
    kafka.send("pattern_eu", events(0..10));
    kafka.send("pattern_us", events(10..20));
    kafka.send("patterns", events(1_000..1_001));
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"^pattern_[a-z]+$\"");
    counts(feed.once(), "events: 20 delivered = 20 stored + 0 quarantined");
    counts(feed.once(), "events: 0 delivered");

    let follower = feed.follow("follower", &[]);
    follower.says("partitions assigned");
    kafka.create_topic("pattern_asia", 1, &[]);
    kafka.send("pattern_asia", events(20..30));
    kafka.add_partitions("pattern_eu", 3);
    kafka.send("pattern_eu", events(30..40).map(|event| event.partition(2)));
    until("the rows of what is new", || feed.rows() == 40);
    follower.stop().fine();
    assert_eq!(feed.ids(), (0..40).collect::<Vec<_>>());
    let sources = "SELECT string_agg(DISTINCT split_part(_source, '/', 2), ' ' ORDER BY split_part(_source, '/', 2)) \
                   FROM bronze.events";
    assert_eq!(feed.sql(sources), "pattern_asia pattern_eu pattern_us");

    // What was added while nobody looked belongs to the next run.
    kafka.create_topic("pattern_nz", 1, &[]);
    kafka.send("pattern_nz", events(40..45));
    kafka.send("patterns", events(45..46));
    feed.contract("topic = [\"^pattern_[a-z]+$\", \"patterns\"]");
    counts(feed.once(), "events: 7 delivered = 7 stored + 0 quarantined");
    assert_eq!(feed.behind().0, Some(0));
}

#[test]
fn a_new_partition_starts_where_the_contract_says() {
    let Some(kafka) = broker() else { return };
    let time = |seconds: i64| 1_795_737_600_000 + 1_000 * seconds; // 2026-11-27T00:00:00Z
    let feed = |topic: &str, start: &str| {
        kafka.create_topic(topic, 2, &[]);
        let early =
            |id: i64| Message::new(format!("{{\"id\":{id}}}")).partition((id % 2) as i32).timestamp_ms(time(id - 10));
        kafka.send(topic, (0..20).map(early));
        Feed::new(kafka.bootstrap_servers(), &format!("topic = \"{topic}\", start = {start}"))
    };
    let later = || events(20..24).map(|event| event.partition(1));

    let at_time = feed("start_time", "\"2026-11-27T00:00:00Z\"");
    at_time.once().fine();
    assert_eq!(at_time.ids(), (10..20).collect::<Vec<_>>());

    let offsets = feed("start_offsets", "{ \"0\" = 8 }");
    offsets.once().fine();
    let expected: Vec<i64> = (0..20).filter(|id| id % 2 == 1 || *id >= 16).collect();
    assert_eq!(offsets.ids(), expected, "8 of the 10 messages of partition 0 are left out, and none of partition 1");
    offsets.contract("topic = \"start_offsets\", start = { \"0\" = 999 }");
    counts(offsets.once(), "events: 0 delivered");

    let missing = feed("start_missing", "{ \"1\" = 11 }");
    let text = "start_missing/1: the contract starts at offset 11, but the broker has 0 up to 10";
    missing.once().exit(1).says(&[text]);

    let latest = feed("start_latest", "\"latest\"");
    counts(latest.once(), "events: 0 delivered");
    kafka.send("start_latest", later());
    // A partition that comes after the start is new from its first message on.
    kafka.add_partitions("start_latest", 3);
    kafka.send("start_latest", events(24..26).map(|event| event.partition(2)));
    assert_eq!(latest.behind().0, Some(6));
    latest.once().fine();
    assert_eq!(latest.ids(), (20..26).collect::<Vec<_>>());
}

#[test]
fn places_without_a_record_are_counted_and_never_waited_for() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("holes", 1, &[]);
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"holes\", tombstones = \"skip\"");
    kafka.send_in_transaction("holes", events(0..5), true);
    kafka.send_in_transaction("holes", events(100..103), false);
    // 5 messages and their marker, 3 that were aborted and their marker: the log ends behind a marker.
    counts(feed.once(), "events: 5 delivered = 5 stored + 0 quarantined, 5 skipped");
    assert_eq!(feed.behind().0, Some(0), "markers are no messages that wait");

    let producer: BaseProducer = kafka.client().set("transactional.id", "holes-open").create().expect("a client");
    let within = Duration::from_secs(60);
    producer.init_transactions(within).expect("the cluster takes transactions");
    producer.begin_transaction().expect("it is initialised");
    for id in 5..8 {
        let payload = format!("{{\"id\":{id}}}");
        producer.send(BaseRecord::<(), _>::to("holes").payload(&payload)).map_err(|(e, _)| e).expect("there is room");
    }
    producer.flush(within).expect("it is stored");
    kafka.send("holes", [Message::tombstone().key("k1"), Message::new("{\"id\":8}"), Message::new("")]);
    // Nothing behind the first message of an open transaction is there yet.
    counts(feed.once(), "events: 0 delivered");
    producer.commit_transaction(within).expect("the broker is there");
    counts(feed.once(), "events: 5 delivered = 4 stored + 1 quarantined, 2 skipped");
    assert_eq!(feed.ids(), (0..9).collect::<Vec<_>>());
    let quarantined = feed.sql("SELECT count(*), count(_key) FROM quarantine.events");
    assert_eq!(quarantined, "1,0", "an empty message is a bad one, a tombstone is none");

    // One that follows passes the markers too, and the broker knows for lag tools how far the table is.
    let follower = feed.follow("follower", &[]);
    kafka.send_in_transaction("holes", events(9..12), true);
    until("the rows", || feed.rows() == 12);
    until("no message that waits", || feed.behind().0 == Some(0));
    let group: BaseConsumer = kafka.client().set("group.id", "smelt-events").create().expect("a client");
    let end = kafka.offsets("holes", 0).1;
    until("the group's offset at the broker", || {
        let mut list = TopicPartitionList::new();
        list.add_partition("holes", 0);
        let told = group.committed_offsets(list, Duration::from_secs(10)).expect("the broker answers");
        told.elements()[0].offset().to_raw() == Some(end)
    });
    follower.stop().fine();
}

#[test]
fn a_compacted_topic_keeps_its_tombstones_in_quarantine_unless_told_otherwise() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("compacted", 1, &[("cleanup.policy", "compact")]);
    kafka.send("compacted", events(0..3).chain([Message::tombstone().key("k1")]));
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"compacted\"");
    counts(feed.once(), "events: 4 delivered = 3 stored + 1 quarantined");
    assert_eq!(feed.sql("SELECT arrow_cast(_key, 'Utf8') FROM quarantine.events"), "k1");
    assert_eq!(feed.sql("SELECT sum(delivered), sum(stored), sum(quarantined) FROM quality.reconciliation"), "4,3,1");
}

#[test]
fn what_the_broker_compacts_away_is_counted_and_never_waited_for() {
    let Some(kafka) = broker() else { return };
    let eager = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.001")];
    kafka.create_topic("cleaned", 1, &eager);
    let same_key = |id: i64| Message::new(format!("{{\"id\":{id}}}")).key(format!("k{}", id % 10));
    kafka.send("cleaned", (0..30).map(same_key));
    // Segments are closed by what comes after them.
    std::thread::sleep(Duration::from_millis(200));
    kafka.send("cleaned", (30..31).map(same_key));
    until("that the cleaner has been there", || kafka.count("cleaned") < 15);
    let end = kafka.offsets("cleaned", 0).1;
    let left = kafka.count("cleaned") as i64;
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"cleaned\"");
    counts(feed.once(), &format!("events: {left} delivered = {left} stored + 0 quarantined, {} skipped", end - left));
    assert_eq!(feed.behind().0, Some(0));
    counts(feed.once(), "events: 0 delivered");
    assert_eq!(feed.ids().last(), Some(&30));
}

#[test]
fn headers_come_with_the_row_where_the_contract_asks_for_them() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("headers", 1, &[]);
    let traced = |event: Message| event.header("trace", Some(b"a")).header("none", None);
    kafka.send("headers", events(0..1).map(traced).chain(events(1..2)));
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"headers\", headers = true");
    feed.once().fine();
    let shown = "SELECT id, _headers[1]['key'], arrow_cast(_headers[1]['value'], 'Utf8'), _headers[2]['value'] IS NULL, \
                 cardinality(_headers), arrow_cast(_key, 'Utf8') FROM bronze.events ORDER BY id";
    assert_eq!(feed.sql(shown), "0,trace,a,true,2,k0\n1,,,true,0,k1");
}

#[test]
fn a_run_that_ends_by_itself_ends_where_the_topic_ended_when_it_started() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("growing", 2, &[]);
    kafka.send("growing", events(0..1_000));
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"growing\"");
    let ends = || (0..2).map(|partition| kafka.offsets("growing", partition).1).sum::<i64>();
    let mut sent = 1_000;
    let send = || {
        kafka.send("growing", events(sent..sent + 100));
        sent += 100;
    };
    beside(send, || {
        let mut stored = 0;
        for _ in 0..3 {
            let before = ends();
            let ran = feed.once();
            // What came after it ended, also on a machine that does little at a time.
            until("more messages", || ends() > before);
            let after = ends();
            ran.fine();
            let rows = feed.rows();
            assert!(before <= rows && rows < after, "{rows} rows; the topic had {before} before, and {after} after");
            assert!(rows > stored, "{rows} rows");
            stored = rows;
        }
    });
    feed.once().fine();
    assert_eq!(feed.ids(), (0..sent).collect::<Vec<_>>());
}
