//! Decides how a store of the format before becomes one of this: once, before a
//! hub works on it.
//!
//! Sightings were found by postings of two dimensions that no store has any
//! more, and read from the log one by one. Now they lie with their indicators:
//! they are put there from the log, the postings are taken away, and last of
//! all the format is changed. Each step gives the same however often it is
//! done, so that one that is cut off is done again from the beginning. What is
//! indexed behind the log is not there yet either, and is made beside the hub:
//! see [`super::index`].

use std::time::Duration;

use rocksdb::{DBRawIterator, ReadOptions, WriteBatch};

use crate::base::clock;
use crate::model::position::Position;
use crate::model::sighting::Outcome;

use super::batch::Batch;
use super::chunk::{Chunk, Op};
use super::db::{Error, FORMAT, FORMAT_BEFORE, FORMAT_VERSION, Store};
use super::keys::{self, Family, KeyKind};
use super::log::Scan;
use super::sightings::Sighting;

/// Most sightings, and about how many bytes of them, that are written at once.
const BATCH: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;
/// Most blocks of postings that are taken away at once.
const REMOVED: usize = 1_024;
/// Between two lines that tell how far it is.
const TOLD: Duration = Duration::from_secs(5);

impl Store {
    /// Whether the store is of the format before, and has no sightings beside
    /// their indicators.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn is_of_format_before(&self) -> Result<bool, Error> {
        Ok(self.format()? == Some(FORMAT_BEFORE))
    }

    /// Brings a store of the format before to this one; `outcome` reads what
    /// the sighting in a body says.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers. The store is of the
    /// format before then, and is brought to this one when it is opened again.
    pub fn upgrade(&mut self, outcome: impl Fn(&[u8]) -> Option<Outcome>) -> Result<(), Error> {
        self.upgrade_by_steps(outcome, || Ok(()))
    }

    /// The same; `begin` is asked before each step, and can cut it off there.
    fn upgrade_by_steps(
        &mut self,
        outcome: impl Fn(&[u8]) -> Option<Outcome>,
        mut begin: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.is_of_format_before()? {
            return Ok(());
        }
        tracing::info!(
            from = FORMAT_BEFORE,
            to = FORMAT_VERSION,
            "the store is brought to the format of this release"
        );
        begin()?;
        self.make_family()?;
        let mut filling = Filling::new(self)?;
        begin()?;
        while filling.step(&outcome)? {
            begin()?;
        }
        tracing::info!(sightings = filling.sightings, "all sightings lie with their indicators");
        for dimension in keys::RETIRED_DIMENSIONS {
            let mut removal = Removal::new(self, dimension)?;
            begin()?;
            while removal.step()? {
                begin()?;
            }
        }
        begin()?;
        let mut batch = Batch::new(self);
        batch.meta(FORMAT, &FORMAT_VERSION.to_be_bytes())?;
        self.commit(batch)?;
        tracing::info!(format = FORMAT_VERSION, "the store is of the format of this release");
        Ok(())
    }

    /// Makes the family, unless one that was cut off did.
    fn make_family(&mut self) -> Result<(), Error> {
        let name = Family::Sightings.name();
        if self.db.cf_handle(name).is_none() {
            self.db.create_cf(name, &self.families.options(Family::Sightings))?;
        }
        Ok(())
    }
}

/// Puts sightings beside their indicators, from the log.
struct Filling<'a> {
    store: &'a Store,
    scan: Scan<'a>,
    sightings: u64,
    told: std::time::Instant,
}

impl<'a> Filling<'a> {
    fn new(store: &'a Store) -> Result<Self, Error> {
        let scan = store.follow(Position::ZERO)?;
        Ok(Self { store, scan, sightings: 0, told: clock::monotonic() })
    }

    /// Writes one batch; whether more may follow.
    fn step(&mut self, outcome: &impl Fn(&[u8]) -> Option<Outcome>) -> Result<bool, Error> {
        let family = self.store.family(Family::Sightings)?;
        let mut batch = WriteBatch::default();
        let mut more = true;
        while batch.len() < BATCH && batch.size_in_bytes() < BATCH_BYTES {
            let Some(chunk) = self.scan.next_chunk()? else {
                more = false;
                break;
            };
            each(&chunk, outcome, |sighting| batch.put_cf(family, sighting.key(), sighting.encode()))?;
            self.tell(&chunk);
        }
        self.sightings += batch.len() as u64;
        self.store.write_again(batch)?;
        Ok(more)
    }

    fn tell(&mut self, chunk: &Chunk) {
        if self.told.elapsed() >= TOLD {
            self.told = clock::monotonic();
            let (entry, sightings) = (chunk.first.seq().counter(), self.sightings);
            tracing::info!(entry, sightings, "sightings are put beside their indicators");
        }
    }
}

/// Calls `put` with each sighting of a chunk.
fn each(
    chunk: &Chunk,
    outcome: &impl Fn(&[u8]) -> Option<Outcome>,
    mut put: impl FnMut(Sighting<'_>),
) -> Result<(), Error> {
    let view = chunk.view().ok_or_else(|| Error::corrupt("chunk", chunk.first))?;
    for item in view.items() {
        let item = item.ok_or_else(|| Error::corrupt("item", chunk.first))?;
        if item.header.op == Op::Sight {
            let outcome = outcome(item.body).ok_or_else(|| Error::corrupt("item", item.position))?;
            put(Sighting::of(&item.header, item.position, outcome, item.body));
        }
    }
    Ok(())
}

/// Takes away the postings of a retired dimension.
struct Removal<'a> {
    store: &'a Store,
    /// It goes on where it stands: what is removed is never passed again.
    iterator: DBRawIterator<'a>,
    dimension: [u8; 2],
}

impl<'a> Removal<'a> {
    fn new(store: &'a Store, dimension: u8) -> Result<Self, Error> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        let dimension = [KeyKind::Posting.byte(), dimension];
        let mut iterator = store.db.raw_iterator_cf_opt(store.family(Family::Postings)?, options);
        iterator.seek(dimension);
        Ok(Self { store, iterator, dimension })
    }

    /// Takes away some; whether more may follow.
    fn step(&mut self) -> Result<bool, Error> {
        let family = self.store.family(Family::Postings)?;
        let mut batch = WriteBatch::default();
        while let Some(key) = self.iterator.key().filter(|key| key.starts_with(&self.dimension)) {
            if batch.len() == REMOVED {
                break;
            }
            batch.delete_cf(family, key);
            self.iterator.next();
        }
        self.iterator.status()?;
        let more = batch.len() == REMOVED;
        self.store.write_again(batch)?;
        Ok(more)
    }
}

#[cfg(test)]
pub(crate) mod tests;
