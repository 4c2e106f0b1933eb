//! Decides what an entry does to the state. Deterministic: no clock, no
//! randomness and no I/O of its own beyond reading the state, so the same
//! entries give the same state on any machine.

use crate::base::clock::Timestamp;
use crate::model::audience::ClassDefinition;
use crate::model::indicator::State;
use crate::model::indicator::lifecycle::Revocation;
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::store::chunk::{Item, ItemHeader, Op, Original};
use crate::store::db;
use crate::store::keys::{self, Dimension};
use crate::store::postings::Posting;
use crate::store::record::Assertion;
use crate::store::sightings::Sighting;
use crate::wire::event::{self, Decided};
use crate::wire::facts;

use super::group::{self, Group, Standing};
use super::proposal::{
    Change, Decision, Effect, ProposedIndicator, ProposedPublication, ProposedRevocation, ProposedSighting,
    Refusal,
};
use super::publish::MAX_CLASSES_PER_OWNER;
use super::retention::Retain;
use super::writing::Writing;

/// What is decided of an entry before it is applied.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Number that the entry gets if it is written.
    pub seq: Seq,
    /// Time of the entry.
    pub time: Timestamp,
    /// SPIFFE identity of who asked.
    pub author: &'a str,
    /// Seed of the gaps between versions.
    pub seed: u64,
    /// Salt of the item digests.
    pub salt: &'a [u8],
    /// What it asks.
    pub change: &'a Change,
}

impl Group<'_> {
    /// Applies an entry: one decision per item. The entry is written only if
    /// an item was; then its chunks are added to [`Self::chunks`].
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<Vec<Decision>, db::Error> {
        if let Change::Retain(step) = entry.change
            && let Retain::Ask(candidates) = &**step
        {
            let dropped = self.judge(candidates)?;
            if dropped.is_empty() {
                return Ok(vec![Decision::Refused(Refusal::Stale)]);
            }
            let change = Change::Retain(Box::new(Retain::Drop(dropped)));
            return self.apply(&Entry { change: &change, ..entry.clone() });
        }
        let floor = self.last_version.max(entry.time.as_micros());
        let mut writing = Writing::new(entry, floor);
        let mut decisions = Vec::new();
        match entry.change {
            Change::Publish(ProposedPublication { items, .. }) => {
                for item in items {
                    decisions.push(match item {
                        Ok(item) => self.publish(item, &mut writing)?,
                        Err(refusal) => Decision::Refused(*refusal),
                    });
                }
            }
            Change::Roster(_) | Change::Propose(_) | Change::Reject(_) => {
                let decision = self.amend(entry);
                if matches!(decision, Decision::Written { .. }) {
                    self.last_version = floor;
                    self.chunks.extend(writing.builder.finish());
                }
                return Ok(vec![decision]);
            }
            Change::Certificate(_) | Change::Rotate(_) => {
                let decision = self.certify(entry);
                if matches!(decision, Decision::Written { .. }) {
                    self.last_version = floor;
                    self.chunks.extend(writing.builder.finish());
                }
                return Ok(vec![decision]);
            }
            Change::Assets(asked) => {
                let decision = self.change_assets(asked, entry)?;
                if matches!(decision, Decision::Written { .. }) {
                    self.last_version = floor;
                    self.chunks.extend(writing.builder.finish());
                }
                return Ok(vec![decision]);
            }
            Change::Retain(step) => {
                let decision = self.retain(step, entry)?;
                if matches!(decision, Decision::Written { .. }) {
                    self.last_version = floor;
                    self.chunks.extend(writing.builder.finish());
                }
                return Ok(vec![decision]);
            }
            Change::Notice(collisions) => {
                for collision in collisions {
                    decisions.push(self.notify(collision, &mut writing)?);
                }
            }
            Change::Leave(asked) => decisions.push(self.leave(asked, &mut writing)?),
            Change::Wait(asked) => {
                for ask in &asked.asks {
                    decisions.push(self.wait_held(ask, asked.by, &mut writing)?);
                }
            }
            Change::Contain(asked) => decisions.push(self.contain(asked, entry, &mut writing)?),
            Change::Answer(asked) => decisions.push(self.answer_held(asked, entry, &mut writing)?),
            Change::Revoke(revocation) => decisions.push(self.revoke(revocation, &mut writing)?),
            Change::Expire(due) => {
                for one in due {
                    decisions.push(self.expire(one.version.handle, &mut writing)?);
                }
            }
            Change::Sight(items) => {
                for item in items {
                    decisions.push(match item {
                        Ok(item) => self.sight(item, &mut writing)?,
                        Err(refusal) => Decision::Refused(*refusal),
                    });
                }
            }
        }
        if writing.ordinal > 0 {
            self.last_version = writing.version;
            self.chunks.extend(writing.builder.finish());
        }
        Ok(decisions)
    }

    /// Whether the class would be one too many of its owner's. Looked at on
    /// the publisher's task already; but many may be on their way at once.
    fn crowded(&self, class: &ClassDefinition) -> bool {
        self.directory.class_count_of(&class.owner) >= MAX_CLASSES_PER_OWNER
            && self.directory.class_number(class).is_none()
    }

    fn publish(&mut self, item: &ProposedIndicator, writing: &mut Writing) -> Result<Decision, db::Error> {
        if item.class_known.is_none() && self.crowded(&item.class) {
            return Ok(Decision::Refused(Refusal::TooManyClasses));
        }
        if !self.delegated(item.provider, item.owner, writing) {
            return Ok(Decision::Refused(Refusal::NotDelegated));
        }
        let mut own: Option<Assertion> = None;
        for key in std::iter::once(&item.value_key).chain(&item.alias_keys) {
            let Some(found) = self.assertion(key, item.owner)? else {
                // What was taken back stays so, though its record was dropped.
                if item.reinstate.is_none() && self.was_revoked(key, item.owner) {
                    return Ok(Decision::Refused(Refusal::Revoked));
                }
                continue;
            };
            match own {
                Some(known) if known.handle != found.handle => {
                    return Ok(Decision::Refused(Refusal::Conflict));
                }
                _ => own = Some(found),
            }
        }
        let Some(known) = own else {
            return Ok(match self.original(item, None, writing)? {
                Ok(original) => self.create(item, original, writing),
                Err(refusal) => Decision::Refused(refusal),
            });
        };
        let standing = self.standing(known.newest)?;
        let refused = known.state == State::Revoked && item.reinstate.is_none();
        if refused {
            return Ok(Decision::Refused(Refusal::Revoked));
        }
        let before = standing.header.original.map(|original| original.handle);
        let content = known.digest == item.digest || self.is_approved(item, &known)?;
        let same = content && (item.original.is_none() || item.original == before);
        if known.state != State::Revoked && same {
            return Ok(Decision::Unchanged {
                handle: known.handle,
                position: known.newest,
                version: standing.header.version,
            });
        }
        if let Some(refusal) = self.contained(known.handle, writing.time)? {
            return Ok(Decision::Refused(refusal));
        }
        match self.original(item, Some(&standing), writing)? {
            Ok(original) => self.update(item, known, &standing, original, writing),
            Err(refusal) => Ok(Decision::Refused(refusal)),
        }
    }

    fn create(
        &mut self,
        item: &ProposedIndicator,
        original: Option<Original>,
        writing: &mut Writing,
    ) -> Decision {
        let (at, version) = writing.next();
        let state = writing.state(item);
        let mut keys = std::iter::once(&item.value_key).chain(&item.alias_keys);
        let taken_back = keys.any(|key| self.was_revoked(key, item.owner));
        let class = item.class_known.unwrap_or_else(|| self.class(&item.class));
        let (body, tail_len) = event::finish_indicator(
            self.sealer,
            &item.fields,
            &Decided {
                position: at,
                handle: at,
                state,
                version,
                created: Timestamp::from_micros_clamped(version),
                revocation: None,
                // Of a record that was dropped since.
                reinstatement: item.reinstate.as_deref().filter(|_| taken_back),
            },
        );
        let header = ItemHeader {
            digest: item.digest,
            salted: item.salted,
            owner: item.owner,
            tail_len,
            kind: item.kind,
            previous_kind: item.kind,
            state,
            aliases: !item.alias_keys.is_empty(),
            original,
            ..group::born(Op::Create, at, version, class, item.class.marking.tlp)
        };
        self.assert(item, at, &header);
        self.post(&header, at, &item.terms);
        self.validity(item, &header, at);
        self.write(at, Item { header, terms: item.terms.clone(), previous_terms: Vec::new(), body }, writing);
        Decision::Written { handle: at, position: at, version, effect: Effect::Created }
    }

    pub(super) fn update(
        &mut self,
        item: &ProposedIndicator,
        known: Assertion,
        standing: &Standing,
        original: Option<Original>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let (state, reinstated) = (writing.state(item), known.state == State::Revoked);
        let (at, version) = writing.next();
        let class = item.class_known.unwrap_or_else(|| self.class(&item.class));
        let (body, tail_len) = event::finish_indicator(
            self.sealer,
            &item.fields,
            &Decided {
                position: at,
                handle: known.handle,
                state,
                version,
                created: created(&standing.body)?,
                revocation: None,
                reinstatement: item.reinstate.as_deref().filter(|_| reinstated),
            },
        );
        let header = ItemHeader {
            handle: known.handle,
            previous: known.newest,
            version,
            digest: item.digest,
            salted: item.salted,
            class,
            previous_class: standing.header.class,
            tail_len,
            body_len: 0,
            op: if reinstated { Op::Reinstate } else { Op::Update },
            state,
            kind: item.kind,
            previous_kind: standing.header.kind,
            tlp: item.class.marking.tlp.number(),
            previous_tlp: standing.header.tlp,
            aliases: !item.alias_keys.is_empty(),
            terms: 0,
            previous_terms: 0,
            relabelled: standing.terms != item.terms,
            lapsed: known.state == State::Expired,
            owner: item.owner,
            original,
        };
        if standing.header.aliases || !item.alias_keys.is_empty() {
            for key in value_keys(&standing.body)? {
                self.edit(&key, |all| all.retain(|a| a.handle != known.handle))?;
            }
        }
        self.assert(item, at, &header);
        self.succeed(&header, at)?;
        self.end_held(known.handle)?;
        self.end_containment(known.handle)?;
        self.post(&header, at, &item.terms);
        self.validity(item, &header, at);
        let previous_terms = if header.relabelled { standing.terms.clone() } else { Vec::new() };
        self.write(at, Item { header, terms: item.terms.clone(), previous_terms, body }, writing);
        let effect = if reinstated { Effect::Reinstated } else { Effect::Updated };
        Ok(Decision::Written { handle: known.handle, position: at, version, effect })
    }

    fn revoke(&mut self, asked: &ProposedRevocation, writing: &mut Writing) -> Result<Decision, db::Error> {
        if !self.delegated(asked.provider, asked.owner, writing) {
            return Ok(Decision::Refused(Refusal::NotDelegated));
        }
        let newest = self.newest(asked.handle)?;
        let Some(standing) = self.kept(newest)? else { return Ok(Decision::Refused(Refusal::Absent)) };
        let was = standing.header;
        if was.owner != asked.owner || !was.op.is_version() {
            return Ok(Decision::Refused(Refusal::Absent));
        }
        if asked.expected.is_some_and(|version| version != was.version) {
            return Ok(Decision::Refused(Refusal::Stale));
        }
        if was.state == State::Revoked {
            let (handle, version) = (asked.handle, was.version);
            return Ok(Decision::Unchanged { handle, position: newest, version });
        }
        self.end(newest, standing, Some(&asked.revocation), writing)
    }

    /// Ends a record that is past its validity by the time of the entry. What
    /// was revoked or got a new version meanwhile is left as it stands.
    fn expire(&mut self, handle: Position, writing: &mut Writing) -> Result<Decision, db::Error> {
        let newest = self.newest(handle)?;
        let Some(standing) = self.kept(newest)? else { return Ok(Decision::Refused(Refusal::Stale)) };
        let until = event::valid_until(&standing.body).ok_or_else(|| db::Error::corrupt("body", newest))?;
        if standing.header.state != State::Active || until.is_none_or(|until| until > writing.time) {
            return Ok(Decision::Refused(Refusal::Stale));
        }
        self.end(newest, standing, None, writing)
    }

    /// Writes the version that ends a record: revoked, if a revocation says
    /// why, else expired.
    fn end(
        &mut self,
        newest: Position,
        standing: Standing,
        revocation: Option<&Revocation>,
        writing: &mut Writing,
    ) -> Result<Decision, db::Error> {
        let was = standing.header;
        let (op, state, effect) = match revocation {
            Some(_) => (Op::Revoke, State::Revoked, Effect::Revoked),
            None => (Op::Expire, State::Expired, Effect::Expired),
        };
        let (at, version) = writing.next();
        let fields = event::publisher_fields(&standing.body, was.tail_len)
            .ok_or_else(|| db::Error::corrupt("body", newest))?;
        let (body, tail_len) = event::finish_indicator(
            self.sealer,
            fields,
            &Decided {
                position: at,
                handle: was.handle,
                state,
                version,
                created: created(&standing.body)?,
                revocation: revocation.map(|revocation| (revocation, writing.time)),
                reinstatement: None,
            },
        );
        let header = ItemHeader {
            previous: newest,
            version,
            previous_class: was.class,
            previous_kind: was.kind,
            previous_tlp: was.tlp,
            relabelled: false,
            lapsed: was.state == State::Expired,
            tail_len,
            op,
            state,
            ..was
        };
        for key in value_keys(&standing.body)? {
            self.edit(&key, |all| {
                for a in all.iter_mut().filter(|a| a.handle == was.handle) {
                    a.newest = at;
                    a.state = state;
                }
            })?;
        }
        self.succeed(&header, at)?;
        self.end_held(was.handle)?;
        let outlasts = self.settle_containment(was.handle, op)?;
        self.post(&header, at, &standing.terms);
        self.terminal(&header, at);
        self.write(at, Item { header, terms: standing.terms, previous_terms: Vec::new(), body }, writing);
        if let Some(hold) = outlasts {
            self.outlast(hold, was.handle, was.owner, writing)?;
        }
        Ok(Decision::Written { handle: was.handle, position: at, version, effect })
    }

    /// Notes when a published version ends, or that it ended a record.
    fn validity(&mut self, item: &ProposedIndicator, header: &ItemHeader, at: Position) {
        match (header.state, item.valid_until) {
            (State::Active, Some(until)) => self.hold(header.handle, at, until),
            (State::Expired, _) if header.op == Op::Update && !header.lapsed => self.terminal(header, at),
            _ => {}
        }
    }

    fn terminal(&mut self, header: &ItemHeader, at: Position) {
        let posting = Posting { position: at, handle: header.handle };
        self.postings.add(Dimension::Terminal, u64::from(header.state.number()), posting);
    }

    fn sight(&mut self, item: &ProposedSighting, writing: &mut Writing) -> Result<Decision, db::Error> {
        let indicator = self.kept(self.newest(item.indicator)?)?.map(|standing| standing.header);
        let born_there = |header: &ItemHeader| header.op.is_version() && header.handle == item.indicator;
        let Some(indicator) = indicator.filter(born_there) else {
            return Ok(Decision::Refused(Refusal::Absent));
        };
        if self.crowded(&item.class) {
            return Ok(Decision::Refused(Refusal::TooManyClasses));
        }
        let (at, version) = writing.next();
        let class = self.class(&item.class);
        let (body, tail_len) =
            event::finish_sighting(self.sealer, &item.fields, at, item.indicator, writing.time);
        let outcome = facts::outcome(&body).ok_or_else(|| db::Error::corrupt("body", "outcome"))?;
        let header = ItemHeader {
            kind: if item.told { outcome.number() } else { 0 },
            previous: item.indicator,
            digest: item.digest,
            salted: item.salted,
            // That of the indicator: whether its source was masked by then.
            previous_class: indicator.class,
            owner: item.reporter,
            tail_len,
            ..group::born(Op::Sight, at, version, class, item.class.marking.tlp)
        };
        self.post_sighting(&Sighting::of(&header, at, outcome, &body));
        self.write(at, Item { header, terms: Vec::new(), previous_terms: Vec::new(), body }, writing);
        Ok(Decision::Written { handle: at, position: at, version, effect: Effect::Sighted })
    }

    /// Whether who writes may write for the owner, under the roster of the
    /// moment.
    fn delegated(&self, provider: Option<OrgNo>, owner: OrgNo, writing: &mut Writing) -> bool {
        let Some(provider) = provider else { return true };
        match writing.delegation {
            Some((known, known_owner, allowed)) if (known, known_owner) == (provider, owner) => allowed,
            _ => {
                let allowed = self.directory.acts_for(provider, owner);
                writing.delegation = Some((provider, owner, allowed));
                allowed
            }
        }
    }

    pub(super) fn write(&mut self, at: Position, item: Item, writing: &mut Writing) {
        let written = writing.builder.push(&item);
        debug_assert_eq!(written, at, "items are laid where they were decided to stand");
        self.remember(at, item);
    }
}

fn created(body: &[u8]) -> Result<Timestamp, db::Error> {
    event::decode_indicator(body)
        .and_then(|indicator| event::timestamp(indicator.create_time.as_ref()?))
        .ok_or_else(|| db::Error::corrupt("body", "create_time"))
}

/// The keys under which the indicator in `body` is found.
pub(super) fn value_keys(body: &[u8]) -> Result<Vec<Vec<u8>>, db::Error> {
    let damaged = || db::Error::corrupt("body", "observable");
    let indicator = event::decode_indicator(body).ok_or_else(damaged)?;
    let (value, aliases) = event::observables(&indicator).ok_or_else(damaged)?;
    Ok(std::iter::once(&value).chain(&aliases).map(keys::value).collect())
}
