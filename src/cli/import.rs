//! Decides how a broken import goes on: the input is cut into the same parts
//! again, and a small file tells how many of them the hub has answered.
//!
//! A part is sent under a request id that follows from the import, its number
//! and all content up to it. A part that the hub has taken, and whose answer
//! got lost, is thereby answered as it was, and nothing is done twice. Another
//! import of the same file is another import: it asks anew. What the hub refused
//! in those parts is told again from a second file beside the first.

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
use super::refusals::{Refusal, Refusals};
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
    /// Who publishes.
    identity: String,
    /// Of this import alone.
    import: String,
    /// Drafts in a part.
    batch: usize,
    /// Parts that the hub has answered.
    parts: u64,
    /// Digest of all content up to there, in hexadecimal.
    digest: String,
    counts: Counts,
    /// Refusals up to there.
    refused: u64,
}

/// Whose import it is, and how it is cut where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun<'a> {
    /// Address of the hub.
    pub(super) hub: &'a str,
    /// Who publishes.
    pub(super) identity: &'a str,
    /// On whose behalf; may be empty.
    pub(super) on_behalf_of: &'a str,
    /// Drafts in a part.
    pub(super) batch: usize,
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
    /// Drafts that have an answer, of this run or an earlier one.
    drafts: u64,
    refusals: Refusals,
    /// Held until the command ends.
    _lock: File,
}

/// A part of the input.
#[derive(Debug)]
pub(super) enum Part {
    /// To be sent under this id.
    New(String, Vec<v1::IndicatorDraft>),
    /// Answered in an earlier run: for each draft why it was refused, if it was.
    Answered(Vec<Option<Refusal>>),
}

impl Import {
    /// Goes on with the import of which the file tells, or begins one.
    pub(super) fn open(path: &Path, begun: Begun<'_>) -> Result<Self, Failure> {
        let Begun { hub, identity, on_behalf_of, batch } = begun;
        let lock = lock(path)?;
        let content = match load(path)? {
            Some(content) if content.hub != hub => {
                return Err(wrong(path, "belongs to an import into another hub"));
            }
            // Its first parts are another's: the rest would not make them whole.
            Some(content) if content.identity != identity => {
                return Err(wrong(path, &format!("belongs to an import by {}", content.identity)));
            }
            Some(content) => content,
            None => Content {
                form: FORM,
                hub: hub.to_owned(),
                identity: identity.to_owned(),
                import: digest::hex(&random::bytes::<16>()),
                batch,
                parts: 0,
                digest: String::new(),
                counts: Counts::default(),
                refused: 0,
            },
        };
        let refusals = Refusals::open(path, content.refused).map_err(|error| lost(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            content,
            cut: 0,
            so_far: digest::sha256(on_behalf_of.as_bytes()),
            gathered: Vec::new(),
            bytes: 0,
            under_way: VecDeque::new(),
            drafts: 0,
            refusals,
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
        // The hub takes no part that holds masked and open ones.
        let alike = self.gathered.last().is_none_or(|last| is_masked(last) == is_masked(&draft));
        let full = self.gathered.len() >= self.content.batch || self.bytes + bytes > PART_BYTES || !alike;
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
            let told = drafts.iter().zip(self.drafts..).map(|(_, draft)| self.refusals.of(draft));
            let told = told.collect::<io::Result<Vec<_>>>().map_err(|error| lost(&self.path, &error))?;
            self.drafts += u64::try_from(drafts.len()).unwrap_or(u64::MAX);
            return Ok(Some(Part::Answered(told)));
        }
        self.under_way.push_back((drafts.len(), self.so_far));
        let mut id = digest::Sha256::default();
        id.update(self.content.import.as_bytes());
        id.update(&number.to_be_bytes());
        id.update(&self.so_far);
        let bytes = id.finish().first_chunk::<16>().copied().unwrap_or_default();
        Ok(Some(Part::New(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string(), drafts)))
    }

    /// Notes a verdict, with the reason and the problem of a refusal, and keeps
    /// the place wherever it is the last of a part.
    pub(super) fn answered(
        &mut self,
        counts: Counts,
        refused: Option<(String, String)>,
    ) -> Result<(), Failure> {
        let Some((left, _)) = self.under_way.front_mut() else { return Ok(()) };
        *left -= 1;
        if let Some(refused) = refused {
            self.refusals.note(self.drafts, refused).map_err(|error| unwritten(&self.path, &error))?;
        }
        self.drafts += 1;
        if *left == 0
            && let Some((_, reached)) = self.under_way.pop_front()
        {
            self.content.parts += 1;
            self.content.digest = digest::hex(&reached);
            self.content.counts = counts;
            self.content.refused = self.refusals.settle().map_err(|error| unwritten(&self.path, &error))?;
            self.store()?;
        }
        Ok(())
    }

    /// Forgets the place: everything is published.
    pub(super) fn done(self) -> Result<(), Failure> {
        // The place first: without it the refusals are of no import.
        for removed in [std::fs::remove_file(&self.path), self.refusals.done()] {
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = self.path.display();
                    return Err(Failure::Io(format!("cannot remove the state file {path}: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn store(&self) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(&self.content).map_err(|error| Failure::Io(error.to_string()))?;
        text.push(b'\n');
        files::write_atomic(&self.path, &text, 0o600).map_err(|error| unwritten(&self.path, &error))
    }
}

fn is_masked(draft: &v1::IndicatorDraft) -> bool {
    draft.marking.as_ref().and_then(|marking| marking.caveats).is_some_and(|caveats| caveats.masked_source)
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(format!("cannot write the state file {}: {error}", path.display()))
}

/// The refusals that the place counts cannot be told.
fn lost(path: &Path, error: &io::Error) -> Failure {
    wrong(path, &format!("has lost the file of refusals beside it ({error})"))
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

    fn begun<'a>(hub: &'a str, identity: &'a str) -> Begun<'a> {
        Begun { hub, identity, on_behalf_of: "", batch: 3 }
    }

    /// Runs through `drafts`, has the first `answer` verdicts, and returns the
    /// ids of what was sent and how many drafts were not.
    fn run(path: &Path, drafts: &[usize], answer: usize) -> Result<(Vec<String>, usize), Failure> {
        let mut import = Import::open(path, begun("hub", "an"))?;
        let (mut ids, mut skipped) = (Vec::new(), 0);
        let mut take = |part| match part {
            Some(Part::New(id, _)) => ids.push(id),
            Some(Part::Answered(told)) => skipped += told.len(),
            None => {}
        };
        for &n in drafts {
            take(import.take(draft(n))?);
        }
        take(import.last()?);
        for n in 0..answer {
            import.answered(Counts { created: n as u64 + 1, ..Counts::default() }, None)?;
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
        assert_eq!(Import::open(&path, begun("hub", "an")).unwrap().counts().created, 3);
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn another_input_another_hub_and_another_publisher_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let drafts: Vec<usize> = (0..10).collect();
        run(&path, &drafts, 6).unwrap();
        for other in [&[0, 1, 2, 3, 4, 7, 6][..], &[0, 1, 2]] {
            assert_eq!(run(&path, other, 0).unwrap_err().code(), 78);
        }
        assert!(Import::open(&path, begun("other", "an")).is_err());
        assert_eq!(Import::open(&path, begun("hub", "binh")).unwrap_err().code(), 78);
    }

    #[test]
    fn a_finished_import_leaves_no_place_and_the_next_has_ids_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let (first, _) = run(&path, &[1, 2], 2).unwrap();
        Import::open(&path, begun("hub", "an")).unwrap().done().unwrap();
        let (second, skipped) = run(&path, &[1, 2], 2).unwrap();
        assert_eq!(skipped, 0);
        assert_ne!(first, second);
    }

    #[test]
    fn what_was_refused_in_parts_that_are_not_asked_again_is_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let open = || Import::open(&path, begun("hub", "an")).unwrap();
        let why = |n: u64| Some(("FIELD_INVALID".to_owned(), n.to_string()));
        let mut import = open();
        for n in 0..10 {
            import.take(draft(n)).unwrap();
        }
        // Of the second part one verdict is missing.
        for n in 0..5 {
            import.answered(Counts::default(), (n % 2 == 1).then(|| why(n)).flatten()).unwrap();
        }
        drop(import);
        let mut import = open();
        let mut told = Vec::new();
        for n in 0..10 {
            if let Some(Part::Answered(refusals)) = import.take(draft(n)).unwrap() {
                told.extend(refusals.into_iter().map(|refusal| refusal.map(|r| (r.reason, r.problem))));
            }
        }
        assert_eq!(told, [None, why(1), None]);
        // Those of the second part were not kept: they come once.
        for n in 3..6 {
            import.answered(Counts::default(), (n % 2 == 1).then(|| why(n)).flatten()).unwrap();
        }
        assert_eq!(import.content.refused, 3);
        import.done().unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["state.lock"]);
    }

    #[test]
    fn no_part_holds_masked_and_open_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut import = Import::open(&dir.path().join("state"), begun("hub", "an")).unwrap();
        let caveats = Some(v1::Caveats { masked_source: true, ..v1::Caveats::default() });
        let masked = v1::IndicatorDraft {
            marking: Some(v1::Marking { caveats, ..v1::Marking::default() }),
            ..draft(0)
        };
        let mut sent = Vec::new();
        for draft in [draft(1), masked.clone(), masked, draft(2)] {
            if let Some(Part::New(_, drafts)) = import.take(draft).unwrap() {
                sent.push(drafts.len());
            }
        }
        assert_eq!(sent, [1, 2]);
    }

    #[test]
    fn a_place_whose_refusals_are_gone_is_not_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut import = Import::open(&path, begun("hub", "an")).unwrap();
        for n in 0..4 {
            import.take(draft(n)).unwrap();
        }
        for _ in 0..3 {
            import.answered(Counts::default(), Some(("A".to_owned(), "b".to_owned()))).unwrap();
        }
        drop(import);
        std::fs::remove_file(dir.path().join("state.refused")).unwrap();
        let failure = Import::open(&path, begun("hub", "an")).unwrap_err();
        assert!(failure.text().unwrap().contains("refusals"), "{:?}", failure.text());
    }
}
