//! `pos_sales`: lines of one shop's till (SYSTEMS.md, system 4), and the products that it sells.

use std::collections::BTreeMap;

use chrono::Datelike;

use crate::answer::{AnswerTable, Row};
use crate::bad::BadKind;
use crate::clock::{SECOND, StampWriter, day_of};
use crate::config::SimConfig;
use crate::fields::TimeForm;
use crate::generator::{StreamModel, Style};
use crate::json::{JsonObject, write_decimal, write_int};
use crate::rng::Rng;
use crate::stream::Stream;
use crate::truth::Tallies;

/// What the shop sells, with prices in cents. Names with a comma and a quote are there on purpose.
pub(crate) const PRODUCTS: [(&str, i64); 21] = [
    ("AAA Batteries (4-pack)", 299),
    ("AA Batteries (4-pack)", 384),
    ("USB-C Charging Cable", 1195),
    ("Lightning Charging Cable", 1495),
    ("Wired Headphones", 1199),
    ("Apple Airpods Headphones", 15000),
    ("Bose SoundSport Headphones", 9999),
    ("27in FHD Monitor", 14999),
    ("iPhone", 70000),
    ("27in 4K Gaming Monitor", 38999),
    ("34in Ultrawide Monitor", 37999),
    ("Google Phone", 60000),
    ("Flatscreen TV", 30000),
    ("Macbook Pro Laptop", 170_000),
    ("ThinkPad Laptop", 99_999),
    ("20in Monitor", 10999),
    ("Cable, HDMI 2 m", 850),
    ("22\" Picture Frame", 2410),
    ("Vareebadd Phone", 40000),
    ("LG Washing Machine", 60000),
    ("LG Dryer", 60000),
];

/// Opening stock of each product: enough for about twice the configured sales.
pub(crate) fn opening_stock(config: &SimConfig) -> impl Iterator<Item = (&'static str, i64)> {
    let lines = config.rows.pos_sales + config.exports.as_ref().map_or(0, |exports| exports.rows);
    let base = (lines as i64 * 3 / PRODUCTS.len() as i64 / 1000 + 1) * 1000;
    PRODUCTS.iter().enumerate().map(move |(index, (name, _))| (*name, base + 100 * index as i64))
}

/// `pos_stock`: product, stock_quantity.
pub(crate) fn stock_table(config: &SimConfig) -> AnswerTable {
    let mut table = AnswerTable::new("pos_stock", &["product", "stock_quantity"]);
    for (product, quantity) in opening_stock(config) {
        table.row(|row| {
            row.text(product);
            row.int(quantity);
        });
    }
    table
}

/// One line of a sale. Its key is all that is written of it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub sale: i64,
    pub product: usize,
    pub quantity: i32,
    pub cents: i64,
    pub at_us: i64,
    /// The amount as the till sends it; where absent it is quantity x price.
    pub sales_cents: Option<i64>,
}

impl Line {
    fn amount(&self) -> i64 {
        self.sales_cents.unwrap_or(self.cents * i64::from(self.quantity))
    }
}

/// Draws the products and quantities of sales, so that no two lines of one sale are equal.
#[derive(Debug)]
pub(crate) struct Baskets {
    sale: i64,
    at_us: i64,
    lines: Vec<(usize, i32)>,
    more: u32,
}

impl Baskets {
    /// Sales numbered from `first` + 1 on.
    pub fn new(first: i64) -> Baskets {
        Baskets { sale: first, at_us: 0, lines: Vec::new(), more: 0 }
    }

    /// The next line: of the sale under way, at its time, or of a new one at `at_us`.
    pub fn line(&mut self, at_us: i64, rng: &mut Rng) -> Line {
        if self.more == 0 {
            self.sale += 1;
            self.at_us = at_us - at_us.rem_euclid(SECOND);
            self.lines.clear();
            self.more = 1 + rng.skewed(4);
        }
        self.more -= 1;
        // One line in 16 repeats the last product with another quantity: a true line, told apart by quantity alone.
        let repeat = rng.below(16) == 0;
        let mut drawn = match self.lines.last() {
            Some((product, quantity)) if repeat => (*product, quantity + 1),
            _ => (rng.skewed(PRODUCTS.len() as u32) as usize, 1 + rng.skewed(5) as i32),
        };
        while self.lines.contains(&drawn) {
            drawn.1 += 1;
        }
        self.lines.push(drawn);
        let (product, quantity) = drawn;
        Line { sale: self.sale, product, quantity, cents: PRODUCTS[product].1, at_us: self.at_us, sales_cents: None }
    }
}

/// The till's messages.
#[derive(Debug)]
pub(crate) struct PosSales {
    baskets: Baskets,
    stamps: StampWriter,
}

impl PosSales {
    pub fn new() -> PosSales {
        // Far above the ids of the exports, so that a line of one is never a line of the other.
        PosSales { baskets: Baskets::new(100_000_000), stamps: StampWriter::new() }
    }
}

/// Lines, units and cents by (year, month, product).
#[derive(Debug, Default)]
pub(crate) struct PosTally(BTreeMap<(i32, u32, usize), Group>);

#[derive(Debug, Default, Clone, Copy)]
struct Group {
    lines: u64,
    units: i64,
    cents: i128,
}

impl Group {
    fn add(&mut self, other: Group) {
        self.lines += other.lines;
        self.units += other.units;
        self.cents += other.cents;
    }

    fn write(&self, row: &mut Row<'_>) {
        row.int(self.units);
        row.decimal(self.cents, 2);
    }
}

impl PosTally {
    /// Adds a distinct line.
    pub fn add(&mut self, line: &Line) {
        let day = day_of(line.at_us);
        let one = Group { lines: 1, units: i64::from(line.quantity), cents: i128::from(line.amount()) };
        self.0.entry((day.year(), day.month(), line.product)).or_default().add(one);
    }

    /// Adds the lines of another tally, all of them other lines.
    pub fn merge(&mut self, other: PosTally) {
        for (key, group) in other.0 {
            self.0.entry(key).or_default().add(group);
        }
    }

    /// `pos_totals`, `pos_monthly`, `pos_product`, `pos_product_month`.
    pub fn answers(&self, stock: impl Iterator<Item = (&'static str, i64)>) -> Vec<AnswerTable> {
        let mut total = Group::default();
        let mut months: BTreeMap<(i32, u32), Group> = BTreeMap::new();
        let mut products = [Group::default(); PRODUCTS.len()];
        let mut by_product_month = AnswerTable::new("pos_product_month", &["y", "m", "product", "units", "sales"]);
        for ((y, m, product), group) in &self.0 {
            total.add(*group);
            months.entry((*y, *m)).or_default().add(*group);
            products[*product].add(*group);
            by_product_month.row(|row| {
                row.int(*y);
                row.int(*m);
                row.text(PRODUCTS[*product].0);
                group.write(row);
            });
        }
        let mut totals = AnswerTable::new("pos_totals", &["sale_lines", "units", "sales"]);
        totals.row(|row| {
            row.int(total.lines);
            total.write(row);
        });
        let mut monthly = AnswerTable::new("pos_monthly", &["y", "m", "units", "sales"]);
        for ((y, m), group) in months {
            monthly.row(|row| {
                row.int(y);
                row.int(m);
                group.write(row);
            });
        }
        let mut by_product = AnswerTable::new("pos_product", &["product", "units", "sales", "stock_left"]);
        for ((name, opening), group) in stock.zip(products) {
            by_product.row(|row| {
                row.text(name);
                group.write(row);
                row.int(opening - group.units);
            });
        }
        vec![totals, monthly, by_product, by_product_month]
    }
}

impl StreamModel for PosSales {
    type Fact = Line;
    type Tally = PosTally;
    const STREAM: Stream = Stream::PosSales;
    const EXACT_COPIES: bool = true;
    const UNKNOWN_KINDS: &'static [BadKind] = &[BadKind::BrokenRule];

    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Line {
        let mut line = self.baskets.line(at_us, rng);
        let amount = line.cents * i64::from(line.quantity);
        line.sales_cents = match rng.below(200) {
            0 => Some(amount - amount / 10),
            1..150 => Some(amount),
            _ => None,
        };
        line
    }

    fn key(&self, line: &Line, out: &mut Vec<u8>) {
        write_int(line.sale, out);
    }

    fn write(&mut self, line: &Line, style: Style, out: &mut Vec<u8>) {
        let bad = style.bad;
        let mut object = JsonObject::open(out, style.spaced);
        object.int("Sale_ID", line.sale);
        if bad == Some(BadKind::AliasTwice) {
            object.int("Order ID", line.sale);
        }
        if bad != Some(BadKind::MissingField) {
            object.string("Product", PRODUCTS[line.product].0);
        }
        object.quantity("Quantity_Sold", line.quantity, bad);
        if style.variant && bad.is_none() {
            object.out.extend_from_slice(b".0");
        }
        object.price("Each_Price", line.cents, 2, style.variant, bad);
        object.time("Sale_Date", line.at_us, TimeForm::Plain, bad, &mut self.stamps);
        if let Some(cents) = line.sales_cents {
            write_decimal(i128::from(cents), 2, true, object.name("Sales"));
        }
        if bad == Some(BadKind::RepeatedName) {
            object.int("Sale_ID", line.sale);
        }
        if style.unknown {
            object.raw("till", r#"{"no":3,"clerk":"Ana \"A\" Núñez"}"#);
        }
        object.close();
    }

    fn count(tally: &mut PosTally, line: &Line) {
        tally.add(line);
    }

    fn settle(tally: PosTally, tallies: &mut Tallies) {
        tallies.till.get_or_insert_default().merge(tally);
    }
}
