//! Decides what public ids look like: sealed handles and positions, which are
//! unguessable, show no order and are derived from no content.
//!
//! A synthetic-IV construction over AES-128: of the 122 free bits of a UUID
//! (RFC 9562, version 4) 58 are a tag, `PRF_k1(number)`, and 64 are the number
//! masked by `PRF_k2(tag)`. An invented id fails the tag without a read.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use uuid::Uuid;

use crate::model::position::Position;

/// Length of the sealing key, in bytes.
pub const KEY_BYTES: usize = 64;

const TAG_BITS: u32 = 58;

/// One purpose's pair of keys.
struct Pair {
    tag: Aes128,
    mask: Aes128,
}

impl Pair {
    fn seal(&self, number: u64) -> u128 {
        let tag = self.tag(number);
        (u128::from(tag) << 64) | u128::from(number ^ self.mask(tag))
    }

    fn open(&self, sealed: u128) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
        let (tag, masked) = ((sealed >> 64) as u64, sealed as u64);
        let number = masked ^ self.mask(tag);
        (self.tag(number) == tag).then_some(number)
    }

    fn tag(&self, number: u64) -> u64 {
        encrypt(&self.tag, number) >> (64 - TAG_BITS)
    }

    fn mask(&self, tag: u64) -> u64 {
        encrypt(&self.mask, tag)
    }
}

/// The first half of one AES block.
fn encrypt(key: &Aes128, number: u64) -> u64 {
    let mut block = aes::Block::default();
    for (to, from) in block.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    key.encrypt_block(&mut block);
    block.iter().take(8).fold(0, |acc, &byte| (acc << 8) | u64::from(byte))
}

/// Seals handles and positions, and opens what it sealed.
pub struct Sealer {
    handles: Pair,
    events: Pair,
}

impl Sealer {
    /// From the log's sealing key; `None` unless it has [`KEY_BYTES`].
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() != KEY_BYTES {
            return None;
        }
        let mut ciphers = key.chunks_exact(16).map(Aes128::new_from_slice);
        let mut next = || ciphers.next()?.ok();
        Some(Self {
            handles: Pair { tag: next()?, mask: next()? },
            events: Pair { tag: next()?, mask: next()? },
        })
    }

    /// The public id of the record born at `handle`.
    #[must_use]
    pub fn id(&self, handle: Position) -> Uuid {
        pack(self.handles.seal(handle.raw()))
    }

    /// The handle that `id` seals; `None` if it is not one of ours.
    #[must_use]
    pub fn handle(&self, id: Uuid) -> Option<Position> {
        self.handles.open(unpack(id)?).map(Position::from_raw)
    }

    /// The public id of the event at `position`.
    #[must_use]
    pub fn event_id(&self, position: Position) -> [u8; 16] {
        pack(self.events.seal(position.raw())).into_bytes()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// Spreads 122 bits around the version and variant of a UUIDv4.
const fn pack(sealed: u128) -> Uuid {
    let high = (sealed >> 74) & ((1 << 48) - 1);
    let middle = (sealed >> 62) & 0xfff;
    let low = sealed & ((1 << 62) - 1);
    Uuid::from_u128((high << 80) | (4 << 76) | (middle << 64) | (2 << 62) | low)
}

/// Gathers the 122 bits; `None` unless it is a UUIDv4 of RFC 9562.
const fn unpack(id: Uuid) -> Option<u128> {
    let bits = id.as_u128();
    if (bits >> 76) & 0xf != 4 || (bits >> 62) & 3 != 2 {
        return None;
    }
    Some(((bits >> 80) << 74) | (((bits >> 64) & 0xfff) << 62) | (bits & ((1 << 62) - 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(seed: u8) -> Sealer {
        let mut key = [0; KEY_BYTES];
        for (byte, n) in key.iter_mut().zip(0_u8..) {
            *byte = n.wrapping_mul(31) ^ seed;
        }
        Sealer::new(&key).unwrap()
    }

    proptest! {
        #[test]
        fn a_sealed_handle_opens_to_itself_and_is_a_uuid_v4(raw: u64) {
            let sealer = Sealer::new(&crate::base::random::bytes::<KEY_BYTES>()).unwrap();
            let id = sealer.id(Position::from_raw(raw));
            prop_assert_eq!(id.get_version_num(), 4);
            prop_assert_eq!(sealer.handle(id), Some(Position::from_raw(raw)));
        }

        #[test]
        fn an_id_with_one_bit_changed_is_not_ours(raw: u64, bit in 0_u32..128) {
            let sealer = sealer(7);
            let forged = Uuid::from_u128(sealer.id(Position::from_raw(raw)).as_u128() ^ (1 << bit));
            prop_assert_eq!(sealer.handle(forged), None);
        }

        #[test]
        fn an_id_of_another_hub_is_not_ours(raw: u64) {
            prop_assert_eq!(sealer(1).handle(sealer(2).id(Position::from_raw(raw))), None);
        }
    }

    #[test]
    fn sealed_ids_do_not_show_the_order_of_their_handles() {
        let sealer = sealer(9);
        let ids: Vec<_> = (1..=1_000).map(|n| sealer.id(Position::from_raw(n))).collect();
        let rising = ids.windows(2).filter(|w| w[0] < w[1]).count();
        assert!((400..600).contains(&rising), "{rising} of 999 neighbours rise");
    }

    #[test]
    fn a_handle_and_an_event_of_one_position_share_no_id() {
        let sealer = sealer(3);
        let at = Position::from_raw(42);
        assert_ne!(sealer.id(at).into_bytes(), sealer.event_id(at));
    }
}
