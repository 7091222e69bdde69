//! `smelt sim --to kafka` against a real broker, and what ingest makes of it.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use servers::{Kafka, KafkaOptions};

use crate::answers::assert_same;
use crate::support::{Lake, Ran, terminate};
use crate::topic::broker;

#[test]
fn the_streams_arrive_in_their_topics_and_give_the_right_answers() {
    let options =
        KafkaOptions { config: vec![("auto.create.topics.enable".into(), "true".into())], ..KafkaOptions::default() };
    let Some(kafka) = Kafka::start(options) else { return };
    kafka.create_topic("real-time-project", 3, &[]);
    let lake = Lake::new();
    let servers = kafka.bootstrap_servers();
    let sim = ["sim", "--to", "kafka", "--bootstrap", servers, "--seed", "5", "--truth", "truth"];
    let streams = ["--stream", "invoices=2000", "--stream", "sales_events=3000"];
    // The topic of sales_events is made by the broker.
    let sent = lake.run([&sim[..], &streams[..]].concat()).fine();
    let count = |topic: &str| -> i64 {
        let line = sent.stderr.lines().find(|line| line.starts_with(topic)).expect("a line a topic");
        line.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a count")
    };
    let stored = |topic: &str, partitions: i32| (0..partitions).map(|id| kafka.offsets(topic, id).1).sum::<i64>();
    assert_eq!(count("real-time-project: "), stored("real-time-project", 3));
    assert_eq!(count("sales_events: "), stored("sales_events", 1));
    assert!(count("sales_events: ") >= 3000);

    let mut ingest = lake.command(["ingest", "--stream", "invoices", "--stream", "sales_events"]);
    Ran::of(ingest.env("SMELT_KAFKA_BOOTSTRAP_SERVERS", servers).output().expect("the binary starts")).fine();
    lake.refine();
    for query in ["invoice_daily", "ec_daily"] {
        let truth = std::fs::read_to_string(lake.folder().join(format!("truth/{query}.csv"))).expect("an answer");
        assert_same(query, &truth, &lake.answer(query), 1e-9);
    }
}

#[test]
fn a_topic_that_is_not_made_is_an_error_and_a_stop_ends_cleanly() {
    let Some(kafka) = broker() else { return };
    let lake = Lake::new();
    let sim = ["sim", "--to", "kafka", "--bootstrap", kafka.bootstrap_servers(), "--stream", "pos_sales=10000"];
    lake.run(sim).exit(1).says(&["there is no topic sales, and the broker makes none by itself"]);
    lake.run(["sim", "--to", "kafka"]).exit(2).says(&["give --bootstrap"]);
    lake.run([&sim[..5], &["--stream", "weekly"][..]].concat()).exit(2).says(&["weekly is a landing set"]);
    lake.run(["sim", "--to", "made", "--bootstrap", "h:1"]).exit(2).says(&["--bootstrap is for --to kafka"]);

    kafka.create_topic("sales", 2, &[]);
    let mut command = lake.command([&sim[..], &["--rate", "100"][..]].concat());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let stored = || kafka.offsets("sales", 0).1 + kafka.offsets("sales", 1).1;
    while stored() < 50 {
        thread::sleep(Duration::from_millis(50));
    }
    terminate(&child);
    let ran = Ran::of(child.wait_with_output().expect("a child of this process")).fine();
    let sent = stored();
    assert!((50..5_000).contains(&sent), "{sent}");
    ran.says(&[&format!("sales: {sent} messages sent")]);
}
