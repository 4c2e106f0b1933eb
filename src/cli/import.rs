//! Decides how a broken import goes on: the input is cut into the same parts
//! again, and a small file tells how many of them the hub has answered.
//!
//! A part is sent under a request id that follows from the import, its number
//! and all content up to it. A part that the hub has taken, and whose answer
//! got lost, is thereby answered as it was, and nothing is done twice. Another
//! import of the same file is another import: it asks anew.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::base::{digest, files, random};
use crate::wire::proto::v1;

use super::exit::Failure;
use super::report::Counts;

/// Form of the file.
const FORM: u32 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// Most bytes of drafts in a part.
const PART_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    form: u32,
    hub: String,
    /// Of this import alone.
    import: String,
    /// Drafts in a part.
    batch: usize,
    /// Parts that the hub has answered.
    parts: u64,
    /// Digest of all content up to there, in hexadecimal.
    digest: String,
    counts: Counts,
}

/// An import whose place is kept.
#[derive(Debug)]
pub(super) struct Import {
    path: PathBuf,
    content: Content,
    /// Parts cut so far.
    cut: u64,
    /// Digest of all content so far.
    so_far: [u8; 32],
    gathered: Vec<v1::IndicatorDraft>,
    bytes: usize,
    /// Parts on their way, oldest first: drafts without a verdict, and the
    /// digest up to there.
    under_way: VecDeque<(usize, [u8; 32])>,
    /// Held until the command ends.
    _lock: File,
}

/// A part of the input.
#[derive(Debug)]
pub(super) enum Part {
    /// To be sent under this id.
    New(String, Vec<v1::IndicatorDraft>),
    /// Answered in an earlier run: so many drafts.
    Answered(usize),
}

impl Import {
    /// Goes on with the import of which the file tells, or begins one.
    pub(super) fn open(path: &Path, hub: &str, batch: usize, on_behalf_of: &str) -> Result<Self, Failure> {
        let lock = lock(path)?;
        let content = match load(path)? {
            Some(content) if content.hub != hub => {
                return Err(wrong(path, "belongs to an import into another hub"));
            }
            Some(content) => content,
            None => Content {
                form: FORM,
                hub: hub.to_owned(),
                import: digest::hex(&random::bytes::<16>()),
                batch,
                parts: 0,
                digest: String::new(),
                counts: Counts::default(),
            },
        };
        Ok(Self {
            path: path.to_owned(),
            content,
            cut: 0,
            so_far: digest::sha256(on_behalf_of.as_bytes()),
            gathered: Vec::new(),
            bytes: 0,
            under_way: VecDeque::new(),
            _lock: lock,
        })
    }

    /// What the earlier runs have counted.
    pub(super) const fn counts(&self) -> Counts {
        self.content.counts
    }

    /// Takes a draft; returns a part whenever one is full.
    pub(super) fn take(&mut self, draft: v1::IndicatorDraft) -> Result<Option<Part>, Failure> {
        let bytes = draft.encoded_len();
        let full = self.gathered.len() >= self.content.batch || self.bytes + bytes > PART_BYTES;
        let part = if full { self.cut()? } else { None };
        self.bytes += bytes;
        self.gathered.push(draft);
        Ok(part)
    }

    /// The last part.
    pub(super) fn last(&mut self) -> Result<Option<Part>, Failure> {
        let part = self.cut()?;
        if self.cut < self.content.parts {
            return Err(wrong(&self.path, "belongs to an input that is longer than this one"));
        }
        Ok(part)
    }

    fn cut(&mut self) -> Result<Option<Part>, Failure> {
        if self.gathered.is_empty() {
            return Ok(None);
        }
        let drafts = std::mem::take(&mut self.gathered);
        self.bytes = 0;
        let mut hash = digest::Sha256::default();
        hash.update(&self.so_far);
        for draft in &drafts {
            hash.update(&draft.encode_length_delimited_to_vec());
        }
        self.so_far = hash.finish();
        let number = self.cut;
        self.cut += 1;
        if self.cut <= self.content.parts {
            if self.cut == self.content.parts && digest::hex(&self.so_far) != self.content.digest {
                return Err(wrong(&self.path, "belongs to another input, or to other options"));
            }
            return Ok(Some(Part::Answered(drafts.len())));
        }
        self.under_way.push_back((drafts.len(), self.so_far));
        let mut id = digest::Sha256::default();
        id.update(self.content.import.as_bytes());
        id.update(&number.to_be_bytes());
        id.update(&self.so_far);
        let bytes = id.finish().first_chunk::<16>().copied().unwrap_or_default();
        Ok(Some(Part::New(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string(), drafts)))
    }

    /// Notes a verdict, and keeps the place wherever it is the last of a part.
    pub(super) fn answered(&mut self, counts: Counts) -> Result<(), Failure> {
        let Some((left, _)) = self.under_way.front_mut() else { return Ok(()) };
        *left -= 1;
        if *left == 0
            && let Some((_, reached)) = self.under_way.pop_front()
        {
            self.content.parts += 1;
            self.content.digest = digest::hex(&reached);
            self.content.counts = counts;
            self.store()?;
        }
        Ok(())
    }

    /// Forgets the place: everything is published.
    pub(super) fn done(self) -> Result<(), Failure> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::Io(format!("cannot remove the state file {}: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    fn store(&self) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(&self.content).map_err(|error| Failure::Io(error.to_string()))?;
        text.push(b'\n');
        files::write_atomic(&self.path, &text, 0o600).map_err(|error| {
            Failure::Io(format!("cannot write the state file {}: {error}", self.path.display()))
        })
    }
}

fn wrong(path: &Path, problem: &str) -> Failure {
    let path = path.display();
    Failure::Configuration(format!(
        "the state file {path} {problem}; to start afresh remove it, or name another"
    ))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    let failed =
        |error: io::Error| Failure::Io(format!("cannot lock {}: {error}", Path::new(&name).display()));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::Busy(format!("another process goes on with {}; wait for it to end", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn load(path: &Path) -> Result<Option<Content>, Failure> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(wrong(path, "is not one that luytre wrote"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path, &format!("cannot be read ({error})"))),
    }
    let text = std::fs::read(path).map_err(|error| wrong(path, &format!("cannot be read ({error})")))?;
    let content: Content =
        serde_json::from_slice(&text).map_err(|_| wrong(path, "is not one that `publish --resume` wrote"))?;
    if content.form != FORM || content.batch == 0 {
        return Err(wrong(path, "was written by another release"));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(n: usize) -> v1::IndicatorDraft {
        v1::IndicatorDraft { description: n.to_string(), ..v1::IndicatorDraft::default() }
    }

    /// Runs through `drafts`, has the first `answer` verdicts, and returns the
    /// ids of what was sent and how many drafts were not.
    fn run(path: &Path, drafts: &[usize], answer: usize) -> Result<(Vec<String>, usize), Failure> {
        let mut import = Import::open(path, "hub", 3, "")?;
        let (mut ids, mut skipped) = (Vec::new(), 0);
        let mut take = |part| match part {
            Some(Part::New(id, _)) => ids.push(id),
            Some(Part::Answered(count)) => skipped += count,
            None => {}
        };
        for &n in drafts {
            take(import.take(draft(n))?);
        }
        take(import.last()?);
        for n in 0..answer {
            import.answered(Counts { created: n as u64 + 1, ..Counts::default() })?;
        }
        Ok((ids, skipped))
    }

    #[test]
    fn a_second_run_skips_what_was_answered_and_asks_the_rest_under_the_same_ids() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let drafts: Vec<usize> = (0..10).collect();
        let (first, _) = run(&path, &drafts, 5).unwrap();
        assert_eq!(first.len(), 4);
        // Five verdicts: one whole part.
        let (second, skipped) = run(&path, &drafts, 0).unwrap();
        assert_eq!((second.as_slice(), skipped), (&first[1..], 3));
        assert_eq!(Import::open(&path, "hub", 3, "").unwrap().counts().created, 3);
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn another_input_and_another_hub_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let drafts: Vec<usize> = (0..10).collect();
        run(&path, &drafts, 6).unwrap();
        for other in [&[0, 1, 2, 3, 4, 7, 6][..], &[0, 1, 2]] {
            assert_eq!(run(&path, other, 0).unwrap_err().code(), 78);
        }
        assert!(Import::open(&path, "other", 3, "").is_err());
    }

    #[test]
    fn a_finished_import_leaves_no_place_and_the_next_has_ids_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let (first, _) = run(&path, &[1, 2], 2).unwrap();
        Import::open(&path, "hub", 3, "").unwrap().done().unwrap();
        let (second, skipped) = run(&path, &[1, 2], 2).unwrap();
        assert_eq!(skipped, 0);
        assert_ne!(first, second);
    }
}
