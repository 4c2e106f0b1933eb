//! Decides who is told who received a record, and what of it: its owner, who
//! leads and may see it, and the hub's auditors, by organisation; by principal
//! of the caller's own organisation, and of a TLP:RED record's persons. For all
//! others the record is as absent as one that never was.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::indicator::State;
use crate::model::marking::Tlp;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::{Role, SpiffeId};
use crate::model::receipt::Way;
use crate::policy::audit;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::ItemHeader;
use crate::wire::token::{Place, Use};

use super::super::caller::Caller;
use super::super::directory::Directory;
use super::super::engine::Hub;
use super::super::error::{Error, Reason};
use super::super::fetch;
use super::super::list::MAX_PAGE;
use super::super::shared::Shared;
use super::trace::{self, Held, Traced};

const METHOD: &str = "ListRecipients";

/// How far a recall has got with one who received the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recall {
    /// It was not told yet.
    Pending,
    /// It was told.
    Delivered,
    /// It acknowledged that.
    Acknowledged,
}

impl Recall {
    /// The number that is sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// What an organisation, or one of its holders, was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// When it was given a version for the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
    /// When the newest version that it was given was added; none: that was cut
    /// out of history.
    pub version: Option<Timestamp>,
    /// In which ways it was told of the record.
    pub ways: Vec<Way>,
    /// How far a recall has got, if there is one.
    pub recall: Option<Recall>,
    /// When it was told to stop using the record.
    pub recalled: Option<Timestamp>,
    /// When it acknowledged the last that it was told of the record.
    pub acknowledged: Option<Timestamp>,
}

/// One principal's subscription, or the principal where it asked for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub principal: SpiffeId,
    /// Name of the subscription, if it has one.
    pub subscription: String,
    /// Serial number of the certificate of the last time.
    pub certificate: String,
    /// Number of the audit's record, if one is known.
    pub audit: Option<u64>,
    /// What.
    pub received: Received,
}

/// An organisation that received the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Which one.
    pub organisation: OrgSlug,
    /// What all of its holders come to.
    pub received: Received,
    /// These, for whom they are told to.
    pub holders: Vec<Holder>,
}

/// A page of recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientPage {
    /// Where the record stands.
    pub state: State,
    /// When it ended, or its present audience began to hold.
    pub since: Timestamp,
    /// In order of the numbers of their organisations.
    pub recipients: Vec<Recipient>,
    /// How many there are on all pages.
    pub count: usize,
    /// Of these, to how many the recall goes, by [`Recall`].
    pub recalls: [usize; 3],
    /// Since when receipts are on record, of whatever record.
    pub begins: Timestamp,
    /// Whether that was before anybody could have received this one. If not,
    /// more may have than are told, and a recall can look complete that is not.
    pub is_whole: bool,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
}

impl Hub {
    /// A page of who received a record, by its public id.
    ///
    /// # Errors
    /// `NOT_FOUND` where it is missing, or is not the caller's to ask about;
    /// `PAGE_TOKEN_INVALID`, `RATE_LIMITED`, or a failure of the store.
    pub async fn recipients(
        &self,
        caller: &Caller,
        id: Uuid,
        page_size: usize,
        page_token: &str,
    ) -> Result<RecipientPage, Error> {
        let arguments = digest::sha256(id.as_bytes());
        let (to, purpose) = (caller.identity(), Use::Page { method: METHOD, arguments: &arguments });
        let after = match page_token {
            "" => OrgNo(0),
            token => {
                let place = self.shared.tokens.open_text(to, purpose, token).map_err(|_| {
                    Error::new(
                        Reason::PageTokenInvalid,
                        "the page_token is not from the page before of this same indicator; start again without one",
                    )
                })?;
                OrgNo(place.class)
            }
        };
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let asker = caller.clone();
        let asked = self.blocking(move |shared| Asked::of(shared, asker, handle)).await?;
        // What was handed over until now is told.
        let written = async {
            if !self.shared.receipts.is_durable() {
                self.shared.receipts.flush().await;
            }
        };
        let all = self.shared.question_after(caller, written, move |shared| asked.tell(shared)).await?;
        let Told { state, since, mut all, begins, is_whole } = all;
        let count = all.len();
        let mut recalls = [0; 3];
        for recall in all.values().filter_map(|recipient| recipient.received.recall) {
            if let Some(count) = recalls.get_mut(recall as usize) {
                *count += 1;
            }
        }
        all.retain(|number, _| *number > after);
        let size = page_size.clamp(1, MAX_PAGE);
        let more = all.len() > size;
        let last = all.keys().nth(size - 1).copied().unwrap_or(OrgNo(0));
        let next_page_token = if more {
            let place = Place { class: last.0, ..Place::default() };
            self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?
        } else {
            String::new()
        };
        let recipients = all.into_values().take(size).collect();
        Ok(RecipientPage { state, since, recipients, count, recalls, begins, is_whole, next_page_token })
    }
}

/// All that is told.
struct Told {
    state: State,
    since: Timestamp,
    all: BTreeMap<OrgNo, Recipient>,
    begins: Timestamp,
    is_whole: bool,
}

/// A record that the caller may ask about.
struct Asked {
    caller: Caller,
    header: ItemHeader,
    /// Where its end stands, if it has ended.
    end: Option<Position>,
    /// Whose principals the caller is told.
    persons: Persons,
}

/// Whose principals are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Persons {
    Own,
    All,
}

impl Asked {
    /// # Errors
    /// `NOT_FOUND`: after the same reads, whether the record is hidden from the
    /// caller, or not his to ask about, or not there.
    fn of(shared: &Shared, caller: Caller, handle: Position) -> Result<Self, Error> {
        let (at, header, _) = fetch::newest_of_any_at(shared, handle)?;
        let directory = shared.directory.load();
        let (org, today) = (caller.identity().org(), directory.date());
        let sees = directory.visible(fetch::viewer(&caller), header.class, Purpose::Get);
        let heir = |owner| directory.roster().heirs(owner, today).contains(&org);
        let reads = caller.roles().contains(Role::Publisher) || caller.roles().contains(Role::Analyst);
        let owns =
            reads && (header.owner == caller.org() || sees && directory.slug(header.owner).is_some_and(heir));
        let leads = reads && sees && directory.roster().lead_units(today).any(|lead| lead == org);
        let audits = caller.roles().contains(Role::Auditor)
            && audit::reads_all(directory.roster(), org, shared.clock.now().day());
        if !(owns || leads || audits) {
            return Err(Error::absent());
        }
        let red = directory.tlp(header.class) == Tlp::Red;
        let persons = if audits || red && owns && sees { Persons::All } else { Persons::Own };
        let end = (header.state != State::Active).then_some(at);
        Ok(Self { caller, header, end, persons })
    }

    fn tell(&self, shared: &Shared) -> Result<Told, Error> {
        let Self { caller, header, end, persons } = self;
        let Traced { held, begins, is_whole } = trace::trace(shared, header.handle, *end)?;
        let directory = shared.directory.load();
        let mut versions = BTreeMap::new();
        for held in &held {
            if let std::collections::btree_map::Entry::Vacant(place) = versions.entry(held.newest) {
                let found = fetch::kept(shared, held.newest)?;
                place.insert(found.map(|(header, _)| Timestamp::from_micros_clamped(header.version)));
            }
        }
        let telling = Telling { directory: &directory, header, end: *end, versions, held: &held };
        let mut all = BTreeMap::new();
        for org in held.iter().map(Held::org) {
            let Some(number) = directory.number(org) else { continue };
            if all.contains_key(&number) {
                continue;
            }
            let mut recipient = telling.recipient(org);
            if *persons == Persons::Own && org != caller.identity().org() {
                recipient.holders.clear();
            }
            all.insert(number, recipient);
        }
        let since = Timestamp::from_micros_clamped(header.version);
        Ok(Told { state: header.state, since, all, begins, is_whole })
    }
}

/// What was traced, being told.
struct Telling<'a> {
    directory: &'a Directory,
    header: &'a ItemHeader,
    end: Option<Position>,
    versions: BTreeMap<Position, Option<Timestamp>>,
    held: &'a [Held],
}

impl Telling<'_> {
    fn recipient(&self, org: &OrgSlug) -> Recipient {
        let holders: Vec<_> = self.held.iter().filter(|held| held.org() == org).collect();
        let told: Vec<_> = holders.iter().map(|held| self.received(held, &holders)).collect();
        let received = sum(&told, &holders);
        let holders = holders.into_iter().zip(told).map(|(held, received)| Holder {
            principal: held.principal.clone(),
            subscription: held.subscription.clone(),
            certificate: held.serial.clone(),
            audit: held.audit,
            received,
        });
        Recipient { organisation: org.clone(), received, holders: holders.collect() }
    }

    /// Whether he is to stop using the record.
    fn is_recalled(&self, held: &Held) -> bool {
        self.end.is_some()
            || !self.directory.number(held.org()).is_some_and(|org| {
                let viewer = Viewer { org, principal: &held.principal };
                self.directory.visible(viewer, self.header.class, Purpose::Get)
            })
    }

    fn received(&self, held: &Held, others: &[&Held]) -> Received {
        let recall = self.is_recalled(held).then(|| self.level(held, others));
        Received {
            first: held.first,
            last: held.last,
            version: self.versions.get(&held.newest).copied().flatten(),
            ways: held.ways.clone(),
            recall,
            recalled: held.recalled.map(|recalled| recalled.time),
            acknowledged: self.acknowledged(held),
        }
    }

    fn acknowledged(&self, held: &Held) -> Option<Timestamp> {
        if self.end.is_some() { held.passed } else { held.acked }
    }

    /// How far the recall has got with one of an organisation's. Whoever cannot
    /// acknowledge is covered by what his own subscriptions did; who asked for
    /// himself is told what any of his organisation is told, and what another
    /// acknowledges he has not.
    fn level(&self, held: &Held, others: &[&Held]) -> Recall {
        let own = self.own_level(held);
        if held.is_named() {
            return own;
        }
        let covers = |other: &&Held| {
            let (level, own) = (self.own_level(other), other.principal == held.principal);
            if !other.streams || held.streams && !(own && other.is_named()) {
                None
            } else if own {
                Some(level)
            } else {
                Some(level.min(Recall::Delivered))
            }
        };
        own.max(others.iter().filter_map(covers).max().unwrap_or(Recall::Pending))
    }

    fn own_level(&self, held: &Held) -> Recall {
        let told = held.recalled.is_some();
        match self.acknowledged(held) {
            Some(_) if told => Recall::Acknowledged,
            _ if told => Recall::Delivered,
            _ => Recall::Pending,
        }
    }
}

/// What an organisation's holders come to: it has heard and acknowledged no more
/// than the last of them has.
fn sum(told: &[Received], holders: &[&Held]) -> Received {
    let recall = told.iter().filter_map(|one| one.recall).min();
    let mut ways: Vec<_> = told.iter().flat_map(|one| one.ways.iter().copied()).collect();
    ways.sort_unstable_by_key(|way| way.number());
    ways.dedup();
    let named = || told.iter().zip(holders).filter(|(_, held)| held.is_named()).map(|(one, _)| one);
    let all =
        named().all(|one| one.acknowledged.is_some()) && recall.is_none_or(|r| r == Recall::Acknowledged);
    Received {
        first: told.iter().map(|one| one.first).min().unwrap_or(Timestamp::EPOCH),
        last: told.iter().map(|one| one.last).max().unwrap_or(Timestamp::EPOCH),
        version: told.iter().filter_map(|one| one.version).max(),
        ways,
        recall,
        recalled: told.iter().filter_map(|one| one.recalled).max(),
        acknowledged: named().filter_map(|one| one.acknowledged).max().filter(|_| all),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::error::Kind;
    use super::super::super::testing;
    use super::super::journal::Noted;
    use super::*;
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::Marking;
    use crate::model::receipt;
    use crate::store::receipts::Party;

    #[tokio::test]
    async fn who_may_ask_nothing_more_has_no_receipts_written_for_him() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        let observable = normalise::detect("asked.example").unwrap().observable;
        let drafts = vec![Ok(Draft::new(observable, Marking::open(Tlp::Green)))];
        let published = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
        let id = published.into_iter().next().unwrap().unwrap().id;
        let occupied = testing::occupy(&hub.shared, &caller);
        let mut told = receipt::Told::default();
        told.born(hub.shared.sealer.handle(id).unwrap(), 1);
        let party = Party {
            principal: caller.identity().clone(),
            serial: "0a".to_owned(),
            streams: false,
            subscription: String::new(),
            audit: None,
        };
        let (party, time) = (Arc::new(party), hub.now());
        hub.shared.receipts.answer(Noted { party, way: Way::Read, time, audit: None, told, acked: None });
        let refused = hub.recipients(&caller, id, 10, "").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Limited);
        assert_eq!(hub.shared.receipts.hurry(), 1, "nobody asked for them to be written before");
        drop(occupied);
        let page = loop {
            match hub.recipients(&caller, id, 10, "").await {
                // The places come back when what held them has ended.
                Err(error) if error.kind() == Kind::Limited => tokio::task::yield_now().await,
                answer => break answer.unwrap(),
            }
        };
        assert_eq!(page.count, 1);
        hub.close().await;
    }
}
