//! Decides what becomes of what lists hold back: that it waits, who may answer,
//! and what an answer does; deterministic, as all of [`super::apply`].

use std::collections::BTreeMap;

use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::held::{Deciders, Held, HeldState, MAX_WAITING, MAX_WAITING_EACH};
use crate::model::indicator::{RecommendedAction, State};
use crate::model::marking::{Marking, Recipients, Tlp};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::republication::Answer;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::{Item, ItemHeader, ItemView, Op};
use crate::store::held::{decode_lists, encode_lists};
use crate::store::keys;
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::record::Assertion;
use crate::store::{Batch, db};
use crate::wire::{disclosure, event, held as wire};

use super::apply::Entry;
use super::group::{self, Group, Standing};
use super::leave::to_persons;
use super::notice;
use super::proposal::{
    Change, Decision, Effect, HeldAsk, ProposedAnswer, ProposedIndicator, ProposedWait, Refusal,
};
use super::publish::digests;
use super::writing::Writing;

/// What a commit group changes of held publications.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// As they were before the group, and are in it.
    records: BTreeMap<Position, (Option<Held>, Option<Held>)>,
    /// How many that a person published wait.
    waiting: BTreeMap<(OrgNo, SpiffeId), u32>,
    /// What the version that was taken last as it stands ended, of which
    /// indicator, and that version's audience class: a hold ends nothing.
    aside: Option<(Position, ClassNo, Held)>,
}

impl Holdings {
    pub(super) fn write_to(&self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        for (indicator, (before, held)) in &self.records {
            batch.held(*indicator, before.as_ref(), held.as_ref())?;
        }
        self.waiting
            .iter()
            .try_for_each(|((owner, person), count)| batch.waiting_held(*owner, person, *count))
    }
}

/// Who waits for an answer, if anybody does.
fn waits(held: Option<&Held>) -> Option<(OrgNo, &SpiffeId)> {
    held.filter(|held| held.state == HeldState::Waiting).map(|held| (held.owner, &held.requester))
}

impl Group<'_> {
    pub(super) fn held_of(&self, indicator: Position) -> Result<Option<Held>, db::Error> {
        match self.holdings.records.get(&indicator) {
            Some((_, held)) => Ok(held.clone()),
            None => self.store.held(indicator),
        }
    }

    /// Puts this in place of what was held of an indicator.
    pub(super) fn hold_back(&mut self, indicator: Position, held: Option<Held>) -> Result<(), db::Error> {
        let (before, was) = match self.holdings.records.remove(&indicator) {
            Some((before, was)) => (before, was),
            None => {
                let stored = self.store.held(indicator)?;
                (stored.clone(), stored)
            }
        };
        let (fewer, more) = (waits(was.as_ref()), waits(held.as_ref()));
        if fewer != more {
            for ((owner, person), step) in
                fewer.map(|who| (who, -1)).into_iter().chain(more.map(|who| (who, 1)))
            {
                let count = self.waiting_of(owner)?.get(person).copied().unwrap_or_default();
                self.holdings.waiting.insert((owner, person.clone()), count.saturating_add_signed(step));
            }
        }
        self.holdings.records.insert(indicator, (before, held));
        Ok(())
    }

    /// Ends what is held of an indicator, of which another version stands.
    pub(super) fn end_held(&mut self, indicator: Position) -> Result<(), db::Error> {
        if self.held_of(indicator)?.is_some() { self.hold_back(indicator, None) } else { Ok(()) }
    }

    /// Ends what is held of an indicator of which a version is taken as it
    /// stands, unless what follows tells of a hold.
    pub(super) fn set_held_aside(&mut self, indicator: Position, class: ClassNo) -> Result<(), db::Error> {
        self.holdings.aside = self.held_of(indicator)?.map(|held| (indicator, class, held));
        self.end_held(indicator)
    }

    /// Takes back what was ended so.
    pub(super) fn take_held_back(&mut self, indicator: Position) -> Result<(), db::Error> {
        match self.holdings.aside.take().filter(|(of, ..)| *of == indicator) {
            Some((_, class, held)) => self.hold_back(indicator, Some(Held { class, ..held })),
            None => Ok(()),
        }
    }

    /// How many wait that each person published of an organisation's.
    fn waiting_of(&self, owner: OrgNo) -> Result<BTreeMap<SpiffeId, u32>, db::Error> {
        let mut waiting: BTreeMap<_, _> = self.store.waiting_held(owner)?.into_iter().collect();
        let changed = self.holdings.waiting.iter().filter(|((org, _), _)| *org == owner);
        waiting.extend(changed.map(|((_, person), count)| (person.clone(), *count)));
        Ok(waiting)
    }

    fn holds_enough(
        &self,
        owner: OrgNo,
        author: &SpiffeId,
        before: Option<&Held>,
    ) -> Result<bool, db::Error> {
        let mut waiting = self.waiting_of(owner)?;
        if let Some((_, person)) = waits(before)
            && let Some(count) = waiting.get_mut(person)
        {
            *count = count.saturating_sub(1);
        }
        let own = waiting.get(author).copied().unwrap_or_default();
        Ok(own >= MAX_WAITING_EACH || waiting.values().sum::<u32>() >= MAX_WAITING)
    }

    /// Whether a second person approved what an item says and lists hold back,
    /// and what stands is that.
    pub(super) fn is_approved(&self, item: &ProposedIndicator, known: &Assertion) -> Result<bool, db::Error> {
        let Some(wanted) = item.wanted.as_ref().filter(|wanted| wanted.digest == known.digest) else {
            return Ok(false);
        };
        let held = self.held_of(known.handle)?;
        let lists = wanted.lists.iter().map(String::as_str);
        Ok(held.is_some_and(|held| held.state == HeldState::Approved && held.covers(wanted.digest, lists)))
    }

    /// Lets what lists hold back of an indicator wait. The same again asks
    /// nobody again, whatever was answered.
    pub(super) fn wait_held(
        &mut self,
        ask: &HeldAsk,
        by: OrgNo,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let Ok(author) = SpiffeId::parse(&writing.author) else { return Ok(ABSENT) };
        let Some(standing) = self.kept(self.newest(ask.indicator)?)? else { return Ok(ABSENT) };
        let record = standing.header;
        if !record.op.is_version() || record.handle != ask.indicator {
            return Ok(ABSENT);
        }
        if self.directory.number(author.org()) != Some(by)
            || (record.owner != by && !self.directory.acts_for(by, record.owner))
        {
            return Ok(Decision::Refused(Refusal::NotDelegated));
        }
        let before = self.held_of(ask.indicator)?;
        if let Some(held) = &before
            && held.covers(ask.wanted, ask.lists.iter().map(|list| list.slug.as_str()))
            && (held.state == HeldState::Approved) == (record.digest == ask.wanted)
        {
            return Ok(Decision::Unchanged { handle: held.at, position: held.at, version: record.version });
        }
        if record.state != State::Active || record.digest != ask.published {
            return Ok(Decision::Refused(Refusal::Stale));
        }
        if self.holds_enough(record.owner, &author, before.as_ref())? {
            return Ok(Decision::Refused(Refusal::TooManyHeld));
        }
        let held = Held {
            owner: record.owner,
            class: record.class,
            at: Position::ZERO,
            wanted: ask.wanted,
            action: ask.action,
            lists: ask.lists.clone(),
            requester: author,
            by,
            time: writing.time,
            state: HeldState::Waiting,
            answer: None,
        };
        self.tell_held(held, &standing, writing)
    }

    /// Answers what is held of an indicator, as the second person.
    pub(super) fn answer_held(
        &mut self,
        asked: &ProposedAnswer,
        entry: &Entry<'_>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let Ok(author) = SpiffeId::parse(&writing.author) else { return Ok(ABSENT) };
        let newest = self.newest(asked.indicator)?;
        let Some(standing) = self.kept(newest)? else { return Ok(ABSENT) };
        let record = standing.header;
        if !record.op.is_version() || record.handle != asked.indicator {
            return Ok(ABSENT);
        }
        let Some(held) = self.held_of(asked.indicator)? else { return Ok(ABSENT) };
        if let Some(refusal) = self.forbids_answer(asked, &held, &record, &author) {
            return Ok(Decision::Refused(refusal));
        }
        let answer = Answer { note: asked.note.clone(), answerer: author, time: writing.time };
        if !asked.approved {
            let held = held.answered(HeldState::Rejected, answer, Position::ZERO);
            return self.tell_held(held, &standing, writing);
        }
        if let Some(refusal) = self.contained(record.handle)? {
            return Ok(Decision::Refused(refusal));
        }
        let damaged = || db::Error::corrupt("body", record.handle);
        let fields = event::publisher_fields(&standing.body, record.tail_len);
        let fields = fields.and_then(|fields| event::with_action(fields, held.action)).ok_or_else(damaged)?;
        let item = self.restated(&standing, fields, record.class, entry.salt)?;
        debug_assert_eq!(item.digest, held.wanted, "what was sent is what goes out");
        let Some(known) = self.own_assertion(&item, record.handle)? else { return Err(damaged()) };
        if writing.state(&item) != State::Active {
            return Ok(Decision::Refused(Refusal::Stale));
        }
        let written = self.update(&item, known, &standing, record.original, writing)?;
        let Decision::Written { position, .. } = written else { return Ok(written) };
        let standing = self.standing(position)?;
        let held = held.answered(HeldState::Approved, answer, Position::ZERO);
        self.tell_held(Held { wanted: item.digest, ..held }, &standing, writing)
    }

    /// Why the author must not answer so. What he may not see, and what he has
    /// nothing to say about, is as absent as what never was.
    fn forbids_answer(
        &self,
        asked: &ProposedAnswer,
        held: &Held,
        record: &ItemHeader,
        author: &SpiffeId,
    ) -> Option<Refusal> {
        let Some(org) = self.directory.number(author.org()) else { return Some(Refusal::Absent) };
        let viewer = Viewer { org, principal: author };
        if !self.directory.visible(viewer, record.class, Purpose::Get) {
            return Some(Refusal::Absent);
        }
        if !self.directory.answers(viewer, record.owner, record.class) {
            let own = self.directory.decides(org, record.owner, record.class);
            return Some(if own { Refusal::NotDecider } else { Refusal::Absent });
        }
        // Who refused may think again; what went out is for its owner to revoke.
        let open = held.state == HeldState::Waiting || (asked.approved && held.state == HeldState::Rejected);
        if !open {
            Some(Refusal::Absent)
        } else if held.requester == *author {
            Some(Refusal::SecondPerson)
        } else {
            (asked.expected != record.version).then_some(Refusal::Stale)
        }
    }

    /// What the owner says of the values of an item, in the record `handle`.
    pub(super) fn own_assertion(
        &mut self,
        item: &ProposedIndicator,
        handle: Position,
    ) -> Result<Option<Assertion>, db::Error> {
        for key in &item.alias_keys {
            self.assertion(key, item.owner)?;
        }
        Ok(self.assertion(&item.value_key, item.owner)?.filter(|known| known.handle == handle))
    }

    /// The version that stands, with these fields of its publisher's in this
    /// audience.
    pub(super) fn restated(
        &self,
        standing: &Standing,
        fields: Vec<u8>,
        class: ClassNo,
        salt: &[u8],
    ) -> Result<ProposedIndicator, db::Error> {
        let (record, body) = (&standing.header, &standing.body);
        let damaged = || db::Error::corrupt("body", record.handle);
        let indicator = event::decode_indicator(body).ok_or_else(damaged)?;
        let (value, aliases) = event::observables(&indicator).ok_or_else(damaged)?;
        let definition = self.directory.class(class).ok_or_else(damaged)?;
        let definition = ClassDefinition::clone(&definition.definition);
        let meaning = event::meaning(&fields, &indicator.raw_value, &indicator.published_by);
        let salt = salt.first_chunk::<16>().copied().unwrap_or_default();
        let (digest, salted) = digests(&disclosure::meaning(meaning, &definition), &salt);
        Ok(ProposedIndicator {
            value_key: keys::value(&value),
            alias_keys: aliases.iter().map(keys::value).collect(),
            kind: record.kind,
            owner: record.owner,
            provider: None,
            class: definition,
            class_known: Some(class),
            terms: standing.terms.clone(),
            fields,
            digest,
            salted,
            valid_until: event::valid_until(body).ok_or_else(damaged)?,
            original: None,
            wanted: None,
            reinstate: None,
        })
    }

    /// Whom it is told, and in which audience.
    fn told_of(&self, held: &Held, owner: &OrgSlug) -> (OrgNo, ClassDefinition) {
        let tlp = self.directory.tlp(held.class);
        if held.state != HeldState::Waiting {
            return (held.owner, answered_to(held, owner, tlp));
        }
        let Deciders::Lead(leads) = self.directory.second_persons(held.owner, held.class) else {
            return (held.owner, notice::audience(owner.clone(), tlp));
        };
        let (first, others) = match leads.as_slice() {
            [first, others @ ..] => (*first, others),
            [] => return (held.owner, notice::audience(owner.clone(), tlp)),
        };
        let told = self.directory.number(first).unwrap_or(held.owner);
        if tlp == Tlp::Red {
            let numbers = leads.iter().filter_map(|lead| self.directory.number(lead));
            let persons = numbers.flat_map(|lead| self.directory.named(lead, held.class)).collect();
            return (told, to_persons(owner.clone(), persons));
        }
        let organisations = others.iter().copied().cloned().collect();
        let mut class = notice::audience(first.clone(), tlp);
        class.marking.recipients = Recipients { organisations, ..Recipients::default() };
        (told, class)
    }

    /// Writes the item that tells how it stands.
    fn tell_held(
        &mut self,
        held: Held,
        standing: &Standing,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let record = &standing.header;
        let damaged = || db::Error::corrupt("body", record.handle);
        let owner = self.directory.slug(record.owner).cloned().ok_or_else(damaged)?;
        let (told, definition) = self.told_of(&held, &owner);
        let class = self.class(&definition);
        let (at, version) = writing.next();
        let held = Held { at, ..held };
        let directory = std::sync::Arc::clone(&self.directory);
        let deciders = directory.second_persons(record.owner, record.class).into_all();
        let beside = wire::Beside {
            indicator: self.sealer.id(record.handle),
            owner: &owner,
            version: record.version,
            body: &standing.body,
            deciders: &deciders,
        };
        let encoded = wire::encode(&held, &beside).ok_or_else(damaged)?;
        let (body, tail_len) = event::finish_held(self.sealer, at, &encoded);
        let header = ItemHeader {
            previous: record.handle,
            // What was sent, and how far it goes: see `reload_held`.
            digest: held.wanted,
            previous_class: record.class,
            owner: told,
            tail_len,
            ..group::born(Op::Held, at, version, class, definition.marking.tlp)
        };
        self.write(at, Item { header, terms: Vec::new(), previous_terms: Vec::new(), body }, writing);
        self.hold_back(record.handle, Some(held))?;
        Ok(Decision::Written { handle: at, position: at, version, effect: Effect::Held })
    }

    /// Takes what is held of an indicator as it was told, by the judgement of
    /// records that may be gone.
    pub(super) fn reload_held(&mut self, item: &ItemView<'_>, author: Option<&str>) -> Result<(), db::Error> {
        let damaged = || db::Error::corrupt("item", item.position);
        // Without its beginning the entry approved a version that was replaced.
        let Some(author) = author else { return Ok(()) };
        let author = SpiffeId::parse(author).map_err(|_| damaged())?;
        let told = wire::decode(item.body).ok_or_else(damaged)?;
        let class = self.directory.class(item.header.previous_class).ok_or_else(damaged)?;
        let owner = self.directory.number(&class.definition.owner).ok_or_else(damaged)?;
        let by = self.directory.number(told.requester.org()).ok_or_else(damaged)?;
        let answer = told.answer.map(|(note, time)| Answer { note, answerer: author, time });
        let held = Held {
            owner,
            class: item.header.previous_class,
            at: item.position,
            wanted: item.header.digest,
            action: told.action,
            lists: told.lists,
            requester: told.requester,
            by,
            time: told.time,
            state: told.state,
            answer,
        };
        self.hold_back(item.header.previous, Some(held))
    }
}

const ABSENT: Decision = Decision::Refused(Refusal::Absent);

/// The owner, and who published on its behalf.
fn answered_to(held: &Held, owner: &OrgSlug, tlp: Tlp) -> ClassDefinition {
    let class = notice::audience(owner.clone(), tlp);
    if held.by == held.owner {
        return class;
    }
    let recipients = if tlp == Tlp::Red {
        Recipients { principals: vec![held.requester.clone()], ..Recipients::default() }
    } else {
        Recipients { organisations: vec![held.requester.org().clone()], ..Recipients::default() }
    };
    ClassDefinition { marking: Marking { recipients, ..class.marking }, ..class }
}

/// What waits, as the entry says it.
pub(super) fn encode_wait(asked: &ProposedWait) -> proto::HeldChange {
    let mut lists = Vec::new();
    let mut place = |list: &crate::model::warninglist::ListName| {
        let known = lists.iter().position(|known| known == list).unwrap_or_else(|| {
            lists.push(list.clone());
            lists.len().saturating_sub(1)
        });
        u32::try_from(known).unwrap_or(u32::MAX)
    };
    let ask = |HeldAsk { indicator, published, wanted, action, lists }: &HeldAsk| proto::HeldAsk {
        indicator: indicator.raw(),
        published: *published,
        wanted: *wanted,
        action: u32::from(action.number()),
        lists: lists.iter().map(&mut place).collect(),
    };
    let asks = asked.asks.iter().map(ask).collect();
    proto::HeldChange { asks, by: asked.by.0, lists: encode_lists(&lists), answer: None }
}

/// An answer, as the entry says it.
pub(super) fn encode_answer(asked: &ProposedAnswer) -> proto::HeldChange {
    let ProposedAnswer { indicator, expected, approved, note } = asked;
    let (indicator, expected, approved, note) = (indicator.raw(), *expected, *approved, note.clone());
    let answer = Some(proto::HeldAnswer { indicator, expected, approved, note });
    proto::HeldChange { answer, ..proto::HeldChange::default() }
}

/// What an entry about held publications asked for; `None`: it is about
/// something else.
pub(super) fn stored(header: &proto::EntryHeader) -> Option<Result<Change, db::Error>> {
    let Stored::Held(stored) = header.change.as_ref()? else { return None };
    Some(decode(stored))
}

fn decode(stored: &proto::HeldChange) -> Result<Change, db::Error> {
    let proto::HeldChange { asks, by, lists, answer } = stored;
    if let Some(proto::HeldAnswer { indicator, expected, approved, note }) = answer {
        let (indicator, note) = (Position::from_raw(*indicator), note.clone());
        let (expected, approved) = (*expected, *approved);
        return Ok(Change::Answer(Box::new(ProposedAnswer { indicator, expected, approved, note })));
    }
    let all = decode_lists(lists);
    let ask = |proto::HeldAsk { indicator, published, wanted, action, lists }: &proto::HeldAsk| {
        let damaged = || db::Error::corrupt("held publication", indicator);
        let named = lists.iter().map(|place| all.get(*place as usize).cloned().ok_or_else(damaged));
        let action = u8::try_from(*action).ok().and_then(RecommendedAction::from_number);
        Ok(HeldAsk {
            indicator: Position::from_raw(*indicator),
            published: *published,
            wanted: *wanted,
            action: action.ok_or_else(damaged)?,
            lists: named.collect::<Result<_, db::Error>>()?,
        })
    };
    let asks = asks.iter().map(ask).collect::<Result<_, db::Error>>()?;
    Ok(Change::Wait(ProposedWait { by: OrgNo(*by), asks }))
}
