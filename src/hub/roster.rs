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
use crate::store::requests;
use crate::store::roster::roster_digest;
use crate::store::roster_change::encode_change;

use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::proposal::{Change, Decision, Proposal, Refusal, RejectedChange};

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
            request: requests::request_key(author.identity().as_str(), request_id.as_bytes()),
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
            request: random::bytes(),
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
        let directory = self.shared.directory.load_full();
        let roster = directory.shared_roster();
        let etag = roster_digest(&roster);
        RosterView { roster, etag, date: self.date_of(&directory) }
    }

    /// The day for which a change is judged now.
    fn date_of(&self, directory: &Directory) -> Date {
        self.now().day().max(directory.date())
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
        self.judge(&standing.roster, after, standing.date, Some(caller.identity()))
    }

    fn judge(
        &self,
        before: &Roster,
        after: &Roster,
        date: Date,
        author: Option<&SpiffeId>,
    ) -> Result<Comparison, Error> {
        let strangers = after.principals.keys().filter(|id| id.trust_domain() != self.shared.trust_domain);
        let problem = format!("every principal is of the hub's trust domain, {}", self.shared.trust_domain);
        let mut found: Vec<_> =
            strangers.map(|id| Invalid::new(format!("principals[{id}].id"), problem.clone())).collect();
        found.extend(amendment::check(before, after, date).err().unwrap_or_default());
        if let Some(first) = found.first() {
            return Err(Error { fields: found.clone(), ..Error::from(first.clone()) });
        }
        Ok(compare(before, after, date, author))
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
        let standing = self.roster();
        let mut content = digest::Sha256::default();
        content.update(&etag);
        content.update(&roster_digest(&after));
        let mut change = RosterChange::new(Patch::default(), standing.date);
        change.base = Some(etag);
        let mut change = Change::Roster(Box::new(change));
        if etag == standing.etag {
            let comparison = self.judge(&standing.roster, &after, standing.date, Some(caller.identity()))?;
            if comparison.differences.is_empty() {
                return Ok((Amended::Unchanged, comparison));
            }
            let by_two = !comparison.by_two.is_empty();
            if let Change::Roster(change) = &mut change {
                change.patch = Patch::between(&standing.roster, &after);
            }
            if let (true, Change::Roster(waiting)) = (by_two, change.clone()) {
                change = Change::Propose(waiting);
            }
        }
        // With another etag it is refused in its turn, unless it is asked for
        // once more: then its first answer is remembered there.
        let content = requests::first_16(&content.finish());
        let at = self.amend(Second::Operator(caller, request_id), content, change).await?;
        let (before, after) = self.around(at);
        if let Some(after) = after {
            return Ok((Amended::Applied, compare(&before.0, &after, before.1, Some(caller.identity()))));
        }
        let pending = self.shared.directory.load().pending().get(&at).cloned();
        // It was decided over already, if this is a late repeat.
        let proposed = pending.map(|pending| {
            let after = patched(&before.0, &pending.change);
            compare(&before.0, &after, before.1, Some(caller.identity()))
        });
        let nothing = || Comparison { differences: Vec::new(), by_two: Vec::new() };
        Ok((Amended::Pending(self.shared.sealer.id(at)), proposed.unwrap_or_else(nothing)))
    }

    /// The roster before the entry at `at` with its day, and the one that
    /// begins there.
    fn around(&self, at: Position) -> ((Arc<Roster>, Date), Option<Arc<Roster>>) {
        let now = self.shared.directory.load_full();
        let here = self.shared.rosters.at(at, &now);
        if here.generation() != at {
            return ((here.shared_roster(), here.date()), None);
        }
        let before = self.shared.rosters.at(Position::from_raw(at.raw().saturating_sub(1)), &now);
        ((before.shared_roster(), here.date()), Some(here.shared_roster()))
    }

    /// The changes that wait for a second person, oldest first.
    #[must_use]
    pub fn pending_changes(&self) -> Vec<Waiting> {
        let directory = self.shared.directory.load_full();
        let (roster, now, date) = (directory.roster(), self.now(), self.date_of(&directory));
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
        let directory = self.shared.directory.load_full();
        let date = self.date_of(&directory);
        let mut change = RosterChange::new(Patch::default(), date);
        change.proposal = Some(proposal);
        // Where none waits it is refused in its turn, or answered once more.
        if let Some(pending) = directory.pending().get(&proposal).filter(|p| p.stands(self.now())) {
            check_second(second, pending, &directory, date)?;
            let after = patched(directory.roster(), &pending.change);
            if pending.change.base.is_some_and(|base| base != roster_digest(directory.roster())) {
                return Err(outdated());
            }
            self.judge(directory.roster(), &after, date, None)?;
            change = RosterChange { date, proposal: Some(proposal), ..pending.change.clone() };
        }
        let content = requests::first_16(&digest::sha256(&[b"approve ", id.as_bytes().as_slice()].concat()));
        let at = self.amend(second, content, Change::Roster(Box::new(change))).await?;
        let ((before, date), after) = self.around(at);
        Ok(compare(&before, &after.unwrap_or_default(), date, None))
    }

    /// Drops a change that waits; its author may as well.
    ///
    /// # Errors
    /// `NOT_FOUND`; as [`Hub::change_roster`].
    pub async fn reject_change(&self, second: Second<'_>, id: Uuid, reason: String) -> Result<(), Error> {
        let proposal = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let content = [b"reject ", id.as_bytes().as_slice(), reason.as_bytes()].concat();
        let content = requests::first_16(&digest::sha256(&content));
        self.amend(second, content, Change::Reject(RejectedChange { proposal, reason })).await.map(drop)
    }

    /// Brings a change of the roster to the writer: where its entry stands.
    async fn amend(&self, who: Second<'_>, content: [u8; 16], change: Change) -> Result<Position, Error> {
        let (caller, request) = match who {
            Second::Operator(caller, id) => {
                let request = requests::request_key(caller.identity().as_str(), id.as_bytes());
                (Some(caller.clone()), request)
            }
            Second::Machine => (None, random::bytes()),
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
    second: Second<'_>,
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
    if let Second::Operator(caller, _) = second
        && author.as_ref() == Some(caller.identity())
    {
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
