//! Decides what is counted of each indicator that is gone through, where no
//! counters tell it.

use std::collections::BTreeSet;

use crate::model::aggregate::Dimension;
use crate::model::indicator::{Kind, technique};
use crate::model::marking::Tlp;
use crate::model::org::OrgNo;
use crate::model::query::{IndicatorFilter, Question, Span};
use crate::policy::visibility::Purpose;
use crate::wire::event;

use super::super::error::Error;
use super::super::fetch::damaged;
use super::super::query::{Place, Row, Walk};
use super::tally::Tally;
use super::{Asked, term_kind};

/// Goes through what matches, from what was changed last.
pub(super) fn count(asked: &Asked<'_>) -> Result<Tally, Error> {
    let mut tally = Tally::new();
    let Some(filter) = within(asked) else { return Ok(tally) };
    let place = Place { origin: asked.origin, past: None };
    let question = Question::new(filter);
    let time = Some(asked.bounds.time);
    let mut walk = Walk::new(asked.shared, asked.caller, &question, Purpose::Aggregate, place, time)?;
    let mut looked = 0;
    while let Some(row) = walk.next_row()? {
        if looked == asked.bounds.rows || tally.is_full() {
            tally.exact = false;
            return Ok(tally);
        }
        looked += 1;
        add(asked, &walk, &row, &mut tally)?;
    }
    tally.exact = walk.cut().is_none();
    Ok(tally)
}

/// The filter with the spans that are counted; `None`: nothing lies in them.
fn within(asked: &Asked<'_>) -> Option<IndicatorFilter> {
    let filter = asked.counting.filter.clone();
    let Some(spans) = asked.spans else { return Some(filter) };
    let Span { from, to } = filter.published;
    let from = from.map_or_else(|| spans.start(), |from| from.max(spans.start()));
    let to = to.map_or_else(|| spans.end(), |to| to.min(spans.end()));
    let published = Span { from: Some(from), to: Some(to) };
    (from < to).then_some(IndicatorFilter { published, ..filter })
}

fn add(asked: &Asked<'_>, walk: &Walk<'_>, row: &Row, tally: &mut Tally) -> Result<(), Error> {
    let (by, header) = (asked.counting.by, &row.header);
    let damaged = || damaged(row.position);
    let reads = asked.spans.is_some() || term_kind(by).is_some();
    let said = if reads { Some(event::decode_indicator(&row.body).ok_or_else(damaged)?) } else { None };
    let span = match (asked.spans, &said) {
        (Some(spans), Some(said)) => {
            let born = said.create_time.as_ref().and_then(event::timestamp).ok_or_else(damaged)?;
            Some(spans.calendar.number(born))
        }
        _ => None,
    };
    tally.add(span, 1);
    let values: Vec<Option<String>> = match (by, said) {
        (Some(Dimension::Label), Some(said)) => said.labels.into_iter().map(Some).collect(),
        (Some(Dimension::Family), Some(said)) => named(&said.family).map(Some).into_iter().collect(),
        (Some(Dimension::Campaign), Some(said)) => named(&said.campaign).map(Some).into_iter().collect(),
        (Some(Dimension::Technique), Some(said)) => techniques(&said.attack_techniques),
        (Some(Dimension::Kind), _) => {
            vec![Kind::from_number(header.kind).map(|kind| kind.as_str().to_owned())]
        }
        (Some(Dimension::Tlp), _) => vec![Some(Tlp::from_number_or_red(header.tlp).as_str().to_owned())],
        (Some(by @ (Dimension::Owner | Dimension::OrgKind)), _) => {
            let told = walk.tells(header.class, row.class_now);
            vec![if told { source(asked, header.owner, by) } else { None }]
        }
        _ => Vec::new(),
    };
    for value in values {
        tally.add_to(value, span, 1);
    }
    Ok(())
}

/// The name of an owner, or its kind.
fn source(asked: &Asked<'_>, owner: OrgNo, by: Dimension) -> Option<String> {
    let directory = asked.shared.directory.load();
    let slug = directory.slug(owner)?;
    match by {
        Dimension::Owner => Some(slug.as_str().to_owned()),
        _ => directory.roster().organisations.get(slug).map(|org| org.kind.clone()),
    }
}

/// Techniques, and those of which they are a part, once each.
fn techniques(names: &[String]) -> Vec<Option<String>> {
    let all = names.iter().flat_map(|name| technique::parent(name).into_iter().chain([name.as_str()]));
    let all: BTreeSet<_> = all.collect();
    all.into_iter().map(|name| Some(name.to_owned())).collect()
}

/// A name in the form of which its term is made.
fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_lowercase())
}
