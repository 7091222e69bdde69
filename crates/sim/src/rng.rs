//! Random numbers whose sequence is fixed for good.
//!
//! The ChaCha stream cipher is specified, so its numbers never change; the ways from a number to a choice are written
//! here, because those of `rand` may change between its versions, and with them every file under `data/`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A source of random numbers, one per stream, so that one stream's settings never move another's events.
#[derive(Debug, Clone)]
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    /// The numbers of `seed` for the purpose called `stream`.
    pub fn new(seed: u64, stream: &str) -> Rng {
        Rng(ChaCha8Rng::seed_from_u64(seed ^ fnv1a(stream.as_bytes())))
    }

    /// The numbers of `seed` for one part, a day say, of what is called `stream`: they can be drawn again without those
    /// of the parts before.
    pub fn of_part(seed: u64, stream: &str, part: u64) -> Rng {
        Rng(ChaCha8Rng::seed_from_u64(scramble(seed ^ fnv1a(stream.as_bytes())) ^ scramble(!part)))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number in `0..n`, by multiplication: its bias is below n / 2^32, which no sample here can show.
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = (high - low + 1) as u128;
        let bits = (u128::from(self.bits()) << 32) | u128::from(self.bits());
        low + ((bits * width) >> 64) as i64
    }

    /// A number in `0..n` that prefers small ones: the first tenth comes in about a third of all draws.
    pub fn skewed(&mut self, n: u32) -> u32 {
        let u = u64::from(self.bits());
        ((((u * u) >> 32) * u64::from(n)) >> 32) as u32
    }

    /// True in a share of draws.
    pub fn chance(&mut self, share: Share) -> bool {
        u64::from(self.bits()) < share.0
    }

    /// An entry of a list that is not empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u32) as usize]
    }
}

/// A share between 0 and 1 as a threshold of 32 random bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share(u64);

impl Share {
    /// The threshold of a share that the configuration has checked to be within 0 and 1.
    pub fn new(share: f64) -> Share {
        Share((share * 4_294_967_296.0) as u64)
    }
}

/// FNV-1a over 64 bits: the hash that picks partitions and seeds. Not the one of Kafka's clients, which no rule asks for.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A bijection of 64-bit numbers (the finaliser of SplitMix64): turns a counter into ids that look random and never collide.
pub(crate) fn scramble(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_is_fixed_for_good() {
        let mut rng = Rng::new(7, "pos_sales");
        let drawn: Vec<u32> = (0..4).map(|_| rng.bits()).collect();
        let mut again = Rng::new(7, "pos_sales");
        assert_eq!(drawn, (0..4).map(|_| again.bits()).collect::<Vec<_>>());
        assert_ne!(drawn, (0..4).map(|_| Rng::new(7, "invoices").bits()).collect::<Vec<_>>());
    }

    #[test]
    fn shares_and_ranges_hold() {
        let mut rng = Rng::new(1, "t");
        let hits = (0..100_000).filter(|_| rng.chance(Share::new(0.1))).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !rng.chance(Share::new(0.0)) && rng.chance(Share::new(1.0))));
        assert!((0..1000).all(|_| (-3..=4).contains(&rng.between(-3, 4))));
        assert!((0..1000).all(|_| rng.skewed(19) < 19));
    }
}
