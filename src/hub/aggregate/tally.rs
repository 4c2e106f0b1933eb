//! Decides how counts are gathered and told: the greatest first, and of two
//! that are equal the one whose name comes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::clock::Timestamp;
use crate::model::aggregate::{Buckets, Counted, CountedBy, Row, Spans};

/// Most numbers that are kept for one question: rows, and spans of rows.
pub(super) const MAX_CELLS: usize = 2_000_000;

/// How many, in all and by spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) count: u64,
    spans: BTreeMap<i64, u64>,
}

impl Slot {
    /// Whether it has a span more than before.
    pub(super) fn add(&mut self, span: Option<i64>, count: u64) -> bool {
        self.count += count;
        let Some(span) = span else { return false };
        let before = self.spans.len();
        *self.spans.entry(span).or_default() += count;
        self.spans.len() > before
    }

    fn buckets(self, spans: Option<Spans>) -> Buckets {
        let Some(Spans { calendar, .. }) = spans else { return Vec::new() };
        self.spans.into_iter().map(|(number, count)| (calendar.start(number), count)).collect()
    }
}

/// What was counted so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    all: Slot,
    /// By value; `None`: it is not told.
    rows: BTreeMap<Option<String>, Slot>,
    cells: usize,
    /// Rows that are not among these.
    pub(super) more_rows: u64,
    /// Whether nothing was left out.
    pub(super) exact: bool,
}

impl Tally {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        let all = Slot { count: 0, spans: BTreeMap::new() };
        Self { all, rows: BTreeMap::new(), cells: 0, more_rows: 0, exact: true }
    }

    /// Adds to the whole.
    pub(super) fn add(&mut self, span: Option<i64>, count: u64) {
        self.all.add(span, count);
    }

    /// Adds to a row.
    pub(super) fn add_to(&mut self, value: Option<String>, span: Option<i64>, count: u64) {
        let before = self.rows.len();
        let grown = self.rows.entry(value).or_default().add(span, count);
        self.cells += usize::from(grown) + (self.rows.len() - before);
    }

    /// Puts a row that was counted already.
    pub(super) fn put(&mut self, value: String, slot: Slot) {
        self.rows.insert(Some(value), slot);
    }

    /// Notes numbers that are kept elsewhere until they are put here.
    pub(super) const fn grow(&mut self, cells: usize) {
        self.cells += cells;
    }

    /// Whether no more can be kept.
    pub(super) const fn is_full(&self) -> bool {
        self.cells >= MAX_CELLS
    }

    /// What is told of it.
    pub(super) fn told(self, most: usize, spans: Option<Spans>) -> Counted {
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_by(|(a, of_a), (b, of_b)| {
            (Reverse(of_a.count), a.is_none(), a).cmp(&(Reverse(of_b.count), b.is_none(), b))
        });
        let more_rows = self.more_rows + rows.len().saturating_sub(most) as u64;
        rows.truncate(most);
        let row = |(value, slot): (Option<String>, Slot)| {
            let count = slot.count;
            Row { value, count, buckets: slot.buckets(spans) }
        };
        let total = self.all.count;
        Counted {
            rows: rows.into_iter().map(row).collect(),
            more_rows,
            total,
            buckets: self.all.buckets(spans),
            exact: self.exact,
            by: CountedBy::Scan,
            as_of: Timestamp::EPOCH,
            spans,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_come_first_and_what_is_not_told_after_its_equals() {
        let mut tally = Tally::new();
        for (value, count) in [(Some("b"), 2), (None, 2), (Some("a"), 2), (Some("c"), 3), (Some("d"), 1)] {
            tally.add(None, count);
            tally.add_to(value.map(str::to_owned), None, count);
        }
        let told = tally.told(4, None);
        let rows: Vec<_> = told.rows.iter().map(|row| (row.value.as_deref(), row.count)).collect();
        assert_eq!(rows, [(Some("c"), 3), (Some("a"), 2), (Some("b"), 2), (None, 2)]);
        assert_eq!((told.more_rows, told.total), (1, 10));
    }
}
