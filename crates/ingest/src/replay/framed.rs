//! Records behind ids of schemas: they become the JSON text that mends and decoders read.

use std::collections::BTreeSet;

use schema::KafkaFormat;
use tokio_util::sync::CancellationToken;

use super::open::Record;
use super::{ReplayOptions, Stream};
use crate::IngestError;
use crate::decode::{Framing, schema_id};

/// Whether a record of a stream of such messages stands behind an id. What a person wrote instead is JSON, unless it starts
/// like one that does.
fn is_framed(record: &Record) -> bool {
    let is_message = record.place.source.starts_with("kafka:");
    is_message && (!record.is_edited || record.raw.first() == Some(&0))
}

impl Stream {
    /// What the registry knows of the ids in these records; `None` where the stream's messages have none.
    ///
    /// # Errors
    /// No registry is configured; it refuses, or is away for longer than the options' patience.
    pub(super) async fn framing(
        &self,
        records: &[Record],
        options: &ReplayOptions,
        cancel: &CancellationToken,
    ) -> Result<Option<Framing>, IngestError> {
        let format = self.contract.kafka.as_ref().map_or(KafkaFormat::Json, |kafka| kafka.format);
        if !format.is_registered() || !records.iter().any(is_framed) {
            return Ok(None);
        }
        let registry = self.registry.as_ref().ok_or_else(|| IngestError::Quarantine {
            stream: self.contract.name.clone(),
            reason: "its messages stand behind ids of schemas; set schema_registry.url".to_owned(),
        })?;
        let framed = records.iter().filter(|record| is_framed(record));
        let ids: BTreeSet<u32> = framed.filter_map(|record| schema_id(&record.raw)).collect();
        registry.learn(&ids, options.patience, cancel).await?;
        Ok(Some(registry.framing(format, &ids)))
    }
}

/// Takes the records out of their frames; one that has no text keeps its bytes, and why is its fate.
pub(super) fn unframe(records: &mut [Record], fates: &mut [Option<String>], framing: &Framing, max_record: usize) {
    let mut buffer = Vec::new();
    for (record, fate) in records.iter_mut().zip(fates).filter(|(record, fate)| fate.is_none() && is_framed(record)) {
        match framing.text(&record.raw, &mut buffer, max_record).map(<[u8]>::to_vec) {
            Ok(text) => record.raw = text,
            Err(reject) => *fate = Some(reject.to_string()),
        }
    }
}
