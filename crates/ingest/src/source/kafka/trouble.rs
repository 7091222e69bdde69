//! What goes wrong with a broker: what is waited for, with a reason in the log, and what ends the run.
//!
//! A broker that is away, slow or in the middle of something is waited for: for ever in follow mode, in once mode as long
//! as the run's patience lasts. A broker that refuses (credentials, certificates, rights) will refuse again: that ends a
//! run that never was connected and every `--once`; one that follows and was connected goes on if the refusals end within
//! half a minute, as they do while brokers are restarted with new settings.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::consumer::Reader;
use super::not_yet::{GaveUp, NotYet, Trouble};
use super::partitions::TopicPartition;
use crate::source::SourceError;
use crate::{IngestError, Mode};

/// The client passes over messages with these errors: going on would count them as never sent.
const UNREADABLE: [RDKafkaErrorCode; 4] = [
    RDKafkaErrorCode::BadMessage,
    RDKafkaErrorCode::BadCompression,
    RDKafkaErrorCode::NotImplemented,
    RDKafkaErrorCode::MessageSizeTooLarge,
];
/// How long a topic may be unknown before it counts as not there.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);
/// How long refusals may last while a run follows.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(30);
/// Refusals that are further apart have nothing to do with each other; librdkafka repeats the same one each 30 s.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90);
/// How long is waited without a word.
const QUIET_FOR: Duration = Duration::from_secs(2);
/// How often the same trouble is put into the log.
const SAY_EVERY: Duration = Duration::from_secs(30);

impl Reader {
    /// What an error event means.
    pub(super) fn look_into(&mut self, Trouble { error, reason }: Trouble) -> Result<(), SourceError> {
        let wrong = || IngestError::Kafka { context: "reading".to_owned(), reason: reason.clone() };
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(wrong().into()),
            _ if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => self.out_of_range(),
            _ if error.rdkafka_error_code().is_some_and(|code| UNREADABLE.contains(&code)) => Err(wrong().into()),
            _ => match NotYet::of(&error, reason) {
                NotYet::Refused(reason) => self.refused(reason),
                other => {
                    self.heard(&error, other.reason());
                    Ok(())
                }
            },
        }
    }

    /// A refusal ends the run, unless it follows, was connected and the refusals are new.
    fn refused(&mut self, reason: String) -> Result<(), SourceError> {
        let now = Instant::now();
        let (first, last) = self.refused.unwrap_or((now, now));
        let first = if last.elapsed() > FORGOTTEN_AFTER { now } else { first };
        self.refused = Some((first, now));
        if self.env.mode == Mode::Once || self.cluster.is_empty() || first.elapsed() >= REFUSED_FOR {
            return Err(IngestError::Refused { reason }.into());
        }
        self.say(&reason);
        self.trouble = Some(reason);
        Ok(())
    }

    /// The broker has no message at an offset that we want: finds out which, and how many are gone.
    fn out_of_range(&mut self) -> Result<(), SourceError> {
        self.check_range()?;
        self.say("an offset was out of range and is not any more");
        // The client fetches such a partition no more until it is placed anew.
        self.place_anew()
    }

    /// Fails if a topic was made anew while it was read. What was gathered before is of the old one and is kept.
    pub(super) fn same_topics(&mut self) -> Result<(), SourceError> {
        if !self.consumer.context().is_recreated() {
            return Ok(());
        }
        self.hand_on(Duration::ZERO)?;
        self.env.out.blocking_settle(false)?;
        let topic = self.consumer.context().recreated().unwrap_or_default();
        Err(IngestError::Recreated { log: topic, reason: "it was made anew while it was read".to_owned() }.into())
    }

    /// Tries until it works, the run is stopped, or patience ends; the log says what it waits for. Meanwhile the client
    /// is served, so that the group does not miss our polls, and refusals are heard.
    ///
    /// # Errors
    /// What is waited for is refused, or patience has ended. [`GaveUp::Unknown`] where a topic or partition is not
    /// known for longer than news take.
    pub(super) fn patiently<T>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut(&mut Self) -> Result<T, NotYet>,
    ) -> Result<T, GaveUp> {
        let begun = Instant::now();
        let (mut pause, mut paused) = (Duration::from_millis(20), None);
        let result = loop {
            let not_yet = match attempt(self) {
                Ok(value) => break Ok(value),
                Err(not_yet) => not_yet,
            };
            if self.env.stop.load(Ordering::Relaxed) {
                break Err(SourceError::Closed.into());
            }
            if let Err(error) = self.may_wait(what, &not_yet, begun.elapsed()) {
                break Err(error);
            }
            paused.get_or_insert_with(|| self.pause());
            if let Err(error) = self.wait(pause) {
                break Err(error.into());
            }
            pause = (pause * 2).min(Duration::from_millis(500));
        };
        self.resume(paused.flatten());
        result
    }

    fn may_wait(&mut self, what: &str, not_yet: &NotYet, waited: Duration) -> Result<(), GaveUp> {
        match not_yet {
            NotYet::Refused(reason) => self.refused(reason.clone())?,
            NotYet::Unknown(reason) if waited > UNKNOWN_FOR => {
                return Err(GaveUp::Unknown(IngestError::Kafka { context: what.to_owned(), reason: reason.clone() }));
            }
            _ if self.env.mode == Mode::Once && waited > self.env.patience => {
                // What the client said of its own accord tells more than that no answer came.
                let reason = self.trouble.take().unwrap_or_else(|| not_yet.reason().to_owned());
                return Err(SourceError::from(IngestError::Kafka { context: what.to_owned(), reason }).into());
            }
            // The first moments of a connection are no trouble.
            _ if waited > QUIET_FOR => self.say(&format!("{what}: {}", not_yet.reason())),
            _ => {}
        }
        Ok(())
    }

    /// Serves the client for a while; a refusal that it hears ends the run as [`Self::refused`] says.
    fn wait(&mut self, pause: Duration) -> Result<(), SourceError> {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.serve(left);
        }
        let mut refusals = Vec::new();
        for trouble in std::mem::take(&mut self.late) {
            match NotYet::of(&trouble.error, trouble.reason.clone()) {
                NotYet::Refused(reason) => refusals.push(reason),
                not_yet => {
                    self.heard(&trouble.error, not_yet.reason());
                    self.late.push(trouble);
                }
            }
        }
        refusals.into_iter().try_for_each(|reason| self.refused(reason))
    }

    /// An error that is waited for; those that say nothing of their own are left out.
    fn heard(&mut self, error: &KafkaError, reason: &str) {
        let is_news = !matches!(
            error.rdkafka_error_code(),
            None | Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AllBrokersDown)
        );
        if !is_news {
            return;
        }
        self.say(reason);
        self.trouble = Some(reason.to_owned());
    }

    /// A message came: what was wrong is over.
    pub(super) fn is_well(&mut self) {
        if self.trouble.is_some() {
            (self.trouble, self.refused) = (None, None);
        }
    }

    pub(super) fn say(&mut self, reason: &str) {
        self.said.retain(|_, at| at.elapsed() < SAY_EVERY);
        if !self.said.contains_key(reason) {
            tracing::warn!(stream = self.env.stream, topic = self.env.spec.shown(), "kafka: {reason}; waiting");
            self.said.insert(reason.to_owned(), Instant::now());
        }
    }

    /// Notes that the end of a partition of the topic that is read was reached: markers of transactions, and messages
    /// that were aborted or compacted away, may lie before it.
    pub(super) fn at_end(&mut self, id: i32) {
        let Some(topic) = self.reading.clone() else { return };
        let partition = self.partitions.get_mut(&TopicPartition { topic, id });
        if let Some((partition, end)) = partition.and_then(|partition| partition.end.map(|end| (partition, end))) {
            partition.batch.skip_to(end);
        }
    }
}
