//! `invoices`: orders and returns of an international shop (SYSTEMS.md, system 3).

use std::collections::BTreeMap;

use crate::answer::{AnswerTable, Row};
use crate::bad::BadKind;
use crate::clock::{DAY, MINUTE, SECOND, StampWriter, day_of, stamp};
use crate::fields::TimeForm;
use crate::generator::{StreamModel, Style};
use crate::json::{JsonObject, write_int, write_string};
use crate::rng::Rng;
use crate::stream::Stream;
use crate::truth::Tallies;

const COUNTRIES: [&str; 12] = [
    "United Kingdom",
    "Germany",
    "France",
    "EIRE",
    "Spain",
    "Netherlands",
    "Belgium",
    "Switzerland",
    "Côte d'Ivoire",
    "Korea, South",
    "Australia",
    "日本",
];
const ADJECTIVES: [&str; 8] = ["WHITE", "RED", "VINTAGE", "SMALL", "RETROSPOT", "7\" ROUND", "CAFÉ", "WOODEN"];
const NOUNS: [&str; 10] = [
    "LANTERN",
    "MUG",
    "PICTURE FRAME",
    "LUNCH BAG",
    "CAKE STAND",
    "T-LIGHT HOLDER",
    "DOORMAT",
    "CLOCK",
    "BUNTING",
    "TIN",
];

/// One item of an invoice; its title follows from the number of the article.
#[derive(Debug, Clone)]
struct Item {
    article: u32,
    /// Unit price in thousandths; below 0 in some corrections.
    mills: i64,
    quantity: i32,
}

/// One invoice, known by its number and second.
#[derive(Debug, Clone)]
pub(crate) struct Invoice {
    number: i64,
    is_return: bool,
    at_us: i64,
    country: usize,
    items: Vec<Item>,
}

impl Invoice {
    fn cost(&self) -> i128 {
        let cost: i128 = self.items.iter().map(|item| i128::from(item.mills) * i128::from(item.quantity)).sum();
        if self.is_return { -cost } else { cost }
    }

    fn units(&self) -> i64 {
        self.items.iter().map(|item| i64::from(item.quantity)).sum()
    }
}

/// Makes invoices.
#[derive(Debug)]
pub(crate) struct Invoices {
    number: i64,
    last: Option<Invoice>,
    stamps: StampWriter,
}

impl Invoices {
    pub fn new() -> Invoices {
        Invoices { number: 536_364, last: None, stamps: StampWriter::new() }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Day {
    invoices: u64,
    mills: i128,
    ordered: i64,
    returned: i64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Window {
    orders: u64,
    returns: u64,
    mills: i128,
}

impl Window {
    fn add(&mut self, invoice: &Invoice) {
        self.orders += u64::from(!invoice.is_return);
        self.returns += u64::from(invoice.is_return);
        self.mills += invoice.cost();
    }

    fn write(&self, row: &mut Row<'_>) {
        let both = i128::from(self.orders + self.returns);
        row.int(self.orders + self.returns);
        row.decimal(self.mills, 3);
        row.ratio(i128::from(self.returns), both);
        row.ratio(self.mills, both * 1000);
    }
}

/// KPIs by day, by minute, and by minute and country.
#[derive(Debug, Default)]
pub(crate) struct InvoiceTally {
    days: BTreeMap<i64, Day>,
    minutes: BTreeMap<i64, Window>,
    by_country: BTreeMap<(i64, usize), Window>,
}

impl InvoiceTally {
    /// `invoice_daily`, `invoice_kpi_minute`, `invoice_kpi_minute_country`.
    pub fn answers(&self) -> Vec<AnswerTable> {
        let columns = ["day", "invoices", "net_sales", "units_ordered", "units_returned"];
        let mut daily = AnswerTable::new("invoice_daily", &columns);
        for (at, of_day) in &self.days {
            daily.row(|row| {
                row.text(&day_of(*at).to_string());
                row.int(of_day.invoices);
                row.decimal(of_day.mills, 3);
                row.int(of_day.ordered);
                row.int(of_day.returned);
            });
        }
        let kpis = ["opm", "total_sale_volume", "rate_of_return", "average_transaction_size"];
        let mut minute = AnswerTable::new("invoice_kpi_minute", &[&["window_start"], &kpis[..]].concat());
        for (at, window) in &self.minutes {
            minute.row(|row| {
                row.text(&stamp(*at));
                window.write(row);
            });
        }
        let columns = [&["window_start", "country"], &kpis[..]].concat();
        let mut country = AnswerTable::new("invoice_kpi_minute_country", &columns);
        for ((at, place), window) in &self.by_country {
            country.row(|row| {
                row.text(&stamp(*at));
                row.text(COUNTRIES[*place]);
                window.write(row);
            });
        }
        vec![daily, minute, country]
    }
}

impl StreamModel for Invoices {
    type Fact = Invoice;
    type Tally = InvoiceTally;
    const STREAM: Stream = Stream::Invoices;
    const EXACT_COPIES: bool = false;
    const UNKNOWN_KINDS: &'static [BadKind] = &[BadKind::AliasTwice];

    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Invoice {
        let again = self.last.take().filter(|_| rng.below(100) == 0);
        let items = draw_items(rng);
        if let Some(last) = again {
            // Rung up over two minutes: the same number a minute later is another invoice message.
            return Invoice { at_us: last.at_us + MINUTE, items, ..last };
        }
        self.number += 1;
        let invoice = Invoice {
            number: self.number,
            is_return: rng.below(12) == 0,
            at_us: at_us - at_us.rem_euclid(SECOND),
            country: rng.skewed(COUNTRIES.len() as u32) as usize,
            items,
        };
        self.last = Some(invoice.clone());
        invoice
    }

    fn correct(&mut self, invoice: &Invoice, rng: &mut Rng) -> Option<Invoice> {
        let mut items = draw_items(rng);
        if rng.below(8) == 0 {
            items[0].mills = -items[0].mills;
        }
        Some(Invoice { items, country: rng.skewed(COUNTRIES.len() as u32) as usize, ..invoice.clone() })
    }

    fn key(&self, invoice: &Invoice, out: &mut Vec<u8>) {
        if invoice.is_return {
            out.push(b'C');
        }
        write_int(invoice.number, out);
    }

    fn write(&mut self, invoice: &Invoice, style: Style, out: &mut Vec<u8>) {
        let bad = style.bad;
        let mut object = JsonObject::open(out, style.spaced);
        let plain = style.variant && !invoice.is_return;
        let number = object.name("invoice_no");
        number.extend_from_slice(if plain { b"" } else { b"\"" });
        self.key(invoice, number);
        number.extend_from_slice(if plain { b"" } else { b"\"" });
        match bad {
            Some(BadKind::MissingField) => {}
            Some(BadKind::NullField) => object.raw("country", "null"),
            _ => object.string("country", COUNTRIES[invoice.country]),
        }
        object.time("timestamp", invoice.at_us, TimeForm::Plain, bad, &mut self.stamps);
        let kind = if invoice.is_return { "RETURN" } else { "ORDER" };
        object.string("type", if bad == Some(BadKind::BrokenRule) { "REFUND" } else { kind });
        object.name("items").push(b'[');
        for (index, item) in invoice.items.iter().enumerate() {
            if index > 0 {
                object.out.push(b',');
            }
            write_item(item, style, if index == 0 { bad } else { None }, object.out);
        }
        object.out.push(b']');
        if bad == Some(BadKind::RepeatedName) {
            object.string("type", kind);
        }
        if style.unknown {
            object.raw("channel", r#"{"web":true,"campaign":null}"#);
        }
        object.close();
    }

    fn count(tally: &mut InvoiceTally, invoice: &Invoice) {
        let of_day = tally.days.entry(invoice.at_us - invoice.at_us.rem_euclid(DAY)).or_default();
        of_day.invoices += 1;
        of_day.mills += invoice.cost();
        *(if invoice.is_return { &mut of_day.returned } else { &mut of_day.ordered }) += invoice.units();
        let minute = invoice.at_us - invoice.at_us.rem_euclid(MINUTE);
        tally.minutes.entry(minute).or_default().add(invoice);
        tally.by_country.entry((minute, invoice.country)).or_default().add(invoice);
    }

    fn settle(tally: InvoiceTally, tallies: &mut Tallies) {
        tallies.invoices = Some(tally);
    }
}

fn draw_items(rng: &mut Rng) -> Vec<Item> {
    let count = 1 + rng.skewed(8);
    let mut item = || {
        let article = rng.skewed(800);
        // Most prices end in a cent, some in a tenth of one.
        let mills = 250 + i64::from(article) * 10 + if rng.below(20) == 0 { 5 } else { 0 };
        Item { article, mills, quantity: 1 + rng.skewed(24) as i32 }
    };
    (0..count).map(|_| item()).collect()
}

fn write_item(item: &Item, style: Style, bad: Option<BadKind>, out: &mut Vec<u8>) {
    let mut object = JsonObject::open(out, style.spaced);
    let article = item.article as usize;
    // An article in 50 has no title and no number on the wire: only price and quantity are required.
    if !article.is_multiple_of(50) {
        object.quoted("SKU", |sku| write_int(20_000 + article as i64, sku));
        write_title(article, object.name("title"));
    }
    object.price("unit_price", item.mills, 3, style.variant, bad);
    // A null or a broken rule is in the invoice's own fields.
    let bad = bad.filter(|bad| !matches!(bad, BadKind::NullField | BadKind::BrokenRule));
    object.quantity("quantity", item.quantity, bad);
    object.close();
}

fn write_title(article: usize, out: &mut Vec<u8>) {
    let (adjective, noun) = (ADJECTIVES[article % 8], NOUNS[article / 8 % 10]);
    write_string(adjective, out);
    out.pop();
    out.push(b' ');
    out.extend_from_slice(noun.as_bytes());
    out.push(b'"');
}
