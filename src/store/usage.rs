//! Decides how it is known how much of the log each organisation takes, without
//! reading it: what is indexed is counted, what is cut out is taken off in the
//! same batch, and what an earlier release indexed is made up for, step by
//! step. One record, which the engine adds up.

use std::collections::BTreeMap;

use rocksdb::WriteBatch;

use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::chunk::{Chunk, ItemView, Op, View};
use super::counters;
use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};

const KEY: [u8; 1] = [KeyKind::Usage.byte()];
/// Meta record: up to where was counted as it was indexed.
const COUNTED: &str = "usage-counted";
/// Meta record: what stands past there was counted as it was indexed.
const SINCE: &str = "usage-since";
/// Meta record: what stands up to there was made up for.
const FILLED: &str = "usage-filled";

/// How many bytes more or fewer each organisation takes.
#[derive(Debug, Default)]
pub struct Sizes(BTreeMap<OrgNo, i64>);

impl Sizes {
    /// An item that is there.
    pub fn add(&mut self, item: &ItemView<'_>) {
        self.change(item, 1);
    }

    fn change(&mut self, item: &ItemView<'_>, sign: i64) {
        // What is left of a birth is nobody's.
        if item.header.op != Op::Born {
            *self.0.entry(item.header.owner).or_default() += sign * item.size().cast_signed();
        }
    }

    fn encode(&self) -> Vec<u8> {
        counters::encode(self.0.iter().map(|(owner, by)| (u64::from(owner.0), *by)))
    }

    /// Counts them with `batch`.
    pub(super) fn write_to(&self, store: &Store, batch: &mut WriteBatch) -> Result<(), Error> {
        let change = self.encode();
        if !counters::is_nothing(&change) {
            batch.merge_cf(store.family(Family::Counters)?, KEY, change);
        }
        Ok(())
    }
}

/// What each organisation takes, as far as it is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its items in the log, headers and bodies.
    pub bytes: BTreeMap<OrgNo, u64>,
    marks: Marks,
}

/// Which items are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    filled: Position,
    since: Position,
    counted: Position,
}

impl Marks {
    fn include(&self, at: Position) -> bool {
        at <= self.filled || (at > self.since && at <= self.counted)
    }
}

impl Usage {
    /// Whether all is counted that is indexed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.marks.filled >= self.marks.since
    }

    /// What was indexed before it was counted, and is still to be: from the one
    /// position up to the other.
    #[must_use]
    pub const fn missing(&self) -> (Position, Position) {
        (self.marks.filled, self.marks.since)
    }
}

impl Store {
    /// What each organisation takes.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn usage(&self) -> Result<Usage, Error> {
        let value = self.db.get_cf(self.family(Family::Counters)?, KEY)?.unwrap_or_default();
        let mut bytes = BTreeMap::new();
        let damaged = || Error::corrupt("counter", "usage");
        let mut whole = true;
        counters::read(&value, |owner, taken| match owner.try_into() {
            Ok(owner) => drop(bytes.insert(OrgNo(owner), u64::try_from(taken).unwrap_or_default())),
            Err(_) => whole = false,
        })
        .filter(|()| whole)
        .ok_or_else(damaged)?;
        Ok(Usage { bytes, marks: self.marks()? })
    }

    /// Counts from here on what is indexed, and begins anew where something was
    /// indexed by a release that does not count. To be called before anything
    /// is.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn begin_usage(&self) -> Result<(), Error> {
        let indexed = self.indexed()?;
        if self.marks()?.counted == indexed {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(Family::Counters)?, KEY, b"");
        for (name, at) in [(COUNTED, indexed), (SINCE, indexed), (FILLED, Position::ZERO)] {
            self.mark_usage(&mut batch, name, at)?;
        }
        self.write_again(batch)
    }

    /// Whether all that is indexed was counted, or will be.
    ///
    /// # Errors
    /// As [`Self::usage`].
    pub fn counts_usage(&self) -> Result<bool, Error> {
        Ok(self.marks()?.counted == self.indexed()?)
    }

    /// Makes up for some of what was indexed before it was counted, about
    /// `bytes` of the log; whether there was any.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn fill_usage(&self, bytes: usize) -> Result<bool, Error> {
        let Marks { mut filled, since, .. } = self.marks()?;
        if filled >= since {
            return Ok(false);
        }
        let (mut sizes, mut read) = (Sizes::default(), 0);
        let mut log = self.reader()?;
        log.seek_after(filled);
        while read < bytes {
            let Some((first, bytes)) = log.peek()?.filter(|(first, _)| *first <= since) else {
                filled = since;
                break;
            };
            let view = View::parse(first, bytes).ok_or_else(|| Error::corrupt("chunk", first))?;
            for item in view.items() {
                sizes.add(&item.ok_or_else(|| Error::corrupt("item", first))?);
            }
            filled = view.last_position();
            read += bytes.len();
            log.advance();
        }
        drop(log);
        let mut batch = WriteBatch::default();
        sizes.write_to(self, &mut batch)?;
        self.mark_usage(&mut batch, FILLED, filled)?;
        self.write_again(batch)?;
        Ok(true)
    }

    /// Notes with `batch` up to where is counted what is indexed.
    pub(super) fn counted_usage(&self, batch: &mut WriteBatch, upto: Position) -> Result<(), Error> {
        self.mark_usage(batch, COUNTED, upto)
    }

    /// What is no longer taken where `left` stands in the place of a chunk.
    pub(super) fn freed_usage<'a>(
        &self,
        changed: impl Iterator<Item = (&'a Chunk, Option<&'a Chunk>)>,
    ) -> Result<Sizes, Error> {
        let (marks, mut sizes) = (self.marks()?, Sizes::default());
        for (before, left) in changed {
            for (chunk, sign) in [(Some(before), -1), (left, 1)] {
                let Some(chunk) = chunk else { continue };
                let damaged = || Error::corrupt("chunk", chunk.first);
                for item in chunk.view().ok_or_else(damaged)?.items() {
                    let item = item.ok_or_else(damaged)?;
                    if marks.include(item.position) {
                        sizes.change(&item, sign);
                    }
                }
            }
        }
        Ok(sizes)
    }

    fn marks(&self) -> Result<Marks, Error> {
        let read = |name: &'static str| -> Result<Position, Error> {
            let Some(bytes) = self.meta(name)? else { return Ok(Position::ZERO) };
            let mark = bytes.try_into().map_err(|_| Error::corrupt("meta", name))?;
            Ok(Position::from_raw(u64::from_be_bytes(mark)))
        };
        Ok(Marks { filled: read(FILLED)?, since: read(SINCE)?, counted: read(COUNTED)? })
    }

    fn mark_usage(&self, batch: &mut WriteBatch, name: &str, at: Position) -> Result<(), Error> {
        batch.put_cf(self.family(Family::Meta)?, keys::meta(name), at.raw().to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::audience::ClassNo;
    use crate::model::indicator::State;
    use crate::store::chunk::{Builder, Item, ItemHeader, Rest};
    use crate::store::index::Index;
    use crate::store::truncate::Truncated;
    use crate::store::{Batch, Tuning};

    fn item(at: Position, owner: u32) -> Item {
        let header = ItemHeader {
            handle: at,
            previous: Position::ZERO,
            version: at.raw(),
            digest: 0,
            salted: [0; 16],
            class: ClassNo(1),
            previous_class: ClassNo(1),
            owner: OrgNo(owner),
            body_len: 0,
            tail_len: 0,
            kind: 1,
            previous_kind: 1,
            op: Op::Create,
            state: State::Active,
            tlp: 1,
            previous_tlp: 1,
            aliases: false,
            terms: 0,
            previous_terms: 0,
            relabelled: false,
            lapsed: false,
            original: None,
        };
        Item { header, terms: Vec::new(), previous_terms: Vec::new(), body: vec![7; owner as usize * 10] }
    }

    /// Lays an entry of three items, of three owners, into the log; its end.
    fn entry(store: &Store, number: u64) -> Position {
        let first = crate::model::position::Seq::new(0, number).at(0);
        let mut builder = Builder::new(first, Vec::new(), number);
        let (mut at, mut last) = (first, first);
        for owner in 1..=3 {
            last = builder.push(&item(at, owner));
            at = last.next();
        }
        let mut batch = Batch::new(store);
        builder.finish().iter().for_each(|chunk| batch.chunk(chunk).unwrap());
        store.commit(batch).unwrap();
        last
    }

    fn index(store: &Store, number: u64) {
        let last = entry(store, number);
        let mut found = Index::default();
        let chunk = store.chunk_at(last).unwrap().unwrap();
        chunk.view().unwrap().items().for_each(|item| found.sizes.add(&item.unwrap()));
        store.add_index(&found, last).unwrap();
    }

    /// What the log holds of each.
    fn held(store: &Store) -> BTreeMap<OrgNo, u64> {
        let (mut scan, mut held) = (store.scan(Position::ZERO).unwrap(), BTreeMap::new());
        while let Some(chunk) = scan.next_chunk().unwrap() {
            for item in chunk.view().unwrap().items().flatten().filter(|item| item.header.op != Op::Born) {
                *held.entry(item.header.owner).or_default() += item.size();
            }
        }
        held
    }

    fn cut(store: &Store, number: u64, rest: Rest) {
        let at = crate::model::position::Seq::new(0, number).at(1);
        let cuts = store.cuts(&[(at, rest)].into()).unwrap();
        assert!(!cuts.is_empty());
        store.truncate(&cuts, &Truncated::default()).unwrap();
    }

    #[test]
    fn what_is_indexed_counts_and_what_is_cut_out_counts_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("s"), &Tuning::default()).unwrap();
        store.begin_usage().unwrap();
        (1..=4).for_each(|number| index(&store, number));
        assert_eq!(store.usage().unwrap().bytes, held(&store));
        cut(&store, 2, Rest::Nothing);
        cut(&store, 3, Rest::Birth);
        let usage = store.usage().unwrap();
        assert!(usage.is_whole() && usage.bytes[&OrgNo(2)] == 2 * (76 + 20));
        assert_eq!(usage.bytes, held(&store));
        // What is not indexed yet is not counted, and is not taken off.
        entry(&store, 5);
        cut(&store, 5, Rest::Nothing);
        assert_eq!(store.usage().unwrap(), usage);
    }

    #[test]
    fn what_an_earlier_release_indexed_is_made_up_for_while_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("s"), &Tuning::default()).unwrap();
        index(&store, 1);
        let last = (2..=8).map(|number| entry(&store, number)).last().unwrap();
        let mut batch = WriteBatch::default();
        store.mark_usage(&mut batch, "indexed", last).unwrap();
        store.write_again(batch).unwrap();
        store.begin_usage().unwrap();
        let begun = store.usage().unwrap();
        assert!(begun.bytes.is_empty() && !begun.is_whole() && store.counts_usage().unwrap());
        assert!(store.fill_usage(300).unwrap());
        // Of what was counted, of what was not, and of what came later.
        cut(&store, 1, Rest::Nothing);
        cut(&store, 7, Rest::Nothing);
        index(&store, 9);
        index(&store, 10);
        cut(&store, 9, Rest::Birth);
        store.begin_usage().unwrap();
        assert!(!store.usage().unwrap().is_whole());
        let mut steps = 0;
        while store.fill_usage(1).unwrap() {
            steps += 1;
        }
        assert!(steps > 3, "{steps}");
        let usage = store.usage().unwrap();
        assert!(usage.is_whole());
        assert_eq!(usage.bytes, held(&store));
    }
}
