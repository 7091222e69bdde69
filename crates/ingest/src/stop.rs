//! The stop rule: a stream whose records are mostly bad is stopped before more of them are taken.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use schema::StopRule;

use crate::IngestError;

/// Records of one look.
struct Slice {
    at: DateTime<Utc>,
    records: u64,
    bad: u64,
    /// Why the first of the bad ones is.
    reason: Option<String>,
}

/// Counts good and bad records of the last seconds.
pub(crate) struct StopWatch {
    rule: Option<StopRule>,
    slices: VecDeque<Slice>,
    records: u64,
    bad: u64,
}

impl StopWatch {
    /// Watches by `rule`; without one nothing ever trips.
    pub fn new(rule: Option<StopRule>) -> Self {
        Self { rule, slices: VecDeque::new(), records: 0, bad: 0 }
    }

    /// Adds records that were decoded at `at`, and a reason that some of the bad ones have.
    ///
    /// # Errors
    /// [`IngestError::TooManyBad`] when the rule trips.
    pub fn add(
        &mut self,
        stream: &str,
        at: DateTime<Utc>,
        records: u64,
        bad: u64,
        reason: Option<&str>,
    ) -> Result<(), IngestError> {
        let Some(rule) = self.rule else { return Ok(()) };
        let window = chrono::Duration::seconds(i64::try_from(rule.window_seconds).unwrap_or(i64::MAX / 1000));
        while self.slices.front().is_some_and(|slice| at - slice.at > window) {
            if let Some(old) = self.slices.pop_front() {
                self.records -= old.records;
                self.bad -= old.bad;
            }
        }
        self.records += records;
        self.bad += bad;
        match self.slices.back_mut().filter(|slice| slice.at == at) {
            Some(slice) => {
                slice.records += records;
                slice.bad += bad;
                slice.reason = slice.reason.take().or_else(|| reason.map(str::to_owned));
            }
            None => self.slices.push_back(Slice { at, records, bad, reason: reason.map(str::to_owned) }),
        }
        let tripped = self.records >= rule.min_records
            && self.records > 0
            && self.bad as f64 > rule.max_bad_ratio * self.records as f64;
        if !tripped {
            return Ok(());
        }
        let mut reasons: HashMap<&str, u64> = HashMap::new();
        for slice in &self.slices {
            if let Some(reason) = &slice.reason {
                *reasons.entry(reason).or_default() += slice.bad;
            }
        }
        let reason = reasons.into_iter().max_by_key(|(_, bad)| *bad).map_or("", |(reason, _)| reason).to_owned();
        Err(IngestError::TooManyBad {
            stream: stream.to_owned(),
            bad: self.bad,
            of: self.records,
            allowed: format!("a share of {} within {} s", rule.max_bad_ratio, rule.window_seconds),
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Option<StopRule> {
        Some(StopRule { max_bad_ratio: 0.5, window_seconds: 60, min_records: 100 })
    }

    #[test]
    fn trips_only_within_the_window_and_above_the_least_number() {
        let start = DateTime::UNIX_EPOCH;
        let later = |seconds| start + chrono::Duration::seconds(seconds);
        let mut watch = StopWatch::new(rule());
        assert!(watch.add("s", start, 99, 99, None).is_ok(), "too few to judge");
        assert!(watch.add("s", later(30), 200, 0, None).is_ok(), "99 of 299");
        assert!(watch.add("s", later(90), 100, 51, None).is_ok(), "51 of 300: the first slice left the window");
        let error = watch.add("s", later(100), 100, 100, Some("no json")).expect_err("151 of 200");
        assert_eq!(
            error.to_string(),
            "stream s stopped: 151 of the last 200 records are bad, more than the contract allows (a share of 0.5 \
             within 60 s); nothing of this batch was committed. most frequent reason: no json"
        );
    }

    #[test]
    fn no_rule_never_trips() {
        assert!(StopWatch::new(None).add("s", DateTime::UNIX_EPOCH, 10, 10, None).is_ok());
    }
}
