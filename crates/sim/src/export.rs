//! Monthly CSV exports of the till, as untidy as real ones: blank rows, repeated headers, rows of a wrong width, values
//! that fit no type, exact copies next to the first and in the next month's file.

use chrono::{Datelike, Months, NaiveDate};

use crate::answer::push_csv_field;
use crate::clock::{MINUTE, Slots, day_of, digits};
use crate::config::SimConfig;
use crate::event::Counts;
use crate::json::{write_decimal, write_int};
use crate::rng::{Rng, Share};
use crate::shares::{Exports, RateShape};
use crate::streams::pos_sales::{Baskets, Line, PRODUCTS, PosTally};

const HEADER: &str = "Order ID,Product,Quantity Ordered,Price Each,Order Date,Purchase Address\n";
const STREETS: [&str; 6] = ["1st St", "Spruce St", "Chestnut St", "14th St", "Lakeview St", "Maple St"];
const TOWNS: [&str; 5] =
    ["Dallas, TX 75001", "Boston, MA 02215", "Los Angeles, CA 90001", "Portland, OR 97035", "Atlanta, GA 30301"];

/// One month's file.
pub(crate) struct ExportFile {
    /// Its name; names sort by month.
    pub name: String,
    /// Its text, with a header and an end of line after each row.
    pub text: Vec<u8>,
}

/// All files, with the truth of what they hold added to `tally`.
pub(crate) fn exports(config: &SimConfig, wanted: &Exports, tally: &mut PosTally) -> (Vec<ExportFile>, Counts) {
    let mut writer = Writer {
        rng: Rng::new(config.seed, "pos_exports"),
        bad: Share::new(config.shares.bad),
        duplicate: Share::new(config.shares.duplicate),
        baskets: Baskets::new(150_000),
        carried: Vec::new(),
        counts: Counts::default(),
    };
    let files = (0..wanted.months).map(|index| {
        let months = u64::from(wanted.months);
        let rows = wanted.rows * (u64::from(index) + 1) / months - wanted.rows * u64::from(index) / months;
        let first = wanted.first_month.with_day(1).expect("every month has a first day") + Months::new(index);
        ExportFile {
            name: format!("Sales_{}.csv", first.format("%Y-%m")),
            text: writer.month(config, first, rows, tally),
        }
    });
    (files.collect(), writer.counts)
}

struct Writer {
    rng: Rng,
    bad: Share,
    duplicate: Share,
    baskets: Baskets,
    /// Rows of the last month that its successor repeats.
    carried: Vec<Vec<u8>>,
    counts: Counts,
}

impl Writer {
    fn month(&mut self, config: &SimConfig, first: NaiveDate, rows: u64, tally: &mut PosTally) -> Vec<u8> {
        let days = (first + Months::new(1)).signed_duration_since(first).num_days() as u32;
        let mut slots = Slots::new(first, days, rows, &even_weeks(&config.shape));
        let mut text = HEADER.as_bytes().to_vec();
        for row in std::mem::take(&mut self.carried) {
            self.repeat(&row, &mut text);
        }
        let mut address = (0, String::new());
        while let Some(at_us) = slots.next(&mut self.rng) {
            let mut line = self.baskets.line(at_us, &mut self.rng);
            line.at_us -= line.at_us.rem_euclid(MINUTE);
            if address.0 != line.sale {
                address = (line.sale, self.address());
            }
            let row = csv_row(&line, &address.1);
            text.extend_from_slice(&row);
            self.counts.events += 1;
            self.counts.facts += 1;
            tally.add(&line);
            if self.rng.chance(self.duplicate) {
                if self.rng.below(4) == 0 { self.carried.push(row.clone()) } else { self.repeat(&row, &mut text) }
            }
            if self.rng.chance(self.bad) {
                self.spoil(&row, &mut text);
            }
        }
        text
    }

    fn repeat(&mut self, row: &[u8], text: &mut Vec<u8>) {
        text.extend_from_slice(row);
        self.counts.events += 1;
        self.counts.duplicates += 1;
    }

    /// Adds a row that must be quarantined.
    fn spoil(&mut self, row: &[u8], text: &mut Vec<u8>) {
        self.counts.events += 1;
        self.counts.quarantined += 1;
        match self.rng.below(8) {
            0 | 1 => text.extend_from_slice(b",,,,,\n"),
            2 | 3 => text.extend_from_slice(HEADER.as_bytes()),
            4 => text.push(b'\n'),
            5 => text.extend_from_slice(b"999999999,iPhone,1,700,02/30/24 10:00,nowhere\n"),
            6 => text.extend_from_slice(b"999999998,iPhone,one,700,02/03/24 10:00,nowhere\n"),
            _ => {
                text.extend_from_slice(row.trim_ascii_end());
                text.extend_from_slice(b",a column too many\n");
            }
        }
    }

    fn address(&mut self) -> String {
        let number = self.rng.between(1, 999);
        format!("{number} {}, {}", self.rng.pick(&STREETS), self.rng.pick(&TOWNS))
    }
}

/// The shape over the day only: a month's file begins on any weekday.
fn even_weeks(shape: &RateShape) -> RateShape {
    RateShape { hours: shape.hours, weekdays: [1; 7], peak: None }
}

fn csv_row(line: &Line, address: &str) -> Vec<u8> {
    let (name, _) = PRODUCTS[line.product];
    let mut row = Vec::with_capacity(128);
    write_int(line.sale, &mut row);
    row.push(b',');
    push_csv_field(name, &mut row);
    row.push(b',');
    write_int(i64::from(line.quantity), &mut row);
    row.push(b',');
    write_price(line.cents, &mut row);
    row.push(b',');
    let day = day_of(line.at_us);
    let minute = (line.at_us / MINUTE).rem_euclid(24 * 60) as u32;
    for (part, end) in [
        (day.month(), b'/'),
        (day.day(), b'/'),
        (day.year() as u32 % 100, b' '),
        (minute / 60, b':'),
        (minute % 60, b','),
    ] {
        row.extend_from_slice(&digits(part));
        row.push(end);
    }
    push_csv_field(address, &mut row);
    row.push(b'\n');
    row
}

/// A price without cents where it has none.
fn write_price(cents: i64, out: &mut Vec<u8>) {
    if cents % 100 == 0 { write_int(cents / 100, out) } else { write_decimal(i128::from(cents), 2, true, out) }
}
