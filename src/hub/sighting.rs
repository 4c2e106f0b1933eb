//! Decides how sightings are recorded, and that they go to the reporter and
//! the indicator's owner only.

use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::Invalid;
use crate::model::audience::ClassDefinition;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::position::Position;
use crate::model::sighting::SightingDraft;
use crate::store::requests;
use crate::wire::event;

use super::caller::Caller;
use super::engine::Hub;
use super::error::Error;
use super::fetch;
use super::proposal::{Change, Decision, Proposal, ProposedSighting, Refusal};
use super::publish::{self, Rejection};
use super::shared::Shared;

/// What names a recorded sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SightingName {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// Public id of the sighting.
    pub sighting: Uuid,
}

impl Hub {
    /// Records sightings. Items that are rejected already keep their place;
    /// so does one of an indicator that the caller may not see.
    ///
    /// # Errors
    /// As [`Hub::publish`].
    pub async fn report_sightings(
        &self,
        caller: &Caller,
        request_id: Uuid,
        items: Vec<Result<SightingDraft, Invalid>>,
    ) -> Result<Vec<Result<SightingName, Rejection>>, Error> {
        publish::check_count(items.len())?;
        let salt = random::bytes::<16>();
        let reporter = caller.clone();
        let checked = self.blocking(move |shared| check(shared, &reporter, items, &salt)).await?;
        let mut content = digest::Sha256::default();
        let (mut proposed, mut indicators, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for (place, item) in checked.into_iter().enumerate() {
            match item {
                Ok((indicator, item)) => {
                    content.update(&item.digest.to_be_bytes());
                    indicators.push(indicator);
                    proposed.push(item);
                }
                Err(rejection) => {
                    content.update(rejection.field.as_bytes());
                    content.update(rejection.problem.as_bytes());
                    rejected.push((place, rejection));
                }
            }
        }
        let decisions = if proposed.is_empty() {
            Vec::new()
        } else {
            let caller = caller.clone();
            self.propose(|reply| Proposal {
                request: requests::request_key(caller.identity().as_str(), request_id.as_bytes()),
                content: requests::first_16(&content.finish()),
                salt,
                caller,
                change: Change::Sight(proposed),
                reply,
            })
            .await?
        };
        let mut results: Vec<_> = decisions
            .into_iter()
            .zip(indicators)
            .map(|(decision, indicator)| match decision {
                Decision::Written { handle, .. } | Decision::Unchanged { handle, .. } => {
                    Ok(SightingName { indicator, sighting: self.shared.sealer.id(handle) })
                }
                Decision::Refused(refusal) => Err(Rejection::refused(refusal)),
            })
            .collect();
        for (place, rejection) in rejected {
            results.insert(place.min(results.len()), Err(rejection));
        }
        Ok(results)
    }
}

type Checked = Result<(Uuid, ProposedSighting), Rejection>;

fn check(
    shared: &Shared,
    reporter: &Caller,
    items: Vec<Result<SightingDraft, Invalid>>,
    salt: &[u8; 16],
) -> Result<Vec<Checked>, Error> {
    items
        .into_iter()
        .map(|item| match item {
            Err(invalid) => Ok(Err(invalid.into())),
            Ok(draft) => {
                let absent = || {
                    let mut rejection = Rejection::refused(Refusal::Absent);
                    rejection.field = "indicator".to_owned();
                    rejection
                };
                let Some(handle) = shared.sealer.handle(draft.indicator) else { return Ok(Err(absent())) };
                match fetch::visible_header(shared, reporter, handle) {
                    Ok(header) => {
                        let owner = shared.directory.load().slug(header.owner).cloned();
                        Ok(Ok((draft.indicator, propose(reporter, owner, handle, &draft, salt))))
                    }
                    Err(error) if error.kind() == super::error::Kind::Absent => Ok(Err(absent())),
                    Err(error) => Err(error),
                }
            }
        })
        .collect()
}

fn propose(
    reporter: &Caller,
    owner: Option<crate::model::org::OrgSlug>,
    indicator: Position,
    draft: &SightingDraft,
    salt: &[u8; 16],
) -> ProposedSighting {
    let fields = event::encode_sighting(draft, reporter.identity().org());
    let (digest, salted) = publish::digests(&fields, salt);
    let organisations = owner.into_iter().filter(|owner| owner != reporter.identity().org()).collect();
    let marking = Marking {
        tlp: Tlp::AmberStrict,
        recipients: Recipients { organisations, ..Recipients::default() },
        caveats: Caveats::NONE,
    };
    ProposedSighting {
        indicator,
        reporter: reporter.org(),
        class: ClassDefinition { owner: reporter.identity().org().clone(), marking },
        fields,
        digest,
        salted,
    }
}
