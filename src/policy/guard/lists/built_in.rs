//! Decides what no list has to say: names under which everyone registers, names
//! of governments and armed forces, and addresses that mean another machine to
//! each who reads them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::forms::Forms;
use super::networks;
use crate::model::asset::Matcher;
use crate::model::indicator::{Kind, Observable, everyones};
use crate::model::warninglist::{Kinds, ListName};

/// A list that is a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// Public suffixes, private ones such as those of hosts of pages too.
    PublicSuffixes,
    /// Names that only a government or armed forces can have.
    GovernmentNames,
    /// Private, reserved and far too wide networks.
    ReservedNetworks,
    /// Names and networks of members, as the roster of the day has them.
    MembersOwn,
}

/// First labels of public suffixes under which governments and armed forces
/// have their names; `gov` and `mil` are suffixes of their own too.
const GOVERNMENT: [&str; 8] = ["gov", "gob", "gouv", "govt", "gub", "government", "mil", "gc"];
/// Where `go` is such a label; elsewhere it is a place.
const GO: [&str; 7] = ["id", "jp", "ke", "kr", "th", "tz", "ug"];

impl BuiltIn {
    /// Every one.
    pub const ALL: &[Self] =
        &[Self::PublicSuffixes, Self::GovernmentNames, Self::ReservedNetworks, Self::MembersOwn];

    /// Its names; the version is of this program's rules.
    #[must_use]
    pub fn name(self) -> ListName {
        let (slug, name) = match self {
            Self::PublicSuffixes => {
                ("public-suffixes", "Public suffixes, under which everyone registers names")
            }
            Self::GovernmentNames => ("government-names", "Names of governments and armed forces"),
            Self::ReservedNetworks => {
                ("reserved-networks", "Private and reserved addresses, and networks too wide")
            }
            Self::MembersOwn => ("members-own", "Names and networks of members, by the roster"),
        };
        ListName { slug: slug.to_owned(), name: name.to_owned(), version: 1 }
    }

    /// The kinds that it speaks of.
    pub(super) fn kinds(self) -> Kinds {
        match self {
            Self::PublicSuffixes | Self::GovernmentNames => {
                Kinds::of(&[Kind::Domain, Kind::Endpoint, Kind::Url])
            }
            Self::ReservedNetworks => {
                Kinds::of(&[Kind::Ipv4, Kind::Ipv6, Kind::Cidr, Kind::Endpoint, Kind::Url])
            }
            Self::MembersOwn => Kinds::of(&Matcher::KINDS),
        }
    }

    /// Whether it holds a value, beside what `members` call their own.
    pub(super) fn holds(self, value: &Observable, forms: &Forms<'_>, members: &Matcher) -> bool {
        let host = forms.host.filter(|_| forms.all_of_host);
        match self {
            Self::PublicSuffixes => host.is_some_and(is_suffix),
            Self::GovernmentNames => host.is_some_and(is_government),
            Self::ReservedNetworks => forms.network.is_some_and(is_reserved),
            Self::MembersOwn => !members.is_empty() && members.matches(value),
        }
    }
}

/// Whether everyone may register names under this one, at whoever's register,
/// or it is a name of one label.
fn is_suffix(name: &str) -> bool {
    !name.contains('.')
        || psl::suffix(name.as_bytes())
            .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes())
}

fn is_government(name: &str) -> bool {
    let (rest, last) = name.rsplit_once('.').unwrap_or(("", name));
    if matches!(last, "gov" | "mil") {
        return true;
    }
    let label = rest.rsplit_once('.').map_or(rest, |(_, label)| label);
    let meant = match label {
        "go" => GO.contains(&last),
        label => GOVERNMENT.contains(&label) && last.len() == 2,
    };
    // Elsewhere it is a name like any other.
    let tail = name.len().saturating_sub(label.len().saturating_add(last.len()).saturating_add(1));
    meant && name.get(tail..).is_some_and(is_suffix)
}

fn is_reserved(net: IpNet) -> bool {
    let ends: [IpAddr; 2] = [net.network(), net.broadcast()];
    networks::is_wide(net) || ends.into_iter().all(everyones::is_local_address)
}
