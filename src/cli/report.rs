//! Decides what a publisher is told at the end: how many were accepted, and
//! which lines were not, with the reason.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::client::Refusal;
use crate::interop::jsonl::Record;
use crate::wire::proto::v1;

use super::exit::Failure;
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

/// What was published and what was refused.
#[derive(Debug, Default)]
pub(super) struct Report {
    created: u64,
    updated: u64,
    unchanged: u64,
    reinstated: u64,
    refused: u64,
    by_reason: BTreeMap<String, u64>,
    shown: Vec<String>,
    rejects: Option<Rejects>,
}

#[derive(Debug)]
struct Rejects {
    path: PathBuf,
    file: BufWriter<std::fs::File>,
}

/// A refused line, as `--rejects` writes it: what it said, and why that was
/// refused, in a form that `publish` reads once it is mended.
#[derive(Serialize)]
struct Reject<'a> {
    line: u64,
    reason: &'a str,
    problem: &'a str,
    #[serde(flatten)]
    record: Option<&'a Record>,
}

impl Report {
    /// A report that also writes refused lines to a file, which only its owner
    /// can read: it holds values.
    pub(super) fn with_rejects(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| Failure::Io(format!("cannot write {}: {error}", path.display())))?;
        let rejects = Rejects { path: path.to_owned(), file: BufWriter::new(file) };
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
        self.created + self.updated + self.unchanged + self.reinstated
    }

    /// Lines that were refused.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Notes the hub's verdict on a line.
    pub(super) fn verdict(&mut self, pending: &Pending, result: v1::PublishResult) -> Result<(), Failure> {
        use v1::publish_result::Outcome;
        match result.outcome {
            Some(Outcome::Published(published)) => {
                match published.effect() {
                    v1::PublishEffect::Unchanged => self.unchanged += 1,
                    v1::PublishEffect::Updated => self.updated += 1,
                    v1::PublishEffect::Reinstated => self.reinstated += 1,
                    v1::PublishEffect::Created | v1::PublishEffect::Unspecified => self.created += 1,
                }
                Ok(())
            }
            Some(Outcome::Rejected(status)) => {
                let refusal = Refusal::from_item(&status);
                let fields: Vec<String> =
                    refusal.fields.iter().map(|v| format!("{}: {}", of_line(&v.field), v.problem)).collect();
                let problem = if fields.is_empty() { refusal.message } else { fields.join("; ") };
                self.refuse(
                    pending,
                    if refusal.reason.is_empty() { "REFUSED" } else { &refusal.reason },
                    &problem,
                )
            }
            None => self.refuse(pending, "REFUSED", "the hub gave no verdict"),
        }
    }

    /// Notes a refused line.
    pub(super) fn refuse(&mut self, pending: &Pending, reason: &str, problem: &str) -> Result<(), Failure> {
        self.refused += 1;
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(format!("  line {}: {reason}: {problem}", pending.number));
        }
        let Some(rejects) = &mut self.rejects else { return Ok(()) };
        let reject = Reject { line: pending.number, reason, problem, record: pending.record.as_ref() };
        let written = serde_json::to_writer(&mut rejects.file, &reject)
            .map_err(std::io::Error::from)
            .and_then(|()| rejects.file.write_all(b"\n"));
        written.map_err(|error| Failure::Io(format!("cannot write {}: {error}", rejects.path.display())))
    }

    /// Ends the file of refused lines and returns the text of the report.
    pub(super) fn finish(mut self) -> Result<String, Failure> {
        let mut text = format!(
            "accepted {}: {} new, {} updated, {} unchanged",
            count(self.accepted()),
            count(self.created),
            count(self.updated),
            count(self.unchanged)
        );
        if self.reinstated > 0 {
            text.push_str(&format!(", {} reinstated", count(self.reinstated)));
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
        let mut report = Report::with_rejects(&path).unwrap();
        report.refuse(&line(7), "FIELD_INVALID", "not a value").unwrap();
        report.finish().unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"line\":7,\"reason\":\"FIELD_INVALID\",\"problem\":\"not a value\",\"value\":\"secret.example\"}\n"
        );
        assert!(!crate::base::files::is_open_to_others(&path).unwrap());
    }
}
