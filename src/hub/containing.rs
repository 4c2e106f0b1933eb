//! Decides what the hold of a unit that leads does to an indicator, and how it
//! ends; deterministic, as all of [`super::apply`].

use std::collections::BTreeMap;

use crate::base::clock::Timestamp;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::containment::{Containment, HoldState, LONGEST, MAX_LASTING};
use crate::model::held::Held;
use crate::model::indicator::State;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::{Item, ItemHeader, ItemView, Op};
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::{Batch, db};
use crate::wire::{containment as wire, event};

use super::apply::Entry;
use super::group::{self, Group, Standing};
use super::notice;
use super::proposal::{Change, Decision, Effect, HoldAct, ProposedHold, Refusal};
use super::writing::Writing;

const HOLD: u32 = 1;
const RELEASE: u32 = 2;
const END: u32 = 3;
const ABSENT: Decision = Decision::Refused(Refusal::Absent);
const MICROS_PER_MINUTE: u64 = 60_000_000;

/// What a commit group changes of holds: as they were before, and are in it.
#[derive(Debug, Default)]
pub(super) struct Containments(BTreeMap<Position, (Option<Containment>, Option<Containment>)>);

impl Containments {
    pub(super) fn write_to(&self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        let mut changes = self.0.iter();
        changes.try_for_each(|(indicator, (before, hold))| {
            batch.containment(*indicator, before.as_ref(), hold.as_ref())
        })
    }

    /// How many last in the group, of `stored` before it.
    fn lasting(&self, stored: usize) -> usize {
        let lasts = |hold: &Option<Containment>| hold.as_ref().is_some_and(Containment::lasts);
        let begun = self.0.values().filter(|(before, hold)| lasts(hold) && !lasts(before)).count();
        let ended = self.0.values().filter(|(before, hold)| lasts(before) && !lasts(hold)).count();
        (stored + begun).saturating_sub(ended)
    }
}

impl Group<'_> {
    pub(super) fn containment_of(&self, indicator: Position) -> Result<Option<Containment>, db::Error> {
        match self.containments.0.get(&indicator) {
            Some((_, hold)) => Ok(hold.clone()),
            None => self.store.containment(indicator),
        }
    }

    fn set_containment(&mut self, indicator: Position, hold: Option<Containment>) -> Result<(), db::Error> {
        let before = match self.containments.0.remove(&indicator) {
            Some((before, _)) => before,
            None => self.store.containment(indicator)?,
        };
        self.containments.0.insert(indicator, (before, hold));
        Ok(())
    }

    /// Ends the hold on an indicator, and forgets that there was one: another
    /// version stands.
    pub(super) fn end_containment(&mut self, indicator: Position) -> Result<(), db::Error> {
        if self.containment_of(indicator)?.is_some() { self.set_containment(indicator, None) } else { Ok(()) }
    }

    /// What a version that ends an indicator does to a hold: it lasts on over
    /// the end of the validity, which comes to light with all else. That of one
    /// that is revoked is returned, for its owner to be told, see
    /// [`Self::outlast`].
    pub(super) fn settle_containment(
        &mut self,
        indicator: Position,
        op: Op,
    ) -> Result<Option<Containment>, db::Error> {
        let Some(hold) = self.containment_of(indicator)? else { return Ok(None) };
        if hold.lasts() && op == Op::Expire {
            return Ok(None);
        }
        self.set_containment(indicator, None)?;
        Ok(Some(hold).filter(|hold| hold.lasts() && op == Op::Revoke))
    }

    /// Tells the owner of an indicator that was revoked while it was held.
    pub(super) fn outlast(
        &mut self,
        hold: Containment,
        indicator: Position,
        owner: OrgNo,
        writing: &mut Writing,
    ) -> Result<(), db::Error> {
        self.tell_containment(hold.revoked(), Some(""), indicator, owner, writing).map(drop)
    }

    /// The refusal of another version while a hold lasts.
    pub(super) fn contained(
        &self,
        indicator: Position,
        now: Timestamp,
    ) -> Result<Option<Refusal>, db::Error> {
        let hold = self.containment_of(indicator)?.filter(|hold| hold.blocks(now));
        Ok(hold.map(|hold| {
            let minutes = hold.until.as_micros().div_ceil(MICROS_PER_MINUTE);
            Refusal::Contained(u32::try_from(minutes).unwrap_or(u32::MAX))
        }))
    }

    /// Holds an indicator, or ends a hold.
    pub(super) fn contain(
        &mut self,
        asked: &ProposedHold,
        entry: &Entry<'_>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let Some(standing) = self.kept(self.newest(asked.indicator)?)? else { return Ok(ABSENT) };
        let record = standing.header;
        if !record.op.is_version() || record.handle != asked.indicator {
            return Ok(ABSENT);
        }
        let before = self.containment_of(asked.indicator)?;
        let lasts = before.as_ref().filter(|hold| hold.lasts());
        if let HoldAct::End = asked.act {
            return match lasts.filter(|hold| hold.until <= writing.time && writing.author.is_empty()) {
                Some(hold) => self.restore(hold.clone(), "", standing, entry, writing),
                None => Ok(ABSENT),
            };
        }
        let (org, person) = match self.leading(record.class, writing) {
            Ok(leading) => leading,
            Err(refusal) => return Ok(Decision::Refused(refusal)),
        };
        match (&asked.act, lasts) {
            (HoldAct::Hold { .. }, Some(hold)) if hold.by == org => {
                Ok(Decision::Unchanged { handle: hold.at, position: hold.at, version: record.version })
            }
            (HoldAct::Hold { .. }, _)
                if record.state != State::Active || is_over(&standing, writing.time)? =>
            {
                Ok(Decision::Refused(Refusal::Ended))
            }
            // Whoever did: units that lead must not hold it for ever in turn.
            (HoldAct::Hold { .. }, _) if before.is_some() => Ok(Decision::Refused(Refusal::HeldBefore)),
            (HoldAct::Hold { .. }, _)
                if self.containments.lasting(self.store.lasting(MAX_LASTING)?.len()) >= MAX_LASTING =>
            {
                Ok(Decision::Refused(Refusal::TooManyHolds))
            }
            (HoldAct::Hold { reason }, _) => {
                let hold = Containment {
                    by: org,
                    person: Some(person),
                    reason: reason.clone(),
                    since: writing.time,
                    until: writing.time.saturating_add(LONGEST),
                    class: record.class,
                    at: Position::ZERO,
                    state: HoldState::Lasting,
                };
                self.narrow(hold, standing, entry, writing)
            }
            (HoldAct::Release { note }, Some(hold)) => {
                self.restore(hold.clone(), note, standing, entry, writing)
            }
            (HoldAct::Release { .. } | HoldAct::End, _) => Ok(ABSENT),
        }
    }

    /// Who asks, as one that leads and may see records of the class. Leading
    /// gives no right to read.
    fn leading(&self, class: ClassNo, writing: &Writing) -> Result<(OrgNo, SpiffeId), Refusal> {
        let author = SpiffeId::parse(&writing.author).map_err(|_| Refusal::Absent)?;
        let org = self.directory.number(author.org()).ok_or(Refusal::Absent)?;
        if !self.directory.visible(Viewer { org, principal: &author }, class, Purpose::Get) {
            return Err(Refusal::Absent);
        }
        if self.directory.leads().contains(&author.org()) { Ok((org, author)) } else { Err(Refusal::NotLead) }
    }

    /// Writes the version that only its owner and who leads may see.
    fn narrow(
        &mut self,
        hold: Containment,
        standing: Standing,
        entry: &Entry<'_>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let class = self.directory.class(hold.class).map(|class| ClassDefinition::clone(&class.definition));
        let class = class.ok_or_else(|| db::Error::corrupt("class", hold.class.0))?;
        let Some(lead) = self.directory.slug(hold.by).cloned() else { return Ok(ABSENT) };
        let persons = self.directory.named(hold.by, hold.class);
        let marking = narrowed(&class.marking, lead, persons);
        self.rewrite(hold, ClassDefinition { marking, ..class }, None, standing, entry, writing)
    }

    /// Writes the version that stood before.
    fn restore(
        &mut self,
        hold: Containment,
        note: &str,
        standing: Standing,
        entry: &Entry<'_>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let class = self.directory.class(hold.class).map(|class| ClassDefinition::clone(&class.definition));
        let class = class.ok_or_else(|| db::Error::corrupt("class", hold.class.0))?;
        self.rewrite(hold.released(), class, Some(note), standing, entry, writing)
    }

    /// Writes what stands once more, so marked, and tells its owner.
    fn rewrite(
        &mut self,
        hold: Containment,
        class: ClassDefinition,
        note: Option<&str>,
        standing: Standing,
        entry: &Entry<'_>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let record = standing.header;
        let damaged = || db::Error::corrupt("body", record.handle);
        let fields = event::publisher_fields(&standing.body, record.tail_len);
        let fields = fields.and_then(|fields| event::with_marking(fields, &class.marking));
        let number = self.class(&class);
        let mut item = self.restated(&standing, fields.ok_or_else(damaged)?, number, entry.salt)?;
        // The content is its owner's, so that saying it again changes nothing.
        item.digest = record.digest;
        let Some(known) = self.own_assertion(&item, record.handle)? else { return Err(damaged()) };
        let held = self.held_of(record.handle)?;
        let written = self.update(&item, known, &standing, record.original, writing)?;
        let Decision::Written { position, .. } = written else { return Ok(written) };
        if self.header(position)?.state == State::Active {
            // What waits for a second person waits on.
            self.hold_back(record.handle, held.map(|held| Held { class: number, ..held }))?;
        }
        self.tell_containment(hold, note, record.handle, record.owner, writing)
    }

    /// Writes the item that tells the owner.
    fn tell_containment(
        &mut self,
        hold: Containment,
        note: Option<&str>,
        indicator: Position,
        owner: OrgNo,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let damaged = || db::Error::corrupt("owner", indicator);
        let slug = |number| self.directory.slug(number).cloned().ok_or_else(damaged);
        let (owner_slug, holder) = (slug(owner)?, slug(hold.by)?);
        let definition = notice::audience(owner_slug, self.directory.tlp(hold.class));
        let class = self.class(&definition);
        let (at, version) = writing.next();
        let hold = Containment { at, ..hold };
        let ended = note.map(|note| (note, writing.time));
        let encoded = wire::encode(&hold, self.sealer.id(indicator), &holder, ended);
        let (body, tail_len) = event::finish_hold(self.sealer, at, &encoded);
        let header = ItemHeader {
            previous: indicator,
            // What comes back: see `reload_containment`.
            previous_class: hold.class,
            owner,
            tail_len,
            ..group::born(Op::Contain, at, version, class, definition.marking.tlp)
        };
        self.write(at, Item { header, terms: Vec::new(), previous_terms: Vec::new(), body }, writing);
        self.set_containment(indicator, Some(hold))?;
        Ok(Decision::Written { handle: at, position: at, version, effect: Effect::Contained })
    }

    /// Takes a hold as it was told.
    pub(super) fn reload_containment(
        &mut self,
        item: &ItemView<'_>,
        author: Option<&str>,
    ) -> Result<(), db::Error> {
        let damaged = || db::Error::corrupt("item", item.position);
        // Without its beginning the entry wrote a version that was replaced.
        let Some(author) = author else { return Ok(()) };
        let told = wire::decode(item.body).ok_or_else(damaged)?;
        let lasts = told.state == HoldState::Lasting;
        let person = lasts.then(|| SpiffeId::parse(author).map_err(|_| damaged())).transpose()?;
        let hold = Containment {
            by: self.directory.number(&told.holder).ok_or_else(damaged)?,
            person,
            reason: told.reason,
            since: told.since,
            until: told.until,
            class: item.header.previous_class,
            at: item.position,
            state: told.state,
        };
        self.take_held_back(item.header.previous)?;
        self.set_containment(item.header.previous, Some(hold))
    }
}

/// Whether the validity of what stands is over.
fn is_over(standing: &Standing, now: Timestamp) -> Result<bool, db::Error> {
    let until = event::valid_until(&standing.body);
    let until = until.ok_or_else(|| db::Error::corrupt("body", standing.header.handle))?;
    Ok(until.is_some_and(|until| until <= now))
}

/// The marking with which only the owner and who leads may see a record: nobody
/// of his who might not before.
fn narrowed(before: &Marking, lead: OrgSlug, persons: Vec<SpiffeId>) -> Marking {
    let kept = [Caveats::WATCH_DO_NOT_BLOCK, Caveats::MASKED_SOURCE, Caveats::NO_ONWARD_FEED];
    let kept = kept.into_iter().filter(|caveat| before.caveats.contains(*caveat));
    let caveats = kept.fold(Caveats::NONE, Caveats::with);
    if before.tlp == Tlp::Red {
        let recipients = Recipients { principals: persons, ..Recipients::default() };
        return Marking { tlp: Tlp::Red, recipients, caveats };
    }
    let recipients = Recipients { organisations: vec![lead], ..Recipients::default() };
    Marking { tlp: Tlp::AmberStrict, recipients, caveats }
}

/// When a hold ends that refused so.
pub(super) fn ends(minutes: u32) -> Timestamp {
    Timestamp::from_micros_clamped(u64::from(minutes).saturating_mul(MICROS_PER_MINUTE))
}

/// What is asked, as the entry says it.
pub(super) fn encode(asked: &ProposedHold) -> proto::ContainmentChange {
    let (act, text) = match &asked.act {
        HoldAct::Hold { reason } => (HOLD, reason.as_str()),
        HoldAct::Release { note } => (RELEASE, note.as_str()),
        HoldAct::End => (END, ""),
    };
    proto::ContainmentChange { indicator: asked.indicator.raw(), act, text: text.to_owned() }
}

/// What an entry about a hold asked for; `None`: it is about something else.
pub(super) fn stored(header: &proto::EntryHeader) -> Option<Result<Change, db::Error>> {
    let Stored::Containment(proto::ContainmentChange { indicator, act, text }) = header.change.as_ref()?
    else {
        return None;
    };
    let act = match *act {
        HOLD => HoldAct::Hold { reason: text.clone() },
        RELEASE => HoldAct::Release { note: text.clone() },
        END => HoldAct::End,
        _ => return Some(Err(db::Error::corrupt("hold", indicator))),
    };
    let indicator = Position::from_raw(*indicator);
    Some(Ok(Change::Contain(Box::new(ProposedHold { indicator, act }))))
}
