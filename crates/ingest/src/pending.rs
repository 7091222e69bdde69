//! What is consumed and not committed yet, and what commits add up to.

use std::collections::BTreeMap;
use std::sync::Arc;

use schema::Contract;
use tokio::time::Instant;

use crate::{Counts, Gap};

/// What the commits of a sink add up to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Totals {
    /// Records.
    pub counts: Counts,
    /// Raw bytes.
    pub bytes: u64,
    /// Commits.
    pub commits: u64,
    /// Version after the last commit.
    pub version: Option<i64>,
    /// Per warning rule, stored rows that break it.
    pub warnings: Vec<u64>,
    /// Stored rows whose local time does not exist or exists twice.
    pub clock_warnings: u64,
    /// Gaps of logs that the user accepted.
    pub gaps: Vec<Gap>,
}

/// Rows and positions that are not committed yet.
#[derive(Default)]
pub(crate) struct Pending {
    /// Position of each input: where the table stood, and how far it was consumed.
    pub inputs: BTreeMap<Arc<str>, (Option<i64>, i64)>,
    /// Counts per input.
    pub counts: BTreeMap<Arc<str>, Counts>,
    /// Raw bytes.
    pub bytes: u64,
    /// Per warning rule, stored rows that break it.
    pub warnings: Vec<u64>,
    /// Stored rows whose local time does not exist or exists twice.
    pub clock_warnings: u64,
    /// When the first of it came.
    pub since: Option<Instant>,
    /// Counts of records behind which no position was reached yet.
    pub open: Counts,
    /// Gaps of logs that the user accepted.
    pub gaps: Vec<Gap>,
}

impl Pending {
    /// Records that came since the last commit.
    pub fn records(&self) -> u64 {
        self.counts.values().map(|counts| counts.delivered).sum::<u64>() + self.open.delivered
    }

    /// Counts over all inputs, of what a commit would hold.
    pub fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.counts.values().for_each(|part| sum += *part);
        sum
    }
}

impl Totals {
    /// The warnings that came up, by name.
    pub fn named_warnings(&self, contract: &Contract) -> BTreeMap<String, u64> {
        let rules = contract.warnings.iter().map(|rule| rule.name.clone()).zip(self.warnings.iter().copied());
        rules.chain([("local_time".to_owned(), self.clock_warnings)]).filter(|(_, rows)| *rows > 0).collect()
    }

    /// Adds what was committed as `version`.
    pub fn add(&mut self, pending: &Pending, counts: Counts, version: i64) {
        self.counts += counts;
        self.bytes += pending.bytes;
        self.commits += 1;
        self.gaps.extend_from_slice(&pending.gaps);
        self.version = Some(version);
        self.clock_warnings += pending.clock_warnings;
        add_each(&mut self.warnings, &pending.warnings);
    }
}

/// Adds counts place by place.
pub(crate) fn add_each(sums: &mut Vec<u64>, parts: &[u64]) {
    sums.resize(sums.len().max(parts.len()), 0);
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}

/// What a commit says about its counts (ENGINE.md, rule 8), in all and per input, and about gaps that were accepted.
pub(crate) fn info(pending: &Pending) -> serde_json::Map<String, serde_json::Value> {
    let sum = pending.sum();
    let per_input: serde_json::Map<_, _> =
        pending.counts.iter().map(|(input, counts)| (input.to_string(), counts_json(*counts))).collect();
    let mut info = serde_json::Map::new();
    if let serde_json::Value::Object(all) = counts_json(sum) {
        info.extend(all);
    }
    info.insert("inputs".to_owned(), per_input.into());
    if !pending.gaps.is_empty() {
        let gaps: Vec<_> = pending.gaps.iter().map(|gap| serde_json::json!(gap)).collect();
        info.insert("gaps".to_owned(), gaps.into());
    }
    info
}

fn counts_json(counts: Counts) -> serde_json::Value {
    serde_json::json!({
        "delivered": counts.delivered,
        "stored": counts.stored,
        "quarantined": counts.quarantined,
        "skipped": counts.skipped,
    })
}
