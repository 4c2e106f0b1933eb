//! Decides what can be asked: AND across fields, OR within a field, an empty
//! field asks nothing.

use crate::base::clock::Timestamp;

use super::indicator::{Kind, Role, State};
use super::marking::Tlp;
use super::org::OrgSlug;

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
    /// States; not in a subscription.
    pub states: Vec<State>,
    /// Added at or after; not in a subscription.
    pub added_from: Option<Timestamp>,
    /// Added before; not in a subscription.
    pub added_to: Option<Timestamp>,
}

/// Most terms of one field of a filter.
pub const MAX_FILTER_TERMS: usize = 64;
