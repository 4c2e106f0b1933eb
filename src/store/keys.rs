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
    /// Reserved: counts per dimension, term and day.
    Counter = 0x31,
    /// Commit group to answered requests.
    Request = 0x40,
    /// Organisations, duties, principals, audience classes.
    Directory = 0x50,
    /// Certificates, tokens, authorities.
    Certificate = 0x51,
    /// Leave to republish, by owner and by who asks.
    Leave = 0x52,
    /// Reserved: live records below a base.
    Record = 0x60,
    /// Reserved: audit records, node-local.
    Audit = 0x70,
    /// Reserved: audit tiles, node-local.
    Tile = 0x71,
    /// Named subscriptions and their cursors, node-local.
    Cursor = 0x80,
    /// Reserved: receipts, node-local.
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
    /// RocksDB's default family: meta, requests, directory, certificates, leaves.
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
    /// Records below a base.
    Records,
    /// Audit.
    Audit,
    /// Cursors and receipts.
    Cursors,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::Log,
        Self::Values,
        Self::Latest,
        Self::Postings,
        Self::Counters,
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
            Self::Records => "records",
            Self::Audit => "audit",
            Self::Cursors => "cursors",
        }
    }
}

/// Bytes of a log key, a latest key: kind and one number.
pub const NUMBER_KEY_BYTES: usize = 9;
/// Bytes of a posting key.
pub const POSTING_KEY_BYTES: usize = POSTING_PREFIX_BYTES + 8;
/// Bytes of a posting key before the group: kind, dimension, term.
pub const POSTING_PREFIX_BYTES: usize = 10;
/// Longest canonical value that stands in a key as it is, in bytes.
pub const MAX_INLINE_VALUE_BYTES: usize = 64;

const _: () = assert!(NUMBER_KEY_BYTES == 1 + size_of::<u64>());
const _: () = assert!(POSTING_KEY_BYTES == 18);

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

fn number_key(kind: KeyKind, number: u64) -> [u8; NUMBER_KEY_BYTES] {
    let mut key = [0; NUMBER_KEY_BYTES];
    if let Some((first, rest)) = key.split_first_mut() {
        *first = kind.byte();
        rest.copy_from_slice(&number.to_be_bytes());
    }
    key
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

/// What postings are kept for. Numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Owner, by number.
    Owner = 1,
    /// Kind of observable, by number.
    Kind = 2,
    /// Label, by the first eight bytes of its SHA-256; role, family and
    /// campaign too, see [`terms`].
    Label = 3,
    /// Audience class, by number.
    Class = 4,
    /// Terminal events (revoked, expired), by state.
    Terminal = 5,
    /// Who reported sightings of an indicator, by its handle: the first sighting
    /// of each reporter, beside its number.
    Reporter = 6,
    /// Versions that end by themselves, by the hour of their `valid_until`:
    /// see [`expiry_term`]. A later version of the record makes one void.
    Expiry = 7,
    /// Collisions of an indicator, by its handle; each names the other's
    /// record.
    Collision = 8,
    /// Sightings of an indicator by one reporter, see [`sighting_term`]: each
    /// beside the number of its audience class.
    Sighting = 9,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 9] = [
        Self::Owner,
        Self::Kind,
        Self::Label,
        Self::Class,
        Self::Terminal,
        Self::Reporter,
        Self::Expiry,
        Self::Collision,
        Self::Sighting,
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

/// The term of one reporter's sightings of an indicator: the first eight bytes
/// of the SHA-256 of both.
#[must_use]
pub fn sighting_term(indicator: Position, reporter: OrgNo) -> u64 {
    let digest =
        digest::sha256(&[indicator.raw().to_be_bytes().as_slice(), &reporter.0.to_be_bytes()].concat());
    u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
}

/// The term in the key of a block of postings.
#[must_use]
pub fn posting_term(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(2..POSTING_PREFIX_BYTES)?.try_into().ok()?))
}

/// The term of a label.
#[must_use]
pub fn label_term(label: &str) -> u64 {
    digest::sha256_u64(label.as_bytes())
}

/// The term of a role, by its number.
#[must_use]
pub fn role_term(number: u8) -> u64 {
    // No label holds a control character, so none has the term of these.
    digest::sha256_u64(&[b"role\0".as_slice(), &[number]].concat())
}

/// The term of a family of malware, in whatever case.
#[must_use]
pub fn family_term(family: &str) -> u64 {
    digest::sha256_u64(format!("family\0{}", family.to_lowercase()).as_bytes())
}

/// The term of a campaign, in whatever case.
#[must_use]
pub fn campaign_term(campaign: &str) -> u64 {
    digest::sha256_u64(format!("campaign\0{}", campaign.to_lowercase()).as_bytes())
}

/// All terms by which filters find an indicator: of its labels, and of its
/// role, its family and its campaign where it says them.
#[must_use]
pub fn terms(labels: &[String], role: u8, family: &str, campaign: &str) -> Vec<u64> {
    let mut terms: Vec<_> = labels.iter().map(|label| label_term(label)).collect();
    terms.extend((role != 0).then(|| role_term(role)));
    terms.extend((!family.is_empty()).then(|| family_term(family)));
    terms.extend((!campaign.is_empty()).then(|| campaign_term(campaign)));
    terms
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
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn key_order_is_position_order(a: u64, b: u64) {
            let (pa, pb) = (Position::from_raw(a), Position::from_raw(b));
            prop_assert_eq!(log(pa).cmp(&log(pb)), a.cmp(&b));
            prop_assert_eq!(number_of(&log(pa)), Some(a));
            prop_assert_eq!(posting_term(&posting(Dimension::Expiry, a, pb)), Some(a));
            prop_assert_eq!(
                posting(Dimension::Kind, 5, pa).cmp(&posting(Dimension::Kind, 5, pb)),
                a.cmp(&b)
            );
        }

        #[test]
        fn address_keys_sort_as_addresses(a: u32, b: u32) {
            let key = |n: u32| value(&Observable::Ipv4(Ipv4Addr::from(n)));
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }

        #[test]
        fn the_key_of_a_network_tells_it(v4: u32, v6: u128, short in 0..32_u8, long in 0..128_u8) {
            for (ip, length) in [(IpAddr::from(v4.to_be_bytes()), short), (IpAddr::from(v6.to_be_bytes()), long)] {
                let net = IpNet::new(ip, length).unwrap().trunc();
                prop_assert_eq!(network_of(&value(&Observable::Cidr(net))), Some(net));
            }
            prop_assert_eq!(network_of(&value(&Observable::Ipv4(Ipv4Addr::from(v4)))), None);
        }

        #[test]
        fn unequal_values_have_unequal_keys(a in "[a-z]{1,90}", b in "[a-z]{1,90}") {
            let key = |text: &str| value(&Observable::Url(text.into()));
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }

    #[test]
    fn key_kinds_keep_their_bytes() {
        let bytes: Vec<u8> = [
            KeyKind::Meta,
            KeyKind::Log,
            KeyKind::Value,
            KeyKind::Latest,
            KeyKind::Posting,
            KeyKind::Counter,
            KeyKind::Request,
            KeyKind::Directory,
            KeyKind::Certificate,
            KeyKind::Leave,
            KeyKind::Record,
            KeyKind::Audit,
            KeyKind::Tile,
            KeyKind::Cursor,
            KeyKind::Receipt,
        ]
        .map(KeyKind::byte)
        .to_vec();
        assert_eq!(
            bytes,
            [0x01, 0x10, 0x20, 0x21, 0x30, 0x31, 0x40, 0x50, 0x51, 0x52, 0x60, 0x70, 0x71, 0x80, 0x81]
        );
    }

    #[test]
    fn kinds_and_spellings_of_an_endpoint_never_share_a_key() {
        let of = |kind, text: &str| value(&Observable::from_canonical(kind, text).unwrap());
        let text = "e7d705a3286e19ea42f587b344ee6865";
        let keys = [
            of(Kind::Md5, text),
            of(Kind::Imphash, text),
            of(Kind::Ja3, text),
            of(Kind::Mutex, text),
            of(Kind::Endpoint, "192.0.2.1:80"),
            of(Kind::Endpoint, "[2001:db8::1]:80"),
            of(Kind::Endpoint, "a.example:80"),
            of(Kind::Domain, "a.example"),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn what_is_said_of_the_attack_has_terms_of_its_own() {
        let labels = ["victim", "a"].map(str::to_owned);
        let all = terms(&labels, 1, "a", "A");
        assert_eq!(
            all,
            [label_term("victim"), label_term("a"), role_term(1), family_term("A"), campaign_term("a")]
        );
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
        assert!(terms(&[], 0, "", "").is_empty());
    }

    #[test]
    fn a_value_of_65_bytes_stands_as_its_digest() {
        assert_eq!(value(&Observable::Url("u".repeat(64).into())).len(), 3 + 64);
        assert_eq!(value(&Observable::Url("u".repeat(65).into())).len(), 3 + 32);
    }
}
