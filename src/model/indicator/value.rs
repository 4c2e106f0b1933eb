//! Decides what an observable is: a kind and one canonical value.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::base::digest;
use crate::model::numbered::numbered;

use super::draft::{MAX_RULE_BYTES, MAX_VALUE_BYTES};
use super::normalise;

numbered! {
    /// The kinds of observable. Numbers are stored and sent: never reuse one.
    #[derive(PartialOrd, Ord)]
    pub enum Kind {
        /// An IPv4 address.
        Ipv4 = 1 is "ipv4",
        /// An IPv6 address.
        Ipv6 = 2 is "ipv6",
        /// An IP network.
        Cidr = 3 is "cidr",
        /// An address or a host name, and a port.
        Endpoint = 4 is "endpoint",
        /// A host name.
        Domain = 5 is "domain",
        /// A URL.
        Url = 6 is "url",
        /// A file by its MD5.
        Md5 = 7 is "md5",
        /// A file by its SHA-1.
        Sha1 = 8 is "sha1",
        /// A file by its SHA-256.
        Sha256 = 9 is "sha256",
        /// A file by its SHA-512.
        Sha512 = 10 is "sha512",
        /// An e-mail address.
        Email = 11 is "email",
        /// A vulnerability by its CVE number.
        Cve = 12 is "cve",
        /// An autonomous system.
        Asn = 13 is "asn",
        /// A file's name or path.
        FileName = 14 is "file-name",
        /// A file's size in bytes.
        FileSize = 15 is "file-size",
        /// A fuzzy hash of a file by ssdeep.
        Ssdeep = 16 is "ssdeep",
        /// A fuzzy hash of a file by TLSH.
        Tlsh = 17 is "tlsh",
        /// The hash of an executable's imports.
        Imphash = 18 is "imphash",
        /// A certificate by the SHA-1 or SHA-256 of its DER.
        Certificate = 19 is "certificate",
        /// A TLS client by its JA3.
        Ja3 = 20 is "ja3",
        /// A TLS client by its JA4.
        Ja4 = 21 is "ja4",
        /// What an HTTP client calls itself.
        UserAgent = 22 is "user-agent",
        /// A named mutex.
        Mutex = 23 is "mutex",
        /// A key of the Windows registry.
        RegistryKey = 24 is "registry-key",
        /// A telephone number.
        Phone = 25 is "phone",
        /// A bank account.
        BankAccount = 26 is "bank-account",
        /// An address of a cryptocurrency.
        CryptoAddress = 27 is "crypto-address",
        /// YARA rules.
        Yara = 28 is "yara",
        /// A Sigma rule.
        Sigma = 29 is "sigma",
        /// Suricata or Snort rules.
        Suricata = 30 is "suricata",
        /// A STIX pattern.
        StixPattern = 31 is "stix-pattern",
    }
}

impl Kind {
    /// Every kind's name, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether this kind names a file by a hash that no other file has.
    #[must_use]
    pub const fn is_hash(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha512)
    }

    /// Whether values of this kind are rules: texts of many lines, kept as
    /// they are given.
    #[must_use]
    pub const fn is_rule(self) -> bool {
        matches!(self, Self::Yara | Self::Sigma | Self::Suricata | Self::StixPattern)
    }

    /// Whether values of this kind may hold blanks, and any sign after them.
    #[must_use]
    pub const fn may_hold_blanks(self) -> bool {
        matches!(self, Self::FileName | Self::UserAgent | Self::Mutex | Self::RegistryKey)
    }

    /// Longest value of this kind, in bytes.
    #[must_use]
    pub const fn max_bytes(self) -> usize {
        if self.is_rule() { MAX_RULE_BYTES } else { MAX_VALUE_BYTES }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind and its one canonical value. Only [`super::normalise`] makes one
/// from text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observable {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address; never an IPv4-mapped one.
    Ipv6(Ipv6Addr),
    /// An IP network without host bits.
    Cidr(IpNet),
    /// An address and a port.
    Endpoint(SocketAddr),
    /// A host name and a port, as `name:port`; of the kind endpoint too.
    NamedEndpoint(Box<str>),
    /// A host name: A-labels, lower case, no final dot.
    Domain(Box<str>),
    /// A URL as the WHATWG URL Standard serialises it.
    Url(Box<str>),
    /// MD5 of a file.
    Md5([u8; 16]),
    /// SHA-1 of a file.
    Sha1([u8; 20]),
    /// SHA-256 of a file.
    Sha256([u8; 32]),
    /// SHA-512 of a file.
    Sha512(Box<[u8; 64]>),
    /// A value of any other kind.
    Written(Written),
}

/// A value whose canonical form is text and nothing more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Written {
    kind: Kind,
    text: Box<str>,
}

impl fmt::Debug for Written {
    /// The kind only: indicator values do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Written({})", self.kind)
    }
}

impl Observable {
    /// A value of one of the kinds that are text and nothing more.
    pub(super) fn written(kind: Kind, text: impl Into<Box<str>>) -> Self {
        Self::Written(Written { kind, text: text.into() })
    }

    /// The observable of a canonical text, such as one that was stored, by
    /// whatever rules held when it was read. `None` if the text is damaged.
    #[must_use]
    pub fn from_canonical(kind: Kind, text: &str) -> Option<Self> {
        Some(match kind {
            Kind::Ipv4 => Self::Ipv4(text.parse().ok()?),
            Kind::Ipv6 => Self::Ipv6(text.parse().ok()?),
            Kind::Cidr => Self::Cidr(text.parse().ok()?),
            Kind::Endpoint => match text.parse() {
                Ok(at) => Self::Endpoint(at),
                Err(_) => Self::NamedEndpoint(text.into()),
            },
            Kind::Domain => Self::Domain(text.into()),
            Kind::Url => Self::Url(text.into()),
            Kind::Md5 | Kind::Sha1 | Kind::Sha256 | Kind::Sha512 => {
                return normalise::hash(text).filter(|hash| hash.kind() == kind);
            }
            other => Self::written(other, text),
        })
    }

    /// The canonical text where it is at hand as it is.
    #[must_use]
    pub const fn as_text(&self) -> Option<&str> {
        match self {
            Self::Domain(text)
            | Self::Url(text)
            | Self::NamedEndpoint(text)
            | Self::Written(Written { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// The kind of this observable.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ipv4(_) => Kind::Ipv4,
            Self::Ipv6(_) => Kind::Ipv6,
            Self::Cidr(_) => Kind::Cidr,
            Self::Endpoint(_) | Self::NamedEndpoint(_) => Kind::Endpoint,
            Self::Domain(_) => Kind::Domain,
            Self::Url(_) => Kind::Url,
            Self::Md5(_) => Kind::Md5,
            Self::Sha1(_) => Kind::Sha1,
            Self::Sha256(_) => Kind::Sha256,
            Self::Sha512(_) => Kind::Sha512,
            Self::Written(written) => written.kind,
        }
    }

    /// Appends the value's key bytes: unequal values of one kind have unequal
    /// key bytes, and addresses and networks sort by number.
    pub fn write_key(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ipv4(ip) => out.extend_from_slice(&ip.octets()),
            Self::Ipv6(ip) => out.extend_from_slice(&ip.octets()),
            Self::Cidr(IpNet::V4(net)) => {
                out.push(4);
                out.extend_from_slice(&net.network().octets());
                out.push(net.prefix_len());
            }
            Self::Cidr(IpNet::V6(net)) => {
                out.push(6);
                out.extend_from_slice(&net.network().octets());
                out.push(net.prefix_len());
            }
            Self::Endpoint(SocketAddr::V4(at)) => {
                out.push(4);
                out.extend_from_slice(&at.ip().octets());
                out.extend_from_slice(&at.port().to_be_bytes());
            }
            Self::Endpoint(SocketAddr::V6(at)) => {
                out.push(6);
                out.extend_from_slice(&at.ip().octets());
                out.extend_from_slice(&at.port().to_be_bytes());
            }
            // Neither 4 nor 6, which begin the addresses.
            Self::NamedEndpoint(text) => {
                out.push(0);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Domain(text) | Self::Url(text) | Self::Written(Written { text, .. }) => {
                out.extend_from_slice(text.as_bytes());
            }
            Self::Md5(hash) => out.extend_from_slice(hash),
            Self::Sha1(hash) => out.extend_from_slice(hash),
            Self::Sha256(hash) => out.extend_from_slice(hash),
            Self::Sha512(hash) => out.extend_from_slice(&**hash),
        }
    }
}

impl fmt::Display for Observable {
    /// The canonical text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(ip) => ip.fmt(f),
            Self::Ipv6(ip) => ip.fmt(f),
            Self::Cidr(net) => net.fmt(f),
            Self::Endpoint(at) => at.fmt(f),
            Self::Domain(text)
            | Self::Url(text)
            | Self::NamedEndpoint(text)
            | Self::Written(Written { text, .. }) => f.write_str(text),
            Self::Md5(hash) => f.write_str(&digest::hex(hash)),
            Self::Sha1(hash) => f.write_str(&digest::hex(hash)),
            Self::Sha256(hash) => f.write_str(&digest::hex(hash)),
            Self::Sha512(hash) => f.write_str(&digest::hex(&**hash)),
        }
    }
}

impl fmt::Debug for Observable {
    /// The kind only: indicator values do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observable({})", self.kind())
    }
}
