//! Decides how postings are packed: per term and commit group one block of
//! (handle, position) pairs in order of position, as varint deltas.
//! [`super::merge`] makes larger blocks of small ones later.

use prost::encoding::{decode_varint, encode_varint};

use crate::model::position::Position;

use super::keys::{self, Dimension};

const FORMAT: u8 = 1;

/// A record that carries a term, and the version that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// The version.
    pub position: Position,
    /// The record, or the number that its dimension says is kept in its place.
    pub handle: Position,
}

impl Posting {
    /// A posting that carries a number in place of a record.
    #[must_use]
    pub fn numbered(position: Position, number: u32) -> Self {
        Self { position, handle: Position::from_raw(u64::from(number)) }
    }

    /// The number that it carries in place of a record.
    #[must_use]
    pub fn number(self) -> Option<u32> {
        u32::try_from(self.handle.raw()).ok()
    }
}

/// The postings of one commit group, or of one step of the indexer. Nearly each
/// has a term of its own there, so that they lie in one list until they are
/// written, not in one for each term.
#[derive(Debug, Default)]
pub struct Postings {
    all: Vec<(Dimension, u64, Posting)>,
}

impl Postings {
    /// Notes that `posting` carries `term`.
    pub fn add(&mut self, dimension: Dimension, term: u64, posting: Posting) {
        self.all.push((dimension, term, posting));
    }

    /// How many there are, of all terms.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts them in order, which whoever asks for terms or blocks does for
    /// himself otherwise.
    pub fn sort(&mut self) {
        self.all.sort_unstable();
    }

    fn sorted(&self) -> Vec<&(Dimension, u64, Posting)> {
        let mut all: Vec<_> = self.all.iter().collect();
        all.sort_unstable();
        all
    }

    /// The terms that have a block, in order.
    pub fn terms(&self) -> impl Iterator<Item = (Dimension, u64)> + '_ {
        let mut all = self.sorted();
        all.dedup_by_key(|(dimension, term, _)| (*dimension, *term));
        all.into_iter().map(|(dimension, term, _)| (*dimension, *term))
    }

    /// The blocks as key and value, in order of their keys.
    pub fn blocks(&self) -> impl Iterator<Item = ([u8; keys::POSTING_KEY_BYTES], Vec<u8>)> + '_ {
        let mut all = self.sorted().into_iter().peekable();
        let mut block = Vec::new();
        std::iter::from_fn(move || {
            let &(dimension, term, first) = all.next()?;
            block.clear();
            block.push(first);
            while let Some((.., next)) = all.next_if(|next| (next.0, next.1) == (dimension, term)) {
                block.push(*next);
            }
            Some((keys::posting(dimension, term, first.position), encode(&block)))
        })
    }
}

/// Encodes a block. Positions rise; a handle is never past its position.
#[must_use]
pub fn encode(block: &[Posting]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + block.len() * 3);
    out.push(FORMAT);
    encode_varint(block.len() as u64, &mut out);
    let mut before = 0;
    for posting in block {
        let position = posting.position.raw();
        encode_varint(position.wrapping_sub(before), &mut out);
        encode_varint(position.wrapping_sub(posting.handle.raw()), &mut out);
        before = position;
    }
    out
}

/// Number of postings in a block, which is not decoded for that; `None` if its
/// head is damaged.
#[must_use]
pub fn count(bytes: &[u8]) -> Option<usize> {
    let (&format, mut rest) = bytes.split_first()?;
    let count = decode_varint(&mut rest).ok()?;
    (format == FORMAT).then(|| usize::try_from(count).ok()).flatten()
}

/// Decodes a block; `None` if the bytes are damaged.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Posting>> {
    let (&format, rest) = bytes.split_first()?;
    bytes = rest;
    if format != FORMAT {
        return None;
    }
    let count = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
    // Two bytes at least per posting: a damaged count allocates nothing.
    let mut out = Vec::with_capacity(count.min(bytes.len() / 2));
    let mut position = 0_u64;
    for _ in 0..count {
        position = position.wrapping_add(decode_varint(&mut bytes).ok()?);
        let handle = position.wrapping_sub(decode_varint(&mut bytes).ok()?);
        out.push(Posting { position: Position::from_raw(position), handle: Position::from_raw(handle) });
    }
    bytes.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_decodes_to_what_was_encoded(pairs in proptest::collection::vec(any::<(u64, u64)>(), 0..40)) {
            let mut block: Vec<_> = pairs
                .into_iter()
                .map(|(a, b)| Posting {
                    position: Position::from_raw(a.max(b)),
                    handle: Position::from_raw(a.min(b)),
                })
                .collect();
            block.sort_unstable();
            prop_assert_eq!(count(&encode(&block)), Some(block.len()));
            prop_assert_eq!(decode(&encode(&block)), Some(block));
        }

        #[test]
        fn a_damaged_block_is_refused_not_misread(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }
    }
}
