//! A simulation as a folder of files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::clock::day_of;
use crate::config::Stream;
use crate::error::SimError;
use crate::event::EventBatch;
use crate::export::exports;
use crate::simulation::{Events, Simulation};
use crate::streams::pos_sales::{PosTally, opening_stock};
use crate::truth::Truth;

/// How files are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// Compress each landing file with gzip and add `.gz` to its name.
    pub gzip: bool,
    /// Also write the right answers, to `<folder>/truth/`.
    pub truth: bool,
}

/// Writes all events of a simulation as landing files, with the truth about them if asked for:
///
/// ```text
/// <folder>/<stream>/<stream>_<day of arrival>.ndjson     in order of arrival, one message a line
/// <folder>/pos_sales/Sales_<year>-<month>.csv            if exports are configured
/// <folder>/pos_stock.csv                                 product, stock_quantity: if there are till lines
/// <folder>/truth/<answer>.csv, counts.csv               if asked for
/// ```
///
/// Names in natural order and lines in order give the order of arrival, so that corrections win here as on Kafka. Files
/// that are there are overwritten; others are left alone. Returns the truth.
///
/// # Errors
/// [`SimError::Io`] with the path that could not be written.
pub fn write_folder(simulation: &Simulation, folder: &Path, options: FolderOptions) -> Result<Truth, SimError> {
    let config = simulation.config();
    let mut truth = Truth::default();
    let mut till: Option<PosTally> = None;
    for stream in Stream::ALL.into_iter().filter(|stream| config.rows.of(*stream) > 0) {
        let mut events = simulation.events_with_truth(stream);
        write_stream(&mut events, &folder.join(stream.name()), options)?;
        truth.add_counts(stream, events.counts());
        events.settle(&mut truth, &mut till);
    }
    if let Some(wanted) = &config.exports {
        let (files, counts) = exports(config, wanted, till.get_or_insert_default());
        let folder = folder.join(Stream::PosSales.name());
        make_folder(&folder)?;
        for file in files {
            let mut out = Output::create(&folder.join(file.name), options)?;
            out.write(file.text.as_bytes())?;
            out.finish()?;
        }
        truth.add_counts(Stream::PosSales, counts);
    }
    if let Some(till) = till {
        make_folder(folder)?;
        let path = folder.join("pos_stock.csv");
        fs::write(&path, simulation.pos_stock_csv()).map_err(|source| SimError::Io { path, source })?;
        truth.stock_rows = opening_stock(config).count() as u64;
        truth.add(till.answers(opening_stock(config)));
    }
    if options.truth {
        truth.write(&folder.join("truth"))?;
    }
    Ok(truth)
}

fn write_stream(events: &mut Events, folder: &Path, options: FolderOptions) -> Result<(), SimError> {
    make_folder(folder)?;
    let name = events.stream().name();
    let mut batch = EventBatch::default();
    let mut open: Option<(NaiveDate, Output)> = None;
    while events.next_into(&mut batch) {
        let Some(entry) = batch.entries.last() else { break };
        let day = day_of(entry.arrived_at_ms * 1000);
        let mut out = match open.take() {
            Some((of, out)) if of == day => out,
            other => {
                if let Some((_, done)) = other {
                    done.finish()?;
                }
                Output::create(&folder.join(format!("{name}_{day}.ndjson")), options)?
            }
        };
        out.write(batch.payload(entry))?;
        out.write(b"\n")?;
        batch.clear();
        open = Some((day, out));
    }
    open.map_or(Ok(()), |(_, out)| out.finish())
}

fn make_folder(path: &Path) -> Result<(), SimError> {
    fs::create_dir_all(path).map_err(|source| SimError::Io { path: path.to_owned(), source })
}

/// A file under way.
struct Output {
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Output {
    fn create(path: &Path, options: FolderOptions) -> Result<Output, SimError> {
        let path = if options.gzip { PathBuf::from(format!("{}.gz", path.display())) } else { path.to_owned() };
        let file = File::create(&path).map_err(|source| SimError::Io { path: path.clone(), source })?;
        let plain = BufWriter::with_capacity(1 << 18, file);
        let sink = if options.gzip {
            Sink::Gzip(Box::new(GzEncoder::new(plain, Compression::default())))
        } else {
            Sink::Plain(plain)
        };
        Ok(Output { path, sink })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SimError> {
        let written = match &mut self.sink {
            Sink::Plain(sink) => sink.write_all(bytes),
            Sink::Gzip(sink) => sink.write_all(bytes),
        };
        written.map_err(|source| SimError::Io { path: self.path.clone(), source })
    }

    fn finish(self) -> Result<(), SimError> {
        let finished = match self.sink {
            Sink::Plain(mut sink) => sink.flush(),
            Sink::Gzip(sink) => sink.finish().and_then(|mut inner| inner.flush()),
        };
        finished.map_err(|source| SimError::Io { path: self.path, source })
    }
}
