//! Decides how exact values are looked up: one read per value answers, with
//! visibility and without a body.

use uuid::Uuid;

use crate::model::indicator::{Observable, State};
use crate::model::org::OrgSlug;
use crate::model::position::MAX_ITEMS;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::keys;

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::store_error;

/// One assertion about a looked-up value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Public id of the indicator.
    pub id: Uuid,
    /// Its owner; none where the caller is not told.
    pub owner: Option<OrgSlug>,
    /// Where it stands.
    pub state: State,
}

impl Hub {
    /// What is known of each of `values`, in their order; of one value in the
    /// order of ids, which says nothing.
    ///
    /// # Errors
    /// `REQUEST_TOO_LARGE`, or a failure of the store.
    pub async fn lookup(&self, caller: &Caller, values: Vec<Observable>) -> Result<Vec<Vec<Match>>, Error> {
        if values.len() > MAX_ITEMS {
            return Err(Error::new(
                Reason::RequestTooLarge,
                format!("a request looks up at most {MAX_ITEMS} values; split it"),
            ));
        }
        let caller = caller.clone();
        self.blocking(move |shared| {
            let viewer = Viewer { org: caller.org(), principal: caller.identity() };
            let keys: Vec<_> = values.iter().map(keys::value).collect();
            let found = shared.store.assertions(&keys).map_err(store_error)?;
            // After the records, so that it knows their classes.
            let directory = shared.directory.load();
            let matches = found.into_iter().map(|assertions| {
                let mut matches: Vec<_> = assertions
                    .into_iter()
                    .filter(|a| directory.visible(viewer, a.class, Purpose::Search))
                    .map(|a| {
                        let told = directory.discloses(viewer, a.class, Purpose::Search);
                        let owner = directory.slug(a.owner).filter(|_| told).cloned();
                        Match { id: shared.sealer.id(a.handle), owner, state: a.state }
                    })
                    .collect();
                // They are stored in order of owners, which few may be told.
                matches.sort_unstable_by_key(|found| found.id);
                matches
            });
            Ok(matches.collect())
        })
        .await
    }
}
