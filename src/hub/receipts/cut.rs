//! Decides when receipts have become too old to be kept.

use super::super::engine::Hub;
use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;
use super::book::PARTY_AGE;

/// Blocks that are cut in one step.
const STEP: u64 = 10_000;

impl Hub {
    /// Cuts the receipts that are kept no longer; how many blocks of them that
    /// were. A newer one is never cut.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn cut_receipts(&self) -> Result<u64, Error> {
        let horizon = self.now().saturating_sub(self.options.receipts_keep);
        // A party goes by its number for a day, and some moments.
        let unused = horizon.saturating_sub(PARTY_AGE * 2);
        let mut all = 0;
        loop {
            // What failed once is written no more.
            if self.shared.latch.reason().is_some() {
                return Ok(all);
            }
            let step = move |shared: &Shared| shared.store.cut_receipts(horizon, unused, STEP);
            let cut = self.blocking(move |shared| step(shared).map_err(store_error)).await?;
            all += cut;
            if cut < STEP {
                return Ok(all);
            }
        }
    }
}
