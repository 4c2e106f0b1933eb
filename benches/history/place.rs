//! Decides where a store lies, how it is known again, and how it is made cold.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::harness::TestHub;
use super::roster;

/// What a store must have been made of to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    pub seed: u64,
    pub rows: u64,
    pub events: u64,
}

/// What was found out while a store was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Made {
    /// Seconds since the epoch that nothing was seen after.
    pub until: i64,
    /// When it began and ended, in seconds since the epoch.
    pub began: i64,
    pub ended: i64,
    /// Versions and sightings stored.
    pub items: u64,
    /// Indicators created.
    pub created: u64,
    /// Bytes of the drafts and sightings, as they were sent.
    pub bytes: u64,
    /// Bytes of the drafts that created indicators.
    pub created_bytes: u64,
    /// Items that the hub refused.
    pub refused: u64,
}

/// Increased when another build makes other stores of the same numbers.
const FORMAT: u64 = 1;

/// A directory for a store and the note of what it is.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// This directory, made if there is none.
    pub fn at(path: &Path) -> Self {
        fs::create_dir_all(path).expect("the directory can be made");
        Self(path.canonicalize().expect("the directory is there"))
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    fn note(&self) -> PathBuf {
        self.0.join("note.json")
    }

    /// What lies here; none: nothing does.
    ///
    /// # Errors
    /// If it is something else than what is asked for.
    pub fn look(&self, recipe: Recipe) -> Result<Option<Made>, String> {
        let told = fs::read(self.note()).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let Some(note) = told else {
            return match self.store().exists() {
                false => Ok(None),
                true => Err(format!("{} holds a store that was not finished; remove it", self.0.display())),
            };
        };
        let asked = recipe_of(recipe);
        if note["recipe"] != asked {
            let (here, place) = (&note["recipe"], self.0.display());
            return Err(format!("{place} holds a store of {here}, not of {asked}; name another directory"));
        }
        let number = |name: &str| note[name].as_i64().unwrap_or_default();
        let count = |name: &str| note[name].as_u64().unwrap_or_default();
        Ok(Some(Made {
            until: number("until"),
            began: number("began"),
            ended: number("ended"),
            items: count("items"),
            created: count("created"),
            bytes: count("bytes"),
            created_bytes: count("created_bytes"),
            refused: count("refused"),
        }))
    }

    /// Notes that the store is finished.
    pub fn finish(&self, recipe: Recipe, made: Made) {
        let note = json!({
            "recipe": recipe_of(recipe), "until": made.until, "began": made.began, "ended": made.ended,
            "items": made.items, "created": made.created, "bytes": made.bytes,
            "created_bytes": made.created_bytes, "refused": made.refused,
        });
        fs::write(self.note(), note.to_string()).expect("the note can be written");
    }

    /// A hub with the store that lies here, or with a new one; it does not run.
    pub fn hub(&self) -> TestHub {
        let hub = roster::builder().prepare();
        let (made, store) = (hub.data_dir(), self.store());
        if store.exists() {
            fs::remove_dir_all(&made).expect("what was made can be removed");
        } else {
            copy(&made, &store, &|_| false).expect("a new store can be copied");
            fs::remove_dir_all(&made).expect("what was copied can be removed");
        }
        std::os::unix::fs::symlink(&store, &made).expect("a link can be made");
        hub
    }

    /// A copy of the store of a hub that does not run, for something that
    /// changes it: tables, which never change, are shared.
    pub fn copy(&self, name: &str) -> Self {
        let to = self.0.join(name);
        let _ = fs::remove_dir_all(&to);
        let copied = Self::at(&to);
        let shared = |path: &Path| path.extension().is_some_and(|ending| ending == "sst");
        copy(&self.store(), &copied.store(), &shared).expect("a store can be copied");
        copied
    }

    /// Removes all that lies here.
    pub fn remove(self) {
        let _ = fs::remove_dir_all(self.0);
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        let mut total = 0;
        each_file(&self.store(), &mut |path| {
            total += fs::metadata(path).map_or(0, |data| data.len());
        });
        total
    }

    /// Has the system forget what it keeps of the store in memory.
    pub fn evict(&self) {
        each_file(&self.store(), &mut |path| {
            if let Ok(file) = fs::File::open(path) {
                let _ = rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::DontNeed);
            }
        });
    }

    /// Puts on the disk what is not there, so that it can be forgotten.
    pub fn sync(&self) {
        each_file(&self.store(), &mut |path| {
            let _ = fs::File::open(path).and_then(|file| file.sync_all());
        });
    }
}

fn recipe_of(recipe: Recipe) -> Value {
    json!({ "format": FORMAT, "seed": recipe.seed, "rows": recipe.rows, "events": recipe.events })
}

fn each_file(directory: &Path, act: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&entry.path(), act),
            Ok(kind) if kind.is_file() => act(&entry.path()),
            _ => {}
        }
    }
}

fn copy(from: &Path, to: &Path, shared: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &target, shared)?;
        } else if kind.is_file() {
            if shared(&path) {
                fs::hard_link(&path, &target)?;
            } else {
                fs::copy(&path, &target)?;
            }
        }
    }
    Ok(())
}
