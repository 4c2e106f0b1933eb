//! Decides whether a version is one that was asked for: by its place and its
//! header first, then by what it says, then by who sighted it.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::model::asset::Matcher;
use crate::model::indicator::{Observable, State};
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::query::{IndicatorFilter, Span};
use crate::store::chunk::ItemView;

use super::super::directory::Directory;
use super::super::error::Error;
use super::super::select::Terms;
use super::super::shared::Shared;
use super::super::store_error;
use super::said::Said;

/// What one filter asks, but for its exceptions.
#[derive(Debug)]
pub(super) struct Conditions {
    /// What a header tells.
    pub(super) terms: Terms,
    /// Owners of the kinds of organisation asked for.
    pub(super) org_kinds: Option<Vec<OrgNo>>,
    /// Where versions stand that were added in time.
    pub(super) versions: Range,
    /// Where records were born that were published in time.
    pub(super) births: Range,
    /// What is asked of what a version says.
    pub(super) filter: IndicatorFilter,
    /// Which sightings are asked for.
    pub(super) sightings: Option<Sightings>,
    /// What is the asker's own, if he asks for that alone.
    own: Option<Arc<Matcher>>,
}

/// Positions after one, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) after: Position,
    pub(super) upto: Position,
}

impl Range {
    const ALL: Self = Self { after: Position::ZERO, upto: Position::from_raw(u64::MAX) };

    /// Nowhere.
    pub(super) const NONE: Self = Self { after: Position::ZERO, upto: Position::ZERO };

    /// Where what was recorded in a span stands.
    fn of(shared: &Shared, span: Span) -> Result<Self, Error> {
        let before = |at: Timestamp| shared.store.position_before_time(at.as_micros()).map_err(store_error);
        Ok(Self {
            after: span.from.map_or(Ok(Self::ALL.after), before)?,
            upto: span.to.map_or(Ok(Self::ALL.upto), before)?,
        })
    }

    pub(super) fn holds(self, position: Position) -> bool {
        position > self.after && position <= self.upto
    }
}

/// Which sightings are asked for: one that is all of this.
#[derive(Debug)]
pub(super) struct Sightings {
    /// By one of these.
    pub(super) by: Option<Vec<OrgNo>>,
    /// Recorded there.
    pub(super) recorded: Range,
    /// That say one of these, a bit for each number.
    pub(super) outcomes: Option<u8>,
}

impl Conditions {
    /// Resolves a filter under the roster that holds, for `asker`, whose own
    /// assets are those of `own_at`.
    pub(super) fn resolve(
        shared: &Shared,
        filter: &IndicatorFilter,
        directory: &Directory,
        asker: OrgNo,
        own_at: Position,
    ) -> Result<Self, Error> {
        let kinds = &filter.org_kinds;
        let of_kind = |org: &&crate::model::org::Organisation| kinds.contains(&org.kind);
        let org_kinds = (!kinds.is_empty()).then(|| {
            let organisations = directory.roster().organisations.values();
            organisations.filter(of_kind).filter_map(|org| directory.number(&org.slug)).collect()
        });
        Ok(Self {
            terms: Terms::resolve(filter, directory),
            org_kinds,
            versions: Range::of(shared, Span { from: filter.added_from, to: filter.added_to })?,
            births: Range::of(shared, filter.published)?,
            sightings: Sightings::resolve(shared, filter, directory)?,
            own: filter.own_assets.then(|| shared.own_at(asker, own_at)).transpose()?,
            filter: filter.clone(),
        })
    }

    /// Whether they ask whose a record is: whoever is not told that, is not
    /// told it by an answer either.
    pub(super) fn ask_owner(&self) -> bool {
        self.org_kinds.is_some() || self.terms.owners().is_some()
    }

    /// Whether the header of a version matches, and where it stands.
    pub(super) fn header(&self, item: &ItemView<'_>, told: impl FnOnce() -> bool) -> bool {
        self.versions.holds(item.position)
            && self.births.holds(item.header.handle)
            && self.terms.matches(item)
            && self.org_kinds.as_ref().is_none_or(|orgs| orgs.contains(&item.header.owner))
            && (!self.ask_owner() || told())
    }

    /// Whether they ask what only the body of a version tells.
    pub(super) fn ask_body(&self) -> bool {
        let IndicatorFilter { values, confidence, actions, first_seen, last_seen, valid_at, text, .. } =
            &self.filter;
        self.own.is_some()
            || !values.is_empty()
            || confidence.is_some()
            || !actions.is_empty()
            || !first_seen.is_open()
            || !last_seen.is_open()
            || valid_at.is_some()
            || text.is_some()
    }

    /// Whether what a version says matches.
    pub(super) fn body(&self, said: &Said<'_>) -> Result<bool, Error> {
        Ok(self.numbers(said)? && self.values(said)? && self.texts(said)?)
    }

    fn numbers(&self, said: &Said<'_>) -> Result<bool, Error> {
        let IndicatorFilter { confidence, actions, first_seen, last_seen, valid_at, .. } = &self.filter;
        let open = first_seen.is_open() && last_seen.is_open();
        if open && confidence.is_none() && actions.is_empty() && valid_at.is_none() {
            return Ok(true);
        }
        let said = said.numbers()?;
        let within = |(low, high): (u8, u8)| said.confidence.is_some_and(|c| c >= low && c <= high);
        let valid = |at: Timestamp| {
            at >= said.valid_from.unwrap_or(said.created) && said.valid_until.is_none_or(|until| at < until)
        };
        Ok(confidence.is_none_or(within)
            && (actions.is_empty() || said.action.is_some_and(|is| actions.contains(&is)))
            && first_seen.holds(said.first_seen)
            && last_seen.holds(said.last_seen)
            && valid_at.is_none_or(valid))
    }

    fn values(&self, said: &Said<'_>) -> Result<bool, Error> {
        let wanted = &self.filter.values;
        if wanted.is_empty() && self.own.is_none() {
            return Ok(true);
        }
        let values = said.values()?;
        let is = |value: &Observable| wanted.iter().any(|wanted| wanted.matches(value));
        Ok(self.own.as_ref().is_none_or(|own| own.matches(&values.value))
            && (wanted.is_empty() || values.iter().any(is)))
    }

    fn texts(&self, said: &Said<'_>) -> Result<bool, Error> {
        match &self.filter.text {
            Some(search) => Ok(search.matches(said.texts()?.iter())),
            None => Ok(true),
        }
    }
}

impl Sightings {
    fn resolve(
        shared: &Shared,
        filter: &IndicatorFilter,
        directory: &Directory,
    ) -> Result<Option<Self>, Error> {
        let IndicatorFilter { sighted_by, sighted_since, outcomes, .. } = filter;
        if sighted_by.is_empty() && sighted_since.is_none() && outcomes.is_empty() {
            return Ok(None);
        }
        let by = sighted_by.iter().filter_map(|slug| directory.number(slug)).collect();
        let bits = outcomes.iter().fold(0, |bits, outcome| bits | 1_u8 << outcome.number());
        Ok(Some(Self {
            by: (!sighted_by.is_empty()).then_some(by),
            recorded: Range::of(shared, Span { from: *sighted_since, to: None })?,
            outcomes: (!outcomes.is_empty()).then_some(bits),
        }))
    }
}

/// The fields of a filter, each in a filter of its own: what is to match none
/// of them is held against each. Who sighted, when and what is one field.
pub(super) fn apart(filter: &IndicatorFilter) -> Vec<IndicatorFilter> {
    let none = IndicatorFilter::default;
    // A field that is added is to be held against, too.
    let IndicatorFilter {
        kinds,
        owners,
        labels,
        tlps,
        roles,
        families,
        campaigns,
        techniques,
        own_assets,
        states,
        added_from,
        added_to,
        values,
        org_kinds,
        confidence,
        actions,
        published,
        first_seen,
        last_seen,
        valid_at,
        sighted_by,
        sighted_since,
        outcomes,
        text,
        except: _,
    } = filter.clone();
    let fields = [
        IndicatorFilter { kinds, ..none() },
        IndicatorFilter { owners, ..none() },
        IndicatorFilter { labels, ..none() },
        IndicatorFilter { tlps, ..none() },
        IndicatorFilter { roles, ..none() },
        IndicatorFilter { families, ..none() },
        IndicatorFilter { campaigns, ..none() },
        IndicatorFilter { techniques, ..none() },
        IndicatorFilter { own_assets, ..none() },
        IndicatorFilter { states, ..none() },
        IndicatorFilter { added_from, added_to, ..none() },
        IndicatorFilter { values, ..none() },
        IndicatorFilter { org_kinds, ..none() },
        IndicatorFilter { confidence, ..none() },
        IndicatorFilter { actions, ..none() },
        IndicatorFilter { published, ..none() },
        IndicatorFilter { first_seen, ..none() },
        IndicatorFilter { last_seen, ..none() },
        IndicatorFilter { valid_at, ..none() },
        IndicatorFilter { text, ..none() },
        IndicatorFilter { sighted_by, sighted_since, outcomes, ..none() },
    ];
    fields.into_iter().filter(|field| *field != none()).collect()
}

/// The filter with the states that are meant where none are named.
pub(super) fn with_states(filter: &IndicatorFilter) -> IndicatorFilter {
    let mut wanted = IndicatorFilter { except: None, ..filter.clone() };
    if wanted.states.is_empty() {
        wanted.states.push(State::Active);
    }
    wanted
}
