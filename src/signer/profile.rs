//! Decides what a signer signs, whoever asks: the hub proposes, and an order
//! outside of this profile is refused even if the hub is in foreign hands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::past::ListPast;
use crate::base::clock::Timestamp;
use crate::pki::identity::serial_hex;
use crate::pki::issue::{Authority, BACKDATE, DAY, Hierarchy, lifetime, serial_from_hex};
use crate::pki::revocation::SKEW;
use crate::pki::signing::{Holder, LeafOrder, ListOrder};

/// Longest time until the next revocation list is due.
pub const MAX_LIST_LIFETIME: Duration = DAY.saturating_mul(31);
/// Most certificates that a list revokes.
pub const MAX_REVOKED: usize = 100_000;
/// Most names of a server certificate.
const MAX_NAMES: usize = 100;

/// What may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The one trust domain of clients' identities.
    pub trust_domain: String,
    /// The names that server certificates may carry: DNS names, and IP
    /// addresses as text.
    pub server_names: BTreeSet<String>,
    /// Longest life of a client certificate.
    pub client_lifetime: Duration,
    /// Longest life of a server certificate.
    pub server_lifetime: Duration,
    /// Most leaves signed within an hour.
    pub leaves_per_hour: usize,
    /// Most revocation lists signed within an hour.
    pub lists_per_hour: usize,
}

impl Profile {
    /// The usual bounds, for clients of `trust_domain` and a hub of these names.
    #[must_use]
    pub const fn new(trust_domain: String, server_names: BTreeSet<String>) -> Self {
        Self {
            trust_domain,
            server_names,
            client_lifetime: lifetime::CLIENT,
            server_lifetime: lifetime::SERVER,
            leaves_per_hour: 1_000,
            lists_per_hour: 1_000,
        }
    }

    /// Checks a leaf that `authority` is to sign. That it is no authority's,
    /// has its one purpose, a key of a kind that is taken and a serial number
    /// is given by how leaves are made ([`Authority::sign_leaf`]).
    pub(super) fn check_leaf(
        &self,
        order: &LeafOrder,
        hierarchy: Hierarchy,
        authority: &Authority,
        now: Timestamp,
    ) -> Result<(), String> {
        check_valid_now(authority, now)?;
        let longest = match (hierarchy, &order.holder) {
            (Hierarchy::Client, Holder::Client(id)) => {
                if id.trust_domain() != self.trust_domain {
                    return Err(format!("the identity is not of trust domain {}", self.trust_domain));
                }
                self.client_lifetime
            }
            (Hierarchy::Server, Holder::Server { dns, ip }) => {
                let names = dns.iter().cloned().chain(ip.iter().map(ToString::to_string));
                self.check_names(names)?;
                self.server_lifetime
            }
            (Hierarchy::Client, Holder::Server { .. }) => {
                return Err("an authority of the client hierarchy signs clients alone".to_owned());
            }
            (Hierarchy::Server, Holder::Client(_)) => {
                return Err("an authority of the server hierarchy signs servers alone".to_owned());
            }
        };
        check_begin(order.not_before, now)?;
        if order.not_after > now.saturating_add(longest).saturating_add(SKEW) {
            let days = longest.as_secs() / DAY.as_secs();
            return Err(format!("it would live longer than the {days} days that are allowed"));
        }
        Ok(())
    }

    fn check_names(&self, names: impl Iterator<Item = String>) -> Result<(), String> {
        for (index, name) in names.enumerate() {
            if index >= MAX_NAMES {
                return Err(format!("a server certificate has at most {MAX_NAMES} names"));
            }
            if !self.server_names.contains(&name) {
                return Err(format!("{name:?} is not among the server_names in the signer's configuration"));
            }
        }
        Ok(())
    }

    /// Checks a revocation list that is to follow `past`; `is_over` says
    /// whether a certificate expired, by its serial number.
    pub(super) fn check_list(
        order: &ListOrder,
        authority: &Authority,
        past: Option<&ListPast>,
        is_over: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Result<(), String> {
        check_valid_now(authority, now)?;
        check_begin(order.this_update, now)?;
        if order.next_update > now.saturating_add(MAX_LIST_LIFETIME).saturating_add(SKEW) {
            let days = MAX_LIST_LIFETIME.as_secs() / DAY.as_secs();
            return Err(format!("the next list must be due within {days} days"));
        }
        if order.revoked.len() > MAX_REVOKED {
            return Err(format!("a list revokes at most {MAX_REVOKED}; leave out what expired"));
        }
        let revoked: BTreeMap<_, _> =
            order.revoked.iter().map(|(serial, at)| (serial.as_str(), at)).collect();
        if revoked.len() != order.revoked.len() {
            return Err("a serial number stands in the list twice".to_owned());
        }
        let canonical = |serial: &str| serial_from_hex(serial).and_then(|raw| serial_hex(&raw));
        if let Some(serial) = revoked.keys().find(|serial| canonical(serial).as_deref() != Some(**serial)) {
            return Err(format!(
                "{serial:?} is no serial number in lower-case hexadecimal without leading zeros"
            ));
        }
        if revoked.values().any(|at| **at > now.saturating_add(SKEW)) {
            return Err("a revocation is dated in the future; check the clocks".to_owned());
        }
        let last = past.map_or(0, |past| past.number);
        if order.number <= last {
            return Err(format!(
                "list number {} is not above {last}, the last one signed; read the signer's journal",
                order.number
            ));
        }
        let mut before = past.into_iter().flat_map(|past| &past.revoked);
        match before.find(|serial| !revoked.contains_key(serial.as_str()) && !is_over(serial)) {
            Some(serial) => Err(format!(
                "the list forgets {serial}, which list {last} revokes; nothing is un-revoked, read the signer's journal"
            )),
            None => Ok(()),
        }
    }
}

fn check_valid_now(authority: &Authority, now: Timestamp) -> Result<(), String> {
    let (begin, end) = (authority.not_before(), authority.not_after());
    if begin <= now && now < end {
        Ok(())
    } else {
        Err(format!("the authority is valid from {begin} to {end}, and not now, {now}"))
    }
}

/// What is signed begins about now.
fn check_begin(begin: Timestamp, now: Timestamp) -> Result<(), String> {
    if now.saturating_sub(BACKDATE).saturating_sub(SKEW) <= begin && begin <= now.saturating_add(SKEW) {
        Ok(())
    } else {
        Err(format!("it begins at {begin}, and the signer's clock says {now}; check the clocks"))
    }
}
