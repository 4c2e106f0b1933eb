//! Decides how a page of indicators is found: of a walk through what stood when
//! it began, or at the moment asked about, from where the page before ended.

use std::time::Duration;

use bytes::Bytes;

use crate::base::digest;
use crate::model::invalid::Invalid;
use crate::model::marking::Tlp;
use crate::model::position::Position;
use crate::model::query::Question;
use crate::policy::visibility::{Purpose, Viewer};
use crate::wire::convert::filter;
use crate::wire::token::{self, Use};
use crate::wire::{disclosure, event};

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::fetch::damaged;
use super::query::{self, Past, Place, Row, Step, Walk};
use super::shared::Shared;
use super::source::{self, Source};
use super::store_error;

/// Largest page.
pub const MAX_PAGE: usize = 1_000;
/// How long one page is looked for; a page that is cut short by it has a token
/// and goes on where it stopped.
const PAGE_TIME: Duration = Duration::from_secs(1);
/// Bytes of a page after which it is closed.
const PAGE_BYTES: usize = 3 << 20;
const METHOD: &str = "ListIndicators";

/// A page of indicators, encoded `luytre.v1.Indicator` messages.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In the order asked for.
    pub indicators: Vec<Bytes>,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
    /// How they were found, if that was asked.
    pub plan: Vec<Step>,
}

/// What was found of a page, and where the next one begins.
struct Found {
    indicators: Vec<Bytes>,
    next: Option<Past>,
    plan: Vec<Step>,
}

impl Hub {
    /// A page of the indicators that match and that the caller may see.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`, `FIELD_INVALID` where the moment asked about is to
    /// come, `INDEX_BEHIND`, `HISTORY_TRUNCATED`, `RATE_LIMITED`, or a failure of
    /// the store.
    pub async fn list(
        &self,
        caller: &Caller,
        question: impl Into<Question>,
        page_size: usize,
        page_token: &str,
    ) -> Result<Page, Error> {
        let question = question.into();
        let arguments = arguments(&self.shared, caller, &question);
        let purpose = Use::Page { method: METHOD, arguments: &arguments };
        let to = caller.identity();
        let size = page_size.clamp(1, MAX_PAGE);
        let place = if page_token.is_empty() {
            None
        } else {
            let place = self.shared.tokens.open_text(to, purpose, page_token).map_err(|_| {
                Error::new(
                    Reason::PageTokenInvalid,
                    "the page_token is not from the page before of this same query; start again without one",
                )
            })?;
            let past = Past { position: place.position, bucket: place.class };
            Some(Place { origin: place.origin, past: Some(past) })
        };
        // What is committed now is known to a directory that is taken later.
        let committed = self.shared.tail.committed();
        if question.as_of.is_some_and(|at| at > self.shared.clock.now()) {
            return Err(Invalid::new("as_of", "a moment that has passed").into());
        }
        // Not where the walk began: what was changed since is found by what it was.
        if query::asks_index(&question) {
            self.shared.index.reached(committed).await;
        }
        let viewer = caller.clone();
        let (origin, found) = self
            .shared
            .question(caller, move |shared| {
                let place = match place {
                    Some(place) => place,
                    None => Place { origin: origin(shared, &question, committed)?, past: None },
                };
                let page = page(shared, &viewer, &question, place, size)?;
                // What was cut out meanwhile was missing.
                shared.history.covers(place.origin)?;
                Ok((place.origin, page))
            })
            .await?;
        let next_page_token = match found.next {
            Some(Past { position, bucket }) => {
                let place = token::Place { position, origin, class: bucket, stage: 0 };
                self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?
            }
            None => String::new(),
        };
        Ok(Page { indicators: found.indicators, next_page_token, plan: found.plan })
    }
}

/// What the pages of one walk have in common. Of a moment that has passed, the
/// place of a page does not tell when it was asked for: the list of what is the
/// caller's own does, which is that of the asking.
fn arguments(shared: &Shared, caller: &Caller, question: &Question) -> [u8; 32] {
    let asked = filter::digest(question);
    let filter = &question.filter;
    let own = filter.own_assets || filter.except.as_ref().is_some_and(|except| except.own_assets);
    if !own || question.as_of.is_none() {
        return asked;
    }
    digest::sha256(&[asked.as_slice(), shared.assets_etag(caller.org()).as_bytes()].concat())
}

/// What a walk that begins now shows: what stands, or stood.
fn origin(shared: &Shared, question: &Question, committed: Position) -> Result<Position, Error> {
    let Some(at) = question.as_of else { return Ok(committed) };
    let (least, past) = (shared.history.reaches(at)?, at.as_micros().saturating_add(1));
    Ok(shared.store.position_before_time(past).map_err(store_error)?.max(least).min(committed))
}

/// The page, and past what the next one goes on. That is told only where
/// something that the caller may see follows, or where time is up: otherwise it
/// would tell of what is hidden.
fn page(
    shared: &Shared,
    caller: &Caller,
    question: &Question,
    place: Place,
    size: usize,
) -> Result<Found, Error> {
    // What was hidden when the walk began is hidden on each of its pages.
    caller.trail().looks();
    let walk = if place.past.is_some() { Walk::as_stood } else { Walk::new };
    let mut walk = walk(shared, caller, question, Purpose::Search, place, Some(PAGE_TIME))?;
    let (mut indicators, mut bytes, mut last) = (Vec::new(), 0, None);
    let next = loop {
        let Some(row) = walk.next_row()? else { break walk.cut() };
        if indicators.len() == size || bytes > PAGE_BYTES {
            break last;
        }
        last = Some(walk.behind(&row));
        let indicator = show(shared, caller, &row, Purpose::Search)?;
        caller.trail().saw(Tlp::from_number_or_red(row.header.tlp));
        caller.trail().told(row.header.handle, row.position);
        bytes += indicator.len();
        indicators.push(indicator);
    };
    let plan = if question.explain { walk.told() } else { Vec::new() };
    Ok(Found { indicators, next, plan })
}

/// A row as the caller is shown it: an encoded `luytre.v1.Indicator`.
pub(super) fn show(shared: &Shared, caller: &Caller, row: &Row, purpose: Purpose) -> Result<Bytes, Error> {
    let viewer = Viewer { org: caller.org(), principal: caller.identity() };
    let at = row.position;
    let reclassed = shared.reclassed.read();
    // After the classes were read, so that it knows them.
    let directory = shared.directory.load();
    let source = Source::of(&directory, viewer, row.header.class, row.class_now, purpose);
    let indicator = event::subject(&row.body).ok_or_else(|| damaged(at))?;
    let shown = source.show_indicator(row.body.slice_ref(indicator)).ok_or_else(|| damaged(at))?;
    let original = source::original(&directory, &reclassed, viewer, &row.header, purpose);
    Ok(match original {
        Some(original) => disclosure::tell_original(&shown, shared.sealer.id(original)),
        None => shown,
    })
}
