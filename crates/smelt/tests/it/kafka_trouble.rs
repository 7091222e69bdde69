//! What goes wrong with a real broker: each a clear error or a wait with a reason, and a way on where there is one.

use std::fs;
use std::thread;
use std::time::Duration;

use servers::{Kafka, KafkaOptions};

use crate::support::Ran;
use crate::topic::{Feed, beside, broker, events, until};

/// A topic of two partitions with 20 messages, all of them ingested.
fn ingested(kafka: &Kafka, topic: &str) -> Feed {
    kafka.create_topic(topic, 2, &[]);
    kafka.send(topic, events(0..20).enumerate().map(|(i, event)| event.partition((i % 2) as i32)));
    let feed = Feed::new(kafka.bootstrap_servers(), &format!("topic = \"{topic}\""));
    feed.once().fine();
    feed
}

/// A run that goes on behind a gap.
fn accept(feed: &Feed) -> Ran {
    feed.run(&["ingest", "--stream", "events", "--accept-gap", "events"])
}

/// What the newest commit of the table that accepted a gap says about it.
fn recorded(feed: &Feed) -> Vec<String> {
    let log = feed.lake.path().join("bronze/events/_delta_log");
    let mut texts: Vec<String> = fs::read_dir(log)
        .expect("the table's log")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| fs::read_to_string(path).expect("a commit"))
        .filter(|text| text.contains("\"gaps\""))
        .collect();
    texts.sort();
    texts
}

#[test]
fn an_unknown_topic_is_an_error_and_waited_for_while_following() {
    let Some(kafka) = broker() else { return };
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"nowhere\"");
    feed.once().exit(1).says(&["there is no topic nowhere"]);
    feed.contract("topic = \"^nowhere_.*\"");
    feed.once().exit(1).says(&["there is no topic that ^nowhere_.* matches"]);
    let follower = feed.follow("pattern", &[]);
    follower.says("there is no topic that ^nowhere_.* matches; waiting");
    kafka.create_topic("nowhere_yet", 1, &[]);
    kafka.send("nowhere_yet", events(0..3));
    until("its rows", || feed.rows() == 3);
    follower.stop().fine();

    // One that is named.
    feed.contract("topic = \"nowhere\"");
    let follower = feed.follow("named", &[]);
    follower.says("nowhere");
    follower.says("; waiting");
    kafka.create_topic("nowhere", 1, &[]);
    kafka.send("nowhere", events(3..6));
    until("its rows", || feed.rows() == 6);
    follower.stop().fine();
}

#[test]
fn a_topic_that_was_made_anew_stops_the_stream_until_that_is_accepted() {
    let Some(kafka) = broker() else { return };
    // Shorter than before, and grown past the table's position again.
    for (topic, messages) in [("anew_short", 4), ("anew_long", 40)] {
        let feed = ingested(kafka, topic);
        kafka.delete_topic(topic);
        feed.once().exit(1).says(&[&format!("there is no topic {topic}")]);
        kafka.create_topic(topic, 2, &[]);
        kafka.send(topic, (0..).zip(events(100..100 + messages)).map(|(i, event)| event.partition(i % 2)));
        feed.once().exit(1).says(&["is not the log that the table was read from", "--accept-gap"]);
        feed.once().exit(1);
        assert_eq!(feed.rows(), 20, "nothing was taken from the new topic");

        accept(&feed).fine().says(&["accepted: kafka:", &format!("/{topic}#2/1: ")]);
        assert_eq!(feed.rows(), 20 + messages);
        let told = recorded(&feed).concat();
        assert!([0, 1].iter().all(|id| told.contains(&format!("/{topic}#2/{id}"))), "{told}");
        feed.once().fine().says(&["events: 0 delivered"]);
        kafka.send(topic, events(200..203));
        feed.once().fine().says(&["events: 3 delivered = 3 stored"]);
        let ids: Vec<i64> = (0..20).chain(100..100 + messages).chain(200..203).collect();
        assert_eq!(feed.ids(), ids);
        let places = "SELECT count(DISTINCT concat(_source, _partition, '/', _offset)) FROM bronze.events";
        assert_eq!(feed.sql(places), ids.len().to_string());
        assert_eq!(feed.behind().0, Some(0));
    }
}

#[test]
fn a_topic_that_is_made_anew_under_a_follower_ends_it_before_a_row_is_taken() {
    let Some(kafka) = broker() else { return };
    let feed = ingested(kafka, "anew_live");
    let follower = feed.follow("follower", &[]);
    follower.says("partitions assigned");
    kafka.send("anew_live", events(20..22));
    until("that it reads", || feed.rows() == 22);
    kafka.delete_topic("anew_live");
    kafka.create_topic("anew_live", 2, &[]);
    kafka.send("anew_live", events(100..200).map(|event| event.partition(0)));
    kafka.send("anew_live", events(200..300).map(|event| event.partition(1)));
    follower.ends().exit(1).says(&["anew_live", "is not the log that the table was read from"]);
    assert_eq!(feed.ids(), (0..22).collect::<Vec<_>>());
    feed.once().exit(1);
    accept(&feed).fine();
    assert_eq!(feed.rows(), 222);
}

#[test]
fn messages_that_expired_unread_are_counted_and_can_be_accepted() {
    let Some(kafka) = broker() else { return };
    let feed = ingested(kafka, "expired");
    kafka.send("expired", events(20..30).map(|event| event.partition(1)));
    kafka.delete_records("expired", 1, 17);
    let text = "expired/1: 7 messages are gone: the table stands at offset 10, the broker's earliest is 17";
    feed.once().exit(1).says(&[text]);
    feed.follow("follower", &[]).ends().exit(1).says(&[text]);
    accept(&feed).fine().says(&["3 delivered = 3 stored + 0 quarantined, 7 skipped", "accepted: kafka:", text]);
    assert_eq!(feed.ids(), (0..20).chain(27..30).collect::<Vec<_>>());
    let recorded = recorded(&feed);
    assert!(recorded.len() == 1 && recorded[0].contains("7 messages are gone"), "{recorded:?}");
    feed.once().fine().says(&["events: 0 delivered"]);

    // Under a run that follows, while it sleeps.
    let follower = feed.follow("sleeper", &[]);
    kafka.send("expired", events(30..31).map(|event| event.partition(1)));
    until("that it reads", || feed.rows() == 24);
    follower.signal("STOP");
    // What it has asked for already is answered into its socket.
    thread::sleep(Duration::from_millis(500));
    kafka.send("expired", events(31..40).map(|event| event.partition(1)));
    kafka.delete_records("expired", 1, 25);
    follower.signal("CONT");
    let text = "expired/1: 4 messages are gone: the table stands at offset 21, the broker's earliest is 25";
    follower.ends().exit(1).says(&[text]);
    assert_eq!(feed.rows(), 24);
    accept(&feed).fine().says(&["5 delivered = 5 stored"]);
    assert_eq!(feed.ids(), (0..20).chain(27..31).chain(35..40).collect::<Vec<_>>());
    feed.run(&["ingest", "--accept-gap", "pos_stock"]).exit(2).says(&["a stream that has a topic", "events"]);
}

#[test]
fn a_log_that_ends_before_the_position_of_the_table_stops_the_stream() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    let feed = ingested(&kafka, "truncated");
    // As after the loss of a disk: the topic is the same, and so is its other partition.
    kafka.lose("truncated", 1);
    kafka.send("truncated", events(100..103).map(|event| event.partition(1)));
    kafka.send("truncated", events(103..105).map(|event| event.partition(0)));
    let text = "truncated/1 is not the log that the table was read from: the table was read up to offset 10, but the topic \
                ends at 3";
    feed.once().exit(1).says(&[text, "--accept-gap"]);
    feed.follow("follower", &[]).ends().exit(1).says(&[text]);
    assert_eq!(feed.rows(), 20);
    accept(&feed).fine().says(&["5 delivered = 5 stored"]);
    assert_eq!(feed.ids(), (0..20).chain(100..105).collect::<Vec<_>>(), "what was stored is not taken again");
    kafka.send("truncated", (0..).zip(events(105..109)).map(|(i, event)| event.partition(i % 2)));
    feed.once().fine().says(&["4 delivered = 4 stored"]);
    assert_eq!(feed.ids(), (0..20).chain(100..109).collect::<Vec<_>>());

    // Lost again, twice, with no message in the other partition between.
    for first in [200, 210] {
        kafka.lose("truncated", 1);
        kafka.send("truncated", events(first..first + 2).map(|event| event.partition(1)));
        feed.once().exit(1).says(&["--accept-gap"]);
        accept(&feed).fine().says(&["2 delivered = 2 stored"]);
    }
    assert_eq!(feed.ids(), (0..20).chain(100..109).chain(200..202).chain(210..212).collect::<Vec<_>>());
}

#[test]
fn a_slow_broker_is_waited_for() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    let feed = ingested(&kafka, "slow");
    let follower = feed.follow("follower", &[]);
    follower.says("partitions assigned");
    let other = Feed::new(kafka.bootstrap_servers(), "topic = \"slow\"");
    // It answers for a twentieth of a second in half a second.
    let slow = || {
        kafka.freeze(1);
        thread::sleep(Duration::from_millis(450));
        kafka.thaw(1);
        thread::sleep(Duration::from_millis(50));
    };
    beside(slow, || {
        kafka.send("slow", events(20..5_020));
        other.once().fine().says(&["5,020 delivered = 5,020 stored"]);
        until("the rows", || feed.rows() == 5_020);
    });
    follower.stop().fine();
    assert_eq!(feed.ids(), (0..5_020).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_said() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    let feed = ingested(&kafka, "away");
    let follower = feed.follow("follower", &["--set", "kafka.session.timeout.ms=6000"]);
    follower.says("partitions assigned");
    kafka.kill(1);
    follower.says("; waiting");
    let once = feed.run(&["ingest", "--stream", "events", "--set", "ingest.patience=2s"]);
    once.exit(1).says(&["failed: kafka: asking for the cluster's id: ", "Connection refused"]);
    let (behind, said) = feed.behind();
    assert!(behind.is_none() && said.contains("messages_behind is not known: 127.0.0.1"), "{said}");
    kafka.restart(1);
    kafka.send("away", events(20..30));
    until("the rows", || feed.rows() == 30);
    follower.stop().fine();

    // One that is slow, or does not answer at all, is no other log.
    kafka.freeze(1);
    let waiting = feed.follow("waiting", &[]);
    waiting.says("; waiting");
    kafka.thaw(1);
    kafka.send("away", events(30..40));
    until("the rows", || feed.rows() == 40);
    waiting.stop().fine();
    assert_eq!(feed.ids(), (0..40).collect::<Vec<_>>());

    // A run that cannot tell the broker anything any more still ends soon.
    let last = feed.follow("last", &[]);
    last.says("partitions assigned");
    kafka.kill(1);
    let begun = std::time::Instant::now();
    last.stop().fine();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
