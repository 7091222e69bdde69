//! A simulation as a folder of files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::NaiveDate;

use crate::clock::day_of;
use crate::error::SimError;
use crate::export::exports;
use crate::output::{Output, make_folder, write_file};
use crate::simulation::{Arrivals, Simulation};
use crate::stream::Stream;
use crate::truth::{Tallies, Truth};
use crate::weekly::{Landing, WeeklySets};

/// How files are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// Compress each landing file with gzip and add `.gz` to its name.
    pub gzip: bool,
    /// Also count the right answers and write them to this folder. They take memory: 32 bytes an order of the web shop, and
    /// the answers themselves.
    pub truth: Option<PathBuf>,
    /// At most so many messages of the streams a second of real time; otherwise as many as can be made.
    pub rate: Option<u32>,
}

/// Writes all events of a simulation as landing files, with the truth about them if asked for:
///
/// ```text
/// <folder>/<stream>/<stream>_<day of arrival>.ndjson     in order of arrival, one message a line
/// <folder>/pos_sales/Sales_<year>-<month>.csv            if exports are configured
/// <folder>/pos_stock.csv                                 if there are till lines
/// <folder>/products.csv, stores.csv, opening_stock.csv   if the store chain has sales or updates
/// <folder>/weekly/<file>_<YYYYMMDD>.csv                  the daily landing sets, if they have rows
/// <truth>/<answer>.csv, counts.csv                       if asked for
/// ```
///
/// Names in natural order and lines in order give the order of arrival, so that corrections win here as on Kafka. A file has
/// its name only when it is whole. Files that are there are overwritten; others are left alone. Returns the truth; without
/// `options.truth` its counts only.
///
/// # Errors
/// [`SimError::Io`] with the path that could not be written.
pub fn write_folder(simulation: &Simulation, folder: &Path, options: &FolderOptions) -> Result<Truth, SimError> {
    make_folder(folder)?;
    let with_truth = options.truth.is_some();
    let mut tallies = Tallies::default();
    write_tables(simulation, folder, options.gzip, &mut tallies)?;
    write_exports(simulation, folder, options.gzip, &mut tallies)?;
    let sets = simulation.weekly(with_truth);
    let mut sets = sets.map(|sets| SetsFolder::new(sets, &folder.join("weekly"), options.gzip)).transpose()?;
    let mut arrivals = simulation.arrivals_with(with_truth);
    write_streams(&mut arrivals, &mut sets, folder, options)?;
    arrivals.settle(&mut tallies);
    if let Some(mut sets) = sets {
        sets.write_until(None)?;
        sets.sets.settle(&mut tallies);
    }
    if !with_truth {
        tallies.forget_answers();
    }
    let truth = tallies.into_truth(simulation.config());
    if let Some(folder) = &options.truth {
        truth.write(folder)?;
    }
    Ok(truth)
}

/// Writes what of a simulation is no stream: dimension files, exports of the till, landing sets, as [`write_folder`] does.
/// Who takes the streams as messages needs these beside them.
///
/// # Errors
/// [`SimError::Io`] with the path that could not be written.
pub fn write_files(simulation: &Simulation, folder: &Path) -> Result<(), SimError> {
    make_folder(folder)?;
    let mut tallies = Tallies::default();
    write_tables(simulation, folder, false, &mut tallies)?;
    write_exports(simulation, folder, false, &mut tallies)?;
    if let Some(sets) = simulation.weekly(false) {
        SetsFolder::new(sets, &folder.join("weekly"), false)?.write_until(None)?;
    }
    Ok(())
}

fn write_tables(simulation: &Simulation, folder: &Path, gzip: bool, tallies: &mut Tallies) -> Result<(), SimError> {
    for table in simulation.dimensions() {
        tallies.add_dimension(&table.name, table.rows());
        write_file(&folder.join(format!("{}.csv", table.name)), gzip, table.as_csv())?;
    }
    Ok(())
}

fn write_exports(simulation: &Simulation, folder: &Path, gzip: bool, tallies: &mut Tallies) -> Result<(), SimError> {
    let Some(wanted) = &simulation.config().exports else { return Ok(()) };
    let (files, counts) = exports(simulation.config(), wanted, tallies.till.get_or_insert_default());
    tallies.add_counts(Stream::PosSales.name(), counts);
    let folder = folder.join(Stream::PosSales.name());
    make_folder(&folder)?;
    for file in files {
        write_file(&folder.join(file.name), gzip, &file.text)?;
    }
    Ok(())
}

/// The files of all streams side by side, one a day of arrival, with the sets of each day that is over.
fn write_streams(
    arrivals: &mut Arrivals,
    sets: &mut Option<SetsFolder>,
    folder: &Path,
    options: &FolderOptions,
) -> Result<(), SimError> {
    let mut files: Vec<(Stream, DayFiles)> = Vec::new();
    for stream in arrivals.streams() {
        files.push((stream, DayFiles::new(folder, stream, options.gzip)?));
    }
    let mut pace = Pace::new(options.rate);
    let mut today: Option<NaiveDate> = None;
    while let Some(arrival) = arrivals.next() {
        let day = day_of(arrival.arrived_at_ms * 1000);
        if today != Some(day) {
            today = Some(day);
            if let Some(sets) = sets {
                sets.write_until(Some(day))?;
            }
        }
        pace.wait();
        if let Some((_, files)) = files.iter_mut().find(|(stream, _)| *stream == arrival.stream) {
            files.write(day, arrival.payload)?;
        }
    }
    files.into_iter().try_for_each(|(_, files)| files.finish())
}

/// The files of one stream.
struct DayFiles {
    prefix: PathBuf,
    gzip: bool,
    open: Option<(NaiveDate, Output)>,
}

impl DayFiles {
    fn new(folder: &Path, stream: Stream, gzip: bool) -> Result<DayFiles, SimError> {
        let folder = folder.join(stream.name());
        make_folder(&folder)?;
        Ok(DayFiles { prefix: folder.join(stream.name()), gzip, open: None })
    }

    fn write(&mut self, day: NaiveDate, message: &[u8]) -> Result<(), SimError> {
        if self.open.as_ref().is_none_or(|(of, _)| *of != day) {
            self.close()?;
            let path = format!("{}_{day}.ndjson", self.prefix.display());
            self.open = Some((day, Output::create(Path::new(&path), self.gzip)?));
        }
        let Some((_, out)) = &mut self.open else { return Ok(()) };
        out.write(message)?;
        out.write(b"\n")
    }

    fn close(&mut self) -> Result<(), SimError> {
        self.open.take().map_or(Ok(()), |(_, out)| out.finish())
    }

    fn finish(mut self) -> Result<(), SimError> {
        self.close()
    }
}

/// The daily landing sets as files of one folder.
struct SetsFolder {
    sets: WeeklySets,
    files: LandingFolder,
}

struct LandingFolder {
    folder: PathBuf,
    gzip: bool,
    open: Option<Output>,
}

impl SetsFolder {
    fn new(sets: WeeklySets, folder: &Path, gzip: bool) -> Result<SetsFolder, SimError> {
        make_folder(folder)?;
        Ok(SetsFolder { sets, files: LandingFolder { folder: folder.to_owned(), gzip, open: None } })
    }

    /// Writes the sets of all days before one, or of all days.
    fn write_until(&mut self, day: Option<NaiveDate>) -> Result<(), SimError> {
        while self.sets.next_day().is_some_and(|next| day.is_none_or(|day| next < day)) {
            self.sets.write_next(&mut self.files)?;
        }
        Ok(())
    }
}

impl Landing for LandingFolder {
    fn begin(&mut self, name: &str) -> Result<(), SimError> {
        self.open = Some(Output::create(&self.folder.join(name), self.gzip)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SimError> {
        self.open.as_mut().map_or(Ok(()), |out| out.write(bytes))
    }

    fn end(&mut self) -> Result<(), SimError> {
        self.open.take().map_or(Ok(()), Output::finish)
    }
}

/// Holds messages back to a rate.
pub(crate) struct Pace {
    rate: Option<u32>,
    start: Instant,
    passed: u64,
}

impl Pace {
    pub fn new(rate: Option<u32>) -> Pace {
        Pace { rate: rate.filter(|rate| *rate > 0), start: Instant::now(), passed: 0 }
    }

    /// Waits until the next message is due. Sleeps of less than some milliseconds are left out and made up for later.
    pub fn wait(&mut self) {
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(self.passed as f64 / f64::from(rate));
        self.passed += 1;
        let early = due.saturating_sub(self.start.elapsed());
        if early > Duration::from_millis(5) {
            std::thread::sleep(early);
        }
    }
}
