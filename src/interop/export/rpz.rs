//! Decides how values read as a zone of BIND's response policies: a domain and
//! all below it are answered as not there (`CNAME .`), and so is every name
//! that leads to an address or network (`rpz-ip`).

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::export::Omission;
use crate::model::indicator::Observable;

use super::{domain, line};

/// Longest name that has room left for `*.` and the name of the zone.
const LONGEST: usize = 180;
/// The end of the line that holds the serial number.
const SERIAL: &str = " ; serial";

/// Writes what every zone begins with. Nobody asks for this one: its server
/// and its keeper are not there.
pub(super) fn head(serial: u32, out: &mut Vec<u8>) {
    for text in ["$TTL 300", "@ IN SOA localhost. nobody.invalid. ("] {
        line(out, format_args!("{text}"));
    }
    line(out, format_args!("  {serial}{SERIAL}"));
    for text in
        ["  3600 ; refresh", "  600 ; retry", "  1209600 ; expire", "  300 ) ; minimum", "@ IN NS localhost."]
    {
        line(out, format_args!("{text}"));
    }
}

/// The serial number of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial {
    /// The number.
    pub number: u32,
    /// Where its digits stand.
    pub place: std::ops::Range<usize>,
}

/// Finds the serial number in the beginning of a zone of ours.
#[must_use]
pub fn serial(zone: &[u8]) -> Option<Serial> {
    let mut start = 0;
    for line in zone.split_inclusive(|byte| *byte == b'\n') {
        let text = std::str::from_utf8(line).unwrap_or_default();
        if let Some(before) = text.strip_suffix('\n').and_then(|text| text.strip_suffix(SERIAL)) {
            let digits = before.trim_start();
            let place = start + before.len() - digits.len()..start + before.len();
            return digits.parse().ok().map(|number| Serial { number, place });
        }
        start += line.len();
    }
    None
}

/// Writes the policies of a value.
pub(super) fn value(value: &Observable, out: &mut Vec<u8>) -> Result<(), Omission> {
    let net = match value {
        Observable::Domain(_) => {
            let name = domain(value)?;
            // A name that ends so would be a policy of another kind.
            if name.len() > LONGEST || name.rsplit('.').next().is_some_and(|last| last.starts_with("rpz-")) {
                return Err(Omission::Spelling);
            }
            line(out, format_args!("{name} CNAME ."));
            line(out, format_args!("*.{name} CNAME ."));
            return Ok(());
        }
        Observable::Ipv4(ip) => IpNet::from(IpAddr::V4(*ip)),
        Observable::Ipv6(ip) => IpNet::from(IpAddr::V6(*ip)),
        Observable::Cidr(net) => net.trunc(),
        _ => return Err(Omission::Kind),
    };
    line(out, format_args!("{}.rpz-ip CNAME .", reversed(net)));
    Ok(())
}

/// A network as BIND spells it, and in no other way: its length, then the parts
/// of its address from the last to the first. Of IPv6 the longest run of zeros,
/// the first one of several in the address, is `zz`.
fn reversed(net: IpNet) -> String {
    let mut text = net.prefix_len().to_string();
    match net.network() {
        IpAddr::V4(ip) => {
            for octet in ip.octets().iter().rev() {
                // Writing to a text cannot fail.
                let _ = write!(text, ".{octet}");
            }
        }
        IpAddr::V6(ip) => {
            let parts = ip.segments();
            let (start, length) = zeros(parts);
            for (at, part) in parts.iter().enumerate().rev() {
                if length < 2 || !(start..start + length).contains(&at) {
                    let _ = write!(text, ".{part:x}");
                } else if at == start {
                    text.push_str(".zz");
                }
            }
        }
    }
    text
}

/// Where the first of the longest runs of zeros begins, and how long it is.
fn zeros(parts: [u16; 8]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), (0, 0));
    for (at, part) in parts.into_iter().enumerate() {
        run = if part != 0 { (at + 1, 0) } else { (run.0, run.1 + 1) };
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_spelt_as_bind_spells_them() {
        for (net, expected) in [
            ("198.51.100.7/32", "32.7.100.51.198"),
            ("198.51.100.0/24", "24.0.100.51.198"),
            ("2001:db8::7/128", "128.7.zz.db8.2001"),
            ("2001:db8::/32", "32.zz.db8.2001"),
            ("2001:db8:0:1:2:3:4:5/128", "128.5.4.3.2.1.0.db8.2001"),
            ("2001:db8:0:0:1:0:0:1/128", "128.1.0.0.1.zz.db8.2001"),
            ("2001:db8:0:0:1:0:0:0/128", "128.zz.1.0.0.db8.2001"),
            ("::/16", "16.zz"),
        ] {
            assert_eq!(reversed(net.parse().unwrap()), expected, "{net}");
        }
    }

    #[test]
    fn the_serial_number_is_found_again() {
        let mut out = Vec::new();
        head(4_294_967_295, &mut out);
        let Serial { number, place } = serial(&out).unwrap();
        assert_eq!((number, &out[place]), (4_294_967_295, b"4294967295".as_slice()));
        assert_eq!(serial(b"evil.example\n ; serial\n"), None);
    }
}
