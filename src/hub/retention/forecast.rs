//! Decides what a policy would keep no longer, without doing any of it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::clock::Timestamp;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::retention::Retention;
use crate::store::chunk::{ItemView, Op, View};
use crate::store::{Store, Tuning, db};

use super::drops::is_over;
use super::plan::last_by;

/// What would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// The earliest moment of which could still be asked.
    pub horizon: Timestamp,
    /// Versions that were replaced by then.
    pub versions: u64,
    /// Bytes that they take, as they were written.
    pub version_bytes: u64,
    /// Records that ended for long enough.
    pub records: u64,
    /// Bytes of what stands of them.
    pub record_bytes: u64,
    /// Bytes of all items in the log, by whose they are.
    pub organisations: BTreeMap<OrgSlug, u64>,
}

/// What `policy` would keep no longer of the store in `data_dir`, which no hub
/// runs on, if it were planned now and had waited. Not a byte is changed.
/// Blocking: all of the log is read.
///
/// # Errors
/// If the directory holds no hub, is in use, or cannot be read.
pub fn forecast(data_dir: &Path, policy: &Retention, now: Timestamp) -> Result<Forecast, db::Error> {
    let store = Store::open_read_only(data_dir, &Tuning::default())?;
    let horizon = now.saturating_sub(policy.history).max(store.base()?.horizon);
    let base = last_by(&store, horizon, store.indexed()?)?.max(store.base()?.position);
    let mut forecast = Forecast { horizon, ..Forecast::default() };
    let swept = store.truncated()?.upto;
    let mut log = store.reader()?;
    log.seek_after(Position::ZERO);
    let mut taken: BTreeMap<OrgNo, u64> = BTreeMap::new();
    while let Some((first, bytes)) = log.peek()? {
        let view = View::parse(first, bytes).ok_or_else(|| db::Error::corrupt("chunk", first))?;
        for item in view.items() {
            let item = item.ok_or_else(|| db::Error::corrupt("item", first))?;
            *taken.entry(item.header.owner).or_default() += item.size();
            if item.position <= base {
                forecast.look(&store, policy, now, &item, item.position > swept)?;
            }
        }
        log.advance();
    }
    let numbers = store.directory()?.numbers.into_iter();
    let named = numbers.filter_map(|(number, slug)| Some((slug, *taken.get(&number)?)));
    forecast.organisations = named.collect();
    Ok(forecast)
}

impl Forecast {
    fn look(
        &mut self,
        store: &Store,
        policy: &Retention,
        now: Timestamp,
        item: &ItemView<'_>,
        ends: bool,
    ) -> Result<(), db::Error> {
        let header = &item.header;
        if !header.op.is_version() {
            return Ok(());
        }
        if let Some(bytes) = size_at(store, header.previous)?.filter(|_| ends) {
            self.versions += 1;
            self.version_bytes += bytes;
        }
        let Some(keep) = policy.keep(header.kind, header.tlp, header.state) else { return Ok(()) };
        let latest = store.latest(&[header.handle])?.pop().flatten();
        let stands = latest.map_or(header.handle, |latest| latest.newest) == item.position;
        let over = Timestamp::from_micros_clamped(header.version).saturating_add(keep) <= now;
        if stands && over && is_over(policy, keep, item) && !store.has_leave(header.owner, header.handle)? {
            self.records += 1;
            self.record_bytes += size(item);
        }
        Ok(())
    }
}

fn size(item: &ItemView<'_>) -> u64 {
    item.body.len() as u64 + item.terms().count() as u64 * 8
}

/// The bytes of the version at a position; `None`: there is none.
fn size_at(store: &Store, at: Position) -> Result<Option<u64>, db::Error> {
    if at == Position::ZERO {
        return Ok(None);
    }
    let Some(chunk) = store.chunk_at(at)? else { return Ok(None) };
    let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", at))?;
    let item = view.item(at).filter(|item| item.header.op != Op::Born);
    Ok(item.map(|item| size(&item)))
}
