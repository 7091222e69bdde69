//! A stream that comes from topics of a real broker, and processes that read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use servers::{Kafka, KafkaOptions, Message};

use crate::support::{Lake, Ran};

/// The broker of all tests that do no harm to it: a JVM takes a while to start.
pub fn broker() -> Option<&'static Kafka> {
    static BROKER: OnceLock<Option<Kafka>> = OnceLock::new();
    BROKER.get_or_init(|| Kafka::start(KafkaOptions::secured())).as_ref()
}

/// Asks until it is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Does `work` while `again` is done again and again on a thread of its own, which ends also when the work fails.
pub fn beside<T>(mut again: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                again();
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::SeqCst);
        other.join().expect("what is done beside the work goes well");
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Events with these ids, each with a key of its own.
pub fn events(ids: Range<i64>) -> impl Iterator<Item = Message> {
    ids.map(|id| Message::new(format!("{{\"id\":{id}}}")).key(format!("k{id}")))
}

/// A project with one stream, `events`, and its lake.
pub struct Feed {
    pub lake: Lake,
    properties: BTreeMap<String, String>,
}

impl Feed {
    /// A stream whose contract says `kafka = { <source> }`.
    pub fn new(servers: &str, source: &str) -> Feed {
        let properties = [
            ("bootstrap.servers", servers),
            ("topic.metadata.refresh.interval.ms", "500"),
            ("reconnect.backoff.max.ms", "200"),
        ];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let feed = Feed { lake: Lake::new(), properties };
        feed.contract(source);
        feed
    }

    /// Changes the contract's source.
    pub fn contract(&self, source: &str) {
        let text = format!(
            "description = \"An event of a test\"\nentity = [\"id\"]\nkafka = {{ {source} }}\n\n[fields]\n\
             id = {{ type = \"bigint\", required = true, description = \"its number\" }}\n"
        );
        let folder = self.lake.folder().join("models/bronze");
        std::fs::create_dir_all(&folder).expect("the folder is writable");
        std::fs::write(folder.join("events.toml"), text).expect("the folder is writable");
    }

    /// With another property of the client.
    pub fn with(mut self, key: &str, value: &str) -> Feed {
        self.properties.insert(key.to_owned(), value.to_owned());
        self
    }

    /// `smelt args…` on the project, with its broker.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lake.command(args);
        for (key, value) in &self.properties {
            command.env(format!("SMELT_KAFKA_{}", key.to_uppercase().replace('.', "_")), value);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the binary starts"))
    }

    /// `smelt ingest --once` of the stream.
    pub fn once(&self) -> Ran {
        self.run(&["ingest", "--stream", "events"])
    }

    /// `smelt ingest --follow` of the stream; `name` tells its log from others.
    pub fn follow(&self, name: &str, args: &[&str]) -> Follower {
        let args = [&["ingest", "--stream", "events", "--follow", "-v"], args].concat();
        let log = self.lake.folder().join(format!("{name}.log"));
        let file = File::create(&log).expect("the folder is writable");
        let child = self.command(&args).stdout(Stdio::null()).stderr(file).spawn().expect("the binary starts");
        Follower { child, log }
    }

    /// What `sql` says over `bronze.events`.
    pub fn sql(&self, statement: &str) -> String {
        self.lake.sql(statement)
    }

    /// How many rows are stored.
    pub fn rows(&self) -> i64 {
        self.sql("SELECT count(*) FROM bronze.events").parse().expect("a count")
    }

    /// The ids of the stored rows, of which none may come twice.
    #[track_caller]
    pub fn ids(&self) -> Vec<i64> {
        let text = self.sql("SELECT id FROM bronze.events ORDER BY id");
        let ids: Vec<i64> = text.lines().map(|id| id.parse().expect("an id")).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "a row came twice");
        ids
    }

    /// How many messages `smelt status` says to wait, and what it says beside.
    pub fn behind(&self) -> (Option<i64>, String) {
        let status = self.run(&["status", "--format", "csv"]).fine();
        let mut lines = status.stdout.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().expect("a header");
        let place = names.iter().position(|name| *name == "messages_behind").expect("the column");
        let row = lines.find(|row| row[0] == "bronze.events").expect("the table");
        (row[place].parse().ok(), status.stderr)
    }
}

/// A process that reads until it is stopped.
pub struct Follower {
    child: Child,
    log: PathBuf,
}

impl Follower {
    /// What it has put on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says `text`.
    #[track_caller]
    pub fn says(&self, text: &str) {
        until(&format!("{text:?} in the log"), || self.said().contains(text));
    }

    /// Waits until it ends by itself.
    pub fn ends(mut self) -> Ran {
        until("the end of the process", || self.child.try_wait().expect("a child of this process").is_some());
        self.ran()
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(mut self) -> Ran {
        self.signal("TERM");
        let _ = self.child.wait();
        self.ran()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill is there").success(), "SIG{name}");
    }

    fn ran(&mut self) -> Ran {
        let code = self.child.wait().expect("a child of this process").code();
        Ran { code, stdout: String::new(), stderr: self.said() }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
