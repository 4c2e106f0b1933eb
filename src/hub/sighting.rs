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
use crate::wire::{disclosure, event};

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Kind};
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
        let mut content = digest::Sha256::default();
        let (mut drafts, mut rejected) = (Vec::new(), Vec::new());
        for (place, item) in items.into_iter().enumerate() {
            match item {
                Ok(draft) => {
                    let fields = event::encode_sighting(&draft, caller.identity().org());
                    content.update(&digest::sha256(&fields));
                    drafts.push((draft, fields));
                }
                Err(invalid) => {
                    content.update(&[0]);
                    rejected.push((place, Rejection::from(invalid)));
                }
            }
        }
        let indicators: Vec<Uuid> = drafts.iter().map(|(draft, _)| draft.indicator).collect();
        let decisions = if drafts.is_empty() {
            Vec::new()
        } else {
            let checked = self.blocking(move |shared| check(shared, &reporter, drafts, &salt)).await?;
            let caller = caller.clone();
            self.propose(|reply| Proposal {
                request: requests::request_key(caller.identity().as_str(), request_id.as_bytes()),
                content: requests::first_16(&content.finish()),
                salt,
                caller: Some(caller),
                change: Change::Sight(checked),
                reply,
            })
            .await?
        };
        let results: Vec<_> = decisions
            .into_iter()
            .zip(indicators)
            .map(|(decision, indicator)| match decision {
                Decision::Written { handle, .. } | Decision::Unchanged { handle, .. } => {
                    Ok(SightingName { indicator, sighting: self.shared.sealer.id(handle) })
                }
                Decision::Refused(refusal) => {
                    Err(Rejection { field: "indicator".to_owned(), ..Rejection::refused(refusal) })
                }
            })
            .collect();
        Ok(publish::in_place(results, rejected))
    }
}

/// Looks up the indicators: one that the reporter may not see is refused.
fn check(
    shared: &Shared,
    reporter: &Caller,
    drafts: Vec<(SightingDraft, Vec<u8>)>,
    salt: &[u8; 16],
) -> Result<Vec<Result<ProposedSighting, Refusal>>, Error> {
    drafts
        .into_iter()
        .map(|(draft, fields)| {
            let Some(handle) = shared.sealer.handle(draft.indicator) else { return Ok(Err(Refusal::Absent)) };
            match fetch::visible_header(shared, reporter, handle) {
                Ok(header) => {
                    let owner = shared.directory.load().slug(header.owner).cloned();
                    Ok(Ok(propose(reporter, owner, handle, fields, salt)))
                }
                Err(error) if error.kind() == Kind::Absent => Ok(Err(Refusal::Absent)),
                Err(error) => Err(error),
            }
        })
        .collect()
}

fn propose(
    reporter: &Caller,
    owner: Option<crate::model::org::OrgSlug>,
    indicator: Position,
    fields: Vec<u8>,
    salt: &[u8; 16],
) -> ProposedSighting {
    let organisations = owner.into_iter().filter(|owner| owner != reporter.identity().org()).collect();
    let marking = Marking {
        tlp: Tlp::AmberStrict,
        recipients: Recipients { organisations, ..Recipients::default() },
        caveats: Caveats::NONE,
    };
    let class = ClassDefinition { owner: reporter.identity().org().clone(), marking };
    let (digest, salted) = publish::digests(&disclosure::meaning(&fields, &class), salt);
    ProposedSighting { indicator, reporter: reporter.org(), class, fields, digest, salted }
}
