//! Decides how indicators are brought to the writer: encoded and digested on
//! the publisher's task, so that the writer only orders them.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::audience::ClassDefinition;
use crate::model::indicator::{Draft, RecommendedAction};
use crate::model::marking::{Marking, Recipients};
use crate::model::org::OrgSlug;
use crate::model::position::MAX_ITEMS;
use crate::model::warninglist::{Finding, Outcome};
use crate::model::{Invalid, invalid};
use crate::store::{keys, requests};
use crate::wire::convert::name;
use crate::wire::{disclosure, event};

use super::asked::{Asked, Owner};
use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::judged::{self, Judged, Wanted};
use super::proposal::{
    Answered, Change, Decision, Proposal, ProposedIndicator, ProposedPublication, Refusal,
};

pub use super::proposal::Effect as WrittenEffect;
pub use super::rejection::Rejection;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Public id.
    pub id: Uuid,
    /// Version that stands.
    pub version: u64,
    /// What the publication did.
    pub effect: Effect,
    /// What lists say of the value, if they name it.
    pub guard: Option<Finding>,
    /// What they hold back, as it was told: an encoded
    /// `luytre.v1.HeldPublication`; `None`: nothing waits.
    pub held: Option<Bytes>,
}

/// Items as they go to the writer.
struct Batch {
    proposed: ProposedPublication,
    /// What does not get there, and its place.
    rejected: Vec<(usize, Rejection)>,
    /// Of each that does, whom it names.
    recipients: Vec<Recipients>,
    /// And what it recommends.
    actions: Vec<Option<RecommendedAction>>,
    /// Digest of all that was sent.
    content: [u8; 16],
}

impl Hub {
    /// Publishes a batch. Items that are rejected already keep their place;
    /// so do all of a caller that does not act for whom it names.
    ///
    /// # Errors
    /// `REQUEST_TOO_LARGE`, `SOURCES_MIXED`, `DUPLICATE_REQUEST_ID`, `STORE_READ_ONLY`,
    /// `DRAINING`, `CERTIFICATE_REVOKED`.
    ///
    /// # Cancellation
    /// Dropping the future does not take the request back: repeat it with the
    /// same `request_id` to learn what became of it.
    pub async fn publish(
        &self,
        caller: &Caller,
        asked: impl Into<Asked>,
        items: Vec<Result<Draft, Invalid>>,
    ) -> Result<Vec<Result<Published, Rejection>>, Error> {
        let asked = asked.into();
        check_count(items.len())?;
        let items = self.guard_drafts(caller, items).await?;
        check_sources("indicators", items.iter().map(|item| Some(item.as_ref().ok()?.marking.is_masked())))?;
        let salt = random::bytes::<16>();
        let batch = self.prepare(caller, &asked, &items, &salt);
        let content = batch.content;
        let (decisions, verdicts) = if batch.proposed.items.is_empty() {
            (Vec::new(), None)
        } else {
            let (caller, verdicts) = (caller.clone(), batch.proposed.judged.verdicts.clone());
            let proposed = batch.proposed;
            let answered = self.ask(|reply| Proposal {
                request: Some(requests::request_key(caller.identity().as_str(), asked.request_id.as_bytes())),
                content,
                salt,
                caller: Some(caller),
                change: Change::Publish(proposed),
                reply,
            });
            match answered.await? {
                Answered::Decided(decisions) => {
                    verdicts.iter().for_each(|verdicts| self.count_guarded(verdicts, &decisions));
                    (decisions, verdicts)
                }
                Answered::Repeated(decisions, verdicts) => (decisions, verdicts),
            }
        };
        let mut held = match &verdicts {
            Some(verdicts) => {
                self.wait_for_second(caller, &asked, content, verdicts, &decisions, &batch.actions).await?
            }
            None => BTreeMap::new(),
        };
        let results = decisions.into_iter().zip(&batch.recipients).enumerate();
        let results = results.map(|(place, (decision, to))| {
            let found = verdicts.as_ref().and_then(|verdicts| judged::finding(verdicts, place));
            self.published(decision, to, found, held.remove(&place))
        });
        Ok(in_place(results.collect(), batch.rejected))
    }

    /// Makes of items what the writer takes, by the roster and the lists of
    /// now. What was judged stays so though lists are loaded before its turn at
    /// the writer comes: to judge it anew would send it behind what its stream
    /// published later.
    fn prepare(
        &self,
        caller: &Caller,
        asked: &Asked,
        items: &[Result<Draft, Invalid>],
        salt: &[u8; 16],
    ) -> Batch {
        let (directory, guard) = (self.shared.directory.load(), self.shared.guard.load());
        let owner = Owner::of(caller, asked, &directory);
        let mut judged = Judged::by(guard.generation());
        let (mut proposed, mut rejected) = (Vec::new(), Vec::new());
        let (mut recipients, mut actions) = (Vec::new(), Vec::new());
        let mut content = digest::Sha256::default();
        for (place, item) in items.iter().enumerate() {
            let draft = match item {
                Ok(draft) => draft,
                Err(invalid) => {
                    content.update(&[0]);
                    rejected.push((place, Rejection::from(invalid.clone())));
                    continue;
                }
            };
            let original = draft.republication_of;
            let named = original.map(|id| self.shared.sealer.handle(id));
            let mut refused = refusal(owner, draft, &directory)
                .or_else(|| (named == Some(None)).then_some(Refusal::NoOriginal));
            recipients.push(draft.marking.recipients.clone());
            actions.push(draft.action);
            let mut item = propose(owner, draft, salt, &directory);
            // Of what was sent and nothing else, so that a retry is the same
            // request whatever became of the hub since.
            content.update(&item.digest.to_be_bytes());
            content.update(item.reinstate.as_deref().unwrap_or_default().as_bytes());
            content.update(original.map(Uuid::into_bytes).unwrap_or_default().as_slice());
            if refused.is_none()
                && let Some(found) = guard.judge(draft, directory.protected())
            {
                if found.outcome == Outcome::Held {
                    let watched = Draft { action: Some(RecommendedAction::Monitor), ..draft.clone() };
                    let lists = found.lists.iter().map(|list| list.slug.clone()).collect();
                    let wanted = Wanted { digest: item.digest, lists };
                    item = ProposedIndicator {
                        wanted: Some(wanted),
                        ..propose(owner, &watched, salt, &directory)
                    };
                }
                judged.note(proposed.len(), &found, item.digest, item.wanted.as_ref());
                refused = (found.outcome == Outcome::Refused).then_some(Refusal::Guarded);
            }
            item.original = named.flatten();
            proposed.push(refused.map_or(Ok(item), Err));
        }
        let content = requests::first_16(&content.finish());
        let proposed = ProposedPublication { items: proposed, judged };
        Batch { proposed, rejected, recipients, actions, content }
    }

    fn published(
        &self,
        decision: Decision,
        recipients: &Recipients,
        guard: Option<Finding>,
        held: Option<Bytes>,
    ) -> Result<Published, Rejection> {
        let (handle, version, effect) = match decision {
            Decision::Written { handle, version, effect, .. } => {
                let effect = match effect {
                    WrittenEffect::Created => Effect::Created,
                    WrittenEffect::Reinstated => Effect::Reinstated,
                    WrittenEffect::Updated
                    | WrittenEffect::Revoked
                    | WrittenEffect::Sighted
                    | WrittenEffect::Expired
                    | WrittenEffect::Noticed
                    | WrittenEffect::Leave
                    | WrittenEffect::Held
                    | WrittenEffect::Contained
                    | WrittenEffect::Resolved => Effect::Updated,
                };
                (handle, version, effect)
            }
            Decision::Unchanged { handle, version, .. } => (handle, version, Effect::Unchanged),
            Decision::Refused(Refusal::Guarded) => return Err(Rejection::guarded(guard)),
            Decision::Refused(refusal) => return Err(Rejection::refused(refusal, recipients)),
        };
        Ok(Published { id: self.shared.sealer.id(handle), version, effect, guard, held })
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

/// Refuses a request that holds masked items beside open ones: their positions
/// and times are neighbours, so an open one tells whose the others are. An item
/// that is refused anyway has no source.
pub(super) fn check_sources(list: &str, masked: impl Iterator<Item = Option<bool>>) -> Result<(), Error> {
    let mut first = None;
    for (place, masked) in masked.enumerate() {
        let Some(masked) = masked else { continue };
        if *first.get_or_insert(masked) != masked {
            let problem = "a request holds items with a masked source or open ones, not both, for its items are known to be one publisher's; send two requests";
            let mixed = Invalid::new("marking.caveats.masked_source", problem);
            return Err(mixed
                .because(invalid::Reason::SourcesMixed)
                .under(format!("{list}[{place}]"))
                .into());
        }
    }
    Ok(())
}

/// Why the directory, as it stands, refuses a draft.
fn refusal(owner: Owner<'_>, draft: &Draft, directory: &Directory) -> Option<Refusal> {
    if !owner.allowed {
        // First: of an organisation that is not his, he learns nothing else.
        return Some(Refusal::NotDelegated);
    }
    unaddressed(&draft.marking, directory).or_else(|| crowded(owner.slug, &draft.marking, directory))
}

/// The refusal of a marking that names one whom the roster does not know, or an
/// organisation that nobody will ever read for.
pub(super) fn unaddressed(marking: &Marking, directory: &Directory) -> Option<Refusal> {
    let place = marking.recipients.iter().position(|recipient| !directory.knows(recipient))?;
    Some(Refusal::UnknownRecipient(u32::try_from(place).unwrap_or(u32::MAX)))
}

/// The refusal of a marking that is one too many of its owner's.
pub(super) fn crowded(owner: &OrgSlug, marking: &Marking, directory: &Directory) -> Option<Refusal> {
    if directory.class_count_of(owner) < MAX_CLASSES_PER_OWNER {
        return None;
    }
    let class = ClassDefinition { owner: owner.clone(), marking: marking.clone() };
    directory.class_number(&class).is_none().then_some(Refusal::TooManyClasses)
}

fn propose(owner: Owner<'_>, draft: &Draft, salt: &[u8; 16], directory: &Directory) -> ProposedIndicator {
    let (provider, published_by) = owner.provider.unzip();
    let fields = event::encode_draft(draft, owner.slug, published_by);
    let named = published_by.filter(|_| !draft.marking.is_masked());
    let meaning = event::meaning(
        &fields,
        draft.raw.as_deref().unwrap_or_default(),
        &named.map(name::organisation).unwrap_or_default(),
    );
    let class = ClassDefinition { owner: owner.slug.clone(), marking: draft.marking.clone() };
    let (digest, salted) = digests(&disclosure::meaning(meaning, &class), salt);
    ProposedIndicator {
        value_key: keys::value(&draft.observable),
        alias_keys: draft.aliases.iter().map(keys::value).collect(),
        kind: draft.observable.kind().number(),
        owner: owner.number,
        provider,
        class_known: directory.class_number(&class),
        class,
        terms: keys::terms(
            &draft.labels,
            draft.role.map_or(0, |role| role.number()),
            &draft.family,
            &draft.campaign,
            &draft.techniques,
        ),
        fields,
        digest,
        salted,
        valid_until: draft.valid_until,
        original: None,
        wanted: None,
        reinstate: draft.reinstate.clone(),
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
    use super::*;
    use crate::hub::testing;
    use crate::model::indicator::Observable;
    use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
    use crate::model::org::OrgSlug;
    use crate::model::roster::Patch;

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
        let (_dir, hub, caller) = testing::hub(&["a", "b"]);
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
        let refused = answers[0][0].as_ref().unwrap_err();
        assert_eq!(refused.field, "marking.organisations");
        assert!(refused.problem.starts_with("c is not"), "{refused:?}");

        let organisations = testing::roster(&["c"]).organisations.into_values().collect();
        let grown = Patch { organisations, ..Patch::default() };
        hub.change_roster(&caller, Uuid::from_u128(3), grown).await.unwrap();
        assert_eq!(hub.publish(&caller, first, some()).await.unwrap(), answers[0]);
        assert_eq!(hub.publish(&caller, second, none()).await.unwrap(), answers[1]);
        hub.close().await;
    }
}
