//! Decides who a caller is: the one SPIFFE identity of its certificate, and
//! the roles that the roster gives it.

use std::fmt;
use std::sync::Arc;

use super::Invalid;
use super::org::OrgSlug;

/// Longest name of a system or user, in bytes.
pub const MAX_NAME_BYTES: usize = 63;

/// Whether a machine or a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A machine.
    System,
    /// A person.
    User,
}

impl PrincipalKind {
    /// The path segment in the identity.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// `spiffe://<trust-domain>/org/<slug>/(system|user)/<name>`: the only thing
/// in a certificate that says who its holder is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    org: OrgSlug,
    kind: PrincipalKind,
    trust_domain_len: usize,
}

impl SpiffeId {
    /// Reads an identity, byte for byte: no percent-encoding, no upper case,
    /// no empty or further segment, no query.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const FORM: &str = "an identity reads spiffe://<trust-domain>/org/<organisation>/(system|user)/<name>, in lower case";
        let wrong = || Invalid::new("", FORM);
        let rest = text.strip_prefix("spiffe://").ok_or_else(wrong)?;
        let mut segments = rest.split('/');
        let (Some(domain), Some("org"), Some(org), Some(kind), Some(name), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return Err(wrong());
        };
        check_trust_domain(domain)?;
        let kind = match kind {
            "system" => PrincipalKind::System,
            "user" => PrincipalKind::User,
            _ => return Err(wrong()),
        };
        let named = !name.is_empty()
            && name.len() <= MAX_NAME_BYTES
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
            && name.bytes().any(|b| b != b'.');
        if !named {
            return Err(wrong());
        }
        let org = OrgSlug::parse(org).map_err(|_| wrong())?;
        Ok(Self { text: text.into(), org, kind, trust_domain_len: domain.len() })
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text
            .get("spiffe://".len()..)
            .and_then(|rest| rest.get(..self.trust_domain_len))
            .unwrap_or_default()
    }

    /// The organisation named.
    #[must_use]
    pub const fn org(&self) -> &OrgSlug {
        &self.org
    }

    /// Whether a machine or a person.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        self.kind
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks a trust domain: lower-case letters, digits, `-` and `.`, 1 to 255
/// bytes (SPIFFE-ID, section 2.1).
///
/// # Errors
/// What is wrong with it.
pub fn check_trust_domain(domain: &str) -> Result<(), Invalid> {
    let fits = (1..=255).contains(&domain.len())
        && domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    if fits {
        Ok(())
    } else {
        Err(Invalid::new("", "a trust domain holds a-z, 0-9, hyphens and dots, 1 to 255 bytes"))
    }
}

/// What a principal may be trusted with. Stored as bits: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Publishes, revokes, reports sightings.
    Publisher = 0,
    /// Receives events.
    Subscriber = 1,
    /// Asks the history.
    Analyst = 2,
    /// Coordinates response.
    Coordinator = 3,
    /// Runs the hub; reads no content.
    Operator = 4,
    /// Reads the audit; reads no content.
    Auditor = 5,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Publisher, Self::Subscriber, Self::Analyst, Self::Coordinator, Self::Operator, Self::Auditor];

    /// The role's name in rosters and at the prompt.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Analyst => "analyst",
            Self::Coordinator => "coordinator",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles(u8);

impl Roles {
    /// No role.
    pub const NONE: Self = Self(0);

    /// From stored bits; bits without a meaning are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0b11_1111)
    }

    /// The bits to store.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The same with `role`.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | (1 << (role as u8)))
    }

    /// Whether `role` is in the set.
    #[must_use]
    pub const fn contains(self, role: Role) -> bool {
        self.0 & (1 << (role as u8)) != 0
    }

    /// Whether the set shares a role with `other`.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The roles in the set.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |&role| self.contains(role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
