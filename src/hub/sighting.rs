//! Decides how sightings are recorded, and whom they reach: the reporter and
//! the indicator's owner, or as far as the reporter says within the
//! indicator's own bounds.

use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::Invalid;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::position::Position;
use crate::model::sighting::SightingDraft;
use crate::policy::visibility::{Purpose, Viewer};
use crate::policy::width;
use crate::store::requests;
use crate::wire::{disclosure, event};

use super::caller::Caller;
use super::directory::Directory;
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
        let items = self.guard_sightings(caller, items).await?;
        let masked = |draft: &SightingDraft| draft.marking.as_ref().is_some_and(Marking::is_masked);
        publish::check_sources("sightings", items.iter().map(|item| item.as_ref().ok().map(masked)))?;
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
        let recipients = |draft: &SightingDraft| {
            draft.marking.as_ref().map(|marking| marking.recipients.clone()).unwrap_or_default()
        };
        let indicators: Vec<_> =
            drafts.iter().map(|(draft, _)| (draft.indicator, recipients(draft))).collect();
        let decisions = if drafts.is_empty() {
            Vec::new()
        } else {
            let checked = self.blocking(move |shared| check(shared, &reporter, drafts, &salt)).await?;
            let caller = caller.clone();
            self.propose(|reply| Proposal {
                request: Some(requests::request_key(caller.identity().as_str(), request_id.as_bytes())),
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
            .map(|(decision, (indicator, recipients))| match decision {
                Decision::Written { handle, .. } | Decision::Unchanged { handle, .. } => {
                    Ok(SightingName { indicator, sighting: self.shared.sealer.id(handle) })
                }
                Decision::Refused(refusal) => {
                    let rejection = Rejection::refused(refusal, &recipients);
                    let field =
                        if refusal == Refusal::Absent { "indicator".to_owned() } else { rejection.field };
                    Err(Rejection { field, ..rejection })
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
                    let class = class(reporter, draft.marking, header.class, &shared.directory.load());
                    Ok(class.map(|class| propose(reporter, class, handle, fields, salt)))
                }
                Err(error) if error.kind() == Kind::Absent => Ok(Err(Refusal::Absent)),
                Err(error) => Err(error),
            }
        })
        .collect()
}

/// Whom a sighting reaches.
fn class(
    reporter: &Caller,
    given: Option<Marking>,
    indicator: ClassNo,
    directory: &Directory,
) -> Result<ClassDefinition, Refusal> {
    let viewer = Viewer { org: reporter.org(), principal: reporter.identity() };
    let told = directory.discloses(viewer, indicator, Purpose::Get);
    let indicator = &directory.class(indicator).ok_or(Refusal::Absent)?.definition;
    let person = reporter.identity();
    let own = *person.org() == indicator.owner;
    // What is addressed to a person is not for the person's colleagues to
    // learn of, who read what is their organisation's: so it is the owner's,
    // and addressed to that person in turn.
    let red = indicator.marking.tlp == Tlp::Red && !own;
    let owner = if red { indicator.owner.clone() } else { person.org().clone() };
    let Some(mut marking) = given else {
        let recipients = match (own, red) {
            (true, _) => Recipients::default(),
            (false, true) => Recipients { principals: vec![person.clone()], ..Recipients::default() },
            (false, false) => {
                Recipients { organisations: vec![indicator.owner.clone()], ..Recipients::default() }
            }
        };
        let tlp = if red { Tlp::Red } else { Tlp::AmberStrict };
        return Ok(ClassDefinition { owner, marking: Marking { tlp, recipients, caveats: Caveats::NONE } });
    };
    if let Some(refusal) = publish::unaddressed(&marking, directory) {
        return Err(refusal);
    }
    if red && let Err(place) = marking.recipients.principals.binary_search(person) {
        marking.recipients.principals.insert(place, person.clone());
    }
    let persons = &marking.recipients.principals;
    if red && *persons != [person.clone()] && *persons != indicator.marking.recipients.principals {
        // Each other choice would make one more audience of the owner's, whose
        // number is bounded.
        return Err(Refusal::TooWide);
    }
    let class = ClassDefinition { owner, marking };
    // Of recipients that he is not told, a reporter must not learn by asking
    // how wide he may go.
    let open = matches!(indicator.marking.tlp, Tlp::Clear | Tlp::Green);
    let blind = indicator.marking.is_masked() && !told && !open;
    if blind || !width::at_most_as_wide(&class, indicator) {
        return Err(Refusal::TooWide);
    }
    publish::crowded(&class.owner, &class.marking, directory).map_or(Ok(class), Err)
}

fn propose(
    reporter: &Caller,
    class: ClassDefinition,
    indicator: Position,
    fields: Vec<u8>,
    salt: &[u8; 16],
) -> ProposedSighting {
    let (digest, salted) = publish::digests(&disclosure::meaning(&fields, &class), salt);
    ProposedSighting { indicator, reporter: reporter.org(), class, fields, digest, salted, told: true }
}
