//! Decides what a signer remembers of its journal: which serial numbers were
//! given, what each list revoked, and how much was signed lately.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::pki::identity::{self, IssuerDigest, serial_hex};
use crate::pki::issue::{serial_from_hex, validity_of};
use crate::pki::signing::{Record, Signed};

/// The span over which signatures are counted.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// What was signed so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Every serial number given, by whichever authority, and when its
    /// certificate ends.
    serials: HashMap<[u8; 20], Timestamp>,
    lists: BTreeMap<IssuerDigest, ListPast>,
    leaves: Rate,
    list_signatures: Rate,
}

/// The last revocation list of one authority.
#[derive(Debug, Default)]
pub(super) struct ListPast {
    /// Its number.
    pub(super) number: u64,
    /// What it and those before it revoke.
    pub(super) revoked: BTreeSet<String>,
}

/// When the signatures of one kind within [`WINDOW`] were made.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<Timestamp>);

impl Rate {
    /// Whether one more is allowed now, at `most` within the window.
    pub(super) fn allows(&mut self, most: usize, now: Timestamp) -> bool {
        while self.0.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.len() < most
    }

    fn note(&mut self, at: Timestamp) {
        while self.0.front().is_some_and(|first| at.since(*first) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(at);
    }
}

impl Past {
    /// Takes in what was signed.
    pub(super) fn note(&mut self, record: &Record) {
        match &record.signed {
            Signed::Leaf { certificate } => {
                self.leaves.note(record.time);
                if let Ok(parsed) = identity::parse(certificate)
                    && let Some(serial) = padded(parsed.raw_serial())
                {
                    let end = validity_of(&parsed).map_or(record.time, |(_, end)| end);
                    self.serials.insert(serial, end);
                }
            }
            Signed::List { authority, number, added } => {
                self.list_signatures.note(record.time);
                let list = self.lists.entry(*authority).or_default();
                list.number = *number;
                list.revoked.extend(added.iter().map(|(serial, _)| serial.clone()));
            }
        }
    }

    /// Whether a serial number was given before.
    pub(super) fn is_given(&self, serial: &[u8]) -> bool {
        padded(serial).is_some_and(|serial| self.serials.contains_key(&serial))
    }

    /// Whether the certificate with this serial number is known, and expired.
    pub(super) fn is_over(&self, serial: &str, now: Timestamp) -> bool {
        let raw = serial_from_hex(serial);
        let end = raw.and_then(|raw| padded(&raw)).and_then(|serial| self.serials.get(&serial));
        end.is_some_and(|end| *end < now)
    }

    /// The last list of this authority.
    pub(super) fn list(&self, authority: IssuerDigest) -> Option<&ListPast> {
        self.lists.get(&authority)
    }

    /// What is in `revoked` and was in no list of this authority before.
    pub(super) fn added(
        &self,
        authority: IssuerDigest,
        revoked: &[(String, Timestamp)],
    ) -> Vec<(String, Timestamp)> {
        let before = self.list(authority);
        let known = |serial: &str| before.is_some_and(|list| list.revoked.contains(serial));
        revoked.iter().filter(|(serial, _)| !known(serial)).cloned().collect()
    }

    /// Leaves signed lately.
    pub(super) const fn leaves(&mut self) -> &mut Rate {
        &mut self.leaves
    }

    /// Lists signed lately.
    pub(super) const fn list_signatures(&mut self) -> &mut Rate {
        &mut self.list_signatures
    }
}

/// A serial number on the right of 20 bytes, so that zeros before it make no
/// difference.
fn padded(serial: &[u8]) -> Option<[u8; 20]> {
    serial_hex(serial)?;
    let from = serial.iter().position(|&byte| byte != 0)?;
    let significant = serial.get(from..)?;
    let mut padded = [0; 20];
    padded.get_mut(20 - significant.len()..)?.copy_from_slice(significant);
    Some(padded)
}
