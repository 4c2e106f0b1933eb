//! Decides how `luytre tail-publish` remembers how far it is: one small file,
//! replaced as a whole after the hub has confirmed what it tells of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{digest, files};
use crate::cli::exit::Failure;

/// Form of the file.
const FORM: u32 = 1;
/// Names within the directory.
const LOCK: &str = "lock";
const PLACES: &str = "places.json";
/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// By its first bytes a file is known again.
const HEAD: u64 = 1_024;

/// Which file, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// How far a file was published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The name that it had, for people.
    pub(super) name: String,
    /// The path that was asked for and led to it.
    pub(super) asked: String,
    /// Everything before this byte is published.
    pub(super) offset: u64,
    /// Line ends before it.
    pub(super) lines: u64,
    /// In the middle of a line that is too long.
    pub(super) skipping: bool,
    /// How it is written, once that is known; `whole` if it is read as a whole.
    pub(super) format: Option<String>,
    /// The narrowest label that it put on itself so far.
    #[serde(default)]
    pub(super) stamp: Option<String>,
    /// Size and time of change of what was taken as complete.
    pub(super) complete: Option<(u64, i128)>,
    /// Length and digest of the beginning.
    pub(super) head: u64,
    pub(super) digest: String,
    /// Digest of what stands right before the offset.
    pub(super) before: String,
}

impl Place {
    /// Whether a file is, up to the offset, what this one was: by its beginning
    /// and by what stands before the offset.
    pub(super) fn is_of(&self, file: &mut File) -> io::Result<bool> {
        let from = self.offset.saturating_sub(HEAD);
        Ok((self.head == 0 || self.digest == part(file, 0, self.head)?)
            && (self.offset == 0 || self.before == part(file, from, self.offset - from)?))
    }

    /// Notes what the file is by its first `size` bytes, of which as much as
    /// the offset says is published.
    pub(super) fn know(&mut self, file: &mut File, size: u64) -> io::Result<()> {
        let head = size.min(HEAD);
        if head > self.head {
            self.digest = part(file, 0, head)?;
            self.head = head;
        }
        if self.offset > 0 {
            let from = self.offset.saturating_sub(HEAD);
            self.before = part(file, from, self.offset - from)?;
        }
        Ok(())
    }

    /// A file of which all is known already, or nothing is wanted.
    pub(super) fn passed(name: &Path, asked: &Path, file: &mut File, size: u64) -> io::Result<Self> {
        let (name, asked) = (name.display().to_string(), asked.display().to_string());
        let mut place = Self { name, asked, offset: size, ..Self::default() };
        place.know(file, size)?;
        Ok(place)
    }

    /// The same file with other content: from the beginning.
    pub(super) fn anew(&self) -> Self {
        Self { name: self.name.clone(), asked: self.asked.clone(), ..Self::default() }
    }
}

/// The digest of so many bytes; of fewer where there are no more.
fn part(file: &mut File, from: u64, bytes: u64) -> io::Result<String> {
    let mut found = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(bytes).read_to_end(&mut found)?;
    Ok(digest::hex(&digest::sha256(&found)))
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    form: u32,
    hub: String,
    begun: BTreeSet<String>,
    files: Vec<(Key, Place)>,
}

/// The state of one tail-publish.
#[derive(Debug)]
pub(super) struct Places {
    path: PathBuf,
    hub: String,
    pub(super) of: BTreeMap<Key, Place>,
    /// Logs that are followed: what lay beside them before is of no concern.
    pub(super) begun: BTreeSet<String>,
    /// Held until the command ends.
    _lock: File,
}

impl Places {
    /// Opens the state in `directory`, which is made where there is none.
    pub(super) fn open(directory: &Path, hub: &str) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::Io(format!("the state in {} cannot be used: {error}", directory.display()))
        };
        files::create_private_dir(directory).map_err(failed)?;
        let lock = files::lock(&directory.join(LOCK)).map_err(failed)?.ok_or_else(|| {
            Failure::Busy(format!(
                "another process uses the state in {}; end that one, or name another directory",
                directory.display()
            ))
        })?;
        let path = directory.join(PLACES);
        let Content { begun, files, .. } = load(&path, hub)?;
        Ok(Self { path, hub: hub.to_owned(), of: files.into_iter().collect(), begun, _lock: lock })
    }

    /// Has it on disk for good.
    pub(super) fn store(&self) -> Result<(), Failure> {
        let files = self.of.iter().map(|(key, place)| (*key, place.clone())).collect();
        let content = Content { form: FORM, hub: self.hub.clone(), begun: self.begun.clone(), files };
        let mut text = serde_json::to_vec(&content).map_err(|error| Failure::Io(error.to_string()))?;
        text.push(b'\n');
        files::write_atomic(&self.path, &text, 0o600)
            .map_err(|error| Failure::Io(format!("cannot write {}: {error}", self.path.display())))
    }
}

fn load(path: &Path, hub: &str) -> Result<Content, Failure> {
    let wrong = |problem: &str| {
        Failure::Configuration(format!(
            "the state file {} {problem}; to publish everything anew remove it, or name another --state",
            path.display()
        ))
    };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_BYTES => return Err(wrong("is not one that luytre wrote")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        Err(error) => return Err(wrong(&format!("cannot be read ({error})"))),
    }
    let text = std::fs::read(path).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    let content: Content =
        serde_json::from_slice(&text).map_err(|_| wrong("is not one that `tail-publish` wrote"))?;
    if content.form != FORM {
        return Err(wrong("was written by another release"));
    }
    if content.hub != hub {
        return Err(wrong("tells what was published to another hub"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back_and_is_for_one_process_and_one_hub() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let mut places = Places::open(&state, "hub:1").unwrap();
        let key = Key { device: 1, inode: 2 };
        places.of.insert(key, Place { offset: 7, complete: Some((9, 8)), ..Place::default() });
        places.store().unwrap();
        assert_eq!(Places::open(&state, "hub:1").unwrap_err().code(), 75);
        let before = places.of.clone();
        drop(places);
        assert_eq!(Places::open(&state, "hub:1").unwrap().of, before);
        assert_eq!(Places::open(&state, "hub:2").unwrap_err().code(), 78);
        for path in [state.clone(), state.join(PLACES)] {
            assert!(!files::is_open_to_others(&path).unwrap());
        }
        std::fs::write(state.join(PLACES), "{}").unwrap();
        assert!(Places::open(&state, "hub:1").unwrap_err().text().unwrap().contains("remove it"));
    }

    #[test]
    fn a_long_file_that_differs_only_behind_its_beginning_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let start = "# the same in every log\n".repeat(100);
        std::fs::write(&path, format!("{start}one\n")).unwrap();
        let mut file = File::open(&path).unwrap();
        let size = start.len() as u64 + 4;
        let place = Place::passed(&path, &path, &mut file, size).unwrap();
        assert!(place.is_of(&mut file).unwrap());
        std::fs::write(&path, format!("{start}two\n")).unwrap();
        assert!(!place.is_of(&mut file).unwrap());
    }

    #[test]
    fn a_file_is_known_again_by_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\n").unwrap();
        let mut place = Place::default();
        place.know(&mut File::open(&path).unwrap(), 4).unwrap();
        for (content, same) in [("one\ntwo\n", true), ("two\ntwo\n", false), ("on", false)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(place.is_of(&mut File::open(&path).unwrap()).unwrap(), same, "{content:?}");
        }
    }
}
