//! The simulator as a source: its messages come as Kafka's do, in partitions with offsets, without a broker.

use std::sync::Arc;

use async_trait::async_trait;
use schema::Contract;
use sim::{EventBatch, SimConfig, Simulation};
use store::Snapshot;
use xxhash_rust::xxh3::xxh3_64;

use super::log_batch::{Keep, LogBatch, Message, input};
use super::{Outlet, Source, SourceError};
use crate::IngestError;

/// One simulated stream.
pub(crate) struct SimulatorSource {
    contract: Arc<Contract>,
    simulation: Simulation,
    stream: sim::Stream,
    cluster: String,
    topic: String,
}

impl SimulatorSource {
    /// The contract's stream as `config` makes it.
    ///
    /// # Errors
    /// When the simulator does not make this stream or the configuration is wrong.
    pub fn new(contract: Arc<Contract>, config: &SimConfig) -> Result<Self, IngestError> {
        let wrong = |reason: String| IngestError::NotConfigured { stream: contract.name.clone(), why: reason };
        let stream: sim::Stream = contract.name.parse().map_err(|e: sim::SimError| wrong(e.to_string()))?;
        let simulation = Simulation::new(config.clone()).map_err(|e| wrong(e.to_string()))?;
        let topic = contract.kafka.as_ref().and_then(|kafka| kafka.topic()).unwrap_or(&contract.name).to_owned();
        Ok(Self { stream, cluster: cluster(config), topic, simulation, contract })
    }
}

/// The simulated cluster's id. Other settings make other messages under the same offsets: another log.
fn cluster(config: &SimConfig) -> String {
    let text = serde_json::to_string(config).unwrap_or_default();
    format!("sim-{}-{:08x}", config.seed, xxh3_64(text.as_bytes()) >> 32)
}

#[async_trait]
impl Source for SimulatorSource {
    fn name(&self) -> String {
        format!("simulator {}, topic {}", self.cluster, self.topic)
    }

    async fn run(&mut self, start: Option<Arc<Snapshot>>, out: Outlet) -> Result<(), SourceError> {
        let (cluster, topic) = (self.cluster.clone(), self.topic.clone());
        let keep = Keep { max_record: self.contract.max_record, ..Keep::default() };
        let place = |partition: i32| {
            let position = start.as_ref().and_then(|s| s.txn(&input(&cluster, &topic, partition)));
            (position, position.unwrap_or(0))
        };
        let partitions = i32::try_from(self.simulation.config().partitions).unwrap_or(i32::MAX);
        let batches =
            (0..partitions).map(|p| LogBatch::new(&cluster, &topic, p, place(p), keep.clone())).collect::<Vec<_>>();
        let events = self.simulation.events(self.stream);
        let made = tokio::task::spawn_blocking(move || hand_over(events, batches, &out)).await;
        made.map_err(|e| IngestError::Internal(format!("the simulator died: {e}")))?
    }
}

fn hand_over(mut events: sim::Events, mut batches: Vec<LogBatch>, out: &Outlet) -> Result<(), SourceError> {
    let mut made = EventBatch::default();
    while events.next_into(&mut made) {
        if let Some(entry) = made.entries.last()
            && let Some(batch) = usize::try_from(entry.partition).ok().and_then(|p| batches.get_mut(p))
        {
            let arrived_at_us = entry.arrived_at_ms * 1000;
            let (key, payload) = (Some(made.key(entry)), Some(made.payload(entry)));
            batch.push(&Message { offset: entry.offset, arrived_at_us, key, payload });
            if batch.is_full()
                && let Some(event) = batch.seal(None)
            {
                out.blocking_send(event)?;
            }
        }
        made.clear();
    }
    for event in batches.iter_mut().filter_map(|batch| batch.seal(None)) {
        out.blocking_send(event)?;
    }
    Ok(())
}
