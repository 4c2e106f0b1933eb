//! Decides where named subscriptions stand: last writer wins, written with the
//! next commit group or soon after, acknowledged once durable.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::model::org::OrgNo;
use crate::store::subscription::SubscriptionKey;

/// Changes of named subscriptions that wait for a commit.
#[derive(Debug)]
pub struct Cursors {
    pending: Mutex<Pending>,
    wake: Notify,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pending {
    changes: BTreeMap<SubscriptionKey, Option<Vec<u8>>>,
    /// Number of the last change noted.
    noted: u64,
}

/// Changes taken out for a commit.
#[derive(Debug, Default)]
pub struct Taken {
    /// New record per subscription; `None`: deleted.
    pub changes: BTreeMap<SubscriptionKey, Option<Vec<u8>>>,
    noted: u64,
}

impl Default for Cursors {
    fn default() -> Self {
        Self { pending: Mutex::default(), wake: Notify::new(), written: watch::Sender::new(0) }
    }
}

impl Cursors {
    /// Notes a change and returns its number; it is durable once
    /// [`Self::watch`] has reached that.
    pub fn note(&self, key: &SubscriptionKey, record: Option<Vec<u8>>) -> u64 {
        let mut pending = self.pending.lock();
        pending.changes.insert(key.clone(), record);
        pending.noted += 1;
        let number = pending.noted;
        drop(pending);
        self.wake.notify_one();
        number
    }

    /// What waits for this subscription; `None`: nothing.
    #[must_use]
    pub fn pending(&self, key: &SubscriptionKey) -> Option<Option<Vec<u8>>> {
        self.pending.lock().changes.get(key).cloned()
    }

    /// All that waits for the subscriptions of `org`.
    #[must_use]
    pub fn pending_of(&self, org: OrgNo) -> Vec<(SubscriptionKey, Option<Vec<u8>>)> {
        let pending = self.pending.lock();
        let of_org = pending.changes.iter().filter(|(key, _)| key.org == org);
        of_org.map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    /// Resolves when a change waits.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Takes what waits, for a commit.
    #[must_use]
    pub fn take(&self) -> Taken {
        let mut pending = self.pending.lock();
        Taken { changes: std::mem::take(&mut pending.changes), noted: pending.noted }
    }

    /// Tells that what was taken is durable.
    pub fn committed(&self, taken: &Taken) {
        self.written.send_if_modified(|written| {
            let moved = taken.noted > *written;
            *written = (*written).max(taken.noted);
            moved
        });
    }

    /// A watch on the number of the last durable change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}
