//! Decides what comes before what on a page.

use std::ops::RangeInclusive;

use crate::model::position::Position;
use crate::model::query::Order;
use crate::store::keys::{self, Dimension};
use crate::wire::facts::Numbers;

use super::stream::Way;

/// A place in an order: what is smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    bucket: u32,
    place: u64,
}

/// The bucket of those that do not say.
const UNSAID: u32 = u32::MAX;

impl Rank {
    /// Of a version at `position` of a record born at `handle`, whose bucket
    /// is of `term`.
    pub(super) const fn of(order: Order, term: u64, position: Position, handle: Position) -> Self {
        let place = match order {
            Order::ModifiedOldest => position.raw(),
            Order::PublishedOldest => handle.raw(),
            Order::PublishedNewest => !handle.raw(),
            _ => !position.raw(),
        };
        Self { bucket: bucket(order, term), place }
    }

    /// As a token holds it.
    pub(super) const fn parts(self, order: Order) -> (Position, u32) {
        let raw = match order {
            Order::ModifiedOldest | Order::PublishedOldest => self.place,
            _ => !self.place,
        };
        (Position::from_raw(raw), self.bucket)
    }

    /// From what a token holds.
    pub(super) const fn from_parts(order: Order, at: Position, bucket: u32) -> Self {
        let place = match order {
            Order::ModifiedOldest | Order::PublishedOldest => at.raw(),
            _ => !at.raw(),
        };
        Self { bucket, place }
    }

    pub(super) const fn bucket(self) -> u32 {
        self.bucket
    }

    /// Whether it is of those that do not say what the order goes by.
    pub(super) const fn is_unsaid(self) -> bool {
        self.bucket == UNSAID
    }
}

/// Whether what an order goes by falls.
pub(super) const fn falls(order: Order) -> bool {
    order.number() % 2 == 1
}

/// Whether it goes by first versions.
pub(super) const fn by_birth(order: Order) -> bool {
    matches!(order, Order::PublishedNewest | Order::PublishedOldest)
}

/// Which way a walk in an order goes through positions.
pub(super) const fn way(order: Order) -> Way {
    match order {
        Order::ModifiedOldest | Order::PublishedOldest => Way::On,
        _ => Way::Back,
    }
}

/// The dimension whose terms are the buckets of an order.
pub(super) const fn dimension(order: Order) -> Option<Dimension> {
    match order {
        Order::FirstSeenNewest | Order::FirstSeenOldest => Some(Dimension::FirstSeen),
        Order::LastSeenNewest | Order::LastSeenOldest => Some(Dimension::LastSeen),
        Order::ConfidenceHighest | Order::ConfidenceLowest => Some(Dimension::Confidence),
        _ => None,
    }
}

/// The term of those that do not say.
pub(super) const fn unsaid(order: Order) -> u64 {
    match order {
        Order::ConfidenceHighest | Order::ConfidenceLowest => 101,
        _ => 0,
    }
}

/// The bucket of a term; in an order without buckets there is one.
const fn bucket(order: Order, term: u64) -> u32 {
    if dimension(order).is_none() {
        return 0;
    }
    if term == unsaid(order) {
        return UNSAID;
    }
    // Hours of the years to 9999, twice, fit.
    #[expect(clippy::cast_possible_truncation, reason = "no term is so large")]
    let term = term as u32;
    if falls(order) { UNSAID - 1 - term } else { term }
}

/// The term of a bucket.
pub(super) const fn term(order: Order, bucket: u32) -> u64 {
    if bucket == UNSAID {
        return unsaid(order);
    }
    (if falls(order) { UNSAID - 1 - bucket } else { bucket }) as u64
}

/// The terms of what is said whose buckets lie past one, or all; `None`: there
/// are none. What is not said comes after all of them, and has no term.
pub(super) fn terms_past(order: Order, bucket: Option<u32>) -> Option<RangeInclusive<u64>> {
    if bucket == Some(UNSAID) {
        return None;
    }
    // No term of what is said is that of what is not.
    let (least, most) = if unsaid(order) == 0 { (1, u64::MAX) } else { (0, unsaid(order) - 1) };
    match (bucket.map(|bucket| term(order, bucket)), falls(order)) {
        (None, _) => Some(least..=most),
        (Some(term), true) if term <= least => None,
        (Some(term), true) => Some(least..=term - 1),
        (Some(term), false) => Some(term.saturating_add(1)..=most),
    }
}

/// The term under which a version stands in an order.
pub(super) fn term_of(order: Order, said: &Numbers) -> u64 {
    match order {
        Order::FirstSeenNewest | Order::FirstSeenOldest => keys::seen_term(said.first_seen),
        Order::LastSeenNewest | Order::LastSeenOldest => keys::seen_term(said.last_seen),
        Order::ConfidenceHighest | Order::ConfidenceLowest => keys::confidence_term(said.confidence),
        _ => 0,
    }
}

/// Whether a version says nothing of what an order goes by.
pub(super) fn is_unsaid(order: Order, said: &Numbers) -> bool {
    term_of(order, said) == unsaid(order)
}
