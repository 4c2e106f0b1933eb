//! Decides whether an exported log is what its checkpoint says, and goes on
//! from what was seen before: changed, removed, reordered, truncated and forked
//! histories are told apart.

use super::checkpoint::{Checkpoint, read_origin};
use super::note::{self, VerifierKey};
use super::record::{self, Phase, Record};
use super::tile::{self, WIDTH};
use super::tree::{Grown, Hash, Tree, leaf};

/// Where the files of an exported log are read from.
pub trait Files {
    /// The file at a path of the layout; `None`: there is none.
    ///
    /// # Errors
    /// What reading answers.
    fn read(&self, path: &str) -> std::io::Result<Option<Vec<u8>>>;
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The checkpoint, or one held against it, is not what it says to be.
    #[error("{what}: {problem}")]
    Note {
        /// Which.
        what: String,
        /// What is wrong.
        problem: note::Error,
    },
    /// A file is missing.
    #[error("{0} is missing: the log is shorter than its checkpoint says, or part of it was removed")]
    Missing(String),
    /// A file has more or fewer records than its place.
    #[error("{path} holds {found} records and should hold {expected}: records were removed or added")]
    Count {
        /// Which file.
        path: String,
        /// How many it should hold.
        expected: usize,
        /// How many it holds.
        found: usize,
    },
    /// Bytes that are no file of the layout.
    #[error("{0} is not a file of this log")]
    Damaged(String),
    /// A record is not the one that was hashed.
    #[error("record {0} is not the one that was written there: it was changed, or records were reordered")]
    Changed(u64),
    /// A record is missing, and nothing in the log says that it was cut.
    #[error("record {0} is missing, and no note in the log says that it was cut by age")]
    Uncut(u64),
    /// A tile does not follow from those below it.
    #[error("{0} does not follow from the records")]
    Tile(String),
    /// The records do not lead to the root that was signed.
    #[error("the {0} records do not lead to the root that the checkpoint signs")]
    Root(u64),
    /// A checkpoint seen before counts more records.
    #[error(
        "the log has {size} records, and a checkpoint that was seen before counts {seen}: it was truncated"
    )]
    Truncated {
        /// How many it has.
        size: u64,
        /// How many it had.
        seen: u64,
    },
    /// A checkpoint seen before is of another history.
    #[error(
        "the first {0} records are not those of a checkpoint that was seen before: there are two histories"
    )]
    Forked(u64),
    /// A checkpoint seen before is of another hub.
    #[error("a checkpoint that was seen before is of {seen}, and this log is {here}")]
    Foreign {
        /// Of which log it is.
        seen: String,
        /// Which log this is.
        here: String,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// What reading answered.
        source: std::io::Error,
    },
}

/// What a log that is sound says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// Records that were cut by age; their hashes are there.
    pub cut: u64,
    /// What checkpoints seen before vouched for and a restore from a backup
    /// lost: records from the first number to before the second.
    pub lost: Option<(u64, u64)>,
}

/// Verifies a log against the key of the hub, and against checkpoints that were
/// seen before: for each its name for people, and the signed note.
///
/// # Errors
/// The first [`Problem`].
pub fn verify(files: &impl Files, key: &VerifierKey, seen: &[(&str, &str)]) -> Result<Verified, Problem> {
    let text = read(files, tile::CHECKPOINT)?;
    let text = String::from_utf8(text).map_err(|_| unsound("the checkpoint", note::Error::NoNote))?;
    let checkpoint = Checkpoint::open(&text, key).map_err(|problem| unsound("the checkpoint", problem))?;
    let mut seen = earlier(&checkpoint, key, seen)?;
    seen.sort_by_key(|(_, old)| old.size);
    let mut walk = Walk { files, tree: Tree::default(), cut: Vec::new(), cut_end: 0, restored: Vec::new() };
    let sizes: Vec<_> = seen.iter().map(|(_, old)| old.size).collect();
    let mut roots = Vec::new();
    walk.all(checkpoint.size, &sizes, &mut roots)?;
    if walk.tree.root() != checkpoint.root {
        return Err(Problem::Root(checkpoint.size));
    }
    if let Some(index) = walk.cut.iter().find(|index| **index >= walk.cut_end) {
        return Err(Problem::Uncut(*index));
    }
    let mut lost: Option<(u64, u64)> = None;
    for (place, (epoch, old)) in seen.iter().enumerate() {
        // Where the history that it is of ended, if that was before the end.
        let ended = walk.restored.iter().find(|(_, begun)| begun > epoch).map(|(index, _)| *index);
        match (ended, roots.get(place)) {
            (Some(end), _) if old.size > end => {
                lost = Some(lost.map_or((end, old.size), |(from, to)| (from.min(end), to.max(old.size))));
            }
            (_, Some(root)) if *root == old.root => {}
            (_, Some(_)) => return Err(Problem::Forked(old.size)),
            (_, None) => return Err(Problem::Truncated { size: checkpoint.size, seen: old.size }),
        }
    }
    Ok(Verified { checkpoint, cut: walk.cut.len() as u64, lost })
}

/// The checkpoints that were seen before, each with its history epoch.
fn earlier(
    checkpoint: &Checkpoint,
    key: &VerifierKey,
    seen: &[(&str, &str)],
) -> Result<Vec<(u16, Checkpoint)>, Problem> {
    let hub = |origin: &str| read_origin(origin).map(|(hub, epoch)| (hub.to_owned(), epoch));
    let here = hub(&checkpoint.origin);
    let mut all = Vec::new();
    for (name, note) in seen {
        let unsound = |problem| unsound(name, problem);
        let said = Checkpoint::read_unverified(note).map_err(unsound)?;
        // Its log may have had another name, and the hub the same key.
        let key = key.renamed(&said.origin).ok_or_else(|| unsound(note::Error::NoKey))?;
        let old = Checkpoint::open(note, &key).map_err(unsound)?;
        let epoch = match (&here, hub(&old.origin)) {
            (Some((here, _)), Some((there, epoch))) if *here == there => epoch,
            _ if old.origin == checkpoint.origin => 0,
            _ => return Err(Problem::Foreign { seen: old.origin, here: checkpoint.origin.clone() }),
        };
        if here.as_ref().is_some_and(|(_, own)| epoch > *own) {
            return Err(Problem::Truncated { size: checkpoint.size, seen: old.size });
        }
        all.push((epoch, old));
    }
    Ok(all)
}

fn unsound(what: &str, problem: note::Error) -> Problem {
    Problem::Note { what: what.to_owned(), problem }
}

/// A walk over the records, which builds the tree again.
struct Walk<'a, F> {
    files: &'a F,
    tree: Tree,
    /// Records that are not there.
    cut: Vec<u64>,
    /// Below which number a note says that some may be.
    cut_end: u64,
    /// Notes that a history epoch began: number of the record, and epoch.
    restored: Vec<(u64, u16)>,
}

impl<F: Files> Walk<'_, F> {
    /// Walks over `size` records; `roots` gets the root at each of `sizes`,
    /// which rise, as far as there are so many records.
    fn all(&mut self, size: u64, sizes: &[u64], roots: &mut Vec<Hash>) -> Result<(), Problem> {
        let mut sizes = sizes.iter().peekable();
        let mut note = |tree: &Tree| {
            while sizes.next_if(|wanted| **wanted == tree.size()).is_some() {
                roots.push(tree.root());
            }
        };
        note(&self.tree);
        let mut grown = Vec::new();
        for (index, width) in tile::bundles(size) {
            for hash in self.bundle(index, width)? {
                self.tree.push(hash, &mut grown);
                note(&self.tree);
            }
            // Above the leaves a tile grows many times; what it is in the end
            // is looked at when it is full, or below.
            for Grown { level, index, hashes } in grown.drain(..) {
                if level > 0 && hashes.len() == WIDTH {
                    self.tile(level, index, &hashes)?;
                }
            }
        }
        for (level, index, _) in tile::unfinished(size).filter(|(level, _, _)| *level > 0) {
            self.tile(level, index, self.tree.unfinished(level))?;
        }
        Ok(())
    }

    /// The leaves of a bundle, which its tile says too.
    fn bundle(&mut self, index: u64, width: usize) -> Result<Vec<Hash>, Problem> {
        let path = tile::entries_path(index, width);
        let bytes = read(self.files, &path)?;
        let entries = tile::decode_entries(&bytes).ok_or_else(|| Problem::Damaged(path.clone()))?;
        if entries.len() != width {
            return Err(Problem::Count { path, expected: width, found: entries.len() });
        }
        let tile = hashes(self.files, 0, index, width)?;
        let first = index * WIDTH as u64;
        for (number, (entry, hash)) in (first..).zip(entries.into_iter().zip(&tile)) {
            if entry.is_empty() {
                self.cut.push(number);
                continue;
            }
            if leaf(entry) != *hash {
                return Err(Problem::Changed(number));
            }
            self.hear(number, entry);
        }
        Ok(tile)
    }

    /// What the hub notes of the log itself.
    fn hear(&mut self, number: u64, entry: &[u8]) {
        // A kind of record of a later release says nothing that matters here.
        let Some(record) = Record::decode(entry) else { return };
        if let Some(end) = record.cut_end() {
            // It speaks of records before it.
            self.cut_end = self.cut_end.max(end.min(number));
        }
        if record.phase == Phase::Note && record.method == record::RESTORED {
            self.restored.push((number, u16::try_from(record.asked).unwrap_or(u16::MAX)));
        }
    }

    fn tile(&self, level: u8, index: u64, expected: &[Hash]) -> Result<(), Problem> {
        if hashes(self.files, level, index, expected.len())? == expected {
            return Ok(());
        }
        Err(Problem::Tile(tile::path(level, index, expected.len())))
    }
}

fn hashes(files: &impl Files, level: u8, index: u64, width: usize) -> Result<Vec<Hash>, Problem> {
    let path = tile::path(level, index, width);
    let found = tile::decode(&read(files, &path)?).ok_or_else(|| Problem::Damaged(path.clone()))?;
    if found.len() == width {
        Ok(found)
    } else {
        Err(Problem::Count { path, expected: width, found: found.len() })
    }
}

fn read(files: &impl Files, path: &str) -> Result<Vec<u8>, Problem> {
    match files.read(path) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Problem::Missing(path.to_owned())),
        Err(source) => Err(Problem::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
