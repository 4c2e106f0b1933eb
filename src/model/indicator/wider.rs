//! Decides what else is about a value: the networks that contain an address,
//! the domains above a name, the host of a URL.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::{Kind, Observable};
use crate::model::numbered::numbered;

numbered! {
    /// How what is found is about the value that was looked up. Numbers are
    /// sent: never reuse one.
    pub enum Relation {
        /// It is that value.
        Exact = 1 is "exact",
        /// It is a network that contains the address or the network.
        ContainingNetwork = 2 is "containing-network",
        /// It is a domain above the domain.
        ParentDomain = 3 is "parent-domain",
        /// It is the host of the URL, the endpoint or the e-mail address.
        Host = 4 is "host",
        /// It is a network that contains the host.
        HostNetwork = 5 is "host-network",
        /// It is a domain above the host.
        HostParentDomain = 6 is "host-parent-domain",
        /// It is the host and the port of the URL.
        Endpoint = 7 is "endpoint",
    }
}

/// A set of lengths of prefix, of both families. One address is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefixLengths {
    v4: u32,
    v6: u128,
}

impl PrefixLengths {
    /// Every length.
    pub const ALL: Self = Self { v4: u32::MAX, v6: u128::MAX };

    /// From one bit for each length: bit n stands for /n.
    #[must_use]
    pub const fn from_bits(v4: u32, v6: u128) -> Self {
        Self { v4, v6 }
    }

    /// The bits of IPv4 and of IPv6.
    #[must_use]
    pub const fn bits(self) -> (u32, u128) {
        (self.v4, self.v6)
    }

    /// The length of this network alone.
    #[must_use]
    pub fn of(network: IpNet) -> Self {
        let length = u32::from(network.prefix_len());
        match network {
            IpNet::V4(_) => Self { v4: 1_u32.checked_shl(length).unwrap_or(0), v6: 0 },
            IpNet::V6(_) => Self { v4: 0, v6: 1_u128.checked_shl(length).unwrap_or(0) },
        }
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { v4: self.v4 | other.v4, v6: self.v6 | other.v6 }
    }

    /// The lengths below `end` of one family, longest first.
    fn below(self, v4: bool, end: u8) -> impl Iterator<Item = u8> {
        let bits = if v4 { u128::from(self.v4) } else { self.v6 };
        (0..end).rev().filter(move |length| bits >> length & 1 == 1)
    }
}

/// What else is about `value`, closest first: of the networks that contain an
/// address or a network those of `lengths`; of the domains above a name those
/// below its public suffix, for whoever registers below that answers for
/// himself. Without `value` itself; at most 130 of them.
#[must_use]
pub fn wider(value: &Observable, lengths: PrefixLengths) -> Vec<(Relation, Observable)> {
    let mut out = Vec::new();
    match value {
        Observable::Ipv4(ip) => {
            networks((*ip).into(), u8::MAX, lengths, Relation::ContainingNetwork, &mut out);
        }
        Observable::Ipv6(ip) => {
            networks((*ip).into(), u8::MAX, lengths, Relation::ContainingNetwork, &mut out);
        }
        Observable::Cidr(net) => {
            networks(net.network(), net.prefix_len(), lengths, Relation::ContainingNetwork, &mut out);
        }
        Observable::Domain(name) => parents(name, Relation::ParentDomain, &mut out),
        Observable::Endpoint(at) => host(address(at.ip()), lengths, &mut out),
        Observable::Url(text) => url(text, lengths, &mut out),
        _ => {
            if let Some(name) = host_name(value) {
                host(Observable::Domain(name.as_ref().into()), lengths, &mut out);
            }
        }
    }
    out
}

/// The name of the host that the value is or names; none where that is an
/// address.
#[must_use]
pub fn host_name(value: &Observable) -> Option<Cow<'_, str>> {
    match value {
        Observable::Domain(name) => Some(Cow::Borrowed(name.as_ref())),
        Observable::NamedEndpoint(text) => text.rsplit_once(':').map(|(name, _)| Cow::Borrowed(name)),
        Observable::Url(text) => match parsed_host(&Url::parse(text).ok()?)? {
            Host::Domain(name) => Some(Cow::Owned(name)),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        },
        Observable::Written(_) if value.kind() == Kind::Email => {
            value.as_text()?.rsplit_once('@').map(|(_, name)| Cow::Borrowed(name))
        }
        _ => None,
    }
}

/// The address of the host that the value names; none where that has a name. It
/// may be an IPv4-mapped one.
#[must_use]
pub fn host_address(value: &Observable) -> Option<IpAddr> {
    match value {
        Observable::Endpoint(at) => Some(at.ip()),
        Observable::Url(text) => match parsed_host(&Url::parse(text).ok()?)? {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
        },
        _ => None,
    }
}

/// Parsed anew, because outside the known schemes the standard takes every host
/// for a name.
fn parsed_host(url: &Url) -> Option<Host> {
    Host::parse(url.host_str()?).ok()
}

fn url(text: &str, lengths: PrefixLengths, out: &mut Vec<(Relation, Observable)>) {
    let Ok(url) = Url::parse(text) else { return };
    let Some(found) = parsed_host(&url) else { return };
    let named = match found {
        Host::Domain(name) => Observable::Domain(name.into()),
        Host::Ipv4(ip) => Observable::Ipv4(ip),
        Host::Ipv6(ip) => Observable::Ipv6(ip),
    };
    if let Some(port) = url.port_or_known_default() {
        let endpoint = match &named {
            Observable::Ipv4(ip) => Observable::Endpoint((*ip, port).into()),
            Observable::Ipv6(ip) => Observable::Endpoint((*ip, port).into()),
            name => Observable::NamedEndpoint(format!("{name}:{port}").into()),
        };
        out.push((Relation::Endpoint, endpoint));
    }
    host(named, lengths, out);
}

const fn address(ip: IpAddr) -> Observable {
    match ip {
        IpAddr::V4(ip) => Observable::Ipv4(ip),
        IpAddr::V6(ip) => Observable::Ipv6(ip),
    }
}

/// A host, and what is about it.
fn host(named: Observable, lengths: PrefixLengths, out: &mut Vec<(Relation, Observable)>) {
    out.push((Relation::Host, named.clone()));
    match named {
        Observable::Ipv4(ip) => networks(ip.into(), u8::MAX, lengths, Relation::HostNetwork, out),
        Observable::Ipv6(ip) => networks(ip.into(), u8::MAX, lengths, Relation::HostNetwork, out),
        Observable::Domain(name) => parents(&name, Relation::HostParentDomain, out),
        _ => {}
    }
}

/// The networks of a prefix shorter than `end` that contain `ip`.
fn networks(
    ip: IpAddr,
    end: u8,
    lengths: PrefixLengths,
    relation: Relation,
    out: &mut Vec<(Relation, Observable)>,
) {
    let end = end.min(if ip.is_ipv4() { 32 } else { 128 });
    let nets = lengths.below(ip.is_ipv4(), end).filter_map(|length| IpNet::new(ip, length).ok());
    out.extend(nets.map(|net| (relation, Observable::Cidr(net.trunc()))));
}

/// The domains above `name` and below its public suffix, be that one of a
/// registry or one of a host of others' names, such as `github.io`.
fn parents(name: &str, relation: Relation, out: &mut Vec<(Relation, Observable)>) {
    let Some(suffix) = psl::suffix(name.as_bytes()) else { return };
    let suffix = suffix.as_bytes().len();
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.').filter(|(_, parent)| parent.len() > suffix) {
        out.push((relation, Observable::Domain(parent.into())));
        rest = parent;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::indicator::normalise;

    fn shown(text: &str) -> Vec<String> {
        let value = normalise::detect(text).unwrap().observable;
        let lengths = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/31", "2001:db8::/32", "2001:db8::/127"]
            .iter()
            .map(|net| PrefixLengths::of(net.parse().unwrap()))
            .fold(PrefixLengths::default(), PrefixLengths::union);
        wider(&value, lengths).iter().map(|(how, value)| format!("{} {value}", how.as_str())).collect()
    }

    #[test]
    fn an_address_lies_in_its_networks_smallest_first() {
        assert_eq!(
            shown("10.1.2.3"),
            [
                "containing-network 10.1.2.2/31",
                "containing-network 10.0.0.0/8",
                "containing-network 0.0.0.0/0"
            ]
        );
        assert_eq!(shown("10.0.0.0/8"), ["containing-network 0.0.0.0/0"]);
        assert!(shown("0.0.0.0/0").is_empty());
        assert_eq!(shown("2001:db8::/127"), ["containing-network 2001:db8::/32"]);
        assert_eq!(
            shown("10.1.2.3:443"),
            [
                "host 10.1.2.3",
                "host-network 10.1.2.2/31",
                "host-network 10.0.0.0/8",
                "host-network 0.0.0.0/0"
            ]
        );
    }

    #[test]
    fn a_name_has_parents_below_its_public_suffix_alone() {
        assert_eq!(
            shown("a.b.example.com.vn"),
            ["parent-domain b.example.com.vn", "parent-domain example.com.vn"]
        );
        for text in
            ["example.com.vn", "com.vn", "somebody.github.io", "github.io", "nothing.invalid", "a.b.ck"]
        {
            assert!(shown(text).is_empty(), "{text}");
        }
        assert_eq!(shown("a.somebody.github.io"), ["parent-domain somebody.github.io"]);
        assert_eq!(shown("a.b.www.ck"), ["parent-domain b.www.ck", "parent-domain www.ck"]);
        // Suffixes in other scripts are known as the DNS spells them.
        assert_eq!(shown("a.b.公司.cn"), ["parent-domain b.xn--55qx5d.cn"]);
    }

    #[test]
    fn what_names_a_host_is_found_under_the_host() {
        assert_eq!(
            shown("hxxps://a.example[.]org/x?y"),
            ["endpoint a.example.org:443", "host a.example.org", "host-parent-domain example.org"]
        );
        assert_eq!(
            shown("ssh://10.1.2.3/"),
            [
                "host 10.1.2.3",
                "host-network 10.1.2.2/31",
                "host-network 10.0.0.0/8",
                "host-network 0.0.0.0/0"
            ]
        );
        assert_eq!(
            shown("http://[2001:db8::7]:8080/"),
            [
                "endpoint [2001:db8::7]:8080",
                "host 2001:db8::7",
                "host-network 2001:db8::6/127",
                "host-network 2001:db8::/32"
            ]
        );
        assert_eq!(shown("a.example.org:4444"), ["host a.example.org", "host-parent-domain example.org"]);
        assert_eq!(
            shown("bob@mail.example.org"),
            ["host mail.example.org", "host-parent-domain example.org"]
        );
        for text in
            ["magnet:?xt=urn:btih:e7d705a3286e19ea42f587b344ee6865e7d705a3", "AS64500", "CVE-2021-44228"]
        {
            assert!(shown(text).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_canonical_and_little(text in "[a-z0-9.:/@]{1,60}|(([a-z]\\.){1,126}[a-z]{2})") {
            let Ok(value) = normalise::detect(&text) else { return Ok(()) };
            let all = wider(&value.observable, PrefixLengths::ALL);
            prop_assert!(all.len() <= 130);
            for (how, wider) in all {
                prop_assert_ne!(&wider, &value.observable);
                prop_assert_ne!(how, Relation::Exact);
                let again = normalise::observable(wider.kind(), &wider.to_string());
                prop_assert_eq!(again.unwrap().observable, wider);
            }
        }
    }
}
