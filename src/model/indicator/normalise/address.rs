//! Decides the canonical forms of IP addresses, networks and endpoints:
//! dotted quads, RFC 5952, networks without host bits.
//!
//! An IPv4-mapped IPv6 address is an IPv4 address; a network of one address is
//! that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::model::Invalid;

use super::super::Observable;
use super::domain;

/// Bits before the IPv4 part of an IPv4-mapped address.
const MAPPED_BITS: u8 = 96;

/// Whether `text` is one address, in brackets or not.
pub(super) fn is_address(text: &str) -> bool {
    parse(text).is_some()
}

/// Reads one address of either family.
pub(super) fn any(text: &str) -> Result<Observable, Invalid> {
    parse(text).map(of_ip).ok_or_else(|| not_an_address(text))
}

/// Reads an IPv4 address.
pub(super) fn ipv4(text: &str) -> Result<Observable, Invalid> {
    match one_address(text)? {
        Observable::Ipv6(_) => Err(Invalid::new("", "is an IPv6 address: give it as ipv6")),
        address => Ok(address),
    }
}

/// Reads an IPv6 address; an IPv4-mapped one becomes the IPv4 address.
pub(super) fn ipv6(text: &str) -> Result<Observable, Invalid> {
    match one_address(text)? {
        Observable::Ipv4(_) if !text.contains(':') => {
            Err(Invalid::new("", "is an IPv4 address: give it as ipv4"))
        }
        address => Ok(address),
    }
}

/// Reads an address, or a network of one.
fn one_address(text: &str) -> Result<Observable, Invalid> {
    match network(text)? {
        Observable::Cidr(_) => Err(Invalid::new("", "is a network: give it as cidr")),
        address => Ok(address),
    }
}

/// Reads a network; bits beyond the prefix are cleared.
pub(super) fn network(text: &str) -> Result<Observable, Invalid> {
    let Some((address, prefix)) = text.split_once('/') else {
        return any(text);
    };
    let address = parse_as_written(address).ok_or_else(|| not_an_address(address))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = decimal(prefix)
        .and_then(|n| u8::try_from(n).ok())
        .filter(|&n| n <= bits)
        .ok_or_else(|| {
            let problem = format!(
                "has no valid prefix length: after the slash comes a number from 0 to {bits}, not a mask; if it is a \
                 path, write http:// in front"
            );
            Invalid::new("", problem)
        })?;
    let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(MAPPED_BITS)) {
        (mapped @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => (mapped, prefix),
        _ => (address, prefix),
    };
    let net = IpNet::new(address, prefix).map_err(|_| Invalid::new("", "has no valid prefix length"))?;
    if net.prefix_len() == net.max_prefix_len() {
        return Ok(of_ip(address));
    }
    Ok(Observable::Cidr(net.trunc()))
}

/// Reads an address or a host name, and a port.
pub(super) fn endpoint(text: &str) -> Result<Observable, Invalid> {
    let (host, port) = split_port(text).ok_or_else(|| {
        Invalid::new(
            "",
            "is not an address and a port: write 198.51.100.7:443, example.org:443, or [2001:db8::7]:443 for IPv6",
        )
    })?;
    let Some(address) = parse(host) else {
        if host.is_empty() || is_numeric(host) || host.starts_with('[') {
            return Err(not_an_address(host));
        }
        let name = domain::domain(host)?;
        return Ok(Observable::NamedEndpoint(format!("{name}:{}", port_number(port)?).into()));
    };
    let port = port_number(port)?;
    Ok(Observable::Endpoint(SocketAddr::new(address.to_canonical(), port)))
}

/// Whether `text` is an address, a colon and something more; or what may be a
/// host name, a colon and digits.
pub(super) fn looks_like_endpoint(text: &str) -> bool {
    split_port(text).is_some_and(|(host, port)| {
        is_address(host)
            || (host.contains('.')
                && !is_numeric(host)
                && !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// Whether a path is what stands after an address in a network: a number, or
/// a mask.
pub(super) fn looks_like_prefix(tail: &str) -> bool {
    let digits = tail.trim_start_matches('/');
    tail.len() == digits.len() + 1
        && !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Checks the decimal number of a port.
pub(super) fn port_number(text: &str) -> Result<u16, Invalid> {
    decimal(text)
        .and_then(|n| u16::try_from(n).ok())
        .filter(|&n| n > 0)
        .ok_or_else(|| Invalid::new("", "has no valid port: after the colon comes a number from 1 to 65535"))
}

/// Why `text` is not an address, for the forms that people do write.
pub(super) fn not_an_address(text: &str) -> Invalid {
    let problem = if text.contains(char::is_whitespace) {
        "holds white space: give one value at a time"
    } else if text.contains('%') {
        "has a zone id, which means something on one machine only: give the address without % and what follows"
    } else if is_numeric(text) {
        "is not an IPv4 address: write four decimal numbers from 0 to 255 without leading zeros, such as 198.51.100.7; \
         octal, hexadecimal and short forms are not taken"
    } else if text.matches(':').count() == 1 {
        "is neither an address and a port nor an IPv6 address: for a host name with a port give the host name alone, \
         or a URL with its scheme"
    } else {
        "is not an IP address: write 198.51.100.7 or 2001:db8::7"
    };
    Invalid::new("", problem)
}

/// Digits, dots and hexadecimal marks only: someone meant an IPv4 address.
pub(super) fn is_numeric(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && !text.contains(':')
        && text.split('.').all(|part| {
            let hex = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
            hex.map_or_else(
                || part.bytes().all(|b| b.is_ascii_digit()),
                |hex| hex.bytes().all(|b| b.is_ascii_hexdigit()),
            )
        })
}

fn parse(text: &str) -> Option<IpAddr> {
    parse_as_written(text).map(|address| address.to_canonical())
}

/// An address whose family is the one it is written in.
fn parse_as_written(text: &str) -> Option<IpAddr> {
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Some(IpAddr::V4(v4));
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

const fn of_ip(address: IpAddr) -> Observable {
    match address.to_canonical() {
        IpAddr::V4(v4) => Observable::Ipv4(v4),
        IpAddr::V6(v6) => Observable::Ipv6(v6),
    }
}

/// Host and port text; an IPv6 host must stand in brackets.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let clear = host.starts_with('[') && host.ends_with(']') || !host.contains([':', '[', ']']);
    clear.then_some((host, port))
}

/// A decimal number as people write it: digits only, no leading zero.
fn decimal(text: &str) -> Option<u32> {
    let plain = !text.is_empty()
        && text.len() <= 5
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
