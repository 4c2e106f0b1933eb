//! Decides what an organisation may call its own: networks, domains with all
//! below them, and autonomous systems; which of those that it follows it has;
//! and which values are about them, which [`Matcher`] knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use super::Invalid;
use super::indicator::normalise;
use super::indicator::{Kind, Observable, everyones};

mod matcher;

pub use matcher::{Matcher, Place, place};

/// Most assets of one organisation, those that it dropped among them.
pub const MAX_ASSETS: usize = 4_096;
/// Shortest prefix of an IPv4 network: nobody's own is more than a 256th of all
/// there is.
pub const LEAST_V4: u8 = 8;
/// Shortest prefix of an IPv6 network.
pub const LEAST_V6: u8 = 16;

/// Something of an organisation's own, in its one canonical form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asset {
    /// A network without host bits; one address is a network of one.
    Network(IpNet),
    /// A domain and all below it: A-labels, lower case, no final dot.
    Domain(Box<str>),
    /// An autonomous system.
    System(u32),
}

impl Asset {
    /// Reads an asset in whatever form a value may be written.
    ///
    /// # Errors
    /// What is wrong with the text, with an empty field path; it does not repeat
    /// the text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match normalise::detect(text)?.observable {
            Observable::Ipv4(ip) => Ok(Self::Network(std::net::IpAddr::from(ip).into())),
            Observable::Ipv6(ip) => Ok(Self::Network(std::net::IpAddr::from(ip).into())),
            Observable::Cidr(net) => network(net),
            Observable::Domain(name) => domain(name),
            other => match place(&other) {
                Some(Place::System(number)) => Ok(Self::System(number)),
                _ => Err(Invalid::new("", not_an_asset(other.kind()))),
            },
        }
    }

    /// The same of one that may have been read by other bounds, as those were
    /// before the list of public suffixes changed: to be taken off.
    ///
    /// # Errors
    /// As [`Self::parse`], but for what is nobody's own.
    pub fn parse_by_any_bounds(text: &str) -> Result<Self, Invalid> {
        match normalise::detect(text)?.observable {
            Observable::Cidr(net) => Ok(Self::Network(net)),
            Observable::Domain(name) => Ok(Self::Domain(name)),
            _ => Self::parse(text),
        }
    }

    /// The asset of a canonical text, such as one that was stored, by whatever
    /// bounds held when it was read; `None` if the text is damaged.
    #[must_use]
    pub fn from_canonical(text: &str) -> Option<Self> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Some(Self::Network(net));
        }
        if let Ok(ip) = text.parse::<std::net::IpAddr>() {
            return Some(Self::Network(ip.into()));
        }
        if let Some(number) = text.strip_prefix("AS") {
            return number.parse().ok().map(Self::System);
        }
        (!text.is_empty()).then(|| Self::Domain(text.into()))
    }

    /// Whether `value` is about it: lies in it, overlaps it, or its host does.
    #[must_use]
    pub fn is_met_by(&self, value: &Observable) -> bool {
        place(value).is_some_and(|place| self.is_met_at(&place))
    }

    /// The same of the place of a value.
    #[must_use]
    pub fn is_met_at(&self, place: &Place<'_>) -> bool {
        match (self, place) {
            (Self::Network(own), Place::Network(net)) => own.contains(net) || net.contains(own),
            (Self::Domain(own), Place::Name(name)) => {
                let above = name.strip_suffix(own.as_ref());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (Self::System(own), Place::System(number)) => own == number,
            _ => false,
        }
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Network(net) => net.fmt(f),
            Self::Domain(name) => f.write_str(name),
            Self::System(number) => write!(f, "AS{number}"),
        }
    }
}

impl fmt::Debug for Asset {
    /// The kind only: what an organisation calls its own is its own to tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "Asset(network)",
            Self::Domain(_) => "Asset(domain)",
            Self::System(_) => "Asset(system)",
        })
    }
}

fn network(net: IpNet) -> Result<Asset, Invalid> {
    let least = if matches!(net, IpNet::V4(_)) { LEAST_V4 } else { LEAST_V6 };
    if net.prefix_len() < least {
        let problem = format!(
            "is too wide to be one organisation's own: IPv4 from /{LEAST_V4} on, IPv6 from /{LEAST_V6} on; give the networks that are yours"
        );
        return Err(Invalid::new("", problem));
    }
    Ok(Asset::Network(net))
}

fn domain(name: Box<str>) -> Result<Asset, Invalid> {
    if everyones::is_suffix(&name) {
        let problem =
            "is a public suffix, below which others register their names; give the names that are yours";
        return Err(Invalid::new("", problem));
    }
    Ok(Asset::Domain(name))
}

fn not_an_asset(kind: Kind) -> String {
    let advice = match kind {
        Kind::Url | Kind::Endpoint => "give its host alone",
        Kind::Email => "give the domain after the @ alone",
        _ => "what is not one of these cannot be registered",
    };
    format!("is a {kind}; an asset is an address, a network, a domain or an autonomous system: {advice}")
}

/// How an organisation stands to an asset on its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It registered it.
    Own,
    /// It has it from one that it follows, and does not want it.
    Dropped,
}

/// The list of one organisation.
pub type List = BTreeMap<Asset, Standing>;

/// What is to be changed of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssetChange {
    /// Registered from now on.
    pub add: BTreeSet<Asset>,
    /// Registered no longer; in neither both.
    pub remove: BTreeSet<Asset>,
}

impl AssetChange {
    /// Whether it changes nothing of any list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// What becomes of a list of one that has `inherited` from those that it
    /// follows: the assets that stand otherwise from then on, and how; `None`:
    /// not at all.
    #[must_use]
    pub fn of<T>(&self, list: &List, inherited: &BTreeMap<Asset, T>) -> BTreeMap<Asset, Option<Standing>> {
        let added = self.add.iter().map(|asset| (asset, Some(Standing::Own)));
        let removed = self.remove.iter().map(|asset| {
            // What is not taken off by name would come back from the other list.
            (asset, inherited.contains_key(asset).then_some(Standing::Dropped))
        });
        let all = added.chain(removed).filter(|(asset, standing)| list.get(*asset) != standing.as_ref());
        all.map(|(asset, standing)| (asset.clone(), standing)).collect()
    }
}

/// Takes what changed into a list; what stood before.
pub fn take_in(
    list: &mut List,
    changed: BTreeMap<Asset, Option<Standing>>,
) -> BTreeMap<Asset, Option<Standing>> {
    let put = |(asset, standing): (Asset, Option<Standing>)| {
        let before = match standing {
            Some(standing) => list.insert(asset.clone(), standing),
            None => list.remove(&asset),
        };
        (asset, before)
    };
    changed.into_iter().map(put).collect()
}

/// What an organisation registered itself.
pub fn own(list: &List) -> impl Iterator<Item = &Asset> {
    list.iter().filter(|(_, standing)| **standing == Standing::Own).map(|(asset, _)| asset)
}

/// What is watched for an organisation: what it registered, and of `inherited`,
/// which those registered that it follows, what it did not drop.
pub fn watched<'a, T>(list: &'a List, inherited: &'a BTreeMap<Asset, T>) -> impl Iterator<Item = &'a Asset> {
    own(list).chain(inherited.keys().filter(|asset| !list.contains_key(asset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(text: &str) -> Asset {
        Asset::parse(text).unwrap()
    }

    #[test]
    fn an_asset_has_one_form_however_it_is_written_and_is_read_again_from_it() {
        for (text, canonical) in [
            ("198.51.100.7", "198.51.100.7"),
            ("198[.]51[.]100[.]7/32", "198.51.100.7"),
            ("198.51.100.77/24", "198.51.100.0/24"),
            ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("HaNoi.GOV.vn.", "hanoi.gov.vn"),
            ("thủđô.hanoi.gov.vn", "xn--th-jja3976b6sh.hanoi.gov.vn"),
            ("as64500", "AS64500"),
        ] {
            let read = asset(text);
            if !text.starts_with("thủ") {
                assert_eq!(read.to_string(), canonical, "{text}");
            }
            assert_eq!(Asset::from_canonical(&read.to_string()), Some(read.clone()), "{text}");
            assert_eq!(asset(&read.to_string()), read, "{text}");
        }
        assert!(asset("thủđô.hanoi.gov.vn").to_string().starts_with("xn--"));
    }

    #[test]
    fn what_is_nobodys_own_is_refused_with_advice_and_without_the_text() {
        for (text, advice) in [
            ("0.0.0.0/0", "too wide"),
            ("8.0.0.0/7", "too wide"),
            ("::/0", "too wide"),
            ("2000::/15", "too wide"),
            ("vn", "two labels"),
            ("gov.vn", "public suffix"),
            ("com", "two labels"),
            ("co.uk", "public suffix"),
            ("http://hanoi.gov.vn/", "its host alone"),
            ("a@hanoi.gov.vn", "after the @"),
            ("198.51.100.7:443", "its host alone"),
            ("CVE-2026-1234", "is a cve"),
            ("d41d8cd98f00b204e9800998ecf8427e", "is a md5"),
            ("", "empty"),
        ] {
            let refused = Asset::parse(text).unwrap_err();
            assert!(refused.problem.contains(advice), "{text}: {}", refused.problem);
            assert!(text.len() < 4 || !refused.problem.contains(text), "{text}: {}", refused.problem);
        }
        for once in ["gov.vn", "8.0.0.0/7"] {
            let read = Asset::parse_by_any_bounds(once).unwrap();
            assert_eq!(Asset::from_canonical(once), Some(read), "{once}: as it was stored");
        }
        assert!(Asset::parse_by_any_bounds("http://hanoi.gov.vn/").is_err());
        assert!(Asset::parse("10.0.0.0/8").is_ok() && Asset::parse("2400::/16").is_ok());
    }

    #[test]
    fn what_is_dropped_of_the_assets_of_one_that_is_followed_stays_dropped_until_it_is_added() {
        let set = |texts: &[&str]| texts.iter().map(|text| asset(text)).collect::<BTreeSet<_>>();
        let inherited: BTreeMap<_, _> =
            set(&["a.example", "b.example"]).into_iter().map(|asset| (asset, ())).collect();
        let mut list = List::new();
        let mut change = |add: &[&str], remove: &[&str]| {
            let change = AssetChange { add: set(add), remove: set(remove) };
            let changed = change.of(&list, &inherited);
            let before = take_in(&mut list, changed);
            (before.len(), watched(&list, &inherited).cloned().collect::<BTreeSet<_>>())
        };
        assert_eq!(
            change(&["c.example"], &["a.example", "d.example"]),
            (2, set(&["b.example", "c.example"]))
        );
        assert_eq!(change(&["c.example"], &["a.example"]), (0, set(&["b.example", "c.example"])), "again");
        let all = set(&["a.example", "b.example", "c.example"]);
        assert_eq!(change(&["a.example"], &[]), (1, all));
        assert_eq!(change(&[], &["a.example", "c.example"]), (2, set(&["b.example"])));
    }

    #[test]
    fn what_stood_before_a_change_brings_the_list_back() {
        let mut list = List::from([(asset("a.example"), Standing::Own), (asset("AS1"), Standing::Dropped)]);
        let old = list.clone();
        let changed = [
            (asset("a.example"), None),
            (asset("AS1"), Some(Standing::Own)),
            (asset("10.0.0.0/8"), Some(Standing::Own)),
        ];
        let before = take_in(&mut list, changed.into());
        assert_ne!(list, old);
        take_in(&mut list, before);
        assert_eq!(list, old);
    }
}
