//! Whether a day of a set is complete.

use chrono::NaiveDate;
use schema::Contract;

use crate::{FileOutcome, IncompleteFile, Lack};

/// What is known of a file of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is as the ledger has it, and was accepted.
    Known,
    /// It has to be looked at.
    New,
    /// It was looked at, and is complete.
    Good,
    /// It may still be being written.
    Unsettled,
    /// It holds up its day.
    Lacking(Lack, String),
}

impl Fate {
    /// The fate of a file that a ledger row refuses.
    pub fn lacking(outcome: FileOutcome, reason: &str) -> Self {
        let lack = if outcome == FileOutcome::Empty { Lack::Empty } else { Lack::Unfit };
        Self::Lacking(lack, reason.to_owned())
    }
}

/// A file of a day: its stream, its path, and what is known of it.
pub(super) type FileFate<'a> = (&'a str, &'a str, &'a Fate);

/// What is to be done about a day.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Day {
    /// All files are there and complete: those that are new are accepted, together.
    Complete,
    /// A file may still be being written: the next look decides.
    Unsettled,
    /// These files hold it up.
    Incomplete(Vec<IncompleteFile>),
}

/// Judges a day by the files of it that lie there. Each member must have one, there or in the ledger (`has_day`), and each
/// one that is there must be complete: also one of two of the same member.
pub(super) fn judge<'a>(
    day: NaiveDate,
    members: impl IntoIterator<Item = &'a Contract>,
    files: &[FileFate<'_>],
    has_day: impl Fn(&str) -> bool,
) -> Day {
    let mut lacking = Vec::new();
    for member in members {
        let mut its = files.iter().filter(|(stream, ..)| *stream == member.name).peekable();
        if its.peek().is_none() && !has_day(&member.name) {
            let name = member.files.as_ref().and_then(|files| files.name_on(day)).unwrap_or_default();
            lacking.push(file(&member.name, &name, Lack::Missing, "is missing"));
        }
        for (stream, path, fate) in its {
            if let Fate::Lacking(lack, reason) = fate {
                lacking.push(file(stream, path, *lack, reason));
            }
        }
    }
    match lacking.is_empty() {
        _ if files.iter().any(|(.., fate)| matches!(fate, Fate::Unsettled)) => Day::Unsettled,
        true => Day::Complete,
        false => Day::Incomplete(lacking),
    }
}

fn file(stream: &str, path: &str, lack: Lack, reason: &str) -> IncompleteFile {
    IncompleteFile { stream: stream.to_owned(), path: path.to_owned(), lack, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use schema::{Project, SourceFile};

    use super::*;

    fn members() -> Project {
        let contract = |name: &str| SourceFile {
            path: format!("models/bronze/{name}.toml"),
            text: format!(
                "description = \"d\"\nfiles = {{ path = \"in\", format = \"csv\", date = \"{name}_%Y%m%d.csv\", set = \"s\" }}\n\
                 [fields]\nid = {{ type = \"int\" }}\n"
            ),
        };
        Project::parse([contract("a"), contract("b")]).expect("two contracts")
    }

    #[test]
    fn a_day_is_complete_when_each_member_has_a_file_and_none_that_is_there_lacks_anything() {
        let project = members();
        let day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
        let check = |files: &[FileFate<'_>], in_ledger: &[&str], expected: &str| {
            let found = match judge(day, project.contracts.values(), files, |stream| in_ledger.contains(&stream)) {
                Day::Complete => "complete".to_owned(),
                Day::Unsettled => "unsettled".to_owned(),
                Day::Incomplete(files) => files.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            };
            assert_eq!(found, expected, "{files:?}");
        };
        let (a, b, copy) = ("a_20240229.csv", "b_20240229.csv", "again/b_20240229.csv");
        let empty = Fate::lacking(FileOutcome::Empty, "is empty");
        let cut = Fate::lacking(FileOutcome::Refused, "is cut");
        check(&[("a", a, &Fate::Good), ("b", b, &Fate::Good)], &[], "complete");
        check(&[("a", a, &Fate::Good), ("b", b, &Fate::Known)], &[], "complete");
        check(&[("a", a, &Fate::Good)], &["b"], "complete");
        check(&[("a", a, &Fate::Good)], &[], "b_20240229.csv is missing");
        check(&[], &[], "a_20240229.csv is missing; b_20240229.csv is missing");
        check(&[("a", a, &cut), ("b", b, &empty)], &[], "a_20240229.csv: is cut; b_20240229.csv is empty");
        check(
            &[("a", a, &Fate::Good), ("b", b, &Fate::Good), ("b", copy, &empty)],
            &[],
            "again/b_20240229.csv is empty",
        );
        check(&[("a", a, &Fate::Unsettled), ("b", b, &empty)], &[], "unsettled");
    }
}
