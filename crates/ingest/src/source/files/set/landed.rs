//! What lies in the landing places of a set: whose file it is, of which day, and what the ledger knows of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use schema::Contract;

use super::day::Fate;
use crate::source::files::examine::Look;
use crate::source::files::ledger::{Entry, Ledger};
use crate::source::files::looks::Looks;
use crate::source::files::notes::Notes;
use crate::source::files::place::{Found, Place};
use crate::{FileOutcome, IngestError};

/// A landing place, and the members whose files lie there.
pub(crate) struct SetPlace {
    pub place: Arc<Place>,
    /// Their contracts.
    pub members: Vec<Arc<Contract>>,
}

/// A file in a landing place of a set.
#[derive(Clone)]
pub(super) struct Landed {
    pub place: Arc<Place>,
    pub found: Found,
    /// The member whose name pattern it matches, and the day; `None`: no member's, or more than one's.
    pub claim: Option<(Arc<Contract>, NaiveDate)>,
}

/// A stream and a path, as the ledger tells files apart.
pub(super) type FileKey = (String, String);

impl Landed {
    /// What tells it apart.
    pub fn key(&self) -> FileKey {
        (self.stream().to_owned(), self.found.path.clone())
    }

    /// How it is to be looked at; nothing of it is held.
    pub fn look(&self) -> Look {
        let contract = self.claim.as_ref().map(|(contract, _)| Arc::clone(contract));
        Look { place: Arc::clone(&self.place), found: self.found.clone(), contract, hold: false }
    }

    /// The day that its name states, if a member claims it.
    pub fn day(&self) -> Option<NaiveDate> {
        self.claim.as_ref().map(|(_, day)| *day)
    }

    /// A ledger row about it, without a number.
    pub fn entry(&self, hash: &str, outcome: FileOutcome, reason: String) -> Entry {
        Entry {
            number: 0,
            stream: self.stream().to_owned(),
            day: self.day(),
            path: self.found.path.clone(),
            size: self.found.size,
            stamp: self.found.stamp.clone(),
            modified_us: self.found.modified_us,
            hash: hash.to_owned(),
            outcome,
            reason,
            same_as: None,
            supersedes: None,
            delivery: None,
        }
    }

    /// The stream whose file it is; empty where no member claims it.
    pub fn stream(&self) -> &str {
        self.claim.as_ref().map_or("", |(contract, _)| &contract.name)
    }
}

/// What lies in the places. A path that an earlier place has too is refused: the ledger could not tell the two apart.
///
/// # Errors
/// A place that cannot be listed.
pub(super) async fn list(set: &str, places: &[SetPlace], notes: &mut Notes) -> Result<Vec<Landed>, IngestError> {
    let (mut all, mut paths) = (Vec::new(), HashSet::new());
    for SetPlace { place, members } in places {
        let listing = place.list().await.map_err(|reason| IngestError::Input {
            stream: set.to_owned(),
            input: place.shown().to_owned(),
            reason,
        })?;
        notes.refuse_odd(&listing.odd);
        for found in listing.files {
            let landed = Landed { claim: claim(members, &found.path), place: Arc::clone(place), found };
            if paths.insert(landed.key()) {
                all.push(landed);
            } else {
                let reason = format!("another input has a file of this name; the one in {} is left out", place.shown());
                notes.refuse_odd(&[(landed.found.path, reason)]);
            }
        }
    }
    notes.counts.seen = all.len() as u64;
    Ok(all)
}

fn claim(members: &[Arc<Contract>], path: &str) -> Option<(Arc<Contract>, NaiveDate)> {
    let mut claims =
        members.iter().filter_map(|member| Some((Arc::clone(member), member.files.as_ref()?.date_in(path)?)));
    claims.next().filter(|_| claims.next().is_none())
}

/// A file of a day, and what is known of it.
pub(super) struct DayFile {
    pub landed: Landed,
    pub fate: Fate,
}

/// What lies there, sorted by what there is to do about it.
#[derive(Default)]
pub(super) struct Sorted {
    /// Files of members by day, those that the ledger knows too.
    pub days: BTreeMap<NaiveDate, Vec<DayFile>>,
    /// Files of no member that are new.
    pub strays: Vec<Landed>,
    /// Files of no member that were refused before, and lie there as they did.
    pub refused: Vec<Landed>,
}

impl Sorted {
    /// Whether anything has to be read.
    pub fn has_new(&self) -> bool {
        let is_new = |file: &DayFile| matches!(file.fate, Fate::New);
        !self.strays.is_empty() || self.days.values().flatten().any(is_new)
    }
}

/// Compares what lies there with the ledger.
pub(super) fn sort(landed: &[Landed], ledger: &Ledger, looks: &mut Looks, notes: &mut Notes) -> Sorted {
    let mut sorted = Sorted::default();
    for landed in landed {
        let found = &landed.found;
        let known = ledger.knows(landed.stream(), &found.path, found.size, &found.stamp);
        let fate = match known {
            Some(entry) => fate_of(entry),
            None if looks.is_settled(found) => Fate::New,
            None => Fate::Unsettled,
        };
        match &landed.claim {
            Some((_, day)) => sorted.days.entry(*day).or_default().push(DayFile { landed: landed.clone(), fate }),
            None if matches!(fate, Fate::New) => sorted.strays.push(landed.clone()),
            None if known.is_some_and(|entry| entry.outcome == FileOutcome::Refused) => {
                sorted.refused.push(landed.clone());
            }
            None => {}
        }
    }
    notes.counts.still_refused = sorted.refused.len() as u64;
    sorted
}

/// What the ledger says of a file that lies there as it did.
fn fate_of(entry: &Entry) -> Fate {
    match entry.outcome {
        FileOutcome::Accepted | FileOutcome::Same => Fate::Known,
        FileOutcome::Empty | FileOutcome::Refused => Fate::lacking(entry.outcome, &entry.reason),
        // Its row has no stamp, so that it is never known as it lies.
        FileOutcome::Gone => Fate::New,
    }
}
