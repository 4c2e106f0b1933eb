//! Decides how indicators are brought to the writer: encoded and digested on
//! the publisher's task, so that the writer only orders them.

use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::Invalid;
use crate::model::audience::ClassDefinition;
use crate::model::indicator::Draft;
use crate::model::org::OrgSlug;
use crate::model::position::MAX_ITEMS;
use crate::store::{keys, requests};
use crate::wire::event;

use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::proposal::{Change, Decision, Proposal, ProposedIndicator, Refusal};

pub use super::proposal::Effect as WrittenEffect;

/// Most audience classes of one organisation: each is kept for good.
pub const MAX_CLASSES_PER_OWNER: u32 = 4_096;

/// What a publication did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Effect {
    /// A new indicator.
    Created = 1,
    /// A new version.
    Updated = 2,
    /// Nothing: the same content was stored already.
    Unchanged = 3,
    /// A revoked indicator is active again.
    Reinstated = 4,
}

/// What the hub now holds for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Public id.
    pub id: Uuid,
    /// Version that stands.
    pub version: u64,
    /// What the publication did.
    pub effect: Effect,
}

/// Why nothing was stored for an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The stable cause.
    pub reason: Reason,
    /// Path of the field, as the item spells it; empty for the whole item.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl From<Invalid> for Rejection {
    fn from(invalid: Invalid) -> Self {
        Self { reason: invalid.reason.into(), field: invalid.field, problem: invalid.problem }
    }
}

impl Rejection {
    fn too_many_classes() -> Self {
        Self {
            reason: Reason::RateLimited,
            field: "marking.organisations".to_owned(),
            problem: format!(
                "your organisation has used {MAX_CLASSES_PER_OWNER} different audiences; address one of those"
            ),
        }
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        let (reason, problem) = match refusal {
            Refusal::Revoked => (
                Reason::IndicatorRevoked,
                "your organisation revoked this value; publish it with `reinstate` and a reason to bring it back",
            ),
            Refusal::Conflict => (
                Reason::IdentityConflict,
                "the hashes name two indicators of your organisation; revoke one of them first",
            ),
            Refusal::Absent => (Reason::NotFound, "there is no such indicator, or you may not see it"),
            Refusal::Stale => {
                (Reason::EtagMismatch, "another version stands by now; read it and decide again")
            }
        };
        Self { reason, field: String::new(), problem: problem.to_owned() }
    }
}

impl Hub {
    /// Publishes a batch. Items that are rejected already keep their place.
    ///
    /// # Errors
    /// `REQUEST_TOO_LARGE`, `DUPLICATE_REQUEST_ID`, `STORE_READ_ONLY`,
    /// `DRAINING`, `CERTIFICATE_REVOKED`.
    ///
    /// # Cancellation
    /// Dropping the future does not take the request back: repeat it with the
    /// same `request_id` to learn what became of it.
    pub async fn publish(
        &self,
        caller: &Caller,
        request_id: Uuid,
        items: Vec<Result<Draft, Invalid>>,
    ) -> Result<Vec<Result<Published, Rejection>>, Error> {
        check_count(items.len())?;
        let salt = random::bytes::<16>();
        let (mut proposed, mut rejected) = (Vec::with_capacity(items.len()), Vec::new());
        let mut content = digest::Sha256::default();
        {
            let directory = self.shared.directory.load();
            let unknown = |org: &OrgSlug| directory.number(org).is_none();
            for (place, item) in items.into_iter().enumerate() {
                match item.and_then(|draft| check_recipients(draft, unknown)) {
                    Ok(draft) if too_many_classes(caller, &draft, &directory) => {
                        content.update(&[0]);
                        rejected.push((place, Rejection::too_many_classes()));
                    }
                    Ok(draft) => {
                        let item = propose(caller, draft, &salt, &directory);
                        content.update(&item.digest.to_be_bytes());
                        content.update(item.reinstate.as_deref().unwrap_or_default().as_bytes());
                        proposed.push(item);
                    }
                    Err(invalid) => {
                        content.update(&[0]);
                        rejected.push((place, Rejection::from(invalid)));
                    }
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
                caller: Some(caller),
                change: Change::Publish(proposed),
                reply,
            })
            .await?
        };
        let results: Vec<_> = decisions.into_iter().map(|d| self.published(d)).collect();
        Ok(in_place(results, rejected))
    }

    fn published(&self, decision: Decision) -> Result<Published, Rejection> {
        let (handle, version, effect) = match decision {
            Decision::Written { handle, version, effect, .. } => {
                let effect = match effect {
                    WrittenEffect::Created => Effect::Created,
                    WrittenEffect::Reinstated => Effect::Reinstated,
                    WrittenEffect::Updated
                    | WrittenEffect::Revoked
                    | WrittenEffect::Sighted
                    | WrittenEffect::Expired
                    | WrittenEffect::Resolved => Effect::Updated,
                };
                (handle, version, effect)
            }
            Decision::Unchanged { handle, version, .. } => (handle, version, Effect::Unchanged),
            Decision::Refused(refusal) => return Err(Rejection::refused(refusal)),
        };
        Ok(Published { id: self.shared.sealer.id(handle), version, effect })
    }
}

/// Puts what was rejected early back to its place among the results.
pub(super) fn in_place<T>(
    mut results: Vec<Result<T, Rejection>>,
    rejected: Vec<(usize, Rejection)>,
) -> Vec<Result<T, Rejection>> {
    for (place, rejection) in rejected {
        results.insert(place.min(results.len()), Err(rejection));
    }
    results
}

pub(super) fn check_count(count: usize) -> Result<(), Error> {
    if (1..=MAX_ITEMS).contains(&count) {
        return Ok(());
    }
    let reason = if count == 0 { Reason::FieldInvalid } else { Reason::RequestTooLarge };
    Err(Error::new(reason, format!("a request carries 1 to {MAX_ITEMS} items; split it")))
}

/// Whether the draft would make one audience too many of its owner's.
fn too_many_classes(caller: &Caller, draft: &Draft, directory: &Directory) -> bool {
    let owner = caller.identity().org();
    directory.class_count_of(owner) >= MAX_CLASSES_PER_OWNER
        && directory
            .class_number(&ClassDefinition { owner: owner.clone(), marking: draft.marking.clone() })
            .is_none()
}

fn check_recipients(draft: Draft, unknown: impl Fn(&OrgSlug) -> bool) -> Result<Draft, Invalid> {
    match draft.marking.recipients.organisations.iter().position(unknown) {
        None => Ok(draft),
        Some(place) => Err(Invalid::new(
            format!("marking.organisations[{place}]"),
            "this organisation is not in the hub's roster; `luytre organisations` shows who is",
        )
        .because(crate::model::invalid::Reason::OrganisationUnknown)),
    }
}

fn propose(caller: &Caller, draft: Draft, salt: &[u8; 16], directory: &Directory) -> ProposedIndicator {
    let owner = caller.identity().org();
    let fields = event::encode_draft(&draft, owner);
    let meaning = event::without_spelling(&fields, draft.raw.as_deref().unwrap_or_default());
    let (digest, salted) = digests(meaning, salt);
    let class = ClassDefinition { owner: owner.clone(), marking: draft.marking };
    ProposedIndicator {
        value_key: keys::value(&draft.observable),
        alias_keys: draft.aliases.iter().map(keys::value).collect(),
        kind: draft.observable.kind().number(),
        owner: caller.org(),
        class_known: directory.class_number(&class),
        class,
        terms: draft.labels.iter().map(|label| keys::label_term(label)).collect(),
        fields,
        digest,
        salted,
        valid_until: draft.valid_until,
        reinstate: draft.reinstate,
    }
}

/// The digest that tells same from changed content, and the salted one that
/// outlives a purge.
pub(super) fn digests(fields: &[u8], salt: &[u8; 16]) -> (u64, [u8; 16]) {
    let full = digest::sha256(fields);
    let mut salted = digest::Sha256::default();
    salted.update(salt);
    salted.update(&full);
    let first = full.first_chunk::<8>().copied().unwrap_or_default();
    (u64::from_be_bytes(first), requests::first_16(&salted.finish()))
}
