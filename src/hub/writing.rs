//! Decides how an entry is laid down: its header, and the places and versions
//! of its items.

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::store::chunk::Builder;
use crate::store::{self, certificate, proto, roster_change};

use super::apply::Entry;
use super::containing;
use super::holding;
use super::leave;
use super::proposal::{Change, ProposedIndicator, ProposedPublication, RejectedChange};

/// An entry being written.
pub(super) struct Writing {
    pub(super) builder: Builder,
    seq: Seq,
    pub(super) ordinal: u16,
    pub(super) version: u64,
    seed: u64,
    pub(super) time: Timestamp,
    /// SPIFFE identity of who asked.
    pub(super) author: String,
    /// Whether the first acts for the second: the same for all items, as a
    /// rule.
    pub(super) delegation: Option<(OrgNo, OrgNo, bool)>,
}

impl Writing {
    pub(super) fn new(entry: &Entry<'_>, floor: u64) -> Self {
        use proto::entry_header::Change as Stored;
        let change = match entry.change {
            Change::Publish(_) => Stored::Publish(proto::Publish {}),
            Change::Revoke(_) => Stored::Revoke(proto::Revoke {}),
            Change::Sight(_) => Stored::Sight(proto::Sight {}),
            Change::Expire(_) => Stored::Expire(proto::Expire {}),
            Change::Notice(_) => Stored::Notice(proto::Notice {}),
            Change::Roster(change) => Stored::Roster(roster_change::encode_change(change)),
            Change::Leave(asked) => Stored::Leave(leave::encode(asked)),
            Change::Wait(asked) => Stored::Held(holding::encode_wait(asked)),
            Change::Answer(asked) => Stored::Held(holding::encode_answer(asked)),
            Change::Contain(asked) => Stored::Containment(containing::encode(asked)),
            Change::Assets(asked) => {
                Stored::Assets(store::asset::encode_change(asked.organisation, &asked.change))
            }
            Change::Certificate(entry) => Stored::Certificate(certificate::encode_change(entry)),
            Change::Rotate(asked) => {
                Stored::Certificate(certificate::encode_rotation(asked.time, &asked.rotation))
            }
            Change::Retain(step) => step.encode(),
            Change::Propose(change) => Stored::RosterProposal(roster_change::encode_change(change)),
            Change::Reject(RejectedChange { proposal, reason }) => {
                let (proposal, reason) = (proposal.raw(), reason.clone());
                Stored::RosterRejection(proto::RosterRejection { proposal, reason })
            }
        };
        let judged = match entry.change {
            Change::Publish(ProposedPublication { judged, .. }) => Some(judged),
            _ => None,
        };
        let header = proto::EntryHeader {
            time: entry.time.as_micros(),
            author: entry.author.to_owned(),
            version_seed: entry.seed,
            version_floor: floor,
            salt: entry.salt.to_vec().into(),
            change: Some(change),
            guard_generation: judged.map_or(0, |judged| judged.generation),
            verdicts: judged.and_then(|judged| judged.verdicts.clone()),
            ..Default::default()
        };
        Self {
            builder: Builder::new(entry.seq.at(0), header.encode_to_vec(), floor),
            seq: entry.seq,
            ordinal: 0,
            version: floor,
            seed: entry.seed,
            time: entry.time,
            author: entry.author.to_owned(),
            delegation: None,
        }
    }

    /// Where an indicator stands as it is published: one past its validity
    /// goes on record as expired at once, so that nobody acts on it for a
    /// moment.
    pub(super) fn state(&self, item: &ProposedIndicator) -> State {
        let past = item.valid_until.is_some_and(|until| until <= self.time);
        if past { State::Expired } else { State::Active }
    }

    /// Position and version of the next item. Versions rise by a random gap
    /// of 1 to 4 µs, so that nothing hidden between two can be counted.
    pub(super) fn next(&mut self) -> (Position, u64) {
        let at = self.seq.at(self.ordinal);
        self.version += 1 + (mix(self.seed ^ u64::from(self.ordinal)) & 3);
        self.ordinal += 1;
        (at, self.version)
    }
}

/// SplitMix64's finaliser: spreads a seed and a count over 64 bits.
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
