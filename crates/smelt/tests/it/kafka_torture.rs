//! Exactly once: three topics of a real broker, readers that are killed, join, leave and freeze, and a broker that dies.
//!
//! The size in CI takes some minutes; `TEST_TORTURE_EVENTS=5000000 TEST_TORTURE_KILLS=100 TEST_TORTURE_BROKERS=3
//! TEST_TORTURE_S3=1` is the full one, whose lake is on a MinIO that restarts.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use servers::{Kafka, KafkaOptions, Message, Minio};

use crate::answers::assert_same;
use crate::faults::{Random, size_from_env};
use crate::support::{Lake, Ran, files_below};

/// Streams with their topics.
const STREAMS: [(&str, &str); 3] =
    [("pos_sales", "sales"), ("invoices", "real-time-project"), ("sales_events", "sales_events")];
const PARTITIONS: u64 = 8;
/// Questions with an answer of the simulator's.
const QUESTIONS: [&str; 6] = [
    "pos_totals",
    "pos_product_month",
    "invoice_daily",
    "invoice_kpi_minute",
    "invoice_kpi_minute_country",
    "ec_daily",
];

/// A lake on disk or on MinIO, a cluster, and the binary on both.
struct World {
    lake: Lake,
    kafka: Kafka,
    minio: Option<Minio>,
}

impl World {
    fn new() -> Option<World> {
        let nodes = size_from_env("TEST_TORTURE_BROKERS", 1) as usize;
        let kafka = Kafka::start(KafkaOptions { nodes, ..KafkaOptions::default() })?;
        STREAMS.iter().for_each(|(_, topic)| kafka.create_topic(topic, PARTITIONS as i32, &[]));
        let minio = if size_from_env("TEST_TORTURE_S3", 0) > 0 { Some(Minio::start()?) } else { None };
        if let Some(minio) = &minio {
            minio.create_bucket("torture");
        }
        Some(World { lake: Lake::new(), kafka, minio })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.minio {
            None => self.lake.command(args),
            Some(minio) => {
                let mut command = self.lake.plain_command(args);
                command.args(["--lake", "s3://torture/lake"]).envs(minio.env());
                command
            }
        };
        command.env("SMELT_KAFKA_BOOTSTRAP_SERVERS", self.kafka.bootstrap_servers());
        // A member that is killed or frozen is noticed soon.
        command.env("SMELT_KAFKA_SESSION_TIMEOUT_MS", "3000").env("SMELT_KAFKA_HEARTBEAT_INTERVAL_MS", "500");
        command.env("SMELT_KAFKA_RECONNECT_BACKOFF_MAX_MS", "500");
        command.env("SMELT_INGEST_FLUSH_INTERVAL", "300ms");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the binary starts"))
    }

    fn sql(&self, statement: &str) -> String {
        let csv = self.run(&["sql", statement, "--format", "csv"]).fine().stdout;
        csv.lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    /// An ingest of all streams that is not waited for.
    fn ingest(&self, mode: &str) -> Child {
        let mut args = vec!["ingest", mode];
        STREAMS.iter().for_each(|(stream, _)| args.extend(["--stream", *stream]));
        self.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }
}

/// The messages of a stream: each with a number of its own as key, the versions of one thing in one partition.
fn messages(folder: &Path, stream: &str) -> Vec<Message> {
    let mut files = files_below(&folder.join(stream));
    files.sort();
    // Bytes, not text: some of the simulator's records are not UTF-8.
    let bytes: Vec<u8> = files.iter().flat_map(|file| fs::read(file).expect("a file of the simulator")).collect();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(number, line)| {
            let mut hasher = DefaultHasher::new();
            thing(line).hash(&mut hasher);
            let partition = (hasher.finish() % PARTITIONS) as i32;
            Message::new(line).key(format!("{stream}-{number}")).partition(partition)
        })
        .collect()
}

/// What a record is a version of, as far as can be seen without reading it: its order or invoice, else itself.
fn thing(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let after = ["\"order_id\"", "\"InvoiceNo\"", "\"invoice_no\""].iter().find_map(|name| text.split_once(name));
    match after {
        Some((_, rest)) => rest.split(',').next().unwrap_or_default().replace([':', ' ', '"', '}'], "").into_bytes(),
        None => line.to_vec(),
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.expect("kill is there").success(), "SIG{name}");
}

/// SIGTERM, which flushes and ends well.
fn leave(mut child: Child) {
    signal(&child, "TERM");
    let status = child.wait().expect("a child of this process");
    assert!(status.success(), "{status}");
}

/// SIGKILL, a moment after the first commit that is made under `child`, or at once if it is done.
fn kill(world: &World, mut child: Child, random: &mut Random) {
    let commits =
        || files_below(&world.lake.path()).iter().filter(|p| p.extension().is_some_and(|e| e == "json")).count();
    let (before, begun) = (commits(), Instant::now());
    while begun.elapsed() < Duration::from_secs(5) && (world.minio.is_some() || commits() == before) {
        if child.try_wait().expect("a child of this process").is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(random.below(400)));
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn every_event_is_stored_once_whatever_happens_to_readers_and_brokers() {
    let (events, kills) = (size_from_env("TEST_TORTURE_EVENTS", 300_000), size_from_env("TEST_TORTURE_KILLS", 20));
    let mut random = Random::from_env();
    let Some(world) = World::new() else { return };
    let rows = events.to_string();
    let mut sim = vec!["sim", "--to", "made", "--truth", "made/truth", "--rows", &rows, "--seed", "31"];
    STREAMS.iter().for_each(|(stream, _)| sim.extend(["--stream", *stream]));
    world.lake.run(sim).fine();
    let made = world.lake.folder().join("made");
    let sent: Vec<Vec<Message>> = STREAMS.iter().map(|(stream, _)| messages(&made, stream)).collect();
    let counts: Vec<usize> = sent.iter().map(Vec::len).collect();
    println!("torture: {counts:?} messages, {kills} kills");

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Sends on while readers are killed, a share of it between two of them.
        let sender = scope.spawn(|| {
            let most = counts.iter().max().copied().unwrap_or(0).div_ceil(2 * kills as usize).max(1);
            let mut rest: Vec<_> = sent.iter().map(|messages| messages.chunks(most)).collect();
            while !stop.load(Ordering::SeqCst) {
                let mut is_over = true;
                for (chunks, (_, topic)) in rest.iter_mut().zip(STREAMS) {
                    if let Some(chunk) = chunks.next() {
                        is_over = false;
                        world.kafka.send(topic, chunk.iter().cloned());
                    }
                }
                if is_over {
                    return;
                }
            }
        });
        // The last thing here stops the sender also when it fails.
        let tortured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| torture(&world, kills, &mut random)));
        if tortured.is_err() {
            stop.store(true, Ordering::SeqCst);
        }
        sender.join().expect("all is sent");
        tortured.expect("the readers go on");
    });

    let mut last = vec!["ingest"];
    STREAMS.iter().for_each(|(stream, _)| last.extend(["--stream", *stream]));
    world.run(&last).fine();
    for ((stream, topic), count) in STREAMS.iter().zip(&counts) {
        let columns = "_key, concat(CAST(_partition AS VARCHAR), '/', CAST(_offset AS VARCHAR)) AS place";
        let all = format!("SELECT {columns} FROM bronze.{stream} UNION ALL SELECT {columns} FROM quarantine.{stream}");
        let stored = world.sql(&format!("SELECT count(*), count(DISTINCT place) FROM ({all})"));
        let log: i64 = (0..PARTITIONS as i32).map(|partition| world.kafka.offsets(topic, partition).1).sum();
        assert_eq!(stored, format!("{log},{log}"), "{stream}: rows, and places in the log, which has {log}");
        let stored = world.sql(&format!("SELECT count(*), count(DISTINCT _key) FROM ({all})"));
        assert_eq!(stored, format!("{count},{count}"), "{stream}: rows, and events that they are of");
    }
    let delivered = "SELECT sum(delivered), sum(stored) + sum(quarantined) FROM quality.reconciliation";
    let total: usize = counts.iter().sum();
    assert_eq!(world.sql(delivered), format!("{total},{total}"));
    let balance = world.run(&["query", "ingest_balance", "--format", "csv"]).fine().stdout;
    assert!(balance.lines().skip(1).all(|line| line.ends_with(",0")), "{balance}");
    world.run(&["refine"]).fine();
    for question in QUESTIONS {
        let expected = fs::read_to_string(made.join(format!("truth/{question}.csv"))).expect("the truth");
        let answer = world.run(&["query", question, "--format", "csv"]).fine().stdout;
        assert_same(question, &expected, &answer, 1e-9);
    }
}

/// Readers come and go; one in two that are killed is in the group.
fn torture(world: &World, kills: u64, random: &mut Random) {
    let mut joined: Vec<Child> = Vec::new();
    let mut frozen: Option<(Child, Instant)> = None;
    for round in 0..kills {
        if round == kills / 5 {
            joined = vec![world.ingest("--follow"), world.ingest("--follow")];
        }
        if round == kills * 2 / 5 {
            let child = world.ingest("--follow");
            thread::sleep(Duration::from_secs(2));
            signal(&child, "STOP");
            frozen = Some((child, Instant::now()));
        }
        if round == kills / 2 {
            world.kafka.kill(1);
            thread::sleep(Duration::from_millis(random.below(2_000)));
            world.kafka.restart(1);
        }
        if round == kills * 3 / 5
            && let Some(minio) = &world.minio
        {
            minio.kill();
            minio.restart();
        }
        if round == kills * 4 / 5 {
            joined.drain(..).for_each(leave);
        }
        let mode = if round % 2 == 0 { "--follow" } else { "--once" };
        kill(world, world.ingest(mode), random);
        // Longer than its session: others have its partitions by now.
        if let Some((child, since)) = frozen.take_if(|(_, since)| since.elapsed() > Duration::from_secs(6)) {
            signal(&child, "CONT");
            println!("torture: woken after {:?}", since.elapsed());
            joined.push(child);
        }
    }
    if let Some((child, _)) = frozen {
        signal(&child, "CONT");
        joined.push(child);
    }
    joined.into_iter().for_each(leave);
}
