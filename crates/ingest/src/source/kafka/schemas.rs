//! The schemas of messages that were gathered: the registry is asked before the messages are handed on, so that decoders
//! need nobody.
//!
//! A registry that is away is waited for as a broker is. While messages wait for it the group can ask for partitions back:
//! then they are given back as they stand, and who has them next reads these messages again.

use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use tokio::runtime::Handle;

use super::consumer::Reader;
use super::not_yet::{GaveUp, NotYet};
use super::partitions::TopicPartition;
use super::trouble::REFUSED_FOR;
use crate::decode::Framing;
use crate::registry::{Failure, NEWS_WITHIN, Registry};
use crate::source::SourceError;
use crate::{IngestError, Mode};

const ASKING: &str = "asking the schema registry";

/// Whether a batch can be handed on.
pub(super) enum Framed {
    /// It can; `None` where its messages stand behind no ids.
    Known(Option<Framing>),
    /// Not before the registry has answered.
    NotYet,
}

/// How long the registry is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// As long as a broker, but no longer than until the group wants something.
    Patiently,
    /// Not at all: it is asked once.
    No,
}

/// What came of asking.
enum Learned {
    All,
    /// Not all, and something else is to be done first.
    NotNow,
    Refused(String),
}

impl Reader {
    /// What the registry says of the ids in a partition's batch.
    ///
    /// # Errors
    /// It refuses; in once mode also where it is away for longer than the run's patience.
    pub(super) fn framing(&mut self, key: &TopicPartition, wait: Wait) -> Result<Framed, SourceError> {
        let Some(registry) = self.env.registry.clone() else { return Ok(Framed::Known(None)) };
        // While it is waited for, the batch may grow.
        loop {
            let Some(partition) = self.partitions.get(key) else { return Ok(Framed::NotYet) };
            let ids = partition.batch.schema_ids();
            let unknown = registry.unknown(ids);
            if unknown.is_empty() {
                return Ok(Framed::Known(Some(registry.framing(self.env.spec.format, ids))));
            }
            if !self.learn(&registry, unknown, wait)? {
                return Ok(Framed::NotYet);
            }
        }
    }

    /// Asks for ids; false if not all of them could be learned now.
    fn learn(&mut self, registry: &Registry, mut ids: Vec<u32>, wait: Wait) -> Result<bool, SourceError> {
        let (begun, mut missing_since, mut last) = (Instant::now(), None, String::new());
        let news_within = NEWS_WITHIN.min(self.env.patience / 2);
        let learned = self.patiently(ASKING, |reader| {
            let not_yet = match Handle::current().block_on(registry.ask(&ids)) {
                Ok(missing) if missing.is_empty() => return Ok(Learned::All),
                Ok(missing) => {
                    ids = missing;
                    if missing_since.get_or_insert_with(Instant::now).elapsed() >= news_within {
                        registry.believe_absent(&ids);
                        return Ok(Learned::All);
                    }
                    format!("it does not know id {} (yet)", ids[0])
                }
                Err(Failure::Refused(why)) if reader.env.mode == Mode::Once || begun.elapsed() >= REFUSED_FOR => {
                    return Ok(Learned::Refused(why));
                }
                Err(Failure::Refused(why) | Failure::Away(why)) => why,
                Err(Failure::NotFound) => "it does not know what was asked for".to_owned(),
            };
            if wait == Wait::No || reader.consumer.context().has_changes() {
                return Ok(Learned::NotNow);
            }
            last.clone_from(&not_yet);
            Err(NotYet::Away(not_yet))
        });
        match learned {
            Ok(Learned::All) => Ok(true),
            Ok(Learned::NotNow) => Ok(false),
            Ok(Learned::Refused(why)) => Err(registry.error(why).into()),
            // Not what a broker said in the meantime.
            Err(GaveUp::Ended(SourceError::Failed(IngestError::Kafka { context, .. }))) if context == ASKING => {
                Err(registry.error(last).into())
            }
            Err(gave_up) => Err(gave_up.into()),
        }
    }
}
