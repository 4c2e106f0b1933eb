//! Decides how the making of a canonical form is told, step by step.
//!
//! The steps are read off the text and the result; none shows a value.

use super::super::{Kind, Observable};
use super::{Canonical, detect, email, is_invisible_edge, observable, refang};
use crate::model::Invalid;

/// What becomes of a text, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What it is, or why it is refused.
    pub read: Result<Canonical, Invalid>,
    /// How its kind is known and what was changed; empty where it is refused.
    pub steps: Vec<&'static str>,
}

/// Reads `text` as `kind`, or as whatever kind it has, and tells why.
#[must_use]
pub fn explain(kind: Option<Kind>, text: &str) -> Explained {
    let read = kind.map_or_else(|| detect(text), |kind| observable(kind, text));
    let steps = read.as_ref().map(|canonical| steps(kind, text, canonical)).unwrap_or_default();
    Explained { read, steps }
}

fn steps(asked: Option<Kind>, text: &str, read: &Canonical) -> Vec<&'static str> {
    let canonical = read.observable.to_string();
    let kind = read.observable.kind();
    let mut steps = vec![match asked {
        None => recognised(kind),
        Some(asked) if asked == kind => "the kind is the one named",
        Some(Kind::Cidr) => "a network of one address is that address",
        Some(_) => "an IPv4-mapped address is the IPv4 address",
    }];
    if read.raw.is_none() {
        steps.push("it is in canonical form already");
        return steps;
    }
    let value = text.trim_matches(is_invisible_edge);
    if value.len() < text.len() {
        steps.push("white space and invisible characters around it are dropped");
    }
    if is_defanged(kind, value) {
        steps.push("marks of defanging are undone");
    }
    steps.extend(changes(kind, value, &canonical, &read.observable));
    if steps.len() == 1 {
        steps.push("it is written in the canonical form of its kind");
    }
    steps
}

/// How a kind that nobody named is known.
const fn recognised(kind: Kind) -> &'static str {
    match kind {
        Kind::Ipv4 => "four decimal numbers are an IPv4 address",
        Kind::Ipv6 => "it reads as an IPv6 address",
        Kind::Cidr => "an address, a slash and a number are a network",
        Kind::Endpoint => "an address or a host name, a colon and a number are an endpoint",
        Kind::Domain => "labels with dots between, and nothing else, are a host name",
        Kind::Url => "a scheme and ://, or a host and a path, are a URL",
        Kind::Md5 => "32 hexadecimal digits are an MD5; imphash and JA3 are named",
        Kind::Sha1 => "40 hexadecimal digits are a SHA-1 of a file; a certificate's is named",
        Kind::Sha256 => "64 hexadecimal digits are a SHA-256 of a file; a certificate's is named",
        Kind::Sha512 => "128 hexadecimal digits are a SHA-512",
        Kind::Email => "an @ without a path is an e-mail address",
        Kind::Cve => "CVE, a year and a number are a vulnerability",
        Kind::Asn => "AS and a number are an autonomous system",
        Kind::Ssdeep => "a block size and two hashes are ssdeep",
        Kind::Tlsh => "T1 and 70 hexadecimal digits are a TLSH",
        Kind::Ja4 => "three parts of that shape are a JA4",
        Kind::CryptoAddress => "its checksum is that of a cryptocurrency address",
        _ => "the kind is the one named",
    }
}

fn is_defanged(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Ipv4 => refang::commas(value) != value,
        Kind::Ipv6 | Kind::Cidr => refang::host(value) != value,
        Kind::Endpoint | Kind::Domain => refang::host_named(value) != value,
        Kind::Email => email::is_marked(value),
        Kind::Url => match refang::parts(value) {
            Some(parts) => {
                !value
                    .get(..parts.scheme.len())
                    .is_some_and(|given| given.eq_ignore_ascii_case(&parts.scheme))
                    || !value.contains("://")
                    || !value.contains(&*parts.host)
                    || refang::tail(value) != value
            }
            None => refang::host(refang::split_authority(value).0) != refang::split_authority(value).0,
        },
        _ => false,
    }
}

/// What else became of a value of this kind.
fn changes(kind: Kind, value: &str, canonical: &str, observable: &Observable) -> Vec<&'static str> {
    let upper = value.bytes().any(|b| b.is_ascii_uppercase());
    let mut steps = Vec::new();
    let mut note = |holds: bool, step| {
        if holds {
            steps.push(step);
        }
    };
    match kind {
        Kind::Ipv4 => {
            note(value.contains(':'), "an IPv4-mapped IPv6 address is the IPv4 address");
            note(value.contains('/'), "a network of one address is that address");
        }
        Kind::Ipv6 => note(true, "written by RFC 5952: lower case, short, without brackets"),
        Kind::Cidr => note(true, "bits beyond the prefix are cleared, the address is written short"),
        Kind::Domain | Kind::Endpoint | Kind::Email => {
            note(
                !value.is_ascii() && canonical.contains("xn--"),
                "letters beyond ASCII are written as A-labels (UTS #46)",
            );
            note(upper, "letters are in lower case");
            note(value.ends_with('.') || value.contains(".:"), "the final dot of the name is dropped");
            note(email::is_link(value) || value.starts_with('<'), "mailto: and angle brackets are dropped");
            note(
                !value.is_ascii() && !canonical.contains("xn--"),
                "letters are mapped to their plain forms and invisible ones dropped (UTS #46)",
            );
            note(value.contains("::"), "the address is written by RFC 5952, an IPv4-mapped one as IPv4");
        }
        Kind::Url => {
            note(
                refang::parts(value).is_none() && !canonical.starts_with("magnet"),
                "http:// is put in front of a host with a path",
            );
            note(
                !value.is_ascii() && canonical.contains("xn--"),
                "letters of the host are written as A-labels (UTS #46)",
            );
            note(upper, "scheme and host are in lower case; path and query keep theirs");
            note(canonical.contains('%') && !value.contains('%'), "characters that must be escaped are");
            note(
                true,
                "serialised by the URL Standard: default port dropped, . and .. resolved, a path given",
            );
        }
        Kind::Tlsh => note(true, "written with its version T1 and in upper case"),
        Kind::Cve => note(true, "written in upper case"),
        Kind::Asn => note(true, "written as AS and the number in decimal"),
        Kind::RegistryKey => {
            note(true, "the hive is written in full, the path in lower case, as the registry knows no case")
        }
        Kind::Phone => {
            note(true, "written as E.164: plus, country code, number; without one it is Vietnamese")
        }
        Kind::BankAccount => {
            note(true, "written as the bank's number or BIC, a colon and the account, without separators")
        }
        Kind::CryptoAddress => {
            note(canonical != value, "written as its own rules do: Bech32 in lower case, Ethereum by EIP-55")
        }
        Kind::Certificate => note(true, "written as lower-case hexadecimal without separators"),
        _ => note(upper && observable.as_text() != Some(value), "letters are in lower case"),
    }
    steps
}
