//! Kafka: one broker for most tests, three for fail-over.

mod admin;
mod certificates;
mod listener;
mod message;
mod node;

pub use certificates::Certificates;
pub use listener::{Listener, Mechanism, PASSWORD, USER};
pub use message::{Message, Place};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use crate::{install, wait};
use node::Node;

/// Settings of a JVM that starts fast and takes little.
pub(crate) const JAVA: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Brokers, each of which is a controller too.
    pub nodes: usize,
    /// Listeners beside the plain one.
    pub listeners: Vec<Listener>,
    /// Settings of the brokers (`server.properties`) that replace ours.
    pub config: Vec<(String, String)>,
    /// The names and addresses that the brokers' certificate is for.
    pub hosts: Vec<String>,
    /// The size of each broker's heap, in MB.
    pub heap_mb: u32,
}

impl Default for KafkaOptions {
    /// One broker with a plain listener.
    fn default() -> Self {
        let hosts = ["127.0.0.1", "localhost"].map(str::to_owned).into();
        Self { nodes: 1, listeners: Vec::new(), config: Vec::new(), hosts, heap_mb: 512 }
    }
}

impl KafkaOptions {
    /// Three brokers with a plain listener: one of them may go.
    pub fn three_nodes() -> Self {
        Self { nodes: 3, ..Self::default() }
    }

    /// One broker with all kinds of listeners.
    pub fn secured() -> Self {
        Self { listeners: vec![Listener::SaslPlaintext, Listener::Ssl, Listener::SaslSsl], ..Self::default() }
    }
}

/// A running cluster. Topics are not made by themselves.
pub struct Kafka {
    // Before the folder, so that the brokers end before their folder goes.
    nodes: Mutex<Vec<Node>>,
    admin: AdminClient<DefaultClientContext>,
    bootstrap: Vec<(Listener, String)>,
    certificates: Certificates,
    _folder: TempDir,
}

impl Kafka {
    /// Starts a cluster and waits until all of its brokers answer; `None` where Kafka is not installed.
    pub fn start(options: KafkaOptions) -> Option<Self> {
        let jars = install::installed("kafka")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = Certificates::new(folder.path(), &options.hosts);
        let mut nodes = Node::lay_out(&jars, folder.path(), &options, &certificates);
        let formatted: Vec<_> = nodes.iter().map(Node::format).collect();
        formatted.into_iter().for_each(node::succeed);
        nodes.iter_mut().for_each(Node::start);
        let bootstrap = |listener| {
            let addresses: Vec<String> = nodes.iter().filter_map(|node| node.address(listener)).collect();
            (listener, addresses.join(","))
        };
        let bootstrap: Vec<_> = Listener::ALL.map(bootstrap).into();
        let admin = plain(&bootstrap[0].1).create().expect("a client");
        let kafka = Self { nodes: Mutex::new(nodes), admin, bootstrap, certificates, _folder: folder };
        kafka.wait_for_brokers();
        Some(kafka)
    }

    /// The plain listeners of all brokers, as `bootstrap.servers` takes them.
    pub fn bootstrap_servers(&self) -> &str {
        self.bootstrap_servers_of(Listener::Plaintext)
    }

    /// The listeners of a kind of all brokers.
    ///
    /// # Panics
    /// When the cluster was started without them.
    #[track_caller]
    pub fn bootstrap_servers_of(&self, listener: Listener) -> &str {
        let servers = self.bootstrap.iter().find(|(of, servers)| *of == listener && !servers.is_empty());
        &servers.unwrap_or_else(|| panic!("the cluster was started without {listener:?}")).1
    }

    /// What clients of the `Ssl` and `SaslSsl` listeners need.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Settings of a client of the plain listeners that soon notices when a broker is back.
    pub fn client(&self) -> ClientConfig {
        plain(self.bootstrap_servers())
    }

    /// Stops a broker (1, 2, 3) with SIGTERM: it hands over what it leads.
    pub fn stop(&self, node: usize) {
        // Not under the lock, which others may want before it ends.
        let process = self.node(node).take();
        if let Some(process) = process {
            process.stop();
        }
    }

    /// Kills a broker with SIGKILL.
    pub fn kill(&self, node: usize) {
        drop(self.node(node).take());
    }

    /// SIGSTOP: its connections stay open and it does not answer, until [`Kafka::thaw`].
    pub fn freeze(&self, node: usize) {
        self.node(node).signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self, node: usize) {
        self.node(node).signal("CONT");
    }

    /// Starts a broker again on its ports and data, and waits until all that run answer and know each other.
    pub fn restart(&self, node: usize) {
        self.node(node).restart();
        self.wait_for_brokers();
    }

    /// Stops the only broker, loses all messages of a partition, and starts it again.
    ///
    /// # Panics
    /// When there are others, which would have copies.
    #[track_caller]
    pub fn lose(&self, topic: &str, partition: i32) {
        assert_eq!(self.lock().len(), 1, "the other brokers have copies");
        self.stop(1);
        self.node(1).lose(topic, partition);
        self.restart(1);
        self.wait_for_leader(topic, partition);
    }

    /// Each broker is asked at its own address: others may still speak of one as it was before it went.
    fn wait_for_brokers(&self) {
        let running: Vec<_> = self.lock().iter().filter(|node| node.is_running()).map(Node::plain_address).collect();
        for address in &running {
            let client: BaseConsumer = plain(address).create().expect("a client");
            wait::until(&format!("kafka: an answer of the broker at {address}"), || {
                self.lock().iter_mut().for_each(Node::assert_alive);
                let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
                (metadata.brokers().len() >= running.len()).then_some(())
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn node(&self, number: usize) -> node::Guard<'_> {
        node::Guard::new(self.lock(), number)
    }
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("nodes", &self.nodes).field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

fn plain(servers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers).set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "200");
    client.set("log_level", "0");
    client
}
