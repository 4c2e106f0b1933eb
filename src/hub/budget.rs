//! Decides whether a caller still has what a request costs, charged before the
//! work to its organisation and to itself; what work turns out to cost is
//! charged after it, in coarse steps that tell nobody what was passed over.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::base::steady::Stopwatch;
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::policy::limits::{Bucket, Quota, Quotas, Rate, STORED, STREAMS};

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Exceeded, Reason};
use super::store_error;

/// Longest that a request by itself is slowed down before it is refused: what is
/// within the limit in the end goes on at its pace, and in no bursts.
pub const SHAPED: Duration = Duration::from_secs(1);
/// Longest that a stream is slowed down before it is refused.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// When a stream may be tried again: some other may have ended by then.
const STREAM_RETRY: Duration = Duration::from_secs(5);
/// Reading is charged by whole steps of this.
const READING_STEP: Duration = Duration::from_millis(20);
/// So many purses are kept before those are looked for that nobody needs.
const PURSES: usize = 1_024;

/// What everyone has used of late.
#[derive(Debug)]
pub struct Budgets {
    quotas: ArcSwap<Quotas>,
    watch: Arc<dyn Stopwatch>,
    organisations: Purses<OrgSlug>,
    principals: Purses<SpiffeId>,
    /// How often each limit of each organisation was met; the roster bounds them.
    refusals: Mutex<BTreeMap<(OrgSlug, &'static str), u64>>,
}

/// What one organisation or one principal has used of late.
#[derive(Debug)]
struct Purse {
    used: Mutex<Used>,
}

#[derive(Debug, Clone, Copy)]
struct Used {
    /// What may be used.
    quota: Quota,
    buckets: [Bucket; Rate::ALL.len()],
    streams: usize,
}

impl Used {
    const fn nothing(quota: Quota) -> Self {
        Self { quota, buckets: [Bucket::FULL; Rate::ALL.len()], streams: 0 }
    }

    const fn most(&self, rate: Rate) -> u64 {
        self.quota.most(rate)
    }

    fn change(&mut self, quota: Quota, now: Duration) {
        for rate in Rate::ALL {
            let before = self.most(rate);
            *self.of(rate) = self.of(rate).at_rate(before, quota.most(rate), now);
        }
        self.quota = quota;
    }

    /// How long to wait for so much.
    fn wait(&mut self, rate: Rate, amount: u64, now: Duration) -> Duration {
        let most = self.most(rate);
        self.of(rate).wait(most, amount, now)
    }

    fn take(&mut self, rate: Rate, amount: u64, now: Duration) {
        let most = self.most(rate);
        self.of(rate).take(most, amount, now);
    }

    const fn of(&mut self, rate: Rate) -> &mut Bucket {
        let [items, bytes, lookups, reading] = &mut self.buckets;
        match rate {
            Rate::Items => items,
            Rate::Bytes => bytes,
            Rate::Lookups => lookups,
            Rate::Reading => reading,
        }
    }
}

/// The purses of those who called of late.
#[derive(Debug)]
struct Purses<K>(Mutex<(HashMap<K, Arc<Purse>>, usize)>);

impl<K: Eq + Hash + Clone> Purses<K> {
    fn of(&self, key: &K, quota: impl FnOnce() -> Quota, now: Duration) -> Arc<Purse> {
        let mut held = self.0.lock();
        let (purses, most) = &mut *held;
        if let Some(purse) = purses.get(key) {
            return Arc::clone(purse);
        }
        if purses.len() >= *most {
            // One that nobody holds and that is full is as good as a new one.
            purses.retain(|_, purse| {
                Arc::strong_count(purse) > 1 || !purse.used.lock().buckets.iter().all(|b| b.is_full(now))
            });
            *most = (purses.len() * 2).max(PURSES);
        }
        let purse = Arc::new(Purse { used: Mutex::new(Used::nothing(quota())) });
        purses.insert(key.clone(), Arc::clone(&purse));
        purse
    }

    /// Gives each another quota; what was used stays used.
    fn set(&self, quota: impl Fn(&K) -> Quota, now: Duration) {
        for (key, purse) in &self.0.lock().0 {
            purse.used.lock().change(quota(key), now);
        }
    }
}

/// One of a caller's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Its name, as the configuration has it.
    pub limit: &'static str,
    /// Whether it is the caller's own, and not its organisation's.
    pub own: bool,
    /// The most: a second, or at once where it is of streams.
    pub most: u64,
    /// What is left at this moment; `None`: it is not told.
    pub left: Option<u64>,
}

/// A caller's purse, and that of its organisation.
#[derive(Debug, Clone)]
pub struct Account {
    budgets: Arc<Budgets>,
    identity: SpiffeId,
    organisation: Arc<Purse>,
    principal: Arc<Purse>,
}

impl Budgets {
    /// Nothing is used yet.
    #[must_use]
    pub fn new(quotas: Quotas, watch: Arc<dyn Stopwatch>) -> Arc<Self> {
        Arc::new(Self {
            quotas: ArcSwap::from_pointee(quotas),
            watch,
            organisations: Purses(Mutex::new((HashMap::new(), PURSES))),
            principals: Purses(Mutex::new((HashMap::new(), PURSES))),
            refusals: Mutex::default(),
        })
    }

    /// Goes over to other quotas, for those who call now too; whether they are
    /// other ones.
    pub(super) fn set(&self, quotas: Quotas) -> bool {
        let quotas = Arc::new(quotas);
        let before = self.quotas.swap(Arc::clone(&quotas));
        // Whoever comes meanwhile is given the new ones, or is found here.
        let now = self.watch.elapsed();
        self.organisations.set(|org| quotas.of(org), now);
        self.principals.set(|identity| quotas.of_principal(identity.org()), now);
        before != quotas
    }

    /// How many bytes an organisation may store; `None`: it is not limited.
    pub(super) fn stored(&self, organisation: &OrgSlug) -> Option<u64> {
        self.quotas.load().of(organisation).stored
    }

    /// Whether there is anybody whose store is limited.
    pub(super) fn limits_stored(&self) -> bool {
        self.quotas.load().limits_stored()
    }

    /// Notes that an organisation may store no more.
    pub(super) fn refused_to_store(&self, organisation: &OrgSlug) {
        *self.refusals.lock().entry((organisation.clone(), STORED)).or_default() += 1;
    }

    /// The account of whoever has this identity, which the roster knows.
    #[must_use]
    pub fn account(self: &Arc<Self>, identity: &SpiffeId) -> Account {
        let (org, now) = (identity.org(), self.watch.elapsed());
        Account {
            organisation: self.organisations.of(org, || self.quotas.load().of(org), now),
            principal: self.principals.of(identity, || self.quotas.load().of_principal(org), now),
            identity: identity.clone(),
            budgets: Arc::clone(self),
        }
    }
}

impl Account {
    /// Whose it is.
    #[must_use]
    pub const fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// The organisation of whose it is.
    #[must_use]
    pub const fn organisation(&self) -> &OrgSlug {
        self.identity.org()
    }

    /// Charges `amount`, and returns how long to wait before the work that is
    /// paid for: `patience` at most.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with when there is enough; nothing is charged then.
    pub fn charge(&self, rate: Rate, amount: u64, patience: Duration) -> Result<Duration, Error> {
        let now = self.budgets.watch.elapsed();
        // Always in this order, so that nobody waits in a circle.
        let mut shared = self.organisation.used.lock();
        let mut own = self.principal.used.lock();
        let (of_all, of_own) = (shared.wait(rate, amount, now), own.wait(rate, amount, now));
        let wait = of_all.max(of_own);
        if wait > patience {
            drop((shared, own));
            return Err(self.exceeded(rate.name(), of_own > of_all, wait));
        }
        shared.take(rate, amount, now);
        own.take(rate, amount, now);
        Ok(wait)
    }

    /// Charges `amount` and waits until it is there, `patience` at most.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub async fn pay(&self, rate: Rate, amount: u64, patience: Duration) -> Result<(), Error> {
        let wait = self.charge(rate, amount, patience)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The same for what is charged when it is over.
    pub(super) fn reading(&self) -> Reading {
        Reading { since: self.budgets.watch.elapsed(), account: self.clone() }
    }

    /// Takes a place for a stream, until what is returned is dropped.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn open_stream(&self) -> Result<OpenStream, Error> {
        let mut shared = self.organisation.used.lock();
        let mut own = self.principal.used.lock();
        let is_own = own.streams >= own.quota.streams;
        if is_own || shared.streams >= shared.quota.streams {
            drop((shared, own));
            return Err(self.exceeded(STREAMS, is_own, STREAM_RETRY));
        }
        shared.streams += 1;
        own.streams += 1;
        Ok(OpenStream(self.clone()))
    }

    /// The caller's limits, and what is left of them. What is left of reading
    /// is not told: it would say how much was passed over.
    #[must_use]
    pub fn allowances(&self) -> Vec<Allowance> {
        let now = self.budgets.watch.elapsed();
        let mut told = Vec::with_capacity(2 * (Rate::ALL.len() + 1));
        for (purse, own) in [(&self.organisation, false), (&self.principal, true)] {
            let mut used = *purse.used.lock();
            for rate in Rate::ALL {
                let most = used.most(rate);
                let left = (rate != Rate::Reading).then(|| used.of(rate).left(most, now));
                told.push(Allowance { limit: rate.name(), own, most, left });
            }
            let count = |streams: usize| u64::try_from(streams).unwrap_or(u64::MAX);
            let (most, open) = (used.quota.streams, used.streams);
            let left = Some(count(most.saturating_sub(open)));
            told.push(Allowance { limit: STREAMS, own, most: count(most), left });
        }
        told
    }

    fn exceeded(&self, limit: &'static str, own: bool, wait: Duration) -> Error {
        let org = self.organisation().clone();
        *self.budgets.refusals.lock().entry((org, limit)).or_default() += 1;
        let purse = if own { &self.principal } else { &self.organisation };
        let rate = Rate::ALL.into_iter().find(|rate| rate.name() == limit);
        let quota = purse.used.lock().quota;
        let most = rate.map_or(quota.streams as u64, |rate| quota.most(rate));
        let whose = if own { "this certificate's holder" } else { "your organisation" };
        let subject = if own {
            self.identity.as_str().to_owned()
        } else {
            format!("organisations/{}", self.organisation())
        };
        let (what, then) = match rate {
            Some(Rate::Items) => ("items a second that it may send", "send fewer"),
            Some(Rate::Bytes) => ("bytes a second that it may send", "send less"),
            Some(Rate::Lookups) => ("values a second that it may look up", "ask for fewer"),
            Some(Rate::Reading) => ("microseconds of reading a second", "ask for less at once"),
            None => ("streams that it may have open, which is the most", "end one"),
        };
        // Whole seconds, so that it is read at a glance and tells no more.
        let after = Duration::from_secs(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)));
        Error {
            retry_after: Some(after),
            exceeded: Some(Exceeded { subject, limit, most }),
            ..Error::new(
                Reason::RateLimited,
                format!("{whose} has used the {most} {what}; {then}, or wait {} s", after.as_secs()),
            )
        }
    }
}

/// The place of an open stream, given back when dropped.
#[derive(Debug)]
pub struct OpenStream(Account);

impl Drop for OpenStream {
    fn drop(&mut self) {
        for purse in [&self.0.organisation, &self.0.principal] {
            let mut used = purse.used.lock();
            used.streams = used.streams.saturating_sub(1);
        }
    }
}

/// Work on an answer, charged once it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    since: Duration,
    account: Account,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Account { budgets, organisation, principal, .. } = &self.account;
        let now = budgets.watch.elapsed();
        let steps = now.saturating_sub(self.since).as_micros() / READING_STEP.as_micros();
        let micros = u64::try_from(steps * READING_STEP.as_micros()).unwrap_or(u64::MAX);
        if micros == 0 {
            return;
        }
        for purse in [organisation, principal] {
            purse.used.lock().take(Rate::Reading, micros, now);
        }
    }
}

impl Hub {
    /// Goes over to other limits, for those who are at work too; whether they
    /// are other ones. Streams that are open stay open.
    pub fn limit_with(&self, quotas: Quotas) -> bool {
        self.shared.budgets.set(quotas)
    }

    /// What `caller` and its organisation may ask for, and have used.
    #[must_use]
    pub fn account(&self, caller: &Caller) -> Account {
        self.shared.budgets.account(caller.identity())
    }

    /// How much more the caller's organisation may store, where that is limited.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn stored_allowance(&self, caller: &Caller) -> Result<Option<Allowance>, Error> {
        let Some(most) = self.shared.budgets.stored(caller.identity().org()) else { return Ok(None) };
        let usage = self.shared.store.usage().map_err(store_error)?;
        let taken = usage.bytes.get(&caller.org()).copied().unwrap_or_default();
        Ok(Some(Allowance { limit: STORED, own: false, most, left: Some(most.saturating_sub(taken)) }))
    }

    /// How often each limit of each organisation was met since the start.
    #[must_use]
    pub fn refusals(&self) -> Vec<(OrgSlug, &'static str, u64)> {
        let refusals = self.shared.budgets.refusals.lock();
        refusals.iter().map(|((org, limit), count)| (org.clone(), *limit, *count)).collect()
    }
}

#[cfg(test)]
mod tests;
