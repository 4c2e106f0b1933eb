//! Decides how values read as rules of Suricata and as lists of its IP
//! reputation.
//!
//! A domain has a rule each for the question to a resolver, the name in a TLS
//! handshake and the host of an HTTP request, of it and of all names below it.
//! An address or network has one, of whatever goes to or comes from it. Their
//! numbers follow from the value alone, so that they are the same in every
//! file and from one file to the next; see [`FIRST_SID`].

use crate::base::digest;
use crate::model::export::Omission;
use crate::model::indicator::Observable;

use super::{domain, line};

/// Values that have numbers of their own.
const PLACES: u32 = 1 << 27;
/// Numbers of one value.
const OF_EACH: u32 = 4;
/// The first number that a rule may have.
pub const FIRST_SID: u32 = 1_000_000_000;
/// The last one.
pub const LAST_SID: u32 = FIRST_SID + PLACES * OF_EACH - 1;
const _: () = assert!(LAST_SID == 1_536_870_911);

/// The file of categories that goes with a reputation list.
pub const CATEGORIES: &str = "1,LuyTre,Indicators that Luy Tre recommends to block\n";
/// The category in it.
const CATEGORY: u8 = 1;
/// The worst reputation that there is.
const SCORE: u8 = 127;

/// Places per page of those that are taken.
const PAGE: u32 = 1 << 16;

/// The numbers that are given away: a bit each, and at most 16 MiB for all.
#[derive(Default)]
pub(super) struct Sids {
    pages: Vec<Option<Box<[u64]>>>,
    taken: u32,
}

impl std::fmt::Debug for Sids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sids({})", self.taken)
    }
}

impl Sids {
    /// The first of the numbers of a value: the place that its digest names,
    /// or the next one that is free. `None` if there is none.
    fn give(&mut self, kind: &str, value: &str) -> Option<u32> {
        if self.taken == PLACES {
            return None;
        }
        let wanted = digest::sha256_u64(format!("{kind}\0{value}").as_bytes());
        let mut place = u32::try_from(wanted % u64::from(PLACES)).ok()?;
        while !self.take(place)? {
            place = (place + 1) % PLACES;
        }
        self.taken += 1;
        Some(FIRST_SID + place * OF_EACH)
    }

    /// Takes a place; whether it was free.
    fn take(&mut self, place: u32) -> Option<bool> {
        let (page, bit) = ((place / PAGE) as usize, place % PAGE);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages.get_mut(page)?;
        let words = page.get_or_insert_with(|| vec![0; (PAGE / 64) as usize].into_boxed_slice());
        let word = words.get_mut((bit / 64) as usize)?;
        let mask = 1 << (bit % 64);
        let free = *word & mask == 0;
        *word |= mask;
        Some(free)
    }
}

/// Writes the rules of a value.
pub(super) fn rules(sids: &mut Sids, value: &Observable, out: &mut Vec<u8>) -> Result<(), Omission> {
    let kind = value.kind().as_str();
    match value {
        Observable::Domain(_) => {
            let name = domain(value)?;
            let sid = sids.give(kind, name).ok_or(Omission::Spelling)?;
            // The buffer of the host is in lower case, and refuses to be told so.
            let places =
                [("dns", "dns.query", " nocase;"), ("tls", "tls.sni", " nocase;"), ("http", "http.host", "")];
            for ((protocol, buffer, case), sid) in places.into_iter().zip(sid..) {
                line(
                    out,
                    format_args!(
                        "alert {protocol} any any -> any any (msg:\"Luy Tre: {kind} {name}\"; {buffer}; dotprefix; \
                         content:\".{name}\"; endswith;{case} sid:{sid}; rev:1;)"
                    ),
                );
            }
        }
        _ => {
            let address = address(value)?;
            let sid = sids.give(kind, &address).ok_or(Omission::Spelling)?;
            line(
                out,
                format_args!(
                    "alert ip any any <> {address} any (msg:\"Luy Tre: {kind} {address}\"; sid:{sid}; rev:1;)"
                ),
            );
        }
    }
    Ok(())
}

/// Writes the line of a value in a reputation list.
pub(super) fn reputation(value: &Observable, out: &mut Vec<u8>) -> Result<(), Omission> {
    line(out, format_args!("{},{CATEGORY},{SCORE}", address(value)?));
    Ok(())
}

fn address(value: &Observable) -> Result<String, Omission> {
    match value {
        Observable::Ipv4(_) | Observable::Ipv6(_) | Observable::Cidr(_) => Ok(value.to_string()),
        _ => Err(Omission::Kind),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_is_given_once_and_the_same_value_gets_the_same() {
        let mut sids = Sids::default();
        let given: Vec<_> =
            (0..20_000).filter_map(|n| sids.give("domain", &format!("{n}.example"))).collect();
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 20_000);
        assert!(
            given
                .iter()
                .all(|sid| (FIRST_SID..=LAST_SID - 3).contains(sid)
                    && (sid - FIRST_SID).is_multiple_of(OF_EACH))
        );
        assert_eq!(Sids::default().give("domain", "7.example"), Some(given[7]));
        assert_ne!(Sids::default().give("ipv4", "7.example"), Some(given[7]));
        // Where a place is taken, the next one is given.
        let again = sids.give("domain", "7.example").unwrap();
        assert!(again != given[7] && !given.contains(&again));
    }
}
