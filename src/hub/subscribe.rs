//! Decides how a subscription is opened: who it is for, what it wants, where
//! it starts; and what is kept of those that have a name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::base::clock::Timestamp;
use crate::model::Invalid;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::query::IndicatorFilter;
use crate::model::reached::{Reached, Stage, Step};
use crate::policy::access::{self, Method};
use crate::store::subscription::{self, Subscription, SubscriptionKey};
use crate::wire::token::{Place, Use};

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::pump::{Begin, Named, Pump};
use super::select::{Selection, Terms, Wants};
use super::shared::Shared;
use super::store_error;

/// What a subscriber asks for.
#[derive(Debug, Clone, Default)]
pub struct Open {
    /// Name of the subscription, if it has one.
    pub subscription: Option<String>,
    /// Which indicators are wanted.
    pub filter: IndicatorFilter,
    /// Where to start; `None`: where the named subscription stands.
    pub start: Option<Start>,
    /// Events that may be sent at once.
    pub credit: u64,
    /// Whether sightings are wanted too.
    pub include_sightings: bool,
    /// Whether notices of collisions are wanted too.
    pub include_notices: bool,
}

/// Where a subscription starts.
#[derive(Debug, Clone)]
pub enum Start {
    /// After this token.
    Token(Bytes),
    /// Everything that is kept, then what comes.
    Earliest,
    /// Only what comes.
    Latest,
    /// What stands, then what comes.
    CurrentState,
    /// At the first event recorded at or after this time.
    Time(Timestamp),
}

/// How a subscription was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The filter in force.
    pub filter: IndicatorFilter,
    /// It starts after this token.
    pub token: Bytes,
    /// Seconds between heartbeats.
    pub heartbeat_seconds: u32,
}

/// A named subscription as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// Its name, the last segment of the resource name.
    pub name: String,
    /// Which indicators it wants.
    pub filter: IndicatorFilter,
    /// Whether it also wants sightings.
    pub include_sightings: bool,
    /// Whether it also wants notices of collisions.
    pub include_notices: bool,
    /// When it was created.
    pub created: Timestamp,
    /// When its cursor last moved.
    pub acked: Option<Timestamp>,
}

/// The open streams of named subscriptions: one each.
#[derive(Debug, Default, Clone)]
pub struct LiveStreams(Arc<Mutex<HashMap<SubscriptionKey, CancellationToken>>>);

impl LiveStreams {
    /// Registers a stream and displaces the one before it.
    fn enter(&self, key: &SubscriptionKey) -> CancellationToken {
        let token = CancellationToken::new();
        if let Some(older) = self.0.lock().insert(key.clone(), token.clone()) {
            older.cancel();
        }
        token
    }

    /// Forgets a stream that ended, unless a newer one took its place.
    pub(super) fn leave(&self, key: &SubscriptionKey, token: &CancellationToken) {
        let mut streams = self.0.lock();
        if !token.is_cancelled() {
            streams.remove(key);
        }
    }

    /// Does `work` unless the stream was displaced; nobody displaces it
    /// meanwhile, so what `work` notes never follows what a newer stream or a
    /// deletion noted.
    pub(super) fn unless_displaced<T>(
        &self,
        token: &CancellationToken,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let _streams = self.0.lock();
        (!token.is_cancelled()).then(work)
    }

    fn displace(&self, key: &SubscriptionKey) {
        if let Some(token) = self.0.lock().remove(key) {
            token.cancel();
        }
    }
}

impl Hub {
    /// Opens a subscription. The returned pump streams it.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `RESUME_TOKEN_INVALID`, `RESUME_TOKEN_EXPIRED`,
    /// `RATE_LIMITED`, `DRAINING`.
    pub async fn subscribe(&self, caller: &Caller, open: Open) -> Result<(Opened, Pump), Error> {
        if self.shared.draining.is_cancelled() {
            return Err(Error::new(Reason::Draining, "the hub is going down; try again in a moment"));
        }
        let (asked, max) = (caller.clone(), self.options.max_subscriptions_per_org);
        let plan = self.blocking(move |shared| plan(shared, &asked, open, max)).await?;
        let named = plan.key.map(|key| {
            let displaced = self.live.enter(&key);
            if let Some(record) = plan.record.as_ref().filter(|_| plan.created) {
                self.shared.cursors.note(&key, Some(record.encode()));
            }
            Named { key, record: plan.record, displaced, live: self.live.clone() }
        });
        let directory = self.shared.directory.load_full();
        let terms = Terms::resolve(&plan.filter, &directory);
        let selection = Selection::new(caller.org(), caller.identity().clone(), terms, plan.wants)
            .of_own(plan.filter.own_assets);
        let digest = subscription::filter_digest(&plan.filter, plan.wants.sightings, plan.wants.notices);
        let pump = Pump::new(
            Arc::clone(&self.shared),
            caller.clone(),
            selection,
            digest,
            named,
            plan.begin,
            plan.credit,
            self.options.heartbeat,
        );
        let opened = Opened {
            filter: plan.filter,
            token: pump.token()?,
            heartbeat_seconds: u32::try_from(self.options.heartbeat.as_secs()).unwrap_or(u32::MAX),
        };
        Ok((opened, pump))
    }

    /// One named subscription of the caller's own.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn subscription(&self, caller: &Caller, name: &str) -> Result<SubscriptionRecord, Error> {
        let key = key(caller, name);
        self.blocking(move |shared| {
            let record = load(shared, &key)?.ok_or_else(Error::absent)?;
            Ok(view(key.name, record))
        })
        .await
    }

    /// The caller's own named subscriptions, by name. A colleague's are not
    /// shown: what they ask for is theirs.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn subscriptions(&self, caller: &Caller) -> Result<Vec<SubscriptionRecord>, Error> {
        let caller = caller.clone();
        self.blocking(move |shared| {
            all(shared, caller.org())?
                .into_iter()
                .filter(|(key, _)| key.principal == *caller.identity())
                .map(|(key, bytes)| {
                    let record = Subscription::decode(&key.name, &bytes).map_err(store_error)?;
                    Ok(view(key.name, record))
                })
                .collect()
        })
        .await
    }

    /// Deletes a named subscription and its cursor, and ends its stream.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete_subscription(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        self.subscription(caller, name).await?;
        let key = key(caller, name);
        self.live.displace(&key);
        let number = self.shared.cursors.note(&key, None);
        self.cursor_durable(number).await
    }

    async fn cursor_durable(&self, number: u64) -> Result<(), Error> {
        let mut written = self.shared.cursors.watch();
        tokio::select! {
            result = written.wait_for(|written| *written >= number) => {
                result.map(|_| ()).map_err(Error::internal)
            }
            // The latch is set by the failed commit that should have done it.
            error = self.latched_soon() => Err(error),
        }
    }

    async fn latched_soon(&self) -> Error {
        loop {
            if let Err(error) = self.probe().await {
                return error;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }
}

/// Why a stream ends that another one of its name took the place of.
pub(super) fn displaced_by_newer() -> Error {
    Error::new(
        Reason::SubscriptionDisplaced,
        "a newer stream of this subscription took over, or it was deleted; use one stream per name",
    )
}

fn view(name: String, record: Subscription) -> SubscriptionRecord {
    SubscriptionRecord {
        name,
        filter: record.filter,
        include_sightings: record.sightings,
        include_notices: record.notices,
        created: record.created,
        acked: record.acked,
    }
}

fn key(caller: &Caller, name: &str) -> SubscriptionKey {
    SubscriptionKey { org: caller.org(), principal: caller.identity().clone(), name: name.to_owned() }
}

/// What is stored of the subscriptions of `org`, changes that wait included.
fn all(shared: &Shared, org: OrgNo) -> Result<BTreeMap<SubscriptionKey, Vec<u8>>, Error> {
    let stored = shared.store.cursors(org).map_err(store_error)?;
    let mut merged: BTreeMap<_, _> = stored.into_iter().collect();
    for (key, record) in shared.cursors.pending_of(org) {
        match record {
            Some(record) => merged.insert(key, record),
            None => merged.remove(&key),
        };
    }
    Ok(merged)
}

/// Why the caller may name no further subscription, if so. A name of one who may
/// not subscribe any more takes no place: nobody else could give it back. Half
/// of the places are left to the caller's colleagues, who see none of his.
fn full(shared: &Shared, caller: &Caller, max: usize) -> Result<Option<String>, Error> {
    let directory = shared.directory.load();
    let today = shared.clock.now().day();
    let subscribes = |id: &SpiffeId| access::allowed(Method::Subscribe, directory.roster().roles(id, today));
    let all = all(shared, caller.org())?;
    let (own, each) = (all.keys().filter(|key| key.principal == *caller.identity()).count(), max.div_ceil(2));
    if own >= each {
        return Ok(Some(format!("you have {own} named subscriptions, and may have {each}; delete one")));
    }
    let taken = all.keys().filter(|key| subscribes(&key.principal)).count();
    Ok((taken >= max).then(|| {
        format!(
            "your organisation has {max} named subscriptions; whoever has one that is not used deletes it"
        )
    }))
}

fn load(shared: &Shared, key: &SubscriptionKey) -> Result<Option<Subscription>, Error> {
    let bytes = match shared.cursors.pending(key) {
        Some(pending) => pending,
        None => shared.store.cursor(key).map_err(store_error)?,
    };
    bytes.map(|bytes| Subscription::decode(&key.name, &bytes).map_err(store_error)).transpose()
}

/// What was decided of an opened subscription.
struct Plan {
    key: Option<SubscriptionKey>,
    record: Option<Subscription>,
    /// Whether the record is new and not stored yet.
    created: bool,
    filter: IndicatorFilter,
    wants: Wants,
    begin: Begin,
    credit: u64,
}

fn plan(shared: &Shared, caller: &Caller, open: Open, max: usize) -> Result<Plan, Error> {
    let key = open.subscription.as_deref().map(|name| key(caller, name));
    let known = match &key {
        Some(key) => load(shared, key)?,
        None => None,
    };
    let asked = Wants { sightings: open.include_sightings, notices: open.include_notices };
    let asks = open.filter != IndicatorFilter::default() || asked != Wants::default();
    let kept = |known: &Subscription| Wants { sightings: known.sightings, notices: known.notices };
    let (filter, wants) = match &known {
        Some(known) if asks && (known.filter != open.filter || kept(known) != asked) => {
            return Err(Invalid::new(
                "open.filter",
                "this subscription was created with another filter; leave the filter empty, or use another name",
            )
            .into());
        }
        Some(known) => (known.filter.clone(), kept(known)),
        None => (open.filter, asked),
    };
    if open.subscription.is_some()
        && known.is_none()
        && let Some(problem) = full(shared, caller, max)?
    {
        return Err(Error::new(Reason::RateLimited, problem));
    }
    let digest = subscription::filter_digest(&filter, wants.sightings, wants.notices);
    let name = open.subscription.as_deref().unwrap_or_default();
    let start = match (&open.start, known.as_ref().map(|known| known.cursor)) {
        (Some(start), _) => {
            resolve(shared, caller.identity(), start, Use::Resume { subscription: name, filter: &digest })?
        }
        (None, Some(cursor)) => check_reached(shared, cursor)?,
        (None, None) => {
            return Err(Invalid::new(
                "open.start",
                "say where to start: a resume_token, EARLIEST, LATEST, CURRENT_STATE or a time",
            )
            .into());
        }
    };
    let start = match open.start {
        // Of what came before it is known what was the organisation's own, what
        // stood by then is told in its place.
        Some(Start::Earliest | Start::Time(_)) if filter.own_assets => {
            let known_from = shared.own_known_from(caller.org());
            if start.position < known_from {
                Reached { position: known_from, stage: Stage::State(Step::default()) }
            } else {
                start
            }
        }
        _ => start,
    };
    let created = open.subscription.is_some() && known.is_none();
    let resumes = matches!(open.start, Some(Start::Token(_)) | None);
    let begin = Begin { reached: start, absent_until: resumes.then(|| shared.tail.committed()) };
    let record = open.subscription.as_ref().map(|_| {
        let mut record = known.unwrap_or_else(|| Subscription {
            filter: filter.clone(),
            sightings: wants.sightings,
            notices: wants.notices,
            created: shared.clock.now(),
            cursor: start,
            acked: None,
        });
        if matches!(open.start, Some(Start::CurrentState)) {
            // Whoever asks for the state anew goes on from there, once he has
            // acknowledged some of it.
            record.cursor = start;
        }
        record
    });
    Ok(Plan { key, record, created, filter, wants, begin, credit: open.credit })
}

fn resolve(shared: &Shared, to: &SpiffeId, start: &Start, purpose: Use<'_>) -> Result<Reached, Error> {
    match start {
        // All that is kept of the log: it is whole past its base.
        Start::Earliest => Ok(Reached::log(shared.history.base().position)),
        Start::Latest => Ok(Reached::log(shared.tail.committed())),
        Start::CurrentState => {
            let (position, stage) = (shared.tail.committed(), Stage::State(Step::default()));
            Ok(Reached { position, stage })
        }
        Start::Time(at) => {
            let least = shared.history.reaches(*at)?;
            let before = shared.store.position_before_time(at.as_micros()).map_err(store_error)?;
            Ok(Reached::log(before.max(least)))
        }
        Start::Token(token) => {
            let reached = shared.tokens.open(to, purpose, token).and_then(Place::reached).map_err(|_| {
                Error::new(
                    Reason::ResumeTokenInvalid,
                    "the resume_token was not made for you, this subscription and this filter; start at EARLIEST, LATEST, CURRENT_STATE or a time",
                )
            })?;
            check_reached(shared, reached)
        }
    }
}

/// A position of this history: not ahead of the log, not past the end of an
/// epoch that a restore ended, not of another life of a backup that was
/// restored more than once.
fn check_reached(shared: &Shared, reached: Reached) -> Result<Reached, Error> {
    let position = reached.position;
    let (committed, epoch) = (shared.tail.committed(), position.seq().epoch());
    let holds = position == Position::ZERO
        || if epoch == committed.seq().epoch() {
            position >= epoch_begin(shared)? && position <= committed
        } else {
            shared.fences.iter().any(|fence| fence.epoch() == epoch && position <= fence.end())
        };
    if holds {
        return shared.history.follows(position).map(|()| reached);
    }
    Err(Error::new(
        Reason::ResumeTokenExpired,
        "the hub was restored from a backup made before this token; start at CURRENT_STATE, which replaces what you have: the hub no longer knows all of it",
    ))
}

/// Where the present epoch began.
fn epoch_begin(shared: &Shared) -> Result<Position, Error> {
    let Some(fence) = shared.fences.last() else { return Ok(Position::ZERO) };
    let mut scan = shared.store.scan(fence.end()).map_err(store_error)?;
    while let Some((first, _)) = scan.peek().map_err(store_error)? {
        if first > fence.end() {
            return Ok(first);
        }
        scan.advance();
    }
    Ok(shared.tail.committed())
}
