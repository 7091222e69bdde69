//! Results as people and programs read them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{Settings, machine};

/// One load's result.
#[derive(Debug, Serialize)]
pub struct Report {
    name: String,
    about: String,
    command: String,
    facts: Vec<(String, String)>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    bars: Vec<Bar>,
    notes: Vec<String>,
}

/// A bar and what was measured against it.
#[derive(Debug, Serialize)]
struct Bar {
    what: String,
    measured: f64,
    at_most: f64,
    met: bool,
}

impl Report {
    /// An empty result of the load `name`.
    pub fn new(name: &str, about: &str, columns: &[&str]) -> Report {
        Report {
            name: name.to_owned(),
            about: about.to_owned(),
            command: format!("target/release/benches {}", std::env::args().skip(1).collect::<Vec<_>>().join(" ")),
            facts: machine::facts(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            rows: Vec::new(),
            bars: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A version or setting that the figures depend on.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    /// A row of figures, printed at once, because runs take long.
    pub fn row(&mut self, row: Vec<String>) {
        println!("{}", row.join(" | "));
        self.rows.push(row);
    }

    /// A bar: a figure that must not be greater than its limit.
    pub fn bar(&mut self, what: &str, measured: f64, at_most: f64) {
        self.bars.push(Bar { what: what.to_owned(), measured, at_most, met: measured <= at_most });
    }

    /// A remark.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints the result, and keeps it in `benches/results/<name>.md` and `.json` unless it is a dry run.
    ///
    /// # Errors
    /// When the files cannot be written, or a bar is not met.
    pub fn finish(self, settings: &Settings) -> Result<()> {
        let text = self.markdown();
        println!("\n{text}");
        let missed = self.bars.iter().filter(|bar| !bar.met).count();
        let verdict = || if missed == 0 { Ok(()) } else { bail!("{missed} of {} bars not met", self.bars.len()) };
        if settings.dry_run {
            return verdict();
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.md", self.name));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let path = folder.join(format!("{}.json", self.name));
        let json = serde_json::to_string_pretty(&self)?;
        fs::write(&path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        verdict()
    }

    fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n`{}`\n\n", self.name, self.about, self.command);
        let mut line = |cells: &[String]| {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        line(&self.columns);
        line(&vec!["---".to_owned(); self.columns.len()]);
        self.rows.iter().for_each(|row| line(row));
        text.push('\n');
        for bar in &self.bars {
            let verdict = if bar.met { "met" } else { "NOT met" };
            let _ = writeln!(text, "- {}: {:.3}, bar at most {}: {verdict}", bar.what, bar.measured, bar.at_most);
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text.push('\n');
        for (name, value) in &self.facts {
            let _ = writeln!(text, "- {name}: {value}");
        }
        text
    }
}

/// The median; 0 of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The least value that at least this share of the sorted values does not exceed; 0 of nothing.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

/// A figure with two decimals.
pub fn two(value: f64) -> String {
    format!("{value:.2}")
}

/// A figure with three decimals.
pub fn three(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        let at = |share| percentile(&values, share);
        assert_eq!((at(0.0), at(0.5), at(0.99), at(0.991), at(1.0)), (1.0, 100.0, 198.0, 199.0, 200.0));
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
