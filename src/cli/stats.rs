//! Decides how `luytre stats` and `luytre timeline` tell counts: as bars at the
//! prompt, as JSON, as comma-separated values, and as a drawing in a file.

use std::path::Path;

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::base::files::Replacement;
use crate::client::Client;
use crate::interop::export::csv_cell;
use crate::model::aggregate::{Calendar, CountedBy, Dimension, Per};
use crate::wire::event;
use crate::wire::proto::v1;

use super::arguments::{Drawn, Stats, Timeline};
use super::bars;
use super::chart::Chart;
use super::draft::wire_time;
use super::exit::Failure;
use super::language::{Language, VIETNAM, moment};
use super::output::{self, Data, count, for_eyes};
use super::record;
use super::terminal::{self, Terminal};

/// Of a drawing: what is in it is not for everyone.
const MODE: u32 = 0o600;
/// Longest name that is shown in full.
const NAME: usize = 40;

/// What was counted.
#[derive(Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    total: u64,
    exact: bool,
    source: &'static str,
    as_of_time: Option<String>,
    rows: Vec<Row>,
    more_rows: u64,
    /// Names of the spans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<String>,
    /// How many lie in each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    counts: Vec<u64>,
}

#[derive(Serialize)]
struct Row {
    value: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undisclosed: bool,
    count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    counts: Vec<u64>,
}

/// Runs `stats`.
pub(super) async fn stats(
    client: &Client,
    options: &Stats,
    (language, terminal): (Language, Terminal),
    data: &mut Data,
) -> Result<(), Failure> {
    let request = v1::AggregateIndicatorsRequest {
        filter: Some(options.asked.to_wire().map_err(Failure::Usage)?),
        group_by: i32::from(options.by.number()),
        histogram: None,
        max_rows: options.top,
    };
    let answer = client.aggregate(request).await?;
    let page = Page { by: Some(options.by), calendar: None, language, terminal };
    page.write(answer, &options.drawn, data)
}

/// Runs `timeline`.
pub(super) async fn timeline(
    client: &Client,
    options: &Timeline,
    (language, terminal): (Language, Terminal),
    data: &mut Data,
) -> Result<(), Failure> {
    let Timeline { by, per, from, to, utc, top, drawn, asked } = options;
    let calendar = Calendar { per: *per, offset: if *utc { 0 } else { VIETNAM } };
    let request = v1::AggregateIndicatorsRequest {
        filter: Some(asked.to_wire().map_err(Failure::Usage)?),
        group_by: by.map_or(0, |by| i32::from(by.number())),
        histogram: Some(v1::Histogram {
            granularity: i32::from(per.number()),
            range: Some(v1::TimeRange { start_time: from.map(wire_time), end_time: to.map(wire_time) }),
            utc_offset_minutes: i32::from(calendar.offset),
        }),
        max_rows: if by.is_some() { *top } else { 1 },
    };
    let answer = client.aggregate(request).await?;
    Page { by: *by, calendar: Some(calendar), language, terminal }.write(answer, drawn, data)
}

/// How an answer is written.
struct Page {
    by: Option<Dimension>,
    calendar: Option<Calendar>,
    language: Language,
    terminal: Terminal,
}

impl Page {
    fn write(
        &self,
        answer: v1::AggregateIndicatorsResponse,
        drawn: &Drawn,
        data: &mut Data,
    ) -> Result<(), Failure> {
        let as_of = answer.as_of_time;
        let counts = self.read(answer);
        if let Some(path) = &drawn.svg {
            self.draw(&counts, path)?;
        }
        if drawn.json {
            data.json(&counts)?;
        } else if drawn.csv {
            csv(&counts, data)?;
        } else if self.calendar.is_none() {
            self.bars(&counts, data)?;
        } else if self.by.is_none() {
            self.columns(&counts, data)?;
        } else {
            self.lines(&counts, data)?;
        }
        data.flush()?;
        self.tell(&counts, as_of);
        Ok(())
    }

    fn read(&self, answer: v1::AggregateIndicatorsResponse) -> Counts {
        let v1::AggregateIndicatorsResponse {
            rows,
            more_rows,
            total,
            buckets,
            exact,
            source,
            as_of_time,
            range,
        } = answer;
        let at = |at: Option<&prost_types::Timestamp>| at.and_then(event::timestamp);
        let range = range.unwrap_or_default();
        let ends = at(range.start_time.as_ref()).zip(at(range.end_time.as_ref()));
        let starts = match self.calendar.zip(ends) {
            Some((calendar, (from, to))) => starts(calendar, from, to),
            None => Vec::new(),
        };
        let fill = |buckets: Vec<v1::AggregateBucket>| {
            let mut counts = vec![0; starts.len()];
            for v1::AggregateBucket { start_time, count } in buckets {
                let place = at(start_time.as_ref()).and_then(|start| starts.binary_search(&start).ok());
                if let Some(slot) = place.and_then(|place| counts.get_mut(place)) {
                    *slot = count;
                }
            }
            counts
        };
        let row = |row: v1::AggregateRow| {
            let v1::AggregateRow { value, undisclosed, count, buckets } = row;
            Row { value: record::slug(&value).to_owned(), undisclosed, count, counts: fill(buckets) }
        };
        Counts {
            by: self.by.map(Dimension::as_str),
            total,
            exact,
            source: record::number(source)
                .and_then(CountedBy::from_number)
                .map_or("unknown", CountedBy::as_str),
            as_of_time: record::time(as_of_time),
            rows: rows.into_iter().map(row).collect(),
            more_rows,
            spans: starts.iter().map(|start| self.name(*start)).collect(),
            counts: fill(buckets),
        }
    }

    /// The day or the month that begins at a moment.
    fn name(&self, start: Timestamp) -> String {
        let Some(calendar) = self.calendar else { return String::new() };
        let date = calendar.local(start).date();
        let month = format!("{:04}-{:02}", date.year(), u8::from(date.month()));
        match calendar.per {
            Per::Month => month,
            Per::Day => format!("{month}-{:02}", date.day()),
        }
    }

    const fn say(&self, en: &'static str, vi: &'static str) -> &'static str {
        self.language.say(en, vi)
    }

    /// A row's name for people.
    fn named(&self, row: &Row) -> String {
        if row.undisclosed {
            return self.say("source masked", "nguồn được ẩn").to_owned();
        }
        terminal::cut(&for_eyes(&row.value), NAME)
    }

    fn bars(&self, counts: &Counts, data: &mut Data) -> Result<(), Failure> {
        let rows = counts.rows.iter().map(|row| (self.named(row), row.count));
        self.bars_of(rows.collect(), data)?;
        self.more(counts, data)
    }

    fn columns(&self, counts: &Counts, data: &mut Data) -> Result<(), Failure> {
        self.bars_of(counts.spans.iter().cloned().zip(counts.counts.iter().copied()).collect(), data)
    }

    /// A bar for each, all to one measure.
    fn bars_of(&self, rows: Vec<(String, u64)>, data: &mut Data) -> Result<(), Failure> {
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or_default();
        let names = rows.iter().map(|(name, _)| terminal::width(name)).max().unwrap_or_default();
        let digits = count(most).len();
        let columns = self.terminal.width().saturating_sub(names + digits + 4).max(10);
        for (name, n) in rows {
            let bar = bars::bar(n, most, columns, self.terminal.blocks);
            let line = format!("{}  {:>digits$}  {bar}", terminal::pad(&name, names), count(n));
            data.line(line.trim_end())?;
        }
        Ok(())
    }

    /// A line for each row, all to one measure; as many spans as there is room
    /// for, the last ones.
    fn lines(&self, counts: &Counts, data: &mut Data) -> Result<(), Failure> {
        let names: Vec<_> = counts.rows.iter().map(|row| self.named(row)).collect();
        let width = names.iter().map(|name| terminal::width(name)).max().unwrap_or_default();
        let digits = counts.rows.iter().map(|row| count(row.count).len()).max().unwrap_or_default();
        let room = self.terminal.width().saturating_sub(width + digits + 4).max(10);
        let left_out = counts.spans.len().saturating_sub(room);
        let shown = |row: &'_ Row| row.counts.get(left_out..).unwrap_or_default().to_vec();
        let most = counts.rows.iter().flat_map(&shown).max().unwrap_or_default();
        if let Some((first, last)) = counts.spans.get(left_out).zip(counts.spans.last())
            && !counts.rows.is_empty()
        {
            let (n, each) = (count(most), self.say("at the highest", "ở mức cao nhất"));
            data.line(&format!("{}  {first} – {last}, {n} {each}", " ".repeat(width + digits + 2)))?;
        }
        for (row, name) in counts.rows.iter().zip(names) {
            let line = bars::line(&shown(row), most, self.terminal.blocks);
            let line = format!("{}  {:>digits$}  {line}", terminal::pad(&name, width), count(row.count));
            data.line(line.trim_end())?;
        }
        self.more(counts, data)
    }

    fn more(&self, counts: &Counts, data: &mut Data) -> Result<(), Failure> {
        if counts.more_rows > 0 {
            let rows = self.say("rows more; --top shows them", "dòng nữa; xem bằng --top");
            data.line(&format!("… {} {rows}", count(counts.more_rows)))?;
        }
        Ok(())
    }

    /// Tells what was counted, how, and as of when.
    fn tell(&self, counts: &Counts, as_of: Option<prost_types::Timestamp>) {
        let what = if self.by == Some(Dimension::Outcome) {
            self.say("sightings", "lượt ghi nhận")
        } else {
            self.say("indicators", "chỉ báo")
        };
        let how = if counts.source == CountedBy::Counters.as_str() {
            self.say("by the hub's counters", "theo bộ đếm của trung tâm")
        } else {
            self.say("by going through them", "bằng cách duyệt từng chỉ báo")
        };
        let when = self.say("as of", "tính đến");
        output::talk(&format!("luytre: {} {what}, {how}, {when} {}", count(counts.total), moment(as_of)));
        if !counts.exact {
            output::talk(self.say(
                "luytre: that is not all of them, for there are too many: ask for fewer, or without --utc and with one filter",
                "luytre: chưa đếm hết vì có quá nhiều: hãy hỏi hẹp hơn, hoặc bỏ --utc và chỉ dùng một bộ lọc",
            ));
        }
    }

    fn draw(&self, counts: &Counts, path: &Path) -> Result<(), Failure> {
        let what = if self.by == Some(Dimension::Outcome) {
            self.say("Sightings", "Lượt ghi nhận")
        } else {
            self.say("Indicators", "Chỉ báo")
        };
        let by = counts.by.map(|by| format!(" {} {by}", self.say("by", "theo"))).unwrap_or_default();
        let as_of = counts.as_of_time.as_deref().unwrap_or_default();
        let title = format!("{what}{by}: {} ({as_of})", count(counts.total));
        let names: Vec<_> = counts.rows.iter().map(|row| self.named(row)).collect();
        let rows = names.iter().zip(&counts.rows).map(|(name, row)| (name.as_str(), row.count, &*row.counts));
        let chart =
            Chart { title: &title, rows: rows.collect(), spans: &counts.spans, whole: &counts.counts };
        let failed =
            |error: &dyn std::fmt::Display| Failure::Io(format!("cannot write {}: {error}", path.display()));
        let svg = chart.svg().map_err(|error| failed(&error))?;
        let mut file = Replacement::of(path, MODE).map_err(|error| failed(&error))?;
        std::io::Write::write_all(&mut file, svg.as_bytes()).map_err(|error| failed(&error))?;
        file.publish().map_err(|error| failed(&error))
    }
}

/// Where the spans from one moment to another begin.
fn starts(calendar: Calendar, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let numbers = calendar.number(from)..;
    let starts = numbers.map(|number| calendar.start(number)).take_while(|start| *start < to);
    starts.take(usize::try_from(crate::model::aggregate::MAX_SPANS).unwrap_or_default()).collect()
}

/// One line for each row, and for each span of it.
fn csv(counts: &Counts, data: &mut Data) -> Result<(), Failure> {
    let mut out = Vec::new();
    let mut line = |cells: &[&str]| {
        for (at, text) in cells.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            csv_cell(text, &mut out);
        }
        out.extend_from_slice(b"\r\n");
    };
    match (counts.by, counts.spans.is_empty()) {
        (_, true) => {
            line(&[counts.by.unwrap_or("all"), "count"]);
            counts.rows.iter().for_each(|row| line(&[&row.value, &row.count.to_string()]));
        }
        (None, false) => {
            line(&["start", "count"]);
            for (span, n) in counts.spans.iter().zip(&counts.counts) {
                line(&[span, &n.to_string()]);
            }
        }
        (Some(by), false) => {
            line(&["start", by, "count"]);
            for row in &counts.rows {
                for (span, n) in counts.spans.iter().zip(&row.counts) {
                    line(&[span, &row.value, &n.to_string()]);
                }
            }
        }
    }
    Ok(data.bytes(&out)?)
}

#[cfg(test)]
mod tests;
