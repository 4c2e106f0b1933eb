//! Decides how far a record may travel: a TLP 2.0 label, an audience, caveats.

use super::org::OrgSlug;
use super::principal::SpiffeId;

/// Traffic Light Protocol 2.0 (FIRST). Numbers are stored and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tlp {
    /// Anyone.
    Clear = 1,
    /// Every member of the hub.
    Green = 2,
    /// The named organisations and their clients.
    Amber = 3,
    /// The named organisations only.
    AmberStrict = 4,
    /// The named persons only.
    Red = 5,
}

impl Tlp {
    /// Every label, from the widest to the narrowest.
    pub const ALL: [Self; 5] = [Self::Clear, Self::Green, Self::Amber, Self::AmberStrict, Self::Red];

    /// The number that is stored and sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The label with this number; an unknown number is read as RED.
    #[must_use]
    pub const fn from_number_or_red(number: u8) -> Self {
        match number {
            1 => Self::Clear,
            2 => Self::Green,
            3 => Self::Amber,
            4 => Self::AmberStrict,
            _ => Self::Red,
        }
    }

    /// The label as FIRST writes it, such as `TLP:AMBER+STRICT`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "TLP:CLEAR",
            Self::Green => "TLP:GREEN",
            Self::Amber => "TLP:AMBER",
            Self::AmberStrict => "TLP:AMBER+STRICT",
            Self::Red => "TLP:RED",
        }
    }

    /// Reads a label with or without `TLP:`, in any case; `WHITE`, its name
    /// before TLP 2.0, is CLEAR.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        match upper.strip_prefix("TLP:").unwrap_or(&upper) {
            "CLEAR" | "WHITE" => Some(Self::Clear),
            "GREEN" => Some(Self::Green),
            "AMBER" => Some(Self::Amber),
            "AMBER+STRICT" => Some(Self::AmberStrict),
            "RED" => Some(Self::Red),
            _ => None,
        }
    }
}

/// Restrictions and leave that the source adds. Stored as bits: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Caveats(u8);

impl Caveats {
    /// Watch for the value, do not block it.
    pub const WATCH_DO_NOT_BLOCK: Self = Self(1);
    /// Providers that act for a recipient may read too.
    pub const PROVIDERS_MAY_READ: Self = Self(1 << 1);
    /// The owner and the recipients are shown to the owner and, if it may see
    /// the record at all, the lead unit.
    pub const MASKED_SOURCE: Self = Self(1 << 2);
    /// Not to be passed to feeds or exports outside the hub.
    pub const NO_ONWARD_FEED: Self = Self(1 << 3);
    /// No caveat.
    pub const NONE: Self = Self(0);
    /// Every caveat that has a meaning.
    const KNOWN: u8 = 0b1111;

    /// From stored bits; `None` if one has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits to store.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` hold.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of those that hold, at the prompt and in JSON lines.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (Self::WATCH_DO_NOT_BLOCK, "watch-do-not-block"),
            (Self::PROVIDERS_MAY_READ, "providers-may-read"),
            (Self::MASKED_SOURCE, "masked-source"),
            (Self::NO_ONWARD_FEED, "no-onward-feed"),
        ];
        all.into_iter().filter(move |(caveat, _)| self.contains(*caveat)).map(|(_, name)| name)
    }
}

/// Whom a label is addressed to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Recipients {
    /// Organisations, sorted, without repeats.
    pub organisations: Vec<OrgSlug>,
    /// Groups, sorted, without repeats.
    pub groups: Vec<OrgSlug>,
    /// Persons, sorted, without repeats.
    pub principals: Vec<SpiffeId>,
}

/// One of those whom a marking names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// An organisation.
    Organisation(&'a OrgSlug),
    /// A group of organisations.
    Group(&'a OrgSlug),
    /// A person.
    Principal(&'a SpiffeId),
}

impl Recipients {
    /// Everyone named: organisations, then groups, then persons.
    pub fn iter(&self) -> impl Iterator<Item = Recipient<'_>> {
        let organisations = self.organisations.iter().map(Recipient::Organisation);
        let groups = self.groups.iter().map(Recipient::Group);
        organisations.chain(groups).chain(self.principals.iter().map(Recipient::Principal))
    }

    /// Whether nobody is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.organisations.is_empty() && self.groups.is_empty() && self.principals.is_empty()
    }
}

/// How far a record may travel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marking {
    /// The label.
    pub tlp: Tlp,
    /// Whom it is addressed to; empty for CLEAR and GREEN, and reaching nobody
    /// but the owner when empty for the rest.
    pub recipients: Recipients,
    /// What the source adds.
    pub caveats: Caveats,
}

impl Marking {
    /// Whether the source is masked: neither the owner nor the recipients are
    /// for every reader.
    #[must_use]
    pub const fn is_masked(&self) -> bool {
        self.caveats.contains(Caveats::MASKED_SOURCE)
    }

    /// A marking for everyone that `tlp` reaches without naming anyone.
    #[must_use]
    pub const fn open(tlp: Tlp) -> Self {
        Self {
            tlp,
            recipients: Recipients { organisations: Vec::new(), groups: Vec::new(), principals: Vec::new() },
            caveats: Caveats::NONE,
        }
    }
}
