//! Decides what a commit group may write: typed records only, all or nothing.

use std::collections::BTreeMap;

use rocksdb::WriteBatch;

use crate::model::position::Position;

use super::chunk::Chunk;
use super::db::{EXPIRY_FENCE, Error, Store};
use super::keys::{self, Family};
use super::merge::Merge;
use super::postings::Postings;
use super::record::{self, Assertion, Latest};
use super::subscription::SubscriptionKey;

/// What one commit group writes.
pub struct Batch<'a> {
    store: &'a Store,
    inner: WriteBatch,
    scratch: Vec<u8>,
    uncounted: usize,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records, {} bytes)", self.inner.len(), self.inner.size_in_bytes())
    }
}

impl<'a> Batch<'a> {
    /// An empty batch.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self { store, inner: WriteBatch::default(), scratch: Vec::new(), uncounted: 0 }
    }

    /// Number of records written into it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether nothing was written into it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// A record of the small family.
    pub(super) fn small(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put(Family::Meta, key, value)
    }

    /// No such record of the small family any more.
    pub(super) fn no_small(&mut self, key: &[u8]) -> Result<(), Error> {
        self.inner.delete_cf(self.store.family(Family::Meta)?, key);
        Ok(())
    }

    /// A record that is not counted among what requests have written: how many there are follows
    /// from who else calls.
    pub(super) fn uncounted(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.uncounted += 1;
        self.put(family, key, value)
    }

    /// Number of records written into it that count.
    pub(super) fn counted(&self) -> usize {
        self.inner.len() - self.uncounted
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.inner.put_cf(self.store.family(family)?, key, value);
        Ok(())
    }

    /// A chunk of the log.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn chunk(&mut self, chunk: &Chunk) -> Result<(), Error> {
        self.put(Family::Log, &keys::log(chunk.first), &chunk.bytes)
    }

    /// The assertions about a value.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn assertions(&mut self, key: &[u8], assertions: &[Assertion]) -> Result<(), Error> {
        if assertions.is_empty() {
            self.inner.delete_cf(self.store.family(Family::Values)?, key);
            return Ok(());
        }
        record::encode_assertions(assertions, &mut self.scratch);
        self.inner.put_cf(self.store.family(Family::Values)?, key, &self.scratch);
        Ok(())
    }

    /// Where the newest version of a record stands.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn latest(&mut self, handle: Position, latest: &Latest) -> Result<(), Error> {
        self.put(Family::Latest, &keys::latest(handle), &record::encode_latest(latest))
    }

    /// No record of where the newest version stands: there is none any more.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn no_latest(&mut self, handle: Position) -> Result<(), Error> {
        self.inner.delete_cf(self.store.family(Family::Latest)?, keys::latest(handle));
        Ok(())
    }

    /// The group's postings.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn postings(&mut self, postings: &Postings) -> Result<(), Error> {
        let family = self.store.family(Family::Postings)?;
        for (key, block) in postings.blocks() {
            self.inner.put_cf(family, key, block);
        }
        Ok(())
    }

    /// Sightings, beside their indicators: keys, and what lies under them.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn sightings(
        &mut self,
        sightings: &BTreeMap<[u8; keys::SIGHTING_KEY_BYTES], Vec<u8>>,
    ) -> Result<(), Error> {
        sightings.iter().try_for_each(|(key, value)| self.put(Family::Sightings, key, value))
    }

    /// No sightings under these keys any more.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn no_sightings(&mut self, keys: &[[u8; keys::SIGHTING_KEY_BYTES]]) -> Result<(), Error> {
        let family = self.store.family(Family::Sightings)?;
        keys.iter().for_each(|key| self.inner.delete_cf(family, key));
        Ok(())
    }

    /// Larger blocks of postings in place of smaller ones.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn merge(&mut self, merge: &Merge) -> Result<(), Error> {
        let family = self.store.family(Family::Postings)?;
        for key in &merge.removed {
            self.inner.delete_cf(family, key);
        }
        for (key, block) in &merge.written {
            self.inner.put_cf(family, key, block);
        }
        Ok(())
    }

    /// The group's answered requests.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn requests(&mut self, group: u64, packed: &[u8]) -> Result<(), Error> {
        self.put(Family::Meta, &keys::request(group), packed)
    }

    /// Forgets a group's answered requests.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn forget_requests(&mut self, group: u64) -> Result<(), Error> {
        self.inner.delete_cf(self.store.family(Family::Meta)?, keys::request(group));
        Ok(())
    }

    /// A meta record.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn meta(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        self.put(Family::Meta, &keys::meta(name), value)
    }

    /// The hour before which every indicator that had to has expired.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn expiry_fence(&mut self, hour: u64) -> Result<(), Error> {
        self.meta(EXPIRY_FENCE, &hour.to_be_bytes())
    }

    /// A directory record, or its end.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn directory(&mut self, noun: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let key = keys::directory(noun, key);
        match value {
            Some(value) => self.put(Family::Meta, &key, value),
            None => {
                self.inner.delete_cf(self.store.family(Family::Meta)?, key);
                Ok(())
            }
        }
    }

    /// A named subscription, or its end.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn cursor(&mut self, key: &SubscriptionKey, record: Option<&[u8]>) -> Result<(), Error> {
        let key = keys::cursor(key);
        match record {
            Some(record) => self.put(Family::Cursors, &key, record),
            None => {
                self.inner.delete_cf(self.store.family(Family::Cursors)?, key);
                Ok(())
            }
        }
    }

    /// The same, of which nothing counts.
    pub(super) fn beside(mut self) -> Self {
        self.uncounted = self.inner.len();
        self
    }

    pub(super) const fn inner_mut(&mut self) -> &mut WriteBatch {
        &mut self.inner
    }

    pub(super) fn into_inner(self) -> WriteBatch {
        self.inner
    }
}
