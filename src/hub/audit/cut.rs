//! Decides when audit records have become too old to be kept, and cuts them:
//! their hashes stay, so every proof holds, and the log itself says beforehand
//! up to where that may be so.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::audit::record::Phase;
use crate::model::audit::{Group, Record, record, tile};

use super::super::engine::{Hub, draining};
use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;

/// Bytes of records that are looked at in one step.
const STEP_BYTES: usize = 4 << 20;
/// As long as a decree of 2022 may ask for data to be kept.
const DEFAULT: Duration = Duration::from_secs(17_544 * 3_600);

/// For how long records are kept, by what they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// See [`Group::Writes`].
    pub writes: Duration,
    /// See [`Group::Reads`].
    pub reads: Duration,
    /// See [`Group::Deliveries`].
    pub deliveries: Duration,
    /// See [`Group::Administration`].
    pub administration: Duration,
    /// See [`Group::Platform`].
    pub platform: Duration,
}

impl Default for Keep {
    /// 24 months of each.
    fn default() -> Self {
        let [writes, reads, deliveries, administration, platform] = [DEFAULT; 5];
        Self { writes, reads, deliveries, administration, platform }
    }
}

impl Keep {
    const fn of(&self, group: Group) -> Duration {
        match group {
            Group::Writes => self.writes,
            Group::Reads => self.reads,
            Group::Deliveries => self.deliveries,
            Group::Administration => self.administration,
            Group::Platform => self.platform,
        }
    }

    fn shortest(&self) -> Duration {
        Group::ALL.iter().map(|group| self.of(*group)).min().unwrap_or(DEFAULT)
    }

    /// Whether a record is kept no longer. What the hub notes of the log itself
    /// is always kept, and what cannot be read.
    fn is_spent(&self, encoded: &[u8], now: Timestamp) -> bool {
        let Some(record) = Record::decode(encoded) else { return false };
        let noted = record.phase == Phase::Note && matches!(&*record.method, record::CUT | record::RESTORED);
        !noted && record.time < now.saturating_sub(self.of(record.purpose.group()))
    }
}

impl Hub {
    /// Cuts the audit records that are kept no longer; how many that were. None
    /// while the log is exported: the checkpoint of an export under way cannot
    /// tell of what is cut after it.
    ///
    /// # Errors
    /// A failure of the store, `DRAINING`.
    pub async fn cut_audit(&self) -> Result<u64, Error> {
        let Ok(_whole) = self.shared.audit.whole.try_write() else { return Ok(0) };
        let (keep, now) = (self.options.audit_keep, self.now());
        let horizon = now.saturating_sub(keep.shortest());
        let end = self.blocking(move |shared| end(shared, horizon)).await?;
        let some = self.blocking(move |shared| any(shared, end, &keep, now)).await?;
        let Some(mut at) = some else { return Ok(0) };
        // Before anything is gone: an export in between says why.
        let note = Record::cut(end, format!("{keep:?}"), now);
        let number = self.shared.audit.journal.note(&note);
        self.shared.audit.journal.durable(number).await.map_err(|_| draining())?;
        let mut all = 0;
        while at < end {
            let step = move |shared: &Shared| {
                let spent = |record: &[u8]| keep.is_spent(record, now);
                shared.store.cut_audit((at, end), STEP_BYTES, spent).map_err(store_error)
            };
            let (reached, cut) = self.blocking(step).await?;
            all += cut;
            if reached == at {
                break;
            }
            at = reached;
        }
        Ok(all)
    }
}

/// Below which number records began before `horizon`, give or take what was
/// under way at a time; never in the last tile, which the records alone tell.
fn end(shared: &Shared, horizon: Timestamp) -> Result<u64, Error> {
    let width = tile::WIDTH as u64;
    let (mut low, mut high) = (0, shared.audit.size() / width);
    while low < high {
        let middle = low + (high - low) / 2;
        if begins_before(shared, (middle + 1) * width, horizon)? { low = middle + 1 } else { high = middle }
    }
    // A commit group is cut as a whole or not yet.
    shared.store.audit_group_start(low * width).map_err(store_error)
}

/// Whether the last record before number `to` that can be read, if there is one
/// in its group, began before `horizon`.
fn begins_before(shared: &Shared, to: u64, horizon: Timestamp) -> Result<bool, Error> {
    let group = shared.store.audit_before(to).map_err(store_error)?;
    let newest = group.iter().find_map(|(_, encoded)| Record::decode(encoded));
    // Of which nothing is left is older than all that is.
    Ok(newest.is_none_or(|record| record.time < horizon))
}

/// The number of the first record below `end` that is kept no longer.
fn any(shared: &Shared, end: u64, keep: &Keep, now: Timestamp) -> Result<Option<u64>, Error> {
    let mut found = None;
    shared
        .store
        .audit_records(0, end, |number, encoded| {
            found = (!encoded.is_empty() && keep.is_spent(encoded, now)).then_some(number);
            found.is_none()
        })
        .map_err(store_error)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock, SystemClock};
    use crate::hub::Options;
    use crate::hub::testing::roster;
    use crate::model::audit::record::tests::numbered;
    use crate::model::audit::{Purpose, tree};

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_kind_is_kept_as_long_as_it_is_to_be_and_every_hash_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        Hub::init(&data_dir, roster(&["a"]), "test.example", &SystemClock).unwrap();
        let audit_keep = Keep { reads: 10 * DAY, ..Keep::default() };
        let hub = Hub::open(Options { data_dir, audit_keep, ..Options::default() }).unwrap();
        let now = SystemClock.now();
        for number in 0..1_000 {
            let age = DAY * if number < 600 { 20 } else { 5 };
            let purpose = if number % 2 == 0 { Purpose::Search } else { Purpose::Write };
            let record = Record { purpose, time: now.saturating_sub(age), ..numbered(number) };
            let noted = hub.shared.audit.journal.note(&record);
            if number % 100 == 99 {
                hub.shared.audit.journal.durable(noted).await.unwrap();
            }
        }
        let before = tree::root(&hub.shared.store, 1_000).unwrap();
        let export = std::sync::Arc::clone(&hub.shared.audit.whole).read_owned().await;
        assert_eq!(hub.cut_audit().await.unwrap(), 0, "nothing while the log is exported");
        drop(export);
        let cut = hub.cut_audit().await.unwrap();
        assert!((200..=256).contains(&cut), "of two full tiles, in whole groups, each second one: {cut}");
        assert_eq!(tree::root(&hub.shared.store, 1_000).unwrap(), before);
        let (mut left, mut noted) = (0, None);
        hub.shared
            .store
            .audit_records(0, 1_001, |number, encoded| {
                if let Some(record) = Record::decode(encoded) {
                    left += 1;
                    noted = record.cut_end().map(|end| (number, end));
                }
                true
            })
            .unwrap();
        assert_eq!(left, 1_001 - cut);
        assert_eq!(noted, Some((1_000, 2 * cut)), "up to there each second one");
        assert_eq!(hub.cut_audit().await.unwrap(), 0, "and no second note");
        assert_eq!(hub.audit_size(), 1_001);
        hub.close().await;
    }
}
