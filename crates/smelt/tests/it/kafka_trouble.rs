//! What goes wrong with a real broker: each a clear error or a wait with a reason, and a way on where there is one.

use std::fs;
use std::time::Duration;

use servers::{Kafka, KafkaOptions};

use crate::support::Ran;
use crate::topic::{Feed, broker, events, until};

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
        kafka.send(topic, events(100..100 + messages).map(|event| event.partition((messages % 3) as i32)));
        feed.once().exit(1).says(&["is not the log that the table was read from", "--accept-gap"]);
        feed.once().exit(1);
        assert_eq!(feed.rows(), 20, "nothing was taken from the new topic");

        accept(&feed).fine().says(&["accepted: kafka:", &format!("/{topic}#2/1: ")]);
        assert_eq!(feed.rows(), 20 + messages);
        assert_eq!(recorded(&feed).len(), 1);
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
    feed.run(&["ingest", "--accept-gap", "pos_stock"]).exit(2).says(&["a stream that has a topic", "events"]);
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
