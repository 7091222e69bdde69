//! `sales_events`: orders of a web shop (SYSTEMS.md, system 5), versioned by their event time.

use crate::bad::BadKind;
use crate::clock::{DAY, HOUR, MINUTE, SECOND, StampWriter};
use crate::config::SimConfig;
use crate::fields::TimeForm;
use crate::generator::{StreamModel, Style};
use crate::json::{JsonObject, write_int};
use crate::rng::{Rng, fnv1a};
use crate::shop::{CATEGORIES, COUNTRIES, Shop, title};
use crate::stream::Stream;
use crate::tally::orders::OrderTally;
use crate::truth::Tallies;

/// One millisecond, the finest that event times are written with.
const MILLI: i64 = 1_000;

/// One version of an order. What is `None` is null or absent on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// What the id is made of; ids have no zeros in front, so that their order by bytes is not that of the numbers.
    pub number: u32,
    pub customer: u32,
    pub product: u32,
    /// How often the product had been renamed.
    pub title: Option<u8>,
    pub category: Option<u8>,
    pub country: Option<u8>,
    pub cents: i64,
    pub quantity: i32,
    /// The order's timestamp, in whole seconds.
    pub at_us: i64,
    /// The event time, in whole milliseconds.
    pub event_us: Option<i64>,
}

/// Makes orders whose ids never repeat under one seed.
#[derive(Debug)]
pub(crate) struct SalesEvents {
    made: u32,
    salt: u32,
    shop: Shop,
    last: Option<Order>,
    stamps: StampWriter,
}

impl SalesEvents {
    pub fn new(config: &SimConfig) -> SalesEvents {
        let salt = fnv1a(&config.seed.to_le_bytes()) as u32;
        SalesEvents { made: 0, salt, shop: Shop::new(config), last: None, stamps: StampWriter::new() }
    }

    /// A bijection of 32-bit numbers: its factor is odd.
    fn next_number(&mut self) -> u32 {
        self.made = self.made.wrapping_add(1);
        self.made.wrapping_mul(2_654_435_761).wrapping_add(self.salt)
    }

    fn order(&mut self, at_us: i64, rng: &mut Rng) -> Order {
        let number = self.next_number();
        let customer = rng.skewed(self.shop.customers());
        let product = self.shop.offered(rng.skewed(self.shop.products()), at_us);
        let dirt = rng.below(600);
        Order {
            number,
            customer,
            product,
            title: (dirt != 0).then(|| self.shop.title(product, at_us)),
            category: (dirt != 1).then(|| self.shop.category(product, at_us)),
            country: (dirt > 3).then(|| self.shop.country(customer, at_us)),
            cents: 450 + i64::from(product) * 173 % 48_000 + i64::from(rng.below(9)) * 25,
            quantity: 1 + rng.skewed(5) as i32,
            at_us,
            event_us: event_time(at_us, rng),
        }
    }

    /// Another order of the same customer or of the same product, or both, at the same instant, which says otherwise.
    fn twin(&mut self, of: Order, rng: &mut Rng) -> Order {
        let other = |code: Option<u8>, rng: &mut Rng| Some((code.unwrap_or(0) + 1 + rng.below(7) as u8) % 8);
        let mut twin = Order { number: self.next_number(), event_us: event_time(of.at_us, rng), ..of };
        twin.country = other(of.country, rng);
        twin.category = other(of.category, rng);
        match rng.below(3) {
            0 => twin.customer = rng.skewed(self.shop.customers()),
            1 => twin.product = self.shop.offered(rng.skewed(self.shop.products()), of.at_us),
            _ => {}
        }
        twin
    }
}

/// The event time of a new order: mostly its own time, or a moment later, or far earlier, or none.
fn event_time(at_us: i64, rng: &mut Rng) -> Option<i64> {
    match rng.below(32) {
        0 | 1 => None,
        2 => Some(at_us - 2 * HOUR),
        3..12 => Some(at_us + i64::from(rng.below(2_000)) * MILLI),
        _ => Some(at_us),
    }
}

impl StreamModel for SalesEvents {
    type Fact = Order;
    type Tally = OrderTally;
    const STREAM: Stream = Stream::SalesEvents;
    const EXACT_COPIES: bool = false;
    const UNKNOWN_KINDS: &'static [BadKind] = &[BadKind::AliasTwice];

    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Order {
        let at_us = at_us - at_us.rem_euclid(SECOND);
        if let Some(last) = self.last.take().filter(|_| rng.below(150) == 0) {
            return self.twin(last, rng);
        }
        let order = self.order(at_us, rng);
        self.last = Some(order);
        order
    }

    /// Most corrections are newer by their event time; some are older, and then change nothing; some have the same one, so
    /// that arrival decides; some have none, so that their order's timestamp stands for it.
    fn correct(&mut self, order: &Order, rng: &mut Rng) -> Option<Order> {
        let mut other = Order { quantity: order.quantity + 1 + rng.skewed(3) as i32, ..*order };
        match rng.below(8) {
            // Never a day ahead of its arrival: that would be an event from the future.
            0..3 => other.at_us += rng.between(-3 * DAY / SECOND, 20 * HOUR / SECOND) * SECOND,
            3 => other.country = Some(rng.below(COUNTRIES.len() as u32) as u8),
            4 => other.customer = rng.skewed(self.shop.customers()),
            5 => other.product = self.shop.offered(rng.skewed(self.shop.products()), order.at_us),
            6 => other.category = None,
            _ => other.cents += 100,
        }
        let before = Self::version(order);
        other.event_us = match rng.below(12) {
            0 => None,
            1 => Some(before - rng.between(1, 24 * 60) * MINUTE),
            2 => Some(before),
            _ => Some(before + rng.between(1, 12 * HOUR / MILLI) * MILLI),
        };
        Some(other)
    }

    fn version(order: &Order) -> i64 {
        order.event_us.unwrap_or(order.at_us)
    }

    fn key(&self, order: &Order, out: &mut Vec<u8>) {
        push_order_id(order.number, out);
    }

    fn write(&mut self, order: &Order, style: Style, out: &mut Vec<u8>) {
        let bad = style.bad;
        let mut object = JsonObject::open(out, style.spaced);
        object.quoted("order_id", |id| push_order_id(order.number, id));
        if bad != Some(BadKind::MissingField) {
            object.quoted("customer_id", |id| push_customer_id(order.customer, id));
        }
        object.quoted("product_id", |id| push_product_id(order.product, id));
        write_optional(&mut object, "product_name", style, order.title, |object, renamed| match renamed {
            0 => object.quoted("product_name", |text| {
                text.extend_from_slice(b"Item ");
                write_int(i64::from(order.product), text);
            }),
            _ => object.string("product_name", &title(order.product, renamed)),
        });
        write_optional(&mut object, "category", style, order.category, |object, category| {
            object.string("category", CATEGORIES[category as usize]);
        });
        object.price("price", order.cents, 2, style.variant, bad);
        object.quantity("quantity", order.quantity, bad);
        if style.variant && bad.is_none() {
            object.out.extend_from_slice(b".0");
        }
        let form = if style.variant { TimeForm::Utc } else { TimeForm::Plain };
        object.time("order_timestamp", order.at_us, form, bad, &mut self.stamps);
        write_optional(&mut object, "country", style, order.country, |object, country| {
            object.string("country", COUNTRIES[country as usize]);
        });
        self.write_source(order, style, &mut object);
        if bad == Some(BadKind::RepeatedName) {
            object.quoted("order_id", |id| push_order_id(order.number, id));
        }
        object.close();
    }

    fn count(tally: &mut OrderTally, order: &Order) {
        tally.add(order);
    }

    fn settle(tally: OrderTally, tallies: &mut Tallies) {
        tallies.orders = Some(tally);
    }
}

impl SalesEvents {
    /// The event's own fields: when and where it was recorded.
    fn write_source(&mut self, order: &Order, style: Style, object: &mut JsonObject<'_>) {
        let form = if order.number.is_multiple_of(8) { TimeForm::Kolkata } else { TimeForm::Utc };
        match order.event_us {
            Some(event_us) => object.instant("event_time", event_us, form, &mut self.stamps),
            None if style.variant => object.raw("event_time", "null"),
            None => {}
        }
        object.string("event_source", ["web", "app", "store"][order.number as usize % 3]);
        if style.unknown {
            object.raw("coupon", r#"{"code":"TEN%","off":0.10}"#);
        }
    }
}

/// A field that may be null: then it is null in one of two styles, and absent in the other.
fn write_optional<'a>(
    object: &mut JsonObject<'a>,
    name: &str,
    style: Style,
    value: Option<u8>,
    write: impl FnOnce(&mut JsonObject<'a>, u8),
) {
    match value {
        Some(value) => write(object, value),
        None if style.variant => object.raw(name, "null"),
        None => {}
    }
}

/// Appends an order's id.
pub(crate) fn push_order_id(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ORD-");
    write_int(i64::from(number), out);
}

/// Appends a customer's id.
pub(crate) fn push_customer_id(customer: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CUST-");
    write_int(10_000 + i64::from(customer), out);
}

/// Appends a product's id.
pub(crate) fn push_product_id(product: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"PROD-");
    write_int(i64::from(product), out);
}
