//! A chain's tills: sales as the peers' script makes them, sent to a topic at a steady rate, a share of them twice.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use chrono::{DateTime, Utc};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use servers::Kafka;

use crate::broker::{PATIENCE, TOPIC};

/// Of so many messages of a partition one is noted.
const EVERY: usize = 10;
/// The pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(2);
/// Sales of which one may be sent again: those of the last minute at 20,000 a second.
const REPEATABLE: usize = 1 << 20;

/// When messages were produced.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<Mutex<Vec<Vec<i64>>>>);

impl Sent {
    /// Of a partition, when the noted messages from the `from`th on that lie before an offset were produced, in
    /// microseconds since 1970.
    pub fn before(&self, partition: usize, offset: i64, from: usize) -> Vec<i64> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let to = usize::try_from(offset).unwrap_or_default().div_ceil(EVERY).min(noted[partition].len());
        noted[partition].get(from..to).map(<[i64]>::to_vec).unwrap_or_default()
    }

    /// Notes a message that is about to be sent; the broker gives offsets without gaps, in the order of sending.
    fn note(&self, partition: usize, offset: i64, at_us: i64) {
        if offset % EVERY as i64 == 0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)[partition].push(at_us);
        }
    }
}

/// What was sold, each sale counted once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sold {
    /// Sales.
    pub sales: u64,
    /// Pieces.
    pub units: u64,
    /// Quantity times price, in cents.
    pub cents: u64,
}

/// A sale; all of it follows from its number and its time.
#[derive(Debug, Clone, Copy)]
struct Sale {
    number: u64,
    /// Seconds since 1970.
    at: i64,
}

impl Sale {
    fn draw(self, what: u64, below: u64) -> u64 {
        mixed(mixed(self.number) ^ what) % below
    }

    fn quantity(self) -> u64 {
        1 + self.draw(1, 6)
    }

    fn cents(self) -> u64 {
        (50 + self.draw(2, 75_000)) * 100 + self.draw(3, 100)
    }

    /// Writes it as a till sends it; each seed has ids of its own.
    fn write(self, seed: u64, line: &mut Vec<u8>) -> Result<()> {
        let (high, low) = (mixed(seed ^ self.number), mixed(!seed ^ self.number));
        let at = DateTime::from_timestamp(self.at, 0).unwrap_or_default().format("%F %T");
        let (product, store, cents) = (500 + self.draw(4, 1_000), 1 + self.draw(5, 50), self.cents());
        write!(
            line,
            "{{\"transaction_id\":\"T-{high:016x}{low:016x}\",\"product_id\":\"P{product}\",\"timestamp\":\"{at}\",\
             \"quantity\":{},\"unit_price\":{}.{:02},\"store_id\":\"W{store:03}\"}}",
            self.quantity(),
            cents / 100,
            cents % 100
        )?;
        Ok(())
    }
}

/// The finaliser of SplitMix64: different numbers give different ones that look random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The tills, and what they sent so far.
pub struct Tills<'a> {
    kafka: &'a Kafka,
    producer: BaseProducer,
    repeats: f64,
    seed: u64,
    sold: Sold,
    recent: Vec<Sale>,
    /// Messages by partition.
    messages: Vec<i64>,
    sent: Sent,
    line: Vec<u8>,
}

impl<'a> Tills<'a> {
    /// Tills that send to an empty topic of so many partitions, this share of messages being sales that were sent before.
    ///
    /// # Errors
    /// When the share is none, or no client can be made.
    pub fn new(kafka: &'a Kafka, partitions: usize, repeats: f64) -> Result<Self> {
        ensure!((0.0..1.0).contains(&repeats), "expected repeats of at least 0 and less than 1, found {repeats}");
        // Once each and in their order, so that the place of a message is known when it is sent; else as is usual.
        let producer = kafka.client().set("enable.idempotence", "true").create()?;
        let sent = Sent(Arc::new(Mutex::new(vec![Vec::new(); partitions])));
        let seed = Utc::now().timestamp_micros().unsigned_abs();
        let (recent, messages, line) = (Vec::new(), vec![0; partitions], Vec::new());
        Ok(Self { kafka, producer, repeats, seed, sold: Sold::default(), recent, messages, sent, line })
    }

    /// When messages were produced, also those to come.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// What was sold so far.
    pub fn sold(&self) -> Sold {
        self.sold
    }

    /// Messages sent so far.
    pub fn messages(&self) -> i64 {
        self.messages.iter().sum()
    }

    /// Sends `rate` messages a second for so long, or until it is told to stop. Gives by how much the clock was ahead of
    /// the messages at most.
    ///
    /// # Errors
    /// When the client does not take a message.
    pub fn run(&mut self, rate: u64, length: Duration, stop: &AtomicBool) -> Result<Duration> {
        let total = (length.as_secs_f64() * rate as f64) as u64;
        let (begun, mut sent, mut behind) = (Instant::now(), 0, 0);
        while sent < total && !stop.load(Ordering::Relaxed) {
            let due = ((begun.elapsed().as_secs_f64() * rate as f64) as u64).min(total);
            behind = behind.max(due - sent);
            while sent < due {
                self.sell()?;
                sent += 1;
            }
            self.producer.poll(Duration::ZERO);
            thread::sleep(TICK);
        }
        Ok(Duration::from_secs_f64(behind as f64 / rate as f64))
    }

    /// Sells once more in each partition, so that the last commit of every table has something new, and waits until the
    /// broker has everything. Gives the ends of the partitions.
    ///
    /// # Errors
    /// When the broker has not all messages, or more.
    pub fn settle(&mut self) -> Result<Vec<i64>> {
        for _ in 0..self.messages.len() {
            let sale = self.new_sale();
            self.send(sale)?;
        }
        self.producer.flush(PATIENCE)?;
        let ends: Vec<i64> = (0..self.messages.len()).map(|id| self.kafka.offsets(TOPIC, id as i32).1).collect();
        ensure!(ends == self.messages, "the partitions end at {ends:?}, {:?} messages were sent", self.messages);
        Ok(ends)
    }

    /// Sends a new sale, or one of the last ones again.
    fn sell(&mut self) -> Result<()> {
        let draw = mixed(self.seed.wrapping_add(self.messages().unsigned_abs()));
        let is_repeat = (draw >> 32) as f64 / f64::from(u32::MAX) < self.repeats && !self.recent.is_empty();
        let sale = if is_repeat { self.recent[draw as usize % self.recent.len()] } else { self.new_sale() };
        self.send(sale)
    }

    fn new_sale(&mut self) -> Sale {
        let sale = Sale { number: self.sold.sales, at: Utc::now().timestamp() };
        match self.recent.get_mut(sale.number as usize % REPEATABLE) {
            Some(oldest) => *oldest = sale,
            None => self.recent.push(sale),
        }
        self.sold.sales += 1;
        self.sold.units += sale.quantity();
        self.sold.cents += sale.quantity() * sale.cents();
        sale
    }

    fn send(&mut self, sale: Sale) -> Result<()> {
        let partition = sale.number as usize % self.messages.len();
        self.line.clear();
        sale.write(self.seed, &mut self.line)?;
        let at_us = Utc::now().timestamp_micros();
        self.sent.note(partition, self.messages[partition], at_us);
        self.messages[partition] += 1;
        let record = BaseRecord::<(), [u8]>::to(TOPIC).payload(&self.line).partition(partition as i32);
        let mut record = record.timestamp(at_us / 1_000);
        while let Err((error, back)) = self.producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                bail!("a message is not sent: {error}");
            }
            self.producer.poll(Duration::from_millis(5));
            record = back;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sale_is_what_the_contract_asks_for() {
        let sale = Sale { number: 7, at: 1_700_000_000 };
        let mut line = Vec::new();
        sale.write(1, &mut line).expect("memory is writable");
        let sent: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(sent["timestamp"], "2023-11-14 22:13:20");
        assert_eq!(sent["quantity"], sale.quantity());
        assert_eq!((sent["unit_price"].as_f64().unwrap_or_default() * 100.0).round() as u64, sale.cents());
        assert_eq!(sent["transaction_id"].as_str().map(str::len), Some(34));
        let mut other = Vec::new();
        sale.write(2, &mut other).expect("memory is writable");
        assert_ne!(line, other);
    }

    #[test]
    fn noted_messages_lie_before_an_offset() {
        let sent = Sent(Arc::new(Mutex::new(vec![Vec::new()])));
        (0..25).for_each(|offset| sent.note(0, offset, 100 + offset));
        assert_eq!(sent.before(0, 0, 0), [0; 0]);
        assert_eq!(sent.before(0, 1, 0), [100]);
        assert_eq!(sent.before(0, 10, 0), [100]);
        assert_eq!(sent.before(0, 11, 1), [110]);
        assert_eq!(sent.before(0, 99, 1), [110, 120]);
        assert_eq!(sent.before(0, 5, 3), [0; 0]);
    }
}
