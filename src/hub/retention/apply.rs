//! Decides what an entry about retention does: deterministic, as all of
//! [`super::super::apply`]. What an entry drops it names, with what keeps the
//! value refused, for the record itself is not there to be looked at again.

use crate::base::clock::Timestamp;
use crate::base::digest::Multiset;
use crate::model::audience::ClassNo;
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::store::chunk::Rest;
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::record::Assertion;
use crate::store::truncate::Base;
use crate::store::{Batch, db};

use super::super::apply::{Entry, value_keys};
use super::super::group::{Group, resolved};
use super::super::proposal::{Change, Decision};

/// A step of keeping less.
#[derive(Debug, Clone)]
pub enum Retain {
    /// From where on the log is kept whole.
    Base {
        /// From there.
        base: Base,
        /// The policy that says so.
        policy: String,
    },
    /// To drop those of these records that stand as they did, and may be.
    Ask(Vec<Candidate>),
    /// These records are dropped.
    Drop(Vec<Dropped>),
    /// What is left up to a position.
    State {
        /// Up to there.
        position: Position,
        /// Digest of the chunks.
        digest: Multiset,
    },
}

/// A record that may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where it was born.
    pub handle: Position,
    /// Its newest version.
    pub newest: Position,
}

/// A record that is dropped.
#[derive(Debug, Clone)]
pub struct Dropped {
    record: Candidate,
    /// The keys of its values, aliases last.
    keys: Vec<Vec<u8>>,
    owner: OrgNo,
    class: ClassNo,
    digest: u64,
    /// Whether its owner took it back: it stays refused.
    revoked: bool,
}

impl Retain {
    /// About how many bytes it adds to a commit group.
    pub(in super::super) const fn weight(&self) -> usize {
        match self {
            Self::Base { .. } | Self::State { .. } => 4_096,
            // A chunk is written anew for each.
            Self::Ask(records) => records.len() * 8_192,
            Self::Drop(records) => records.len() * 8_192,
        }
    }

    pub(in super::super) fn encode(&self) -> Stored {
        match self {
            Self::Base { base, policy } => Stored::RetentionBase(proto::RetentionBase {
                position: base.position.raw(),
                horizon: base.horizon.as_micros(),
                planned: base.planned.as_micros(),
                policy: policy.clone(),
            }),
            // It is judged before it is written.
            Self::Ask(_) => Stored::RetentionDrop(proto::RetentionDrop::default()),
            Self::Drop(records) => Stored::RetentionDrop(proto::RetentionDrop {
                records: records.iter().map(Dropped::encode).collect(),
            }),
            Self::State { position, digest } => Stored::BaseState(proto::BaseState {
                position: position.raw(),
                digest: digest.to_bytes().to_vec().into(),
                format_version: db::TRUNCATED_VERSION,
            }),
        }
    }
}

impl Dropped {
    fn encode(&self) -> proto::DroppedRecord {
        let Self { record: Candidate { handle, newest }, keys, owner, class, digest, revoked } = self;
        proto::DroppedRecord {
            handle: handle.raw(),
            newest: newest.raw(),
            owner: owner.0,
            class: class.0,
            digest: *digest,
            keys: keys.iter().map(|key| key.clone().into()).collect(),
            revoked: *revoked,
        }
    }

    fn decode(stored: &proto::DroppedRecord) -> Self {
        let proto::DroppedRecord { handle, newest, owner, class, digest, keys, revoked } = stored;
        Self {
            record: Candidate { handle: Position::from_raw(*handle), newest: Position::from_raw(*newest) },
            keys: keys.iter().map(|key| key.to_vec()).collect(),
            owner: OrgNo(*owner),
            class: ClassNo(*class),
            digest: *digest,
            revoked: *revoked,
        }
    }
}

/// What an entry about retention says; `None`: it is about something else.
pub(in super::super) fn stored(header: &proto::EntryHeader) -> Option<Result<Change, db::Error>> {
    let step = match header.change.as_ref()? {
        Stored::RetentionBase(stored) => Ok(Retain::Base {
            base: Base {
                position: Position::from_raw(stored.position),
                horizon: Timestamp::from_micros_clamped(stored.horizon),
                planned: Timestamp::from_micros_clamped(stored.planned),
            },
            policy: stored.policy.clone(),
        }),
        Stored::RetentionDrop(stored) => {
            Ok(Retain::Drop(stored.records.iter().map(Dropped::decode).collect()))
        }
        Stored::BaseState(stored) => match stored.digest.as_ref().try_into() {
            Ok(digest) => Ok(Retain::State {
                position: Position::from_raw(stored.position),
                digest: Multiset::from_bytes(digest),
            }),
            Err(_) => Err(db::Error::corrupt("base state", stored.position)),
        },
        _ => return None,
    };
    Some(step.map(|step| Change::Retain(Box::new(step))))
}

impl Group<'_> {
    /// Those of the candidates that are dropped: they have ended, nobody wrote
    /// of them since they were found, and nobody has or asks for leave to
    /// republish them.
    pub(in super::super) fn judge(&self, candidates: &[Candidate]) -> Result<Vec<Dropped>, db::Error> {
        let upto = self.store.truncated()?.upto;
        let mut dropped = Vec::new();
        for &record in candidates {
            if record.newest > upto || self.newest(record.handle)? != record.newest {
                continue;
            }
            let Some(standing) = self.kept(record.newest)? else { continue };
            let header = &standing.header;
            let ended = header.op.is_version() && header.state != State::Active;
            if !ended || header.handle != record.handle || self.has_leave(header.owner, record.handle)? {
                continue;
            }
            dropped.push(Dropped {
                record,
                keys: value_keys(&standing.body)?,
                owner: header.owner,
                class: header.class,
                digest: header.digest,
                revoked: header.state == State::Revoked,
            });
        }
        Ok(dropped)
    }

    fn has_leave(&self, owner: OrgNo, indicator: Position) -> Result<bool, db::Error> {
        let of_group = self.leaves.records.keys().any(|key| key.indicator == indicator);
        Ok(of_group || self.store.has_leave(owner, indicator)?)
    }

    /// Applies a step that was judged.
    pub(in super::super) fn retain(
        &mut self,
        step: &Retain,
        entry: &Entry<'_>,
    ) -> Result<Decision, db::Error> {
        let at = entry.seq.at(0);
        match step {
            Retain::Base { base, .. } => self.base = Some(*base),
            Retain::State { position, digest } => self.base_state = Some((*position, *digest)),
            Retain::Ask(_) => {}
            Retain::Drop(records) => {
                for record in records {
                    self.drop_record(record)?;
                }
                self.drops.push(at);
            }
        }
        Ok(resolved(at))
    }

    fn drop_record(&mut self, dropped: &Dropped) -> Result<(), db::Error> {
        let Dropped { record: Candidate { handle, newest }, ref keys, owner, class, digest, revoked } =
            *dropped;
        for (place, key) in keys.iter().enumerate() {
            self.edit(key, |all| {
                // What its owner said last counts: what was taken back before it
                // is forgotten with a record that was brought back since.
                let before = |known: &Assertion| known.is_dropped() && known.owner == owner;
                all.retain(|known| known.handle != handle && !before(known));
                if revoked {
                    let (alias, state) = (place > 0, State::Revoked);
                    let known = Assertion { owner, handle, newest, class, state, alias, digest };
                    all.push(known.dropped());
                    all.sort_unstable_by_key(|assertion| (assertion.owner, assertion.handle));
                }
            })?;
        }
        self.end_containment(handle)?;
        self.gone.insert(handle, Rest::Nothing);
        self.gone.insert(newest, Rest::Nothing);
        self.dropped.push(handle);
        Ok(())
    }

    /// Writes what the group keeps no longer.
    pub(in super::super) fn retain_to(&self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        if let Some(base) = &self.base {
            batch.base(base)?;
        }
        if let Some((position, digest)) = &self.base_state {
            batch.base_state(*position, digest)?;
        }
        if self.drops.is_empty() {
            return Ok(());
        }
        let cuts = self.store.cuts(&self.gone)?;
        let mut mark = self.store.truncated()?;
        cuts.note(&mut mark);
        mark.dropped += self.dropped.len() as u64;
        batch.cut(self.store, &cuts, &mark)?;
        for handle in &self.dropped {
            batch.no_latest(*handle)?;
        }
        let mut owed = self.store.owed_drops()?;
        owed.extend(&self.drops);
        batch.owed_drops(&owed)
    }
}
