//! Whose partitions are whose: changes of ownership are carried out, and the client is told what to read from where.

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::{Offset, TopicPartitionList};

use super::ANSWER;
use super::consumer::Reader;
use super::context::{Change, give_back};
use super::not_yet::failed;
use super::partitions::TopicPartition;
use crate::Mode;
use crate::source::SourceError;

impl Reader {
    /// Carries out a change of ownership.
    pub(super) fn carry_out(&mut self, change: Change) -> Result<(), SourceError> {
        match change {
            Change::Assigned(wanted) => {
                self.hand_on_at_once()?;
                let snapshot = self.env.out.blocking_settle(false)?;
                self.stand(&wanted, snapshot.as_ref())?;
                self.assign(&wanted)?;
                tracing::info!(stream = self.env.stream, partitions = %shown(&wanted), "partitions assigned");
            }
            Change::Revoked { partitions, lost: true } => {
                // Everything that is not committed goes: rows of one partition cannot be taken out of a file.
                let snapshot = self.env.out.blocking_settle(true)?;
                self.forget(&partitions);
                let kept = self.partitions.keys();
                self.stand(&kept, snapshot.as_ref())?;
                self.unassign(&partitions)?;
                self.seek(&kept)?;
                tracing::info!(stream = self.env.stream, partitions = %shown(&partitions), "partitions lost");
            }
            Change::Revoked { partitions, lost: false } => {
                self.hand_on_at_once()?;
                self.env.out.blocking_settle(false)?;
                self.tell();
                self.forget(&partitions);
                self.unassign(&partitions)?;
                tracing::info!(stream = self.env.stream, partitions = %shown(&partitions), "partitions revoked");
            }
        }
        Ok(())
    }

    fn forget(&mut self, keys: &[TopicPartition]) {
        for key in keys {
            if self.partitions.get(key).is_some() {
                self.consumer.messages().leave(key);
            }
            self.partitions.remove(key);
            self.left_out.remove(key);
        }
    }

    /// Commits what came, and places all partitions again.
    pub(super) fn place_anew(&mut self) -> Result<(), SourceError> {
        self.astray = false;
        self.hand_on_at_once()?;
        let snapshot = self.env.out.blocking_settle(false)?;
        let keys = match &self.reading {
            Some(topic) => self.partitions.open(topic),
            None => self.partitions.keys(),
        };
        self.stand(&keys, snapshot.as_ref())?;
        if self.env.mode == Mode::Follow {
            self.unassign_only(&keys)?;
        }
        self.assign(&keys)
    }

    /// Has the client read these partitions from where they were placed.
    pub(super) fn assign(&mut self, keys: &[TopicPartition]) -> Result<(), SourceError> {
        // Before the client fetches: it would hand messages out among its events.
        let placed = keys.iter().filter(|key| self.partitions.get(key).is_some());
        placed.for_each(|key| self.consumer.messages().lead(key));
        let done = match (self.consumer.rebalance_protocol(), self.env.mode) {
            (RebalanceProtocol::Cooperative, _) => self.consumer.incremental_assign(&self.list(keys)?),
            (_, Mode::Once) => self.consumer.assign(&self.list(keys)?),
            // What is assigned replaces all that was.
            (_, Mode::Follow) => {
                let all = self.list(&self.partitions.keys())?;
                self.partitions.begin_anew();
                self.consumer.assign(&all)
            }
        };
        done.map_err(|e| failed("taking partitions", &e).into())
    }

    fn unassign(&mut self, keys: &[TopicPartition]) -> Result<(), SourceError> {
        if !matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            self.partitions.clear();
        }
        self.unassign_only(keys)
    }

    fn unassign_only(&mut self, keys: &[TopicPartition]) -> Result<(), SourceError> {
        give_back(&self.consumer, &names(keys)).map_err(|e| failed("giving partitions back", &e).into())
    }

    /// Partitions with the offsets that come next.
    fn list(&self, keys: &[TopicPartition]) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::new();
        for key in keys {
            if let Some(partition) = self.partitions.get(key) {
                list.add_partition_offset(&key.topic, key.id, Offset::Offset(partition.batch.next()))
                    .map_err(|e| failed("placing a partition", &e))?;
            }
        }
        Ok(list)
    }

    fn seek(&mut self, keys: &[TopicPartition]) -> Result<(), SourceError> {
        let list = self.list(keys)?;
        if list.count() == 0 {
            return Ok(());
        }
        let done = self.consumer.seek_partitions(list, ANSWER).map_err(|e| failed("seeking", &e))?;
        for element in done.elements() {
            element.error().map_err(|e| failed("seeking", &e))?;
        }
        Ok(())
    }
}

/// Partitions without offsets.
pub(super) fn names(keys: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for key in keys {
        list.add_partition(&key.topic, key.id);
    }
    list
}

fn shown(keys: &[TopicPartition]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
