//! Decides, without a read, whether a version stands or was replaced: two bits
//! for each item of the newest entries of the log, in memory. Most candidates
//! that an index names were replaced long ago, and each of them would cost a
//! read to be passed over.
//!
//! What is committed is taken in as it is shown; what was there before is taken
//! in beside the hub after a start, and until then, and for what is too old to
//! be in memory, the store is asked.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::tasks;
use crate::model::position::Position;
use crate::store::chunk::{Chunk, ItemView, View};
use crate::store::{Store, db};

use super::shared::Shared;

/// Entries whose bits lie together.
const BLOCK: u64 = 4_096;
/// Entries past the last block that are no gap that traffic leaves.
const LEAP: u64 = if cfg!(test) { 2 * BLOCK } else { 1 << 24 };
/// Most blocks, be they empty.
const MAX_BLOCKS: usize = 1 << 14;
/// Items whose bits lie in one word.
const PER_WORD: usize = 32;
/// Most words in all, 96 MiB of them; the oldest go first. Tests see that happen.
const MAX_WORDS: usize = if cfg!(test) { 96 } else { 12 << 20 };
/// Of so many versions that were replaced of late it is known by which: whoever
/// asks what stood a moment ago has not to read.
const OF_LATE: usize = if cfg!(test) { 4 } else { 1 << 16 };
/// Items that are taken in at a time.
const STEP: usize = 8_192;

/// What is known of a version without a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It stands.
    Stands,
    /// Another stands in its place.
    Replaced,
    /// The store is to be asked.
    Unknown,
}

/// A version of the log, as far as this goes.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    position: Position,
    previous: Position,
}

impl Version {
    /// `None`: the item is something else.
    #[must_use]
    pub fn of(item: &ItemView<'_>) -> Option<Self> {
        let version = Self { position: item.position, previous: item.header.previous };
        item.header.op.is_version().then_some(version)
    }
}

/// Which versions of the newest entries stand.
#[derive(Debug, Default)]
pub struct Replaced {
    bits: RwLock<Bits>,
}

#[derive(Debug, Default)]
struct Bits {
    /// Everything up to here is in.
    upto: Position,
    /// What is committed is taken in as it is shown.
    follows: bool,
    /// Counter of the first entry of the first block.
    first: u64,
    blocks: VecDeque<Block>,
    words: usize,
    /// Versions that were replaced of late, with what replaced them.
    of_late: VecDeque<(Position, Position)>,
    /// What replaced all others lies at or before this.
    long_ago: Position,
}

/// Bits of entries that follow each other: of each item one that says that it
/// stands, and one that it was replaced long ago.
#[derive(Debug, Default)]
struct Block {
    /// Where the words of each entry begin.
    starts: Vec<u32>,
    words: Vec<u64>,
}

impl Replaced {
    /// To look at some versions.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        Look(self.bits.read())
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bits = self.bits.read();
        let of = |block: &Block| block.starts.capacity() * 4 + block.words.capacity() * 8;
        bits.blocks.iter().map(of).sum::<usize>() + bits.of_late.capacity() * 16
    }

    /// Whether all that is committed is in.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.bits.read().follows
    }

    /// Takes in what was committed, if all before it is in, and hands it to
    /// `shown` before anybody looks here.
    pub fn take_in(&self, chunks: Vec<Chunk>, shown: impl FnOnce(Vec<Chunk>)) {
        let mut bits = self.bits.write();
        if bits.follows {
            for view in chunks.iter().filter_map(Chunk::view) {
                let versions: Vec<_> = view.items().flatten().filter_map(|item| Version::of(&item)).collect();
                bits.take_in(&versions, view.last_position());
            }
        }
        shown(chunks);
    }

    /// Takes in some of what was committed before; whether there is more.
    fn catch_up(&self, store: &Store, committed: impl Fn() -> Position) -> Result<bool, db::Error> {
        let from = self.bits.read().upto;
        let (mut log, mut versions, mut upto, mut looked) = (store.follow(from)?, Vec::new(), from, 0);
        let end = committed();
        while looked < STEP
            && let Some((first, bytes)) = log.peek()?
            && first <= end
        {
            let view = View::parse(first, bytes).ok_or_else(|| db::Error::corrupt("chunk", first))?;
            for item in view.items() {
                let item = item.ok_or_else(|| db::Error::corrupt("item", first))?;
                if item.position > from {
                    versions.extend(Version::of(&item));
                }
            }
            looked += usize::from(view.count).max(1);
            upto = upto.max(view.last_position());
            log.advance();
        }
        // What lies behind was cut out, where nothing is met any more.
        if looked < STEP {
            upto = upto.max(end);
        }
        drop(log);
        let mut bits = self.bits.write();
        bits.take_in(&versions, upto);
        // What is shown is shown under the same lock, see `take_in`.
        bits.follows = upto >= committed();
        Ok(!bits.follows)
    }
}

impl Bits {
    fn take_in(&mut self, versions: &[Version], upto: Position) {
        let held = self.upto;
        for version in versions.iter().filter(|version| version.position > held) {
            if let Some((word, bit)) = self.place(version.position) {
                *word |= 1 << bit;
            }
            if version.previous != Position::ZERO {
                if let Some((word, bit)) = self.find(version.previous) {
                    *word &= !(1 << bit);
                }
                self.of_late.push_back((version.previous, version.position));
            }
        }
        while self.of_late.len() > OF_LATE
            && let Some((replaced, by)) = self.of_late.pop_front()
        {
            if let Some((word, bit)) = self.find(replaced) {
                *word |= 2 << bit;
            }
            self.long_ago = by;
        }
        self.upto = self.upto.max(upto);
        while (self.words > MAX_WORDS || self.blocks.len() > MAX_BLOCKS)
            && self.blocks.len() > 1
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.words -= oldest.words.len() + oldest.starts.len() / 2;
            self.first += BLOCK;
        }
    }

    /// Room for an item that lies past all that are in.
    fn place(&mut self, at: Position) -> Option<(&mut u64, u32)> {
        let counter = at.seq().counter();
        let held = self.blocks.len() as u64 * BLOCK;
        // Where counters leap, as behind a restore they may, what lies before is
        // let go. Entries without a version are no leap, however many follow.
        if self.blocks.is_empty() || counter >= (self.first + held).saturating_add(LEAP) {
            self.blocks.clear();
            (self.words, self.first) = (0, counter - counter % BLOCK);
        }
        while counter >= self.first + self.blocks.len() as u64 * BLOCK {
            self.blocks.push_back(Block::default());
        }
        let (number, entry) = split(counter.checked_sub(self.first)?)?;
        let block = self.blocks.get_mut(number)?;
        while block.starts.len() <= entry {
            block.starts.push(u32::try_from(block.words.len()).ok()?);
            self.words += block.starts.len() % 2;
        }
        let (word, bit) = within(at);
        let word = usize::try_from(*block.starts.get(entry)?).ok()? + word;
        if block.words.len() <= word {
            self.words += word + 1 - block.words.len();
            block.words.resize(word + 1, 0);
        }
        Some((block.words.get_mut(word)?, bit))
    }

    fn find(&mut self, at: Position) -> Option<(&mut u64, u32)> {
        let (number, word, bit) = self.lies(at)?;
        Some((self.blocks.get_mut(number)?.words.get_mut(word)?, bit))
    }

    /// The bits of an item; neither is set of what is not in.
    fn get(&self, at: Position) -> u64 {
        let found = self
            .lies(at)
            .and_then(|(number, word, bit)| Some(self.blocks.get(number)?.words.get(word)? >> bit & 3));
        found.unwrap_or(0)
    }

    /// In which block, which word and from which bit on the bits of an item lie.
    fn lies(&self, at: Position) -> Option<(usize, usize, u32)> {
        let (number, entry) = split(at.seq().counter().checked_sub(self.first)?)?;
        let block = self.blocks.get(number)?;
        let start = usize::try_from(*block.starts.get(entry)?).ok()?;
        let end =
            block.starts.get(entry + 1).map_or(Ok(block.words.len()), |end| usize::try_from(*end)).ok()?;
        let (word, bit) = within(at);
        (start + word < end).then_some((number, start + word, bit))
    }
}

/// The block of an entry, and its place there.
fn split(entry: u64) -> Option<(usize, usize)> {
    Some((usize::try_from(entry / BLOCK).ok()?, usize::try_from(entry % BLOCK).ok()?))
}

/// The word of an item among those of its entry, and its first bit.
fn within(at: Position) -> (usize, u32) {
    let ordinal = usize::from(at.ordinal());
    (ordinal / PER_WORD, 2 * (u32::from(at.ordinal()) % 32))
}

/// A look at what is known; nothing is taken in meanwhile.
#[derive(Debug)]
pub struct Look<'a>(RwLockReadGuard<'a, Bits>);

impl Look<'_> {
    /// What is known of the version at a position, as of an origin that is no
    /// earlier.
    #[must_use]
    pub fn at(&self, at: Position, origin: Position) -> Known {
        let bits = &*self.0;
        match bits.get(at) {
            1 if bits.upto >= origin && at <= origin => Known::Stands,
            2 if bits.long_ago <= origin => Known::Replaced,
            _ => Known::Unknown,
        }
    }
}

/// Takes in beside the hub what was committed before it started, until `stop`.
/// Nothing is cut out of the log by then.
pub fn go_on(shared: &Arc<Shared>, stop: CancellationToken) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tasks::spawn_blocking(move || {
        // What is cut out meanwhile would have replaced what was read before.
        let _turn = shared.retaining.blocking_lock();
        while !stop.is_cancelled() {
            match shared.replaced.catch_up(&shared.store, || shared.tail.committed()) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // Reading tells of it where it matters.
                    tracing::error!(%error, "questions are slower until the hub is started again");
                    return;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::position::Seq;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_known_without_a_read_is_what_stands(
            entries in prop::collection::vec((1..4_u64, prop::collection::vec((0..40_u16, 0..12_usize), 1..6)), 1..60),
            leaps in prop::collection::vec(any::<bool>(), 60),
            step in 1..9_usize,
        ) {
            let (mut counter, mut log, mut newest) = (1_u64, Vec::new(), Vec::<Position>::new());
            for ((gap, items), leap) in entries.into_iter().zip(leaps) {
                // Now and then far, as behind a restore.
                counter += if leap && gap == 3 { 3 * BLOCK } else { gap };
                let mut ordinal = 0;
                for (skipped, record) in items {
                    ordinal += skipped + 1;
                    let position = Seq::new(0, counter).at(ordinal);
                    let previous = newest.get(record).copied().unwrap_or_default();
                    if let Some(newest) = newest.get_mut(record) { *newest = position } else { newest.push(position) }
                    log.push(Version { position, previous });
                }
            }
            let replaced = Replaced::default();
            let (mut by, mut known) = (BTreeMap::new(), 0);
            for some in log.chunks(step) {
                let upto = some.last().unwrap().position;
                replaced.bits.write().take_in(some, upto);
                for version in some {
                    by.insert(version.position, None);
                    if version.previous != Position::ZERO {
                        by.insert(version.previous, Some(version.position));
                    }
                }
                let look = replaced.look();
                for origin in log.iter().map(|version| version.position).filter(|at| *at <= upto) {
                    for (at, by) in by.iter().filter(|(at, _)| **at <= origin) {
                        let stands = by.is_none_or(|by| by > origin);
                        match look.at(*at, origin) {
                            Known::Stands => prop_assert!(stands, "{at:?} at {origin:?}"),
                            Known::Replaced => prop_assert!(!stands, "{at:?} at {origin:?}"),
                            Known::Unknown => continue,
                        }
                        known += 1;
                    }
                }
                let last = some.last().unwrap().position;
                prop_assert_eq!(look.at(last, upto), Known::Stands);
                prop_assert_eq!(look.at(Position::from_raw(last.raw() + 1), upto), Known::Unknown);
            }
            prop_assert!(known > 0);
            prop_assert!(replaced.bits.read().words <= MAX_WORDS + 16_384);
        }
    }

    #[test]
    fn nothing_is_taken_in_twice_and_nothing_is_told_of_what_follows() {
        let at = |counter| Seq::new(0, counter).at(0);
        let replaced = Replaced::default();
        let version = |counter, previous| Version { position: at(counter), previous };
        let take_in = |versions: &[Version], upto| replaced.bits.write().take_in(versions, at(upto));
        take_in(&[version(1, Position::ZERO), version(2, at(1))], 2);
        take_in(&[version(1, Position::ZERO)], 2);
        assert_ne!(replaced.look().at(at(1), at(2)), Known::Stands);
        assert_eq!(replaced.look().at(at(2), at(2)), Known::Stands);
        assert_eq!(replaced.look().at(at(2), at(3)), Known::Unknown, "what follows is not known");
    }
}
