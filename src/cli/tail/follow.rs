//! Decides what is new in the files that `luytre tail-publish` follows: which
//! files there are, whether they are still the same, and which lines of them
//! are complete.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::base::clock::monotonic;
use crate::cli::arguments::TailPublish;
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::interop::Found;

use super::place::{Key, Place, Places};
use super::portion::{self, Form, Wanted};

/// Most files in directories that are followed at once.
const MAX_FILES: usize = 10_000;

/// Most files whose places are kept.
const MAX_KNOWN: usize = 5 * MAX_FILES;

/// Most portions that a kill may have published again.
const MAX_UNSAVED: usize = 16;

/// A file that is there.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) key: Key,
    pub(super) path: PathBuf,
    asked: PathBuf,
    size: u64,
    changed: i128,
    /// In a directory that is followed, not a log.
    dropped: bool,
}

impl Seen {
    /// Opens it, and no other file that has its name by now. A pipe under that
    /// name is not waited for, and only the path that was asked for may be a link.
    fn open(&self) -> io::Result<File> {
        let mut flags = OFlags::NONBLOCK;
        flags.set(OFlags::NOFOLLOW, self.path != self.asked);
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let found = file.metadata()?;
        if found.is_file() && key(&found) == self.key {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// What is to be published of a file.
#[derive(Debug)]
pub(super) enum Portion {
    /// These items, and how far the file is published with them.
    Lines(Vec<Found>, Place),
    /// This file as a whole, likewise.
    Whole(File, Place),
}

/// What is followed.
#[derive(Debug)]
pub(super) struct Follower {
    paths: Vec<PathBuf>,
    settle: Duration,
    wanted: Wanted,
    /// A file of ours that may lie in a directory that is followed.
    rejects: Option<PathBuf>,
    places: Places,
    unsaved: usize,
    /// Since when each file is as it is.
    since: BTreeMap<Key, (u64, i128, Instant)>,
    /// How files were when nothing new was in them: size, time of change, and
    /// whether they had settled.
    looked: BTreeMap<Key, (u64, i128, bool)>,
    /// Logs stay open: one that is moved away is read to its end.
    open: BTreeMap<Key, File>,
    /// What was said once is not said again.
    told: BTreeSet<String>,
}

impl Follower {
    pub(super) fn new(options: &TailPublish, places: Places) -> Self {
        Self {
            paths: options.paths.clone(),
            settle: options.settle,
            wanted: Wanted::of(&options.how),
            rejects: options.how.rejects.clone(),
            places,
            unsaved: 0,
            since: BTreeMap::new(),
            looked: BTreeMap::new(),
            open: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// The files that are there now: logs, then what lies in directories, by
    /// path within each that was asked for.
    pub(super) fn scan(&mut self) -> Result<Vec<Seen>, Failure> {
        let begun = self.places.begun.len();
        let (mut seen, mut dropped) = (Vec::new(), Vec::new());
        let own = self.rejects.as_ref().and_then(|path| std::fs::metadata(path).ok()).map(|own| key(&own));
        let mut missing = BTreeSet::new();
        for asked in self.paths.clone() {
            let found = std::fs::metadata(&asked);
            if let Err(error) = &found {
                self.tell(format!("luytre: {} cannot be read yet: {error}", asked.display()));
                missing.insert(asked.display().to_string());
            }
            match found.ok() {
                Some(found) if found.is_dir() => {
                    dropped.extend(self.directory(&asked, |_, name| !is_unfinished(name), true));
                }
                found => seen.extend(self.log(&asked, found.as_ref())),
            }
        }
        seen.retain(|seen| Some(seen.key) != own);
        dropped.retain(|seen| Some(seen.key) != own);
        let logs = seen.len();
        let is_too_many = dropped.len() > MAX_FILES;
        if is_too_many {
            self.tell(format!(
                "luytre: there are more than {MAX_FILES} files in the directories; only those that changed last are followed"
            ));
            dropped.sort_by_key(|seen| Reverse(seen.changed));
        }
        seen.append(&mut dropped);
        // What is only cut off keeps its place.
        seen.truncate(logs + MAX_KNOWN);
        self.forget_all_but(&seen, &missing);
        if is_too_many {
            dropped = seen.split_off(logs);
            dropped.truncate(MAX_FILES);
            dropped.sort_by(|a, b| a.path.cmp(&b.path));
            seen.append(&mut dropped);
        }
        if self.places.begun.len() > begun {
            // From now on whatever appears counts.
            self.places.store()?;
        }
        Ok(seen)
    }

    /// A log, after what was moved away from its name: files beside it whose
    /// names begin with its own. Those that were there before it was followed
    /// are of no concern; of any other, nobody may have seen the beginning.
    fn log(&mut self, asked: &Path, found: Option<&Metadata>) -> Vec<Seen> {
        let (named, current) = (asked.display().to_string(), found.map(key));
        let parent = asked.parent().filter(|parent| !parent.as_os_str().is_empty());
        let own = asked.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let known: BTreeSet<Key> =
            self.places.of.iter().filter(|(_, place)| place.asked == named).map(|(key, _)| *key).collect();
        let is_old =
            |key, name: &str| Some(key) != current && (known.contains(&key) || is_rotated(name, &own));
        let mut all = self.directory(parent.unwrap_or_else(|| Path::new(".")), is_old, false);
        all.iter_mut().for_each(|seen| asked.clone_into(&mut seen.asked));
        all.sort_by_key(|seen| seen.changed);
        let is_first = self.places.begun.insert(named);
        for seen in all.iter().filter(|seen| !known.contains(&seen.key)) {
            // What cannot be read now is published whole later: too much, not too little.
            let place = match is_first {
                true => seen
                    .open()
                    .and_then(|mut file| Place::passed(&seen.path, asked, &mut file, seen.size))
                    .ok(),
                false => self.copied(seen),
            };
            if let Some(place) = place {
                self.places.of.insert(seen.key, place);
            }
        }
        all.extend(found.and_then(|found| self.file(asked, asked, found, false)));
        all
    }

    /// How far a copy of a log was published, as one that is about to be
    /// truncated; none if it is no such copy.
    fn copied(&self, seen: &Seen) -> Option<Place> {
        let mut file = seen.open().ok()?;
        let named = seen.asked.display().to_string();
        let original = self.places.of.values().find(|place| {
            place.asked == named
                && place.head > 0
                && place.offset <= seen.size
                && place.is_of(&mut file).unwrap_or(false)
        })?;
        Some(Place { name: seen.path.display().to_string(), ..original.clone() })
    }

    fn directory(
        &mut self,
        directory: &Path,
        wanted: impl Fn(Key, &str) -> bool,
        dropped: bool,
    ) -> Vec<Seen> {
        let listed = std::fs::read_dir(directory).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        });
        let mut paths = match listed {
            Ok(paths) => paths,
            Err(error) => {
                self.tell(format!("luytre: {} cannot be read: {error}", directory.display()));
                return Vec::new();
            }
        };
        paths.sort();
        let mut seen = Vec::new();
        for path in paths {
            // It may be gone again. A link would lead to what whoever writes here
            // may not read.
            let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if wanted(key(&found), &name) {
                seen.extend(self.file(directory, &path, &found, dropped));
            }
        }
        seen
    }

    fn file(&mut self, asked: &Path, path: &Path, found: &Metadata, dropped: bool) -> Option<Seen> {
        if !found.is_file() {
            if !found.is_dir() {
                self.tell(format!(
                    "luytre: {} is no regular file, or a link, and is passed over",
                    path.display()
                ));
            }
            return None;
        }
        let (key, (size, changed)) = (key(found), as_it_is(found));
        if self.since.get(&key).is_none_or(|(s, c, _)| (*s, *c) != (size, changed)) {
            self.since.insert(key, (size, changed, monotonic()));
        }
        Some(Seen { key, path: path.to_owned(), asked: asked.to_owned(), size, changed, dropped })
    }

    /// Drops what is gone, but not what only cannot be looked at. A log that was
    /// moved out of sight is kept as long as it has something to read.
    fn forget_all_but(&mut self, seen: &[Seen], missing: &BTreeSet<String>) {
        let there: BTreeSet<Key> = seen.iter().map(|seen| seen.key).collect();
        let open = &self.open;
        self.places.of.retain(|key, place| {
            let size = || Some(open.get(key)?.metadata().ok()?.len());
            there.contains(key)
                || missing.contains(&place.asked)
                || size().is_some_and(|size| size > place.offset)
        });
        self.since.retain(|key, _| there.contains(key));
        self.looked.retain(|key, _| there.contains(key));
        self.open.retain(|key, _| there.contains(key) || self.places.of.contains_key(key));
    }

    /// Logs that are gone from sight and not read to their end.
    pub(super) fn moved_away(&self, seen: &[Seen]) -> Vec<Seen> {
        let hidden = self.open.iter().filter(|(key, _)| !seen.iter().any(|seen| seen.key == **key));
        hidden
            .filter_map(|(key, file)| {
                let (place, found) = (self.places.of.get(key)?, file.metadata().ok()?);
                let path = PathBuf::from(&place.name);
                let asked = PathBuf::from(&place.asked);
                Some(Seen { key: *key, path, asked, size: found.len(), changed: 0, dropped: false })
            })
            .collect()
    }

    /// What is new in a file and complete; none if nothing is.
    pub(super) fn next(&mut self, seen: &Seen) -> Result<Option<Portion>, Failure> {
        match self.try_next(seen) {
            Ok(portion) => Ok(portion),
            // Renamed meanwhile: the next scan finds it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                self.tell(format!("luytre: {} cannot be read: {error}", seen.path.display()));
                Ok(None)
            }
        }
    }

    fn try_next(&mut self, seen: &Seen) -> io::Result<Option<Portion>> {
        let since = self.since.get(&seen.key).map(|(_, _, since)| *since);
        let is_settled =
            since.is_some_and(|since| monotonic().saturating_duration_since(since) >= self.settle);
        let look = (seen.size, seen.changed, is_settled);
        if self.looked.get(&seen.key) == Some(&look) {
            return Ok(None);
        }
        let portion = self.look(seen, is_settled)?;
        if portion.is_none() {
            self.looked.insert(seen.key, look);
        }
        Ok(portion)
    }

    fn look(&mut self, seen: &Seen, is_settled: bool) -> io::Result<Option<Portion>> {
        let mut file = match self.open.get(&seen.key) {
            Some(file) => file.try_clone()?,
            None => seen.open()?,
        };
        if !seen.dropped && !self.open.contains_key(&seen.key) {
            self.open.insert(seen.key, file.try_clone()?);
        }
        let found = file.metadata()?;
        let mut place = Place {
            name: seen.path.display().to_string(),
            asked: seen.asked.display().to_string(),
            ..self.places.of.get(&seen.key).cloned().unwrap_or_default()
        };
        let (now, taken) = ((seen.size, seen.changed), as_it_is(&found));
        // What changed in the middle shows in nothing but the time.
        let is_rewritten = seen.dropped
            && place.complete.is_some_and(|(size, changed)| size == taken.0 && changed != taken.1);
        if is_rewritten || found.len() < place.offset || !place.is_of(&mut file)? {
            tracing::info!(file = place.name, "begins anew");
            place = place.anew();
        }
        let Some(form) = portion::form(&place, &self.wanted, &mut file, !seen.dropped, is_settled)? else {
            return Ok(None);
        };
        let is_complete = seen.dropped && is_settled && taken == now && place.complete != Some(now);
        place.format = Some(form.as_str().to_owned());
        let Form::Lines(format) = form else {
            if !seen.dropped {
                self.tell(format!(
                    "luytre: {} cannot be read line by line (it is packed, UTF-16 or a rule); put such files into a directory that is followed",
                    seen.path.display()
                ));
            }
            if !is_complete {
                return Ok(None);
            }
            place.complete = Some(now);
            place.know(&mut file, found.len())?;
            file.seek(SeekFrom::Start(0))?;
            return Ok(Some(Portion::Whole(file, place)));
        };
        let header = portion::header(&place, format, &mut file)?;
        file.seek(SeekFrom::Start(place.offset))?;
        let mut text = Vec::new();
        (&mut file).take(portion::MAX_BYTES).read_to_end(&mut text)?;
        let Some(lines) = portion::cut(&mut place, text, is_complete) else { return Ok(None) };
        if lines.is_tail {
            place.complete = Some(now);
        } else if seen.dropped && place.offset >= taken.0 {
            place.complete = Some((place.offset, taken.1));
        }
        let items = lines.read(&self.wanted, format, &header, &mut place)?;
        let published = place.offset;
        place.know(&mut file, published)?;
        Ok(Some(Portion::Lines(items, place)))
    }

    /// Notes how far a file is published. It is on disk soon: what is published
    /// again after a kill changes nothing.
    pub(super) fn advance(&mut self, key: Key, place: Place) -> Result<(), Failure> {
        self.places.of.insert(key, place);
        self.unsaved += 1;
        if self.unsaved >= MAX_UNSAVED { self.save() } else { Ok(()) }
    }

    /// Has all that was noted on disk for good.
    pub(super) fn save(&mut self) -> Result<(), Failure> {
        if self.unsaved > 0 {
            self.places.store()?;
            self.unsaved = 0;
        }
        Ok(())
    }

    fn tell(&mut self, text: String) {
        // Whoever may name a file does not write the log.
        let text = output::for_eyes(&text);
        if self.told.len() < MAX_FILES && self.told.insert(text.clone()) {
            output::talk(&text);
        }
    }
}

fn key(found: &Metadata) -> Key {
    Key { device: found.dev(), inode: found.ino() }
}

/// Size and time of change.
fn as_it_is(found: &Metadata) -> (u64, i128) {
    (found.len(), i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()))
}

/// Whether a file beside a log has the name of one that was moved away: the
/// log's own and more, such as `a.log.1`. What was packed was read before.
fn is_rotated(name: &str, log: &str) -> bool {
    name.strip_prefix(log).is_some_and(|more| {
        more.starts_with(['.', '-', '_'])
            && !is_unfinished(name)
            && ![".gz", ".zst", ".xz", ".bz2", ".lz4"].iter().any(|end| more.ends_with(end))
    })
}

/// Whether a name says that somebody is still writing.
fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') || [".tmp", ".part", "~"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests;
