//! Decides how `luytre query` walks and prints: page by page, as a table, JSON
//! lines, comma-separated values, or values alone; and goes on if that is
//! asked.

use crate::base::clock::{Clock as _, SystemClock};
use crate::client::Client;
use crate::interop::export::{Head, Writer};
use crate::model::export::Format;
use crate::wire::convert::shown;
use crate::wire::proto::v1;

use super::arguments::{ListFormat, Query};
use super::draft::wire_time;
use super::exit::Failure;
use super::language::{Language, Times};
use super::output::{self, Data};
use super::record::Record;
use super::stop::Stop;
use super::table::Table;
use super::terminal::Terminal;
use super::watch::News;

/// Indicators in a page.
const PAGE: u64 = 500;

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Query,
    (language, terminal): (Language, Terminal),
    data: &mut Data,
) -> Result<(), Failure> {
    if options.written() == ListFormat::Plain {
        options.asked.filter.check_plain().map_err(Failure::Usage)?;
    }
    // Moments that files keep are told in full.
    let relative = terminal.columns.is_some() && !options.utc && !options.absolute;
    let times = Times { utc: options.utc, now: relative.then(|| SystemClock.now()) };
    let mut list = List::new(options.written(), language, times, terminal.colours);
    if !options.watch {
        return ask(client, options, language, &mut list, data, &mut |_| ()).await;
    }
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        biased;
        () = stop.asked() => Ok(data.flush()?),
        ended = watch(client, options, language, &mut list, data) => ended,
    }
}

/// Asks, and goes on with what newly matches.
async fn watch(
    client: &Client,
    options: &Query,
    language: Language,
    list: &mut List,
    data: &mut Data,
) -> Result<(), Failure> {
    let mut news = News::listen(client, options).await?;
    ask(client, options, language, list, data, &mut |indicator| news.note(indicator)).await?;
    data.flush()?;
    output::talk(language.say(
        "luytre: waiting for what newly matches; Ctrl-C ends it",
        "luytre: đang chờ chỉ báo mới; nhấn Ctrl-C để kết thúc",
    ));
    loop {
        let found = news.next().await?;
        found.iter().for_each(|indicator| news.note(indicator));
        list.renew();
        list.write(found, data)?;
        data.flush()?;
    }
}

/// Asks, page by page, up to the limit.
async fn ask(
    client: &Client,
    options: &Query,
    language: Language,
    list: &mut List,
    data: &mut Data,
    note: &mut (dyn FnMut(&v1::Indicator) + Send),
) -> Result<(), Failure> {
    let limit = if options.all || options.limit == 0 { u64::MAX } else { options.limit };
    let mut walk = client.query(v1::ListIndicatorsRequest {
        filter: Some(options.asked.to_wire().map_err(Failure::Usage)?),
        page_size: i32::try_from(limit.min(PAGE)).unwrap_or(i32::MAX),
        order: i32::from(options.order.number()),
        as_of: options.as_of.map(wire_time),
        explain: options.explain,
        page_token: String::new(),
    });
    let mut printed = 0;
    while let Some(mut page) = walk.next_page().await? {
        tell_of_plan(walk.plan());
        let room = limit - printed;
        let more = page.len() as u64 > room;
        page.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        printed += page.len() as u64;
        page.iter().for_each(&mut *note);
        list.write(page, data)?;
        if more {
            output::talk(&match language {
                Language::En => format!("luytre: there are more than {limit}; --all shows all"),
                Language::Vi => format!("luytre: còn nhiều hơn {limit} chỉ báo; --all để xem tất cả"),
            });
            break;
        }
        data.flush()?;
    }
    if printed == 0 && list.format == ListFormat::Table {
        output::talk(language.say(
            "luytre: nothing that you may see is like this",
            "luytre: không có chỉ báo nào như vậy mà bạn được xem",
        ));
    }
    if list.victims > 0 {
        output::talk(&match language {
            Language::En => format!(
                "luytre: {} of victims are left out, for plain lists feed what blocks; --format jsonl shows them",
                list.victims
            ),
            Language::Vi => format!(
                "luytre: {} chỉ báo của nạn nhân được bỏ qua, vì danh sách này dùng để chặn; --format jsonl để xem",
                list.victims
            ),
        });
    }
    Ok(())
}

/// Tells how a page was found.
fn tell_of_plan(plan: Option<&v1::QueryPlan>) {
    for step in plan.into_iter().flat_map(|plan| &plan.steps) {
        let rows = output::count(step.rows);
        let expected = step.expected.map(|expected| format!(" of some {}", output::count(expected)));
        output::talk(&format!("luytre: {}: {rows}{}", step.text, expected.unwrap_or_default()));
    }
}

/// Indicators on their way out.
struct List {
    format: ListFormat,
    table: Table,
    csv: Writer,
    /// Whether something was written.
    begun: bool,
    /// Left out.
    victims: u64,
}

impl List {
    fn new(format: ListFormat, language: Language, times: Times, colours: bool) -> Self {
        let (table, csv) = (Table::new(language, times, colours), Writer::of(Format::Csv, &[]));
        Self { format, table, csv, begun: false, victims: 0 }
    }

    /// Goes on to the present, from which moments are told.
    fn renew(&mut self) {
        self.table.renew(SystemClock.now());
    }

    fn write(&mut self, page: Vec<v1::Indicator>, data: &mut Data) -> Result<(), Failure> {
        match self.format {
            ListFormat::Csv => self.write_csv(page, data)?,
            ListFormat::Table => {
                let records: Vec<_> = page.into_iter().map(Record::of).collect();
                self.table.rows(&records, data)?;
            }
            ListFormat::Jsonl => {
                for indicator in page {
                    data.json(&Record::of(indicator))?;
                }
            }
            ListFormat::Plain => {
                for record in page.into_iter().map(Record::of) {
                    if record.is_of_a_victim() {
                        self.victims += 1;
                    } else {
                        data.line(&output::on_one_line(record.value()))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// As `luytre export` writes them, the head once.
    fn write_csv(&mut self, page: Vec<v1::Indicator>, data: &mut Data) -> Result<(), Failure> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            self.csv.head(Head { tlp: None, serial: 0 }, &mut out);
        }
        if let Writer::Table(table) = &mut self.csv {
            page.into_iter().for_each(|indicator| table.row(shown::read(indicator), &mut out));
        }
        Ok(data.bytes(&out)?)
    }
}
