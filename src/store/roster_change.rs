//! Decides how a change of the roster is stored: in the entry that makes or
//! proposes it, and while it waits for a second person.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::amendment::{PendingChange, RosterChange};
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::roster::{Grant, Group, Patch};

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{self, Family};
use super::proto;
use super::roster::{
    date, day, decode_duty, decode_group, decode_organisation, decode_principal, decode_relation,
    encode_duty, encode_group, encode_organisation, encode_principal, encode_relation, message,
};

const PENDING: u8 = b'q';

/// A change of the roster for an entry of the log.
#[must_use]
pub fn encode_change(change: &RosterChange) -> proto::RosterChange {
    let RosterChange { patch, date, base, proposal } = change;
    let principal = |(id, grant): &(SpiffeId, Option<Grant>)| match grant {
        Some(grant) => encode_principal(id, grant),
        None => proto::Principal { spiffe_id: id.to_string(), ..Default::default() },
    };
    let group = |(slug, group): &(OrgSlug, Option<Group>)| match group {
        Some(group) => encode_group(group),
        None => proto::Group { slug: slug.to_string(), removed: true, ..Default::default() },
    };
    proto::RosterChange {
        date: day(Some(*date)),
        organisations: patch.organisations.iter().map(|org| encode_organisation(org, 0)).collect(),
        principals: patch.principals.iter().map(principal).collect(),
        groups: patch.groups.iter().map(group).collect(),
        duties: patch.duties.iter().flatten().map(encode_duty).collect(),
        duties_changed: patch.duties.is_some(),
        relations: patch.relations.iter().flatten().map(encode_relation).collect(),
        relations_changed: patch.relations.is_some(),
        proposal: proposal.map(Position::raw).unwrap_or_default(),
        base: base.map(|base| base.to_vec()).unwrap_or_default().into(),
    }
}

/// A change of the roster from an entry of the log.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_change(stored: &proto::RosterChange) -> Result<RosterChange, Error> {
    let organisations = stored.organisations.iter().map(|org| decode_organisation(org).map(|(_, org)| org));
    let principals = stored.principals.iter().map(|principal| {
        let (id, grant) = decode_principal(principal)?;
        Ok((id, (principal.roles != 0).then_some(grant)))
    });
    let groups = stored.groups.iter().map(|group| {
        let removed = group.removed;
        let group = decode_group(group)?;
        Ok((group.slug.clone(), (!removed).then_some(group)))
    });
    let patch = Patch {
        organisations: organisations.collect::<Result<_, Error>>()?,
        principals: principals.collect::<Result<_, Error>>()?,
        groups: groups.collect::<Result<_, Error>>()?,
        duties: stored
            .duties_changed
            .then(|| stored.duties.iter().map(decode_duty).collect::<Result<_, _>>())
            .transpose()?,
        relations: stored
            .relations_changed
            .then(|| stored.relations.iter().map(decode_relation).collect::<Result<_, _>>())
            .transpose()?,
    };
    let base = match stored.base.as_ref() {
        [] => None,
        base => Some(base.try_into().map_err(|_| Error::corrupt("roster digest", base.len()))?),
    };
    Ok(RosterChange {
        patch,
        date: date(stored.date).ok_or_else(|| Error::corrupt("day", stored.date))?,
        base,
        proposal: (stored.proposal != 0).then(|| Position::from_raw(stored.proposal)),
    })
}

impl Batch<'_> {
    /// A change that waits, under the position of its proposal, or its end.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn pending_change(&mut self, at: Position, pending: Option<&PendingChange>) -> Result<(), Error> {
        let record = pending.map(|pending| {
            let PendingChange { change, author, time } = pending;
            let (change, time) = (Some(encode_change(change)), time.as_micros());
            proto::PendingChange { change, author: author.clone(), time }.encode_to_vec()
        });
        self.directory(PENDING, &at.raw().to_be_bytes(), record.as_deref())
    }
}

impl Store {
    /// The changes that wait for a second person.
    pub(super) fn pending_changes(&self) -> Result<BTreeMap<Position, Arc<PendingChange>>, Error> {
        let mut all = BTreeMap::new();
        let mut records = self.records(Family::Meta, &keys::directory(PENDING, b""))?;
        while let Some((key, value)) = records.next_record()? {
            let damaged = || Error::corrupt("pending change", &key);
            let stored: proto::PendingChange = message(&key, &value)?;
            let at = key.last_chunk::<8>().ok_or_else(damaged)?;
            let change = decode_change(stored.change.as_ref().ok_or_else(damaged)?)?;
            let time = Timestamp::from_micros_clamped(stored.time);
            let pending = PendingChange { change, author: stored.author, time };
            all.insert(Position::from_raw(u64::from_be_bytes(*at)), Arc::new(pending));
        }
        Ok(all)
    }
}
