//! Decides how receipts are laid down with a commit: in blocks of a bounded
//! size, each who under a number, a summary over each few hundred blocks.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::base::clock::Timestamp;
use crate::model::position::Position;
use crate::model::receipt::Way;
use crate::store::keys::ReceiptPlace;
use crate::store::receipts::{Ack, Block, Party, Receipt, ReceiptEnd, SUMMED, Summary};
use crate::store::{Batch, Store, db};

use super::super::shared::Shared;
use super::journal::Taken;

/// A block is closed once it has so many entries.
const BLOCK_ENTRIES: usize = 8_192;
/// So many parties are remembered by their numbers; past them all are numbered
/// anew, which costs a small record each.
const MAX_PARTIES: usize = 16_384;
/// A party is numbered anew after this long, so that it is known of an old one
/// that it is used no more.
pub(super) const PARTY_AGE: Duration = Duration::from_secs(24 * 3_600);

/// The writer's part of receipts.
#[derive(Debug, Default)]
pub struct Book {
    parties: FxHashMap<Arc<Party>, (u64, Timestamp)>,
    next_party: u64,
    last: ReceiptPlace,
    rest: Option<Summary>,
    laid: (u64, u64),
}

impl Book {
    /// Goes on with what is stored, and notes where receipts begin, if that is
    /// not known. `last` is the end of the log.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn open(store: &Store, last: Position, now: Timestamp) -> Result<Self, db::Error> {
        store.begin_receipts(last, now)?;
        let ReceiptEnd { party, last, rest } = store.receipt_end()?;
        Ok(Self { next_party: party, last, rest, ..Self::default() })
    }

    /// Lays down what was taken. The audit's records that went before are
    /// numbered by now.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn lay(&mut self, shared: &Shared, batch: &mut Batch<'_>, taken: &Taken) -> Result<(), db::Error> {
        self.laid = (0, 0);
        let mut block = Block::default();
        for noted in &taken.receipts {
            let party = self.number(&noted.party, batch, shared.clock.now())?;
            match (noted.way, noted.acked) {
                (Way::Acknowledged, Some(position)) => {
                    block.acks.push(Ack { party, time: noted.time, position });
                }
                _ => block.receipts.push(Receipt {
                    party,
                    way: noted.way,
                    time: noted.time,
                    audit: noted.audit.and_then(|noted| shared.audit.index_of(noted)),
                    told: noted.told.clone(),
                }),
            }
            if block.weight() >= BLOCK_ENTRIES {
                self.close(shared, batch, &std::mem::take(&mut block))?;
            }
        }
        self.close(shared, batch, &block)
    }

    /// How many receipts and bytes were laid down last.
    #[must_use]
    pub const fn laid(&self) -> (u64, u64) {
        self.laid
    }

    fn number(
        &mut self,
        party: &Arc<Party>,
        batch: &mut Batch<'_>,
        now: Timestamp,
    ) -> Result<u64, db::Error> {
        if let Some((number, made)) = self.parties.get(party)
            && now.since(*made) < PARTY_AGE
        {
            return Ok(*number);
        }
        if self.parties.len() >= MAX_PARTIES {
            self.parties.clear();
        }
        let number = self.next_party;
        self.next_party += 1;
        batch.receipt_party(number, party, now)?;
        self.parties.insert(Arc::clone(party), (number, now));
        Ok(number)
    }

    fn close(&mut self, shared: &Shared, batch: &mut Batch<'_>, block: &Block) -> Result<(), db::Error> {
        let Some(head) = block.head() else { return Ok(()) };
        let encoded = block.encode(&head);
        // What streams hand over was committed before.
        let known = shared.tail.committed().max(self.last.known);
        let place = ReceiptPlace { known, number: self.last.number + 1 };
        batch.receipts(place, &encoded)?;
        self.laid.0 += (block.acks.len() + block.receipts.len()) as u64;
        self.laid.1 += encoded.len() as u64;
        self.last = place;
        let sum = self.rest.map_or_else(|| Summary::of(place, head), |rest| rest.with(place, &head));
        self.rest = (sum.blocks < SUMMED).then_some(sum);
        if self.rest.is_none() {
            batch.receipt_summary(&sum)?;
        }
        Ok(())
    }
}
