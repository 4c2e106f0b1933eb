//! Decides what an observable is: a kind and one canonical value.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::base::digest;

/// The kinds of observable. Numbers are stored and sent: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An IPv4 address.
    Ipv4 = 1,
    /// An IPv6 address.
    Ipv6 = 2,
    /// An IP network.
    Cidr = 3,
    /// An address and a port.
    Endpoint = 4,
    /// A host name.
    Domain = 5,
    /// A URL.
    Url = 6,
    /// A file by its MD5.
    Md5 = 7,
    /// A file by its SHA-1.
    Sha1 = 8,
    /// A file by its SHA-256.
    Sha256 = 9,
}

impl Kind {
    /// Every kind, in order of number.
    pub const ALL: [Self; 9] = [
        Self::Ipv4,
        Self::Ipv6,
        Self::Cidr,
        Self::Endpoint,
        Self::Domain,
        Self::Url,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The number that is stored and sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind's name at the prompt and in JSON lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Cidr => "cidr",
            Self::Endpoint => "endpoint",
            Self::Domain => "domain",
            Self::Url => "url",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether this kind names a file by a hash.
    #[must_use]
    pub const fn is_hash(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1 | Self::Sha256)
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
}

impl Observable {
    /// The kind of this observable.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ipv4(_) => Kind::Ipv4,
            Self::Ipv6(_) => Kind::Ipv6,
            Self::Cidr(_) => Kind::Cidr,
            Self::Endpoint(_) => Kind::Endpoint,
            Self::Domain(_) => Kind::Domain,
            Self::Url(_) => Kind::Url,
            Self::Md5(_) => Kind::Md5,
            Self::Sha1(_) => Kind::Sha1,
            Self::Sha256(_) => Kind::Sha256,
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
            Self::Domain(text) | Self::Url(text) => out.extend_from_slice(text.as_bytes()),
            Self::Md5(hash) => out.extend_from_slice(hash),
            Self::Sha1(hash) => out.extend_from_slice(hash),
            Self::Sha256(hash) => out.extend_from_slice(hash),
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
            Self::Domain(text) | Self::Url(text) => f.write_str(text),
            Self::Md5(hash) => f.write_str(&digest::hex(hash)),
            Self::Sha1(hash) => f.write_str(&digest::hex(hash)),
            Self::Sha256(hash) => f.write_str(&digest::hex(hash)),
        }
    }
}

impl fmt::Debug for Observable {
    /// The kind only: indicator values do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observable({})", self.kind())
    }
}
