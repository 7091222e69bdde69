//! Days that were computed again (`--from/--to`) are ahead of the table's positions (ENGINE.md 20).
//!
//! Such a run takes what upstream has now and moves no position, so the next refresh meets changes that some groups have
//! already. Computing those again does no harm; adding them to the stored groups would count them twice. So a table notes how
//! often days of it were computed again, and up to which of these runs a refresh has caught up.

use store::{Consumed, Snapshot};

use crate::job::{Job, Mode};

/// How often days were computed again.
const AHEAD: &str = "days:computed";

/// How many of these a refresh has caught up with.
const CAUGHT_UP: &str = "days:caught_up";

/// Whether rows of the table may be ahead of its positions.
pub(crate) fn are_ahead(base: &Snapshot) -> bool {
    base.txn(AHEAD) != base.txn(CAUGHT_UP)
}

/// What a commit says about it.
pub(crate) fn note(job: &Job<'_>, is_change: bool) -> Option<Consumed> {
    let base = &job.base;
    let (ahead, caught_up) = (base.txn(AHEAD), base.txn(CAUGHT_UP));
    match job.mode {
        Mode::Range { .. } => {
            is_change.then(|| Consumed { input: AHEAD.to_owned(), from: ahead, to: ahead.unwrap_or(0) + 1 })
        }
        Mode::Refresh | Mode::Rebuild => {
            let to = ahead.filter(|ahead| caught_up != Some(*ahead))?;
            Some(Consumed { input: CAUGHT_UP.to_owned(), from: caught_up, to })
        }
    }
}
