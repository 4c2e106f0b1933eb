//! Decides how `luytre list` walks and prints: page by page, as JSON lines,
//! values, or columns.

use crate::client::Client;
use crate::wire::proto::v1;

use super::arguments::{List, ListFormat};
use super::draft::wire_time;
use super::exit::Failure;
use super::output::{self, Data};
use super::record::Record;

/// Indicators in a page.
const PAGE: u64 = 500;
/// The head of the table; the last column is of any width.
const HEAD: [&str; 6] = ["INDICATOR", "KIND", "TLP", "OWNER", "STATE", "VALUE"];
const WIDTHS: [usize; 5] = [36, 8, 16, 20, 7];

/// Runs the command.
pub(super) async fn run(client: &Client, options: &List, data: &mut Data) -> Result<(), Failure> {
    if options.format == ListFormat::Plain {
        options.filter.check_plain().map_err(Failure::Usage)?;
    }
    let mut filter = options.filter.to_wire();
    filter.states = options.state.iter().map(|state| i32::from(state.number())).collect();
    if options.since.is_some() || options.until.is_some() {
        filter.added = Some(v1::TimeRange {
            start_time: options.since.map(wire_time),
            end_time: options.until.map(wire_time),
        });
    }
    let limit = if options.limit == 0 { u64::MAX } else { options.limit };
    let size = i32::try_from(limit.min(PAGE)).unwrap_or(i32::MAX);
    let mut walk = client.list(filter, size);
    let (mut printed, mut victims) = (0, 0);
    while let Some(page) = walk.next_page().await? {
        for indicator in page {
            if printed == limit {
                output::talk(&format!("luytre: there are more than {limit}; --limit 0 lists all"));
                tell_of(victims);
                return Ok(());
            }
            if printed == 0 && options.format == ListFormat::Table {
                data.line(&row(&HEAD.map(str::to_owned)))?;
            }
            let record = Record::of(indicator);
            printed += 1;
            if options.format == ListFormat::Plain && record.is_of_a_victim() {
                victims += 1;
                continue;
            }
            write(record, options.format, data)?;
        }
        data.flush()?;
    }
    if printed == 0 && options.format == ListFormat::Table {
        output::talk("luytre: nothing that you may see is like this");
    }
    tell_of(victims);
    Ok(())
}

fn tell_of(victims: u64) {
    if victims > 0 {
        output::talk(&format!(
            "luytre: {victims} of victims are left out, for plain lists feed what blocks; --format jsonl shows them"
        ));
    }
}

fn write(record: Record, format: ListFormat, data: &mut Data) -> Result<(), Failure> {
    match format {
        ListFormat::Jsonl => data.json(&record)?,
        ListFormat::Plain => data.line(&output::on_one_line(record.value()))?,
        ListFormat::Table => data.line(&row(&record.columns()))?,
    }
    Ok(())
}

fn row(columns: &[String; 6]) -> String {
    let mut line = String::new();
    let widths = WIDTHS.into_iter().chain(std::iter::once(0));
    for (column, width) in columns.iter().zip(widths) {
        line.push_str(&format!("{column:width$}  "));
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_under_their_heads() {
        let head = row(&HEAD.map(str::to_owned));
        let line = row(&["x", "url", "GREEN", "sa-ict", "active", "http://example.net/"].map(str::to_owned));
        assert_eq!(head.find("VALUE"), line.find("http://"));
        assert!(!line.ends_with(' '));
    }
}
