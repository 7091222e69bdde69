//! How many messages wait in the topics of the streams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use schema::{Layer, TableName};
use store::Table;

use crate::app::App;
use crate::progress::say;

/// The longest that `smelt status` waits for brokers.
const WITHIN: Duration = Duration::from_secs(3);

/// Per table of Bronze, how many messages of its topics are not consumed yet, as far as brokers answer; what is not known
/// is told to standard error.
pub async fn waiting<'a>(app: &App, tables: impl IntoIterator<Item = &'a Table>) -> HashMap<TableName, i64> {
    let Some(servers) = app.settings.kafka.0.get("bootstrap.servers") else { return HashMap::new() };
    let bronze = tables.into_iter().filter(|table| table.name().layer == Layer::Bronze);
    let with_topics: Vec<_> = bronze
        .filter_map(|table| {
            let contract = app.project.contracts.get(&table.name().name).filter(|contract| contract.kafka.is_some())?;
            Some((Arc::new(contract.clone()), table.snapshot()))
        })
        .collect();
    if with_topics.is_empty() {
        return HashMap::new();
    }
    let lag = match ingest::lag(with_topics, &app.settings.kafka.0, WITHIN).await {
        Ok(lag) => lag,
        Err(error) => {
            say(&format!("messages_behind is not known: {servers}: {error}"));
            return HashMap::new();
        }
    };
    let mut waiting = HashMap::new();
    for (stream, messages) in lag {
        match messages {
            Ok(messages) => drop(waiting.insert(TableName::bronze(&stream), messages as i64)),
            Err(reason) => say(&format!("messages_behind of {stream} is not known: {reason}")),
        }
    }
    waiting
}
