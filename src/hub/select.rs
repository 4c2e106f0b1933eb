//! Decides which items a viewer gets, and as what: from (visible and matching
//! before, visible and matching after) come nothing, NEW, UPDATE, WITHDRAWN,
//! REVOKED or EXPIRED.

use std::cell::LazyCell;
use std::sync::Arc;

use crate::model::asset::Matcher;
use crate::model::audience::ClassNo;
use crate::model::event::EventKind;
use crate::model::indicator::{Kind, State};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::query::IndicatorFilter;
use crate::model::sighting::Outcome;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::{ItemHeader, ItemView, Op, View};
use crate::store::keys;
use crate::wire::facts;

use super::directory::Directory;
use super::own::Own;
use super::shared::Reclassed;
use super::source::{self, Other, Source};

/// A filter resolved to numbers, so that it matches headers without decoding.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    kinds: Option<u64>,
    owners: Option<Vec<OrgNo>>,
    /// Owners asked for that nobody was called yet.
    unknown: Vec<OrgSlug>,
    labels: Option<Vec<u64>>,
    families: Option<Vec<u64>>,
    campaigns: Option<Vec<u64>>,
    techniques: Option<Vec<u64>>,
    roles: Option<Vec<u64>>,
    tlps: Option<u8>,
    states: Option<u8>,
}

impl Terms {
    /// Resolves a filter. Owners that the directory does not know match
    /// nothing until [`Self::meet`] finds them.
    #[must_use]
    pub fn resolve(filter: &IndicatorFilter, directory: &Directory) -> Self {
        let wanted = |any: bool| any.then_some(());
        Self {
            kinds: kinds(filter),
            owners: wanted(!filter.owners.is_empty())
                .map(|()| filter.owners.iter().filter_map(|slug| directory.number(slug)).collect()),
            unknown: filter.owners.iter().filter(|slug| directory.number(slug).is_none()).cloned().collect(),
            labels: terms(&filter.labels, |label| keys::label_term(label)),
            families: terms(&filter.families, |family| keys::family_term(family)),
            campaigns: terms(&filter.campaigns, |campaign| keys::campaign_term(campaign)),
            techniques: terms(&filter.techniques, |technique| keys::technique_term(technique)),
            roles: terms(&filter.roles, |role| keys::role_term(role.number())),
            tlps: wanted(!filter.tlps.is_empty())
                .map(|()| filter.tlps.iter().fold(0, |bits, tlp| bits | 1 << tlp.number())),
            states: wanted(!filter.states.is_empty())
                .map(|()| filter.states.iter().fold(0, |bits, state| bits | 1 << state.number())),
        }
    }

    /// The same with the owners that have joined by now; `None`: none has. An organisation keeps its number for
    /// good, and has no records from before it joined.
    #[must_use]
    pub fn meet(&self, directory: &Directory) -> Option<Self> {
        let joined: Vec<_> = self.unknown.iter().filter_map(|slug| directory.number(slug)).collect();
        if joined.is_empty() {
            return None;
        }
        let mut met = self.clone();
        met.unknown.retain(|slug| directory.number(slug).is_none());
        met.owners.get_or_insert_default().extend(joined);
        Some(met)
    }

    /// Whether the filter asks nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kinds.is_none()
            && self.owners.is_none()
            && self.labels.is_none()
            && self.families.is_none()
            && self.campaigns.is_none()
            && self.techniques.is_none()
            && self.roles.is_none()
            && self.tlps.is_none()
            && self.states.is_none()
    }

    /// Owners asked for.
    #[must_use]
    pub fn owners(&self) -> Option<&[OrgNo]> {
        self.owners.as_deref()
    }

    /// Terms asked for of each field whose terms versions carry as they do
    /// labels, by the field's name; those that few records share come first.
    pub fn labelled(&self) -> impl Iterator<Item = (&'static str, &[u64])> {
        let all = [
            ("campaign", &self.campaigns),
            ("family", &self.families),
            ("technique", &self.techniques),
            ("label", &self.labels),
            ("role", &self.roles),
        ];
        all.into_iter().filter_map(|(name, terms)| Some((name, terms.as_deref()?)))
    }

    /// Kinds asked for, by number.
    #[must_use]
    pub fn kinds(&self) -> Option<Vec<u8>> {
        self.kinds.map(|bits| (0..64).filter(|kind| bits & (1 << kind) != 0).collect())
    }

    fn kind(&self, number: u8) -> bool {
        self.kinds.is_none_or(|bits| number < 64 && bits & (1 << number) != 0)
    }

    fn owner(&self, header: &ItemHeader) -> bool {
        self.owners.as_ref().is_none_or(|owners| owners.contains(&header.owner))
    }

    /// Whether there is one of each field that is asked for.
    fn terms<I: Iterator<Item = u64>>(&self, terms: impl Fn() -> I) -> bool {
        let asked = [&self.labels, &self.families, &self.campaigns, &self.techniques, &self.roles];
        asked.into_iter().flatten().all(|wanted| terms().any(|term| wanted.contains(&term)))
    }

    fn tlp(&self, number: u8) -> bool {
        self.tlps.is_none_or(|bits| number < 8 && bits & (1 << number) != 0)
    }

    /// Whether the version matches.
    #[must_use]
    pub fn matches(&self, item: &ItemView<'_>) -> bool {
        self.owner(&item.header)
            && self.kind(item.header.kind)
            && self.tlp(item.header.tlp)
            && self.states.is_none_or(|bits| bits & (1 << item.header.state.number()) != 0)
            && self.terms(|| item.terms())
    }

    /// Whether the version before matched.
    #[must_use]
    pub fn matched(&self, item: &ItemView<'_>) -> bool {
        self.owner(&item.header)
            && self.kind(item.header.previous_kind)
            && self.tlp(item.header.previous_tlp)
            && self.terms(|| item.previous_terms())
    }
}

/// Kinds asked for, a bit for each; `None`: all. What cannot be about an asset
/// is not asked for where assets are.
fn kinds(filter: &IndicatorFilter) -> Option<u64> {
    let bits = |kinds: &[Kind]| kinds.iter().fold(0, |bits, kind| bits | 1 << kind.number());
    let named = (!filter.kinds.is_empty()).then(|| bits(&filter.kinds));
    let own = filter.own_assets.then(|| bits(&Matcher::KINDS));
    match (named, own) {
        (Some(named), Some(own)) => Some(named & own),
        (named, own) => named.or(own),
    }
}

/// The terms of one field; `None` where nothing is asked.
fn terms<T>(asked: &[T], term: impl Fn(&T) -> u64) -> Option<Vec<u64>> {
    (!asked.is_empty()).then(|| asked.iter().map(term).collect())
}

/// The rosters under which a position is looked at.
#[derive(Debug, Clone)]
pub struct Held {
    /// That of the position.
    pub then: Arc<Directory>,
    /// That of today.
    pub now: Arc<Directory>,
    /// What is the viewer's own at the position, if he asks for that alone.
    pub own: Option<Arc<Matcher>>,
    /// What else is looked for: what was his own, which he may have.
    pub had: Option<Arc<Matcher>>,
}

impl Held {
    /// Whether nothing changed since the position.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        Arc::ptr_eq(&self.then, &self.now)
    }

    /// Whether the version in a body is about what is looked for.
    #[must_use]
    pub fn is_own(&self, body: &[u8]) -> bool {
        is_own(self.own.as_deref(), body) || self.had.as_deref().is_some_and(|had| is_own(Some(had), body))
    }
}

/// What one subscriber gets.
#[derive(Debug)]
pub struct Selection {
    org: OrgNo,
    principal: SpiffeId,
    terms: Terms,
    wants: Wants,
    /// What is the viewer's own, if he asks for that alone.
    pub(super) own: Option<Own>,
}

/// What a subscriber wants beside indicators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// Sightings.
    pub sightings: bool,
    /// Notices.
    pub notices: bool,
}

/// What becomes of a whole chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// All of it goes out, all NEW.
    All,
    /// None of it.
    Nothing,
    /// Look at each item.
    Each,
}

/// Whether the version in a body is about what is somebody's own, if that alone
/// is asked for. A damaged one is not held back: whoever reads it says so.
#[must_use]
pub fn is_own(own: Option<&Matcher>, body: &[u8]) -> bool {
    own.is_none_or(|own| facts::values(body).is_none_or(|values| own.matches(&values.value)))
}

impl Selection {
    /// A selection for one viewer.
    #[must_use]
    pub const fn new(org: OrgNo, principal: SpiffeId, terms: Terms, wants: Wants) -> Self {
        Self { org, principal, terms, wants, own: None }
    }

    /// The same of what is the viewer's own alone, if that is asked for.
    #[must_use]
    pub fn of_own(self, asked: bool) -> Self {
        Self { own: asked.then(|| Own::new(self.org)), ..self }
    }

    const fn viewer(&self) -> Viewer<'_> {
        Viewer { org: self.org, principal: &self.principal }
    }

    /// The same with the owners that have joined by now; `None`: none has.
    #[must_use]
    pub fn meet(&self, directory: &Directory) -> Option<Self> {
        let terms = self.terms.meet(directory)?;
        let own = self.own.as_ref().map(Own::again);
        Some(Self { org: self.org, principal: self.principal.clone(), terms, wants: self.wants, own })
    }

    /// Whether the viewer is sent records of `class`. Who asks for owners is
    /// sent none whose owner he is not told: an answer would tell him.
    #[must_use]
    pub fn sees(&self, directory: &Directory, class: ClassNo) -> bool {
        if self.terms.owners.is_some() {
            directory.discloses(self.viewer(), class, Purpose::Deliver)
        } else {
            directory.visible(self.viewer(), class, Purpose::Deliver)
        }
    }

    /// What the viewer is shown of who stands behind a version of `class`.
    #[must_use]
    pub fn source(&self, today: &Directory, class: ClassNo, class_now: ClassNo) -> Source {
        Source::of(today, self.viewer(), class, class_now, Purpose::Deliver)
    }

    /// The same of a sighting whose indicator is of class `indicator_now`.
    #[must_use]
    pub fn sighting_source(
        &self,
        today: &Directory,
        sighting: &ItemHeader,
        indicator_now: ClassNo,
    ) -> Source {
        Source::of_sighting(today, self.viewer(), sighting.into(), indicator_now, Purpose::Deliver)
    }

    /// What the viewer is told of the other record of a collision, which is of
    /// class `other_now`.
    #[must_use]
    pub fn other(&self, today: &Directory, notice: &ItemHeader, other_now: ClassNo) -> Other {
        Source::of_notice(today, self.viewer(), notice, other_now, Purpose::Deliver)
    }

    /// What the viewer is told that a version is a republication of.
    #[must_use]
    pub fn original(
        &self,
        today: &Directory,
        reclassed: &Reclassed,
        version: &ItemHeader,
    ) -> Option<Position> {
        source::original(today, reclassed, self.viewer(), version, Purpose::Deliver)
    }

    /// Whether the version is one that the viewer asked for, but for whether it
    /// is about what is its own.
    #[must_use]
    pub fn wants(&self, item: &ItemView<'_>) -> bool {
        self.terms.matches(item)
    }

    /// Whether the viewer asked for whatever it may see.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.terms.is_empty() && self.own.is_none()
    }

    /// What becomes of a chunk, by its head alone. `touched` says whether the
    /// class of a record born in it has changed since.
    #[must_use]
    pub fn whole(&self, view: &View<'_>, rosters: &Held, touched: bool) -> Whole {
        match view.class {
            _ if view.count == 0 => Whole::Nothing,
            Some(class) if view.all_new && !self.sees(&rosters.then, class) => Whole::Nothing,
            Some(class) if view.all_new && !touched && self.wants_all() => {
                if rosters.unchanged() || self.sees(&rosters.now, class) {
                    Whole::All
                } else {
                    Whole::Nothing
                }
            }
            _ => Whole::Each,
        }
    }

    /// Whether it says that an indicator of the viewer's organisation is wrong,
    /// or of one that it acts for or follows: that may break something at this
    /// moment, whatever the viewer asked for.
    fn must_hear(&self, sighting: &ItemHeader, now: &Directory) -> bool {
        let indicator = now.class(sighting.previous_class);
        let owner = indicator.map(|class| &class.definition.owner);
        let (Some(owner), Some(own)) = (owner, now.slug(self.org)) else { return false };
        sighting.kind == Outcome::FalsePositive.number()
            && (now.roster().heirs(owner, now.date()).contains(&own)
                || own == owner
                || now.roster().acts_for(own, owner, now.date()))
    }

    /// What an item is for this viewer; `None`: nothing. It is seen by whom
    /// the roster let see it then, and lets see the record today; `class_now`
    /// is its class today.
    #[must_use]
    pub fn event(&self, item: &ItemView<'_>, rosters: &Held, class_now: ClassNo) -> Option<EventKind> {
        let header = &item.header;
        let sees = |class| self.sees(&rosters.then, class);
        let now = |class| (rosters.unchanged() && class == header.class) || self.sees(&rosters.now, class);
        let told = match header.op {
            Op::Sight => {
                let urgent = || self.wants.notices && self.must_hear(header, &rosters.now);
                Some((self.wants.sightings || urgent(), EventKind::Sighted))
            }
            Op::Notice => Some((self.wants.notices, EventKind::Collision)),
            Op::Leave => Some((self.wants.notices, EventKind::Republication)),
            Op::Held => Some((self.wants.notices, EventKind::Held)),
            Op::Contain => Some((self.wants.notices, EventKind::Contained)),
            Op::Gone | Op::Born => return None,
            _ => None,
        };
        if let Some((wanted, kind)) = told {
            // Whom it is from is not what the filter asks.
            let sees = |roster: &Directory| roster.visible(self.viewer(), header.class, Purpose::Deliver);
            return (wanted && sees(&rosters.then) && sees(&rosters.now)).then_some(kind);
        }
        // A record is about one value for good, which is read once at most.
        let own = LazyCell::new(|| rosters.is_own(item.body));
        let after = sees(header.class) && now(class_now) && self.terms.matches(item) && *own;
        // Nobody has what was not there, or is revoked or expired.
        let absent = header.lapsed || matches!(header.op, Op::Create | Op::Reinstate);
        let before = !absent && sees(header.previous_class) && self.terms.matched(item) && *own;
        match (before, after, header.state) {
            (false, false, _) => None,
            (_, true, State::Revoked) => Some(EventKind::Revoked),
            // Past its validity already as it comes: nothing to stop using.
            (false, true, State::Expired) => None,
            (true, true, State::Expired) => Some(EventKind::Expired),
            (false, true, State::Active) => Some(EventKind::New),
            (true, true, State::Active) => Some(EventKind::Update),
            (true, false, _) => Some(EventKind::Withdrawn),
        }
    }
}
