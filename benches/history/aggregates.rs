//! Decides which histograms are measured.

use luytre::wire::proto::v1::{self, AggregateDimension, HistogramGranularity};

use super::ask::Question;
use super::corpus::moment;
use super::filters::Source;

/// `HistoryService.AggregateIndicators`.
const AGGREGATE: &str = "/luytre.v1.HistoryService/AggregateIndicators";
/// A row of P15.
pub struct Row {
    pub what: &'static str,
    /// Milliseconds that 99 in 100 may take.
    pub target: f64,
    pub make: fn(&Source<'_>, u64) -> Question,
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row {
        what: "months by kind",
        target: 5.0,
        make: |source, number| ask(source, number, AggregateDimension::Kind, None),
    },
    Row {
        what: "months by label",
        target: 5.0,
        make: |source, number| ask(source, number, AggregateDimension::Label, None),
    },
    Row {
        what: "months by kind of one label",
        target: 250.0,
        make: |source, number| {
            let mut dice = source.corpus.dice(0xa9, number);
            let labels = vec![dice.one(&source.corpus.words.labels).clone()];
            ask(
                source,
                number,
                AggregateDimension::Kind,
                Some(v1::IndicatorFilter { labels, ..Default::default() }),
            )
        },
    },
    Row {
        what: "months by kind of one owner",
        target: 250.0,
        make: |source, number| {
            let mut dice = source.corpus.dice(0xaa, number);
            let owners = vec![super::roster::name(&super::roster::slug(dice.below(100) as usize))];
            ask(
                source,
                number,
                AggregateDimension::Kind,
                Some(v1::IndicatorFilter { owners, ..Default::default() }),
            )
        },
    },
];

/// Of the months before all was published, some or other: 3 to 24 of them.
fn ask(
    source: &Source<'_>,
    number: u64,
    group_by: AggregateDimension,
    filter: Option<v1::IndicatorFilter>,
) -> Question {
    let months = 3 + source.corpus.dice(0xab, number).below(22) as i64;
    let end = source.made.ended;
    let range = v1::TimeRange { start_time: moment(end - months * 30 * 86_400), end_time: moment(end) };
    let histogram = Some(v1::Histogram {
        granularity: HistogramGranularity::Month.into(),
        range: Some(range),
        utc_offset_minutes: 7 * 60,
    });
    let request =
        v1::AggregateIndicatorsRequest { filter, group_by: group_by.into(), histogram, max_rows: 0 };
    Question::new(AGGREGATE, &request)
}
