//! Monthly CSV exports of the till, as untidy as real ones: blank rows, repeated headers, rows of a wrong width, values
//! that fit no type, exact copies next to the first and in the next month's file.

use chrono::{Datelike, Months, NaiveDate};

use crate::clock::{MINUTE, Slots, day_of, digits};
use crate::config::{Exports, RateShape, SimConfig};
use crate::event::Counts;
use crate::json::decimal;
use crate::rng::{Rng, Share};
use crate::streams::pos_sales::{Baskets, Line, PRODUCTS, PosTally};
use crate::truth::push_csv_field;

const HEADER: &str = "Order ID,Product,Quantity Ordered,Price Each,Order Date,Purchase Address\n";
const STREETS: [&str; 6] = ["1st St", "Spruce St", "Chestnut St", "14th St", "Lakeview St", "Maple St"];
const TOWNS: [&str; 5] =
    ["Dallas, TX 75001", "Boston, MA 02215", "Los Angeles, CA 90001", "Portland, OR 97035", "Atlanta, GA 30301"];

/// One month's file.
pub(crate) struct ExportFile {
    /// Its name; names sort by month.
    pub name: String,
    /// Its text, with a header and an end of line after each row.
    pub text: String,
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
    carried: Vec<String>,
    counts: Counts,
}

impl Writer {
    fn month(&mut self, config: &SimConfig, first: NaiveDate, rows: u64, tally: &mut PosTally) -> String {
        let days = (first + Months::new(1)).signed_duration_since(first).num_days() as u32;
        let mut slots = Slots::new(first, days, rows, &even_weeks(&config.shape));
        let mut text = HEADER.to_owned();
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
            text.push_str(&row);
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

    fn repeat(&mut self, row: &str, text: &mut String) {
        text.push_str(row);
        self.counts.events += 1;
        self.counts.duplicates += 1;
    }

    /// Adds a row that must be quarantined.
    fn spoil(&mut self, row: &str, text: &mut String) {
        self.counts.events += 1;
        self.counts.quarantined += 1;
        match self.rng.below(8) {
            0 | 1 => text.push_str(",,,,,\n"),
            2 | 3 => text.push_str(HEADER),
            4 => text.push('\n'),
            5 => text.push_str("999999999,iPhone,1,700,02/30/24 10:00,nowhere\n"),
            6 => text.push_str("999999998,iPhone,one,700,02/03/24 10:00,nowhere\n"),
            _ => {
                text.push_str(row.trim_end_matches('\n'));
                text.push_str(",a column too many\n");
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
    RateShape { hours: shape.hours, weekdays: [1; 7] }
}

fn csv_row(line: &Line, address: &str) -> String {
    let (name, _) = PRODUCTS[line.product];
    let mut row = format!("{},", line.sale);
    push_csv_field(name, &mut row);
    let price = decimal(i128::from(line.cents), 2);
    row.push_str(&format!(",{},{},", line.quantity, price.strip_suffix(".00").unwrap_or(&price)));
    let day = day_of(line.at_us);
    let minute = (line.at_us / MINUTE).rem_euclid(24 * 60) as u32;
    for (part, end) in
        [(day.month(), '/'), (day.day(), '/'), (day.year() as u32 % 100, ' '), (minute / 60, ':'), (minute % 60, ',')]
    {
        row.extend(digits(part).map(char::from));
        row.push(end);
    }
    push_csv_field(address, &mut row);
    row.push('\n');
    row
}
