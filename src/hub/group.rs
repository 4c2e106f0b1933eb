//! Decides what a commit group sees: what is stored, under what the group
//! itself has changed so far, so that duplicates inside a group are found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::base::clock::Timestamp;
use crate::base::digest::Multiset;
use crate::model::amendment::{PendingChange, RosterChange};
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::indicator::State;
use crate::model::indicator::wider::PrefixLengths;
use crate::model::marking::Tlp;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::pki::ledger::Ledger;
use crate::store::chunk::{Chunk, Item, ItemHeader, Op, Rest};
use crate::store::keys::{self, Dimension};
use crate::store::postings::{Posting, Postings};
use crate::store::record::{Assertion, Latest};
use crate::store::sightings::Sighting;
use crate::store::truncate::Base;
use crate::store::{Batch, Store, db};
use crate::wire::seal::Sealer;

use super::asset::Assets;
use super::containing::Containments;
use super::directory::Directory;
use super::holding::Holdings;
use super::leave::Leaves;
use super::proposal::{Change, Collision, Decision, Due, Effect, ProposedIndicator, ProposedPublication};

/// The assertions about values, and whether the group changed them.
pub type Values = FxHashMap<Vec<u8>, (Vec<Assertion>, bool)>;

/// The state as a commit group sees it: what is stored, under what the group
/// itself has changed so far.
#[derive(Debug)]
pub struct Group<'a> {
    pub(super) store: &'a Store,
    pub(super) sealer: &'a Sealer,
    /// The directory, classes of this group included.
    pub directory: Arc<Directory>,
    /// Version of the last item.
    pub last_version: u64,
    values: Values,
    latest: FxHashMap<Position, Latest>,
    recent: FxHashMap<Position, Item>,
    /// The chunk that was last read: what came together once comes together again.
    last_read: RefCell<Option<Chunk>>,
    pub(super) postings: Postings,
    /// Sightings of the group, as keys and what lies under them.
    pub(super) sightings: BTreeMap<[u8; keys::SIGHTING_KEY_BYTES], Vec<u8>>,
    new_classes: Vec<ClassNo>,
    /// Audience classes with networks of a new length.
    lengthened: BTreeSet<ClassNo>,
    /// The roster that stood before the group.
    before: Arc<Directory>,
    /// Roster generations that begin in the group.
    pub(super) generations: Vec<Arc<Directory>>,
    /// Versions of the group that end by themselves.
    pub(super) validities: Vec<Due>,
    /// What ended in the group, if anything was looked for.
    pub(super) expired: Option<Vec<Due>>,
    /// Collisions of which the group tells.
    pub(super) told: FxHashSet<Collision>,
    /// Certificates, those of this group included.
    pub ledger: Arc<Ledger>,
    /// Certificates before the group.
    ledger_before: Arc<Ledger>,
    /// From where on the log is kept whole, if the group says so.
    pub(super) base: Option<Base>,
    /// What is left up to a position, if the group says so.
    pub(super) base_state: Option<(Position, Multiset)>,
    /// Records that the group drops, and what is cut out of the log with them.
    pub(super) dropped: Vec<Position>,
    pub(super) gone: BTreeMap<Position, Rest>,
    /// Entries that drop records.
    pub(super) drops: Vec<Position>,
    /// What the group changes of leave to republish.
    pub(super) leaves: Leaves,
    /// What it changes of held publications.
    pub(super) holdings: Holdings,
    /// And of holds.
    pub(super) containments: Containments,
    /// What the group changes of what organisations call their own.
    pub(super) assets: Assets,
    /// Chunks of the group, in order.
    pub chunks: Vec<Chunk>,
}

/// The version of a record that stands before a change.
pub(super) struct Standing {
    pub(super) header: ItemHeader,
    pub(super) terms: Vec<u64>,
    pub(super) body: Vec<u8>,
}

/// What becomes of a change of the roster: it stands at `at`, without items.
pub(super) const fn resolved(at: Position) -> Decision {
    Decision::Written { handle: at, position: at, version: 0, effect: Effect::Resolved }
}

/// The header of what is added at `at` for the first time, of a record or of
/// what is told of one; what differs is for the caller to fill in.
pub(super) const fn born(op: Op, at: Position, version: u64, class: ClassNo, tlp: Tlp) -> ItemHeader {
    ItemHeader {
        handle: at,
        previous: Position::ZERO,
        version,
        digest: 0,
        salted: [0; 16],
        class,
        previous_class: class,
        owner: OrgNo(0),
        body_len: 0,
        tail_len: 0,
        kind: 0,
        previous_kind: 0,
        op,
        state: State::Active,
        tlp: tlp.number(),
        previous_tlp: tlp.number(),
        aliases: false,
        terms: 0,
        previous_terms: 0,
        relabelled: false,
        lapsed: false,
        original: None,
    }
}

impl<'a> Group<'a> {
    /// A group over the stored state.
    #[must_use]
    pub fn new(store: &'a Store, sealer: &'a Sealer, directory: Arc<Directory>, last_version: u64) -> Self {
        Self {
            store,
            sealer,
            before: Arc::clone(&directory),
            generations: Vec::new(),
            directory,
            last_version,
            values: FxHashMap::default(),
            latest: FxHashMap::default(),
            recent: FxHashMap::default(),
            last_read: RefCell::default(),
            postings: Postings::default(),
            sightings: BTreeMap::new(),
            new_classes: Vec::new(),
            lengthened: BTreeSet::new(),
            validities: Vec::new(),
            expired: None,
            told: FxHashSet::default(),
            ledger: Arc::default(),
            ledger_before: Arc::default(),
            base: None,
            base_state: None,
            dropped: Vec::new(),
            gone: BTreeMap::new(),
            drops: Vec::new(),
            leaves: Leaves::default(),
            holdings: Holdings::default(),
            containments: Containments::default(),
            assets: Assets::default(),
            chunks: Vec::new(),
        }
    }

    /// The same, over these certificates.
    #[must_use]
    pub fn with_ledger(self, ledger: Arc<Ledger>) -> Self {
        Self { ledger_before: Arc::clone(&ledger), ledger, ..self }
    }

    /// Whether the group changed anything among certificates.
    #[must_use]
    pub fn has_certified(&self) -> bool {
        !Arc::ptr_eq(&self.ledger, &self.ledger_before)
    }

    /// Reads ahead, in one go, what publishing `changes` will ask for.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn prefetch<'c>(&mut self, changes: impl Iterator<Item = &'c Change>) -> Result<(), db::Error> {
        let mut wanted: Vec<&[u8]> = Vec::new();
        for change in changes {
            if let Change::Publish(ProposedPublication { items, .. }) = change {
                for item in items.iter().flatten() {
                    wanted.push(&item.value_key);
                    wanted.extend(item.alias_keys.iter().map(Vec::as_slice));
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let found = self.store.all_assertions(&wanted)?;
        for (key, assertions) in wanted.into_iter().zip(found) {
            self.values.entry(key.to_vec()).or_insert((assertions, false));
        }
        Ok(())
    }

    /// Begins a roster generation at `at`.
    pub(super) fn change_roster(&mut self, change: &RosterChange, at: Position) -> Decision {
        self.directory = Arc::new(self.directory.changed(change.patch.clone(), at, change.date));
        self.generations.push(Arc::clone(&self.directory));
        resolved(at)
    }

    /// Lets a change wait for a second person.
    pub(super) fn wait(&mut self, at: Position, pending: PendingChange) -> Decision {
        Arc::make_mut(&mut self.directory).wait(at, pending);
        resolved(at)
    }

    /// Lets a change wait no longer, whatever became of it.
    pub(super) fn settle(&mut self, proposal: Position) {
        Arc::make_mut(&mut self.directory).settle(proposal);
    }

    /// The number of a class, interned now if need be.
    pub(super) fn class(&mut self, definition: &ClassDefinition) -> ClassNo {
        if let Some(number) = self.directory.class_number(definition) {
            return number;
        }
        let number = Arc::make_mut(&mut self.directory).intern(definition);
        self.new_classes.push(number);
        number
    }

    /// The directory from before the group, with the classes and the lengths of
    /// networks that are new in it; `None`: none are. Readers must have it
    /// before they can read a record of such, or would take it for hidden.
    pub(super) fn classes_ahead(&self) -> Option<Arc<Directory>> {
        if self.new_classes.is_empty() && self.lengthened.is_empty() {
            return None;
        }
        if self.generations.is_empty() && self.directory.waits_as(&self.before) {
            return Some(Arc::clone(&self.directory));
        }
        let mut ahead = Directory::clone(&self.before);
        for number in &self.new_classes {
            let met = self.directory.class(*number).map(|class| ahead.intern(&class.definition));
            debug_assert_eq!(met, Some(*number), "numbers follow the order of interning");
        }
        for class in &self.lengthened {
            ahead.set_lengths(*class, self.directory.lengths_of(*class));
        }
        Some(Arc::new(ahead))
    }

    pub(super) fn assertion(&mut self, key: &[u8], owner: OrgNo) -> Result<Option<Assertion>, db::Error> {
        self.load(key)?;
        let all = self.values.get(key).map(|(all, _)| all.as_slice()).unwrap_or_default();
        Ok(all.iter().find(|a| a.owner == owner && !a.is_dropped()).copied())
    }

    /// Whether the owner took the value back in a record that was dropped. It
    /// was looked at by [`Self::assertion`].
    pub(super) fn was_revoked(&self, key: &[u8], owner: OrgNo) -> bool {
        let all = self.values.get(key).map(|(all, _)| all.as_slice()).unwrap_or_default();
        all.iter().any(|a| a.owner == owner && a.is_dropped())
    }

    fn load(&mut self, key: &[u8]) -> Result<(), db::Error> {
        if !self.values.contains_key(key) {
            let found = self.store.all_assertions(&[key])?.pop().unwrap_or_default();
            self.values.insert(key.to_vec(), (found, false));
        }
        Ok(())
    }

    pub(super) fn edit(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Vec<Assertion>),
    ) -> Result<(), db::Error> {
        self.load(key)?;
        if let Some((all, dirty)) = self.values.get_mut(key) {
            change(all);
            *dirty = true;
        }
        Ok(())
    }

    /// Sets the producer's assertion under every key of the item.
    pub(super) fn assert(&mut self, item: &ProposedIndicator, newest: Position, header: &ItemHeader) {
        for (key, alias) in
            std::iter::once((&item.value_key, false)).chain(item.alias_keys.iter().map(|k| (k, true)))
        {
            let Some((all, dirty)) = self.values.get_mut(key) else { continue };
            let assertion = Assertion {
                owner: item.owner,
                handle: header.handle,
                newest,
                class: header.class,
                state: header.state,
                alias,
                digest: item.digest,
            };
            match all.iter_mut().find(|a| a.owner == item.owner && !a.is_dropped()) {
                Some(known) => *known = assertion,
                None => {
                    all.push(assertion);
                    all.sort_unstable_by_key(|a| (a.owner, a.handle));
                }
            }
            *dirty = true;
        }
        if let Some(network) = keys::network_of(&item.value_key) {
            self.note_length(header.class, PrefixLengths::of(network));
        }
    }

    /// Notes that the class has a network of this length. It is not forgotten
    /// when the network goes: who saw it may look it up in vain.
    fn note_length(&mut self, class: ClassNo, length: PrefixLengths) {
        let known = self.directory.lengths_of(class);
        let all = known.union(length);
        if all != known {
            Arc::make_mut(&mut self.directory).set_lengths(class, all);
            self.lengthened.insert(class);
        }
    }

    /// Notes that the version at `at` is the newest of its record.
    pub(super) fn succeed(&mut self, header: &ItemHeader, at: Position) -> Result<(), db::Error> {
        let before = match self.latest.get(&header.handle) {
            Some(latest) => Some(*latest),
            None => self.store.latest(&[header.handle])?.pop().flatten(),
        };
        let reclassed =
            before.is_some_and(|latest| latest.reclassed) || header.class != header.previous_class;
        let latest = Latest { newest: at, class: header.class, state: header.state, reclassed };
        self.latest.insert(header.handle, latest);
        Ok(())
    }

    /// Notes where the newest version of a record stands.
    pub(super) fn know(&mut self, handle: Position, latest: Latest) {
        self.latest.insert(handle, latest);
    }

    pub(super) fn newest(&self, handle: Position) -> Result<Position, db::Error> {
        if let Some(latest) = self.latest.get(&handle) {
            return Ok(latest.newest);
        }
        Ok(self.store.latest(&[handle])?.pop().flatten().map_or(handle, |latest| latest.newest))
    }

    pub(super) fn standing(&self, at: Position) -> Result<Standing, db::Error> {
        self.find(at)?.ok_or_else(|| db::Error::corrupt("item", at))
    }

    /// What stands at `at`; `None`: it was cut out.
    pub(super) fn kept(&self, at: Position) -> Result<Option<Standing>, db::Error> {
        let found = self.find(at)?;
        if found.is_none() && !self.gone.contains_key(&at) {
            self.store.gone(at)?;
        }
        Ok(found)
    }

    /// The item at `at`, if there is one.
    pub(super) fn find(&self, at: Position) -> Result<Option<Standing>, db::Error> {
        if let Some(item) = self.recent.get(&at) {
            let (terms, body) = (item.terms.clone(), item.body.clone());
            return Ok(Some(Standing { header: item.header, terms, body }));
        }
        if self.gone.contains_key(&at) {
            return Ok(None);
        }
        let mut last = self.last_read.borrow_mut();
        if !last.as_ref().is_some_and(|chunk| chunk.holds(at)) {
            *last = self.store.chunk_at(at)?;
        }
        let Some(chunk) = last.as_ref() else { return Ok(None) };
        let view = chunk.view().ok_or_else(|| db::Error::corrupt("item", at))?;
        let item = view.item(at);
        Ok(item.map(|item| Standing {
            header: item.header,
            terms: item.terms().collect(),
            body: item.body.to_vec(),
        }))
    }

    /// Header of the item at `at`, which may be of this group.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn header(&self, at: Position) -> Result<ItemHeader, db::Error> {
        self.standing(at).map(|standing| standing.header)
    }

    pub(super) fn post(&mut self, header: &ItemHeader, at: Position, terms: &[u64]) {
        let posting = Posting { position: at, handle: header.handle };
        self.postings.add(Dimension::Owner, u64::from(header.owner.0), posting);
        self.postings.add(Dimension::Kind, u64::from(header.kind), posting);
        self.postings.add(Dimension::Class, u64::from(header.class.0), posting);
        for &term in terms {
            self.postings.add(Dimension::Label, term, posting);
        }
    }

    /// Puts a sighting beside its indicator.
    pub(super) fn post_sighting(&mut self, sighting: &Sighting<'_>) {
        self.sightings.insert(sighting.key(), sighting.encode());
    }

    /// Notes that the version at `at` ends by itself.
    pub(super) fn hold(&mut self, handle: Position, at: Position, until: Timestamp) {
        let version = Posting { position: at, handle };
        self.postings.add(Dimension::Expiry, keys::expiry_term(until), version);
        self.validities.push(Due { until, version });
    }

    /// Remembers an item of this group.
    pub(super) fn remember(&mut self, at: Position, item: Item) {
        self.recent.insert(at, item);
    }

    /// Handles whose audience class changed in this group, and to what.
    pub fn reclassed(&self) -> impl Iterator<Item = (Position, ClassNo)> + '_ {
        self.latest.iter().filter(|(_, l)| l.reclassed).map(|(&handle, l)| (handle, l.class))
    }

    /// The values whose assertions the group changed.
    pub fn changed_values(&self) -> impl Iterator<Item = (&Vec<u8>, &[Assertion])> {
        let changed = self.values.iter().filter(|(_, (_, changed))| *changed);
        changed.map(|(key, (assertions, _))| (key, assertions.as_slice()))
    }

    /// Gives up the values that the group looked at, once they are written.
    pub fn take_values(&mut self) -> Values {
        std::mem::take(&mut self.values)
    }

    /// Number of items written.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.recent.len()
    }

    /// Writes everything that the group changed into `batch`.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn write_to(&self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        for chunk in &self.chunks {
            batch.chunk(chunk)?;
        }
        // In order of their keys: neighbours in the engine's skip list then
        // share the way there, which is most of what an insertion costs.
        let mut values: Vec<_> = self.changed_values().collect();
        values.sort_unstable_by_key(|(key, _)| *key);
        for (key, assertions) in values {
            batch.assertions(key, assertions)?;
        }
        for (handle, latest) in &self.latest {
            batch.latest(*handle, latest)?;
        }
        for number in &self.new_classes {
            if let Some(class) = self.directory.class(*number) {
                batch.class(*number, &class.definition)?;
            }
        }
        for class in &self.lengthened {
            batch.prefix_lengths(*class, self.directory.lengths_of(*class))?;
        }
        if !self.generations.is_empty() {
            self.directory.write_to(self.before.roster(), batch)?;
        }
        if self.has_certified() {
            batch.ledger(&self.ledger_before, &self.ledger)?;
        }
        self.leaves.write_to(&self.directory, batch)?;
        self.holdings.write_to(batch)?;
        self.containments.write_to(batch)?;
        self.assets.write_to(batch)?;
        self.directory.write_pending_to(&self.before, batch)?;
        for generation in &self.generations {
            batch.generation(generation.generation(), generation.date())?;
        }
        batch.sightings(&self.sightings)?;
        self.retain_to(batch)?;
        batch.postings(&self.postings)
    }
}
