//! Decides what can be asked of counts, and how they are told.

use crate::model::Invalid;
use crate::model::aggregate::{Buckets, Counted, Counting, Dimension, Histogram, Per, Row};
use crate::wire::proto::v1;

use super::{filter, time};

/// Rows where nobody says how many.
const USUAL_ROWS: usize = 100;
/// Most rows.
const MAX_ROWS: usize = 1_000;
/// Most rows that are told by spans.
const MAX_ROWS_BY_SPANS: usize = 100;
/// Most minutes between a local time and UTC.
const MAX_OFFSET: i32 = 1_080;

/// Reads what is to be counted.
///
/// # Errors
/// A filter that lists refuse, or numbers out of bounds.
pub fn read(request: v1::AggregateIndicatorsRequest) -> Result<Counting, Invalid> {
    let v1::AggregateIndicatorsRequest { filter, group_by, histogram, max_rows } = request;
    let by = match group_by {
        0 => None,
        number => Some(super::known("group_by", number, Dimension::from_number)?),
    };
    let most = if histogram.is_some() { MAX_ROWS_BY_SPANS } else { MAX_ROWS };
    let rows = match usize::try_from(max_rows) {
        Ok(0) => USUAL_ROWS,
        Ok(rows) if rows <= most => rows,
        _ => return Err(Invalid::new("max_rows", format!("is not from 0 to {most}"))),
    };
    Ok(Counting {
        filter: filter::read(filter).map_err(|refused| refused.under("filter"))?,
        by,
        histogram: histogram.map(read_histogram).transpose().map_err(|refused| refused.under("histogram"))?,
        rows,
    })
}

fn read_histogram(pb: v1::Histogram) -> Result<Histogram, Invalid> {
    let v1::Histogram { granularity, range, utc_offset_minutes } = pb;
    let v1::TimeRange { start_time, end_time } = range.unwrap_or_default();
    let (from, to) = time::open_span(("range.start_time", start_time), ("range.end_time", end_time))?;
    let offset = i16::try_from(utc_offset_minutes)
        .ok()
        .filter(|minutes| i32::from(*minutes).abs() <= MAX_OFFSET)
        .ok_or_else(|| Invalid::new("utc_offset_minutes", "is not from -1,080 to 1,080"))?;
    Ok(Histogram { per: super::known("granularity", granularity, Per::from_number)?, from, to, offset })
}

/// Writes what was counted by a dimension.
#[must_use]
pub fn write(counted: Counted, by: Option<Dimension>) -> v1::AggregateIndicatorsResponse {
    let Counted { rows, more_rows, total, buckets, exact, by: source, as_of, spans } = counted;
    v1::AggregateIndicatorsResponse {
        rows: rows.into_iter().map(|row| write_row(row, by)).collect(),
        more_rows,
        total,
        buckets: write_buckets(buckets),
        exact,
        source: i32::from(source.number()),
        as_of_time: Some(time::write(as_of)),
        range: spans.map(|spans| v1::TimeRange {
            start_time: Some(time::write(spans.start())),
            end_time: Some(time::write(spans.end())),
        }),
    }
}

fn write_row(row: Row, by: Option<Dimension>) -> v1::AggregateRow {
    let Row { value, count, buckets } = row;
    let undisclosed = value.is_none();
    let value = match value {
        Some(slug) if by == Some(Dimension::Owner) => format!("organisations/{slug}"),
        value => value.unwrap_or_default(),
    };
    v1::AggregateRow { value, undisclosed, count, buckets: write_buckets(buckets) }
}

fn write_buckets(buckets: Buckets) -> Vec<v1::AggregateBucket> {
    let bucket = |(start, count)| v1::AggregateBucket { start_time: Some(time::write(start)), count };
    buckets.into_iter().map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use crate::model::aggregate::CountedBy;

    use super::*;

    #[test]
    fn numbers_out_of_bounds_are_refused_by_the_name_of_their_field() {
        let day = v1::Histogram { granularity: 1, ..Default::default() };
        let ask = |group_by, max_rows, histogram| {
            let request = v1::AggregateIndicatorsRequest { filter: None, group_by, histogram, max_rows };
            read(request).map(|counting| counting.rows).map_err(|refused| refused.field)
        };
        assert_eq!(ask(0, 0, None), Ok(100));
        assert_eq!(ask(9, 1_000, None), Ok(1_000));
        assert_eq!(ask(1, 100, Some(day)), Ok(100));
        for (group_by, rows, histogram, field) in [
            (10, 0, None, "group_by"),
            (0, -1, None, "max_rows"),
            (0, 1_001, None, "max_rows"),
            (0, 101, Some(day), "max_rows"),
            (0, 0, Some(v1::Histogram { granularity: 0, ..day }), "histogram.granularity"),
            (0, 0, Some(v1::Histogram { utc_offset_minutes: 1_081, ..day }), "histogram.utc_offset_minutes"),
            (
                0,
                0,
                Some(v1::Histogram { utc_offset_minutes: i32::MIN, ..day }),
                "histogram.utc_offset_minutes",
            ),
        ] {
            assert_eq!(ask(group_by, rows, histogram), Err(field.to_owned()));
        }
    }

    #[test]
    fn dimensions_and_sources_have_the_numbers_of_the_contract() {
        for &dimension in Dimension::ALL {
            let named = v1::AggregateDimension::try_from(i32::from(dimension.number())).unwrap();
            let short = match dimension {
                Dimension::OrgKind => "ORGANISATION_KIND".to_owned(),
                Dimension::Outcome => "SIGHTING_OUTCOME".to_owned(),
                other => other.as_str().to_uppercase(),
            };
            assert_eq!(named.as_str_name(), format!("AGGREGATE_DIMENSION_{short}"));
        }
        for &source in CountedBy::ALL {
            let named = v1::AggregateSource::try_from(i32::from(source.number())).unwrap();
            assert_eq!(named.as_str_name(), format!("AGGREGATE_SOURCE_{}", source.as_str().to_uppercase()));
        }
        for &per in Per::ALL {
            let named = v1::HistogramGranularity::try_from(i32::from(per.number())).unwrap();
            assert_eq!(named.as_str_name(), format!("HISTOGRAM_GRANULARITY_{}", per.as_str().to_uppercase()));
        }
    }
}
