//! From what lies there to ledger rows: each day judged, the complete ones accepted, each in one commit.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::LandingSet;
use super::day::{Day, Fate, FileFate, judge};
use super::landed::{DayFile, FileKey, Landed, Sorted};
use crate::source::files::examine::{Examined, Verdict, examine_all};
use crate::source::files::ledger::{Entry, Ledger};
use crate::source::files::stream::{GROUP_BYTES, GROUP_FILES, NO_ENTITY};
use crate::{FileOutcome, IncompleteSet, IngestError, Lack, ProgressEvent};

/// A day and the files of it that lie there.
type DayFiles = (NaiveDate, Vec<DayFile>);

impl LandingSet {
    /// Judges all days, and writes what is new about them to the ledger; no day is spread over two commits.
    pub(super) async fn accept(&mut self, mut sorted: Sorted, ledger: &mut Ledger) -> Result<(), IngestError> {
        if let Some(day) = self.day {
            sorted.days.entry(day).or_default();
        }
        self.incomplete.clear();
        self.notes.counts.waiting = 0;
        for group in groups(sorted.days) {
            self.accept_group(group, ledger).await?;
        }
        // After the days: a file without a day may be a copy of one that was just accepted.
        let is_known =
            |landed: &Landed| ledger.knows("", &landed.found.path, landed.found.size, &landed.found.stamp).is_some();
        let (still, again): (Vec<Landed>, Vec<Landed>) = sorted.refused.into_iter().partition(is_known);
        self.notes.counts.still_refused = still.len() as u64;
        self.note_strays([sorted.strays, again].concat(), ledger).await
    }

    async fn accept_group(&mut self, mut group: Vec<DayFiles>, ledger: &mut Ledger) -> Result<(), IngestError> {
        let mut looked = self.look(&group).await?;
        let (mut rows, mut days) = (Vec::new(), Vec::new());
        for (day, files) in &mut group {
            for file in files.iter_mut() {
                if let Some(one) = looked.remove(&file.landed.key()) {
                    file.fate = self.fate_of(&file.landed, one, ledger);
                }
            }
            if self.is_complete(*day, files, ledger) {
                let accepted = self.accept_day(files, ledger);
                days.extend(accepted.iter().any(|row| row.outcome == FileOutcome::Accepted).then_some(*day));
                rows.extend(accepted);
            }
        }
        ledger.write(self.now()).await?;
        self.accepted.extend(days);
        rows.iter().for_each(|row| self.notes.count(row));
        Ok(())
    }

    /// Reads the files that are new, but for those that were read before and lie there as they did.
    async fn look(&mut self, group: &[DayFiles]) -> Result<HashMap<FileKey, Examined>, IngestError> {
        let (mut looked, mut looks, mut keys) = (HashMap::new(), Vec::new(), Vec::new());
        for DayFile { landed, .. } in group.iter().flat_map(|(_, files)| files).filter(|file| file.fate == Fate::New) {
            match self.examined.remove(&landed.key()).filter(|before| before.found == landed.found) {
                Some(before) => {
                    looked.insert(landed.key(), before);
                }
                None => {
                    looks.push(landed.look());
                    keys.push(landed.key());
                }
            }
        }
        let examined = examine_all(looks, self.settings.threads).await?;
        looked.extend(keys.into_iter().zip(examined));
        Ok(looked)
    }

    /// What a look makes of a file. What was seen of a complete one is kept until its day is complete too; what is wrong
    /// with any other becomes a row of the ledger.
    fn fate_of(&mut self, landed: &Landed, one: Examined, ledger: &mut Ledger) -> Fate {
        if one.verdict == Verdict::Changing {
            self.looks.begin(&landed.found);
            let is_last_look = self.settings.settle.is_zero();
            let reason = "changed while it was read".to_owned();
            return if is_last_look { Fate::Lacking(Lack::Unfit, reason) } else { Fate::Unsettled };
        }
        self.looks.forget(&landed.found.path);
        if let Some((outcome, reason)) = one.verdict.refusal() {
            let row = landed.entry(&one.hash, outcome, reason.to_owned());
            refuse(row, matches!(one.verdict, Verdict::Unreadable(_)), ledger);
            return Fate::lacking(outcome, reason);
        }
        if is_conflict(landed, &one.hash, ledger) {
            return Fate::lacking(FileOutcome::Refused, NO_ENTITY);
        }
        self.examined.insert(landed.key(), one);
        Fate::Good
    }

    /// Whether a day is complete; says it where it is not and is due.
    fn is_complete(&mut self, day: NaiveDate, files: &[DayFile], ledger: &Ledger) -> bool {
        let fates: Vec<FileFate<'_>> =
            files.iter().map(|file| (file.landed.stream(), file.landed.found.path.as_str(), &file.fate)).collect();
        let members = self.members.iter().map(AsRef::as_ref);
        let lacking = match judge(day, members, &fates, |stream| ledger.has_day(stream, day)) {
            Day::Complete => return true,
            Day::Unsettled => return false,
            Day::Incomplete(files) => files,
        };
        self.notes.counts.waiting += files.iter().filter(|file| file.fate != Fate::Known).count() as u64;
        if self.day.is_some_and(|due| day > due) {
            tracing::info!(set = self.name, %day, "a later day is not complete yet");
            return false;
        }
        let incomplete = IncompleteSet { set: self.name.clone(), day, files: lacking };
        if self.notes.is_new(&self.name, &incomplete.to_string()) {
            self.settings.progress.event(ProgressEvent::Incomplete(&incomplete));
        }
        self.incomplete.push(incomplete);
        false
    }

    /// Adds the rows of a complete day's new files to the ledger, in memory.
    fn accept_day(&mut self, files: &[DayFile], ledger: &mut Ledger) -> Vec<Entry> {
        let (mut rows, mut delivery) = (Vec::new(), None);
        for DayFile { landed, .. } in files.iter().filter(|file| file.fate == Fate::Good) {
            let Some(one) = self.examined.remove(&landed.key()) else { continue };
            let entry = match ledger.same_content(&one.hash, landed.stream(), landed.day()) {
                Some(number) => same(landed, &one.hash, number),
                None => Entry {
                    supersedes: ledger.in_force(landed.stream(), &landed.found.path),
                    delivery: Some(*delivery.get_or_insert(ledger.last() + 1)),
                    ..landed.entry(&one.hash, FileOutcome::Accepted, String::new())
                },
            };
            rows.push(ledger.add(entry));
        }
        rows
    }

    /// Notes files that no member claims: copies of accepted files under other names, and what else lies there.
    async fn note_strays(&mut self, strays: Vec<Landed>, ledger: &mut Ledger) -> Result<(), IngestError> {
        let looks = strays.iter().map(Landed::look).collect();
        let examined = examine_all(looks, self.settings.threads).await?;
        let mut rows = Vec::new();
        for (landed, one) in strays.iter().zip(examined) {
            self.looks.forget(&landed.found.path);
            let same_as = ledger.same_content(&one.hash, "", None);
            match (&one.verdict, same_as) {
                (Verdict::Changing, _) => self.looks.begin(&landed.found),
                (Verdict::Hashed, Some(number)) => rows.push(ledger.add(same(landed, &one.hash, number))),
                (verdict, _) => {
                    let reason = verdict.refusal().map_or_else(|| self.misnamed(), |(_, reason)| reason.to_owned());
                    let row = landed.entry(&one.hash, FileOutcome::Refused, reason);
                    rows.extend(refuse(row, matches!(verdict, Verdict::Unreadable(_)), ledger));
                }
            }
        }
        ledger.write(self.now()).await?;
        rows.iter().for_each(|row| self.notes.count(row));
        Ok(())
    }

    fn misnamed(&self) -> String {
        let patterns = self.members.iter().filter_map(|member| member.files.as_ref()?.date.as_deref());
        let patterns: Vec<&str> = patterns.collect();
        format!("the name is that of no member of the set {}: expected one of {}", self.name, patterns.join(", "))
    }
}

fn same(landed: &Landed, hash: &str, number: i64) -> Entry {
    let row = landed.entry(hash, FileOutcome::Same, format!("same content as number {number}"));
    Entry { same_as: Some(number), ..row }
}

/// Adds a row that refuses a file, unless it says again what the file's latest row says. What storage did not give may be
/// there at the `next` look, with nothing to see in the listing.
fn refuse(row: Entry, next: bool, ledger: &mut Ledger) -> Option<Entry> {
    let row = if next { Entry { stamp: String::new(), ..row } } else { row };
    let known = ledger.latest(&row.stream, &row.path);
    let is_said = known.is_some_and(|known| known.stamp == row.stamp && known.reason == row.reason);
    (!is_said).then(|| ledger.add(row))
}

/// Whether a file of a stream without an entity has other content than what was loaded under its name.
fn is_conflict(landed: &Landed, hash: &str, ledger: &Ledger) -> bool {
    let has_entity = landed.claim.as_ref().is_some_and(|(contract, _)| !contract.entity.is_empty());
    let is_loaded = ledger.in_force(landed.stream(), &landed.found.path).is_some();
    !has_entity && is_loaded && ledger.same_content(hash, landed.stream(), landed.day()).is_none()
}

/// Splits days into groups that share a ledger commit.
fn groups(days: impl IntoIterator<Item = DayFiles>) -> Vec<Vec<DayFiles>> {
    let (mut groups, mut group) = (Vec::new(), Vec::new());
    let (mut files, mut bytes) = (0, 0);
    for (day, day_files) in days {
        let new = day_files.iter().filter(|file| file.fate == Fate::New);
        (files, bytes) = new.fold((files, bytes), |(n, sum), file| (n + 1, sum + file.landed.found.size));
        group.push((day, day_files));
        if files >= GROUP_FILES || bytes >= GROUP_BYTES {
            groups.push(std::mem::take(&mut group));
            (files, bytes) = (0, 0);
        }
    }
    groups.push(group);
    groups
}
