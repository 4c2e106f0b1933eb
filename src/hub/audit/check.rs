//! Decides whether the audit that is stored is sound in itself: whether its
//! tiles follow from its records. That it is the one which was signed, those
//! who keep a checkpoint can tell.

use crate::model::audit::tree::{Grown, Hashes as _};
use crate::model::audit::{Record, Tree, tile};
use crate::store::{Store, db};

/// The first tile that does not follow from the records; `None`: all do.
pub fn unsound(store: &Store) -> Result<Option<String>, db::Error> {
    let (mut tree, mut grown) = (Tree::default(), Vec::new());
    for (index, width) in tile::bundles(store.audit_size()?) {
        let hashes = store.tile(0, index, width)?;
        let (first, mut changed) = (index * tile::WIDTH as u64, None);
        let mut told = hashes.iter();
        store.audit_records(first, first + width as u64, |number, record| {
            // Of one that was cut the hash alone is left.
            let fits = told.next().is_some_and(|hash| record.is_empty() || Record::leaf(record) == *hash);
            changed = (!fits).then_some(number);
            fits
        })?;
        if let Some(number) = changed {
            return Ok(Some(format!("record {number} of the audit is not the one that was hashed")));
        }
        hashes.into_iter().for_each(|hash| tree.push(hash, &mut grown));
        for Grown { level, index, hashes } in grown.drain(..).filter(|tile| tile.level > 0) {
            if store.tile(level, index, hashes.len())? != hashes {
                return Ok(Some(format!(
                    "{} of the audit does not follow",
                    tile::path(level, index, hashes.len())
                )));
            }
        }
    }
    Ok(None)
}
