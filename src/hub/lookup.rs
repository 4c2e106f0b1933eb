//! Decides how values are looked up: exactly, or also under what contains them;
//! with visibility and without a body, and a read only where there is something
//! to see.
//!
//! What a look-up reads follows from the values and from what the caller may
//! see, never from what is hidden: [`super::membership`] is asked first, and the
//! lengths of prefix under which networks are sought are those of networks that
//! he may see.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::model::indicator::wider::{PrefixLengths, Relation, wider};
use crate::model::indicator::{Observable, State};
use crate::model::marking::Tlp;
use crate::model::org::OrgSlug;
use crate::model::position::{MAX_ITEMS, Position};
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::keys;
use crate::store::record::Assertion;

use super::audit::Trail;
use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::shared::Shared;
use super::store_error;

/// Most wider matches of all values of a request, shared evenly.
const MAX_WIDER: usize = 10_000;
/// Most wider matches of one value.
const MAX_WIDER_OF_ONE: usize = 100;
/// Keys read at once.
const STEP_KEYS: usize = 8_192;

/// One assertion about a looked-up value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Public id of the indicator.
    pub id: Uuid,
    /// Its owner; none where the caller is not told.
    pub owner: Option<OrgSlug>,
    /// Where it stands.
    pub state: State,
    /// Its record, and the version that stands: for the receipt.
    pub record: (Position, Position),
}

/// One assertion about what contains a looked-up value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiderMatch {
    /// How it is about the value.
    pub relation: Relation,
    /// What it is about.
    pub value: Observable,
    /// The assertion.
    pub found: Match,
}

/// What is known of a value and of what contains it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WideMatches {
    /// Of the value itself.
    pub exact: Vec<Match>,
    /// Of what contains it, closest first.
    pub wider: Vec<WiderMatch>,
    /// Whether there is more that contains it.
    pub truncated: bool,
}

impl Hub {
    /// What is known of each of `values`, in their order; of one value in the
    /// order of ids, which says nothing.
    ///
    /// # Errors
    /// `REQUEST_TOO_LARGE`, or a failure of the store.
    pub async fn lookup(&self, caller: &Caller, values: Vec<Observable>) -> Result<Vec<Vec<Match>>, Error> {
        check_count(&values)?;
        caller.trail().looks();
        let mut keys: Vec<_> = values.iter().map(keys::value).collect();
        let (mut places, mut place) = (Vec::new(), 0);
        let before = Sight::of(&self.shared, caller);
        keys.retain(|key| {
            let kept = before.may_match(key);
            places.extend(kept.then_some(place));
            place += 1;
            kept
        });
        drop(before);
        let mut out = vec![Vec::new(); values.len()];
        if keys.is_empty() {
            return Ok(out);
        }
        let caller = caller.clone();
        let found = self
            .blocking(move |shared| {
                let found = shared.store.assertions(&keys).map_err(store_error)?;
                let sight = Sight::of(shared, &caller);
                Ok(found.iter().map(|assertions| sight.matches(assertions)).collect::<Vec<_>>())
            })
            .await?;
        for (place, matches) in places.into_iter().zip(found) {
            if let Some(out) = out.get_mut(place) {
                *out = matches;
            }
        }
        Ok(out)
    }

    /// The same, and what is known of what contains each of them, as
    /// [`wider`] tells.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub async fn lookup_wide(
        &self,
        caller: &Caller,
        values: Vec<Observable>,
    ) -> Result<Vec<WideMatches>, Error> {
        check_count(&values)?;
        caller.trail().looks();
        let caller = caller.clone();
        self.blocking(move |shared| {
            let lengths = shared.directory.load().prefix_lengths(viewer(&caller), Purpose::Search);
            let most = (MAX_WIDER / values.len().max(1)).min(MAX_WIDER_OF_ONE);
            let (mut out, mut step) = (Vec::with_capacity(values.len()), Step::default());
            for value in values {
                step.add(value, lengths);
                if step.keys.len() >= STEP_KEYS {
                    std::mem::take(&mut step).answer(shared, &caller, most, &mut out)?;
                }
            }
            step.answer(shared, &caller, most, &mut out)?;
            Ok(out)
        })
        .await
    }
}

fn check_count(values: &[Observable]) -> Result<(), Error> {
    if values.len() <= MAX_ITEMS {
        return Ok(());
    }
    let problem = format!("a request looks up at most {MAX_ITEMS} values; split it");
    Err(Error::new(Reason::RequestTooLarge, problem))
}

const fn viewer(caller: &Caller) -> Viewer<'_> {
    Viewer { org: caller.org(), principal: caller.identity() }
}

/// What one caller sees of assertions.
struct Sight<'a> {
    shared: &'a Shared,
    directory: Arc<Directory>,
    viewer: Viewer<'a>,
    trail: &'a Trail,
}

impl<'a> Sight<'a> {
    /// To show what was read it is made after that, so that it knows the
    /// classes.
    fn of(shared: &'a Shared, caller: &'a Caller) -> Self {
        let directory = shared.directory.load_full();
        Self { shared, directory, viewer: viewer(caller), trail: caller.trail() }
    }

    /// Whether there may be matches of the value under `key`. Where the
    /// directory is too old to know a class, nothing of that class was
    /// answered for when it was taken.
    fn may_match(&self, key: &[u8]) -> bool {
        let Self { shared, ref directory, viewer, .. } = *self;
        shared.membership.may_see(key, |class| directory.visible(viewer, class, Purpose::Search))
    }

    fn matches(&self, assertions: &[Assertion]) -> Vec<Match> {
        let Self { shared, ref directory, viewer, trail } = *self;
        let mut matches: Vec<_> = assertions
            .iter()
            .filter(|a| directory.visible(viewer, a.class, Purpose::Search))
            .map(|a| {
                trail.saw(directory.class(a.class).map_or(Tlp::Red, |class| class.definition.marking.tlp));
                let told = directory.discloses(viewer, a.class, Purpose::Search);
                let owner = directory.slug(a.owner).filter(|_| told).cloned();
                let record = (a.handle, a.newest);
                Match { id: shared.sealer.id(a.handle), owner, state: a.state, record }
            })
            .collect();
        // They are stored in order of owners, which few may be told.
        matches.sort_unstable_by_key(|found| found.id);
        matches
    }
}

/// Values that are looked up with one read: neighbours share networks and
/// domains, and each of those is read once.
#[derive(Default)]
struct Step {
    keys: Vec<Vec<u8>>,
    places: FxHashMap<Vec<u8>, usize>,
    asked: Vec<Asked>,
}

/// The place of a value's key, and of the keys of what contains it.
struct Asked {
    exact: usize,
    wider: Vec<(Relation, Observable, usize)>,
}

impl Step {
    fn add(&mut self, value: Observable, lengths: PrefixLengths) {
        let exact = self.place(&value);
        let wider = wider(&value, lengths);
        let wider = wider.into_iter().map(|(relation, value)| {
            let place = self.place(&value);
            (relation, value, place)
        });
        let wider = wider.collect();
        self.asked.push(Asked { exact, wider });
    }

    fn place(&mut self, value: &Observable) -> usize {
        let key = keys::value(value);
        if let Some(&place) = self.places.get(&key) {
            return place;
        }
        let place = self.keys.len();
        self.keys.push(key.clone());
        self.places.insert(key, place);
        place
    }

    fn answer(
        self,
        shared: &Shared,
        caller: &Caller,
        most: usize,
        out: &mut Vec<WideMatches>,
    ) -> Result<(), Error> {
        let before = Sight::of(shared, caller);
        let (places, keys): (Vec<_>, Vec<_>) =
            self.keys.iter().enumerate().filter(|(_, key)| before.may_match(key)).unzip();
        let read = shared.store.assertions(&keys).map_err(store_error)?;
        let mut found = vec![Vec::new(); self.keys.len()];
        for (place, read) in places.into_iter().zip(read) {
            if let Some(found) = found.get_mut(place) {
                *found = read;
            }
        }
        let sight = Sight::of(shared, caller);
        let matches = |place: usize| found.get(place).map(|found| sight.matches(found)).unwrap_or_default();
        for Asked { exact, wider } in self.asked {
            let mut told = WideMatches { exact: matches(exact), ..WideMatches::default() };
            let all = wider.into_iter().flat_map(|(relation, value, place)| {
                let of = move |found| WiderMatch { relation, value: value.clone(), found };
                matches(place).into_iter().map(of)
            });
            told.wider.extend(all.take(most + 1));
            told.truncated = told.wider.len() > most;
            told.wider.truncate(most);
            out.push(told);
        }
        Ok(())
    }
}
