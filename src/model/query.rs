//! Decides what can be asked: AND across fields, OR within a field, an empty
//! field asks nothing.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::base::clock::Timestamp;

use super::indicator::wider::host_name;
use super::indicator::{Kind, Observable, RecommendedAction, Role, State};
use super::marking::Tlp;
use super::numbered::numbered;
use super::org::OrgSlug;
use super::search::Search;
use super::sighting::Outcome;

/// Which indicators are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndicatorFilter {
    /// Kinds, sorted, without repeats.
    pub kinds: Vec<Kind>,
    /// Owners, sorted, without repeats.
    pub owners: Vec<OrgSlug>,
    /// Labels, sorted, without repeats.
    pub labels: Vec<String>,
    /// TLP labels, sorted, without repeats.
    pub tlps: Vec<Tlp>,
    /// Roles in the attack, sorted, without repeats.
    pub roles: Vec<Role>,
    /// Families of malware, in whatever case; sorted, without repeats.
    pub families: Vec<String>,
    /// Campaigns, likewise.
    pub campaigns: Vec<String>,
    /// Techniques of ATT&CK, sorted, without repeats.
    pub techniques: Vec<String>,
    /// Whether it is about an asset of the asker's organisation.
    pub own_assets: bool,
    /// States; not in a subscription.
    pub states: Vec<State>,
    /// Added at or after; not in a subscription.
    pub added_from: Option<Timestamp>,
    /// Added before; not in a subscription.
    pub added_to: Option<Timestamp>,
    /// What the value is; this and what follows is not in a subscription.
    pub values: Vec<ValueMatch>,
    /// Kinds of the owners, sorted, without repeats.
    pub org_kinds: Vec<String>,
    /// Confidence, both ends included.
    pub confidence: Option<(u8, u8)>,
    /// What the producer recommends, sorted, without repeats.
    pub actions: Vec<RecommendedAction>,
    /// When the first version was published.
    pub published: Span,
    /// When it was first seen, as its producer says.
    pub first_seen: Span,
    /// When it was last seen, as its producer says.
    pub last_seen: Span,
    /// A moment at which it holds, as its producer says.
    pub valid_at: Option<Timestamp>,
    /// Who reported a sighting, sorted, without repeats.
    pub sighted_by: Vec<OrgSlug>,
    /// When one was recorded: at or after.
    pub sighted_since: Option<Timestamp>,
    /// What one says, sorted, without repeats.
    pub outcomes: Vec<Outcome>,
    /// What is searched in its texts.
    pub text: Option<Search>,
    /// What matches any one field of this is left out.
    pub except: Option<Box<Self>>,
}

/// A span of time, from its start to before its end; an absent end is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

impl Span {
    /// Whether it asks nothing.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether `at` lies in it; what is not said lies in none.
    #[must_use]
    pub fn holds(&self, at: Option<Timestamp>) -> bool {
        self.is_open()
            || at
                .is_some_and(|at| self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to))
    }
}

/// What a value is, or how it lies to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// This value; of a file, one of its hashes.
    Exact(Observable),
    /// Its canonical form begins so.
    Prefix(String),
    /// It is this domain or one below it, or its host is.
    DomainSuffix(String),
    /// It is an address, an endpoint or a network inside this network.
    Inside(IpNet),
    /// It is a network around this one.
    Containing(IpNet),
}

impl ValueMatch {
    /// Whether `value` is so.
    #[must_use]
    pub fn matches(&self, value: &Observable) -> bool {
        match self {
            Self::Exact(wanted) => wanted == value,
            Self::Prefix(prefix) => match value.as_text() {
                Some(text) => text.starts_with(prefix),
                None => value.to_string().starts_with(prefix),
            },
            Self::DomainSuffix(suffix) => host_name(value).is_some_and(|name| is_below(&name, suffix)),
            Self::Inside(net) => match value {
                Observable::Ipv4(ip) => net.contains(&IpAddr::from(*ip)),
                Observable::Ipv6(ip) => net.contains(&IpAddr::from(*ip)),
                Observable::Endpoint(at) => net.contains(&at.ip()),
                Observable::Cidr(inner) => net.contains(inner),
                _ => false,
            },
            Self::Containing(net) => matches!(value, Observable::Cidr(outer) if outer.contains(net)),
        }
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

numbered! {
    /// In which order indicators are listed. Numbers are sent.
    pub enum Order {
        /// Newest version first.
        ModifiedNewest = 1 is "modified",
        /// Oldest version first.
        ModifiedOldest = 2 is "modified-oldest",
        /// Last published first.
        PublishedNewest = 3 is "published",
        /// First published first.
        PublishedOldest = 4 is "published-oldest",
        /// Latest first seen first, by the hour.
        FirstSeenNewest = 5 is "first-seen",
        /// Earliest first seen first.
        FirstSeenOldest = 6 is "first-seen-oldest",
        /// Latest last seen first, by the hour.
        LastSeenNewest = 7 is "last-seen",
        /// Earliest last seen first.
        LastSeenOldest = 8 is "last-seen-oldest",
        /// Highest confidence first.
        ConfidenceHighest = 9 is "confidence",
        /// Lowest confidence first.
        ConfidenceLowest = 10 is "confidence-lowest",
    }
}

/// What is asked beside the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which are wanted.
    pub filter: IndicatorFilter,
    /// In which order.
    pub order: Order,
    /// What stood then; `None`: what stands.
    pub as_of: Option<Timestamp>,
    /// Whether to tell how the answer was found.
    pub explain: bool,
}

impl From<IndicatorFilter> for Question {
    fn from(filter: IndicatorFilter) -> Self {
        Self::new(filter)
    }
}

impl Order {
    /// Whether it goes by versions, which rise with positions.
    #[must_use]
    pub const fn by_version(self) -> bool {
        matches!(self, Self::ModifiedNewest | Self::ModifiedOldest)
    }
}

impl Question {
    /// What matches now, newest first.
    #[must_use]
    pub const fn new(filter: IndicatorFilter) -> Self {
        Self { filter, order: Order::ModifiedNewest, as_of: None, explain: false }
    }
}

/// Most terms of one field of a filter.
pub const MAX_FILTER_TERMS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::indicator::normalise;

    fn holds(wanted: &ValueMatch, text: &str) -> bool {
        wanted.matches(&normalise::detect(text).unwrap().observable)
    }

    #[test]
    fn a_suffix_finds_a_domain_what_is_below_it_and_what_has_it_for_its_host() {
        let suffix = ValueMatch::DomainSuffix("example.vn".into());
        for text in [
            "example.vn",
            "a.b.example.vn",
            "http://example.vn/x",
            "https://a.example.vn:8443/",
            "a.example.vn:443",
            "bob@mail.example.vn",
        ] {
            assert!(holds(&suffix, text), "{text}");
        }
        for text in ["badexample.vn", "example.vn.evil.org", "http://evil.org/example.vn", "198.51.100.7"] {
            assert!(!holds(&suffix, text), "{text}");
        }
        assert!(holds(&ValueMatch::DomainSuffix("vn".into()), "http://a.com.vn/"));
    }

    #[test]
    fn what_lies_in_a_network_and_what_it_lies_in_are_told_apart() {
        let inside = ValueMatch::Inside("198.51.100.0/24".parse().unwrap());
        for text in ["198.51.100.7", "198.51.100.7:443", "198.51.100.0/24", "198.51.100.128/25"] {
            assert!(holds(&inside, text), "{text}");
        }
        for text in ["198.51.101.7", "198.51.96.0/20", "2001:db8::7", "198.51.100.7.example.org"] {
            assert!(!holds(&inside, text), "{text}");
        }
        let containing = ValueMatch::Containing("198.51.100.0/24".parse().unwrap());
        for text in ["198.51.100.0/24", "198.51.96.0/20", "0.0.0.0/0"] {
            assert!(holds(&containing, text), "{text}");
        }
        for text in ["198.51.100.0/25", "198.51.100.7", "::/0"] {
            assert!(!holds(&containing, text), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_one_of_the_canonical_form() {
        assert!(holds(&ValueMatch::Prefix("http://exa".into()), "hXXp://EXAMPLE[.]org/"));
        assert!(holds(&ValueMatch::Prefix("198.51.".into()), "198.51.100.7"));
        assert!(!holds(&ValueMatch::Prefix("Exa".into()), "example.org"));
    }

    #[test]
    fn a_span_holds_its_start_and_not_its_end_and_nothing_unsaid() {
        let at = |micros| Some(Timestamp::from_micros_clamped(micros));
        let span = Span { from: at(5), to: at(7) };
        assert_eq!([4, 5, 6, 7].map(|micros| span.holds(at(micros))), [false, true, true, false]);
        assert!(!span.holds(None) && Span::default().holds(None));
    }
}
