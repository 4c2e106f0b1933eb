//! Decides where in the store values lie that are inside a network, or whose
//! text begins in some way: from which key to which.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::model::indicator::Kind;
use crate::store::keys::{self, Cut, KeyKind};

/// Values of a kind from one key to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) kind: Kind,
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
    /// The terms of how they begin, if their keys say nothing of that.
    pub(super) digests: Option<RangeInclusive<u64>>,
}

impl Range {
    /// Those whose keys hold what lies between these two.
    fn of(kind: Kind, from: &[u8], to: &[u8]) -> Self {
        let key = |rest: &[u8]| [&[KeyKind::Value.byte(), kind.number(), 0], rest].concat();
        Self { kind, from: key(from), to: key(to), digests: None }
    }

    /// Those that are too long for their keys and begin with a text.
    fn long(kind: Kind, prefix: &str, cut: Cut) -> Self {
        let head = [KeyKind::Value.byte(), kind.number(), 1];
        let digests = Some(keys::beginning_terms(kind, prefix, cut));
        Self { kind, from: head.to_vec(), to: [&head[..], &[u8::MAX; 33]].concat(), digests }
    }
}

/// Where values lie inside a network.
pub(super) fn inside(net: IpNet) -> Vec<Range> {
    let (first, last) = match net {
        IpNet::V4(net) => (net.network().octets().to_vec(), net.broadcast().octets().to_vec()),
        IpNet::V6(net) => (net.network().octets().to_vec(), net.broadcast().octets().to_vec()),
    };
    between(&first, &last, net.prefix_len())
}

/// Where addresses lie from one to another, networks that begin there and are
/// no wider than of a length, and endpoints.
fn between(first: &[u8], last: &[u8], length: u8) -> Vec<Range> {
    let (family, address) = if first.len() == 4 { (4, Kind::Ipv4) } else { (6, Kind::Ipv6) };
    let join = |octets: &[u8], rest: &[u8]| [&[family], octets, rest].concat();
    vec![
        Range::of(address, first, last),
        Range::of(Kind::Cidr, &join(first, &[length]), &join(last, &[u8::MAX])),
        Range::of(Kind::Endpoint, &join(first, &[]), &join(last, &[u8::MAX, u8::MAX])),
    ]
}

/// Where values of the kinds that are asked for, or of any, lie that begin with
/// a text, and perhaps others. `all_cut`: of the terms of how they begin, some
/// are older than [`Cut::Web`].
pub(super) fn beginning(prefix: &str, kinds: &[Kind], all_cut: bool) -> Vec<Range> {
    let all = |kind: &Kind| kinds.is_empty() || kinds.contains(kind);
    // A file is known by hashes of other kinds than its own.
    let hashes = kinds.is_empty() || kinds.iter().any(|kind| kind.is_hash());
    let mut ranges = Vec::new();
    for kind in Kind::ALL.iter().copied().filter(|kind| all(kind) || (hashes && kind.is_hash())) {
        let text = prefix.as_bytes();
        match kind {
            Kind::Md5 | Kind::Sha1 | Kind::Sha256 | Kind::Sha512 => ranges.extend(hex(kind, prefix)),
            Kind::Ipv4 | Kind::Ipv6 | Kind::Cidr | Kind::Endpoint => {
                let addresses = addresses(prefix).into_iter();
                let ranges_of = addresses.flat_map(|(first, last)| between(&first, &last, 0));
                ranges.extend(ranges_of.filter(|range| range.kind == kind));
                if kind == Kind::Endpoint {
                    let named = [&[0], text].concat();
                    ranges.push(Range::of(kind, &named, &[&named[..], &[u8::MAX]].concat()));
                    ranges.push(Range::long(kind, prefix, Cut::Web));
                }
            }
            // A scheme begins with a letter.
            Kind::Url if !prefix.starts_with(|c: char| c.is_ascii_alphabetic()) => {}
            _ => {
                // No text holds the byte 255.
                ranges.push(Range::of(kind, text, &[text, &[u8::MAX]].concat()));
                let web = Range::long(kind, prefix, Cut::Web);
                let all = Range::long(kind, prefix, Cut::All);
                ranges.extend((all_cut && all != web).then_some(all));
                ranges.push(web);
            }
        }
    }
    ranges
}

/// From which address to which all lie whose text, or that of a network or an
/// endpoint, begins in some way; and perhaps others.
fn addresses(prefix: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (bare, open) = prefix.strip_prefix('[').map_or((prefix, false), |bare| (bare, true));
    let (address, _) = bare.split_once(['/', ']']).unwrap_or((bare, ""));
    let mut found = Vec::new();
    // The port of an endpoint stands behind a colon.
    let (four, port) = address.split_once(':').map_or((address, false), |(four, _)| (four, true));
    if !open && (!port || four.contains('.')) {
        found.extend(filled(four.split('.'), 4, 1, |part| numbers(part, 10, 3)));
    }
    if !address.contains('.') || address.contains("::") {
        // Where groups of zeros are left out, nobody knows how many.
        let known = address.split("::").next().unwrap_or_default();
        let known = if known.len() < address.len() { [known, ":"].concat() } else { known.to_owned() };
        let known = if known.starts_with(':') { "0:".to_owned() } else { known };
        found.extend(filled(known.split(':'), 8, 2, |part| numbers(part, 16, 4)));
    }
    found
}

/// The addresses of so many parts, of so many bytes each, of which all but the
/// last are given, and of that what it may be.
fn filled<'p>(
    parts: impl Iterator<Item = &'p str>,
    most: usize,
    bytes: usize,
    may_be: impl Fn(&str) -> Option<Vec<(u16, u16)>>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut parts: Vec<_> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    let octets = |number: u16| number.to_be_bytes().into_iter().skip(2 - bytes);
    let mut lead = Vec::new();
    for part in &parts {
        let Some(&(whole, _)) = may_be(part).as_deref().and_then(<[_]>::first) else { return Vec::new() };
        lead.extend(octets(whole));
    }
    let fill = |number: u16, rest: u8| {
        let known = lead.iter().copied().chain(octets(number));
        known.chain(std::iter::repeat(rest)).take(most * bytes).collect::<Vec<_>>()
    };
    match last {
        _ if parts.len() > most || (parts.len() == most && !last.is_empty()) => Vec::new(),
        "" => {
            let all = |rest| lead.iter().copied().chain(std::iter::repeat(rest)).take(most * bytes).collect();
            vec![(all(0), all(u8::MAX))]
        }
        _ => {
            let ranges = may_be(last).unwrap_or_default().into_iter();
            ranges.map(|(low, high)| (fill(low, 0), fill(high, u8::MAX))).collect()
        }
    }
}

/// The numbers whose digits, of which there are no more than `most`, begin so:
/// first the one that they are. `None`: no number is written so.
fn numbers(digits: &str, base: u16, most: usize) -> Option<Vec<(u16, u16)>> {
    let greatest = if base == 10 { u16::from(u8::MAX) } else { u16::MAX };
    let small = digits.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'));
    let whole = u16::from_str_radix(digits, u32::from(base)).ok();
    let whole = whole.filter(|whole| small && *whole <= greatest && digits.len() <= most)?;
    if digits.starts_with('0') {
        return (digits.len() == 1).then(|| vec![(0, 0)]);
    }
    let mut ranges = vec![(whole, whole)];
    let (mut low, mut high) = (u32::from(whole), u32::from(whole));
    for _ in digits.len()..most {
        (low, high) = (low * u32::from(base), high * u32::from(base) + u32::from(base - 1));
        let high = high.min(u32::from(greatest));
        let cut = |number| u16::try_from(number).ok();
        ranges.extend(cut(low).zip(cut(high)).filter(|(low, high)| low <= high));
    }
    Some(ranges)
}

/// The hashes of a kind whose digits begin so.
fn hex(kind: Kind, prefix: &str) -> Option<Range> {
    let bytes = match kind {
        Kind::Md5 => 16,
        Kind::Sha1 => 20,
        Kind::Sha256 => 32,
        _ => 64,
    };
    if prefix.len() > bytes * 2 || !prefix.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let filled = |digit: char| {
        let digits: Vec<_> = prefix
            .chars()
            .chain(std::iter::repeat(digit))
            .take(bytes * 2)
            .filter_map(|c| c.to_digit(16))
            .collect();
        let pair =
            |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte << 4 | u8::try_from(*digit).unwrap_or(0));
        digits.chunks(2).map(pair).collect::<Vec<_>>()
    };
    Some(Range::of(kind, &filled('0'), &filled('f')))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::ProptestConfig;

    use super::*;
    use crate::model::indicator::normalise;

    /// Whether one of the ranges holds a value.
    fn holds(ranges: &[Range], text: &str) -> bool {
        let key = keys::value(&normalise::detect(text).unwrap().observable);
        ranges.iter().any(|range| (&range.from..=&range.to).contains(&&key))
    }

    #[test]
    fn what_begins_in_some_way_lies_in_the_ranges_of_keys_of_that() {
        let long = format!("http://evil.example/{}", "x".repeat(80));
        for (prefix, kinds, inside, outside) in [
            (
                "evil.",
                vec![],
                vec!["evil.example", "evil.example:443"],
                vec!["example.org", "a.evil.example"],
            ),
            ("http://evil", vec![], vec!["http://evil.example/a", &long], vec!["http://good.example/"]),
            ("198.51.", vec![], vec!["198.51.100.7", "198.51.0.0/16", "198.51.9.9:80"], vec!["198.52.0.1"]),
            (
                "0a0b0",
                vec![],
                vec!["0a0b0c0d0e0f00112233445566778899"],
                vec!["0a0b1c0d0e0f00112233445566778899"],
            ),
            ("0a", vec![Kind::Sha1], vec!["0a0b0c0d0e0f00112233445566778899"], vec!["evil.example"]),
        ] {
            let ranges = beginning(prefix, &kinds, false);
            for text in inside {
                assert!(holds(&ranges, text), "{prefix} {text}");
            }
            for text in outside {
                assert!(!holds(&ranges, text), "{prefix} {text}");
            }
        }
    }

    #[test]
    fn addresses_that_begin_in_some_way_lie_where_their_keys_say() {
        for (prefix, inside, outside) in [
            (
                "198.51.1",
                vec!["198.51.1.1", "198.51.100.7:80", "198.51.19.0/24"],
                vec!["198.51.2.1", "198.51.9.0"],
            ),
            (
                "19",
                vec!["19.0.0.1", "192.0.2.1", "199.9.9.9", "1900::1", "19ab::1"],
                vec!["20.0.0.1", "119.0.0.1"],
            ),
            ("0.", vec!["0.0.0.1", "0.0.0.0/8"], vec!["10.0.0.1"]),
            ("198.51.100.7", vec!["198.51.100.7", "198.51.100.70", "198.51.100.7:443"], vec!["198.51.100.8"]),
            ("198.51.100.0/2", vec!["198.51.100.0/24"], vec!["198.51.101.0/24"]),
            ("2001:d", vec!["2001:d::1", "2001:db8::1", "2001:db8:1::/48"], vec!["2001:e::1", "2002:db8::1"]),
            ("2001:db8::", vec!["2001:db8::1", "2001:db8:0:0:1::"], vec!["2001:db9::1"]),
            ("::1", vec!["::1"], vec!["1::1"]),
            ("[2001:", vec!["[2001:db8::1]:443"], vec!["[2002::1]:443"]),
            ("ab", vec!["ab::1", "abc::1", "abcd::1", "ab.example"], vec!["ac::1", "acab::1"]),
            ("256.", vec![], vec!["25.6.0.1"]),
            ("010.", vec![], vec!["10.0.0.1"]),
        ] {
            let ranges = beginning(prefix, &[], false);
            for text in inside {
                assert!(holds(&ranges, text), "{prefix} {text}");
            }
            for text in outside {
                assert!(!holds(&ranges, text), "{prefix} {text}");
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_address_lies_where_any_beginning_of_it_says(bits: u128, shift in 0_u32..128, length in 1_usize..40) {
            let address = std::net::Ipv6Addr::from(bits >> shift);
            let four = Ipv4Addr::from(u32::try_from(bits & 0xffff_ffff).unwrap());
            for text in [address.to_string(), four.to_string(), format!("{four}:80"), format!("[{address}]:80")] {
                let Ok(found) = normalise::detect(&text) else { continue };
                let canonical = found.observable.to_string();
                let prefix: String = canonical.chars().take(length).collect();
                proptest::prop_assert!(holds(&beginning(&prefix, &[], false), &text), "{prefix} {text}");
            }
        }
    }
}
