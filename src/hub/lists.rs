//! Decides how the lists of a hub are read from their directory, and put there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::base::files;
use crate::interop::warninglist::{self, MAX_FILE_BYTES};
use crate::model::warninglist::{MAX_LISTS, Settings, Warninglist};
use crate::policy::guard::lists::{BuiltIn, Guard};

/// Most entries of all lists.
const MAX_ALL_ENTRIES: usize = 10_000_000;
/// Files of lists are readable by the hub's user alone, as all that it keeps.
const MODE: u32 = 0o600;
/// How deep lists lie below a directory that is taken in.
const DEPTH: usize = 4;
/// Most files that are looked at there.
const MAX_FILES: usize = 10_000;

/// Why lists cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check who may read it", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file is no list.
    #[error("{}: {problem}; mend it, or remove it", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There are too many lists, or entries.
    #[error("{} holds more than {MAX_LISTS} lists, or {MAX_ALL_ENTRIES} entries; remove some", .0.display())]
    TooMany(PathBuf),
    /// Parts or expressions of lists have no room.
    #[error(
        "{} holds more parts of values, or regular expressions, than the hub can hold against each value in time: {lists}; shorten or remove them",
        directory.display()
    )]
    TooLarge {
        /// The directory.
        directory: PathBuf,
        /// Short names of the lists.
        lists: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}; check the room on the disk and who may write there", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// A file that was looked at for a list.
#[derive(Debug)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// The list in it, or why it is none.
    pub list: Result<Warninglist, String>,
    json: Vec<u8>,
}

/// Loads the lists of a hub; where there is no directory, what is built in
/// alone. Blocking.
///
/// # Errors
/// Any file that is no list: nothing that is meant to protect is left out
/// without a word.
pub fn load(settings: &Settings) -> Result<Guard, Error> {
    let mut lists = Vec::new();
    let mut entries = 0_usize;
    for path in files_of(&settings.directory)? {
        let candidate = look(&path)?;
        let list = candidate.list.map_err(|problem| Error::Unsound { path: path.clone(), problem })?;
        entries = entries.saturating_add(list.entries.len());
        if lists.len() >= MAX_LISTS || entries > MAX_ALL_ENTRIES {
            return Err(Error::TooMany(settings.directory.clone()));
        }
        let mode = settings.mode(&list.slug);
        lists.push((list, mode));
    }
    let guard = Guard::new(lists, |slug| settings.mode_of_built_in(slug));
    for list in guard.lists().iter().filter(|list| list.entries == 0 && list.passed_over > 0) {
        tracing::warn!(
            list = list.name.slug,
            "no entry of the list says anything that values are held against"
        );
    }
    let too_large: Vec<_> = guard.too_large().collect();
    if !too_large.is_empty() {
        return Err(Error::TooLarge { directory: settings.directory.clone(), lists: too_large.join(", ") });
    }
    let known: BTreeSet<_> = guard.lists().iter().map(|list| list.name.slug.as_str()).collect();
    for slug in settings.modes.keys().filter(|slug| !known.contains(slug.as_str())) {
        tracing::warn!(list = slug.as_str(), "guards.modes names a list that is not there");
    }
    Ok(guard)
}

/// The files of lists in a directory, in order of their names.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Unreadable { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ends| ends == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one file.
fn look(path: &Path) -> Result<Candidate, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut json = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut json).map_err(unreadable)?;
    let too_large = json.len() as u64 > MAX_FILE_BYTES;
    let slug = slug(path);
    let list = if too_large {
        Err(format!("is larger than {MAX_FILE_BYTES} bytes"))
    } else if BuiltIn::ALL.iter().any(|built_in| built_in.name().slug == slug) {
        Err("has the name of a list that is built in; give it another".to_owned())
    } else {
        warninglist::read(&slug, &json).map_err(|invalid| invalid.to_string())
    };
    Ok(Candidate { path: path.to_owned(), list, json })
}

/// The short name of the list in a file: of `NAME/list.json`, as MISP lays them
/// out, and of `NAME.json`.
fn slug(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    let parent = path.parent().and_then(Path::file_name).filter(|_| stem == "list");
    parent.unwrap_or(stem).to_string_lossy().into_owned()
}

/// Every list that lies under a directory of others' making, read. Blocking.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::TooMany`].
pub fn candidates(directory: &Path) -> Result<Vec<Candidate>, Error> {
    let (mut found, mut looked) = (Vec::new(), 0_usize);
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let unreadable = |source| Error::Unreadable { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            looked = looked.saturating_add(1);
            if looked > MAX_FILES {
                return Err(Error::TooMany(directory.to_owned()));
            }
            let is_list = path.file_name().is_some_and(|name| name == "list.json")
                || depth == 0 && path.extension().is_some_and(|ends| ends == "json");
            if is_list {
                found.push(path);
            } else if depth < DEPTH && path.is_dir() {
                open.push((path, depth.saturating_add(1)));
            }
        }
    }
    found.sort();
    if found.len() > MAX_LISTS {
        return Err(Error::TooMany(directory.to_owned()));
    }
    found.iter().map(|path| look(path)).collect()
}

/// Puts lists into a hub's directory, each as a whole, in place of those of the
/// same names. A hub that runs takes them up when it is told to. Blocking.
///
/// # Errors
/// [`Error::Unwritable`].
pub fn put<'a>(directory: &Path, lists: impl IntoIterator<Item = &'a Candidate>) -> Result<(), Error> {
    let unwritable = |path: &Path, source| Error::Unwritable { path: path.to_owned(), source };
    files::create_private_dir(directory).map_err(|source| unwritable(directory, source))?;
    for candidate in lists {
        let Ok(list) = &candidate.list else { continue };
        let path = directory.join(format!("{}.json", list.slug));
        files::write_atomic(&path, &candidate.json, MODE).map_err(|source| unwritable(&path, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::asset::Matcher;
    use crate::model::indicator::normalise;
    use crate::model::warninglist::Mode;

    const LIST: &str = r#"{"name":"N","version":1,"description":"d","type":"cidr","list":["192.0.2.0/24"]}"#;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_is_taken_in_is_loaded_and_what_is_no_list_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        write(&theirs.join("lists/rfc1918/list.json"), LIST);
        write(&theirs.join("lists/broken/list.json"), "{}");
        write(&theirs.join("lists/public-suffixes/list.json"), LIST);
        write(&theirs.join("own.json"), LIST);
        write(&theirs.join("lists/README.json"), "{}");
        let found = candidates(&theirs).unwrap();
        let told: Vec<_> = found.iter().map(|c| (slug(&c.path), c.list.is_ok())).collect();
        let told: Vec<_> = told.iter().map(|(slug, good)| (slug.as_str(), *good)).collect();
        assert_eq!(told, [("broken", false), ("public-suffixes", false), ("rfc1918", true), ("own", true)]);
        put(&ours, &found).unwrap();
        put(&ours, &found).unwrap();

        let settings = Settings { directory: ours.clone(), ..Settings::default() };
        let guard = load(&settings).unwrap();
        let listed: Vec<_> = guard.lists().iter().skip(BuiltIn::ALL.len()).collect();
        let modes: Vec<_> = listed.iter().map(|list| (list.name.slug.as_str(), list.mode)).collect();
        assert_eq!(modes, [("own", Mode::Inform), ("rfc1918", Mode::Hold)]);
        let value = normalise::detect("192.0.2.9").unwrap().observable;
        assert_eq!(guard.judge_value(&value, None, None, &Matcher::default()).unwrap().lists.len(), 2);

        let many: Vec<_> = (0..2_000).map(|number| format!("\"x{number}\"")).collect();
        let many = format!(r#"{{"name":"N","version":1,"type":"regex","list":[{}]}}"#, many.join(","));
        write(&ours.join("many.json"), &many);
        let refused = load(&settings).unwrap_err();
        assert!(matches!(&refused, Error::TooLarge { lists, .. } if lists == "many"), "{refused}");
        fs::remove_file(ours.join("many.json")).unwrap();
        write(&ours.join("torn.json"), "{\"name\":");
        assert!(matches!(load(&settings), Err(Error::Unsound { path, .. }) if path.ends_with("torn.json")));
    }

    #[test]
    fn without_a_directory_what_is_built_in_stands() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { directory: dir.path().join("none"), ..Settings::default() };
        assert_eq!(load(&settings).unwrap().lists().len(), BuiltIn::ALL.len());
        assert!(matches!(candidates(&settings.directory), Err(Error::Unreadable { .. })));
    }
}
