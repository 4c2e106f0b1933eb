//! Decides what can be counted, by what, and over which spans of time: whole
//! days or months of the calendar at one distance from UTC.

use time::{Date, Month, OffsetDateTime, UtcOffset};

use crate::base::clock::Timestamp;

use super::Invalid;
use super::numbered::numbered;
use super::query::IndicatorFilter;

/// Most spans of one histogram.
pub const MAX_SPANS: i64 = 1_100;
/// Days that are counted where no start is said.
const DAYS: i64 = 30;
/// Months.
const MONTHS: i64 = 12;
const DAY: i64 = 86_400;

numbered! {
    /// By what indicators are counted apart. Numbers are sent.
    pub enum Dimension {
        /// Kind of the value.
        Kind = 1 is "kind",
        /// Organisation that published them.
        Owner = 2 is "owner",
        /// Label.
        Label = 3 is "label",
        /// Family of malware.
        Family = 4 is "family",
        /// Campaign.
        Campaign = 5 is "campaign",
        /// Technique of ATT&CK.
        Technique = 6 is "technique",
        /// TLP label.
        Tlp = 7 is "tlp",
        /// Kind of the organisation that published them.
        OrgKind = 8 is "org-kind",
        /// What sightings of them say.
        Outcome = 9 is "outcome",
    }
}

numbered! {
    /// How long a span is. Numbers are sent.
    pub enum Per {
        /// A day.
        Day = 1 is "day",
        /// A month.
        Month = 2 is "month",
    }
}

/// Spans that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    /// How long one is.
    pub per: Per,
    /// In the first of them lies this; `None`: as many as are usual.
    pub from: Option<Timestamp>,
    /// Just before this lies the end; `None`: now.
    pub to: Option<Timestamp>,
    /// Minutes that the local time is ahead of UTC.
    pub offset: i16,
}

/// What is to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counting {
    /// Which indicators.
    pub filter: IndicatorFilter,
    /// By what they are counted apart; `None`: all together.
    pub by: Option<Dimension>,
    /// Over which spans; `None`: over all of time.
    pub histogram: Option<Histogram>,
    /// Most rows.
    pub rows: usize,
}

/// Days or months of the calendar at one distance from UTC, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Days or months.
    pub per: Per,
    /// Minutes that the local time is ahead of UTC.
    pub offset: i16,
}

impl Calendar {
    /// The number of the span in which a moment lies, from that of the Unix
    /// epoch on.
    #[must_use]
    pub fn number(self, at: Timestamp) -> i64 {
        let local = i64::try_from(at.as_seconds()).unwrap_or(i64::MAX) + i64::from(self.offset) * 60;
        match self.per {
            Per::Day => local.div_euclid(DAY),
            Per::Month => OffsetDateTime::from_unix_timestamp(local).map_or(i64::MAX, |local| {
                i64::from(local.year() - 1970) * 12 + i64::from(u8::from(local.month())) - 1
            }),
        }
    }

    /// When a span begins; cut to what a moment can be.
    #[must_use]
    pub fn start(self, number: i64) -> Timestamp {
        let local = match self.per {
            Per::Day => Some(number.saturating_mul(DAY)),
            Per::Month => first_of_month(number).map(|first| first.midnight().assume_utc().unix_timestamp()),
        };
        let seconds = local.map_or(i64::MAX, |local| local.saturating_sub(i64::from(self.offset) * 60));
        let micros = u64::try_from(seconds.max(0)).unwrap_or(u64::MAX).saturating_mul(1_000_000);
        Timestamp::from_micros_clamped(micros)
    }

    /// A moment in the local time.
    #[must_use]
    pub fn local(self, at: Timestamp) -> OffsetDateTime {
        let offset = UtcOffset::from_whole_seconds(i32::from(self.offset) * 60).unwrap_or(UtcOffset::UTC);
        at.to_offset().to_offset(offset)
    }
}

fn first_of_month(number: i64) -> Option<Date> {
    let year = i32::try_from(number.div_euclid(12)).ok()?.checked_add(1970)?;
    let month = u8::try_from(number.rem_euclid(12)).ok()? + 1;
    Date::from_calendar_date(year, Month::try_from(month).ok()?, 1).ok()
}

/// The spans that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spans {
    /// Their calendar.
    pub calendar: Calendar,
    /// Number of the first.
    pub first: i64,
    /// Number of the last.
    pub last: i64,
}

impl Histogram {
    /// The spans that are meant at a moment.
    ///
    /// # Errors
    /// The end is not after the start, or there are too many between them.
    pub fn spans(&self, now: Timestamp) -> Result<Spans, Invalid> {
        let Self { per, from, to, offset } = *self;
        let calendar = Calendar { per, offset };
        let just_before = |end: Timestamp| Timestamp::from_micros_clamped(end.as_micros().saturating_sub(1));
        let last = calendar.number(to.map_or(now, just_before));
        let usual = match per {
            Per::Day => DAYS,
            Per::Month => MONTHS,
        };
        let first = from.map_or(last - usual + 1, |from| calendar.number(from));
        if last < first {
            return Err(Invalid::new("histogram.range", "must begin before it ends"));
        }
        if last - first >= MAX_SPANS {
            return Err(Invalid::new(
                "histogram.range",
                format!("holds more than {MAX_SPANS} spans; ask for a shorter one, or for months"),
            ));
        }
        Ok(Spans { calendar, first, last })
    }
}

impl Spans {
    /// Where they begin.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.calendar.start(self.first)
    }

    /// Where they end.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.calendar.start(self.last + 1)
    }
}

numbered! {
    /// By what was counted. Numbers are sent.
    pub enum CountedBy {
        /// By counters that the hub keeps.
        Counters = 1 is "counters",
        /// By going through what matches.
        Scan = 2 is "scan",
    }
}

/// How many lie in each span, by its start; none that are empty.
pub type Buckets = Vec<(Timestamp, u64)>;

/// How many have one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The value; `None`: it is not told.
    pub value: Option<String>,
    /// How many.
    pub count: u64,
    /// By spans.
    pub buckets: Buckets,
}

/// How many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// By value, the greatest first.
    pub rows: Vec<Row>,
    /// How many rows more there are.
    pub more_rows: u64,
    /// All of them.
    pub total: u64,
    /// The same by spans.
    pub buckets: Buckets,
    /// Whether nothing was left uncounted.
    pub exact: bool,
    /// By what was counted.
    pub by: CountedBy,
    /// What had been published by then is counted.
    pub as_of: Timestamp,
    /// The spans.
    pub spans: Option<Spans>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_offset(OffsetDateTime::parse(text, &Rfc3339).unwrap()).unwrap()
    }

    const VIETNAM: i16 = 420;

    #[test]
    fn days_and_months_begin_at_midnight_where_they_are_counted() {
        let day = Calendar { per: Per::Day, offset: VIETNAM };
        let number = day.number(at("2026-11-21T17:00:00Z"));
        assert_eq!(day.start(number), at("2026-11-21T17:00:00Z"));
        assert_eq!(day.number(at("2026-11-21T16:59:59.999999Z")), number - 1);
        assert_eq!(day.local(day.start(number)).to_string(), "2026-11-22 0:00:00.0 +07:00:00");
        let month = Calendar { per: Per::Month, offset: VIETNAM };
        assert_eq!(month.start(month.number(at("2024-02-29T20:00:00Z"))), at("2024-02-29T17:00:00Z"));
        assert_eq!(month.number(at("2024-02-29T16:00:00Z")), 54 * 12 + 1);
        let west = Calendar { per: Per::Day, offset: -60 };
        assert_eq!((west.number(Timestamp::EPOCH), west.start(-1)), (-1, Timestamp::EPOCH));
    }

    #[test]
    fn spans_are_whole_those_of_the_ends_too_and_not_too_many() {
        let now = at("2026-11-22T09:00:00Z");
        let asked = Histogram { per: Per::Day, from: None, to: None, offset: VIETNAM };
        let spans = asked.spans(now).unwrap();
        assert_eq!((spans.last - spans.first, spans.end()), (29, at("2026-11-22T17:00:00Z")));
        let (from, to) = (Some(at("2026-11-01T05:00:00Z")), Some(at("2026-11-02T17:00:00Z")));
        let spans = Histogram { from, to, ..asked }.spans(now).unwrap();
        assert_eq!((spans.start(), spans.end()), (at("2026-10-31T17:00:00Z"), at("2026-11-02T17:00:00Z")));
        let months = Histogram { per: Per::Month, ..asked }.spans(now).unwrap();
        assert_eq!(months.start(), at("2025-11-30T17:00:00Z"));
        assert!(Histogram { from: to, to: from, ..asked }.spans(now).is_err());
        let from = Some(at("2023-01-01T00:00:00Z"));
        assert!(Histogram { from, ..asked }.spans(now).is_err());
        assert!(Histogram { from, per: Per::Month, ..asked }.spans(now).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_moment_lies_in_its_span(micros in 86_400_000_000_u64..200_000_000_000_000_000, offset in -1_080_i16..1_080, months: bool) {
            let calendar = Calendar { per: if months { Per::Month } else { Per::Day }, offset };
            let at = Timestamp::from_micros_clamped(micros);
            let number = calendar.number(at);
            prop_assert!(calendar.start(number) <= at && at < calendar.start(number + 1));
            prop_assert_eq!(calendar.number(calendar.start(number + 1)), number + 1);
        }
    }
}
