//! Decides what a warninglist is: values of which people should think twice
//! before they act on them, and what the hub does where one is published.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::indicator::Kind;
use super::numbered::numbered;

/// Most lists of one hub, but for those that are built in.
pub const MAX_LISTS: usize = 512;
/// Most entries of one list.
pub const MAX_ENTRIES: usize = 2_000_000;
/// Longest entry, in bytes.
pub const MAX_ENTRY_BYTES: usize = 1_024;
/// Longest name of a list, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest slug of a list, in bytes.
pub const MAX_SLUG_BYTES: usize = 64;

numbered! {
    /// What a list is for, the strictest last. Numbers are stored and sent.
    #[derive(PartialOrd, Ord)]
    pub enum Mode {
        /// The publisher is told.
        Inform = 1 is "inform",
        /// A recommendation to block waits for a second person.
        Hold = 2 is "hold",
        /// The value is refused.
        Block = 3 is "block",
    }
}

numbered! {
    /// How the entries of a list are held against a value, named as MISP does.
    pub enum Matching {
        /// The whole value; from a leading dot on, as a hostname.
        Exact = 1 is "string",
        /// A host name and all names under it.
        Hostname = 2 is "hostname",
        /// A part of the value.
        Substring = 3 is "substring",
        /// A regular expression.
        Regex = 4 is "regex",
        /// An address or a network, and all in it.
        Network = 5 is "cidr",
    }
}

/// What the hub does with which list, unless it is told otherwise: to block what
/// stands on these breaks more than it mends, everywhere. All others inform.
const PROTECTIVE: [&str; 29] = [
    "akamai",
    "amazon-aws",
    "apple",
    "bank-website",
    "captive-portals",
    "cloudflare",
    "common-ioc-false-positive",
    "crl-hostname",
    "crl-ip",
    "empty-hashes",
    "fastly",
    "google",
    "google-gcp",
    "ipv6-linklocal",
    "microsoft",
    "microsoft-azure",
    "microsoft-office365",
    "microsoft-office365-ip",
    "microsoft-win10-connection-endpoints",
    "mozilla-CA",
    "mozilla-IntermediateCA",
    "multicast",
    "public-dns-hostname",
    "public-dns-v4",
    "public-dns-v6",
    "rfc1918",
    "rfc5735",
    "rfc6598",
    "tlds",
];

/// What begins the short name of an operator's own list that protects, such as
/// `protect-hanoi`.
pub const PROTECT_PREFIX: &str = "protect-";

/// The mode of a list of which the configuration says nothing.
#[must_use]
pub fn usual_mode(slug: &str) -> Mode {
    if PROTECTIVE.contains(&slug) || slug.starts_with(PROTECT_PREFIX) { Mode::Hold } else { Mode::Inform }
}

/// Which lists a hub has, and in which modes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Where they lie, one file each, named by its short name and `.json`.
    pub directory: PathBuf,
    /// The modes of those that are not in their usual one.
    pub modes: BTreeMap<String, Mode>,
}

impl Settings {
    /// The mode of a list.
    #[must_use]
    pub fn mode(&self, slug: &str) -> Mode {
        self.modes.get(slug).copied().unwrap_or_else(|| usual_mode(slug))
    }

    /// The mode of one that is built in, which are all meant to protect.
    #[must_use]
    pub fn mode_of_built_in(&self, slug: &str) -> Mode {
        self.modes.get(slug).copied().unwrap_or(Mode::Hold)
    }
}

/// A set of kinds of observables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u64);

impl Kinds {
    /// None.
    pub const NONE: Self = Self(0);

    /// These.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        kinds.iter().fold(Self::NONE, |set, kind| set.union(Self(1 << (kind.number() & 63))))
    }

    /// All but rules: what those say is for machines that match them.
    #[must_use]
    pub fn values() -> Self {
        Kind::ALL
            .iter()
            .filter(|kind| !kind.is_rule())
            .fold(Self::NONE, |set, kind| set.union(Self::of(&[*kind])))
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it holds `kind`.
    #[must_use]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << (kind.number() & 63)) != 0
    }

    /// Whether it holds no kind.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A list as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Warninglist {
    /// Its short name, which configurations and answers give: see [`is_slug`].
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Version that its makers gave it.
    pub version: u64,
    /// How entries are held against values.
    pub matching: Matching,
    /// The kinds of values that it speaks of.
    pub kinds: Kinds,
    /// The entries, as they were written.
    pub entries: Vec<String>,
}

impl std::fmt::Debug for Warninglist {
    /// Entries may be many.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Warninglist({} version {}, {} entries)", self.slug, self.version, self.entries.len())
    }
}

/// Whether `text` may be the short name of a list: `a-z`, `A-Z`, `0-9`, `-`,
/// `_` and `.`, not first, at most 64 bytes.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX_SLUG_BYTES).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(fits)
}

/// What was found out about a value that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What became of the item.
    pub outcome: Outcome,
    /// The lists that hold the value and say so.
    pub lists: Vec<ListName>,
}

/// A list, for whoever is told of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListName {
    /// Its short name.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Version that its makers gave it.
    pub version: u64,
}

numbered! {
    /// What lists made of an item. Numbers are stored and sent.
    #[derive(PartialOrd, Ord)]
    pub enum Outcome {
        /// It was taken as it is.
        Informed = 1 is "informed",
        /// It was taken, and what it recommends went out as `monitor`.
        Held = 2 is "held",
        /// It was refused.
        Refused = 3 is "refused",
    }
}

/// Most lists that a finding names.
pub const MAX_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_no_path() {
        for (slug, fits) in [
            ("rfc1918", true),
            ("public-dns-v4.subset", true),
            ("mozilla-CA", true),
            ("", false),
            ("..", false),
            (".hidden", false),
            ("a/b", false),
            ("tiếng-việt", false),
        ] {
            assert_eq!(is_slug(slug), fits, "{slug}");
        }
    }

    #[test]
    fn lists_that_protect_hold_and_all_others_inform_unless_told_otherwise() {
        let modes = BTreeMap::from([("rfc1918".to_owned(), Mode::Block), ("gov".to_owned(), Mode::Inform)]);
        let settings = Settings { modes, ..Settings::default() };
        for (slug, mode) in [
            ("rfc1918", Mode::Block),
            ("cloudflare", Mode::Hold),
            ("protect-hanoi", Mode::Hold),
            ("tranco", Mode::Inform),
        ] {
            assert_eq!(settings.mode(slug), mode, "{slug}");
        }
        assert_eq!(settings.mode_of_built_in("other"), Mode::Hold);
        assert_eq!(settings.mode_of_built_in("gov"), Mode::Inform);
    }

    #[test]
    fn a_set_holds_the_kinds_it_was_made_of() {
        let some = Kinds::of(&[Kind::Ipv4, Kind::StixPattern]);
        let held: Vec<_> = Kind::ALL.iter().filter(|kind| some.contains(**kind)).collect();
        assert_eq!(held, [&Kind::Ipv4, &Kind::StixPattern]);
        assert!(!Kinds::values().contains(Kind::Yara) && Kinds::values().contains(Kind::Phone));
    }
}
