//! How many messages wait in topics: the brokers' ends against the tables' positions, without a group and without reading.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use schema::{Contract, KafkaSpec, KafkaStart};
use store::Snapshot;
use tokio::sync::oneshot;

use super::ANSWER;
use super::config::onlooker;
use super::context::Context;
use super::first::{FirstOffset, offset_at};
use super::not_yet::{NotYet, Trouble, failed};
use super::partitions::TopicPartition;
use super::position::{Watermarks, generation, log_name};
use super::topics::Topics;
use crate::IngestError;
use crate::source::log_batch::input;

/// Per stream, how many offsets of its topics are not consumed yet (for transactional topics, of those that are
/// committed); or why that is not known.
pub type Lag = BTreeMap<String, Result<u64, String>>;

/// Asks the brokers of `properties` how far each of the tables is behind the topics of its contract. A partition that was
/// never read counts from where it would start. Takes `within` at most.
///
/// # Errors
/// No broker answers in that time, or it refuses.
pub async fn lag(
    tables: Vec<(Arc<Contract>, Arc<Snapshot>)>,
    properties: &BTreeMap<String, String>,
    within: Duration,
) -> Result<Lag, IngestError> {
    let client = onlooker(properties);
    let heard: Arc<Mutex<Option<String>>> = Arc::default();
    let (answer, answered) = oneshot::channel();
    let hears = Arc::clone(&heard);
    // A thread of its own: nobody waits for it when a broker that is away keeps it longer.
    std::thread::spawn(move || {
        let ask = || -> Result<Lag, IngestError> {
            let context = Context::new("status");
            let consumer: BaseConsumer<Context> =
                client.create_with_context(context).map_err(|e| failed("making a client", &e))?;
            let cluster = cluster(&consumer, &hears)?;
            Ok(tables.iter().map(|(contract, snapshot)| of(&consumer, &cluster, contract, snapshot)).collect())
        };
        // Nobody may wait any more.
        let _ = answer.send(ask());
    });
    match tokio::time::timeout(within, answered).await {
        Ok(Ok(lag)) => lag,
        _ => {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).take();
            let reason = heard.unwrap_or_else(|| format!("no answer within {within:?}"));
            Err(IngestError::Kafka { context: "asking for the ends of topics".to_owned(), reason })
        }
    }
}

/// Waits for the cluster's id; what is wrong meanwhile goes to `heard`.
fn cluster(consumer: &BaseConsumer<Context>, heard: &Mutex<Option<String>>) -> Result<String, IngestError> {
    loop {
        if let Some(id) = consumer.client().fetch_cluster_id(Duration::from_millis(200)) {
            return Ok(id);
        }
        while let Some(result) = consumer.poll(Duration::from_millis(10)) {
            let Err(error) = result else { continue };
            let Trouble { error, reason } = Trouble::new(error, consumer.context().take_reason());
            if let NotYet::Refused(reason) = NotYet::of(&error, reason.clone()) {
                return Err(IngestError::Refused { reason });
            }
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        }
    }
}

fn of(
    consumer: &BaseConsumer<Context>,
    cluster: &str,
    contract: &Contract,
    snapshot: &Snapshot,
) -> (String, Result<u64, String>) {
    let lag = match &contract.kafka {
        Some(spec) => waiting(consumer, cluster, spec, snapshot).map_err(|not_yet| not_yet.reason().to_owned()),
        None => Ok(0),
    };
    (contract.name.clone(), lag)
}

fn waiting(
    consumer: &BaseConsumer<Context>,
    cluster: &str,
    spec: &KafkaSpec,
    snapshot: &Snapshot,
) -> Result<u64, NotYet> {
    let topics = Topics::new(spec).map_err(|error| NotYet::Unknown(error.to_string()))?;
    let mut waiting = 0;
    for (topic, ids) in topics.find(consumer)? {
        let generation = generation(snapshot.txns().map(|(input, _)| input), cluster, &topic);
        let name = log_name(&topic, generation.unwrap_or(1));
        for id in ids {
            let (low, high) = consumer.fetch_watermarks(&topic, id, ANSWER)?;
            let position = match snapshot.txn(&input(cluster, &name, id)) {
                Some(position) if position > high => {
                    return Err(NotYet::Unknown(format!("{topic}/{id} ends before the table's position")));
                }
                Some(position) => position,
                None => {
                    let partition = TopicPartition { topic: Arc::clone(&topic), id };
                    let marks = Watermarks { low, high };
                    let is_known = generation.is_some();
                    let first = FirstOffset { start: &spec.start, partition: &partition, marks, is_known };
                    match (first.by_itself().map_err(|error| NotYet::Unknown(error.to_string()))?, &spec.start) {
                        (Some(offset), _) => offset,
                        (None, KafkaStart::Timestamp(at)) => {
                            offset_at(consumer, &partition, *at, ANSWER)?.unwrap_or(high)
                        }
                        (None, _) => high,
                    }
                }
            };
            waiting += u64::try_from(high - position).unwrap_or(0);
        }
    }
    Ok(waiting)
}
