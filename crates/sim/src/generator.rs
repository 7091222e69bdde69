//! From facts to messages: what is sent when, how often, and which of them is bad.
//!
//! A generator walks through the slots of its stream in order of event time. A fact that is on time is written at once;
//! late messages, retries and corrections wait in a heap by their time of arrival, so that memory holds only what is
//! under way. The fate of a fact is drawn when it is made, and so is its final content: the good message of the greatest
//! version, and of several the one that arrives last. The truth is counted there, from that content, and not from any
//! message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::bad::BadKind;
use crate::clock::{MINUTE, SECOND, Slots};
use crate::config::SimConfig;
use crate::event::{Counts, Entry, EventBatch};
use crate::rng::{Rng, Share, fnv1a};
use crate::stream::Stream;
use crate::truth::Tallies;

/// Time from a sale to its message.
const DELAY: i64 = 300_000;

/// How a message is written, apart from its content.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// Blanks after separators.
    pub spaced: bool,
    /// Another way to write the same values, where the stream has one.
    pub variant: bool,
    /// A field that no contract names.
    pub unknown: bool,
    /// What is wrong with it.
    pub bad: Option<BadKind>,
}

/// What one stream adds to the generator.
pub(crate) trait StreamModel: Send {
    /// The content of a message.
    type Fact: Clone + Send;
    /// The truth over all facts.
    type Tally: Default + Send;
    /// The stream that it makes.
    const STREAM: Stream;
    /// A copy of a fact has the same bytes, because its key is all that it says.
    const EXACT_COPIES: bool;
    /// A message tells its fact again under a key; without one, each message is a fact of its own, also a copy.
    const IS_KEYED: bool = true;
    /// The kinds of badness that it cannot write, because it has no such field or rule.
    const UNKNOWN_KINDS: &'static [BadKind];

    /// The next fact, which happened at an instant not before that of the last one.
    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Self::Fact;
    /// Another version of a fact under the same key, where the stream has an order of versions.
    fn correct(&mut self, _fact: &Self::Fact, _rng: &mut Rng) -> Option<Self::Fact> {
        None
    }
    /// What orders the versions of a fact before their arrival does.
    fn version(_fact: &Self::Fact) -> i64 {
        0
    }
    /// Appends the key of a fact.
    fn key(&self, fact: &Self::Fact, out: &mut Vec<u8>);
    /// Appends a fact as JSON; puts in the style's badness, unless that spoils any JSON text or is unknown here.
    fn write(&mut self, fact: &Self::Fact, style: Style, out: &mut Vec<u8>);
    /// Adds the final content of a fact to the truth.
    fn count(tally: &mut Self::Tally, fact: &Self::Fact);
    /// Puts the truth to that of the other streams.
    fn settle(tally: Self::Tally, tallies: &mut Tallies);
}

/// A generator, whatever its stream.
pub(crate) trait Source: Send {
    /// Appends the next message; false when there is none left.
    fn step(&mut self, batch: &mut EventBatch) -> bool;
    /// What was made so far.
    fn counts(&self) -> Counts;
    /// Adds counts and, if it was asked for, the truth over all facts made so far.
    fn settle(self: Box<Self>, tallies: &mut Tallies);
}

/// A message that waits for its time.
struct Pending<F> {
    arrives: i64,
    sequence: u64,
    fact: F,
    style: Style,
}

impl<F> PartialEq for Pending<F> {
    fn eq(&self, other: &Self) -> bool {
        (self.arrives, self.sequence) == (other.arrives, other.sequence)
    }
}
impl<F> Eq for Pending<F> {}
impl<F> PartialOrd for Pending<F> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<F> Ord for Pending<F> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrives, self.sequence).cmp(&(other.arrives, other.sequence))
    }
}

struct Fates {
    bad: Share,
    duplicate: Share,
    late: Share,
    /// Not drawn where it is 0, so that simulations from before it was there stay as they were.
    out_of_order: Option<Share>,
    corrected: Share,
    unknown: Share,
    max_late_minutes: i64,
}

impl Fates {
    fn new(config: &SimConfig) -> Fates {
        let shares = &config.shares;
        Fates {
            bad: Share::new(shares.bad),
            duplicate: Share::new(shares.duplicate),
            late: Share::new(shares.late),
            out_of_order: Some(shares.out_of_order).filter(|share| *share > 0.0).map(Share::new),
            corrected: Share::new(shares.corrected),
            unknown: Share::new(shares.unknown),
            max_late_minutes: i64::from(config.max_late_minutes.max(1)),
        }
    }
}

/// The messages of one stream, in order of arrival.
pub(crate) struct Generator<M: StreamModel> {
    model: M,
    rng: Rng,
    slots: Slots,
    next_slot: Option<i64>,
    fates: Fates,
    kinds: Vec<BadKind>,
    pending: BinaryHeap<Reverse<Pending<M::Fact>>>,
    sequence: u64,
    offsets: Vec<i64>,
    counts: Counts,
    tally: Option<M::Tally>,
}

impl<M: StreamModel> Generator<M> {
    /// The messages of `model` under a valid configuration; with `truth`, their answers are counted on the way.
    pub fn new(config: &SimConfig, model: M, truth: bool) -> Generator<M> {
        let mut rng = Rng::new(config.seed, M::STREAM.name());
        let mut slots = Slots::new(config.start, config.days, config.rows.of(M::STREAM), &config.shape);
        // Without bad messages no correction is bad either.
        let kinds = config.bad_kinds.iter().copied().filter(|_| config.shares.bad > 0.0);
        Generator {
            next_slot: slots.next(&mut rng),
            model,
            rng,
            slots,
            fates: Fates::new(config),
            kinds: kinds.filter(|kind| !M::UNKNOWN_KINDS.contains(kind)).collect(),
            pending: BinaryHeap::new(),
            sequence: 0,
            offsets: vec![0; config.partitions as usize],
            counts: Counts::default(),
            tally: truth.then(M::Tally::default),
        }
    }

    /// Makes the fact of a slot and sends or plans its messages; true if one was sent at once.
    fn make(&mut self, at: i64, batch: &mut EventBatch) -> bool {
        let fact = self.model.fact(at, &mut self.rng);
        let variant = self.rng.bits() & 7 == 0;
        let style = Style { variant, unknown: self.rng.chance(self.fates.unknown), ..Style::default() };
        let late = self.rng.chance(self.fates.late);
        let delay = self.delay(late);
        let arrives = at + DELAY + delay;
        if !self.kinds.is_empty() && self.rng.chance(self.fates.bad) {
            let bad = Some(*self.rng.pick(&self.kinds));
            return self.send(fact, Style { bad, ..style }, arrives, delay > 0, batch);
        }
        self.counts.facts += 1;
        self.counts.late += u64::from(late);
        let duplicate = self.rng.chance(self.fates.duplicate);
        let corrected = self.rng.chance(self.fates.corrected);
        if !duplicate && !corrected {
            self.count(&fact);
            return self.send(fact, style, arrives, delay > 0, batch);
        }
        let mut last = Standing { version: M::version(&fact), arrives, fact: fact.clone() };
        if duplicate {
            let again = arrives + self.rng.between(SECOND, 10 * MINUTE);
            self.again(&fact, style, again, &mut last);
        }
        if corrected {
            self.correct(&fact, style, arrives, &mut last);
        }
        self.count(&last.fact);
        self.send(fact, style, arrives, delay > 0, batch)
    }

    fn count(&mut self, fact: &M::Fact) {
        if let Some(tally) = &mut self.tally {
            M::count(tally, fact);
        }
    }

    /// Plans the same fact again.
    fn again(&mut self, fact: &M::Fact, style: Style, arrives: i64, last: &mut Standing<M::Fact>) {
        self.repeat(fact, style, arrives);
        if M::IS_KEYED {
            self.counts.duplicates += 1;
            last.replace::<M>(arrives, fact);
        } else {
            self.counts.facts += 1;
            self.count(fact);
        }
    }

    /// Plans a correction, sometimes a bad one, sometimes one that is taken back.
    fn correct(&mut self, fact: &M::Fact, style: Style, arrives: i64, last: &mut Standing<M::Fact>) {
        let Some(other) = self.model.correct(fact, &mut self.rng) else { return };
        let at = arrives + self.lateness();
        if !self.kinds.is_empty() && self.rng.below(4) == 0 {
            let bad = Some(*self.rng.pick(&self.kinds));
            return self.plan(other, Style { bad, ..Style::default() }, at);
        }
        self.counts.corrections += 1;
        last.replace::<M>(at, &other);
        self.plan(other, style, at);
        if self.rng.below(6) == 0 {
            let back = at + self.lateness();
            self.again(fact, style, back, last);
        }
    }

    /// How much later than usual a message arrives.
    fn delay(&mut self, late: bool) -> i64 {
        let shuffled = !late && self.fates.out_of_order.is_some_and(|share| self.rng.chance(share));
        match (late, shuffled) {
            (true, _) => self.lateness(),
            (_, true) => self.rng.between(SECOND, MINUTE),
            _ => 0,
        }
    }

    fn lateness(&mut self) -> i64 {
        // Small lateness is common and great lateness rare: an even draw of a share of an even draw.
        let most = self.rng.between(1, self.fates.max_late_minutes);
        self.rng.between(MINUTE, most.max(2) * MINUTE)
    }

    fn repeat(&mut self, fact: &M::Fact, style: Style, arrives: i64) {
        let again = if M::EXACT_COPIES { style } else { Style { spaced: self.rng.bits() & 1 == 0, ..style } };
        self.plan(fact.clone(), again, arrives);
    }

    fn plan(&mut self, fact: M::Fact, style: Style, arrives: i64) {
        self.sequence += 1;
        self.pending.push(Reverse(Pending { arrives, sequence: self.sequence, fact, style }));
    }

    fn send(&mut self, fact: M::Fact, style: Style, arrives: i64, waits: bool, batch: &mut EventBatch) -> bool {
        if waits {
            self.plan(fact, style, arrives);
        } else {
            self.emit(&fact, style, arrives, batch);
        }
        !waits
    }

    fn emit(&mut self, fact: &M::Fact, style: Style, arrives: i64, batch: &mut EventBatch) {
        let start = batch.bytes.len();
        self.model.key(fact, &mut batch.bytes);
        let middle = batch.bytes.len();
        self.model.write(fact, style, &mut batch.bytes);
        if let Some(bad) = style.bad {
            bad.spoil(&mut batch.bytes, middle);
            self.counts.quarantined += 1;
        }
        let partition = (fnv1a(&batch.bytes[start..middle]) % self.offsets.len() as u64) as usize;
        let offset = self.offsets[partition];
        self.offsets[partition] += 1;
        self.counts.events += 1;
        batch.entries.push(Entry {
            partition: partition as i32,
            offset,
            arrived_at_ms: arrives / 1000,
            key: start as u32..middle as u32,
            payload: middle as u32..batch.bytes.len() as u32,
        });
    }
}

impl<M: StreamModel> Source for Generator<M> {
    fn counts(&self) -> Counts {
        self.counts
    }

    fn step(&mut self, batch: &mut EventBatch) -> bool {
        loop {
            let waiting = self.pending.peek().map(|Reverse(first)| first.arrives);
            match (waiting, self.next_slot) {
                (None, None) => return false,
                (Some(arrives), slot) if slot.is_none_or(|at| arrives <= at + DELAY) => {
                    let Some(Reverse(due)) = self.pending.pop() else { return false };
                    self.emit(&due.fact, due.style, due.arrives, batch);
                    return true;
                }
                (_, Some(at)) => {
                    self.next_slot = self.slots.next(&mut self.rng);
                    if self.make(at, batch) {
                        return true;
                    }
                }
                (Some(_), None) => {}
            }
        }
    }

    fn settle(self: Box<Self>, tallies: &mut Tallies) {
        tallies.add_counts(M::STREAM.name(), self.counts);
        if let Some(tally) = self.tally {
            M::settle(tally, tallies);
        }
    }
}

/// The good message of a fact that counts, of those planned so far.
struct Standing<F> {
    version: i64,
    arrives: i64,
    fact: F,
}

impl<F: Clone> Standing<F> {
    /// A message planned later also wins a tie.
    fn replace<M: StreamModel<Fact = F>>(&mut self, arrives: i64, fact: &F) {
        let version = M::version(fact);
        if (version, arrives) >= (self.version, self.arrives) {
            *self = Standing { version, arrives, fact: fact.clone() };
        }
    }
}
