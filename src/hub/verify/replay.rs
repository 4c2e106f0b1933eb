//! Decides how the log is applied again: entry by entry above the base, and
//! below it what is left is taken as it stands.

use std::sync::Arc;

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::indicator::lifecycle::{Revocation, RevocationReason};
use crate::model::marking::{Marking, Recipients};
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::model::principal::SpiffeId;
use crate::model::roster::Roster;
use crate::pki::ledger::Ledger;
use crate::store::chunk::{Chunk, ItemView, Op};
use crate::store::keys;
use crate::store::postings::Posting;
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::{Batch, Store, db};
use crate::wire::seal::Sealer;
use crate::wire::{disclosure, event};

use super::super::apply::Entry;
use super::super::directory::Directory;
use super::super::group::Group;
use super::super::judged::Judged;
use super::super::proposal::{
    Change, Collision, Due, ProposedIndicator, ProposedPublication, ProposedRevocation, ProposedSighting,
};
use super::super::publish::digests;
use super::super::{Error, amend, asset, certify, containing, genesis, holding, leave, retention};
use super::VerifyReport;

/// Entries applied with one commit.
const GROUP_ENTRIES: usize = 256;

/// Applies the log of a store again into an empty copy.
pub(super) fn replay(
    store: &Store,
    copy: &Store,
    report: &mut VerifyReport,
    progress: &mut impl FnMut(u64),
) -> Result<(), db::Error> {
    let failed = |error: Error| db::Error::Corrupt { what: "beginning of the log", at: error.to_string() };
    let genesis = genesis::read(store).map_err(failed)?;
    let sealer = Sealer::new(genesis.seal_key.expose()).ok_or_else(|| db::Error::corrupt("key", "seal"))?;
    let began = genesis::began(genesis.time);
    let stored_directory = Directory::from_stored(store.directory()?, began);
    let (base, mark) = (store.base()?.position, store.truncated()?);
    let mut directory = Directory::from_roster(genesis.roster, began);
    if base != Position::ZERO {
        // Who first had an audience may be gone; the audience keeps its number.
        adopt(store, copy, &mut directory)?;
    }
    let mut replay = Replay {
        store,
        base,
        sealer: &sealer,
        classes: &stored_directory,
        directory: Arc::new(directory),
        ledger: Arc::default(),
        last_version: 0,
        floor: Position::ZERO,
    };
    let mut scan = store.scan(Position::ZERO)?;
    let mut entry: Vec<Chunk> = Vec::new();
    let mut waiting: Vec<Vec<Chunk>> = Vec::new();
    let mut left = digest::Multiset::default();
    loop {
        let next = scan.next_chunk()?;
        if let Some(chunk) = next.as_ref().filter(|chunk| chunk.first <= mark.upto) {
            left.add(&keys::log(chunk.first), &chunk.bytes);
        }
        let ends =
            next.as_ref().is_none_or(|c| entry.first().is_some_and(|e| e.first.seq() != c.first.seq()));
        if ends && let Some(first) = entry.first().map(|chunk| chunk.first) {
            // What stands below the base is there for what comes after.
            let below = |at: Position| at <= base;
            let other = waiting.first().and_then(|chunks| chunks.first());
            if other.is_some_and(|other| below(other.first) != below(first)) {
                replay.group(copy, &waiting, report)?;
                waiting.clear();
            }
            waiting.push(std::mem::take(&mut entry));
        }
        if waiting.len() >= GROUP_ENTRIES || (next.is_none() && !waiting.is_empty()) {
            replay.group(copy, &waiting, report)?;
            waiting.clear();
            progress(report.items);
        }
        match next {
            Some(chunk) => entry.push(chunk),
            None => break,
        }
    }
    if left != mark.digest {
        report.differ(|| "what is left below the base is not what was left there".to_owned());
    }
    Ok(())
}

/// Takes every audience as it is numbered in `store`.
fn adopt(store: &Store, copy: &Store, directory: &mut Directory) -> Result<(), db::Error> {
    let stored = store.directory()?;
    let mut batch = Batch::new(copy);
    for (number, definition) in &stored.classes {
        directory.intern(definition);
        batch.class(*number, definition)?;
    }
    for (class, lengths) in &stored.lengths {
        directory.set_lengths(*class, *lengths);
        batch.prefix_lengths(*class, *lengths)?;
    }
    copy.commit_unsynced(batch)
}

/// The state of a replay between groups.
struct Replay<'a> {
    store: &'a Store,
    /// Up to here what is left is taken as it stands.
    base: Position,
    sealer: &'a Sealer,
    classes: &'a Directory,
    directory: Arc<Directory>,
    ledger: Arc<Ledger>,
    last_version: u64,
    floor: Position,
}

impl Replay<'_> {
    fn group(
        &mut self,
        copy: &Store,
        entries: &[Vec<Chunk>],
        report: &mut VerifyReport,
    ) -> Result<(), db::Error> {
        let mut group = Group::new(copy, self.sealer, Arc::clone(&self.directory), self.last_version)
            .with_ledger(Arc::clone(&self.ledger));
        let mut batch = Batch::new(copy);
        for chunks in entries {
            let Some(first) = chunks.first() else { continue };
            report.entries += 1;
            if first.first <= self.floor {
                report.differ(|| format!("entry {:?} does not come after the one before", first.first));
            }
            if first.first <= self.base && first.view().is_some_and(|view| view.entry_header.is_none()) {
                // Its beginning was cut out.
                report.items += reload(&mut group, self.store, chunks, None)?;
                continue;
            }
            let header = entry_header(chunks)?;
            if self.base != Position::ZERO && self.floor <= self.base {
                // The last version before may be gone.
                group.last_version = group.last_version.max(header.version_floor);
            }
            match &header.change {
                Some(
                    Stored::Publish(_)
                    | Stored::Revoke(_)
                    | Stored::Sight(_)
                    | Stored::Expire(_)
                    | Stored::Notice(_)
                    | Stored::Leave(_)
                    | Stored::Held(_)
                    | Stored::Containment(_),
                ) if first.first <= self.base || self.tells_of_dropped(chunks)? => {
                    report.items += reload(&mut group, self.store, chunks, Some(&header.author))?;
                    if let Some(asked) = leave::stored(&header, self.classes) {
                        self.reload_leave(&mut group, first.first.seq(), &header, &asked?)?;
                    }
                    group.last_version = group.last_version.max(header.version_floor);
                }
                Some(Stored::Genesis(_)) => {
                    self.directory.write_to(&Roster::default(), &mut batch)?;
                    copy_chunks(chunks, &mut batch)?;
                    group.last_version = header.time;
                }
                Some(
                    Stored::Publish(_)
                    | Stored::Revoke(_)
                    | Stored::Sight(_)
                    | Stored::Expire(_)
                    | Stored::Notice(_)
                    | Stored::Roster(_)
                    | Stored::RosterProposal(_)
                    | Stored::RosterRejection(_)
                    | Stored::Leave(_)
                    | Stored::Held(_)
                    | Stored::Containment(_)
                    | Stored::RetentionBase(_)
                    | Stored::RetentionDrop(_)
                    | Stored::BaseState(_)
                    | Stored::Assets(_)
                    | Stored::Certificate(_),
                ) => {
                    self.entry(&mut group, chunks, &header, report)?;
                }
                _ => {
                    copy_chunks(chunks, &mut batch)?;
                    group.last_version = group.last_version.max(header.time);
                }
            }
            self.floor = chunks.last().and_then(Chunk::view).map_or(first.first, |v| v.last_position());
        }
        group.write_to(&mut batch)?;
        copy.commit_unsynced(batch)?;
        self.directory = Arc::clone(&group.directory);
        self.ledger = Arc::clone(&group.ledger);
        self.last_version = group.last_version;
        Ok(())
    }

    /// Whether an entry tells of records that were dropped since: then it
    /// cannot be made again.
    fn tells_of_dropped(&self, chunks: &[Chunk]) -> Result<bool, db::Error> {
        if self.store.truncated()?.dropped == 0 {
            return Ok(false);
        }
        for item in chunks.iter().filter_map(Chunk::view).flat_map(|view| view.items()).flatten() {
            if retention::tells_of_dropped(self.store, &item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn reload_leave(
        &self,
        group: &mut Group<'_>,
        seq: Seq,
        header: &proto::EntryHeader,
        change: &Change,
    ) -> Result<(), db::Error> {
        let Change::Leave(asked) = change else { return Ok(()) };
        let time = Timestamp::from_micros_clamped(header.time);
        let entry = Entry { seq, time, author: &header.author, seed: 0, salt: &[], change };
        group.reload_leave(self.store, asked, &entry)
    }

    fn entry(
        &self,
        group: &mut Group<'_>,
        chunks: &[Chunk],
        header: &proto::EntryHeader,
        report: &mut VerifyReport,
    ) -> Result<(), db::Error> {
        let seq = chunks.first().map(|chunk| chunk.first.seq()).unwrap_or_default();
        let change = self.change(chunks, header)?;
        let salt = header.salt.to_vec();
        let entry = Entry {
            seq,
            time: Timestamp::from_micros_clamped(header.time),
            author: &header.author,
            seed: header.version_seed,
            salt: &salt,
            change: &change,
        };
        let before = group.chunks.len();
        let decisions = group.apply(&entry)?;
        report.items += decisions.len() as u64;
        let again = group.chunks.get(before..).unwrap_or_default();
        if again != chunks {
            report.differ(|| format!("entry {seq:?} is not what applying it again gives"));
        }
        Ok(())
    }

    /// What the entry asked for, from what it left behind.
    fn change(&self, chunks: &[Chunk], header: &proto::EntryHeader) -> Result<Change, db::Error> {
        let stored = amend::stored(header).or_else(|| leave::stored(header, self.classes));
        let stored = stored.or_else(|| holding::stored(header)).or_else(|| containing::stored(header));
        let stored = stored.or_else(|| retention::stored(header)).or_else(|| asset::stored(header));
        if let Some(change) = stored.or_else(|| certify::stored(header)) {
            return change;
        }
        // Whoever writes what is another's acts on its behalf.
        let author = SpiffeId::parse(&header.author).ok().and_then(|id| self.classes.number(id.org()));
        let salt: [u8; 16] = header.salt.as_ref().try_into().unwrap_or_default();
        let judged = Judged::of(header);
        let (mut indicators, mut sightings) = (Vec::new(), Vec::new());
        let (mut due, mut collisions) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", chunk.first))?;
            for item in view.items() {
                let item = item.ok_or_else(|| db::Error::corrupt("item", chunk.first))?;
                let damaged = || db::Error::corrupt("item", item.position);
                match item.header.op {
                    Op::Revoke => return revocation(&item, author).ok_or_else(damaged),
                    Op::Expire => due.push(expiry(&item).ok_or_else(damaged)?),
                    Op::Notice => collisions.push(Collision {
                        record: item.header.previous,
                        other: Position::from_raw(item.header.digest),
                    }),
                    Op::Sight => sightings.push(Ok(self.sighting(&item, &salt).ok_or_else(damaged)?)),
                    _ => indicators
                        .push(Ok(self.indicator(&item, author, &salt, &judged).ok_or_else(damaged)?)),
                }
            }
        }
        Ok(if !collisions.is_empty() {
            Change::Notice(collisions)
        } else if !sightings.is_empty() {
            Change::Sight(sightings)
        } else if !due.is_empty() {
            Change::Expire(due)
        } else {
            Change::Publish(ProposedPublication { items: indicators, judged })
        })
    }

    fn indicator(
        &self,
        item: &ItemView<'_>,
        author: Option<OrgNo>,
        salt: &[u8; 16],
        judged: &Judged,
    ) -> Option<ProposedIndicator> {
        let fields = event::publisher_fields(item.body, item.header.tail_len)?.to_vec();
        let indicator = event::decode_indicator(item.body)?;
        let (value, aliases) = event::observables(&indicator)?;
        let meaning = event::meaning(&fields, &indicator.raw_value, &indicator.published_by);
        let class = self.class(item.header.class, event::stored_marking(indicator.marking.as_ref()?)?)?;
        let (digest, salted) = digests(&disclosure::meaning(meaning, &class), salt);
        let role = u8::try_from(indicator.role).ok()?;
        Some(ProposedIndicator {
            value_key: keys::value(&value),
            alias_keys: aliases.iter().map(keys::value).collect(),
            kind: value.kind().number(),
            owner: item.header.owner,
            provider: author.filter(|author| *author != item.header.owner),
            class,
            class_known: None,
            terms: keys::terms(
                &indicator.labels,
                role,
                &indicator.family,
                &indicator.campaign,
                &indicator.attack_techniques,
            ),
            fields,
            digest,
            salted,
            wanted: judged.wanted(digest),
            valid_until: event::valid_until(item.body)?,
            original: item.header.original.map(|original| original.handle),
            reinstate: indicator.reinstatement.map(|r| r.reason),
        })
    }

    /// What a record's class stands for: it knows what a masked body leaves
    /// out. Where the body says otherwise, what that would be: it differs.
    fn class(&self, number: ClassNo, said: Marking) -> Option<ClassDefinition> {
        let class = ClassDefinition::clone(&self.classes.class(number)?.definition);
        let mut expected = class.marking.clone();
        if expected.is_masked() {
            expected.recipients = Recipients::default();
        }
        Some(if said == expected { class } else { ClassDefinition { marking: said, ..class } })
    }

    fn sighting(&self, item: &ItemView<'_>, salt: &[u8; 16]) -> Option<ProposedSighting> {
        let fields = event::publisher_fields(item.body, item.header.tail_len)?.to_vec();
        let class = ClassDefinition::clone(&self.classes.class(item.header.class)?.definition);
        let (digest, salted) = digests(&disclosure::meaning(&fields, &class), salt);
        Some(ProposedSighting {
            indicator: item.header.previous,
            reporter: item.header.owner,
            class,
            fields,
            digest,
            salted,
            told: item.header.kind != 0,
        })
    }
}

fn expiry(item: &ItemView<'_>) -> Option<Due> {
    let version = Posting { position: item.header.previous, handle: item.header.handle };
    Some(Due { until: event::valid_until(item.body)??, version })
}

fn revocation(item: &ItemView<'_>, author: Option<OrgNo>) -> Option<Change> {
    let revocation = event::decode_indicator(item.body)?.revocation?;
    Some(Change::Revoke(ProposedRevocation {
        handle: item.header.handle,
        owner: item.header.owner,
        provider: author.filter(|author| *author != item.header.owner),
        revocation: Revocation {
            reason: RevocationReason::from_number(u8::try_from(revocation.reason).ok()?)?,
            note: revocation.note,
        },
        expected: None,
    }))
}

fn entry_header(chunks: &[Chunk]) -> Result<proto::EntryHeader, db::Error> {
    let first = chunks.first().ok_or_else(|| db::Error::corrupt("entry", Seq::default()))?;
    let damaged = || db::Error::corrupt("entry", first.first);
    let header = first.view().and_then(|view| view.entry_header).ok_or_else(damaged)?;
    proto::EntryHeader::decode(header).map_err(|_| damaged())
}

fn copy_chunks(chunks: &[Chunk], batch: &mut Batch<'_>) -> Result<(), db::Error> {
    chunks.iter().try_for_each(|chunk| batch.chunk(chunk))
}

/// Takes an entry as it stands; how many items it has left.
fn reload(
    group: &mut Group<'_>,
    store: &Store,
    chunks: &[Chunk],
    author: Option<&str>,
) -> Result<u64, db::Error> {
    group.reload(store, chunks, author)?;
    let items = chunks.iter().filter_map(Chunk::view).flat_map(|view| view.items()).flatten();
    Ok(items.filter(|item| item.header.op != Op::Born).count() as u64)
}
