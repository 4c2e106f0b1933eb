//! Decides what a publisher is told at the end: how many were accepted, and
//! which lines were not, with the reason.

use std::collections::BTreeMap;
use std::fs::{Metadata, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::client::Refusal;
use crate::interop::jsonl::Record;
use crate::interop::{Format, Reject as Unread};
use crate::wire::proto::v1;

use super::exit::Failure;
use super::guarded::Guarded;
use super::output::count;

/// Refused lines that are shown; all of them go to `--rejects`.
const SHOWN: usize = 20;

/// A line whose verdict is awaited.
#[derive(Debug)]
pub(super) struct Pending {
    /// Its number.
    pub(super) number: u64,
    /// What it said, kept only for `--rejects`.
    pub(super) record: Option<Record>,
}

/// How far an earlier run came.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) reinstated: u64,
}

/// What was published and what was refused.
#[derive(Debug, Default)]
pub(super) struct Report {
    format: Option<Format>,
    counts: Counts,
    /// Nothing is published.
    trial: bool,
    /// Would be published, were this no trial.
    fit: u64,
    refused: u64,
    by_reason: BTreeMap<String, u64>,
    /// What only resembled an indicator, by cause.
    passed_over: BTreeMap<&'static str, u64>,
    guarded: Guarded,
    shown: Vec<String>,
    rejects: Option<Rejects>,
}

#[derive(Debug)]
struct Rejects {
    path: PathBuf,
    input: String,
    file: BufWriter<std::fs::File>,
}

/// A refused line, as `--rejects` writes it: what it said, and why that was
/// refused, in a form that `publish` reads once it is mended.
#[derive(Serialize)]
struct Reject<'a> {
    file: &'a str,
    line: u64,
    reason: &'a str,
    problem: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    passed_over: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(flatten)]
    record: Option<&'a Record>,
}

impl Report {
    /// A report that also writes refused lines to a file, which only its owner
    /// can read: it holds values.
    pub(super) fn with_rejects(path: &Path, input: &Path) -> Result<Self, Failure> {
        Self::writing(path, input, true)
    }

    /// The same, after what stands in the file already.
    pub(super) fn with_rejects_added(path: &Path, input: &Path) -> Result<Self, Failure> {
        Self::writing(path, input, false)
    }

    fn writing(path: &Path, input: &Path, anew: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Io(format!("cannot write {}: {error}", path.display()));
        // Emptied only once it is known not to be what is read.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            let read = if input == Path::new("-") { Path::new("/dev/stdin") } else { input };
            let same = |other: Metadata| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino());
            if std::fs::metadata(read).is_ok_and(same) {
                return Err(Failure::Usage(format!(
                    "luytre: --rejects {} is the input itself, which would be lost; name another file.",
                    path.display()
                )));
            }
            file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
            if anew {
                file.set_len(0).map_err(failed)?;
            }
        }
        let input = input.display().to_string();
        let rejects = Rejects { path: path.to_owned(), input, file: BufWriter::new(file) };
        Ok(Self { rejects: Some(rejects), ..Self::default() })
    }

    /// Whether what lines said is needed beside their verdict.
    pub(super) const fn keeps_records(&self) -> bool {
        self.rejects.is_some()
    }

    /// Lines with a verdict.
    pub(super) const fn judged(&self) -> u64 {
        self.accepted() + self.refused
    }

    const fn accepted(&self) -> u64 {
        let Counts { created, updated, unchanged, reinstated } = self.counts;
        self.fit + created + updated + unchanged + reinstated
    }

    /// Tells the format beside the counts.
    pub(super) const fn of(&mut self, format: Format) {
        self.format = Some(format);
    }

    /// The counts of an earlier run, which this one goes on from.
    pub(super) const fn go_on(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// The counts so far.
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Tells that nothing is published.
    pub(super) const fn of_trial(&mut self) {
        self.trial = true;
    }

    /// Notes a line that would be published.
    pub(super) const fn fits(&mut self) {
        self.fit += 1;
    }

    /// Lines that were refused.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Notes the hub's verdict on a line; returns the reason and the problem if
    /// it is refused.
    pub(super) fn verdict(
        &mut self,
        pending: &Pending,
        result: v1::PublishResult,
    ) -> Result<Option<(String, String)>, Failure> {
        use v1::publish_result::Outcome;
        let (reason, problem) = match result.outcome {
            Some(Outcome::Published(published)) => {
                match published.effect() {
                    v1::PublishEffect::Unchanged => self.counts.unchanged += 1,
                    v1::PublishEffect::Updated => self.counts.updated += 1,
                    v1::PublishEffect::Reinstated => self.counts.reinstated += 1,
                    v1::PublishEffect::Created | v1::PublishEffect::Unspecified => self.counts.created += 1,
                }
                self.guarded.note(pending.number, published.guard.as_ref());
                return Ok(None);
            }
            Some(Outcome::Rejected(status)) => {
                let refusal = Refusal::from_item(&status);
                let fields: Vec<String> =
                    refusal.fields.iter().map(|v| format!("{}: {}", of_line(&v.field), v.problem)).collect();
                let problem = if fields.is_empty() { refusal.message } else { fields.join("; ") };
                let reason = if refusal.reason.is_empty() { "REFUSED".to_owned() } else { refusal.reason };
                (reason, problem)
            }
            None => ("REFUSED".to_owned(), "the hub gave no verdict".to_owned()),
        };
        self.refuse(pending, &reason, &problem)?;
        Ok(Some((reason, problem)))
    }

    /// Notes a refused line.
    pub(super) fn refuse(&mut self, pending: &Pending, reason: &str, problem: &str) -> Result<(), Failure> {
        self.note_refused(pending.number, reason, problem);
        self.write(pending.number, reason, problem, None, pending.record.as_ref(), false)
    }

    /// Notes what the reader refused.
    pub(super) fn unread(&mut self, line: u64, unread: &Unread) -> Result<(), Failure> {
        let Unread { reason, problem, text } = unread;
        self.note_refused(line, reason.as_str(), problem);
        self.write(
            line,
            reason.as_str(),
            problem,
            Some(text.as_str()).filter(|text| !text.is_empty()),
            None,
            false,
        )
    }

    /// Notes what the reader passed over: it only resembles an indicator.
    pub(super) fn pass_over(&mut self, line: u64, unread: &Unread) -> Result<(), Failure> {
        let Unread { reason, problem, text } = unread;
        *self.passed_over.entry(reason.as_str()).or_default() += 1;
        self.write(line, reason.as_str(), problem, Some(text), None, true)
    }

    fn note_refused(&mut self, line: u64, reason: &str, problem: &str) {
        self.refused += 1;
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(format!("  line {line}: {reason}: {problem}"));
        }
    }

    fn write(
        &mut self,
        line: u64,
        reason: &str,
        problem: &str,
        text: Option<&str>,
        record: Option<&Record>,
        passed_over: bool,
    ) -> Result<(), Failure> {
        let Some(rejects) = &mut self.rejects else { return Ok(()) };
        let file = rejects.input.as_str();
        let reject = Reject { file, line, reason, problem, passed_over, text, record };
        let written = serde_json::to_writer(&mut rejects.file, &reject)
            .map_err(io::Error::from)
            .and_then(|()| rejects.file.write_all(b"\n"));
        written.map_err(|error| Failure::Io(format!("cannot write {}: {error}", rejects.path.display())))
    }

    /// Ends the file of refused lines and returns the text of the report.
    pub(super) fn finish(mut self) -> Result<String, Failure> {
        let Counts { created, updated, unchanged, reinstated } = self.counts;
        let format = self.format.map(|format| format!("read as {}\n", format.as_str())).unwrap_or_default();
        let mut text = format!("{format}accepted {}", count(self.accepted()));
        if self.trial {
            text.push_str(" (a trial: nothing is published)");
        } else {
            let [new, updated, same] = [created, updated, unchanged].map(count);
            text.push_str(&format!(": {new} new, {updated} updated, {same} unchanged"));
        }
        if reinstated > 0 {
            text.push_str(&format!(", {} reinstated", count(reinstated)));
        }
        if self.refused > 0 {
            let reasons: Vec<String> =
                self.by_reason.iter().map(|(reason, n)| format!("{reason} {}", count(*n))).collect();
            text.push_str(&format!("\nrefused {}: {}", count(self.refused), reasons.join(", ")));
            for line in &self.shown {
                text.push('\n');
                text.push_str(line);
            }
            let more = self.refused - u64::try_from(self.shown.len()).unwrap_or(0);
            match &self.rejects {
                Some(rejects) => text.push_str(&format!("\n  all of them: {}", rejects.path.display())),
                None if more > 0 => {
                    text.push_str(&format!("\n  and {} more; --rejects FILE writes them all", count(more)));
                }
                None => {}
            }
        }
        if !self.passed_over.is_empty() {
            let reasons: Vec<String> =
                self.passed_over.iter().map(|(reason, n)| format!("{reason} {}", count(*n))).collect();
            let all = self.passed_over.values().sum();
            text.push_str(&format!("\npassed over {}: {}", count(all), reasons.join(", ")));
        }
        text.push_str(&self.guarded.told());
        if let Some(rejects) = &mut self.rejects {
            rejects
                .file
                .flush()
                .map_err(|error| Failure::Io(format!("cannot write {}: {error}", rejects.path.display())))?;
        }
        Ok(text)
    }
}

/// The path of a field within its line: the line number, which is told beside
/// it, says more than the place in the batch.
fn of_line(field: &str) -> &str {
    field
        .strip_prefix("indicators[")
        .and_then(|rest| rest.split_once("]."))
        .filter(|(place, _)| place.bytes().all(|digit| digit.is_ascii_digit()))
        .map_or(field, |(_, within)| within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(effect: v1::PublishEffect) -> v1::PublishResult {
        v1::PublishResult {
            outcome: Some(v1::publish_result::Outcome::Published(v1::PublishedIndicator {
                effect: effect.into(),
                ..v1::PublishedIndicator::default()
            })),
        }
    }

    #[test]
    fn a_field_is_named_within_its_line() {
        assert_eq!(of_line("indicators[17].marking.organisations[0]"), "marking.organisations[0]");
        assert_eq!(of_line("observable.text"), "observable.text");
        assert_eq!(of_line("indicators[x].a"), "indicators[x].a");
    }

    fn line(number: u64) -> Pending {
        Pending { number, record: Some(Record { value: Some("secret.example".into()), ..Record::default() }) }
    }

    #[test]
    fn the_report_counts_each_effect_and_shows_the_first_twenty_refused_lines() {
        let mut report = Report::default();
        report.verdict(&line(1), published(v1::PublishEffect::Created)).unwrap();
        report.verdict(&line(2), published(v1::PublishEffect::Unchanged)).unwrap();
        for number in 3..33 {
            report.refuse(&line(number), "FIELD_INVALID", "not a value").unwrap();
        }
        assert_eq!(report.judged(), 32);
        let text = report.finish().unwrap();
        assert!(
            text.starts_with(
                "accepted 2: 1 new, 0 updated, 1 unchanged\nrefused 30: FIELD_INVALID 30\n  line 3:"
            ),
            "{text}"
        );
        assert!(text.contains("line 22:") && !text.contains("line 23:"), "{text}");
        assert!(text.ends_with("and 10 more; --rejects FILE writes them all"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn refused_lines_are_kept_in_a_file_that_only_their_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.jsonl");
        let mut report = Report::with_rejects(&path, Path::new("in.txt")).unwrap();
        report.refuse(&line(7), "FIELD_INVALID", "not a value").unwrap();
        report.finish().unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"file\":\"in.txt\",\"line\":7,\"reason\":\"FIELD_INVALID\",\"problem\":\"not a value\",\"value\":\"secret.example\"}\n"
        );
        assert!(!crate::base::files::is_open_to_others(&path).unwrap());
    }

    #[test]
    fn refused_lines_are_never_written_over_the_input() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("list.txt");
        std::fs::write(&input, "a.example\n").unwrap();
        let (hard, soft) = (dir.path().join("hard"), dir.path().join("soft"));
        std::fs::hard_link(&input, &hard).unwrap();
        std::os::unix::fs::symlink(&input, &soft).unwrap();
        for path in [&input, &hard, &soft] {
            assert_eq!(Report::with_rejects(path, &input).unwrap_err().code(), 64);
        }
        assert_eq!(std::fs::read_to_string(&input).unwrap(), "a.example\n");
    }

    #[test]
    fn a_file_that_others_may_read_is_closed_to_them_before_values_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.jsonl");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Report::with_rejects(&path, Path::new("in.txt")).unwrap().finish().unwrap();
        assert!(!crate::base::files::is_open_to_others(&path).unwrap());
    }

    #[test]
    fn a_refused_line_is_read_again_once_it_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.jsonl");
        let mut report = Report::with_rejects(&path, Path::new("in.txt")).unwrap();
        report.refuse(&line(7), "FIELD_INVALID", "not a value").unwrap();
        report.pass_over(8, &Unread::new(crate::interop::Reason::Reference, "is a link", "x")).unwrap();
        report.finish().unwrap();
        let written = std::fs::read(&path).unwrap();
        let mut read = crate::interop::jsonl::Records::new(written.as_slice());
        assert_eq!(read.next().unwrap().unwrap().1.value.as_deref(), Some("secret.example"));
        assert!(read.next().unwrap().is_ok_and(|(_, record)| record == Record::default()));
    }
}
