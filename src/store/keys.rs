//! Decides how keys are spelt: one registry of kinds. Bytes are never reused,
//! numbers are big-endian, so key order is value order.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::indicator::{Kind, Observable};
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;

use super::subscription::SubscriptionKey;

mod receipts;
mod terms;

pub use receipts::*;
pub use terms::*;

/// First byte of a key; says what kind of record it names. Retired kinds stay
/// reserved for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// Name to format version, log identity, fences.
    Meta = 0x01,
    /// Position of the first item to a chunk of the log.
    Log = 0x10,
    /// Kind and canonical value to one element per producer.
    Value = 0x20,
    /// Handle to the newest position, for records changed since birth.
    Latest = 0x21,
    /// Dimension, term and group to the records that carry the term.
    Posting = 0x30,
    /// Span of time, dimension and term to the number of records that hold:
    /// see [`super::counters`].
    Counter = 0x31,
    /// Filter term to what it stands for: see [`super::term_names`].
    TermName = 0x32,
    /// Indicator, reporter and position to a sighting: see [`super::sightings`].
    Sighting = 0x33,
    /// The one record of how much each organisation takes: see [`super::usage`].
    Usage = 0x34,
    /// Commit group to answered requests.
    Request = 0x40,
    /// Organisations, duties, principals, audience classes.
    Directory = 0x50,
    /// Certificates, tokens, authorities.
    Certificate = 0x51,
    /// Leave to republish, by owner and by who asks.
    Leave = 0x52,
    /// Held publications, by indicator, and how they are found: see [`super::held`].
    Held = 0x54,
    /// What a unit that leads holds for a day: see [`super::containment`].
    Containment = 0x55,
    /// What organisations call their own, and how that stood before.
    Asset = 0x56,
    /// Reserved: live records below a base.
    Record = 0x60,
    /// Number of the first record of a commit group to the group's audit records, node-local:
    /// see [`super::audit`].
    Audit = 0x70,
    /// Level and number to a tile of the audit's tree, node-local.
    Tile = 0x71,
    /// Named subscriptions and their cursors, node-local.
    Cursor = 0x80,
    /// Who was given what, node-local: see [`super::receipts`].
    Receipt = 0x81,
}

impl KeyKind {
    /// The byte on disk.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// Column families. Those that grow without bound have one of their own; the
/// small ones share [`Family::Meta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// RocksDB's default family: meta, requests, directory, certificates, leaves, held publications, holds, assets.
    Meta,
    /// The log.
    Log,
    /// Values.
    Values,
    /// Newest positions.
    Latest,
    /// Postings.
    Postings,
    /// Counters.
    Counters,
    /// Sightings, beside their indicators.
    Sightings,
    /// Records below a base.
    Records,
    /// Audit.
    Audit,
    /// Cursors and receipts.
    Cursors,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Log,
        Self::Values,
        Self::Latest,
        Self::Postings,
        Self::Counters,
        Self::Sightings,
        Self::Records,
        Self::Audit,
        Self::Cursors,
    ];

    /// The family's name in RocksDB.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Log => "log",
            Self::Values => "values",
            Self::Latest => "latest",
            Self::Postings => "postings",
            Self::Counters => "counters",
            Self::Sightings => "sightings",
            Self::Records => "records",
            Self::Audit => "audit",
            Self::Cursors => "cursors",
        }
    }
}

/// Bytes of a log key, a latest key: kind and one number.
pub const NUMBER_KEY_BYTES: usize = 9;
/// Bytes of the key of a tile.
pub const TILE_KEY_BYTES: usize = 10;
/// Bytes of a posting key.
pub const POSTING_KEY_BYTES: usize = POSTING_PREFIX_BYTES + 8;
/// Bytes of a posting key before the group: kind, dimension, term.
pub const POSTING_PREFIX_BYTES: usize = 10;
/// Bytes of a sighting's key.
pub const SIGHTING_KEY_BYTES: usize = SIGHTING_PREFIX_BYTES + 4 + 8;
/// Bytes of a sighting's key before the reporter: kind, indicator.
pub const SIGHTING_PREFIX_BYTES: usize = 9;
/// Longest canonical value that stands in a key as it is, in bytes.
pub const MAX_INLINE_VALUE_BYTES: usize = 64;

const _: () = assert!(NUMBER_KEY_BYTES == 1 + size_of::<u64>());
const _: () = assert!(POSTING_KEY_BYTES == 18);
const _: () = assert!(SIGHTING_KEY_BYTES == 21);

/// Key of a chunk, by the position of its first item.
#[must_use]
pub fn log(first: Position) -> [u8; NUMBER_KEY_BYTES] {
    number_key(KeyKind::Log, first.raw())
}

/// Key of the newest position of a record.
#[must_use]
pub fn latest(handle: Position) -> [u8; NUMBER_KEY_BYTES] {
    number_key(KeyKind::Latest, handle.raw())
}

/// Key of a commit group's answered requests, by a rising number of its own:
/// a group whose items were all unchanged has requests but no position.
#[must_use]
pub fn request(group: u64) -> [u8; NUMBER_KEY_BYTES] {
    number_key(KeyKind::Request, group)
}

/// Key of the audit records of a commit group, by the number of its first.
#[must_use]
pub fn audit(first: u64) -> [u8; NUMBER_KEY_BYTES] {
    number_key(KeyKind::Audit, first)
}

/// Key of a tile of the audit: kind, level, number.
#[must_use]
pub fn tile(level: u8, index: u64) -> [u8; TILE_KEY_BYTES] {
    let mut key = [0; TILE_KEY_BYTES];
    let (head, number) = key.split_at_mut(2);
    head.copy_from_slice(&[KeyKind::Tile.byte(), level]);
    number.copy_from_slice(&index.to_be_bytes());
    key
}

/// Key of what a filter term stands for.
#[must_use]
pub fn term_name(term: u64) -> [u8; NUMBER_KEY_BYTES] {
    number_key(KeyKind::TermName, term)
}

fn number_key(kind: KeyKind, number: u64) -> [u8; NUMBER_KEY_BYTES] {
    let mut key = [0; NUMBER_KEY_BYTES];
    if let Some((first, rest)) = key.split_first_mut() {
        *first = kind.byte();
        rest.copy_from_slice(&number.to_be_bytes());
    }
    key
}

/// Key of a sighting: kind, handle of its indicator, number of its reporter,
/// its own position.
#[must_use]
pub fn sighting(indicator: Position, reporter: OrgNo, at: Position) -> [u8; SIGHTING_KEY_BYTES] {
    let mut key = [0; SIGHTING_KEY_BYTES];
    let (prefix, rest) = key.split_at_mut(SIGHTING_PREFIX_BYTES);
    let (by, position) = rest.split_at_mut(4);
    prefix.copy_from_slice(&sightings(indicator));
    by.copy_from_slice(&reporter.0.to_be_bytes());
    position.copy_from_slice(&at.raw().to_be_bytes());
    key
}

/// What the keys of all sightings of an indicator begin with.
#[must_use]
pub fn sightings(indicator: Position) -> [u8; SIGHTING_PREFIX_BYTES] {
    number_key(KeyKind::Sighting, indicator.raw())
}

/// Indicator, reporter and position in a sighting's key.
#[must_use]
pub fn read_sighting(key: &[u8]) -> Option<(Position, OrgNo, Position)> {
    let rest = key.strip_prefix(&[KeyKind::Sighting.byte()])?;
    let (indicator, rest) = rest.split_first_chunk::<8>()?;
    let (reporter, at) = rest.split_first_chunk::<4>()?;
    let position = |bytes| Position::from_raw(u64::from_be_bytes(bytes));
    let reporter = OrgNo(u32::from_be_bytes(*reporter));
    Some((position(*indicator), reporter, position(at.try_into().ok()?)))
}

/// The number in a key of kind and one number.
#[must_use]
pub fn number_of(key: &[u8]) -> Option<u64> {
    let (_, number) = key.split_first()?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// Key of a value: kind, then `00` and the canonical bytes, or `01` and their
/// SHA-256 where they are longer than [`MAX_INLINE_VALUE_BYTES`].
#[must_use]
pub fn value(observable: &Observable) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + MAX_INLINE_VALUE_BYTES);
    key.extend_from_slice(&[KeyKind::Value.byte(), observable.kind().number(), 0]);
    observable.write_key(&mut key);
    if key.len() > 3 + MAX_INLINE_VALUE_BYTES {
        let hash = digest::sha256(key.get(3..).unwrap_or_default());
        key.truncate(2);
        key.push(1);
        key.extend_from_slice(&hash);
    }
    key
}

/// Whether a key says nothing of how its value begins.
#[must_use]
pub fn is_digest(value: &[u8]) -> bool {
    value.get(2) == Some(&1)
}

/// The network that stands in the key of a value, if it is one.
#[must_use]
pub fn network_of(key: &[u8]) -> Option<IpNet> {
    let rest = key.strip_prefix(&[KeyKind::Value.byte(), Kind::Cidr.number(), 0])?;
    match *rest {
        [4, ref octets @ .., length] => {
            IpNet::new(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?), length).ok()
        }
        [6, ref octets @ .., length] => {
            IpNet::new(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?), length).ok()
        }
        _ => None,
    }
}

/// Dimensions whose postings no store has any more: who reported sightings of
/// an indicator, and where those of one reporter stand. Both are in the keys of
/// [`Family::Sightings`].
pub const RETIRED_DIMENSIONS: [u8; 2] = [6, 9];

/// What postings are kept for. Numbers are stored: never reuse one, those of
/// [`RETIRED_DIMENSIONS`] neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Owner, by number.
    Owner = 1,
    /// Kind of observable, by number.
    Kind = 2,
    /// Label, by the first eight bytes of its SHA-256; role, family, campaign
    /// and techniques too, see [`terms`].
    Label = 3,
    /// Audience class, by number.
    Class = 4,
    /// Terminal events (revoked, expired), by state.
    Terminal = 5,
    /// Versions that end by themselves, by the hour of their `valid_until`:
    /// see [`expiry_term`]. A later version of the record makes one void.
    Expiry = 7,
    /// Collisions of an indicator, by its handle; each names the other's
    /// record.
    Collision = 8,
    /// What is recommended, by number; nothing where nothing is.
    Action = 10,
    /// Confidence, see [`confidence_term`].
    Confidence = 11,
    /// When the observable was first seen, see [`seen_term`].
    FirstSeen = 12,
    /// When it was last seen, likewise.
    LastSeen = 13,
    /// Where the host of a domain, a URL, an endpoint or an e-mail address lies,
    /// see [`host_terms`].
    Host = 14,
    /// Words of description, labels, family and campaign, by [`text_term`].
    Text = 15,
    /// Who reported sightings, by number: each the position of a sighting
    /// beside the handle of its indicator.
    SightedBy = 16,
    /// What sightings say, by the number of the outcome: likewise.
    Outcome = 17,
    /// Hashes of files that records had and have no longer, by [`value_term`]:
    /// the version that has it no longer.
    Former = 18,
    /// Values that are too long for their keys, by how they begin: see
    /// [`beginning_term`].
    Beginning = 19,
    /// Versions that hold from before they were recorded, by the hour from
    /// which on: see [`valid_from_term`].
    ValidFrom = 20,
    /// Words that stand side by side in description, labels, family or
    /// campaign, see [`pair_term`].
    Pair = 21,
    /// Versions by where their records were born, see [`born_term`].
    Born = 22,
    /// What sightings say, as [`Self::Outcome`]: each beside the number of its
    /// audience class, which it keeps for good.
    OutcomeClass = 23,
    /// Terms of [`Self::Label`] beside kinds: in counters alone, see
    /// [`super::counters`].
    LabelKind = 24,
    /// [`Self::FirstSeen`] by the day, see [`day_term`]: a span of weeks has
    /// as many of these terms as one of hours has of those.
    FirstSeenDay = 25,
    /// [`Self::LastSeen`], likewise.
    LastSeenDay = 26,
}

impl Dimension {
    /// Whether its postings are written behind the log, up to the mark of
    /// [`super::index`], and not with the items that they name.
    #[must_use]
    pub const fn is_behind(self) -> bool {
        self as u8 >= Self::Action as u8
    }

    /// Every dimension.
    pub const ALL: [Self; 24] = [
        Self::Owner,
        Self::Kind,
        Self::Label,
        Self::Class,
        Self::Terminal,
        Self::Expiry,
        Self::Collision,
        Self::Action,
        Self::Confidence,
        Self::FirstSeen,
        Self::LastSeen,
        Self::Host,
        Self::Text,
        Self::SightedBy,
        Self::Outcome,
        Self::Former,
        Self::Beginning,
        Self::ValidFrom,
        Self::Pair,
        Self::Born,
        Self::OutcomeClass,
        Self::LabelKind,
        Self::FirstSeenDay,
        Self::LastSeenDay,
    ];
}

/// Key of a block of postings: dimension, term, first position in the block.
#[must_use]
pub fn posting(dimension: Dimension, term: u64, group: Position) -> [u8; POSTING_KEY_BYTES] {
    posting_at(&posting_prefix(dimension, term), group)
}

/// The same from what all blocks of the term begin with.
#[must_use]
pub fn posting_at(prefix: &[u8; POSTING_PREFIX_BYTES], first: Position) -> [u8; POSTING_KEY_BYTES] {
    let mut key = [0; POSTING_KEY_BYTES];
    let (head, position) = key.split_at_mut(POSTING_PREFIX_BYTES);
    head.copy_from_slice(prefix);
    position.copy_from_slice(&first.raw().to_be_bytes());
    key
}

/// What all blocks of one term begin with.
#[must_use]
pub fn posting_prefix(dimension: Dimension, term: u64) -> [u8; POSTING_PREFIX_BYTES] {
    let mut prefix = [0; POSTING_PREFIX_BYTES];
    let (head, rest) = prefix.split_at_mut(2);
    head.copy_from_slice(&[KeyKind::Posting.byte(), dimension as u8]);
    rest.copy_from_slice(&term.to_be_bytes());
    prefix
}

/// The term of a `valid_until`: whole hours since the Unix epoch.
#[must_use]
pub const fn expiry_term(until: Timestamp) -> u64 {
    until.as_seconds() / 3_600
}

/// The term in the key of a block of postings.
#[must_use]
pub fn posting_term(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(2..POSTING_PREFIX_BYTES)?.try_into().ok()?))
}

/// The dimension in a posting key.
#[must_use]
pub fn posting_dimension(key: &[u8]) -> Option<Dimension> {
    let number = *key.get(1)?;
    Dimension::ALL.into_iter().find(|dimension| *dimension as u8 == number)
}

/// Whether a posting key is of one of the [`RETIRED_DIMENSIONS`].
#[must_use]
pub fn is_retired(posting: &[u8]) -> bool {
    posting.get(1).is_some_and(|dimension| RETIRED_DIMENSIONS.contains(dimension))
}

/// Key of a meta record.
#[must_use]
pub fn meta(name: &str) -> Vec<u8> {
    [&[KeyKind::Meta.byte()], name.as_bytes()].concat()
}

/// Key of a directory record: a letter for the noun, then its own key.
#[must_use]
pub fn directory(noun: u8, key: &[u8]) -> Vec<u8> {
    [&[KeyKind::Directory.byte(), noun], key].concat()
}

/// Ends the identity in the key of a named subscription; none contains it.
const CURSOR_SEPARATOR: u8 = 0;

/// Key of a named subscription: its organisation, its principal, its name.
#[must_use]
pub fn cursor(key: &SubscriptionKey) -> Vec<u8> {
    let mut out = cursors(key.org);
    out.extend_from_slice(key.principal.as_str().as_bytes());
    out.push(CURSOR_SEPARATOR);
    out.extend_from_slice(key.name.as_bytes());
    out
}

/// What the keys of all named subscriptions of an organisation begin with.
#[must_use]
pub fn cursors(org: OrgNo) -> Vec<u8> {
    [&[KeyKind::Cursor.byte()], org.0.to_be_bytes().as_slice()].concat()
}

/// Reads the key of a named subscription of `org`.
#[must_use]
pub fn read_cursor(org: OrgNo, key: &[u8]) -> Option<SubscriptionKey> {
    let rest = std::str::from_utf8(key.strip_prefix(cursors(org).as_slice())?).ok()?;
    let (principal, name) = rest.split_once(char::from(CURSOR_SEPARATOR))?;
    Some(SubscriptionKey { org, principal: SpiffeId::parse(principal).ok()?, name: name.to_owned() })
}

#[cfg(test)]
mod tests;
