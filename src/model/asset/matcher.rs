//! Decides which values are about assets, and fast: of many assets at once,
//! for each event of a stream.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Asset;
use crate::model::indicator::wider::{host_address, host_name};
use crate::model::indicator::{Kind, Observable};

/// Where a value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// It is this network or an address, or its host is one; never of
    /// IPv4-mapped addresses.
    Network(IpNet),
    /// It is this name, or its host has it.
    Name(Cow<'a, str>),
    /// It is this autonomous system.
    System(u32),
}

/// Where a value lies; `None`: nowhere, as what is no address, name or system.
#[must_use]
pub fn place(value: &Observable) -> Option<Place<'_>> {
    let one = |ip: IpAddr| Place::Network(ip.to_canonical().into());
    match value {
        Observable::Ipv4(ip) => Some(one((*ip).into())),
        Observable::Ipv6(ip) => Some(one((*ip).into())),
        Observable::Cidr(net) => Some(Place::Network(*net)),
        Observable::Written(_) if value.kind() == Kind::Asn => {
            value.as_text()?.strip_prefix("AS")?.parse().ok().map(Place::System)
        }
        _ => host_address(value).map(one).or_else(|| host_name(value).map(Place::Name)),
    }
}

/// Many assets, compiled: what a value costs does not rise with their number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matcher {
    /// First and last addresses of networks, apart from each other, in order.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    names: HashSet<Box<str>>,
    systems: HashSet<u32>,
}

impl Matcher {
    /// The kinds of value that can be about an asset.
    pub const KINDS: [Kind; 8] =
        [Kind::Ipv4, Kind::Ipv6, Kind::Cidr, Kind::Endpoint, Kind::Domain, Kind::Url, Kind::Email, Kind::Asn];

    /// Of these.
    #[must_use]
    pub fn new<'a>(assets: impl IntoIterator<Item = &'a Asset>) -> Self {
        let mut matcher = Self::default();
        for asset in assets {
            match asset {
                Asset::Network(IpNet::V4(net)) => {
                    matcher.v4.push((net.network().into(), net.broadcast().into()));
                }
                Asset::Network(IpNet::V6(net)) => {
                    matcher.v6.push((net.network().into(), net.broadcast().into()));
                }
                Asset::Domain(name) => {
                    matcher.names.insert(name.clone());
                }
                Asset::System(number) => {
                    matcher.systems.insert(*number);
                }
            }
        }
        join(&mut matcher.v4);
        join(&mut matcher.v6);
        matcher
    }

    /// Whether it is of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && self.names.is_empty() && self.systems.is_empty()
    }

    /// Whether `value` is about one of them: see [`Asset::is_met_by`].
    #[must_use]
    pub fn matches(&self, value: &Observable) -> bool {
        match place(value) {
            None => false,
            Some(Place::Network(IpNet::V4(net))) => {
                meets(&self.v4, (net.network().into(), net.broadcast().into()))
            }
            Some(Place::Network(IpNet::V6(net))) => {
                meets(&self.v6, (net.network().into(), net.broadcast().into()))
            }
            Some(Place::Name(name)) => {
                let dots = name.match_indices('.').map(|(dot, _)| dot + 1);
                let mut zones = std::iter::once(0).chain(dots).filter_map(|start| name.get(start..));
                zones.any(|zone| self.names.contains(zone))
            }
            Some(Place::System(number)) => self.systems.contains(&number),
        }
    }
}

/// Puts ranges in order, and those that overlap together.
fn join<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
}

/// Whether one of the ranges has something in common with another.
fn meets<T: Ord + Copy>(ranges: &[(T, T)], (first, last): (T, T)) -> bool {
    let at = ranges.partition_point(|(_, end)| *end < first);
    ranges.get(at).is_some_and(|(start, _)| *start <= last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::indicator::normalise;

    fn value(text: &str) -> Observable {
        normalise::detect(text).unwrap().observable
    }

    fn asset(text: &str) -> Asset {
        Asset::parse(text).unwrap()
    }

    #[test]
    fn a_value_is_about_an_asset_in_which_it_or_its_host_lies_or_which_it_overlaps() {
        for (own, about, others) in [
            (
                "198.51.100.0/24",
                vec![
                    "198.51.100.7",
                    "::ffff:198.51.100.7",
                    "198.51.100.128/25",
                    "198.51.0.0/16",
                    "0.0.0.0/0",
                    "198.51.100.7:443",
                    "http://198.51.100.7/x",
                    "http://[::ffff:198.51.100.7]:8080/",
                ],
                vec!["198.51.101.7", "198.51.101.0/24", "::c633:6407", "http://198.51.100.7.example/"],
            ),
            (
                "2001:db8::/32",
                vec![
                    "2001:db8::1",
                    "2001:db8:1::/48",
                    "2000::/8",
                    "http://[2001:db8::1]/",
                    "[2001:db8::1]:53",
                ],
                vec!["2001:db9::1", "32.1.13.184"],
            ),
            (
                "hanoi.gov.vn",
                vec![
                    "hanoi.gov.vn",
                    "mail.hanoi.gov.vn",
                    "https://a.b.hanoi.gov.vn:8443/x?y",
                    "cb@hanoi.gov.vn",
                    "vpn.hanoi.gov.vn:1194",
                ],
                vec![
                    "gov.vn",
                    "xhanoi.gov.vn",
                    "hanoi.gov.vn.evil.example",
                    "http://evil.example/hanoi.gov.vn",
                ],
            ),
            ("AS64500", vec!["AS64500"], vec!["AS64501", "64500.example"]),
        ] {
            let (own, matcher) = (asset(own), Matcher::new([&asset(own)]));
            for text in about {
                assert!(matcher.matches(&value(text)) && own.is_met_by(&value(text)), "{own} {text}");
            }
            for text in others {
                assert!(!matcher.matches(&value(text)) && !own.is_met_by(&value(text)), "{own} {text}");
            }
        }
    }

    #[test]
    fn a_name_is_matched_in_a_labels_however_it_was_written() {
        let matcher = Matcher::new([&asset("bộ-nội-vụ.example.vn")]);
        for text in ["BỘ-NỘI-VỤ.example.vn", "http://www.bộ-nội-vụ.example.vn/", "a@bộ-nội-vụ.example.vn"]
        {
            assert!(matcher.matches(&value(text)), "{text}");
        }
        assert!(!matcher.matches(&value("bo-noi-vu.example.vn")));
    }

    #[test]
    fn whatever_can_be_about_an_asset_is_of_the_kinds_that_are_looked_at() {
        for text in [
            "198.51.100.7",
            "::1:2",
            "10.0.0.0/9",
            "a.example:1",
            "a.example",
            "http://a.example/",
            "a@b.example",
            "AS1",
        ] {
            let value = value(text);
            assert!(place(&value).is_some() && Matcher::KINDS.contains(&value.kind()), "{text}");
        }
        for &kind in Kind::ALL.iter().filter(|kind| !Matcher::KINDS.contains(kind)) {
            let hash = "0".repeat(match kind {
                Kind::Md5 => 32,
                Kind::Sha1 => 40,
                Kind::Sha512 => 128,
                _ => 64,
            });
            let value = Observable::from_canonical(kind, &hash).unwrap();
            assert_eq!(place(&value), None, "{kind}");
        }
    }

    fn network() -> impl Strategy<Value = String> {
        let v4 =
            (any::<[u8; 2]>(), 8..=32_u8).prop_map(|([a, b], bits)| format!("10.{}.{a}.{b}/{bits}", a % 4));
        let v6 =
            (any::<u8>(), 16..=128_u8).prop_map(|(a, bits)| format!("2001:db8::{:x}:{a:x}/{bits}", a % 4));
        let mapped = any::<[u8; 2]>().prop_map(|[a, b]| format!("::ffff:10.{}.{a}.{b}", a % 4));
        prop_oneof![v4, v6, mapped]
    }

    fn anything() -> impl Strategy<Value = String> {
        let name =
            prop::sample::select(vec!["a.example", "b.a.example", "xa.example", "ợ.example", "c.ợ.example"]);
        let host = prop_oneof![
            name.clone().prop_map(str::to_owned),
            any::<u8>().prop_map(|a| format!("10.{}.{a}.1", a % 4)),
            any::<u8>().prop_map(|a| format!("[2001:db8::{a:x}]")),
        ];
        let url = host.clone().prop_map(|host| format!("http://{host}/p"));
        let at = host.prop_map(|host| format!("{host}:443"));
        let mail = name.clone().prop_map(|name| format!("x@{name}"));
        let system = (1..4_u32).prop_map(|number| format!("AS{number}"));
        prop_oneof![network(), name.prop_map(str::to_owned), url, at, mail, system]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn many_assets_at_once_match_what_each_by_itself_does(
            assets in prop::collection::vec(anything(), 0..8),
            values in prop::collection::vec(anything(), 1..12),
        ) {
            let assets: Vec<_> = assets.iter().filter_map(|text| Asset::parse(text).ok()).collect();
            let matcher = Matcher::new(&assets);
            for text in values {
                let value = value(&text);
                let naive = assets.iter().any(|asset| asset.is_met_by(&value));
                prop_assert_eq!(matcher.matches(&value), naive, "{} {:?}", text, assets.len());
            }
        }
    }
}
