//! Decides how what lists hold back comes to a second person, how he answers,
//! and who reads what became of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::audience::ClassNo;
use crate::model::held::{Held, HeldState};
use crate::model::indicator::{RecommendedAction, Role};
use crate::model::marking::Tlp;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::warninglist::Outcome;
use crate::policy::visibility::Purpose;
use crate::store::chunk::ItemHeader;
use crate::store::held::By;
use crate::store::{proto, requests};
use crate::wire::convert::held::Verdict;
use crate::wire::token::{Place, Use};
use crate::wire::{event, held as wire};

use super::ask::told_at;
use super::asked::Asked;
use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Kind, Reason};
use super::fetch::{self, viewer};
use super::holding;
use super::judged;
use super::proposal::{Change, Decision, HeldAsk, Proposal, ProposedAnswer, ProposedWait};
use super::shared::Shared;
use super::store_error;

/// Most steps of one page: a held publication, or a look where there are none.
const MAX_READ: usize = 10_000;
/// Held publications that are read at once.
const TOGETHER: usize = 500;
/// Bytes of a page after which it is closed.
const PAGE_BYTES: usize = 3 << 20;
const METHOD: &str = "ListHeldPublications";

/// A page of held publications, encoded `luytre.v1.HeldPublication` messages.
#[derive(Debug, Clone, Default)]
pub struct HeldPage {
    /// In no order that means anything.
    pub held: Vec<Bytes>,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
}

impl Hub {
    /// Lets what lists hold back of a publication that was just decided wait
    /// for a second person: what was told of each, by its place. It is one
    /// request more, which goes with the first: whoever repeats that gets what
    /// was told then, and one that was cut off between the two is made whole.
    pub(super) async fn wait_for_second(
        &self,
        caller: &Caller,
        asked: &Asked,
        content: [u8; 16],
        verdicts: &proto::GuardVerdicts,
        decisions: &[Decision],
        actions: &[Option<RecommendedAction>],
    ) -> Result<BTreeMap<usize, Bytes>, Error> {
        let (mut places, mut asks) = (Vec::new(), Vec::new());
        for verdict in verdicts.items.iter().filter(|verdict| verdict.wanted != 0) {
            let Ok(place) = usize::try_from(verdict.item) else { continue };
            let (Some(decision), Some(Some(action))) = (decisions.get(place), actions.get(place)) else {
                continue;
            };
            let (Decision::Written { handle, .. } | Decision::Unchanged { handle, .. }) = decision else {
                continue;
            };
            places.push(place);
            asks.push(HeldAsk {
                indicator: *handle,
                published: verdict.digest,
                wanted: verdict.wanted,
                action: *action,
                lists: judged::names(verdicts, verdict).collect(),
            });
        }
        if asks.is_empty() {
            return Ok(BTreeMap::new());
        }
        let author = caller.clone();
        let of_request = digest::sha256(&[asked.request_id.as_bytes(), &b"held"[..]].concat());
        let decided = self
            .propose(|reply| Proposal {
                request: Some(requests::request_key(
                    author.identity().as_str(),
                    &requests::first_16(&of_request),
                )),
                content,
                salt: random::bytes(),
                change: Change::Wait(ProposedWait { by: author.org(), asks }),
                caller: Some(author),
                reply,
            })
            .await?;
        let told = decided.iter().map(position_of).collect::<Vec<_>>();
        let told = self
            .blocking(move |shared| {
                told.into_iter().map(|at| at.map(|at| subject(shared, at)).transpose()).collect()
            })
            .await;
        let told: Vec<Option<Bytes>> = told?;
        Ok(places.into_iter().zip(told).filter_map(|(place, told)| Some((place, told?))).collect())
    }

    /// Lets out what lists hold back of an indicator, as the second person: how
    /// it stands then, an encoded `luytre.v1.HeldPublication`, as also below.
    ///
    /// # Errors
    /// `NOT_FOUND`, `SECOND_PERSON_REQUIRED`, `ROLE_INSUFFICIENT`,
    /// `ETAG_MISMATCH`, `GUARD_REFUSED`; as [`Hub::publish`].
    pub async fn approve_held(
        &self,
        caller: &Caller,
        request_id: Uuid,
        verdict: Verdict,
    ) -> Result<Bytes, Error> {
        self.answer_held(caller, request_id, verdict, true).await
    }

    /// Refuses it: the indicator stays as it went out.
    ///
    /// # Errors
    /// As [`Hub::approve_held`], without `GUARD_REFUSED`.
    pub async fn reject_held(
        &self,
        caller: &Caller,
        request_id: Uuid,
        verdict: Verdict,
    ) -> Result<Bytes, Error> {
        self.answer_held(caller, request_id, verdict, false).await
    }

    async fn answer_held(
        &self,
        caller: &Caller,
        request_id: Uuid,
        verdict: Verdict,
        approved: bool,
    ) -> Result<Bytes, Error> {
        let Verdict { indicator, expected, note } = verdict;
        self.guard_text(caller.identity().as_str(), "answer held", "note", &note)?;
        let handle = self.shared.sealer.handle(indicator).ok_or_else(Error::absent)?;
        let (asker, guard) = (caller.clone(), approved.then(|| self.guard()));
        // Told by the writer, to whom it is told at all.
        let refused = self
            .blocking(move |shared| {
                let (header, body) = fetch::newest(shared, &asker, handle)?;
                guard.map_or(Ok(false), |guard| is_refused(shared, &guard, &header, &body))
            })
            .await?;
        let proposed = ProposedAnswer { indicator: handle, expected, approved, refused, note };
        let encoded = holding::encode_answer(&proposed);
        let decision =
            self.propose_one(caller, request_id, &encoded, Change::Answer(Box::new(proposed))).await?;
        let position = told_at(decision)?;
        let told = self.blocking(move |shared| subject(shared, position)).await?;
        Ok(wire::tell_answerer(&told, caller.identity()))
    }

    /// A page of what is held of the indicators of the caller's organisation,
    /// of those about which it decides, and of what it published for others.
    /// `waiting`: only what waits for an answer.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`, or a failure of the store.
    pub async fn list_held(
        &self,
        caller: &Caller,
        waiting: bool,
        page_size: usize,
        page_token: &str,
    ) -> Result<HeldPage, Error> {
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
        let (asker, size) = (caller.clone(), page_size.clamp(1, super::list::MAX_PAGE));
        let (held, next) =
            self.blocking(move |shared| Page::new(size).read(shared, &asker, waiting, place)).await?;
        let next_page_token = match next {
            Some(place) => self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?,
            None => String::new(),
        };
        Ok(HeldPage { held, next_page_token })
    }
}

/// Where it was told what became of one, if anything did.
const fn position_of(decision: &Decision) -> Option<Position> {
    match *decision {
        Decision::Written { position, .. } | Decision::Unchanged { position, .. } => Some(position),
        Decision::Refused(_) => None,
    }
}

fn subject(shared: &Shared, at: Position) -> Result<Bytes, Error> {
    let (_, body) = fetch::item(shared, at)?.ok_or_else(|| fetch::damaged(at))?;
    fetch::inner(&body, at)
}

/// Whether the lists of now let nobody publish what the record names.
fn is_refused(
    shared: &Shared,
    guard: &crate::policy::guard::lists::Guard,
    header: &ItemHeader,
    body: &Bytes,
) -> Result<bool, Error> {
    let damaged = || fetch::damaged(header.handle);
    let indicator = event::decode_indicator(body).ok_or_else(damaged)?;
    let (value, aliases) = event::observables(&indicator).ok_or_else(damaged)?;
    let role = u8::try_from(indicator.role).ok().and_then(Role::from_number);
    let directory = shared.directory.load();
    let judged = std::iter::once(&value)
        .chain(&aliases)
        .filter_map(|value| guard.judge_value(value, None, role, directory.protected()));
    Ok(judged.into_iter().any(|found| found.outcome == Outcome::Refused))
}

/// Held publications that are found in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walk {
    by: By,
    number: u32,
}

impl Walk {
    /// All of a list: of the caller's organisation and those that it follows,
    /// then what it decides about as the one that leads, then what it published
    /// for others. Of audiences that the caller does not see none is looked at.
    fn all(directory: &Directory, caller: &Caller) -> Vec<Self> {
        let of_owner = |OrgNo(number)| Self { by: By::Owner, number };
        let own = std::iter::once(caller.org()).chain(directory.followed_by(caller.org())).map(of_owner);
        let leads = directory.leads().contains(&caller.identity().org());
        let classes = (1..=directory.class_count()).filter(|_| leads).filter_map(|no| u32::try_from(no).ok());
        let seen = classes.filter(|no| directory.visible(viewer(caller), ClassNo(*no), Purpose::Get));
        let led = seen.map(|number| Self { by: By::Class, number });
        let provided = Self { by: By::Provider, number: caller.org().0 };
        own.chain(led).chain([provided]).collect()
    }

    const fn stage(self) -> u8 {
        match self.by {
            By::Owner => 0,
            By::Class => 1,
            By::Provider => 2,
        }
    }

    /// Whether the caller reads what is held of an indicator of this class.
    fn shows(self, directory: &Directory, caller: &Caller, held: &Held) -> bool {
        let (org, asker) = (caller.org(), viewer(caller));
        let own = held.owner == org || directory.decides(org, held.owner, held.class);
        match self.by {
            By::Owner => own,
            // Not again what stood among one's own.
            By::Class => !own && directory.answers(asker, held.owner, held.class),
            By::Provider => {
                directory.acts_for(org, held.owner)
                    && (held.requester == *caller.identity()
                        || directory.visible(asker, held.class, Purpose::Get))
            }
        }
    }
}

/// A page being filled.
struct Page {
    size: usize,
    held: Vec<Bytes>,
    bytes: usize,
    read: usize,
}

impl Page {
    const fn new(size: usize) -> Self {
        Self { size, held: Vec::new(), bytes: 0, read: 0 }
    }

    /// The held publications after `place`, and where the next page begins. A
    /// token tells nothing of what it was cut at.
    fn read(
        mut self,
        shared: &Shared,
        caller: &Caller,
        waiting: bool,
        place: Option<Place>,
    ) -> Result<(Vec<Bytes>, Option<Place>), Error> {
        let directory = shared.directory.load_full();
        let begun = place.map_or((0, 0), |place| (place.stage, place.class));
        for walk in Walk::all(&directory, caller) {
            let rank = (
                walk.stage(),
                if walk.number == caller.org().0 && walk.by == By::Owner { 0 } else { walk.number },
            );
            if rank < begun {
                continue;
            }
            let mut after = place.filter(|_| rank == begun).map(|place| place.position);
            loop {
                let found =
                    shared.store.held_by(walk.by, walk.number, after, TOGETHER).map_err(store_error)?;
                self.read += 1;
                for &indicator in &found {
                    let told = Self::one(shared, &directory, caller, walk, indicator, waiting)?;
                    let full = told.is_some() && (self.held.len() == self.size || self.bytes >= PAGE_BYTES);
                    if full || self.read >= MAX_READ {
                        let position = after.unwrap_or(Position::ZERO);
                        let (stage, class) = rank;
                        caller.trail().gave(self.held.len());
                        return Ok((self.held, Some(Place { position, class, stage, ..Place::default() })));
                    }
                    self.read += 1;
                    after = Some(indicator);
                    if let Some(told) = told {
                        self.bytes += told.len();
                        self.held.push(told);
                    }
                }
                if found.len() < TOGETHER {
                    break;
                }
            }
        }
        caller.trail().gave(self.held.len());
        Ok((self.held, None))
    }

    /// One as the caller reads it; `None`: he does not.
    fn one(
        shared: &Shared,
        directory: &Directory,
        caller: &Caller,
        walk: Walk,
        indicator: Position,
        waiting: bool,
    ) -> Result<Option<Bytes>, Error> {
        let Some(held) = shared.store.held(indicator).map_err(store_error)? else { return Ok(None) };
        let unwanted = waiting && held.state != HeldState::Waiting;
        if unwanted || !walk.shows(directory, caller, &held) {
            return Ok(None);
        }
        if walk.by == By::Provider && !directory.visible(viewer(caller), held.class, Purpose::Get) {
            // Of an indicator that is held for a day he learns nothing.
            let hold = shared.store.containment(indicator).map_err(store_error)?;
            if hold.is_some_and(|hold| hold.lasts()) {
                return Ok(None);
            }
        }
        let (header, body) = match fetch::newest_of_any(shared, indicator) {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::Absent => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(owner) = directory.slug(held.owner) else { return Ok(None) };
        let deciders = directory.second_persons(held.owner, held.class).into_all();
        let beside = wire::Beside {
            indicator: shared.sealer.id(indicator),
            owner,
            version: header.version,
            body: &body,
            deciders: &deciders,
        };
        let told = wire::encode(&held, &beside).ok_or_else(|| fetch::damaged(indicator))?;
        caller.trail().saw(Tlp::from_number_or_red(header.tlp));
        let answerer = held.answer.as_ref().map(|answer| &answer.answerer);
        Ok(Some(match answerer.filter(|answerer| answerer.org() == caller.identity().org()) {
            Some(answerer) => wire::tell_answerer(&told, answerer),
            None => told.into(),
        }))
    }
}
