//! Decides how `luytre publish` works through its input: line by line, in
//! bounded memory, with verdicts matched to lines.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::client::{Client, PublishOptions, PublishStream, Verdict};
use crate::interop;
use crate::model::indicator::Kind;

use super::arguments::{InputFormat, Publish};
use super::draft::{Refused, Template};
use super::exit::Failure;
use super::input::{Input, Item};
use super::output::{self, count};
use super::report::{Pending, Report};
use super::stop::Stop;

/// A slow source is not held back until a batch is full.
const LINGER: Duration = Duration::from_millis(200);
/// Longest wait for outstanding verdicts once the command is asked to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Publish, quiet: bool) -> Result<(), Failure> {
    let template = Template::new(options);
    template.check()?;
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let input = tokio::select! {
        input = open(options) => input?,
        () = stop.asked() => return Ok(()),
    };
    if input.format() == InputFormat::Plain {
        template.check_for_plain()?;
    }
    let report = match &options.rejects {
        Some(path) => Report::with_rejects(path)?,
        None => Report::default(),
    };
    let stream = client.publish_stream(PublishOptions {
        batch: usize::from(options.batch),
        on_behalf_of: options.on_behalf_of.clone().unwrap_or_default(),
        ..PublishOptions::default()
    });
    let progress = output::progress(input.size(), quiet);
    let mut work = Work { input, template, stream, pending: VecDeque::new(), report, progress };
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

/// The input: line by line, or as a whole if it is a rule.
async fn open(options: &Publish) -> Result<Input, Failure> {
    let rule = options.kind.is_some_and(Kind::is_rule) && options.format != InputFormat::Jsonl;
    if rule { Input::whole(&options.input).await } else { Input::open(&options.input, options.format).await }
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
    match ended? {
        false => Err(Failure::Interrupted(
            "interrupted before the end of the input; run the command again to publish the rest".to_owned(),
        )),
        true if refused > 0 => Err(Failure::SomeRefused),
        true => Ok(()),
    }
}

struct Work {
    input: Input,
    template: Template,
    stream: PublishStream,
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
                Err(_) => self.flush().await?,
            }
        }
        // Judged first: an interrupted farewell loses no verdict.
        self.flush().await?;
        let rest = self.stream.finish().await?;
        self.judge(rest)
    }

    async fn take(&mut self, item: Item) -> Result<(), Failure> {
        let (number, record) = match item {
            Ok(read) => read,
            Err(error @ interop::Error::Read { .. }) => return Err(Failure::Io(error.to_string())),
            Err(error) => {
                let pending = Pending { number: error.number(), record: None };
                let text = error.to_string();
                let problem = text.strip_prefix(&format!("line {}: ", error.number())).unwrap_or(&text);
                return self.report.refuse(&pending, "FIELD_INVALID", problem);
            }
        };
        let draft = self.template.draft(&record);
        let pending = Pending { number, record: self.report.keeps_records().then_some(record) };
        match draft {
            Ok(draft) => {
                self.pending.push_back(pending);
                let verdicts = self.stream.push(draft).await?;
                self.judge(verdicts)
            }
            Err(Refused { reason, problem }) => self.report.refuse(&pending, reason, &problem),
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
