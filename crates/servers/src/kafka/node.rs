//! One broker: its settings, its folder, its process.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::MutexGuard;

use super::listener::scram_users;
use super::{Certificates, JAVA, KafkaOptions, Listener};
use crate::port::Port;
use crate::process::Process;

/// A broker that is also a controller.
#[derive(Debug)]
pub(crate) struct Node {
    number: usize,
    jars: PathBuf,
    folder: PathBuf,
    cluster: String,
    heap_mb: u32,
    controller: Port,
    listeners: Vec<(Listener, Port)>,
    process: Option<Process>,
}

impl Node {
    /// The nodes of a cluster, each with ports and `server.properties` of its own, not yet formatted.
    pub fn lay_out(jars: &Path, folder: &Path, options: &KafkaOptions, certificates: &Certificates) -> Vec<Self> {
        // What Kafka takes as an id: 22 letters or digits.
        let cluster = format!("{}A", &uuid::Uuid::new_v4().simple().to_string()[..21]);
        let node = |number| {
            let kinds = std::iter::once(&Listener::Plaintext).chain(&options.listeners);
            Self {
                number,
                jars: jars.to_owned(),
                folder: folder.join(format!("node-{number}")),
                cluster: cluster.clone(),
                heap_mb: options.heap_mb,
                controller: Port::reserve(),
                listeners: kinds.map(|kind| (*kind, Port::reserve())).collect(),
                process: None,
            }
        };
        let nodes: Vec<Self> = (1..=options.nodes).map(node).collect();
        let voters: Vec<String> = nodes.iter().map(|n| format!("{}@{}", n.number, n.controller.address())).collect();
        for node in &nodes {
            let settings = node.settings(&voters.join(","), options, certificates);
            let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            std::fs::create_dir_all(&node.folder).expect("the temporary folder is writable");
            std::fs::write(node.properties(), text).expect("the temporary folder is writable");
        }
        nodes
    }

    /// Makes the node's data folder. It is done when [`succeed`] says so, so that nodes can do it at the same time.
    pub fn format(&self) -> std::process::Child {
        let mut format = self.java();
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", &self.cluster, "--config"]);
        format.arg(self.properties()).args(scram_users());
        format.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        format.spawn().expect("java is there, as Kafka is installed")
    }

    /// Starts the node, without waiting for it.
    pub fn start(&mut self) {
        let mut kafka = self.java();
        kafka.arg(format!("-Xmx{}m", self.heap_mb)).arg("kafka.Kafka").arg(self.properties());
        self.process = Some(Process::start(&format!("kafka {}", self.number), &kafka, &self.folder.join("log")));
    }

    /// Deletes what a partition's log has, of a node that does not run: the topic and its id stay.
    pub fn lose(&self, topic: &str, partition: i32) {
        let folder = self.data().join(format!("{topic}-{partition}"));
        for entry in std::fs::read_dir(&folder).expect("the partition's folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some() && !path.ends_with("partition.metadata") {
                std::fs::remove_file(path).expect("a file of a log");
            }
        }
    }

    /// Starts the node again, without waiting for it.
    pub fn restart(&mut self) {
        self.process = None;
        self.start();
    }

    /// The process, which is no longer the node's.
    pub fn take(&mut self) -> Option<Process> {
        self.process.take()
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// # Panics
    /// With the end of its log, when it ended by itself.
    pub fn assert_alive(&mut self) {
        if let Some(process) = &mut self.process {
            process.assert_alive();
        }
    }

    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("the broker is running").signal(signal);
    }

    /// Where a listener is, if there is one of that kind.
    pub fn address(&self, listener: Listener) -> Option<String> {
        self.listeners.iter().find(|(kind, _)| *kind == listener).map(|(_, port)| port.address())
    }

    /// Where the listener is that each node has.
    pub fn plain_address(&self) -> String {
        self.address(Listener::Plaintext).expect("each node has a plain listener")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(JAVA).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("-cp").arg(self.jars.join("*"));
        java
    }

    fn settings(&self, voters: &str, options: &KafkaOptions, tls: &Certificates) -> Vec<(String, String)> {
        let listeners: Vec<String> =
            self.listeners.iter().map(|(kind, port)| format!("{}://{}", kind.name(), port.address())).collect();
        let protocols: Vec<String> = Listener::ALL.map(|kind| format!("{0}:{0}", kind.name())).into();
        let copies = options.nodes.min(3).to_string();
        let in_sync = if options.nodes > 2 { "2" } else { "1" };
        let mut settings: Vec<(String, String)> = [
            ("node.id", self.number.to_string()),
            ("process.roles", "broker,controller".to_owned()),
            ("log.dirs", self.data().display().to_string()),
            ("listeners", format!("{},CONTROLLER://{}", listeners.join(","), self.controller.address())),
            ("advertised.listeners", listeners.join(",")),
            ("listener.security.protocol.map", format!("{},CONTROLLER:PLAINTEXT", protocols.join(","))),
            ("inter.broker.listener.name", Listener::Plaintext.name().to_owned()),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("controller.quorum.voters", voters.to_owned()),
            ("offsets.topic.replication.factor", copies.clone()),
            ("transaction.state.log.replication.factor", copies.clone()),
            ("transaction.state.log.min.isr", in_sync.to_owned()),
            ("default.replication.factor", copies),
            // Compacted topics are cleaned soon.
            ("log.cleaner.backoff.ms", "200".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        settings.extend(FIXED.map(|(key, value)| (key.to_owned(), value.to_owned())));
        settings.extend(options.listeners.iter().flat_map(|listener| listener.settings(tls)));
        // The last line of a key counts.
        settings.extend(options.config.iter().cloned());
        settings
    }
}

/// Little of everything, and nothing that waits for what a test does not have.
const FIXED: [(&str, &str); 12] = [
    ("auto.create.topics.enable", "false"),
    ("num.network.threads", "1"),
    ("num.io.threads", "2"),
    ("background.threads", "2"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
    // A killed broker is noticed after the session, and a consumer may have one as short as this.
    ("broker.session.timeout.ms", "6000"),
    ("broker.heartbeat.interval.ms", "1000"),
    ("group.min.session.timeout.ms", "1000"),
    ("log.retention.check.interval.ms", "1000"),
];

/// Waits for the end of [`Node::format`].
///
/// # Panics
/// When it failed.
pub(crate) fn succeed(format: std::process::Child) {
    let Output { status, stdout, stderr } = format.wait_with_output().expect("a child of this process");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "kafka: the data folder was not formatted ({status}):\n{stdout}\n{stderr}");
}

/// One of the nodes, locked.
pub(crate) struct Guard<'a> {
    nodes: MutexGuard<'a, Vec<Node>>,
    place: usize,
}

impl<'a> Guard<'a> {
    /// Nodes are numbered from 1 on.
    #[track_caller]
    pub fn new(nodes: MutexGuard<'a, Vec<Node>>, number: usize) -> Self {
        assert!((1..=nodes.len()).contains(&number), "the cluster has the nodes 1 to {}, not {number}", nodes.len());
        Self { nodes, place: number - 1 }
    }
}

impl Deref for Guard<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.nodes[self.place]
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.nodes[self.place]
    }
}
