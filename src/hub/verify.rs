//! Decides whether what is stored is what the log says: the log is applied
//! again into an empty store beside it, and both must agree, byte for byte in
//! log, values, latest, sightings and directory, and by content in postings and
//! counters, as far as the store is indexed. A store of the format before has
//! no sightings beside their indicators, but postings in their place: neither
//! are compared.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::base::{digest, random};
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::indicator::lifecycle::{Revocation, RevocationReason};
use crate::model::marking::{Marking, Recipients};
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::model::principal::SpiffeId;
use crate::model::roster::Roster;
use crate::pki::ledger::Ledger;
use crate::store::chunk::{Chunk, ItemView, Op};
use crate::store::keys::{self, Family, KeyKind};
use crate::store::postings::Posting;
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::{Batch, Store, Tuning, db};
use crate::wire::seal::Sealer;
use crate::wire::{disclosure, event};

use super::apply::Entry;
use super::compare::{compare, compare_counters, compare_postings};
use super::directory::Directory;
use super::group::Group;
use super::indexer::index_upto;
use super::proposal::{Change, Collision, Due, ProposedIndicator, ProposedRevocation, ProposedSighting};
use super::publish::digests;
use super::{amend, certify, genesis, leave};

/// Most differences that are told.
const MAX_TOLD: usize = 20;
/// Entries applied with one commit.
const GROUP_ENTRIES: usize = 256;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Entries applied.
    pub entries: u64,
    /// Items in them.
    pub items: u64,
    /// Multiset digest over values, latest and directory, hexadecimal.
    pub digest: String,
    /// The first differences, in words that name no value.
    pub differences: Vec<String>,
    /// How many there are.
    pub difference_count: u64,
}

impl VerifyReport {
    /// Whether state and log agree.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.difference_count == 0
    }

    pub(super) fn differ(&mut self, what: impl FnOnce() -> String) {
        self.difference_count += 1;
        if self.differences.len() < MAX_TOLD {
            self.differences.push(what());
        }
    }
}

/// A store that is removed with its directory.
struct Scratch {
    store: Option<Store>,
    path: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.store = None;
        // What is left behind is a copy, in a directory that says so.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Scratch {
    /// An empty store in a directory of its own in `place`.
    fn new(place: &Path) -> Result<Self, db::Error> {
        let path = place.join(format!(".verify-{:016x}", random::u64()));
        let failed = |source| db::Error::Scratch { path: place.to_owned(), source };
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let mut scratch = Self { store: None, path };
        scratch.store = Some(Store::create(&scratch.path, &Tuning::default())?);
        Ok(scratch)
    }
}

/// Verifies a hub that does not run, or a backup, with a scratch copy beside
/// it: see [`verify_in`].
///
/// # Errors
/// As [`verify_in`].
pub fn verify(data_dir: &Path, progress: impl FnMut(u64)) -> Result<VerifyReport, db::Error> {
    let beside = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    verify_in(data_dir, beside.unwrap_or_else(|| Path::new(".")), progress)
}

/// Verifies a hub that does not run, or a backup, of which no byte is changed.
/// `progress` is told the number of items applied so far. A copy is made in
/// `scratch` and removed; it takes as much room as the hub.
///
/// # Errors
/// If the directory holds no hub, is in use, or cannot be read; if `scratch`
/// cannot be written to, or lies in the directory.
pub fn verify_in(
    data_dir: &Path,
    scratch: &Path,
    mut progress: impl FnMut(u64),
) -> Result<VerifyReport, db::Error> {
    let store = Store::open_read_only(data_dir, &Tuning::default())?;
    refuse_inside(data_dir, scratch)?;
    let mut report = VerifyReport::default();
    let scratch = Scratch::new(scratch)?;
    if let Some(copy) = &scratch.store {
        replay(&store, copy, &mut report, &mut progress)?;
        compare(&store, copy, Family::Values, KeyKind::Value, &mut report)?;
        compare(&store, copy, Family::Latest, KeyKind::Latest, &mut report)?;
        if !store.is_of_format_before()? {
            compare(&store, copy, Family::Sightings, KeyKind::Sighting, &mut report)?;
        }
        compare(&store, copy, Family::Meta, KeyKind::Directory, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Leave, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Certificate, &mut report)?;
        let indexed = store.indexed()?;
        index_upto(copy, indexed)?;
        compare_postings(&store, copy, indexed, &mut report)?;
        compare_counters(&store, copy, &mut report)?;
    }
    report.digest = state_digest(&store)?;
    Ok(report)
}

/// The copy must not lie in what is not to be changed.
fn refuse_inside(data_dir: &Path, scratch: &Path) -> Result<(), db::Error> {
    let failed = |source| db::Error::Scratch { path: scratch.to_owned(), source };
    let store = data_dir.canonicalize().map_err(failed)?;
    if scratch.canonicalize().map_err(failed)?.starts_with(store) {
        return Err(failed(io::Error::other("it lies in the store's directory")));
    }
    Ok(())
}

/// Multiset digest over the logical records: the sum modulo 2^256 of the
/// SHA-256 of each, so that it does not depend on their order.
///
/// # Errors
/// Whatever the store answers.
pub fn state_digest(store: &Store) -> Result<String, db::Error> {
    let mut sum = [0_u64; 4];
    let families = [
        (Family::Values, KeyKind::Value),
        (Family::Latest, KeyKind::Latest),
        (Family::Meta, KeyKind::Directory),
        (Family::Meta, KeyKind::Leave),
        (Family::Meta, KeyKind::Certificate),
    ];
    for (family, kind) in families {
        let mut records = store.records(family, &[kind.byte()])?;
        while let Some((key, value)) = records.next_record()? {
            let mut hash = digest::Sha256::default();
            hash.update(&(key.len() as u64).to_be_bytes());
            hash.update(&key);
            hash.update(&value);
            let mut carry = false;
            for (word, part) in sum.iter_mut().zip(hash.finish().as_chunks::<8>().0) {
                let (added, over) = word.overflowing_add(u64::from_le_bytes(*part));
                let (added, over_again) = added.overflowing_add(u64::from(carry));
                *word = added;
                carry = over || over_again;
            }
        }
    }
    Ok(digest::hex(&sum.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()))
}

fn replay(
    store: &Store,
    copy: &Store,
    report: &mut VerifyReport,
    progress: &mut impl FnMut(u64),
) -> Result<(), db::Error> {
    let failed =
        |error: super::Error| db::Error::Corrupt { what: "beginning of the log", at: error.to_string() };
    let genesis = genesis::read(store).map_err(failed)?;
    let sealer = Sealer::new(genesis.seal_key.expose()).ok_or_else(|| db::Error::corrupt("key", "seal"))?;
    let began = genesis::began(genesis.time);
    let stored_directory = Directory::from_stored(store.directory()?, began);
    let mut replay = Replay {
        sealer: &sealer,
        classes: &stored_directory,
        directory: Arc::new(Directory::from_roster(genesis.roster, began)),
        ledger: Arc::default(),
        last_version: 0,
        floor: Position::ZERO,
    };
    let mut scan = store.scan(Position::ZERO)?;
    let mut entry: Vec<Chunk> = Vec::new();
    let mut waiting: Vec<Vec<Chunk>> = Vec::new();
    loop {
        let next = scan.next_chunk()?;
        let ends =
            next.as_ref().is_none_or(|c| entry.first().is_some_and(|e| e.first.seq() != c.first.seq()));
        if ends && !entry.is_empty() {
            waiting.push(std::mem::take(&mut entry));
        }
        if waiting.len() >= GROUP_ENTRIES || (next.is_none() && !waiting.is_empty()) {
            replay.group(copy, &waiting, report)?;
            waiting.clear();
            progress(report.items);
        }
        match next {
            Some(chunk) => entry.push(chunk),
            None => return Ok(()),
        }
    }
}

/// The state of a replay between groups.
struct Replay<'a> {
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
            let header = entry_header(chunks)?;
            match &header.change {
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
        if let Some(change) = stored.or_else(|| certify::stored(header)) {
            return change;
        }
        // Whoever writes what is another's acts on its behalf.
        let author = SpiffeId::parse(&header.author).ok().and_then(|id| self.classes.number(id.org()));
        let salt: [u8; 16] = header.salt.as_ref().try_into().unwrap_or_default();
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
                    _ => indicators.push(Ok(self.indicator(&item, author, &salt).ok_or_else(damaged)?)),
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
            Change::Publish(indicators)
        })
    }

    fn indicator(
        &self,
        item: &ItemView<'_>,
        author: Option<OrgNo>,
        salt: &[u8; 16],
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
