//! Decides how the keys of receipts are spelt: kind, a letter for the noun, and
//! numbers that only rise, so that key order is the order of writing.

use crate::model::position::Position;

use super::KeyKind;

/// Who receives, by number.
const PARTY: u8 = 1;
/// Receipts, by their place.
const BLOCK: u8 = 2;
/// What is in many blocks, by the place of the first.
const SUMMARY: u8 = 3;
/// Where receipts begin.
const BEGIN: u8 = 4;

/// Bytes of the key of a block or a summary.
const PLACE_KEY_BYTES: usize = 18;

/// Where a block of receipts stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ReceiptPlace {
    /// How far the log was known when it was written: nothing in the block is
    /// of a later position, so that of a record no block before its birth tells.
    pub known: Position,
    /// A number of its own, which only rises.
    pub number: u64,
}

impl ReceiptPlace {
    /// The least place behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { known: self.known, number: self.number.saturating_add(1) }
    }
}

/// What the keys of all parties begin with.
pub const RECEIPT_PARTIES: [u8; 2] = [KeyKind::Receipt.byte(), PARTY];
/// What the keys of all blocks begin with.
pub const RECEIPT_BLOCKS: [u8; 2] = [KeyKind::Receipt.byte(), BLOCK];
/// What the keys of all summaries begin with.
pub const RECEIPT_SUMMARIES: [u8; 2] = [KeyKind::Receipt.byte(), SUMMARY];
/// Key of where receipts begin.
pub const RECEIPTS_BEGIN: [u8; 2] = [KeyKind::Receipt.byte(), BEGIN];

/// Key of a party.
#[must_use]
pub fn receipt_party(number: u64) -> Vec<u8> {
    [RECEIPT_PARTIES.as_slice(), &number.to_be_bytes()].concat()
}

/// Key of a block.
#[must_use]
pub fn receipt_block(place: ReceiptPlace) -> Vec<u8> {
    place_key(RECEIPT_BLOCKS, place)
}

/// Key of a summary, by the place of the first block that it sums.
#[must_use]
pub fn receipt_summary(first: ReceiptPlace) -> Vec<u8> {
    place_key(RECEIPT_SUMMARIES, first)
}

fn place_key(prefix: [u8; 2], ReceiptPlace { known, number }: ReceiptPlace) -> Vec<u8> {
    [prefix.as_slice(), &known.raw().to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The place in the key of a block or a summary.
#[must_use]
pub fn read_receipt_place(key: &[u8]) -> Option<ReceiptPlace> {
    if key.len() != PLACE_KEY_BYTES {
        return None;
    }
    let (known, number) = key.get(2..)?.split_first_chunk::<8>()?;
    let known = Position::from_raw(u64::from_be_bytes(*known));
    Some(ReceiptPlace { known, number: u64::from_be_bytes(number.try_into().ok()?) })
}

/// The number in the key of a party.
#[must_use]
pub fn read_receipt_party(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(&RECEIPT_PARTIES)?.try_into().ok()?))
}
