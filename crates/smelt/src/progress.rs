//! What a person sees while work goes on: bars on a terminal, plain lines elsewhere, both on standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ingest::progress::ProgressEvent;

pub use crate::logging::say;

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`, `1,234 rows`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Shows the progress of `ingest`: one bar a stream on a terminal; elsewhere only what needs attention.
pub struct IngestProgress {
    bars: Option<MultiProgress>,
    streams: Mutex<HashMap<String, ProgressBar>>,
}

impl IngestProgress {
    /// Bars if standard error is a terminal.
    pub fn new() -> Self {
        IngestProgress { bars: std::io::stderr().is_terminal().then(MultiProgress::new), streams: Mutex::default() }
    }

    fn with_bar(&self, stream: &str, act: impl FnOnce(&ProgressBar)) {
        let Some(bars) = &self.bars else { return };
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = streams.entry(stream.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template(
                "{prefix:<20} {bar:30} {bytes:>11}/{total_bytes:<11} {bytes_per_sec:>12} {msg}",
            ) {
                bar.set_style(style);
            }
            bar.set_prefix(stream.to_owned());
            bar
        });
        act(bar);
    }

    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| say(text)),
            None => say(text),
        }
    }
}

impl ingest::Progress for IngestProgress {
    fn event(&self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::Started { stream, bytes, .. } => {
                self.with_bar(stream, |bar| bar.inc_length(bytes.unwrap_or(0)))
            }
            ProgressEvent::Expected { stream, bytes } => self.with_bar(stream, |bar| bar.inc_length(bytes)),
            ProgressEvent::Read { stream, bytes, .. } => self.with_bar(stream, |bar| bar.inc(bytes)),
            ProgressEvent::Committed { stream, version, .. } => {
                self.with_bar(stream, |bar| bar.set_message(format!("version {version}")));
            }
            ProgressEvent::Note { stream, message, warning } => {
                let mark = if warning { "warning: " } else { "" };
                self.line(&format!("{mark}{stream}: {message}"));
            }
            ProgressEvent::Incomplete(set) => {
                self.line(&format!("warning: {set}; nothing new of that day is stored"));
            }
            ProgressEvent::Finished { stream } => self.with_bar(stream, ProgressBar::finish_and_clear),
        }
    }
}

/// A line that says what is being done, on a terminal only.
pub struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// A spinner if standard error is a terminal.
    pub fn new() -> Self {
        Spinner(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
            bar
        }))
    }

    /// Shows `text` until the next call.
    pub fn show(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// Shows nothing.
    pub fn clear(&self) {
        self.show("");
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "row"), counted(2_000, "row")], ["1 row", "2,000 rows"]);
    }
}
