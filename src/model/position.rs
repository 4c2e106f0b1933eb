//! Decides how a place in the log is numbered: history epoch, entry counter,
//! item. Nothing here ever leaves the hub unsealed.

use std::fmt;

/// Bits of the counter below the history epoch.
const COUNTER_BITS: u32 = 40;
/// Bits of the item ordinal below the sequence number.
const ORDINAL_BITS: u32 = 10;
/// Largest history epoch: 14 bits.
pub const MAX_EPOCH: u16 = (1 << 14) - 1;
/// Most items of one entry.
pub const MAX_ITEMS: usize = 1_000;

/// Number of an entry: history epoch (14 bits), then counter (40 bits). The
/// epoch grows with every restore, so no number is ever issued twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// From epoch and counter, cut to their bits.
    #[must_use]
    pub const fn new(epoch: u16, counter: u64) -> Self {
        Self((((epoch & MAX_EPOCH) as u64) << COUNTER_BITS) | (counter & ((1 << COUNTER_BITS) - 1)))
    }

    /// From its stored number.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw & ((1 << (COUNTER_BITS + 14)) - 1))
    }

    /// The number to store.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// History epoch.
    #[must_use]
    pub const fn epoch(self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "14 bits")]
        let epoch = (self.0 >> COUNTER_BITS) as u16;
        epoch
    }

    /// Counter; it goes on over epochs.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    /// The next entry of the same epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.epoch(), self.counter().wrapping_add(1))
    }

    /// The position of item `ordinal`.
    #[must_use]
    pub const fn at(self, ordinal: u16) -> Position {
        Position((self.0 << ORDINAL_BITS) | (ordinal & 0x3ff) as u64)
    }

    /// The last position that the entry can have.
    #[must_use]
    pub const fn end(self) -> Position {
        self.at(0x3ff)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch(), self.counter())
    }
}

/// Number of an item: the entry's number and the item's ordinal in it. The
/// position at which a record was born is its *handle*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// Before every item.
    pub const ZERO: Self = Self(0);

    /// From its stored number.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to store.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The entry.
    #[must_use]
    pub const fn seq(self) -> Seq {
        Seq(self.0 >> ORDINAL_BITS)
    }

    /// The item in the entry.
    #[must_use]
    pub const fn ordinal(self) -> u16 {
        (self.0 & 0x3ff) as u16
    }

    /// The next position, in this entry or the one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before, which perhaps no item has.
    #[must_use]
    pub const fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.seq(), self.ordinal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_sorts_after_every_earlier_entry() {
        assert!(Seq::new(1, 0).at(0) > Seq::new(0, u64::MAX).end());
        assert_eq!(Seq::new(3, 77).at(999).seq(), Seq::new(3, 77));
        assert_eq!(Seq::new(3, 77).at(999).ordinal(), 999);
        assert_eq!(Seq::new(3, 77).epoch(), 3);
        assert_eq!(Seq::new(3, 77).counter(), 77);
    }
}
