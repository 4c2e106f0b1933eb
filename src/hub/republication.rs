//! Decides how owners are asked for leave to republish their indicators, how
//! they answer, and who reads what became of it.

use bytes::Bytes;
use uuid::Uuid;

use crate::base::digest;
use crate::model::marking::{Marking, Recipients};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::republication::Leave;
use crate::model::{Invalid, invalid};
use crate::store::leave::{LeaveKey, Side};
use crate::wire::convert::republication::{Grant, Request, Withdrawal};
use crate::wire::token::{Place, Use};
use crate::wire::{event, republication};

use super::asked::Asked;
use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Kind, Reason};
use super::fetch;
use super::leave;
use super::proposal::{Change, Decision, LeaveAct, ProposedLeave, Refusal};
use super::publish::{self, Rejection};
use super::shared::Shared;
use super::store_error;

/// Most leaves that are looked at for one page.
const MAX_READ: usize = 10_000;
/// Leaves that are read at once.
const TOGETHER: usize = 500;
/// Bytes of a page after which it is closed.
const PAGE_BYTES: usize = 3 << 20;
const METHOD: &str = "ListRepublications";
const NOT_YOURS: &str =
    "only the organisation that published an indicator gives leave to republish it, and takes it back";

/// A page of leaves, encoded `luytre.v1.Republication` messages.
#[derive(Debug, Clone, Default)]
pub struct LeavePage {
    /// In no order that means anything.
    pub republications: Vec<Bytes>,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
}

impl Hub {
    /// Asks the owner of an indicator for leave: what was asked, an encoded
    /// `luytre.v1.Republication`, as also of the calls below.
    ///
    /// # Errors
    /// `NOT_FOUND` where the caller may not see it; `FIELD_INVALID` of an
    /// indicator of his own organisation; `INDICATOR_REVOKED`; `RATE_LIMITED`;
    /// as [`Hub::publish`].
    pub async fn request_republication(
        &self,
        caller: &Caller,
        request_id: Uuid,
        request: Request,
    ) -> Result<Bytes, Error> {
        let Request { indicator, wish, reason } = request;
        self.guard_text(caller.identity().as_str(), "ask leave", "reason", &reason)?;
        let handle = self.shared.sealer.handle(indicator).ok_or_else(Error::absent)?;
        let viewer = caller.clone();
        self.blocking(move |shared| fetch::visible_header(shared, &viewer, handle)).await?;
        self.check_addressed("wish", &wish)?;
        let asked = ProposedLeave {
            indicator: handle,
            organisation: caller.org(),
            slug: caller.identity().org().clone(),
            by: caller.org(),
            act: LeaveAct::Ask { wish, reason },
        };
        self.propose_leave(caller, request_id, asked).await
    }

    /// Gives leave.
    ///
    /// # Errors
    /// `NOT_FOUND`; `ROLE_INSUFFICIENT` of another's indicator;
    /// `DELEGATION_MISSING`; `FIELD_INVALID`; `ORGANISATION_UNKNOWN`;
    /// `INDICATOR_REVOKED`; as [`Hub::publish`].
    pub async fn grant_republication(
        &self,
        caller: &Caller,
        asked: impl Into<Asked>,
        grant: Grant,
    ) -> Result<Bytes, Error> {
        let (Grant { indicator, organisation: slug, terms, note }, asked) = (grant, asked.into());
        self.guard_text(caller.identity().as_str(), "give leave", "note", &note)?;
        let (handle, by) = self.decided(caller, &asked, indicator).await?;
        self.check_addressed("widest", &terms.widest)?;
        let organisation = self.number(&slug)?;
        let act = LeaveAct::Grant { terms, note };
        let proposed = ProposedLeave { indicator: handle, organisation, slug, by, act };
        self.propose_leave(caller, asked.request_id, proposed).await
    }

    /// Refuses what was asked and takes back what was given, as the owner; or
    /// gives both up, as the organisation that asked.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is neither; `DELEGATION_MISSING`; as
    /// [`Hub::publish`].
    pub async fn withdraw_republication(
        &self,
        caller: &Caller,
        asked: impl Into<Asked>,
        withdrawal: Withdrawal,
    ) -> Result<Bytes, Error> {
        let (Withdrawal { indicator, organisation: slug, note }, asked) = (withdrawal, asked.into());
        self.guard_text(caller.identity().as_str(), "withdraw leave", "note", &note)?;
        let own = asked.on_behalf_of.is_none() && slug == *caller.identity().org();
        let (handle, by) = if own {
            let handle = self.shared.sealer.handle(indicator).ok_or_else(Error::absent)?;
            let viewer = caller.clone();
            self.blocking(move |shared| concerns(shared, &viewer, handle)).await?;
            (handle, caller.org())
        } else {
            self.decided(caller, &asked, indicator).await?
        };
        let organisation = self.number(&slug)?;
        let act = LeaveAct::Withdraw { note };
        let proposed = ProposedLeave { indicator: handle, organisation, slug, by, act };
        self.propose_leave(caller, asked.request_id, proposed).await
    }

    /// A page of what others ask of the caller's organisation or have from it,
    /// as of those that ended and that it follows, then of what it asks of others or has from them. `waiting`: only what
    /// waits for an answer.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`, or a failure of the store.
    pub async fn list_republications(
        &self,
        caller: &Caller,
        waiting: bool,
        page_size: usize,
        page_token: &str,
    ) -> Result<LeavePage, Error> {
        let arguments = digest::sha256(&[u8::from(waiting)]);
        let purpose = Use::Page { method: METHOD, arguments: &arguments };
        let to = caller.identity();
        let place = match page_token {
            "" => None,
            token => Some(self.shared.tokens.open_text(to, purpose, token).map_err(|_| {
                Error::new(
                    Reason::PageTokenInvalid,
                    "the page_token is not from the page before of this same query; start again without one",
                )
            })?),
        };
        let (viewer, size) = (caller.clone(), page_size.clamp(1, super::list::MAX_PAGE));
        let (republications, next) =
            self.blocking(move |shared| page(shared, &viewer, waiting, size, place)).await?;
        let next_page_token = match next {
            Some(place) => self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?,
            None => String::new(),
        };
        Ok(LeavePage { republications, next_page_token })
    }

    /// The indicator about which the caller decides, as its owner or one who
    /// follows it, and for whom he does.
    async fn decided(&self, caller: &Caller, asked: &Asked, id: Uuid) -> Result<(Position, OrgNo), Error> {
        // First, as where an indicator is taken back.
        let (by, provider) = self.spoken_for(caller, asked)?;
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let viewer = caller.clone();
        self.blocking(move |shared| {
            let header = match provider {
                Some(_) => fetch::newest_of_any(shared, handle)?.0,
                None => fetch::visible_header(shared, &viewer, handle)?,
            };
            if shared.directory.load().decides(by, header.owner, header.class) {
                Ok((handle, by))
            } else if provider.is_some() {
                Err(Error::absent())
            } else {
                Err(Error::new(Reason::RoleInsufficient, NOT_YOURS))
            }
        })
        .await
    }

    fn check_addressed(&self, field: &str, marking: &Marking) -> Result<(), Error> {
        let Some(refusal) = publish::unaddressed(marking, &self.shared.directory.load()) else {
            return Ok(());
        };
        let mut error = refused(refusal, &marking.recipients);
        for invalid in &mut error.fields {
            invalid.field = invalid.field.replacen("marking", field, 1);
        }
        Err(error)
    }

    fn number(&self, slug: &OrgSlug) -> Result<OrgNo, Error> {
        self.shared.directory.load().number(slug).ok_or_else(|| {
            let problem = format!("{slug} is not in the hub's roster; `luytre organisations` shows who is");
            Error::from(Invalid::new("organisation", problem).because(invalid::Reason::OrganisationUnknown))
        })
    }

    /// What is answered to a caller who answers for another organisation, and
    /// may not see the indicator: the same whether anybody asked, and whether
    /// anybody but the owner may see it. `None`: he may be told all.
    async fn unseen(&self, caller: &Caller, asked: &ProposedLeave) -> Result<Option<Bytes>, Error> {
        let (terms, note) = match &asked.act {
            LeaveAct::Grant { terms, note } => (Some(terms), note),
            LeaveAct::Withdraw { note } => (None, note),
            LeaveAct::Ask { .. } => return Ok(None),
        };
        if asked.by == caller.org() {
            return Ok(None);
        }
        let (viewer, handle) = (caller.clone(), asked.indicator);
        match self.blocking(move |shared| fetch::visible_header(shared, &viewer, handle)).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == Kind::Absent => {
                let id = self.shared.sealer.id(handle);
                Ok(Some(republication::unseen(id, &asked.slug, terms, note)))
            }
            Err(error) => Err(error),
        }
    }

    /// Brings what is said of leave to the writer: the leave as that made it.
    async fn propose_leave(
        &self,
        caller: &Caller,
        request_id: Uuid,
        asked: ProposedLeave,
    ) -> Result<Bytes, Error> {
        let answers = asked.by != asked.organisation;
        let unseen = self.unseen(caller, &asked).await?;
        let encoded = leave::encode(&asked);
        let decision = self.propose_one(caller, request_id, &encoded, Change::Leave(Box::new(asked))).await?;
        let position = match (decision, unseen) {
            (
                Some(
                    Decision::Written { .. }
                    | Decision::Unchanged { .. }
                    | Decision::Refused(Refusal::Absent | Refusal::NotReached),
                ),
                Some(told),
            ) => return Ok(told),
            (Some(Decision::Written { position, .. } | Decision::Unchanged { position, .. }), None) => {
                position
            }
            (Some(Decision::Refused(Refusal::Absent)) | None, _) => return Err(Error::absent()),
            (Some(Decision::Refused(refusal)), _) => return Err(refused(refusal, &Recipients::default())),
        };
        let body = self
            .blocking(move |shared| {
                let (_, body) = fetch::item(shared, position)?.ok_or_else(|| fetch::damaged(position))?;
                event::subject(&body).map(|told| body.slice_ref(told)).ok_or_else(|| fetch::damaged(position))
            })
            .await?;
        // The item was made for the other side. Who answered is for the owner's
        // side alone: here added for its caller, there taken out for the asker's.
        if answers {
            Ok(republication::tell_answerer(&body, caller.identity()))
        } else {
            republication::leave_out_answerer(&body).map_err(|_| fetch::damaged(position))
        }
    }
}

fn refused(refusal: Refusal, recipients: &Recipients) -> Error {
    let Rejection { reason, field, problem } = Rejection::refused(refusal, recipients);
    match reason {
        Reason::Input(reason) => Error::from(Invalid::new(field, problem).because(reason)),
        reason => Error::new(reason, problem),
    }
}

/// Whether the caller may speak for his organisation of leave to republish an
/// indicator: he may see it, or asked himself.
fn concerns(shared: &Shared, caller: &Caller, indicator: Position) -> Result<(), Error> {
    let (header, _) = fetch::newest_of_any(shared, indicator)?;
    let key = LeaveKey { owner: header.owner, indicator, organisation: caller.org() };
    let leave = shared.store.leave(key).map_err(store_error)?.ok_or_else(Error::absent)?;
    if shows(shared, caller, key, &leave)? { Ok(()) } else { Err(Error::absent()) }
}

/// Whether the caller reads what leave his organisation asked for, or has.
fn shows(shared: &Shared, caller: &Caller, key: LeaveKey, leave: &Leave) -> Result<bool, Error> {
    if leave.wish.as_ref().is_some_and(|wish| wish.requester == *caller.identity()) {
        return Ok(true);
    }
    match fetch::visible_header(shared, caller, key.indicator) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::Absent => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the caller's organisation decides about an indicator of `owner`.
fn follows(shared: &Shared, caller: &Caller, key: LeaveKey) -> Result<bool, Error> {
    let header = match fetch::newest_of_any(shared, key.indicator) {
        Ok((header, _)) => header,
        Err(error) if error.kind() == Kind::Absent => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(shared.directory.load().decides(caller.org(), key.owner, header.class))
}

/// Leaves of one organisation, of one side.
#[derive(Debug, Clone, Copy)]
struct Walk {
    side: Side,
    org: OrgNo,
    /// Which of the walks of a list it is, whatever becomes of the roster.
    rank: (u8, u64),
}

impl Walk {
    /// All of a list: what the caller's organisation is asked, then what those
    /// were that it follows, then what it asks.
    fn all(directory: &Directory, own: OrgNo) -> Vec<Self> {
        let followed = directory.followed_by(own).into_iter();
        let followed = followed.map(|org| Self { side: Side::Owner, org, rank: (0, u64::from(org.0)) });
        let first = Self { side: Side::Owner, org: own, rank: (0, 0) };
        let last = Self { side: Side::Asker, org: own, rank: (1, 0) };
        std::iter::once(first).chain(followed).chain([last]).collect()
    }

    /// The key at which a page was cut.
    const fn key(self, place: Place) -> LeaveKey {
        let (indicator, other) = (place.position, OrgNo(place.class));
        match self.side {
            Side::Owner => LeaveKey { owner: self.org, indicator, organisation: other },
            Side::Asker => LeaveKey { owner: other, indicator, organisation: self.org },
        }
    }

    /// Where a page is cut that got as far as `last`.
    const fn place(self, last: Option<LeaveKey>) -> Place {
        let (stage, origin) = (self.rank.0, Position::from_raw(self.rank.1));
        let (position, class) = match (last, self.side) {
            (None, _) => (Position::ZERO, 0),
            (Some(key), Side::Owner) => (key.indicator, key.organisation.0),
            (Some(key), Side::Asker) => (key.indicator, key.owner.0),
        };
        Place { position, origin, class, stage }
    }

    fn shows(self, shared: &Shared, caller: &Caller, key: LeaveKey, leave: &Leave) -> Result<bool, Error> {
        match self.side {
            Side::Owner if self.org == caller.org() => Ok(true),
            Side::Owner => follows(shared, caller, key),
            Side::Asker => shows(shared, caller, key, leave),
        }
    }
}

/// The leaves after `place`, first those of the caller's side as owner, and
/// where the next page begins. A token tells nothing of what it was cut at.
fn page(
    shared: &Shared,
    caller: &Caller,
    waiting: bool,
    size: usize,
    place: Option<Place>,
) -> Result<(Vec<Bytes>, Option<Place>), Error> {
    let directory = shared.directory.load_full();
    let (mut page, mut bytes, mut read) = (Vec::new(), 0, 0);
    let begun = place.map_or((0, 0), |place| (place.stage, place.origin.raw()));
    let walks = Walk::all(&directory, caller.org()).into_iter().filter(|walk| walk.rank >= begun);
    for walk in walks {
        let cut = place.filter(|place| place.class != 0 && walk.rank == begun);
        let mut after = cut.map(|place| walk.key(place));
        loop {
            let leaves = shared.store.leaves(walk.side, walk.org, after, TOGETHER).map_err(store_error)?;
            if leaves.is_empty() {
                break;
            }
            for (key, leave) in leaves {
                let wanted = (!waiting || leave.open) && walk.shows(shared, caller, key, &leave)?;
                let full = wanted && (page.len() == size || bytes >= PAGE_BYTES);
                if full || read >= MAX_READ {
                    return Ok((page, Some(walk.place(after))));
                }
                read += 1;
                after = Some(key);
                if !wanted {
                    continue;
                }
                let Some(slug) = directory.slug(key.organisation) else { continue };
                let id = shared.sealer.id(key.indicator);
                let encoded = republication::encode(id, slug, &leave, walk.side == Side::Owner);
                bytes += encoded.len();
                page.push(encoded.into());
            }
        }
    }
    Ok((page, None))
}
