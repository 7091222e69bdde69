//! Each server does what tests rely on.

use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _, OwnedMessage};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use servers::proxy::{Effect, Fault, Flaky, Proxy};
use servers::{Kafka, KafkaOptions, Keys, Listener, Mechanism, Message, Minio, PASSWORD, Place, Registry, USER};

/// The next `count` messages of a partition from its first on, in their order.
fn read(client: &ClientConfig, topic: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
    let mut client = client.clone();
    let consumer: BaseConsumer = client.set("group.id", "read").create().expect("a client");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    consumer.assign(&from).expect("assigned");
    let next = || consumer.poll(Duration::from_secs(60)).expect("a message within a minute");
    (0..count).map(|_| next().expect("no error").detach()).collect()
}

fn payloads(messages: &[OwnedMessage]) -> Vec<&[u8]> {
    messages.iter().map(|message| message.payload().expect("a payload")).collect()
}

#[test]
fn a_broker_keeps_what_it_was_given_over_kill_and_stop() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    kafka.create_topic("t", 2, &[]);
    let texts: Vec<String> = (0..1000).map(|n| format!("message {n}")).collect();
    let places = kafka.send("t", texts.iter().map(|text| Message::new(text.as_str()).partition(1)));
    assert_eq!(places[999], Place { partition: 1, offset: 999 });
    kafka.kill(1);
    kafka.restart(1);
    let expected: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    assert_eq!(payloads(&read(&kafka.client(), "t", 1, 1000)), expected);
    kafka.stop(1);
    kafka.restart(1);
    assert_eq!((kafka.offsets("t", 1), kafka.offsets("t", 0)), ((0, 1000), (0, 0)));

    let full = Message::new("v").key("k").timestamp_ms(1_700_000_000_123).header("h", Some(b"1")).header("n", None);
    kafka.send("t", [full.partition(0), Message::tombstone().key("k").partition(0)]);
    let [full, tombstone] = <[OwnedMessage; 2]>::try_from(read(&kafka.client(), "t", 0, 2)).expect("two");
    assert_eq!((full.key(), full.timestamp().to_millis()), (Some(&b"k"[..]), Some(1_700_000_000_123)));
    let headers = full.headers().expect("headers");
    assert_eq!((headers.get(0).value, headers.get(1).value), (Some(&b"1"[..]), None));
    assert_eq!(tombstone.payload(), None);
}

#[test]
fn topics_change() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    kafka.create_topic("t", 1, &[("retention.ms", "-1")]);
    kafka.send("t", (0..10).map(|n| Message::new(format!("{n}"))));
    kafka.delete_records("t", 0, 4);
    assert_eq!(kafka.offsets("t", 0), (4, 10));
    kafka.add_partitions("t", 3);
    assert_eq!(kafka.send("t", [Message::new("x").partition(2)]), [Place { partition: 2, offset: 0 }]);
    kafka.configure_topic("t", &[("cleanup.policy", "compact")]);
    kafka.delete_topic("t");
    kafka.create_topic("t", 1, &[]);
    assert_eq!(kafka.offsets("t", 0), (0, 0));

    kafka.send_in_transaction("t", [Message::new("gone")], false);
    kafka.send_in_transaction("t", [Message::new("kept")], true);
    // Each transaction ends with a marker, which takes an offset too.
    assert_eq!(kafka.offsets("t", 0), (0, 4));
    assert_eq!(payloads(&read(&kafka.client(), "t", 0, 1)), [b"kept"]);
}

#[test]
fn clients_show_passwords_and_certificates() {
    let Some(kafka) = Kafka::start(KafkaOptions::secured()) else { return };
    kafka.create_topic("t", 1, &[]);
    kafka.send("t", [Message::new("x")]);
    let client = |listener: Listener, settings: &[(&str, &str)]| {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", kafka.bootstrap_servers_of(listener)).set("log_level", "0");
        client.set("security.protocol", listener.name());
        for (key, value) in settings {
            client.set(*key, *value);
        }
        client
    };
    let tls = kafka.certificates();
    let [ca, certificate, key] = [&tls.ca, &tls.client, &tls.client_key].map(|path| path.to_str().expect("UTF-8"));
    let with_certificate =
        [("ssl.ca.location", ca), ("ssl.certificate.location", certificate), ("ssl.key.location", key)];
    assert_eq!(read(&client(Listener::Ssl, &with_certificate), "t", 0, 1).len(), 1);
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        for listener in [Listener::SaslPlaintext, Listener::SaslSsl] {
            let user = ("sasl.username", USER);
            let settings =
                [("sasl.mechanism", mechanism.name()), user, ("sasl.password", PASSWORD), with_certificate[0]];
            assert_eq!(read(&client(listener, &settings), "t", 0, 1).len(), 1, "{mechanism:?} {listener:?}");
            let settings =
                [("sasl.mechanism", mechanism.name()), user, ("sasl.password", "wrong"), with_certificate[0]];
            let refused: BaseConsumer = client(listener, &settings).create().expect("a client");
            assert!(refused.fetch_metadata(None, Duration::from_secs(2)).is_err(), "{mechanism:?} {listener:?}");
        }
    }
    // The authority of nobody: the certificate is not trusted.
    let distrusting: BaseConsumer = client(Listener::Ssl, &[]).create().expect("a client");
    assert!(distrusting.fetch_metadata(None, Duration::from_secs(2)).is_err());
}

#[test]
fn of_three_brokers_one_may_go() {
    let Some(kafka) = Kafka::start(KafkaOptions::three_nodes()) else { return };
    kafka.create_topic("t", 1, &[("min.insync.replicas", "2")]);
    kafka.send("t", (0..500).map(|n| Message::new(format!("{n}"))));
    let leader = kafka.leader("t", 0);
    kafka.kill(leader);
    let places = kafka.send("t", (500..1000).map(|n| Message::new(format!("{n}"))));
    assert_eq!(places.last(), Some(&Place { partition: 0, offset: 999 }));
    assert_ne!(kafka.leader("t", 0), leader);
    kafka.restart(leader);
    assert_eq!(read(&kafka.client(), "t", 0, 1000).len(), 1000);
}

#[test]
fn minio_gives_a_name_once_and_keeps_it() {
    // In a runtime, as asynchronous tests have it.
    let Some(minio) = wait(async { Minio::start() }) else { return };
    wait(async { minio.create_bucket("lake") });
    let path = Path::from("a/1.json");
    let put = |text: &'static str| {
        let options = PutOptions::from(PutMode::Create);
        wait(async { minio.bucket("lake").put_opts(&path, text.into(), options).await })
    };
    put("first").expect("free");
    assert!(matches!(put("second"), Err(Error::AlreadyExists { .. })));
    minio.kill();
    minio.restart();
    let get = || wait(async { minio.bucket("lake").get(&path).await?.bytes().await });
    assert_eq!(get().expect("there"), "first");
    minio.stop();
    let before = minio.bucket("lake");
    minio.restart_with(Keys::new("other", "other-secret"));
    let refused = wait(async { before.get(&path).await });
    assert!(matches!(refused, Err(Error::PermissionDenied { .. })), "{refused:?}");
    assert_eq!(get().expect("with the new keys"), "first");
    let temporary = minio.temporary_keys(900);
    assert!(temporary.token.is_some_and(|token| !token.is_empty()));
}

#[test]
fn a_registry_knows_its_schemas() {
    let Some(registry) = Registry::start() else { return };
    let first = registry.register("t-value", r#"{"schema": "{\"type\": \"string\"}"}"#);
    let second = registry.register("t-value", r#"{"schema": "{\"type\": \"string\", \"a\": 1}"}"#);
    assert_eq!((first.as_str(), second.as_str()), (r#"{"id":1}"#, r#"{"id":2}"#));
}

#[test]
fn a_proxy_does_what_it_was_told() {
    let Some(minio) = Minio::start() else { return };
    minio.create_bucket("lake");
    let proxy = Proxy::start(&minio.address());
    let bucket = minio.bucket_at(&proxy.endpoint(), "lake");
    let put = |name: &str| {
        let options = PutOptions::from(PutMode::Create);
        wait(async { bucket.put_opts(&Path::from(name), "x".into(), options).await })
    };
    // The client repeats what it was not told of, and meets itself.
    proxy.add(Fault::new("PUT", "lost", Effect::LoseReply));
    assert!(matches!(put("lost"), Err(Error::AlreadyExists { .. })));
    let statuses: Vec<_> = proxy.take_seen().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [Some(200), Some(412)]);
    for effect in [Effect::Refuse(503), Effect::Cut, Effect::Delay(Duration::from_millis(1))] {
        proxy.add(Fault::new("PUT", &format!("{effect:?}").replace(['(', ')'], "")[..3], effect));
    }
    ["Ref", "Cut", "Del"].iter().for_each(|name| drop(put(name).expect("stored once")));
    let (fault, pause) = Fault::hold("PUT", "held");
    proxy.add(fault);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| put("held"));
        pause.reached();
        assert!(wait(async { bucket.head(&Path::from("held")).await }).is_err());
        pause.resume();
        held.join().expect("no panic").expect("stored");
    });
    proxy.make_flaky(Flaky { seed: 1, per_mille: 60, delay: Duration::from_millis(2) });
    for n in 0..100 {
        match put(&format!("flaky/{n}")) {
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            Err(e) => panic!("{n}: {e}"),
        }
        let got = wait(async { bucket.get(&Path::from(format!("flaky/{n}"))).await?.bytes().await });
        assert_eq!(got.expect("there"), "x");
    }
    assert!(proxy.fired() > 20, "{} faults", proxy.fired());
}

/// Runs what needs tokio's reactor.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}
