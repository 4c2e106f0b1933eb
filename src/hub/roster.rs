//! Decides how who takes part is changed: by an entry of the log, so that
//! every change has its place among what was published.

use std::sync::Arc;

use time::Date;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::base::{digest, random};
use crate::model::Invalid;
use crate::model::amendment::{PendingChange, RosterChange, RosterDigest};
use crate::model::difference::differences;
use crate::model::position::Position;
use crate::model::principal::{Role, SpiffeId};
use crate::model::roster::{Patch, Roster};
use crate::policy::amendment;
use crate::policy::guard::secrecy::items;
use crate::store::requests;
use crate::store::roster::roster_digest;
use crate::store::roster_change::encode_change;

use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::proposal::{Change, Decision, Proposal, Refusal, RejectedChange};
use super::shared::Shared;

impl Hub {
    /// Changes who takes part. Who may ask for it is the method table's to
    /// say.
    ///
    /// # Errors
    /// `DUPLICATE_REQUEST_ID`, `STORE_READ_ONLY`, `DRAINING`,
    /// `CERTIFICATE_REVOKED`.
    pub async fn change_roster(&self, caller: &Caller, request_id: Uuid, patch: Patch) -> Result<(), Error> {
        let asked = RosterChange::new(patch.clone(), Date::MIN);
        let asked = prost::Message::encode_to_vec(&encode_change(&asked));
        let date = self.now().day().max(self.shared.directory.load().date());
        let author = caller.clone();
        self.propose(|reply| Proposal {
            request: Some(requests::request_key(author.identity().as_str(), request_id.as_bytes())),
            content: requests::first_16(&digest::sha256(&asked)),
            salt: random::bytes(),
            caller: Some(author),
            change: Change::Roster(Box::new(RosterChange::new(patch, date))),
            reply,
        })
        .await?;
        Ok(())
    }

    /// Lets a new day begin in the log, if on it, or on one before it that
    /// passed unseen, anybody's rights begin or end. Returns whether it did.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`.
    pub async fn turn_day(&self) -> Result<bool, Error> {
        let today = self.now().day();
        {
            let directory = self.shared.directory.load();
            if today <= directory.date() || !directory.roster().turns(directory.date(), today) {
                return Ok(false);
            }
        }
        let change = RosterChange::new(Patch::default(), today);
        self.propose(|reply| Proposal {
            request: None,
            content: random::bytes(),
            salt: random::bytes(),
            caller: None,
            change: Change::Roster(Box::new(change)),
            reply,
        })
        .await?;
        Ok(true)
    }
}

/// The roster, for whoever reads or changes it whole.
#[derive(Debug, Clone)]
pub struct RosterView {
    /// Who takes part.
    pub roster: Arc<Roster>,
    /// Names it to the letter.
    pub etag: RosterDigest,
    /// The hub's date.
    pub date: Date,
}

/// What a roster would change, or has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What changes, in words.
    pub differences: Vec<String>,
    /// What of it one person alone cannot do, in words.
    pub by_two: Vec<String>,
}

/// What became of a change of the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amended {
    /// It stands.
    Applied,
    /// It waits for a second person, under this id.
    Pending(Uuid),
    /// There was nothing to change.
    Unchanged,
}

/// A change that waits for a second person.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its id.
    pub id: Uuid,
    /// SPIFFE identity of who proposed it.
    pub author: String,
    /// When.
    pub proposed: Timestamp,
    /// Until when somebody can agree to it.
    pub expires: Timestamp,
    /// Whether the roster has changed since, so that it can only be dropped.
    pub outdated: bool,
    /// What it would change now.
    pub comparison: Comparison,
}

/// Who decides over a change that waits.
#[derive(Debug, Clone, Copy)]
pub enum Second<'a> {
    /// An operator, by his certificate, and the id of his request.
    Operator(&'a Caller, Uuid),
    /// The operator of the hub's machine, over the hub's own socket.
    Machine,
}

impl Hub {
    /// The whole roster.
    #[must_use]
    pub fn roster(&self) -> RosterView {
        standing(&self.shared)
    }

    /// What `after` in the place of the roster would change, if the caller put
    /// it there.
    ///
    /// # Errors
    /// `ETAG_MISMATCH` if another roster stands than `etag` names; everything
    /// that speaks against the change.
    pub fn compare_roster(
        &self,
        caller: &Caller,
        after: &Roster,
        etag: RosterDigest,
    ) -> Result<Comparison, Error> {
        let standing = self.roster();
        if etag != standing.etag {
            return Err(outdated());
        }
        judge(&self.shared, &standing.roster, after, standing.date, Some(caller.identity()))
    }

    /// Puts `after` in the place of the roster that `etag` names, at once or,
    /// if it makes an operator or coordinator or widens the caller's own
    /// rights, once a second person agrees.
    ///
    /// # Errors
    /// `ETAG_MISMATCH`; everything that speaks against the change;
    /// `RATE_LIMITED` if too many wait; as [`Hub::change_roster`].
    pub async fn apply_roster(
        &self,
        caller: &Caller,
        request_id: Uuid,
        after: Roster,
        etag: RosterDigest,
    ) -> Result<(Amended, Comparison), Error> {
        let author = caller.identity().clone();
        // Comparing two large rosters takes longer than a connection's thread has.
        let asked = self.blocking(move |shared| asked(shared, &author, &after, etag)).await?;
        let (content, change) = match asked {
            Asked::Nothing(comparison) => return Ok((Amended::Unchanged, comparison)),
            Asked::Change { content, change } => (content, change),
        };
        if let Change::Roster(change) | Change::Propose(change) = &change {
            let who = caller.identity().as_str();
            let nothing = Patch::default();
            // Only then, for the standing roster may be large.
            if items::find(items::of_roster(&change.patch, &nothing)).is_some() {
                let standing = Patch::between(&Roster::default(), &self.roster().roster);
                self.guard_texts(who, "change roster", || items::of_roster(&change.patch, &standing))?;
            }
        }
        let at = self.amend(Second::Operator(caller, request_id), content, change).await?;
        let author = caller.identity().clone();
        self.blocking(move |shared| Ok(became(shared, &author, at))).await
    }

    /// The changes that wait for a second person, oldest first.
    #[must_use]
    pub fn pending_changes(&self) -> Vec<Waiting> {
        let directory = self.shared.directory.load_full();
        let (roster, now, date) = (directory.roster(), self.now(), date_of(&self.shared, &directory));
        let stands = directory.pending().iter().filter(|(_, pending)| pending.stands(now));
        if directory.pending().is_empty() {
            return Vec::new();
        }
        let etag = roster_digest(roster);
        stands
            .map(|(at, pending)| Waiting {
                id: self.shared.sealer.id(*at),
                author: pending.author.clone(),
                proposed: pending.time,
                expires: pending.expires(),
                outdated: pending.change.base.is_some_and(|base| base != etag),
                comparison: compare(
                    roster,
                    &patched(roster, &pending.change),
                    date,
                    SpiffeId::parse(&pending.author).ok().as_ref(),
                ),
            })
            .collect()
    }

    /// Carries out a change that waits.
    ///
    /// # Errors
    /// `NOT_FOUND`; `SECOND_PERSON_REQUIRED` for its own author;
    /// `ETAG_MISMATCH` if the roster changed since it was proposed; everything
    /// that by now speaks against it; as [`Hub::change_roster`].
    pub async fn approve_change(&self, second: Second<'_>, id: Uuid) -> Result<Comparison, Error> {
        let proposal = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let identity = match second {
            Second::Operator(caller, _) => Some(caller.identity().clone()),
            Second::Machine => None,
        };
        let change = self.blocking(move |shared| approved(shared, identity.as_ref(), proposal)).await?;
        let content = requests::first_16(&digest::sha256(&[b"approve ", id.as_bytes().as_slice()].concat()));
        let at = self.amend(second, content, Change::Roster(Box::new(change))).await?;
        self.blocking(move |shared| {
            let ((before, date), after) = around(shared, at);
            Ok(compare(&before, &after.unwrap_or_default(), date, None))
        })
        .await
    }

    /// Drops a change that waits; its author may as well.
    ///
    /// # Errors
    /// `NOT_FOUND`; as [`Hub::change_roster`].
    pub async fn reject_change(&self, second: Second<'_>, id: Uuid, reason: String) -> Result<(), Error> {
        let proposal = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        if let Second::Operator(caller, _) = &second {
            self.guard_text(caller.identity().as_str(), "reject change", "reason", &reason)?;
        }
        let content = [b"reject ", id.as_bytes().as_slice(), reason.as_bytes()].concat();
        let content = requests::first_16(&digest::sha256(&content));
        self.amend(second, content, Change::Reject(RejectedChange { proposal, reason })).await.map(drop)
    }

    /// Brings a change of the roster to the writer: where its entry stands.
    async fn amend(&self, who: Second<'_>, content: [u8; 16], change: Change) -> Result<Position, Error> {
        let (caller, request) = match who {
            Second::Operator(caller, id) => {
                let request = requests::request_key(caller.identity().as_str(), id.as_bytes());
                (Some(caller.clone()), Some(request))
            }
            Second::Machine => (None, None),
        };
        let salt = random::bytes();
        let proposal = |reply| Proposal { request, content, salt, caller, change, reply };
        match self.propose(proposal).await?.pop() {
            Some(Decision::Written { position, .. } | Decision::Unchanged { position, .. }) => Ok(position),
            Some(Decision::Refused(Refusal::Stale)) => Err(outdated()),
            Some(Decision::Refused(Refusal::TooManyPending)) => Err(Error::new(
                Reason::RateLimited,
                "too many changes of the roster wait; approve or reject some first",
            )),
            Some(Decision::Refused(_)) | None => Err(Error::absent()),
        }
    }
}

fn standing(shared: &Shared) -> RosterView {
    let directory = shared.directory.load_full();
    let roster = directory.shared_roster();
    let etag = roster_digest(&roster);
    RosterView { roster, etag, date: date_of(shared, &directory) }
}

/// The day for which a change is judged now.
fn date_of(shared: &Shared, directory: &Directory) -> Date {
    shared.clock.now().day().max(directory.date())
}

fn judge(
    shared: &Shared,
    before: &Roster,
    after: &Roster,
    date: Date,
    author: Option<&SpiffeId>,
) -> Result<Comparison, Error> {
    let strangers = after.principals.keys().filter(|id| id.trust_domain() != shared.trust_domain);
    let problem = format!("every principal is of the hub's trust domain, {}", shared.trust_domain);
    let mut found: Vec<_> =
        strangers.map(|id| Invalid::new(format!("principals[{id}].id"), problem.clone())).collect();
    found.extend(amendment::check(before, after, date).err().unwrap_or_default());
    if let Some(first) = found.first() {
        return Err(Error { fields: found.clone(), ..Error::from(first.clone()) });
    }
    Ok(compare(before, after, date, author))
}

/// What a roster in the place of another asks for.
enum Asked {
    Nothing(Comparison),
    Change {
        /// Names what is asked for, for a repeat.
        content: [u8; 16],
        change: Change,
    },
}

fn asked(shared: &Shared, author: &SpiffeId, after: &Roster, etag: RosterDigest) -> Result<Asked, Error> {
    let standing = standing(shared);
    let mut content = digest::Sha256::default();
    content.update(&etag);
    content.update(&roster_digest(after));
    let content = requests::first_16(&content.finish());
    let mut change = RosterChange::new(Patch::default(), standing.date);
    change.base = Some(etag);
    // With another etag it is refused in its turn, unless it is asked for
    // once more: then its first answer is remembered there.
    if etag != standing.etag {
        return Ok(Asked::Change { content, change: Change::Roster(Box::new(change)) });
    }
    let comparison = judge(shared, &standing.roster, after, standing.date, Some(author))?;
    if comparison.differences.is_empty() {
        return Ok(Asked::Nothing(comparison));
    }
    change.patch = Patch::between(&standing.roster, after);
    let change = Box::new(change);
    let waits = !comparison.by_two.is_empty();
    let change = if waits { Change::Propose(change) } else { Change::Roster(change) };
    Ok(Asked::Change { content, change })
}

/// What became of what `author` asked for, by its entry at `at`.
fn became(shared: &Shared, author: &SpiffeId, at: Position) -> (Amended, Comparison) {
    let ((before, date), after) = around(shared, at);
    if let Some(after) = after {
        return (Amended::Applied, compare(&before, &after, date, Some(author)));
    }
    let pending = shared.directory.load().pending().get(&at).cloned();
    // It was decided over already, if this is a late repeat.
    let proposed =
        pending.map(|pending| compare(&before, &patched(&before, &pending.change), date, Some(author)));
    let nothing = || Comparison { differences: Vec::new(), by_two: Vec::new() };
    (Amended::Pending(shared.sealer.id(at)), proposed.unwrap_or_else(nothing))
}

/// The roster before the entry at `at` with its day, and the one that begins
/// there.
fn around(shared: &Shared, at: Position) -> ((Arc<Roster>, Date), Option<Arc<Roster>>) {
    let now = shared.directory.load_full();
    let here = shared.rosters.at(at, &now);
    if here.generation() != at {
        return ((here.shared_roster(), here.date()), None);
    }
    let before = shared.rosters.at(at.just_before(), &now);
    ((before.shared_roster(), here.date()), Some(here.shared_roster()))
}

/// The change that waits at `proposal`, to be carried out by `second`; `None`
/// is the machine's operator.
fn approved(shared: &Shared, second: Option<&SpiffeId>, proposal: Position) -> Result<RosterChange, Error> {
    let directory = shared.directory.load_full();
    let date = date_of(shared, &directory);
    let stands = directory.pending().get(&proposal).filter(|p| p.stands(shared.clock.now()));
    // Where none waits it is refused in its turn, or answered once more.
    let Some(pending) = stands else {
        let mut change = RosterChange::new(Patch::default(), date);
        change.proposal = Some(proposal);
        return Ok(change);
    };
    check_second(second, pending, &directory, date)?;
    if pending.change.base.is_some_and(|base| base != roster_digest(directory.roster())) {
        return Err(outdated());
    }
    judge(shared, directory.roster(), &patched(directory.roster(), &pending.change), date, None)?;
    Ok(RosterChange { date, proposal: Some(proposal), ..pending.change.clone() })
}

fn patched(roster: &Roster, change: &RosterChange) -> Roster {
    let mut after = roster.clone();
    after.apply(change.patch.clone());
    after
}

/// What a change by `author` changes, and what of it takes another person too.
fn compare(before: &Roster, after: &Roster, date: Date, author: Option<&SpiffeId>) -> Comparison {
    let gains = amendment::gains(before, after, date);
    let mut by_two: Vec<_> =
        gains.iter().map(|(id, role)| format!("{id} gains the role {}", role.as_str())).collect();
    if let Some(author) = author {
        let own = amendment::widens(before, after, date, author);
        by_two.extend(own.into_iter().map(|right| format!("{author}, who proposes it, gains {right}")));
        by_two.sort_unstable();
    }
    Comparison { differences: differences(before, after, date), by_two }
}

/// Two persons: who proposed a change is another than who agrees, and still
/// an operator.
fn check_second(
    second: Option<&SpiffeId>,
    pending: &PendingChange,
    directory: &Directory,
    date: Date,
) -> Result<(), Error> {
    let author = SpiffeId::parse(&pending.author).ok();
    let operates = |id: &SpiffeId| directory.roster().roles(id, date).contains(Role::Operator);
    if !author.as_ref().is_some_and(operates) {
        return Err(Error::new(
            Reason::EtagMismatch,
            "whoever proposed this is no operator any more; another operator must propose it",
        ));
    }
    if second.is_some() && author.as_ref() == second {
        return Err(Error::new(
            Reason::SecondPersonRequired,
            "you proposed this change; another operator approves it, or the hub's machine with `luytred roster approve`",
        ));
    }
    Ok(())
}

fn outdated() -> Error {
    Error::new(
        Reason::EtagMismatch,
        "the roster has changed since; read it again, make your change there, and compare anew",
    )
}
