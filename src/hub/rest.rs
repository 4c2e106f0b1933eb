//! Decides what may be learnt of a hub that does not run, without a change to
//! its directory.

use std::path::Path;

use super::genesis;
use crate::store::{Store, Tuning, checkpoint, db};

/// Memory for blocks: little is read.
const BLOCK_CACHE_BYTES: usize = 8 << 20;

/// The trust domain of the hub in `data_dir`, unless one runs there: its store
/// is left alone then. While it is read no hub can start on it.
///
/// # Errors
/// [`db::Error::Locked`] if a hub runs there; what else keeps one from
/// starting there.
pub fn trust_domain(data_dir: &Path) -> Result<String, db::Error> {
    checkpoint::refuse_marked(data_dir)?;
    let tuning = Tuning { block_cache_bytes: BLOCK_CACHE_BYTES, ..Tuning::default() };
    let store = Store::open_read_only(data_dir, &tuning)?;
    let genesis = genesis::read(&store)
        .map_err(|error| db::Error::Corrupt { what: "beginning of the log", at: error.to_string() })?;
    Ok(genesis.trust_domain)
}
