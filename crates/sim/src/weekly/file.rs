//! The life of a row in a landing file: it is reported on its day or some days later, again, corrected in a later file,
//! sometimes badly, sometimes back to what it was.
//!
//! The story of a row is drawn when its day is made, from numbers of that day alone. So a full extract tells the stories of
//! all days before again, as far as they had come by then, and nothing is kept but what waits for a later file.

use std::collections::BTreeMap;

use crate::clock::StampWriter;
use crate::config::SimConfig;
use crate::error::SimError;
use crate::event::Counts;
use crate::rng::{Rng, Share};
use crate::weekly::Landing;
use crate::weekly::spoil::{CsvBad, spoil};
use crate::weekly::tally::WeeklyTally;

/// A row is reported at most so many days after its day, and corrected so many after that.
const MOST_DAYS_LATE: u32 = 3;
/// Text is handed on in pieces of about this many bytes.
const PIECE: usize = 1 << 16;

/// What takes the rows of a day.
pub(crate) type EachRow<'a, R> = &'a mut dyn FnMut(R, &mut Rng) -> Result<(), SimError>;

/// What one kind of file adds.
pub(crate) trait SetModel {
    /// A row.
    type Row: Copy;
    /// First part of the file's name.
    const NAME: &'static str;
    /// The header, with the end of its line.
    const HEADER: &'static str;
    /// Columns that hold an int whose value can be spoiled.
    const INTS: &'static [usize];
    /// A column of money.
    const MONEY: Option<usize>;
    /// A column with a date.
    const DATE: usize;

    /// The rows that a day has, always the same for the same numbers, with those for the row's story. Ends with the first
    /// error of `each`.
    fn rows(&self, day: u32, rng: &mut Rng, each: EachRow<'_, Self::Row>) -> Result<(), SimError>;
    /// Another version of a row under the same key.
    fn correct(&self, row: &Self::Row, rng: &mut Rng) -> Self::Row;
    /// Appends a row and the end of its line.
    fn write(&self, row: &Self::Row, dates: &mut StampWriter, out: &mut Vec<u8>);
    /// Adds the final version of a row to the truth.
    fn count(tally: &mut WeeklyTally, row: &Self::Row);
}

/// What becomes of a row.
struct Story<R> {
    row: R,
    /// The day whose file reports it first.
    reported: u32,
    /// A file that has it again.
    again: Option<u32>,
    /// A bad copy in the file of the first report; if the row itself is lost, the only one there is.
    bad: Option<CsvBad>,
    is_lost: bool,
    correction: Option<Correction<R>>,
}

struct Correction<R> {
    row: R,
    day: u32,
    bad: Option<CsvBad>,
    /// The file that takes it back.
    back: Option<u32>,
}

impl<R: Copy> Story<R> {
    /// The version that holds after the files of a day; `None` before the first good report.
    fn as_of(&self, day: u32) -> Option<R> {
        if self.is_lost || day < self.reported {
            return None;
        }
        let good = self.correction.as_ref().filter(|correction| correction.bad.is_none() && correction.day <= day);
        let stands = good.filter(|correction| correction.back.is_none_or(|back| day < back));
        Some(stands.map_or(self.row, |correction| correction.row))
    }
}

struct Fates {
    bad: Share,
    is_clean: bool,
    late: Share,
    duplicate: Share,
    corrected: Share,
    last_day: u32,
}

impl Fates {
    /// A day some days after another, within the simulation.
    fn later(&self, day: u32, rng: &mut Rng) -> u32 {
        (day + rng.below(MOST_DAYS_LATE + 1)).min(self.last_day)
    }

    fn draw_bad(&self, rng: &mut Rng) -> Option<CsvBad> {
        (!self.is_clean && rng.chance(self.bad)).then(|| *rng.pick(&CsvBad::ALL))
    }

    fn story<M: SetModel>(&self, model: &M, row: M::Row, day: u32, rng: &mut Rng) -> Story<M::Row> {
        let is_late = rng.chance(self.late);
        let reported = if is_late { (day + 1 + rng.below(MOST_DAYS_LATE)).min(self.last_day) } else { day };
        let bad = self.draw_bad(rng);
        let is_lost = bad.is_some() && rng.below(2) == 0;
        let again = rng.chance(self.duplicate).then(|| self.later(reported, rng));
        let is_corrected = rng.chance(self.corrected);
        let correction = is_corrected.then(|| self.correction(model, &row, again.unwrap_or(reported), rng));
        Story { row, reported, again, bad, is_lost, correction }
    }

    fn correction<M: SetModel>(&self, model: &M, row: &M::Row, from: u32, rng: &mut Rng) -> Correction<M::Row> {
        let day = self.later(from, rng);
        let bad = (!self.is_clean && rng.below(4) == 0).then(|| *rng.pick(&CsvBad::ALL));
        let back = (rng.below(6) == 0 && bad.is_none()).then(|| self.later(day, rng));
        Correction { row: model.correct(row, rng), day, bad, back }
    }
}

/// One kind of file, day after day.
pub(crate) struct SetFile<M: SetModel> {
    model: M,
    seed: u64,
    fates: Fates,
    desk: Desk,
}

/// What is being written.
struct Desk {
    /// Text that waits for the file of a later day.
    carried: BTreeMap<u32, Vec<u8>>,
    counts: Counts,
    dates: StampWriter,
    out: Vec<u8>,
}

impl<M: SetModel> SetFile<M> {
    pub fn new(config: &SimConfig, model: M) -> SetFile<M> {
        let shares = &config.shares;
        let fates = Fates {
            bad: Share::new(shares.bad),
            is_clean: shares.bad == 0.0,
            late: Share::new(shares.late),
            duplicate: Share::new(shares.duplicate),
            corrected: Share::new(shares.corrected),
            last_day: config.days - 1,
        };
        let (carried, counts) = (BTreeMap::new(), Counts::default());
        let desk = Desk { carried, counts, dates: StampWriter::new(), out: Vec::new() };
        SetFile { model, seed: config.seed, fates, desk }
    }

    /// What was written so far.
    pub fn counts(&self) -> Counts {
        self.desk.counts
    }

    /// Writes the file of a day, as a full extract if asked for; counts the truth of the day's rows.
    pub fn write_day(
        &mut self,
        day: u32,
        is_full: bool,
        landing: &mut dyn Landing,
        mut tally: Option<&mut WeeklyTally>,
    ) -> Result<(), SimError> {
        let (model, fates, desk) = (&self.model, &self.fates, &mut self.desk);
        desk.out.extend_from_slice(M::HEADER.as_bytes());
        for before in 0..if is_full { day } else { 0 } {
            each_story(model, fates, self.seed, before, &mut |story| {
                desk.extract(model, &story, day);
                desk.flush_pieces(landing)
            })?;
        }
        if let Some(text) = desk.carried.remove(&day) {
            desk.out.extend_from_slice(&text);
        }
        each_story(model, fates, self.seed, day, &mut |story| {
            if let Some(last) = desk.tell(model, &story, day, fates.last_day)
                && let Some(tally) = &mut tally
            {
                M::count(tally, &last);
            }
            desk.flush_pieces(landing)
        })?;
        landing.write(&desk.out)?;
        desk.out.clear();
        Ok(())
    }
}

/// Tells the stories of a day's rows.
fn each_story<M: SetModel>(
    model: &M,
    fates: &Fates,
    seed: u64,
    day: u32,
    each: &mut dyn FnMut(Story<M::Row>) -> Result<(), SimError>,
) -> Result<(), SimError> {
    let mut rng = Rng::of_part(seed, M::NAME, u64::from(day));
    model.rows(day, &mut rng, &mut |row, rng| each(fates.story(model, row, day, rng)))
}

impl Desk {
    fn flush_pieces(&mut self, landing: &mut dyn Landing) -> Result<(), SimError> {
        if self.out.len() > PIECE {
            landing.write(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Appends a row of an earlier day as it was known by `day`.
    fn extract<M: SetModel>(&mut self, model: &M, story: &Story<M::Row>, day: u32) {
        if let Some(row) = story.as_of(day) {
            model.write(&row, &mut self.dates, &mut self.out);
            self.counts.events += 1;
        }
    }

    /// Writes what a story has for today and keeps the rest for later; returns the version that stands in the end.
    fn tell<M: SetModel>(&mut self, model: &M, story: &Story<M::Row>, today: u32, last_day: u32) -> Option<M::Row> {
        if let Some(bad) = story.bad {
            self.put(model, &story.row, Some(bad), story.reported, today);
        }
        let last = story.as_of(last_day)?;
        self.counts.facts += 1;
        self.counts.late += u64::from(story.reported > today);
        self.put(model, &story.row, None, story.reported, today);
        if let Some(again) = story.again {
            self.counts.duplicates += 1;
            self.put(model, &story.row, None, again, today);
        }
        if let Some(correction) = &story.correction {
            self.counts.corrections += u64::from(correction.bad.is_none());
            self.put(model, &correction.row, correction.bad, correction.day, today);
            if let Some(back) = correction.back {
                self.counts.duplicates += 1;
                self.put(model, &story.row, None, back, today);
            }
        }
        Some(last)
    }

    fn put<M: SetModel>(&mut self, model: &M, row: &M::Row, bad: Option<CsvBad>, day: u32, today: u32) {
        let out = if day == today { &mut self.out } else { self.carried.entry(day).or_default() };
        let from = out.len();
        model.write(row, &mut self.dates, out);
        self.counts.events += 1;
        if let Some(bad) = bad {
            self.counts.quarantined += 1;
            spoil::<M>(bad, from, out);
        }
    }
}
