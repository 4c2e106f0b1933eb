//! Decides what asking for leave to republish does, giving and withdrawing it,
//! and which publications take it: deterministic, as all of [`super::apply`].

use std::collections::BTreeMap;

use crate::base::clock::Timestamp;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::indicator::State;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::republication::{Answer, Leave, MAX_OPEN, MAX_OPEN_EACH, Terms, Wish};
use crate::policy::access::{self, Method};
use crate::policy::visibility::{Purpose, Viewer};
use crate::policy::width;
use crate::store::chunk::{Item, ItemHeader, Op, Original};
use crate::store::leave::{LeaveKey, decode_reach, decode_until, encode_reach};
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::{Batch, db};
use crate::wire::{event, republication};

use super::apply::value_keys;
use super::directory::Directory;
use super::group::{Group, Standing};
use super::notice;
use super::proposal::{Change, Decision, Effect, LeaveAct, ProposedIndicator, ProposedLeave, Refusal};
use super::writing::Writing;

const ASK: u32 = 1;
const GRANT: u32 = 2;
const WITHDRAW: u32 = 3;

/// What a commit group changes of leaves.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub(super) records: BTreeMap<LeaveKey, Leave>,
    /// How many requests of a person wait.
    open: BTreeMap<(OrgNo, SpiffeId), u32>,
}

impl Leaves {
    pub(super) fn write_to(&self, directory: &Directory, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        for (key, leave) in &self.records {
            if let Some(organisation) = directory.slug(key.organisation) {
                batch.leave(*key, organisation, leave)?;
            }
        }
        self.open
            .iter()
            .try_for_each(|((organisation, person), count)| batch.open_leaves(*organisation, person, *count))
    }
}

impl Group<'_> {
    /// Applies what is said of leave to republish: one item, which tells the
    /// other side.
    pub(super) fn leave(
        &mut self,
        asked: &ProposedLeave,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let Ok(author) = SpiffeId::parse(&writing.author) else {
            return Ok(Decision::Refused(Refusal::Absent));
        };
        let record = self.kept(self.newest(asked.indicator)?)?.map(|standing| standing.header);
        let Some(record) = record else { return Ok(Decision::Refused(Refusal::Absent)) };
        if !record.op.is_version() || record.handle != asked.indicator {
            return Ok(Decision::Refused(Refusal::Absent));
        }
        let author_org = self.directory.number(author.org());
        let speaks = |number| author_org == Some(asked.by) || self.directory.acts_for(number, asked.by);
        if !author_org.is_some_and(speaks) {
            return Ok(Decision::Refused(Refusal::NotDelegated));
        }
        let key =
            LeaveKey { owner: record.owner, indicator: record.handle, organisation: asked.organisation };
        let before = self.leave_of(key)?;
        if let Some(refusal) = self.refuses(asked, &record, &author, before.as_ref(), writing)? {
            return Ok(Decision::Refused(refusal));
        }
        let Some(after) = self.settle_leave(key, asked, &author, writing.time)? else {
            return Ok(Decision::Refused(Refusal::Absent));
        };
        self.tell(asked, &record, &after, writing)
    }

    /// Notes what is said, which nothing speaks against; how leave stands from
    /// here on, `None`: there is none to be withdrawn.
    pub(super) fn settle_leave(
        &mut self,
        key: LeaveKey,
        asked: &ProposedLeave,
        author: &SpiffeId,
        time: Timestamp,
    ) -> Result<Option<Leave>, db::Error> {
        let before = self.leave_of(key)?;
        let waited = before.as_ref().and_then(Leave::waiting).cloned();
        let answer = |note: &String| Answer { note: note.clone(), answerer: author.clone(), time };
        let after = match &asked.act {
            LeaveAct::Ask { wish, reason } => {
                let (marking, reason) = (wish.clone(), reason.clone());
                Leave::asked(before, Wish { marking, reason, requester: author.clone(), time })
            }
            LeaveAct::Grant { terms, note } => Leave::granted(before, terms.clone(), answer(note)),
            LeaveAct::Withdraw { note } => match before {
                Some(leave) => leave.withdrawn(answer(note)),
                None => return Ok(None),
            },
        };
        self.count(asked.organisation, waited.as_ref(), after.waiting())?;
        self.leaves.records.insert(key, after.clone());
        Ok(Some(after))
    }

    pub(super) fn leave_of(&self, key: LeaveKey) -> Result<Option<Leave>, db::Error> {
        match self.leaves.records.get(&key) {
            Some(leave) => Ok(Some(leave.clone())),
            None => self.store.leave(key),
        }
    }

    /// How many requests of each person of an organisation wait.
    fn open_of(&self, organisation: OrgNo) -> Result<BTreeMap<SpiffeId, u32>, db::Error> {
        let mut open: BTreeMap<_, _> = self.store.open_leaves(organisation)?.into_iter().collect();
        let changed = self.leaves.open.iter().filter(|((org, _), _)| *org == organisation);
        open.extend(changed.map(|((_, person), count)| (person.clone(), *count)));
        Ok(open)
    }

    /// Notes for whom of the organisation a request waited, and for whom it
    /// does now.
    fn count(
        &mut self,
        organisation: OrgNo,
        was: Option<&SpiffeId>,
        is: Option<&SpiffeId>,
    ) -> Result<(), db::Error> {
        if was == is {
            return Ok(());
        }
        let open = self.open_of(organisation)?;
        let of = |person: &SpiffeId| open.get(person).copied().unwrap_or_default();
        let fewer = was.map(|person| (person, of(person).saturating_sub(1)));
        let more = is.map(|person| (person, of(person).saturating_add(1)));
        for (person, count) in fewer.into_iter().chain(more) {
            self.leaves.open.insert((organisation, person.clone()), count);
        }
        Ok(())
    }

    /// Whether one more request of the author's would be too many, of his or of
    /// his organisation's. One of who may not ask any more takes no place:
    /// whoever may not see its indicator could not give it back.
    fn is_full(
        &self,
        organisation: OrgNo,
        author: &SpiffeId,
        before: Option<&Leave>,
    ) -> Result<bool, db::Error> {
        let waited = before.and_then(Leave::waiting);
        if waited == Some(author) {
            return Ok(false);
        }
        let mut open = self.open_of(organisation)?;
        // What a colleague asked is asked no longer.
        if let Some(count) = waited.and_then(|colleague| open.get_mut(colleague)) {
            *count = count.saturating_sub(1);
        }
        let (roster, date) = (self.directory.roster(), self.directory.date());
        let asks =
            |person: &SpiffeId| access::allowed(Method::RequestRepublication, roster.roles(person, date));
        let all = open.iter().filter(|(person, _)| asks(person)).map(|(_, count)| count);
        let own = open.get(author).copied().unwrap_or_default();
        Ok(own >= MAX_OPEN_EACH || all.sum::<u32>() >= MAX_OPEN)
    }

    fn refuses(
        &self,
        asked: &ProposedLeave,
        record: &ItemHeader,
        author: &SpiffeId,
        before: Option<&Leave>,
        writing: &Writing,
    ) -> Result<Option<Refusal>, db::Error> {
        let viewer = Viewer { org: asked.by, principal: author };
        let decides = self.directory.decides(asked.by, record.owner, record.class);
        Ok(match &asked.act {
            LeaveAct::Ask { .. } => {
                if asked.by != asked.organisation
                    || !self.directory.visible(viewer, record.class, Purpose::Get)
                {
                    Some(Refusal::Absent)
                } else if record.owner == asked.organisation {
                    Some(Refusal::NotAnothers)
                } else if record.state == State::Revoked {
                    Some(Refusal::Ended)
                } else if self.directory.deciders(record.owner, record.class).is_empty() {
                    Some(Refusal::NobodyDecides)
                } else if self.is_full(asked.organisation, author, before)? {
                    Some(Refusal::TooManyAsked)
                } else {
                    None
                }
            }
            LeaveAct::Grant { terms, .. } => {
                if !decides {
                    Some(Refusal::Absent)
                } else if record.owner == asked.organisation {
                    Some(Refusal::NotAnothers)
                } else if record.state == State::Revoked {
                    Some(Refusal::Ended)
                } else if terms.until.is_some_and(|until| until <= writing.time) {
                    Some(Refusal::Past)
                } else {
                    // Last: who acts for the owner and may not see the record
                    // is not told of it, and must not find it out by another.
                    (!self.directory.reaches_any(asked.organisation, record.class))
                        .then_some(Refusal::NotReached)
                }
            }
            LeaveAct::Withdraw { .. } => {
                let concerned = decides || asked.by == asked.organisation;
                (!concerned || !before.is_some_and(Leave::stands)).then_some(Refusal::Absent)
            }
        })
    }

    /// Writes the item that tells the other side.
    fn tell(
        &mut self,
        asked: &ProposedLeave,
        record: &ItemHeader,
        leave: &Leave,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let damaged = || db::Error::corrupt("owner", record.handle);
        let slug = |number| self.directory.slug(number).cloned().ok_or_else(damaged);
        let (owner, organisation) = (slug(record.owner)?, slug(asked.organisation)?);
        let for_owner = asked.by == asked.organisation;
        let tlp = self.directory.tlp(record.class);
        let definition = if for_owner {
            notice::audience(owner, tlp)
        } else if tlp == Tlp::Red {
            let wish = leave.wish.as_ref();
            let persons = wish.map_or_else(
                || self.directory.named(asked.organisation, record.class),
                |wish| vec![wish.requester.clone()],
            );
            to_persons(owner, persons)
        } else {
            notice::audience(organisation.clone(), Tlp::AmberStrict)
        };
        let told = if for_owner { record.owner } else { asked.organisation };
        let class = self.class(&definition);
        let (at, version) = writing.next();
        let id = self.sealer.id(record.handle);
        let encoded = republication::encode(id, &organisation, leave, for_owner);
        let (body, tail_len) = event::finish_republication(self.sealer, at, &encoded);
        let tlp = definition.marking.tlp.number();
        let header = ItemHeader {
            handle: at,
            previous: record.handle,
            version,
            digest: 0,
            salted: [0; 16],
            class,
            previous_class: class,
            owner: told,
            body_len: 0,
            tail_len,
            kind: 0,
            previous_kind: 0,
            op: Op::Leave,
            state: State::Active,
            tlp,
            previous_tlp: tlp,
            aliases: false,
            terms: 0,
            previous_terms: 0,
            relabelled: false,
            lapsed: false,
            original: None,
        };
        self.write(at, Item { header, terms: Vec::new(), previous_terms: Vec::new(), body }, writing);
        Ok(Decision::Written { handle: at, position: at, version, effect: Effect::Leave })
    }

    /// What a version is a republication of, or why it must not be. A later
    /// version stays one of what the version before was. It takes the leave of
    /// the original's owner unless it goes on from an active version, of the
    /// same original, and reaches no further.
    pub(super) fn original(
        &self,
        item: &ProposedIndicator,
        standing: Option<&Standing>,
        writing: &Writing,
    ) -> Result<Result<Option<Original>, Refusal>, db::Error> {
        let before = standing.and_then(|standing| standing.header.original);
        let Some(handle) = item.original.or_else(|| before.map(|original| original.handle)) else {
            return Ok(Ok(None));
        };
        let kept = before.filter(|original| original.handle == handle);
        if let (Some(kept), Some(standing)) = (kept, standing)
            && standing.header.state == State::Active
            && let Some(class) = self.directory.class(standing.header.class)
            && within(&item.class, &class.definition)
            && names_only(item, &standing.body)?
        {
            return Ok(Ok(Some(kept)));
        }
        let original = self.find(self.newest(handle)?)?;
        // The handle may be that of anything that has an id.
        let original = original.filter(|o| o.header.op.is_version() && o.header.handle == handle);
        let Some(original) = original.filter(|o| self.author_sees(o.header.class, writing)) else {
            // Where it was not asked after now, nothing is said of it.
            let unasked = item.original.is_none();
            return Ok(Err(if unasked { Refusal::NoLeave } else { Refusal::NoOriginal }));
        };
        let class = original.header.class;
        let kept = kept.unwrap_or(Original { handle, class });
        Ok(self.forbids(item, &original, writing)?.map_or(Ok(Some(kept)), Err))
    }

    /// Why a version must not be a republication of `original`, which its
    /// author sees.
    fn forbids(
        &self,
        item: &ProposedIndicator,
        original: &Standing,
        writing: &Writing,
    ) -> Result<Option<Refusal>, db::Error> {
        let header = &original.header;
        if !names_only(item, &original.body)? || header.owner == item.owner {
            return Ok(Some(Refusal::NotAnothers));
        }
        let key = LeaveKey { owner: header.owner, indicator: header.handle, organisation: item.owner };
        // With nobody who could take it back it holds no longer.
        let decided = !self.directory.deciders(header.owner, header.class).is_empty();
        let leave = self.leave_of(key)?.filter(|_| decided);
        let widest = leave.as_ref().and_then(|leave| leave.holds(writing.time));
        let (Some(widest), State::Active | State::Expired) = (widest, header.state) else {
            return Ok(Some(Refusal::NoLeave));
        };
        // Whose it is matters to no width but that of TLP:RED, which the
        // republishing organisation reads as a whole.
        let widest = ClassDefinition { owner: item.class.owner.clone(), marking: widest.clone() };
        Ok((!within(&item.class, &widest)).then_some(Refusal::WiderThanLeave))
    }

    fn author_sees(&self, class: ClassNo, writing: &Writing) -> bool {
        let Ok(author) = SpiffeId::parse(&writing.author) else { return false };
        let Some(org) = self.directory.number(author.org()) else { return false };
        self.directory.visible(Viewer { org, principal: &author }, class, Purpose::Get)
    }
}

/// Whether a republication keeps within what was allowed: its readers, and the
/// advice to watch and not to block, which concerns no reader but the owner.
fn within(asked: &ClassDefinition, allowed: &ClassDefinition) -> bool {
    let advice = Caveats::WATCH_DO_NOT_BLOCK;
    let advised = asked.marking.caveats.contains(advice) || !allowed.marking.caveats.contains(advice);
    advised && width::at_most_as_wide(asked, allowed)
}

/// Whether a version names nothing but what `body` does.
fn names_only(item: &ProposedIndicator, body: &[u8]) -> Result<bool, db::Error> {
    let values = value_keys(body)?;
    Ok(std::iter::once(&item.value_key).chain(&item.alias_keys).all(|key| values.contains(key)))
}

/// For these persons, and the owner.
pub(super) fn to_persons(owner: OrgSlug, principals: Vec<SpiffeId>) -> ClassDefinition {
    let recipients = Recipients { principals, ..Recipients::default() };
    ClassDefinition { owner, marking: Marking { tlp: Tlp::Red, recipients, caveats: Caveats::NONE } }
}

/// What is asked for, as the entry says it.
pub(super) fn encode(asked: &ProposedLeave) -> proto::LeaveChange {
    let ProposedLeave { indicator, organisation: _, slug, by, act } = asked;
    let (act, reach, until, text) = match act {
        LeaveAct::Ask { wish, reason } => (ASK, Some(wish), None, reason),
        LeaveAct::Grant { terms: Terms { widest, until }, note } => (GRANT, Some(widest), *until, note),
        LeaveAct::Withdraw { note } => (WITHDRAW, None, None, note),
    };
    proto::LeaveChange {
        indicator: indicator.raw(),
        organisation: slug.to_string(),
        by: by.0,
        act,
        reach: reach.map(|marking| encode_reach(slug, marking)),
        until: until.map(Timestamp::as_micros).unwrap_or_default(),
        text: text.clone(),
    }
}

/// What an entry about leave asked for; `None`: it is about something else.
pub(super) fn stored(
    header: &proto::EntryHeader,
    directory: &Directory,
) -> Option<Result<Change, db::Error>> {
    let Stored::Leave(stored) = header.change.as_ref()? else { return None };
    Some(decode(stored, directory).map(|asked| Change::Leave(Box::new(asked))))
}

fn decode(stored: &proto::LeaveChange, directory: &Directory) -> Result<ProposedLeave, db::Error> {
    let proto::LeaveChange { indicator, organisation, by, act, reach, until, text } = stored;
    let damaged = || db::Error::corrupt("leave", indicator);
    let slug = OrgSlug::parse(organisation).map_err(|_| damaged())?;
    let reach = || decode_reach(reach.as_ref().ok_or_else(damaged)?);
    let act = match *act {
        ASK => LeaveAct::Ask { wish: reach()?, reason: text.clone() },
        GRANT => {
            let terms = Terms { widest: reach()?, until: decode_until(*until) };
            LeaveAct::Grant { terms, note: text.clone() }
        }
        WITHDRAW => LeaveAct::Withdraw { note: text.clone() },
        _ => return Err(damaged()),
    };
    Ok(ProposedLeave {
        indicator: Position::from_raw(*indicator),
        organisation: directory.number(&slug).ok_or_else(damaged)?,
        slug,
        by: OrgNo(*by),
        act,
    })
}
