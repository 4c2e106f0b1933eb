//! Decides what an entry does to the state. Deterministic: no clock, no
//! randomness and no I/O of its own beyond reading the state, so the same
//! entries give the same state on any machine.

use prost::Message as _;
use rustc_hash::FxHashMap;

use crate::base::clock::Timestamp;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::store::chunk::{Builder, Chunk, Item, ItemHeader, Op};
use crate::store::keys::{self, Dimension};
use crate::store::postings::{Posting, Postings};
use crate::store::proto;
use crate::store::record::{Assertion, Latest};
use crate::store::{Batch, Store, db};
use crate::wire::event::{self, Decided};
use crate::wire::seal::Sealer;

use super::directory::Directory;
use super::proposal::{
    Change, Decision, Effect, ProposedIndicator, ProposedRevocation, ProposedSighting, Refusal,
};

/// What is decided of an entry before it is applied.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Number that the entry gets if it is written.
    pub seq: Seq,
    /// Time of the entry.
    pub time: Timestamp,
    /// SPIFFE identity of who asked.
    pub author: &'a str,
    /// Seed of the gaps between versions.
    pub seed: u64,
    /// Salt of the item digests.
    pub salt: &'a [u8],
    /// What it asks.
    pub change: &'a Change,
}

/// The state as a commit group sees it: what is stored, under what the group
/// itself has changed so far.
#[derive(Debug)]
pub struct Group<'a> {
    store: &'a Store,
    sealer: &'a Sealer,
    /// The directory, classes of this group included.
    pub directory: Directory,
    /// Version of the last item.
    pub last_version: u64,
    values: FxHashMap<Vec<u8>, (Vec<Assertion>, bool)>,
    latest: FxHashMap<Position, Latest>,
    recent: FxHashMap<Position, Item>,
    postings: Postings,
    new_classes: Vec<ClassNo>,
    /// Chunks of the group, in order.
    pub chunks: Vec<Chunk>,
}

/// The version of a record that stands before a change.
struct Standing {
    header: ItemHeader,
    terms: Vec<u64>,
    body: Vec<u8>,
}

impl<'a> Group<'a> {
    /// A group over the stored state.
    #[must_use]
    pub fn new(store: &'a Store, sealer: &'a Sealer, directory: Directory, last_version: u64) -> Self {
        Self {
            store,
            sealer,
            directory,
            last_version,
            values: FxHashMap::default(),
            latest: FxHashMap::default(),
            recent: FxHashMap::default(),
            postings: Postings::default(),
            new_classes: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Reads ahead, in one go, what publishing `changes` will ask for.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn prefetch<'c>(&mut self, changes: impl Iterator<Item = &'c Change>) -> Result<(), db::Error> {
        let mut wanted: Vec<&[u8]> = Vec::new();
        for change in changes {
            if let Change::Publish(items) = change {
                for item in items {
                    wanted.push(&item.value_key);
                    wanted.extend(item.alias_keys.iter().map(Vec::as_slice));
                }
            }
        }
        let found = self.store.assertions(&wanted)?;
        for (key, assertions) in wanted.into_iter().zip(found) {
            self.values.entry(key.to_vec()).or_insert((assertions, false));
        }
        Ok(())
    }

    /// Applies an entry: one decision per item. The entry is written only if
    /// an item was; then its chunks are added to [`Self::chunks`].
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<Vec<Decision>, db::Error> {
        let floor = self.last_version.max(entry.time.as_micros());
        let mut writing = Writing::new(entry, floor);
        let mut decisions = Vec::new();
        match entry.change {
            Change::Publish(items) => {
                for item in items {
                    let decision = self.publish(item, &mut writing)?;
                    decisions.push(decision);
                }
            }
            Change::Revoke(revocation) => decisions.push(self.revoke(revocation, &mut writing)?),
            Change::Sight(items) => {
                for item in items {
                    let decision = self.sight(item, &mut writing)?;
                    decisions.push(decision);
                }
            }
        }
        if writing.ordinal > 0 {
            self.last_version = writing.version;
            self.chunks.extend(writing.builder.finish());
        }
        Ok(decisions)
    }

    fn publish(&mut self, item: &ProposedIndicator, writing: &mut Writing) -> Result<Decision, db::Error> {
        let mut own: Option<Assertion> = None;
        for key in std::iter::once(&item.value_key).chain(&item.alias_keys) {
            let Some(found) = self.assertion(key, item.owner)? else { continue };
            match own {
                Some(known) if known.handle != found.handle => {
                    return Ok(Decision::Refused(Refusal::Conflict));
                }
                _ => own = Some(found),
            }
        }
        let Some(known) = own else { return Ok(self.create(item, writing)) };
        let standing = self.standing(known.newest)?;
        let refused = known.state == State::Revoked && item.reinstate.is_none();
        if refused {
            return Ok(Decision::Refused(Refusal::Revoked));
        }
        if known.state != State::Revoked && known.digest == item.digest {
            return Ok(Decision::Unchanged {
                handle: known.handle,
                position: known.newest,
                version: standing.header.version,
            });
        }
        self.update(item, known, &standing, writing)
    }

    fn create(&mut self, item: &ProposedIndicator, writing: &mut Writing) -> Decision {
        let (at, version) = writing.next();
        let class = self.class(&item.class);
        let (body, tail_len) = event::finish_indicator(
            self.sealer,
            &item.fields,
            &Decided {
                position: at,
                handle: at,
                state: State::Active,
                version,
                created: Timestamp::from_micros_clamped(version),
                revocation: None,
                reinstatement: None,
            },
        );
        let tlp = item.class.marking.tlp.number();
        let header = ItemHeader {
            handle: at,
            previous: Position::ZERO,
            version,
            digest: item.digest,
            salted: item.salted,
            class,
            previous_class: class,
            owner: item.owner,
            body_len: 0,
            tail_len,
            kind: item.kind,
            previous_kind: item.kind,
            op: Op::Create,
            state: State::Active,
            tlp,
            previous_tlp: tlp,
            aliases: !item.alias_keys.is_empty(),
            terms: 0,
            previous_terms: 0,
            relabelled: false,
        };
        self.assert(item, at, &header);
        self.post(&header, at, &item.terms);
        self.write(at, Item { header, terms: item.terms.clone(), previous_terms: Vec::new(), body }, writing);
        Decision::Written { handle: at, position: at, version, effect: Effect::Created }
    }

    fn update(
        &mut self,
        item: &ProposedIndicator,
        known: Assertion,
        standing: &Standing,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let reinstated = known.state == State::Revoked;
        let (at, version) = writing.next();
        let class = self.class(&item.class);
        let (body, tail_len) = event::finish_indicator(
            self.sealer,
            &item.fields,
            &Decided {
                position: at,
                handle: known.handle,
                state: State::Active,
                version,
                created: created(&standing.body)?,
                revocation: None,
                reinstatement: item.reinstate.as_deref().filter(|_| reinstated),
            },
        );
        let header = ItemHeader {
            handle: known.handle,
            previous: known.newest,
            version,
            digest: item.digest,
            salted: item.salted,
            class,
            previous_class: standing.header.class,
            tail_len,
            body_len: 0,
            op: if reinstated { Op::Reinstate } else { Op::Update },
            state: State::Active,
            kind: item.kind,
            previous_kind: standing.header.kind,
            tlp: item.class.marking.tlp.number(),
            previous_tlp: standing.header.tlp,
            aliases: !item.alias_keys.is_empty(),
            terms: 0,
            previous_terms: 0,
            relabelled: standing.terms != item.terms,
            owner: item.owner,
        };
        if standing.header.aliases || !item.alias_keys.is_empty() {
            for key in value_keys(&standing.body)? {
                self.edit(&key, |all| all.retain(|a| a.handle != known.handle))?;
            }
        }
        self.assert(item, at, &header);
        self.succeed(&header, at)?;
        self.post(&header, at, &item.terms);
        let previous_terms = if header.relabelled { standing.terms.clone() } else { Vec::new() };
        self.write(at, Item { header, terms: item.terms.clone(), previous_terms, body }, writing);
        let effect = if reinstated { Effect::Reinstated } else { Effect::Updated };
        Ok(Decision::Written { handle: known.handle, position: at, version, effect })
    }

    fn revoke(&mut self, asked: &ProposedRevocation, writing: &mut Writing) -> Result<Decision, db::Error> {
        let newest = self.newest(asked.handle)?;
        let standing = self.standing(newest)?;
        let was = standing.header;
        if was.owner != asked.owner || was.op == Op::Sight {
            return Ok(Decision::Refused(Refusal::Absent));
        }
        if asked.expected.is_some_and(|version| version != was.version) {
            return Ok(Decision::Refused(Refusal::Stale));
        }
        if was.state == State::Revoked {
            let (handle, version) = (asked.handle, was.version);
            return Ok(Decision::Unchanged { handle, position: newest, version });
        }
        let (at, version) = writing.next();
        let fields = event::publisher_fields(&standing.body, was.tail_len)
            .ok_or_else(|| db::Error::corrupt("body", newest))?;
        let (body, tail_len) = event::finish_indicator(
            self.sealer,
            fields,
            &Decided {
                position: at,
                handle: asked.handle,
                state: State::Revoked,
                version,
                created: created(&standing.body)?,
                revocation: Some((&asked.revocation, writing.time)),
                reinstatement: None,
            },
        );
        let header = ItemHeader {
            previous: newest,
            version,
            previous_class: was.class,
            previous_kind: was.kind,
            previous_tlp: was.tlp,
            relabelled: false,
            tail_len,
            op: Op::Revoke,
            state: State::Revoked,
            ..was
        };
        for key in value_keys(&standing.body)? {
            self.edit(&key, |all| {
                for a in all.iter_mut().filter(|a| a.handle == asked.handle) {
                    a.newest = at;
                    a.state = State::Revoked;
                }
            })?;
        }
        self.succeed(&header, at)?;
        self.post(&header, at, &standing.terms);
        self.postings.add(
            Dimension::Terminal,
            u64::from(State::Revoked.number()),
            Posting { position: at, handle: asked.handle },
        );
        self.write(at, Item { header, terms: standing.terms, previous_terms: Vec::new(), body }, writing);
        Ok(Decision::Written { handle: asked.handle, position: at, version, effect: Effect::Revoked })
    }

    fn sight(&mut self, item: &ProposedSighting, writing: &mut Writing) -> Result<Decision, db::Error> {
        let indicator = self.standing(item.indicator)?.header;
        if indicator.op != Op::Create {
            return Ok(Decision::Refused(Refusal::Absent));
        }
        let (at, version) = writing.next();
        let class = self.class(&item.class);
        let (body, tail_len) =
            event::finish_sighting(self.sealer, &item.fields, at, item.indicator, writing.time);
        let tlp = item.class.marking.tlp.number();
        let header = ItemHeader {
            handle: at,
            previous: item.indicator,
            version,
            digest: item.digest,
            salted: item.salted,
            class,
            previous_class: class,
            owner: item.reporter,
            body_len: 0,
            tail_len,
            kind: 0,
            previous_kind: 0,
            op: Op::Sight,
            state: State::Active,
            tlp,
            previous_tlp: tlp,
            aliases: false,
            terms: 0,
            previous_terms: 0,
            relabelled: false,
        };
        self.postings.add(
            Dimension::Sighting,
            item.indicator.raw(),
            Posting { position: at, handle: at },
        );
        self.write(at, Item { header, terms: Vec::new(), previous_terms: Vec::new(), body }, writing);
        Ok(Decision::Written { handle: at, position: at, version, effect: Effect::Sighted })
    }

    /// The number of a class, interned now if need be.
    fn class(&mut self, definition: &ClassDefinition) -> ClassNo {
        let (number, new) = self.directory.intern(definition);
        if new {
            self.new_classes.push(number);
        }
        number
    }

    fn assertion(&mut self, key: &[u8], owner: OrgNo) -> Result<Option<Assertion>, db::Error> {
        self.load(key)?;
        let all = self.values.get(key).map(|(all, _)| all.as_slice()).unwrap_or_default();
        Ok(all.iter().find(|a| a.owner == owner).copied())
    }

    fn load(&mut self, key: &[u8]) -> Result<(), db::Error> {
        if !self.values.contains_key(key) {
            let found = self.store.assertions(&[key])?.pop().unwrap_or_default();
            self.values.insert(key.to_vec(), (found, false));
        }
        Ok(())
    }

    fn edit(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<Assertion>)) -> Result<(), db::Error> {
        self.load(key)?;
        if let Some((all, dirty)) = self.values.get_mut(key) {
            change(all);
            *dirty = true;
        }
        Ok(())
    }

    /// Sets the producer's assertion under every key of the item.
    fn assert(&mut self, item: &ProposedIndicator, newest: Position, header: &ItemHeader) {
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
            match all.iter_mut().find(|a| a.owner == item.owner) {
                Some(known) => *known = assertion,
                None => {
                    all.push(assertion);
                    all.sort_unstable_by_key(|a| a.owner);
                }
            }
            *dirty = true;
        }
    }

    /// Notes that the version at `at` is the newest of its record.
    fn succeed(&mut self, header: &ItemHeader, at: Position) -> Result<(), db::Error> {
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

    fn newest(&self, handle: Position) -> Result<Position, db::Error> {
        if let Some(latest) = self.latest.get(&handle) {
            return Ok(latest.newest);
        }
        Ok(self.store.latest(&[handle])?.pop().flatten().map_or(handle, |latest| latest.newest))
    }

    fn standing(&self, at: Position) -> Result<Standing, db::Error> {
        if let Some(item) = self.recent.get(&at) {
            return Ok(Standing { header: item.header, terms: item.terms.clone(), body: item.body.clone() });
        }
        let damaged = || db::Error::corrupt("item", at);
        let chunk = self.store.chunk_at(at)?.ok_or_else(damaged)?;
        let view = chunk.view().ok_or_else(damaged)?;
        let item = view.items().flatten().find(|item| item.position == at).ok_or_else(damaged)?;
        Ok(Standing { header: item.header, terms: item.terms().collect(), body: item.body.to_vec() })
    }

    /// Header of the item at `at`, which may be of this group.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn header(&self, at: Position) -> Result<ItemHeader, db::Error> {
        self.standing(at).map(|standing| standing.header)
    }

    fn post(&mut self, header: &ItemHeader, at: Position, terms: &[u64]) {
        let posting = Posting { position: at, handle: header.handle };
        self.postings.add(Dimension::Owner, u64::from(header.owner.0), posting);
        self.postings.add(Dimension::Kind, u64::from(header.kind), posting);
        self.postings.add(Dimension::Class, u64::from(header.class.0), posting);
        for &term in terms {
            self.postings.add(Dimension::Label, term, posting);
        }
    }

    fn write(&mut self, at: Position, item: Item, writing: &mut Writing) {
        let written = writing.builder.push(&item);
        debug_assert_eq!(written, at, "items are laid where they were decided to stand");
        self.recent.insert(at, item);
    }

    /// Handles whose audience class changed in this group, and to what.
    pub fn reclassed(&self) -> impl Iterator<Item = (Position, ClassNo)> + '_ {
        self.latest.iter().filter(|(_, l)| l.reclassed).map(|(&handle, l)| (handle, l.class))
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
        for (key, (assertions, dirty)) in &self.values {
            if *dirty {
                batch.assertions(key, assertions)?;
            }
        }
        for (handle, latest) in &self.latest {
            batch.latest(*handle, latest)?;
        }
        for number in &self.new_classes {
            if let Some(class) = self.directory.class(*number) {
                batch.class(*number, &class.definition)?;
            }
        }
        batch.postings(&self.postings)
    }
}

/// An entry being written.
struct Writing {
    builder: Builder,
    seq: Seq,
    ordinal: u16,
    version: u64,
    seed: u64,
    time: Timestamp,
}

impl Writing {
    fn new(entry: &Entry<'_>, floor: u64) -> Self {
        use proto::entry_header::Change as Stored;
        let change = match entry.change {
            Change::Publish(_) => Stored::Publish(proto::Publish {}),
            Change::Revoke(_) => Stored::Revoke(proto::Revoke {}),
            Change::Sight(_) => Stored::Sight(proto::Sight {}),
        };
        let header = proto::EntryHeader {
            time: entry.time.as_micros(),
            author: entry.author.to_owned(),
            version_seed: entry.seed,
            version_floor: floor,
            salt: entry.salt.to_vec().into(),
            change: Some(change),
            ..Default::default()
        };
        Self {
            builder: Builder::new(entry.seq.at(0), header.encode_to_vec(), floor),
            seq: entry.seq,
            ordinal: 0,
            version: floor,
            seed: entry.seed,
            time: entry.time,
        }
    }

    /// Position and version of the next item. Versions rise by a random gap
    /// of 1 to 4 µs, so that nothing hidden between two can be counted.
    fn next(&mut self) -> (Position, u64) {
        let at = self.seq.at(self.ordinal);
        self.version += 1 + (mix(self.seed ^ u64::from(self.ordinal)) & 3);
        self.ordinal += 1;
        (at, self.version)
    }
}

/// SplitMix64's finaliser: spreads a seed and a count over 64 bits.
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn created(body: &[u8]) -> Result<Timestamp, db::Error> {
    event::decode_indicator(body)
        .and_then(|indicator| event::timestamp(indicator.create_time.as_ref()?))
        .ok_or_else(|| db::Error::corrupt("body", "create_time"))
}

/// The keys under which the indicator in `body` is found.
fn value_keys(body: &[u8]) -> Result<Vec<Vec<u8>>, db::Error> {
    let damaged = || db::Error::corrupt("body", "observable");
    let indicator = event::decode_indicator(body).ok_or_else(damaged)?;
    let (value, aliases) = event::observables(&indicator).ok_or_else(damaged)?;
    Ok(std::iter::once(&value).chain(&aliases).map(keys::value).collect())
}
