//! Kafka as a source: one consumer thread, offsets from the table's `txn`, and no trust in the broker's.
//!
//! At every assignment, cooperative or eager, rows under way are committed (or dropped, if the partitions are already
//! somebody else's), the table is asked where it stands, and reading goes on from there (ENGINE.md, rules 3 and 7).
//! Offsets are also committed to the broker, for tools that show lag; they are never read back.

mod checker;
mod client;
mod config;
mod consumer;
mod context;
mod first;
mod hand_on;
mod lag;
mod messages;
mod not_yet;
mod ownership;
mod partitions;
mod place;
mod position;
mod schemas;
mod topics;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use schema::{Contract, KafkaSpec};
use store::{Lake, Snapshot};
use tokio::sync::oneshot;

use self::consumer::{Reader, ReaderEnv};
use super::log_batch::Keep;
use super::{OnCommit, Outlet, Source, SourceError};
use crate::registry::Registry;
use crate::{FlushPolicy, IngestError, Mode};

pub use self::lag::{Lag, lag};

/// The longest wait for a reader that ends: it tells the broker how far the table is, and leaves its group.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(5);

/// How topics are read.
pub(crate) struct KafkaSettings {
    /// Client properties, by librdkafka's names.
    pub properties: BTreeMap<String, String>,
    pub mode: Mode,
    pub flush: FlushPolicy,
    /// In once mode, how long a broker may be away before the run gives up.
    pub patience: Duration,
    /// Whether to go on behind messages that are gone, and with a topic that was made anew.
    pub accept_gap: bool,
    /// The schema registry, where messages stand behind ids of schemas.
    pub registry: Option<Arc<Registry>>,
}

/// The topics of one stream.
pub(crate) struct KafkaSource {
    lake: Lake,
    contract: Arc<Contract>,
    spec: KafkaSpec,
    settings: KafkaSettings,
    client: ClientConfig,
    committed: Committed,
    /// Ends with the thread that reads.
    reading: Option<oneshot::Receiver<()>>,
}

/// The table after the last commit, for the consumer thread to tell the broker.
#[derive(Clone, Default)]
pub(super) struct Committed(Arc<Mutex<Option<Arc<Snapshot>>>>);

impl Committed {
    fn put(&self, snapshot: &Arc<Snapshot>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(snapshot));
    }

    fn take(&self) -> Option<Arc<Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Tells the consumer thread to end when its future is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl KafkaSource {
    /// The contract's topics, read with these settings.
    ///
    /// # Errors
    /// [`IngestError::Option`] for client properties that would break what this source promises.
    pub fn new(
        lake: Lake,
        contract: Arc<Contract>,
        spec: KafkaSpec,
        settings: KafkaSettings,
    ) -> Result<Self, IngestError> {
        let client = config::client(&contract.name, settings.mode, &settings.properties)?;
        Ok(Self { lake, contract, spec, settings, client, committed: Committed::default(), reading: None })
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn name(&self) -> String {
        let servers = self.settings.properties.get("bootstrap.servers").map_or("", String::as_str);
        format!("kafka {servers}, topic {}", self.spec.shown())
    }

    fn on_commit(&self) -> OnCommit {
        let committed = self.committed.clone();
        Box::new(move |snapshot| committed.put(snapshot))
    }

    async fn run(&mut self, start: Option<Arc<Snapshot>>, out: Outlet) -> Result<(), SourceError> {
        // Two members of one process would be two of the group, and with `group.instance.id` the same one twice.
        self.close().await;
        let (done, reading) = oneshot::channel();
        self.reading = Some(reading);
        let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
        let env = ReaderEnv {
            lake: self.lake.clone(),
            stream: self.contract.name.clone(),
            spec: self.spec.clone(),
            keep: Keep {
                max_record: self.contract.max_record,
                headers: self.spec.headers,
                schema_ids: self.spec.format.is_registered(),
                buffers: Arc::default(),
            },
            client: self.client.clone(),
            hand_on_after: (self.settings.flush.interval / 4).min(Duration::from_millis(200)),
            mode: self.settings.mode,
            patience: self.settings.patience,
            accept_gap: self.settings.accept_gap,
            registry: self.settings.registry.clone(),
            committed: self.committed.clone(),
            stop: Arc::clone(&stop.0),
            out,
        };
        let read = tokio::task::spawn_blocking(move || {
            let result = Reader::open(env).and_then(|reader| reader.run(start));
            drop(done);
            result
        });
        let result = read.await.map_err(|e| IngestError::Internal(format!("the consumer died: {e}")))?;
        drop(stop);
        result
    }

    async fn close(&mut self) {
        // A process that ended before would stay a member until its session times out, and its partitions would wait.
        if let Some(reading) = self.reading.take() {
            let _ = tokio::time::timeout(CLOSE_WITHIN, reading).await;
        }
    }
}
