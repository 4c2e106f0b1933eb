//! Decides whether two stores hold the same: family by family, byte for byte,
//! and postings by content.

use std::collections::VecDeque;

use crate::store::keys::{self, Family, KeyKind};
use crate::store::log::Records;
use crate::store::postings::{self, Posting};
use crate::store::{Store, db};

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

/// Postings as one row, whatever the blocks they lie in.
struct Row<'a> {
    records: Records<'a>,
    block: VecDeque<(Vec<u8>, Posting)>,
}

impl Row<'_> {
    fn next(&mut self) -> Result<Option<(Vec<u8>, Posting)>, db::Error> {
        while self.block.is_empty() {
            let Some((key, value)) = self.records.next_record()? else { return Ok(None) };
            let block = postings::decode(&value).ok_or_else(|| db::Error::corrupt("postings", &key))?;
            let term = key.get(..keys::POSTING_PREFIX_BYTES).unwrap_or_default().to_vec();
            self.block.extend(block.into_iter().map(|posting| (term.clone(), posting)));
        }
        Ok(self.block.pop_front())
    }
}

pub(super) fn compare_postings(
    store: &Store,
    copy: &Store,
    report: &mut VerifyReport,
) -> Result<(), db::Error> {
    let row = |store| -> Result<Row<'_>, db::Error> {
        let records = Store::records(store, Family::Postings, &[KeyKind::Posting.byte()])?;
        Ok(Row { records, block: VecDeque::new() })
    };
    let (mut left, mut right) = (row(store)?, row(copy)?);
    loop {
        let (a, b) = (left.next()?, right.next()?);
        if a.is_none() && b.is_none() {
            return Ok(());
        }
        if a != b {
            report.differ(|| "the postings are not what the log says".to_owned());
            return Ok(());
        }
    }
}
