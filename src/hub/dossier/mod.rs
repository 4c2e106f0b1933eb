//! Decides what a caller is told of one value: every assertion that he may
//! see, what they and the sightings of them come to, and what is related.
//!
//! What is hidden is neither told nor counted, and takes no place of what is
//! seen. What is read follows from the value and from what the caller may see,
//! but for what is passed over on the way: sightings of those records, and
//! neighbours in a campaign, a family or a domain.

mod kin;
mod met;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::model::dossier::{Claim, Kin, Summary, summarise};
use crate::model::indicator::wider::wider;
use crate::model::indicator::{Observable, State};
use crate::policy::visibility::Purpose;
use crate::store::keys;
use crate::store::record::Assertion;
use crate::wire::convert::dossier::{self as read, Said};

use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::Error;
use super::fetch::{self, damaged, viewer};
use super::shared::Shared;
use super::store_error;

/// Most assertions that are told.
const MAX_ASSERTIONS: usize = 200;
/// Bytes of assertions after which no more are told.
const ASSERTION_BYTES: usize = 2 << 20;

/// What a caller is told of a value.
#[derive(Debug, Clone, Default)]
pub struct Dossier {
    /// Assertions, what changed last first: encoded `luytre.v1.Indicator`
    /// messages.
    pub assertions: Vec<Bytes>,
    /// Whether there are more.
    pub more_assertions: bool,
    /// What they and the sightings of them come to.
    pub summary: Summary,
    /// Whether there are more sightings than are summed.
    pub more_sightings: bool,
    /// Related values.
    pub related: Vec<Kin>,
}

impl Hub {
    /// What is known of a value; `aliases` are other hashes of the same file.
    ///
    /// # Errors
    /// `RATE_LIMITED`, or a failure of the store.
    pub async fn dossier(
        &self,
        caller: &Caller,
        value: Observable,
        aliases: Vec<Observable>,
    ) -> Result<Dossier, Error> {
        self.shared.index.reached(self.shared.tail.committed()).await;
        let viewer = caller.clone();
        let told = self
            .shared
            .question(caller, move |shared| Asking { shared, caller: &viewer }.tell(&value, aliases));
        told.await
    }
}

/// Whoever asks, and of what.
#[derive(Clone, Copy)]
struct Asking<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
}

/// An assertion as the caller is shown it.
struct Known {
    assertion: Assertion,
    claim: Claim,
    said: Said,
    shown: Bytes,
}

impl Asking<'_> {
    fn tell(self, value: &Observable, aliases: Vec<Observable>) -> Result<Dossier, Error> {
        let lengths = self.shared.directory.load().prefix_lengths(viewer(self.caller), Purpose::Search);
        let wider = wider(value, lengths);
        let own: Vec<_> = std::iter::once(value.clone()).chain(aliases).collect();
        let asked = own.iter().chain(wider.iter().map(|(_, value)| value));
        let keys: Vec<_> = asked.map(keys::value).collect();
        let mut found = self.shared.store.assertions(&keys).map_err(store_error)?;
        let around = found.split_off(own.len());
        // After the assertions were read, so that it knows their classes.
        let today = self.shared.directory.load_full();
        let (known, more_assertions) = self.known(&today, found)?;
        let (met, more_sightings) = self.met(&known)?;
        let claims: Vec<_> = known.iter().map(|known| known.claim.clone()).collect();
        let summary = summarise(value.kind(), &claims, &met, self.shared.clock.now());
        let around = wider.into_iter().zip(around).map(|((relation, value), mut found)| {
            found.retain(|assertion| self.sees(&today, assertion));
            (relation, value, found)
        });
        let related = self.kin(&own, &known, around.collect())?;
        let trail = self.caller.trail();
        known.iter().for_each(|known| trail.told(known.assertion.handle, known.assertion.newest));
        // Of what is related only the value is told, which is no version of a record.
        let assertions = known.into_iter().map(|known| known.shown).collect();
        Ok(Dossier { assertions, more_assertions, summary, more_sightings, related })
    }

    fn sees(self, today: &Directory, assertion: &Assertion) -> bool {
        today.visible(viewer(self.caller), assertion.class, Purpose::Search)
    }

    /// What the caller may see of what was found, what changed last first, and
    /// whether there is more.
    fn known(self, today: &Arc<Directory>, found: Vec<Vec<Assertion>>) -> Result<(Vec<Known>, bool), Error> {
        let mut seen: Vec<_> =
            found.into_iter().flatten().filter(|assertion| self.sees(today, assertion)).collect();
        seen.sort_unstable_by_key(|assertion| std::cmp::Reverse((assertion.newest, assertion.handle)));
        // Several hashes of one file lead to the same record.
        seen.dedup_by_key(|assertion| assertion.handle);
        let all = seen.len();
        let (mut known, mut bytes) = (Vec::new(), 0);
        for assertion in seen.into_iter().take(MAX_ASSERTIONS) {
            if bytes > ASSERTION_BYTES {
                break;
            }
            let Some(one) = self.read(assertion)? else { continue };
            bytes += one.shown.len();
            known.push(one);
        }
        let more = known.len() < all;
        Ok((known, more))
    }

    /// One of them; none where its record was dropped meanwhile.
    fn read(self, assertion: Assertion) -> Result<Option<Known>, Error> {
        let at = assertion.newest;
        let Some((header, body)) = fetch::kept(self.shared, at)? else { return Ok(None) };
        let reclassed = self.shared.reclassed.read();
        // After the classes were read, so that it knows them.
        let today = self.shared.directory.load();
        let who = (self.caller, Purpose::Search);
        let shown = fetch::told(self.shared, (&today, &reclassed), who, (&header, assertion.class), &body)?;
        let claim = read::claim(&shown).ok_or_else(|| damaged(at))?;
        let said = read::said(&body).ok_or_else(|| damaged(at))?;
        Ok(Some(Known { assertion, claim, said, shown }))
    }
}

/// The one among assertions that stands for them: one that is active, if
/// there is one, else what changed last.
fn speaker(assertions: &[Assertion]) -> Option<&Assertion> {
    assertions.iter().max_by_key(|assertion| (assertion.state == State::Active, assertion.newest))
}
