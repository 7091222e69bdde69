//! Messages behind the ids of a real schema registry, over a real broker.

use std::fs;
use std::io::copy;
use std::net::{TcpListener, TcpStream};
use std::thread;

use servers::{Message, Registry};

use crate::topic::{Feed, broker, until};

const V1: &str = r#"{"type":"record","name":"Sale","namespace":"shop","fields":[
    {"name":"id","type":"long"},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
/// Another name and order, a finer time, a field that the contract does not have.
const V2: &str = r#"{"type":"record","name":"Sale","namespace":"shop","fields":[
    {"name":"colour","type":["null","string"]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"sale_id","type":"int"},
    {"name":"amount","type":["null",{"type":"fixed","name":"Money","size":4,"logicalType":"decimal","precision":9,"scale":3}]}]}"#;
const JSON: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#;
/// 2023-11-24T10:00:00.123Z
const AT_MS: i64 = 1_700_820_000_123;

/// A stream whose contract says `kafka = { topic = "<topic>", format = "<format>" }`.
fn feed(servers: &str, topic: &str, format: &str) -> Feed {
    let feed = Feed::new(servers, &format!("topic = \"{topic}\""));
    let text = format!(
        "description = \"A sale of a test\"\nentity = [\"id\"]\nevent_time = \"at\"\n\
         kafka = {{ topic = \"{topic}\", format = \"{format}\" }}\n\n[fields]\n\
         id = {{ type = \"bigint\", aliases = [\"sale_id\"], required = true }}\n\
         amount = {{ type = \"decimal(18,2)\", rule = \"amount >= 0\" }}\nat = {{ type = \"timestamp\" }}\n"
    );
    fs::write(feed.lake.folder().join("models/bronze/events.toml"), text).expect("the folder is writable");
    feed
}

/// Registers a schema, and gives its id.
fn register(registry: &Registry, subject: &str, kind: &str, schema: &str) -> u32 {
    let schema = format!("\"{}\"", schema.replace('"', "\\\"").replace('\n', " "));
    let answer = registry.register(subject, &format!("{{\"schemaType\":\"{kind}\",\"schema\":{schema}}}"));
    let digits: String = answer.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("an id")
}

/// A message: the header with this id, then the parts of the record.
fn message(id: u32, parts: &[&[u8]]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], &parts.concat()].concat()
}

/// A number as Avro has it.
fn long(value: i64) -> Vec<u8> {
    let (mut rest, mut out) = (((value << 1) ^ (value >> 63)) as u64, Vec::new());
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

/// A record under [`V1`].
fn sale(id: u32, sale: i64, cents: i64) -> Vec<u8> {
    message(id, &[&long(sale), &long(8), &cents.to_be_bytes(), &long(AT_MS)])
}

#[test]
fn avro_is_read_under_the_schemas_that_it_was_written_by() {
    let (Some(kafka), Some(registry)) = (broker(), Registry::start()) else { return };
    kafka.create_topic("sales_avro", 1, &[]);
    let v1 = register(&registry, "sales-value", "AVRO", V1);
    let v2 = register(&registry, "sales2-value", "AVRO", V2);
    let json = register(&registry, "json-value", "JSON", JSON);
    // Nobody has this id yet.
    let next = json + 1;
    let bad = [
        sale(v1, 3, -5),
        sale(next, 4, 400),
        b"{\"id\":5}".to_vec(),
        sale(json, 6, 600),
        sale(v1, 7, 700)[..12].to_vec(),
    ];
    let money = 12_340u32.to_be_bytes();
    let second =
        message(v2, &[&long(1), &long(3), b"red", &long(1), &long(AT_MS * 1000 + 456), &long(2), &long(1), &money]);
    let good = [sale(v1, 1, 123_456_789_012_345_678), second];
    let all = good.iter().chain(&bad).map(|bytes| Message::new(bytes.as_slice()).key("k"));
    kafka.send("sales_avro", all.chain([Message::tombstone()]));

    let feed = feed(kafka.bootstrap_servers(), "sales_avro", "avro");
    feed.once().exit(2).says(&["its messages are avro, and schema_registry.url is not set"]);
    let url = format!("schema_registry.url={}", registry.url());
    let run = |args: &[&str]| feed.run(&[args, &["--set", &url]].concat());
    run(&["ingest", "--stream", "events"]).fine().says(&["8 delivered = 2 stored + 6 quarantined"]);
    let rows = feed.sql("SELECT id, amount, CAST(at AS VARCHAR), _rescued FROM bronze.events ORDER BY id");
    let expected = "1,1234567890123456.78,2023-11-24T10:00:00.123Z,\n\
                    2,12.34,2023-11-24T10:00:00.123456Z,\"{\"\"colour\"\":\"\"red\"\"}\"";
    assert_eq!(rows, expected);
    let errors = feed.sql("SELECT _error FROM quarantine.events ORDER BY _offset");
    let expected = [
        "rule broken: amount >= 0".to_owned(),
        format!("schema id {next}: the registry does not know it"),
        "no schema id: the message does not start with the magic byte 0".to_owned(),
        format!("\"schema id {json}: is of type JSON, not AVRO\""),
        format!("schema id {v1}: not one record of it: the record ends too early at byte 1"),
        "empty message".to_owned(),
    ];
    assert_eq!(errors, expected.join("\n"));
    let raw = feed.sql("SELECT encode(_raw, 'hex') FROM quarantine.events ORDER BY _offset");
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(raw.lines().take(5).map(str::to_owned).collect::<Vec<_>>(), bad.iter().map(hex).collect::<Vec<_>>());
    assert_eq!(feed.sql("SELECT sum(delivered), sum(stored), sum(quarantined) FROM quality.reconciliation"), "8,2,6");

    // The id is known now, and a mend speaks of the record as JSON.
    assert_eq!(register(&registry, "late-value", "AVRO", &V1.replace("Sale", "Late")), next);
    let replay = ["quarantine", "replay", "--stream", "events", "--yes"];
    feed.run(&replay).exit(1).says(&["set schema_registry.url"]);
    run(&replay).fine().says(&["6 open records = 1 mended + 5 still bad"]);
    let mend = ["--mend", "amount=abs(amount)", "--reason", "rule broken"];
    run(&[&replay[..], &mend].concat()).fine().says(&["1 open record = 1 mended"]);
    let rows = feed
        .sql("SELECT id, amount, _offset, arrow_cast(_key, 'Utf8') FROM bronze.events WHERE _mends = 1 ORDER BY id");
    assert_eq!(rows, "3,0.05,2,k\n4,4.00,3,k");

    kafka.send("sales_avro", [Message::new(sale(next, 9, 900))]);
    run(&["ingest", "--stream", "events"]).fine().says(&["1 delivered = 1 stored"]);
}

#[test]
fn json_behind_an_id_waits_for_a_registry_that_is_away() {
    let (Some(kafka), Some(registry)) = (broker(), Registry::start()) else { return };
    kafka.create_topic("sales_json", 1, &[]);
    let json = register(&registry, "json-value", "JSON", JSON);
    let avro = register(&registry, "avro-value", "AVRO", V1);
    let text = |id: u32, sale: i64| message(id, &[format!("{{\"id\":{sale},\"amount\":1.10}}").as_bytes()]);
    let messages = [text(json, 0), text(avro, 100), message(json, &[b"{\"id\":1.5}"])].into_iter();
    kafka.send("sales_json", messages.chain((1..20).map(|id| text(json, id))).map(Message::new));

    let feed = feed(kafka.bootstrap_servers(), "sales_json", "json_sr");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = registry.url();
    let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("an address");
    let set = format!("schema_registry.url=http://{address}/{path}");
    let run = |more: &[&str]| feed.run(&[&["ingest", "--stream", "events", "--set", &set], more].concat());
    let failed = run(&["--set", "ingest.patience=1s"]).exit(1);
    failed.says(&["failed: schema registry http://127.0.0.1:", "Connection refused"]);
    assert!(feed.lake.commits().is_empty(), "nothing is consumed without the registry");

    // One that is stopped while it waits ends at once.
    let waiting = feed.follow("waiting", &["--set", &set]);
    waiting.says("asking the schema registry");
    waiting.stop().fine();
    let follower = feed.follow("follower", &["--set", &set]);
    follower.says("asking the schema registry");
    forward(TcpListener::bind(address).expect("the port is free again"), host.to_owned());
    until("the rows", || feed.rows() == 20);
    kafka.send("sales_json", (20..25).map(|id| Message::new(text(json, id))));
    until("the rows after them", || feed.rows() == 25);
    follower.stop().fine();
    assert_eq!(feed.ids(), (0..25).collect::<Vec<_>>());
    let errors = feed.sql("SELECT _error FROM quarantine.events ORDER BY _offset");
    assert_eq!(errors, format!("\"schema id {avro}: is of type AVRO, not JSON\"\nid: 1.5 does not fit bigint"));

    // No registry at all is no reason to set records aside.
    let nowhere = format!("schema_registry.url=http://{address}/nowhere");
    kafka.send("sales_json", [Message::new(text(json, 25))]);
    let refused = feed.run(&["ingest", "--stream", "events", "--set", &nowhere]).exit(1);
    refused.says(&["failed: schema registry http://127.0.0.1:", "there is no registry"]);
    assert_eq!(feed.rows(), 25);
}

/// Passes connections on to `host`, until the process ends.
fn forward(listener: TcpListener, host: String) {
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(&host) else { continue };
            let (mut near_in, mut far_in) = (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
            let (mut near_out, mut far_out) = (near, far);
            thread::spawn(move || copy(&mut near_in, &mut far_out));
            thread::spawn(move || copy(&mut far_in, &mut near_out));
        }
    });
}
