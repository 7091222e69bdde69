//! From facts to messages: what is sent when, how often, and which of them is bad.
//!
//! A generator walks through the slots of its stream in order of event time. A fact that is on time is written at once;
//! late messages, retries and corrections wait in a heap by their time of arrival, so that memory holds only what is
//! under way. The fate of a fact is drawn when it is made, and so is its final content: the good message that arrives
//! last. The truth is counted there, from that content, and not from any message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::bad::BadKind;
use crate::clock::{MINUTE, SECOND, Slots};
use crate::config::{SimConfig, Stream};
use crate::event::{Counts, Entry, EventBatch};
use crate::rng::{Rng, Share, fnv1a};

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
    /// The kinds of badness that it can write, beyond those that spoil any JSON text.
    const BAD_KINDS: &'static [BadKind];

    /// The next fact, which happened at an instant not before that of the last one.
    fn fact(&mut self, at_us: i64, rng: &mut Rng) -> Self::Fact;
    /// Another version of a fact under the same key, where the stream has an order of versions.
    fn correct(&mut self, fact: &Self::Fact, rng: &mut Rng) -> Option<Self::Fact>;
    /// Appends the key of a fact.
    fn key(&self, fact: &Self::Fact, out: &mut Vec<u8>);
    /// Appends a fact as JSON; puts in the style's badness if that is one of [`StreamModel::BAD_KINDS`].
    fn write(&mut self, fact: &Self::Fact, style: Style, out: &mut Vec<u8>);
    /// Adds the final content of a fact to the truth.
    fn count(tally: &mut Self::Tally, fact: &Self::Fact);
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
    corrected: Share,
    unknown: Share,
    max_late_minutes: i64,
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
        let shares = &config.shares;
        Generator {
            next_slot: slots.next(&mut rng),
            model,
            rng,
            slots,
            fates: Fates {
                bad: Share::new(shares.bad),
                duplicate: Share::new(shares.duplicate),
                late: Share::new(shares.late),
                corrected: Share::new(shares.corrected),
                unknown: Share::new(shares.unknown),
                max_late_minutes: i64::from(config.max_late_minutes.max(1)),
            },
            kinds: kinds.filter(|kind| kind.is_textual() || M::BAD_KINDS.contains(kind)).collect(),
            pending: BinaryHeap::new(),
            sequence: 0,
            offsets: vec![0; config.partitions as usize],
            counts: Counts::default(),
            tally: truth.then(M::Tally::default),
        }
    }

    /// What was made so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The truth over all facts made so far, if it was asked for.
    pub fn into_tally(self) -> Option<M::Tally> {
        self.tally
    }

    /// Appends the next message; false when there is none left.
    pub fn step(&mut self, batch: &mut EventBatch) -> bool {
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

    /// Makes the fact of a slot and sends or plans its messages; true if one was sent at once.
    fn make(&mut self, at: i64, batch: &mut EventBatch) -> bool {
        let fact = self.model.fact(at, &mut self.rng);
        let style = Style {
            spaced: false,
            variant: self.rng.bits() & 7 == 0,
            unknown: self.rng.chance(self.fates.unknown),
            bad: None,
        };
        let late = self.rng.chance(self.fates.late);
        let arrives = at + DELAY + if late { self.lateness() } else { 0 };
        if !self.kinds.is_empty() && self.rng.chance(self.fates.bad) {
            let bad = Some(*self.rng.pick(&self.kinds));
            return self.send(fact, Style { bad, ..style }, arrives, late, batch);
        }
        self.counts.facts += 1;
        self.counts.late += u64::from(late);
        let duplicate = self.rng.chance(self.fates.duplicate);
        let corrected = self.rng.chance(self.fates.corrected);
        if !duplicate && !corrected {
            if let Some(tally) = &mut self.tally {
                M::count(tally, &fact);
            }
            return self.send(fact, style, arrives, late, batch);
        }
        let mut last = (arrives, fact.clone());
        if duplicate {
            let again = arrives + self.rng.between(SECOND, 10 * MINUTE);
            self.counts.duplicates += 1;
            self.repeat(&fact, style, again);
            last = last_of(last, again, &fact);
        }
        if corrected {
            last = self.correct(&fact, style, arrives, last);
        }
        if let Some(tally) = &mut self.tally {
            M::count(tally, &last.1);
        }
        self.send(fact, style, arrives, late, batch)
    }

    /// Plans a correction, sometimes a bad one, sometimes one that is taken back; returns the content that counts.
    fn correct(&mut self, fact: &M::Fact, style: Style, arrives: i64, last: (i64, M::Fact)) -> (i64, M::Fact) {
        let Some(other) = self.model.correct(fact, &mut self.rng) else { return last };
        let at = arrives + self.lateness();
        if !self.kinds.is_empty() && self.rng.below(4) == 0 {
            let bad = Some(*self.rng.pick(&self.kinds));
            self.plan(other, Style { bad, ..Style::default() }, at);
            return last;
        }
        self.counts.corrections += 1;
        let mut last = last_of(last, at, &other);
        self.plan(other, style, at);
        if self.rng.below(6) == 0 {
            let back = at + self.lateness();
            self.counts.duplicates += 1;
            self.repeat(fact, style, back);
            last = last_of(last, back, fact);
        }
        last
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

    fn send(&mut self, fact: M::Fact, style: Style, arrives: i64, late: bool, batch: &mut EventBatch) -> bool {
        if late {
            self.plan(fact, style, arrives);
        } else {
            self.emit(&fact, style, arrives, batch);
        }
        !late
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

/// The later of two good messages of one fact; `at` belongs to the one planned later, so it also wins a tie.
fn last_of<F: Clone>(last: (i64, F), at: i64, fact: &F) -> (i64, F) {
    if at >= last.0 { (at, fact.clone()) } else { last }
}
