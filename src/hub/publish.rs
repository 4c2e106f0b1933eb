//! Decides how indicators are brought to the writer: encoded and digested on
//! the publisher's task, so that the writer only orders them.

use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::audience::ClassDefinition;
use crate::model::indicator::Draft;
use crate::model::position::MAX_ITEMS;
use crate::model::{Invalid, invalid};
use crate::store::{keys, requests};
use crate::wire::{disclosure, event};

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
    pub(super) fn refused(refusal: Refusal) -> Self {
        let (reason, problem) = match refusal {
            Refusal::Revoked => (
                Reason::IndicatorRevoked,
                "your organisation revoked this value; publish it with `reinstate` and a reason to bring it back",
            ),
            Refusal::Conflict => (
                Reason::IdentityConflict,
                "the hashes name two indicators of your organisation; publish each with its own hashes, or first publish without a shared hash the one that has it",
            ),
            Refusal::Absent => (Reason::NotFound, "there is no such indicator, or you may not see it"),
            Refusal::Stale => {
                (Reason::EtagMismatch, "another version stands by now; read it and decide again")
            }
            Refusal::TooManyClasses => {
                return Self {
                    reason: Reason::RateLimited,
                    field: "marking.organisations".to_owned(),
                    problem: format!(
                        "your organisation has used {MAX_CLASSES_PER_OWNER} different audiences; address one of those"
                    ),
                };
            }
            Refusal::UnknownRecipient(place) => {
                return Self {
                    reason: Reason::Input(invalid::Reason::OrganisationUnknown),
                    field: format!("marking.organisations[{place}]"),
                    problem:
                        "this organisation is not in the hub's roster; `luytre organisations` shows who is"
                            .to_owned(),
                };
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
            for (place, item) in items.into_iter().enumerate() {
                match item {
                    Ok(draft) => {
                        let refused = refusal(caller, &draft, &directory);
                        let item = propose(caller, draft, &salt, &directory);
                        // Of what was sent and nothing else, so that a retry is
                        // the same request whatever became of the hub since.
                        content.update(&item.digest.to_be_bytes());
                        content.update(item.reinstate.as_deref().unwrap_or_default().as_bytes());
                        proposed.push(refused.map_or(Ok(item), Err));
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
    let reason =
        if count == 0 { Reason::Input(invalid::Reason::FieldInvalid) } else { Reason::RequestTooLarge };
    Err(Error::new(reason, format!("a request carries 1 to {MAX_ITEMS} items; split it")))
}

/// Why the directory, as it stands, refuses a draft.
fn refusal(caller: &Caller, draft: &Draft, directory: &Directory) -> Option<Refusal> {
    let mut recipients = draft.marking.recipients.organisations.iter();
    if let Some(place) = recipients.position(|org| directory.number(org).is_none()) {
        return Some(Refusal::UnknownRecipient(u32::try_from(place).unwrap_or(u32::MAX)));
    }
    let owner = caller.identity().org();
    let crowded = directory.class_count_of(owner) >= MAX_CLASSES_PER_OWNER
        && directory
            .class_number(&ClassDefinition { owner: owner.clone(), marking: draft.marking.clone() })
            .is_none();
    crowded.then_some(Refusal::TooManyClasses)
}

fn propose(caller: &Caller, draft: Draft, salt: &[u8; 16], directory: &Directory) -> ProposedIndicator {
    let owner = caller.identity().org();
    let fields = event::encode_draft(&draft, owner);
    let meaning = event::without_spelling(&fields, draft.raw.as_deref().unwrap_or_default());
    let class = ClassDefinition { owner: owner.clone(), marking: draft.marking };
    let (digest, salted) = digests(&disclosure::meaning(meaning, &class), salt);
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

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::base::clock::{SystemClock, Timestamp};
    use crate::hub::{Options, PeerCertificate};
    use crate::model::indicator::Observable;
    use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
    use crate::model::org::{DatedName, OrgSlug, Organisation};
    use crate::model::principal::{Role, Roles, SpiffeId};
    use crate::model::roster::{Grant, Patch, Roster};

    const IDENTITY: &str = "spiffe://test.example/org/a/system/feed";

    fn roster(slugs: &[&str]) -> Roster {
        let name =
            DatedName { vi: "A".into(), en: String::new(), short: String::new(), from: None, to: None };
        let organisation = |slug: OrgSlug| Organisation {
            slug,
            names: vec![name.clone()],
            kind: "department".into(),
            parent: None,
            valid_from: None,
            valid_to: None,
            suspended: false,
            predecessors: vec![],
            successors: vec![],
        };
        let slugs = slugs.iter().map(|slug| OrgSlug::parse(slug).unwrap());
        let grant = Grant { roles: Roles::NONE.with(Role::Publisher), from: None, to: None };
        Roster {
            organisations: slugs.map(|slug| (slug.clone(), organisation(slug))).collect(),
            principals: [(SpiffeId::parse(IDENTITY).unwrap(), grant)].into(),
            ..Roster::default()
        }
    }

    fn draft(value: u8, recipients: &[&str]) -> Result<Draft, Invalid> {
        let organisations = recipients.iter().map(|slug| OrgSlug::parse(slug).unwrap()).collect();
        let marking = Marking {
            tlp: Tlp::Amber,
            recipients: Recipients { organisations, ..Recipients::default() },
            caveats: Caveats::NONE,
        };
        Ok(Draft::new(Observable::Ipv4([192, 0, 2, value].into()), marking))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_retry_gets_its_first_answer_though_the_roster_changed() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        Hub::init(&data_dir, roster(&["a", "b"]), "test.example", &SystemClock).unwrap();
        let hub = Hub::open(Options { data_dir, ..Options::default() }).unwrap();
        let peer = PeerCertificate {
            identity: SpiffeId::parse(IDENTITY).unwrap(),
            serial: "2a".into(),
            not_after: Timestamp::from_micros(4_000_000_000_000_000).unwrap(),
            severed: CancellationToken::new(),
        };
        let caller = hub.authenticate(&peer).unwrap();
        let unread = || Err(Invalid::new("labels", "no"));
        let some = || vec![draft(1, &["b", "c"]), draft(2, &["b"]), unread(), draft(3, &["c"])];
        let none = || vec![draft(4, &["c"])];
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let answers = [
            hub.publish(&caller, first, some()).await.unwrap(),
            hub.publish(&caller, second, none()).await.unwrap(),
        ];
        let reasons: Vec<_> =
            answers.iter().flatten().map(|a| a.as_ref().map_err(|r| r.reason).err()).collect();
        let unknown = Some(Reason::Input(invalid::Reason::OrganisationUnknown));
        assert_eq!(
            reasons,
            [unknown, None, Some(Reason::Input(invalid::Reason::FieldInvalid)), unknown, unknown]
        );
        assert_eq!(answers[0][0].as_ref().unwrap_err().field, "marking.organisations[1]");

        let organisations = roster(&["c"]).organisations.into_values().collect();
        let grown = Patch { organisations, ..Patch::default() };
        hub.change_roster(&caller, Uuid::from_u128(3), grown).await.unwrap();
        assert_eq!(hub.publish(&caller, first, some()).await.unwrap(), answers[0]);
        assert_eq!(hub.publish(&caller, second, none()).await.unwrap(), answers[1]);
        hub.close().await;
    }
}
