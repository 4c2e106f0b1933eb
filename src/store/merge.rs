//! Decides which blocks of postings become one: consecutive small blocks of a
//! term, tier by tier, so that each posting is written anew only a few times.

use std::ops::Range;

use rocksdb::ReadOptions;

use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Dimension, Family, POSTING_KEY_BYTES, POSTING_PREFIX_BYTES};
use super::postings::{self, Posting};

/// Most postings of a merged block. A block that has so many is full, and
/// stays as it is.
pub const MAX_POSTINGS: usize = 4_096;
/// So many blocks of one tier become one of the next: each posting is
/// rewritten once per tier.
pub const FAN_IN: usize = 16;
/// Tiers: below 16 postings, below 256, below [`MAX_POSTINGS`].
const TIERS: u32 = 3;
/// So many small blocks of whatever tiers in a row are merged too.
const MAX_SMALL: usize = 64;
/// Most blocks read for one merge.
pub const MAX_RUN: usize = 128;
/// Most postings in one merge: what it costs the writer stays small.
const MAX_MERGE: usize = FAN_IN * MAX_POSTINGS;
/// Most keys that one step of a sweep passes.
const MAX_SWEPT: usize = 1_024;

type Key = [u8; POSTING_KEY_BYTES];

/// Blocks to take away, and what stands in for them: the same postings.
#[derive(Debug, Clone)]
pub struct Merge {
    replaced: usize,
    pub(super) removed: Vec<Key>,
    pub(super) written: Vec<(Key, Vec<u8>)>,
}

impl Merge {
    /// Number of blocks that it replaces.
    #[must_use]
    pub const fn replaced(&self) -> usize {
        self.replaced
    }
}

/// What one step of a sweep found.
#[derive(Debug)]
pub struct Swept {
    /// What to merge before the next step.
    pub merge: Option<Merge>,
    /// The key at which the next step begins; `None`: all has been seen.
    pub next: Option<Vec<u8>>,
}

struct Block {
    key: Key,
    count: usize,
    bytes: Vec<u8>,
}

impl Store {
    /// What to merge among the newest blocks of a term; `None`: nothing. Past
    /// the smallest ones it goes only if `deep`: between larger ones lies all
    /// that was ever merged, and is passed over with much work until it is
    /// compacted. What is written behind the log is merged as far as it is
    /// `indexed`: past that it may be written anew.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn merge_newest(
        &self,
        dimension: Dimension,
        term: u64,
        indexed: Position,
        deep: bool,
    ) -> Result<Option<Merge>, Error> {
        let prefix = keys::posting_prefix(dimension, term);
        let newest = if dimension.is_behind() { indexed } else { Position::from_raw(u64::MAX) };
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, reading());
        iterator.seek_for_prev(keys::posting_at(&prefix, newest));
        let mut run = Vec::new();
        while let Some((key, value)) = iterator.item().filter(|(key, _)| key.starts_with(&prefix)) {
            match small(key, value)? {
                Some(block) if run.len() < MAX_RUN && (deep || tier(block.count) == 0) => run.push(block),
                _ => break,
            }
            iterator.prev();
        }
        iterator.status()?;
        run.reverse();
        merge(&run)
    }

    /// Goes through the blocks of all terms from the key `from` on, as far as
    /// to the first that can be merged, and not too far; as far as it is
    /// `indexed`, likewise.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn sweep(&self, from: &[u8], indexed: Position) -> Result<Swept, Error> {
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, reading());
        iterator.seek(from);
        let mut run: Vec<Block> = Vec::new();
        for _ in 0..MAX_SWEPT {
            let Some((key, value)) = iterator.item() else {
                iterator.status()?;
                let merge = merge(&run)?;
                let next = merge.is_some().then(|| first_key(&run)).flatten();
                return Ok(Swept { merge, next });
            };
            let block = if is_open(key, indexed) { None } else { small(key, value)? };
            let same_term = run
                .first()
                .is_none_or(|first| first.key.get(..POSTING_PREFIX_BYTES) == key.get(..POSTING_PREFIX_BYTES));
            if block.is_none() || !same_term || run.len() == MAX_RUN {
                if let Some(merge) = merge(&run)? {
                    return Ok(Swept { merge: Some(merge), next: first_key(&run) });
                }
                run.clear();
            }
            run.extend(block);
            iterator.next();
        }
        let next = first_key(&run).or_else(|| iterator.key().map(<[u8]>::to_vec));
        Ok(Swept { merge: None, next })
    }
}

fn reading() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    // Read once, then replaced: whoever asks for pages needs the cache more.
    options.fill_cache(false);
    options
}

fn first_key(run: &[Block]) -> Option<Vec<u8>> {
    run.first().map(|block| block.key.to_vec())
}

/// Whether the block may yet be written anew.
fn is_open(key: &[u8], indexed: Position) -> bool {
    keys::posting_dimension(key).is_some_and(Dimension::is_behind)
        && key.last_chunk::<8>().is_some_and(|first| u64::from_be_bytes(*first) > indexed.raw())
}

/// The block, unless it is full.
fn small(key: &[u8], value: &[u8]) -> Result<Option<Block>, Error> {
    let damaged = || Error::corrupt("postings", key);
    let count = postings::count(value).ok_or_else(damaged)?;
    if count >= MAX_POSTINGS {
        return Ok(None);
    }
    let key = key.try_into().map_err(|_| damaged())?;
    Ok(Some(Block { key, count, bytes: value.to_vec() }))
}

fn merge(run: &[Block]) -> Result<Option<Merge>, Error> {
    let counts: Vec<usize> = run.iter().map(|block| block.count).collect();
    let Some(blocks) = plan(&counts).and_then(|range| run.get(range)) else { return Ok(None) };
    let mut all: Vec<Posting> = Vec::new();
    for block in blocks {
        all.extend(postings::decode(&block.bytes).ok_or_else(|| Error::corrupt("postings", block.key))?);
    }
    let Some(prefix) = blocks.first().and_then(|block| block.key.first_chunk::<POSTING_PREFIX_BYTES>())
    else {
        return Ok(None);
    };
    let written: Vec<(Key, Vec<u8>)> = all
        .chunks(MAX_POSTINGS)
        .filter_map(|piece| {
            Some((keys::posting_at(prefix, piece.first()?.position), postings::encode(piece)))
        })
        .collect();
    let stays = |key: &Key| written.iter().any(|(written, _)| written == key);
    let removed = blocks.iter().map(|block| block.key).filter(|key| !stays(key)).collect();
    Ok(Some(Merge { replaced: blocks.len(), removed, written }))
}

/// Which of the small blocks in a row, told by their numbers of postings, are
/// merged now: those of the lowest tier that has enough of them, with what
/// lies between.
fn plan(counts: &[usize]) -> Option<Range<usize>> {
    let ripe = (0..TIERS).find_map(|of| {
        stretches(counts, of)
            .find(|range| tiers(counts.get(range.clone())).filter(|&tier| tier == of).count() >= FAN_IN)
    });
    let range = ripe.or_else(|| stretches(counts, TIERS).find(|range| range.len() >= MAX_SMALL))?;
    let mut sum = 0;
    let within = counts.get(range.clone())?.iter().take_while(|&count| {
        sum += count;
        sum <= MAX_MERGE
    });
    Some(range.start..range.start + within.count())
}

/// The longest stretches of blocks of tier `most` and below.
fn stretches(counts: &[usize], most: u32) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    counts.chunk_by(move |a, b| (tier(*a) <= most) == (tier(*b) <= most)).filter_map(move |stretch| {
        let range = from..from + stretch.len();
        from = range.end;
        stretch.first().is_some_and(|&count| tier(count) <= most).then_some(range)
    })
}

fn tiers(counts: Option<&[usize]>) -> impl Iterator<Item = u32> {
    counts.unwrap_or_default().iter().map(|&count| tier(count))
}

const fn tier(count: usize) -> u32 {
    match count.checked_ilog2() {
        Some(bits) => bits / 4,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::postings::Postings;
    use crate::store::{Batch, Tuning};

    /// Blocks as groups write them: a term of three, and how many postings.
    fn groups() -> impl Strategy<Value = Vec<(usize, usize)>> {
        let size =
            prop_oneof![40 => 1..4_usize, 6 => 17..40_usize, 2 => 260..300_usize, 1 => Just(MAX_POSTINGS)];
        prop::collection::vec((0..3_usize, size), 0..250)
    }

    fn open(path: &std::path::Path) -> Store {
        let tuning = Tuning { block_cache_bytes: 1 << 20, ..Tuning::default() };
        Store::open_engine(path, &tuning, true).unwrap()
    }

    /// What a naive list of postings gives below `before`, newest first.
    fn expected(all: &[Posting], before: Position) -> Vec<Posting> {
        all.iter().rev().filter(|posting| posting.position < before).copied().collect()
    }

    fn read(store: &Store, term: u64, before: Position) -> (Vec<Posting>, usize) {
        rest(store.postings_back(Dimension::Label, term, before).unwrap())
    }

    fn rest(mut blocks: crate::store::posting_blocks::PostingBlocks<'_>) -> (Vec<Posting>, usize) {
        let (mut out, mut count) = (Vec::new(), 0);
        while let Some(block) = blocks.next_block().unwrap() {
            count += 1;
            out.extend(block.into_iter().rev());
        }
        (out, count)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_merge_changes_no_answer_at_any_step_whenever_it_is_cut_off(
            groups in groups(), sweeping: bool, at: u64, reopen in 1..6_usize
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open(dir.path());
            let mut model = vec![Vec::new(); 3];
            let mut batch = Batch::new(&store);
            let mut position = 0_u64;
            for &(term, size) in &groups {
                let mut postings = Postings::default();
                for _ in 0..size {
                    position += 3;
                    let posting = Posting {
                        position: Position::from_raw(position),
                        handle: Position::from_raw(position - position % 7),
                    };
                    postings.add(Dimension::Label, term as u64, posting);
                    model[term].push(posting);
                }
                batch.postings(&postings).unwrap();
            }
            store.commit(batch).unwrap();
            let before = Position::from_raw(at % (position + 1));
            let (mut term, mut from, mut steps) = (0, Some(Vec::new()), 0);
            loop {
                let merge = if sweeping {
                    let Some(key) = from else { break };
                    let swept = store.sweep(&key, Position::ZERO).unwrap();
                    from = swept.next;
                    let Some(merge) = swept.merge else { continue };
                    merge
                } else {
                    let Some(merge) = store.merge_newest(Dimension::Label, term as u64, Position::ZERO, true).unwrap() else {
                        term += 1;
                        if term == 3 { break; }
                        continue;
                    };
                    merge
                };
                prop_assert!(merge.written.len() < merge.replaced());
                let open_before = store.postings_back(Dimension::Label, term as u64, before).unwrap();
                let mut batch = Batch::new(&store);
                batch.merge(&merge).unwrap();
                store.commit(batch).unwrap();
                prop_assert_eq!(rest(open_before).0, expected(&model[term], before));
                steps += 1;
                if steps % reopen == 0 {
                    drop(store);
                    store = open(dir.path());
                }
                for (term, all) in model.iter().enumerate() {
                    for before in [before, Position::from_raw(u64::MAX)] {
                        prop_assert_eq!(read(&store, term as u64, before).0, expected(all, before));
                    }
                }
            }
            for term in 0..3 {
                let full = groups.iter().filter(|(of, size)| *of == term && *size == MAX_POSTINGS).count();
                let blocks = read(&store, term as u64, Position::from_raw(u64::MAX)).1;
                let bound = if sweeping { (full + 1) * MAX_SMALL + full } else { groups.len() };
                prop_assert!(blocks < bound.max(MAX_SMALL), "{blocks} blocks, {full} full");
                if full == 0 {
                    prop_assert!(blocks < MAX_SMALL, "{blocks} blocks");
                }
            }
        }

        #[test]
        fn a_plan_costs_little_and_leaves_few_in_a_row(counts in prop::collection::vec(0..MAX_POSTINGS, 0..MAX_RUN)) {
            match plan(&counts) {
                Some(range) => {
                    prop_assert!(range.len() >= FAN_IN && range.end <= counts.len());
                    prop_assert!(counts[range].iter().sum::<usize>() <= MAX_MERGE);
                }
                None => prop_assert!(counts.len() < MAX_SMALL),
            }
        }
    }

    #[test]
    fn each_posting_is_rewritten_once_per_tier_and_few_blocks_are_left() {
        let (mut counts, mut rewritten) = (Vec::new(), 0);
        for _ in 0..3 * MAX_POSTINGS {
            counts.push(1);
            while let Some(range) = plan(&counts) {
                let sum = counts[range.clone()].iter().sum();
                rewritten += sum;
                counts.splice(range, [sum]);
            }
            counts.retain(|&count| count < MAX_POSTINGS);
            assert!(counts.len() <= TIERS as usize * (FAN_IN - 1), "{counts:?}");
        }
        assert_eq!(rewritten, TIERS as usize * 3 * MAX_POSTINGS);
    }
}
