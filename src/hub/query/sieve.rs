//! Decides how many handles are kept in a few bits each: a Bloom filter of two
//! hashes (Bloom, 1970). It holds all that was put in, and takes a few others
//! for its own, which whoever asks finds out by what he reads of them.

use crate::model::position::Position;

/// Bits for each handle: one other in fifty is taken for one of them.
const BITS: u64 = 16;
/// Most bits, two megabytes of them.
const MAX_BITS: u64 = 1 << 24;

/// Handles, and a few others.
#[derive(Debug)]
pub(super) struct Sieve {
    words: Vec<u64>,
    /// Bits of a hash that are left out.
    shift: u32,
}

impl Sieve {
    /// For about so many.
    pub(super) fn of(about: u64) -> Self {
        let bits = about.saturating_mul(BITS).clamp(1 << 10, MAX_BITS).next_power_of_two();
        let words = usize::try_from(bits / u64::from(u64::BITS)).unwrap_or_default();
        Self { words: vec![0; words], shift: u64::BITS - bits.trailing_zeros() }
    }

    pub(super) fn insert(&mut self, handle: Position) {
        for (word, bit) in self.places(handle) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    pub(super) fn holds(&self, handle: Position) -> bool {
        self.places(handle)
            .iter()
            .all(|(word, bit)| self.words.get(*word).is_some_and(|word| word & bit != 0))
    }

    /// The word and the bit of each hash.
    fn places(&self, handle: Position) -> [(usize, u64); 2] {
        // Multipliers of SplitMix64 (Steele, Lea, Flood, 2014): the upper bits
        // of a product depend on all bits of a handle.
        [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9_u64].map(|factor| {
            let hash = handle.raw().wrapping_mul(factor) >> self.shift;
            (usize::try_from(hash / 64).unwrap_or(usize::MAX), 1 << (hash % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::Seq;

    #[test]
    fn all_that_was_put_in_is_held_and_few_others_are() {
        let handles = |from: u64| (from..from + 40_000).map(|counter| Seq::new(0, counter * 3).at(7));
        let mut sieve = Sieve::of(40_000);
        handles(1).for_each(|handle| sieve.insert(handle));
        assert!(handles(1).all(|handle| sieve.holds(handle)));
        let others = handles(40_001).filter(|handle| sieve.holds(*handle)).count();
        assert!(others < 40_000 / 25, "{others} others");
    }
}
