//! Decides how `luytre publish` works through its input: line by line, in
//! bounded memory, with verdicts matched to lines.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::client::{Client, PublishOptions, PublishStream, Verdict};
use crate::interop::{Field, Format, Found, What};
use crate::wire::convert;

use super::arguments::PublishFile;
use super::draft::{Refused, Template};
use super::exit::Failure;
use super::import::{Import, Part};
use super::input::{Input, Item};
use super::output::{self, count};
use super::report::{Pending, Report};
use super::stop::Stop;

/// A slow source is not held back until a batch is full.
const LINGER: Duration = Duration::from_millis(200);
/// Longest wait for outstanding verdicts once the command is asked to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the command, but for `--dry-run`.
pub(super) async fn run(client: &Client, options: &PublishFile, quiet: bool) -> Result<(), Failure> {
    let (template, mut stop) = begin(options)?;
    let input = tokio::select! {
        input = Input::open(options) => input?,
        () = stop.asked() => return Ok(()),
    };
    let mut report = report(options, &template, &input)?;
    let on_behalf_of = options.how.on_behalf_of.clone().unwrap_or_default();
    let import = match &options.resume {
        Some(path) => Some(Import::open(path, client.hub(), usize::from(options.how.batch), &on_behalf_of)?),
        None => None,
    };
    if let Some(import) = &import {
        report.go_on(import.counts());
    }
    let stream = client.publish_stream(PublishOptions {
        batch: usize::from(options.how.batch),
        on_behalf_of,
        ..PublishOptions::default()
    });
    let progress = output::progress(input.size(), quiet);
    let mut work = Work { input, template, stream, import, pending: VecDeque::new(), report, progress };
    let ended = tokio::select! {
        ended = work.read_all() => ended.map(|()| true),
        () = stop.asked() => Ok(false),
    };
    let ended = match ended {
        // What is on its way deserves its verdict.
        Ok(false) => match tokio::time::timeout(FAREWELL, work.flush()).await {
            Ok(flushed) => flushed.map(|()| false),
            Err(_) => Ok(false),
        },
        other => other,
    };
    work.progress.finish_and_clear();
    conclude(work, ended)
}

/// Runs `--dry-run`: reads everything as the hub would, and publishes nothing.
pub(super) async fn try_out(options: &PublishFile, quiet: bool) -> Result<(), Failure> {
    let (template, mut stop) = begin(options)?;
    let mut input = tokio::select! {
        input = Input::open(options) => input?,
        () = stop.asked() => return Ok(()),
    };
    let mut report = report(options, &template, &input)?;
    report.of_trial();
    let progress = output::progress(input.size(), quiet);
    let reading = async {
        while let Some(item) = input.next().await {
            let Some((pending, draft)) = drafted(item, &template, &mut report)? else { continue };
            match convert::draft::read(draft) {
                Ok(_) => report.fits(),
                Err(wrong) if wrong.field.is_empty() => {
                    report.refuse(&pending, wrong.reason.as_str(), &wrong.problem)?
                }
                Err(wrong) => {
                    report.refuse(
                        &pending,
                        wrong.reason.as_str(),
                        &format!("{}: {}", wrong.field, wrong.problem),
                    )?;
                }
            }
            progress.set_position(input.read());
        }
        Ok::<_, Failure>(true)
    };
    let ended = tokio::select! {
        ended = reading => ended,
        () = stop.asked() => Ok(false),
    };
    progress.finish_and_clear();
    let refused = report.refused();
    output::talk(&report.finish()?);
    verdict(ended?, refused)
}

fn begin(options: &PublishFile) -> Result<(Template, Stop), Failure> {
    let template = Template::new(&options.how);
    template.check()?;
    let stop = Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    Ok((template, stop))
}

fn report(options: &PublishFile, template: &Template, input: &Input) -> Result<Report, Failure> {
    let tells_marking = match input.format() {
        Format::Jsonl => true,
        Format::Csv | Format::Semicolons | Format::Tsv => {
            options.how.map.iter().any(|m| m.field == Field::Tlp)
        }
        _ => false,
    };
    if !tells_marking {
        template.check_for_plain()?;
    }
    let mut report = match &options.how.rejects {
        Some(path) => Report::with_rejects(path, &options.input)?,
        None => Report::default(),
    };
    report.of(input.format());
    Ok(report)
}

/// Tells what became of the lines, however the work ended.
fn conclude(work: Work, ended: Result<bool, Failure>) -> Result<(), Failure> {
    let unanswered = work.pending.len();
    let refused = work.report.refused();
    // Whoever is turned away at the door has only that to be told.
    let turned_away = work.report.judged() == 0 && matches!(&ended, Err(error) if error.is_at_the_door());
    let report = work.report.finish()?;
    if turned_away {
        return ended.map(drop);
    }
    output::talk(&report);
    if unanswered > 0 {
        output::talk(&format!(
            "{} lines have no verdict: they may or may not be published. Run the command again; what is published already stays as it is.",
            count(u64::try_from(unanswered).unwrap_or(u64::MAX))
        ));
    }
    let ended = ended?;
    if let Some(import) = work.import.filter(|_| ended) {
        import.done()?;
    }
    verdict(ended, refused)
}

fn verdict(ended: bool, refused: u64) -> Result<(), Failure> {
    match ended {
        false => Err(Failure::Interrupted(
            "interrupted before the end of the input; run the command again to publish the rest".to_owned(),
        )),
        true if refused > 0 => Err(Failure::SomeRefused),
        true => Ok(()),
    }
}

/// The draft of what was read, or nothing, where the report has it already.
fn drafted(
    item: Item,
    template: &Template,
    report: &mut Report,
) -> Result<Option<(Pending, crate::wire::proto::v1::IndicatorDraft)>, Failure> {
    let Found { line: number, what } = item.map_err(|error| Failure::Io(error.to_string()))?;
    let record = match what {
        What::Record(record) => *record,
        What::Refused(unread) => return report.unread(number, &unread).map(|()| None),
        What::PassedOver(unread) => return report.pass_over(number, &unread).map(|()| None),
    };
    let draft = template.draft(&record);
    let pending = Pending { number, record: report.keeps_records().then_some(record) };
    match draft {
        Ok(draft) => Ok(Some((pending, draft))),
        Err(Refused { reason, problem }) => report.refuse(&pending, reason, &problem).map(|()| None),
    }
}

struct Work {
    input: Input,
    template: Template,
    stream: PublishStream,
    /// The place of an import that is kept.
    import: Option<Import>,
    /// Lines sent or gathered, oldest first. Bounded by the stream's window.
    pending: VecDeque<Pending>,
    report: Report,
    progress: ProgressBar,
}

impl Work {
    async fn read_all(&mut self) -> Result<(), Failure> {
        loop {
            match tokio::time::timeout(LINGER, self.input.next()).await {
                Ok(Some(item)) => self.take(item).await?,
                Ok(None) => break,
                // The part of an import that is not full is not sent: its parts
                // are the same however fast it is read.
                Err(_) => self.flush().await?,
            }
        }
        let last = self.import.as_mut().map(Import::last).transpose()?.flatten();
        self.send(last).await?;
        // Judged first: an interrupted farewell loses no verdict.
        self.flush().await?;
        let rest = self.stream.finish().await?;
        self.judge(rest)
    }

    async fn take(&mut self, item: Item) -> Result<(), Failure> {
        let Some((pending, draft)) = drafted(item, &self.template, &mut self.report)? else { return Ok(()) };
        let verdicts = match &mut self.import {
            Some(import) => {
                let part = import.take(draft)?;
                self.send(part).await?;
                self.pending.push_back(pending);
                return Ok(());
            }
            None => {
                self.pending.push_back(pending);
                self.stream.push(draft).await?
            }
        };
        self.judge(verdicts)
    }

    /// Sends a part of an import, unless an earlier run has its answer.
    async fn send(&mut self, part: Option<Part>) -> Result<(), Failure> {
        match part {
            None => Ok(()),
            Some(Part::Answered(count)) => {
                self.pending.drain(..count.min(self.pending.len()));
                Ok(())
            }
            Some(Part::New(id, drafts)) => {
                let verdicts = self.stream.push_batch(id, drafts).await?;
                self.judge(verdicts)
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let verdicts = self.stream.flush().await?;
        self.judge(verdicts)
    }

    fn judge(&mut self, verdicts: Vec<Verdict>) -> Result<(), Failure> {
        for verdict in verdicts {
            let Some(pending) = self.pending.pop_front() else {
                return Err(Failure::Io(
                    "a verdict came for a line that was not sent; please report this".to_owned(),
                ));
            };
            self.report.verdict(&pending, verdict.result)?;
            if let Some(import) = &mut self.import {
                import.answered(self.report.counts())?;
            }
        }
        self.progress.set_position(self.input.read());
        self.progress.set_message(format!(
            "{} published, {} refused",
            count(self.report.judged() - self.report.refused()),
            count(self.report.refused())
        ));
        Ok(())
    }
}
