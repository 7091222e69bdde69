//! Exactly once: three topics of a real broker, readers that are killed, join, leave and freeze, and a broker that dies.
//!
//! The lake is on a MinIO that restarts; where there is none, on disk. The size in CI takes some minutes;
//! `TEST_TORTURE_EVENTS=5000000 TEST_TORTURE_KILLS=200 TEST_TORTURE_BROKERS=3 TEST_TORTURE_PAUSE_MS=6000` is the full one, which
//! takes twenty, with a kill every few seconds.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use servers::{Kafka, KafkaOptions, Message, Minio};

use crate::answers::assert_same;
use crate::faults::{Random, size_from_env};
use crate::support::{Lake, Ran, files_below, files_in};
use crate::topic::until;

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

/// How long a member may be silent.
const SESSION: Duration = Duration::from_secs(3);
/// The bucket of the lake.
const BUCKET: &str = "torture";

/// A lake on MinIO or on disk, a cluster, and the binary on both.
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
        let minio = Minio::start();
        if let Some(minio) = &minio {
            minio.create_bucket(BUCKET);
        }
        Some(World { lake: Lake::new(), kafka, minio })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.minio {
            None => self.lake.command(args),
            Some(minio) => {
                let mut command = self.lake.plain_command(args);
                command.args(["--lake", &format!("s3://{BUCKET}/lake")]).envs(minio.env());
                command
            }
        };
        command.env("SMELT_KAFKA_BOOTSTRAP_SERVERS", self.kafka.bootstrap_servers());
        // A member that is killed or frozen is noticed soon.
        command.env("SMELT_KAFKA_SESSION_TIMEOUT_MS", SESSION.as_millis().to_string());
        command.env("SMELT_KAFKA_HEARTBEAT_INTERVAL_MS", "500");
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

    /// An ingest of all streams that is not waited for; `number` tells its log from others.
    fn ingest(&self, mode: &str, number: usize) -> Reader {
        let mut args = vec!["ingest", mode, "-v"];
        STREAMS.iter().for_each(|(stream, _)| args.extend(["--stream", *stream]));
        let log = self.lake.folder().join(format!("reader-{number}.log"));
        let file = File::create(&log).expect("the folder is writable");
        let child = self.command(&args).stdout(Stdio::null()).stderr(file).spawn().expect("the binary starts");
        Reader { child, log }
    }

    /// The commits of the streams' tables so far. MinIO keeps an object as a folder of its name.
    fn commits(&self) -> usize {
        let lake = match &self.minio {
            None => self.lake.path(),
            Some(minio) => minio.data().join(BUCKET).join("lake"),
        };
        let of = |stream| {
            let log = lake.join("bronze").join(stream).join("_delta_log");
            let entries = if log.is_dir() { files_in(&log) } else { Vec::new() };
            entries.iter().filter(|entry| entry.extension().is_some_and(|extension| extension == "json")).count()
        };
        STREAMS.iter().map(|(stream, _)| of(stream)).sum()
    }
}

/// An ingest that runs.
struct Reader {
    child: Child,
    log: PathBuf,
}

impl Reader {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of this process").is_some()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill is there").success(), "SIG{name}");
    }

    /// SIGTERM, which flushes and ends well. Gives what it has said.
    fn leave(mut self) -> String {
        self.signal("TERM");
        let status = self.child.wait().expect("a child of this process");
        self.ended_well(status)
    }

    /// SIGKILL, a moment after the first commit that is made beside it. Whether that ended it: it may have come to its end
    /// before, and then that was a good one.
    fn kill(mut self, world: &World, random: &mut Random) -> bool {
        let (before, begun) = (world.commits(), Instant::now());
        while !self.has_ended() && world.commits() == before && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(random.below(400)));
        self.child.kill().expect("a child of this process");
        let status = self.child.wait().expect("a child of this process");
        let was_killed = status.signal() == Some(9);
        if !was_killed {
            self.ended_well(status);
        }
        was_killed
    }

    fn ended_well(&self, status: ExitStatus) -> String {
        let said = self.said();
        assert!(status.success(), "{status}:\n{said}");
        said
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

    let killed = AtomicU64::new(0);
    thread::scope(|scope| {
        // What is sent keeps pace with the kills: each finds messages that came a moment ago, to the last.
        let sender = scope.spawn(|| {
            let most = counts.iter().max().copied().unwrap_or(0).div_ceil(2 * kills as usize).max(1);
            for number in 0..2 * kills {
                while killed.load(Ordering::SeqCst) < number / 2 {
                    thread::sleep(Duration::from_millis(5));
                }
                for (messages, (_, topic)) in sent.iter().zip(STREAMS) {
                    if let Some(chunk) = messages.chunks(most).nth(number as usize) {
                        world.kafka.send(topic, chunk.iter().cloned());
                    }
                }
            }
        });
        // The last thing here lets the sender end also when it fails.
        let tortured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            torture(&world, kills, &killed, &mut random);
        }));
        killed.store(kills, Ordering::SeqCst);
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

/// Readers come and go, and so do servers; one in two that are killed is in the group. `killed` counts those that were
/// running when SIGKILL came.
fn torture(world: &World, kills: u64, killed: &AtomicU64, random: &mut Random) {
    let begun = Instant::now();
    let mut joined: Vec<Reader> = Vec::new();
    let mut frozen: Option<(Reader, Instant)> = None;
    let mut dead = None;
    let mut numbers = 0..;
    let mut ingest = |mode| world.ingest(mode, numbers.next().expect("there are enough"));
    // Each happens once, when so many tenths of the kills are done.
    let mut tenth = 0;
    let mut rounds = 0;
    while killed.load(Ordering::SeqCst) < kills {
        while tenth <= killed.load(Ordering::SeqCst) * 10 / kills {
            match tenth {
                2 => joined = vec![ingest("--follow"), ingest("--follow")],
                4 => frozen = Some((freeze(ingest("--follow"), random), Instant::now())),
                5 => {
                    world.kafka.kill(1);
                    thread::sleep(Duration::from_millis(random.below(2_000)));
                    world.kafka.restart(1);
                }
                6 => {
                    if let Some(minio) = &world.minio {
                        minio.kill();
                        thread::sleep(Duration::from_millis(random.below(2_000)));
                        minio.restart();
                    }
                }
                // One of several, which leads: the others take over.
                7 if size_from_env("TEST_TORTURE_BROKERS", 1) > 1 => {
                    let leader = world.kafka.leader(STREAMS[0].1, 0);
                    world.kafka.kill(leader);
                    println!("torture: broker {leader}, which led, is dead");
                    dead = Some(leader);
                }
                8 => joined.drain(..).for_each(|reader| drop(reader.leave())),
                9 => dead.take().into_iter().for_each(|leader| world.kafka.restart(leader)),
                _ => {}
            }
            tenth += 1;
        }
        thread::sleep(Duration::from_millis(random.below(size_from_env("TEST_TORTURE_PAUSE_MS", 0) + 1)));
        let mode = if rounds % 2 == 0 { "--follow" } else { "--once" };
        rounds += 1;
        if ingest(mode).kill(world, random) {
            killed.fetch_add(1, Ordering::SeqCst);
        }
        if let Some((reader, _)) = frozen.take_if(|(_, since)| since.elapsed() > SESSION * 2) {
            wake(reader);
        }
    }
    if let Some((reader, since)) = frozen {
        thread::sleep((SESSION * 2).saturating_sub(since.elapsed()));
        wake(reader);
    }
    joined.into_iter().for_each(|reader| drop(reader.leave()));
    println!("torture: {kills} killed in {rounds} rounds, {:?}", begun.elapsed());
}

/// SIGSTOP, while it reads.
fn freeze(reader: Reader, random: &mut Random) -> Reader {
    // The first assignment of a member that joins a group is often empty.
    let has_partitions = |line: &str| line.contains("partitions assigned") && line.contains("/");
    until("partitions of its own", || reader.said().lines().any(has_partitions));
    thread::sleep(Duration::from_millis(1_000 + random.below(1_000)));
    reader.signal("STOP");
    reader
}

/// SIGCONT to a member that others have outlived: it must learn that its partitions are no longer its own.
fn wake(reader: Reader) {
    reader.signal("CONT");
    until("that it has lost its partitions", || reader.said().contains("partitions lost"));
    reader.leave();
}
