//! Decides what an owner is told of a collision, and that it is told once for
//! each record of another.

use crate::base::clock::Timestamp;
use crate::model::audience::ClassDefinition;
use crate::model::indicator::State;
use crate::model::marking::{Caveats, Marking, Tlp};
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::store::chunk::{Item, ItemHeader, Op};
use crate::store::db;
use crate::store::keys::Dimension;
use crate::store::postings::Posting;
use crate::wire::event;

use super::directory::Directory;
use super::group::{self, Group};
use super::proposal::{Collision, Decision, Effect, Refusal};
use super::writing::Writing;

/// Whom notices about a record of `owner` with this label reach: the owner,
/// and its successors where they have its rights to the record itself.
pub(super) const fn audience(owner: OrgSlug, tlp: Tlp) -> ClassDefinition {
    let tlp = if matches!(tlp, Tlp::Red) { Tlp::Red } else { Tlp::AmberStrict };
    ClassDefinition { owner, marking: Marking::open(tlp) }
}

impl Group<'_> {
    /// Tells the owner of a record, unless it was told before or the record
    /// no longer stands.
    pub(super) fn notify(
        &mut self,
        collision: &Collision,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let stands = |handle| -> Result<Option<ItemHeader>, db::Error> {
            Ok(self.kept(self.newest(handle)?)?.map(|standing| standing.header))
        };
        let (Some(record), Some(other)) = (stands(collision.record)?, stands(collision.other)?) else {
            return Ok(Decision::Refused(Refusal::Absent));
        };
        if record.state != State::Active || !record.op.is_version() || self.was_told(collision)? {
            return Ok(Decision::Refused(Refusal::Absent));
        }
        if other.original.is_some_and(|original| original.handle == collision.record) {
            // It gave leave for that.
            return Ok(Decision::Refused(Refusal::Absent));
        }
        let damaged = || db::Error::corrupt("owner", collision.record);
        let owner = self.directory.slug(record.owner).ok_or_else(damaged)?.clone();
        let definition = audience(owner, self.directory.tlp(record.class));
        let class = self.class(&definition);
        let (at, version) = writing.next();
        let directory = std::sync::Arc::clone(&self.directory);
        let seen = directory.reaches(record.owner, other.class);
        let told = event::Collision {
            record: collision.record,
            published: Timestamp::from_micros_clamped(other.version),
            other: seen.then_some(collision.other),
            other_owner: directory.slug(other.owner).filter(|_| seen && !is_masked(&directory, &other)),
        };
        let (body, tail_len) = event::finish_collision(self.sealer, at, &told);
        let header = ItemHeader {
            previous: collision.record,
            digest: collision.other.raw(),
            // The other's as it was told: what a reader may know of it later
            // begins there.
            previous_class: other.class,
            owner: record.owner,
            tail_len,
            ..group::born(Op::Notice, at, version, class, definition.marking.tlp)
        };
        let posting = Posting { position: at, handle: collision.other };
        self.postings.add(Dimension::Collision, collision.record.raw(), posting);
        self.told.insert(*collision);
        self.write(at, Item { header, terms: Vec::new(), previous_terms: Vec::new(), body }, writing);
        Ok(Decision::Written { handle: at, position: at, version, effect: Effect::Noticed })
    }

    /// Whether the owner heard of this collision already. There is at most
    /// one for each organisation that holds the value, so the walk is short.
    fn was_told(&self, collision: &Collision) -> Result<bool, db::Error> {
        if self.told.contains(collision) {
            return Ok(true);
        }
        let mut blocks =
            self.store.postings_after(Dimension::Collision, collision.record.raw(), Position::ZERO)?;
        while let Some(block) = blocks.next_block()? {
            if block.iter().any(|posting| posting.handle == collision.other) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_masked(directory: &Directory, header: &ItemHeader) -> bool {
    directory
        .class(header.class)
        .is_none_or(|class| class.definition.marking.caveats.contains(Caveats::MASKED_SOURCE))
}
