//! Decides how `luytre audit` shows who called what, keeps checkpoints, and
//! verifies an exported log without a hub.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::digest::hex;
use crate::base::files;
use crate::client::{Client, Witnessed};
use crate::model::audit::verify::{self, Files, Problem, Verified};
use crate::model::audit::{Checkpoint, VerifierKey};
use crate::wire::proto::v1;

use super::arguments::{AuditCheckpoint, ExportAudit, ListAudit, TableOrJson, VerifyAudit};
use super::draft::wire_time;
use super::exit::Failure;
use super::language::{Language, moment};
use super::output::{self, Data};

/// Most records of a page.
const PAGE: usize = 1_000;

/// A record as JSON.
#[derive(Debug, Serialize)]
struct Record {
    index: u64,
    time: String,
    phase: String,
    purpose: String,
    method: String,
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    principal: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    about: String,
    asked: u32,
    given: u32,
    refused: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tlp: Option<&'static str>,
    micros: u32,
    call: String,
    certificate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    encoded: String,
}

impl Record {
    fn of(record: v1::AuditRecord) -> Self {
        let tlp =
            crate::model::marking::Tlp::ALL.into_iter().find(|tlp| u32::from(tlp.number()) == record.tlp);
        Self {
            index: record.index,
            time: record
                .time
                .as_ref()
                .and_then(crate::wire::event::timestamp)
                .map(|at| at.to_string())
                .unwrap_or_default(),
            phase: record.phase,
            purpose: record.purpose,
            method: record.method,
            outcome: record.outcome,
            principal: record.principal,
            about: record.about,
            asked: record.asked_count,
            given: record.given_count,
            refused: record.refused_count,
            tlp: tlp.map(|tlp| tlp.as_str()),
            micros: record.duration_micros,
            call: hex(&record.call_id),
            certificate: hex(&record.certificate),
            digest: hex(&record.digest),
            encoded: hex(&record.encoded),
        }
    }
}

/// Lists records.
pub(super) async fn list(client: &Client, options: &ListAudit, data: &mut Data) -> Result<(), Failure> {
    let mut request = v1::ListAuditRecordsRequest {
        principal: options.principal.clone().unwrap_or_default(),
        organisation: options.organisation.clone().unwrap_or_default(),
        method: options.method.clone(),
        outcome: options.outcome.clone(),
        start_time: options.since.map(wire_time),
        ..v1::ListAuditRecordsRequest::default()
    };
    let mut left = options.limit;
    while left > 0 {
        request.page_size = i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX);
        let page = client.audit_records(request.clone()).await?;
        for record in page.records.into_iter().take(left) {
            left -= 1;
            match options.format {
                TableOrJson::Table => data.line(&line(&record))?,
                TableOrJson::Jsonl => data.json(&Record::of(record))?,
            }
        }
        data.flush()?;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

fn line(record: &v1::AuditRecord) -> String {
    let who = record.principal.split_once("/org/").map_or(record.principal.as_str(), |(_, who)| who);
    let who = if who.is_empty() { "-" } else { who };
    let counts = format!("{}/{}/{}", record.asked_count, record.given_count, record.refused_count);
    let (time, method) = (moment(record.time), &record.method);
    let line = format!(
        "{:>8}  {time}  {:7}  {method:22}  {:18}  {counts:>9}  {who}  {}",
        record.index,
        record.phase,
        record.outcome,
        output::for_eyes(&record.about)
    );
    line.trim_end().to_owned()
}

/// Shows the newest checkpoint.
pub(super) async fn checkpoint(
    client: &Client,
    options: &AuditCheckpoint,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    if let Some((against, key)) = options.against.as_ref().zip(options.audit_key.as_ref()) {
        let note = text(against)?;
        let key = read_key(key)?;
        let name = Checkpoint::read_unverified(&note).map_err(|error| unsound(against, &error))?.origin;
        let key = key.renamed(&name).ok_or_else(|| unsound(against, &"its name"))?;
        let checkpoint = Checkpoint::open(&note, &key).map_err(|error| unsound(against, &error))?;
        client.expect_audit(Witnessed { key, checkpoint, note });
    }
    let seen = client.checkpoint().await?;
    if options.show_key {
        return Ok(data.line(&seen.key.to_string())?);
    }
    data.bytes(seen.note.as_bytes())?;
    if options.against.is_some() {
        output::talk(language.say(
            "proven: the audit goes on from the checkpoint that was kept",
            "đã chứng minh: nhật ký nối tiếp điểm kiểm tra đã giữ",
        ));
    }
    Ok(())
}

/// Writes the whole audit as files.
pub(super) async fn export(client: &Client, options: &ExportAudit, data: &mut Data) -> Result<(), Failure> {
    let root = &options.to;
    files::create_private_dir(root)?;
    if fs::read_dir(root)?.next().is_some() {
        return Err(Failure::Io(format!("{} is not empty; name a new or empty directory", root.display())));
    }
    let mut count = 0_u64;
    client
        .export_audit(|path, content| {
            let place = inside(root, &path).ok_or_else(|| {
                Failure::Io(format!("the hub names a file that is none of a log: {path:?}"))
            })?;
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            files::write_atomic(&place, &content, 0o600)?;
            count += 1;
            Ok::<_, Failure>(())
        })
        .await?;
    Ok(data.line(&format!("{count} files in {}", root.display()))?)
}

/// A path of the layout below `root`; `None` if it leads elsewhere.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let fits = path.split('/').all(|part| plain(part) && !part.starts_with('.'));
    fits.then(|| root.join(path))
}

/// An export on disk.
struct Exported<'a>(&'a Path);

impl Files for Exported<'_> {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Verifies an export.
pub(super) fn verify(options: &VerifyAudit, language: Language, data: &mut Data) -> Result<(), Failure> {
    let key = read_key(&options.audit_key)?;
    let notes = options.against.iter().map(|path| Ok((path.display().to_string(), text(path)?)));
    let notes = notes.collect::<Result<Vec<_>, Failure>>()?;
    let seen: Vec<_> = notes.iter().map(|(name, note)| (name.as_str(), note.as_str())).collect();
    let Verified { checkpoint, cut, lost } = verify::verify(&Exported(&options.directory), &key, &seen)
        .map_err(|problem| told(language, &problem))?;
    let Checkpoint { origin, size, .. } = checkpoint;
    data.line(&match language {
        Language::En => format!(
            "{origin}: {size} records, sound; {cut} of them cut by age, {} checkpoints fit",
            seen.len()
        ),
        Language::Vi => {
            format!(
                "{origin}: {size} bản ghi, nguyên vẹn; {cut} bản ghi đã cắt theo hạn, {} điểm kiểm tra khớp",
                seen.len()
            )
        }
    })?;
    if let Some((from, to)) = lost {
        output::talk(&match language {
            Language::En => format!(
                "the hub was restored from a backup: records {from} to {} that were signed before are lost; ask its operator why",
                to.saturating_sub(1)
            ),
            Language::Vi => format!(
                "trung tâm đã được khôi phục từ bản sao lưu: các bản ghi {from} đến {} từng được ký đã mất; hãy hỏi người vận hành",
                to.saturating_sub(1)
            ),
        });
    }
    Ok(())
}

fn told(language: Language, problem: &Problem) -> Failure {
    let lead = language.say("the audit is not sound", "nhật ký kiểm toán không nguyên vẹn");
    Failure::Unsound(format!("{lead}: {problem}"))
}

fn unsound(path: &Path, problem: &impl std::fmt::Display) -> Failure {
    Failure::Unsound(format!("{}: {problem}", path.display()))
}

fn read_key(path: &Path) -> Result<VerifierKey, Failure> {
    VerifierKey::parse(&text(path)?)
        .map_err(|error| Failure::Configuration(format!("{}: {error}", path.display())))
}

fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::NoInput(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_export_lies_below_its_directory_or_nowhere() {
        let root = Path::new("/x");
        assert_eq!(inside(root, "tile/0/x001/067.p/5"), Some("/x/tile/0/x001/067.p/5".into()));
        for elsewhere in ["../a", "/etc/passwd", "tile//0", "tile/../0", "", "a\\b", ".hidden"] {
            assert_eq!(inside(root, elsewhere), None, "{elsewhere}");
        }
    }
}
