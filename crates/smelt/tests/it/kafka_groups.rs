//! Consumer groups of a real broker: members come and go, with either protocol, and every message is stored once.

use std::time::{Duration, Instant};

use crate::topic::{Feed, broker, events, until};

/// Two members share the partitions, and each reads what the other leaves.
fn join_and_leave(strategy: &str) {
    let Some(kafka) = broker() else { return };
    let topic = format!("group_{strategy}");
    kafka.create_topic(&topic, 4, &[]);
    let feed = Feed::new(kafka.bootstrap_servers(), &format!("topic = \"{topic}\""))
        .with("partition.assignment.strategy", strategy)
        .with("group.id", &topic);
    let mut sent = 0;
    let mut send = |count: i64| {
        kafka.send(&topic, events(sent..sent + count));
        sent += count;
        sent
    };
    let first = feed.follow("first", &[]);
    let sent_first = send(1_000);
    until("the rows of the first", || feed.rows() == sent_first);
    let second = feed.follow("second", &[]);
    second.says("partitions assigned");
    let sent_both = send(1_000);
    until("the rows of both", || feed.rows() == sent_both);
    let second = second.stop().fine();
    // It has left the group: nobody waits until its session times out.
    let left = Instant::now();
    let sent_last = send(1_000);
    until("the rows of the one that is left", || feed.rows() == sent_last);
    assert!(left.elapsed() < Duration::from_secs(30), "{:?}, and a session is 45 s long", left.elapsed());
    let first = first.stop().fine();
    assert_eq!(feed.ids(), (0..3_000).collect::<Vec<_>>());
    assert!(first.stderr.contains("partitions revoked"), "{}", first.stderr);
    assert!(!second.stderr.contains("events: 0 delivered"), "{}", second.stderr);
}

#[test]
fn every_message_once_while_members_come_and_go_one_partition_at_a_time() {
    join_and_leave("cooperative-sticky");
}

#[test]
fn every_message_once_while_members_come_and_go_with_all_partitions_at_a_time() {
    join_and_leave("range");
}

#[test]
fn a_static_member_that_was_killed_comes_back_to_its_partitions() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("static", 2, &[]);
    let feed = Feed::new(kafka.bootstrap_servers(), "topic = \"static\"")
        .with("group.id", "static")
        .with("session.timeout.ms", "45000");
    let id = |id: &'static str| ["--set", id];
    let other = feed.follow("other", &id("kafka.group.instance.id=a"));
    other.says("partitions assigned");
    let killed = feed.follow("killed", &id("kafka.group.instance.id=b"));
    killed.says("partitions assigned");
    other.says("partitions revoked");
    kafka.send("static", events(0..100));
    until("the rows", || feed.rows() == 100);
    let changes = |log: &str| log.matches("partitions assigned").count() + log.matches("partitions revoked").count();
    let before = changes(&other.said());
    killed.kill();
    let again = feed.follow("again", &id("kafka.group.instance.id=b"));
    again.says("partitions assigned");
    kafka.send("static", events(100..200));
    until("the rows", || feed.rows() == 200);
    assert_eq!(changes(&other.said()), before, "{}", other.said());
    other.stop().fine();
    again.stop().fine();
    assert_eq!(feed.ids(), (0..200).collect::<Vec<_>>());
}
