//! Decides how the audit lies on disk: records packed by commit group, and the
//! tiles of the tree over them.
//!
//! A group's value is its records one behind the other, each after its length
//! (32 bits, big-endian); one that was cut has length 0. Tiles at the leaves
//! are kept once they are full: until then the records say what is in them, so
//! none of those is ever cut. A tile above has the hashes it has got so far.

use rocksdb::{Direction, IteratorMode};

use crate::model::audit::record::{MAX_RECORD_BYTES, Record};
use crate::model::audit::tile::{self, WIDTH};
use crate::model::audit::tree::{Grown, Hash, Hashes};

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};

/// Meta record of the seed of the key that signs checkpoints.
const KEY: &str = "audit-key";

/// Meta record of the history epoch that the audit has noted.
const EPOCH: &str = "audit-epoch";

/// A record of the audit, encoded, with its number; no bytes: it was cut.
pub type Entry = (u64, Vec<u8>);

/// Packs records into the value of a group.
pub fn pack<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut packed = Vec::new();
    for record in records {
        packed.extend_from_slice(&u32::try_from(record.len()).unwrap_or_default().to_be_bytes());
        packed.extend_from_slice(record);
    }
    packed
}

/// The records in the value of a group.
fn unpack(first: u64, mut packed: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let damaged = || Error::corrupt("audit", first);
    let mut records = Vec::new();
    while !packed.is_empty() {
        let (length, rest) = packed.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (record, rest) =
            rest.split_at_checked(length).filter(|_| length <= MAX_RECORD_BYTES).ok_or_else(damaged)?;
        records.push(record);
        packed = rest;
    }
    Ok(records)
}

impl Batch<'_> {
    /// The audit records of a commit group, packed, from number `first` on, and
    /// the tiles that grew with them.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn audit(&mut self, first: u64, packed: &[u8], grown: &[Grown]) -> Result<(), Error> {
        self.uncounted(Family::Audit, &keys::audit(first), packed)?;
        for (place, Grown { level, index, hashes }) in grown.iter().enumerate() {
            // Of a tile that grew several times the last state counts.
            let again =
                grown.iter().skip(place + 1).any(|later| later.level == *level && later.index == *index);
            if !again {
                self.uncounted(Family::Audit, &keys::tile(*level, *index), &tile::encode(hashes))?;
            }
        }
        Ok(())
    }

    /// The seed of the key that signs checkpoints.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn audit_key(&mut self, seed: &[u8]) -> Result<(), Error> {
        self.uncounted(Family::Meta, &keys::meta(KEY), seed)
    }

    /// The history epoch that the audit has noted.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn audit_epoch(&mut self, epoch: u16) -> Result<(), Error> {
        self.uncounted(Family::Meta, &keys::meta(EPOCH), &epoch.to_be_bytes())
    }
}

impl Store {
    /// The seed of the key that signs checkpoints, if there is one yet.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn audit_key(&self) -> Result<Option<Vec<u8>>, Error> {
        self.meta(KEY)
    }

    /// The history epoch that the audit has noted, if it has one.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn audit_epoch(&self) -> Result<Option<u16>, Error> {
        let Some(bytes) = self.meta(EPOCH)? else { return Ok(None) };
        let epoch = bytes.try_into().map_err(|_| Error::corrupt("meta", EPOCH))?;
        Ok(Some(u16::from_be_bytes(epoch)))
    }

    /// Number of records in the audit.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn audit_size(&self) -> Result<u64, Error> {
        match self.audit_group(u64::MAX)? {
            Some((first, packed)) => Ok(first + unpack(first, &packed)?.len() as u64),
            None => Ok(0),
        }
    }

    /// The group that holds record `index`, or the last before it.
    fn audit_group(&self, index: u64) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let key = keys::audit(index);
        let mode = IteratorMode::From(&key, Direction::Reverse);
        let Some(found) = self.db.iterator_cf(self.family(Family::Audit)?, mode).next() else {
            return Ok(None);
        };
        let (key, packed) = found?;
        let first = keys::number_of(&key).filter(|_| key.first() == Some(&KeyKind::Audit.byte()));
        Ok(first.map(|first| (first, packed.into_vec())))
    }

    /// Number of the first record of the group that holds record `index`, or of
    /// the last before it.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn audit_group_start(&self, index: u64) -> Result<u64, Error> {
        Ok(self.audit_group(index)?.map_or(0, |(first, _)| first))
    }

    /// Hands records from number `from` to before `to` to `each`, in order,
    /// until that says to stop.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where one is missing, or whatever the engine answers.
    pub fn audit_records(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Error> {
        let Some((start, _)) = self.audit_group(from)?.filter(|_| from < to) else { return Ok(()) };
        let (key, mut next) = (keys::audit(start), from);
        let mode = IteratorMode::From(&key, Direction::Forward);
        for found in self.db.iterator_cf(self.family(Family::Audit)?, mode) {
            let (key, packed) = found?;
            let first = keys::number_of(&key).filter(|_| key.first() == Some(&KeyKind::Audit.byte()));
            let Some(first) = first else { break };
            for (number, record) in (first..).zip(unpack(first, &packed)?) {
                if number < next {
                    continue;
                }
                if number != next {
                    return Err(Error::corrupt("audit", next));
                }
                if number >= to || !each(number, record) {
                    return Ok(());
                }
                next += 1;
            }
        }
        if next < to { Err(Error::corrupt("audit", next)) } else { Ok(()) }
    }

    /// Some of the records before number `to`, newest first: those of the group
    /// that holds the last of them.
    ///
    /// # Errors
    /// As [`Self::audit_records`].
    pub fn audit_before(&self, to: u64) -> Result<Vec<Entry>, Error> {
        let Some(last) = to.checked_sub(1) else { return Ok(Vec::new()) };
        let Some((first, packed)) = self.audit_group(last)? else {
            return Err(Error::corrupt("audit", last));
        };
        let records = (first..to).zip(unpack(first, &packed)?);
        let mut entries: Vec<_> = records.map(|(number, record)| (number, record.to_vec())).collect();
        if entries.last().is_none_or(|(number, _)| *number != last) {
            return Err(Error::corrupt("audit", last));
        }
        entries.reverse();
        Ok(entries)
    }

    /// Cuts the records of groups from `from` to before `to` that `spent` tells,
    /// at most about `bytes` of them; up to where it got, and how many it cut.
    /// Neither hashes nor what the last unfinished tile needs are touched.
    ///
    /// # Errors
    /// As [`Self::audit_records`].
    pub fn cut_audit(
        &self,
        (from, to): (u64, u64),
        bytes: usize,
        spent: impl Fn(&[u8]) -> bool,
    ) -> Result<(u64, u64), Error> {
        let (mut at, mut read, mut cut) = (from, 0, 0);
        let mut batch = Batch::new(self);
        while at < to && read < bytes {
            let Some((first, packed)) = self.audit_group(at)? else { break };
            let mut records = unpack(first, &packed)?;
            let end = first + records.len() as u64;
            read += packed.len();
            if end > to {
                break;
            }
            let before = cut;
            for record in &mut records {
                if !record.is_empty() && spent(record) {
                    *record = &[];
                    cut += 1;
                }
            }
            if cut > before {
                batch.uncounted(Family::Audit, &keys::audit(first), &pack(records))?;
            }
            at = end;
        }
        if !batch.is_empty() {
            self.commit(batch)?;
        }
        Ok((at, cut))
    }
}

/// The hashes of the audit's tree, as they lie in the store.
impl Hashes for Store {
    type Error = Error;

    fn tile(&self, level: u8, index: u64, width: usize) -> Result<Vec<Hash>, Error> {
        let damaged = || Error::corrupt("audit tile", (level, index));
        if let Some(bytes) = self.db.get_cf(self.family(Family::Audit)?, keys::tile(level, index))? {
            let mut hashes = tile::decode(&bytes).filter(|found| found.len() >= width).ok_or_else(damaged)?;
            hashes.truncate(width);
            return Ok(hashes);
        }
        if level > 0 {
            return Err(damaged());
        }
        let first = index * WIDTH as u64;
        let mut hashes = Vec::with_capacity(width);
        self.audit_records(first, first + width as u64, |_, record| {
            hashes.push(Record::leaf(record));
            true
        })?;
        if hashes.len() == width { Ok(hashes) } else { Err(damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::tree::{self, Tree};
    use crate::store::Tuning;

    /// A store with groups of these many records.
    fn store(dir: &std::path::Path, groups: &[u64]) -> (Store, Tree) {
        let store = Store::create(&dir.join("s"), &Tuning::default()).unwrap();
        let mut tree = Tree::default();
        for count in groups {
            let (first, mut grown) = (tree.size(), Vec::new());
            let records: Vec<_> =
                (first..first + count).map(|n| format!("record {n}").into_bytes()).collect();
            records.iter().for_each(|record| tree.push(Record::leaf(record), &mut grown));
            let mut batch = Batch::new(&store);
            batch.audit(first, &pack(records.iter().map(Vec::as_slice)), &grown).unwrap();
            store.commit(batch).unwrap();
        }
        (store, tree)
    }

    fn numbers(store: &Store, from: u64, to: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        store
            .audit_records(from, to, |number, record| {
                assert_eq!(record, format!("record {number}").as_bytes());
                seen.push(number);
                true
            })
            .unwrap();
        seen
    }

    #[test]
    fn what_was_written_in_groups_is_read_in_order_and_its_tree_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (store, tree) = store(dir.path(), &[1, 3, 700, 1, 40]);
        assert_eq!(store.audit_size().unwrap(), 745);
        for (from, to) in [(0, 745), (0, 1), (2, 9), (700, 745), (744, 745), (5, 5)] {
            assert_eq!(numbers(&store, from, to), (from..to).collect::<Vec<_>>());
        }
        assert!(store.audit_records(0, 746, |_, _| true).is_err(), "there is no such record");
        let resumed = Tree::resume(745, |level, index, width| store.tile(level, index, width)).unwrap();
        assert_eq!(resumed.root(), tree.root());
        for size in [0, 1, 255, 256, 300, 745] {
            tree::root(&store, size).unwrap();
        }
        assert_eq!(tree::root(&store, 745).unwrap(), tree.root());
        let last: Vec<_> = store.audit_before(704).unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!(last, (4..704).rev().collect::<Vec<_>>());
    }

    #[test]
    fn cutting_records_keeps_every_hash() {
        let dir = tempfile::tempdir().unwrap();
        let (store, tree) = store(dir.path(), &[100, 100, 100, 300]);
        let odd = |record: &[u8]| record.last().is_some_and(|digit| digit % 2 == 1);
        let (at, cut) = store.cut_audit((0, 512), usize::MAX, odd).unwrap();
        assert_eq!((at, cut), (300, 150), "the last group reaches into the unfinished tile");
        assert_eq!(store.cut_audit((0, 512), usize::MAX, odd).unwrap(), (300, 0));
        let mut empty = 0;
        store
            .audit_records(0, 600, |_, record| {
                empty += u64::from(record.is_empty());
                true
            })
            .unwrap();
        assert_eq!(empty, 150);
        assert_eq!(tree::root(&store, 600).unwrap(), tree.root());
        assert_eq!(tree::root(&store, 512).unwrap(), tree::root(&store, 512).unwrap());
    }
}
