//! Decides whether two stores hold the same: family by family, byte for byte,
//! postings by content, and counters by what they count.

use std::collections::VecDeque;

use crate::model::position::Position;
use crate::store::chunk::Op;
use crate::store::counters;
use crate::store::keys::{self, Dimension, Family, KeyKind};
use crate::store::log::{Record, Records};
use crate::store::postings::{self, Posting};
use crate::store::{Store, db};

use super::retention::tells_of_dropped;
use super::verify::VerifyReport;

/// Walks two families side by side.
pub(super) fn compare(
    store: &Store,
    copy: &Store,
    family: Family,
    kind: KeyKind,
    report: &mut VerifyReport,
) -> Result<(), db::Error> {
    let (mut left, mut right) =
        (store.records(family, &[kind.byte()])?, copy.records(family, &[kind.byte()])?);
    let (mut a, mut b) = (left.next_record()?, right.next_record()?);
    loop {
        match (&a, &b) {
            (None, None) => return Ok(()),
            (Some(x), Some(y)) if x.0 == y.0 => {
                if x.1 != y.1 {
                    report.differ(|| format!("a record in {} is not what the log says", family.name()));
                }
                (a, b) = (left.next_record()?, right.next_record()?);
            }
            (Some(x), y) if y.as_ref().is_none_or(|y| x.0 < y.0) => {
                if is_dropped_sighting(store, &x.0)? {
                    a = left.next_record()?;
                    continue;
                }
                report.differ(|| format!("a record in {} that the log does not know", family.name()));
                a = left.next_record()?;
            }
            _ => {
                report.differ(|| format!("a record is missing in {}", family.name()));
                b = right.next_record()?;
            }
        }
    }
}

/// Whether a record is a sighting of what was dropped, which goes after it.
fn is_dropped_sighting(store: &Store, key: &[u8]) -> Result<bool, db::Error> {
    match keys::read_sighting(key) {
        Some((indicator, ..)) => store.is_dropped(indicator),
        None => Ok(false),
    }
}

/// Postings as one row, whatever the blocks they lie in.
struct Row<'a> {
    records: Records<'a>,
    block: VecDeque<(Vec<u8>, Posting)>,
    indexed: Position,
    /// Whether postings of dimensions that are no more are passed over.
    of_before: bool,
}

impl Row<'_> {
    fn next(&mut self) -> Result<Option<(Vec<u8>, Posting)>, db::Error> {
        while self.block.is_empty() {
            let Some((key, value)) = self.records.next_record()? else { return Ok(None) };
            if self.of_before && keys::is_retired(&key) {
                continue;
            }
            let mut block = postings::decode(&value).ok_or_else(|| db::Error::corrupt("postings", &key))?;
            if keys::posting_dimension(&key).is_some_and(Dimension::is_behind) {
                block.retain(|posting| posting.position <= self.indexed);
            }
            let term = key.get(..keys::POSTING_PREFIX_BYTES).unwrap_or_default().to_vec();
            self.block.extend(block.into_iter().map(|posting| (term.clone(), posting)));
        }
        Ok(self.block.pop_front())
    }
}

/// Whether the postings are the same, but for what a store of the format before
/// has that this one has not; of those that are written behind the log, up to
/// where it is `indexed`. Those of what was cut out since may still be there.
pub(super) fn compare_postings(
    store: &Store,
    copy: &Store,
    indexed: Position,
    report: &mut VerifyReport,
) -> Result<(), db::Error> {
    let row = |store| -> Result<Row<'_>, db::Error> {
        let records = Store::records(store, Family::Postings, &[KeyKind::Posting.byte()])?;
        let of_before = Store::is_of_format_before(store)?;
        Ok(Row { records, block: VecDeque::new(), indexed, of_before })
    };
    let base = store.base()?.position;
    let (mut left, mut right) = (row(store)?, row(copy)?);
    let (mut a, mut b) = (left.next()?, right.next()?);
    loop {
        match (&a, &b) {
            (None, None) => return Ok(()),
            (Some(x), y) if y.as_ref().is_none_or(|y| x < y) && is_void(store, base, x)? => {
                a = left.next()?
            }
            _ if a != b => {
                report.differ(|| "the postings are not what the log says".to_owned());
                return Ok(());
            }
            _ => (a, b) = (left.next()?, right.next()?),
        }
    }
}

/// Whether a posting may be there though the log knows nothing of it any more.
fn is_void(store: &Store, base: Position, (term, posting): &(Vec<u8>, Posting)) -> Result<bool, db::Error> {
    let at = posting.position;
    if base == Position::ZERO {
        return Ok(false);
    }
    if at <= base && keys::posting_dimension(term) == Some(Dimension::Former) {
        return Ok(true);
    }
    let Some(chunk) = store.chunk_at(at)? else { return Ok(at <= base) };
    let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", at))?;
    match view.item(at) {
        None => Ok(at <= base),
        Some(item) if item.header.op == Op::Born => Ok(true),
        Some(item) => tells_of_dropped(store, &item),
    }
}

/// Whether each counter is the same; one of nothing is as good as none.
pub(super) fn compare_counters(
    store: &Store,
    copy: &Store,
    report: &mut VerifyReport,
) -> Result<(), db::Error> {
    // A store that a release before left counts nothing by kinds, or not all.
    let kinds = store.kinds_are_counted()?;
    let next = |records: &mut Records<'_>| -> Result<Option<Record>, db::Error> {
        while let Some(record) = records.next_record()? {
            if !counters::is_nothing(&record.1) && (kinds || !counters::is_by_kinds(&record.0)) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    };
    let all = &[KeyKind::Counter.byte()];
    let (mut left, mut right) = (store.records(Family::Counters, all)?, copy.records(Family::Counters, all)?);
    loop {
        let (a, b) = (next(&mut left)?, next(&mut right)?);
        if a.is_none() && b.is_none() {
            return Ok(());
        }
        if a != b {
            report.differ(|| "the counters are not what the log says".to_owned());
            return Ok(());
        }
    }
}
