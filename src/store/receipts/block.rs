//! Decides how a block of receipts is coded: a head that says what may be in
//! it, acknowledgements, then what was told, as runs and deltas.
//!
//! ```text
//! head      format u8 | oldest time µs | newest - oldest
//!           | births, others: 0, or least position + 1 and how far it goes
//!           | largest position acknowledged + 1, or 0
//! acks      count, then each: party | time - oldest | position
//! receipts  count, then each: party | way u8 | time - oldest | audit record + 1, or 0
//!           | runs: count, then each: first - end of the one before | count
//!           | others: count, then each: handle - the one before
//!             | position - handle | kind u8
//!             | with the highest bit of kind: what acknowledges it - position
//! ```
//! Numbers are varints, differences that may be negative zigzag-coded.

use prost::encoding::{decode_varint, encode_varint};

use crate::base::clock::Timestamp;
use crate::model::event::EventKind;
use crate::model::position::Position;
use crate::model::receipt::{Other, Run, Told, Way};

const FORMAT: u8 = 1;
/// In the byte of a kind: what acknowledges it is not its own position.
const REACHES: u8 = 0x80;

/// A range of positions, both ends within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The least.
    pub least: u64,
    /// The largest.
    pub most: u64,
}

impl Span {
    fn join(span: &mut Option<Self>, least: u64, most: u64) {
        *span = Some(match *span {
            Some(before) => Self { least: before.least.min(least), most: before.most.max(most) },
            None => Self { least, most },
        });
    }

    const fn holds(self, position: Position) -> bool {
        self.least <= position.raw() && position.raw() <= self.most
    }
}

/// What may be in a block, or in many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Time of the oldest receipt.
    pub oldest: Timestamp,
    /// Time of the newest.
    pub newest: Timestamp,
    /// Where the records were born whose births were told.
    pub births: Option<Span>,
    /// Where the records were born of which something else was told.
    pub others: Option<Span>,
    /// Up to where was acknowledged; [`Position::ZERO`]: nothing was.
    pub acked: Position,
}

impl Head {
    /// Whether something of the record may be in it.
    #[must_use]
    pub fn may_hold(&self, handle: Position) -> bool {
        let holds = |span: Option<Span>| span.is_some_and(|span| span.holds(handle));
        holds(self.births) || holds(self.others)
    }

    /// What may be in both.
    #[must_use]
    pub fn join(mut self, other: &Self) -> Self {
        self.oldest = self.oldest.min(other.oldest);
        self.newest = self.newest.max(other.newest);
        self.acked = self.acked.max(other.acked);
        for (mine, its) in [(&mut self.births, other.births), (&mut self.others, other.others)] {
            if let Some(its) = its {
                Span::join(mine, its.least, its.most);
            }
        }
        self
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        encode_varint(self.oldest.as_micros(), out);
        encode_varint(self.newest.as_micros().saturating_sub(self.oldest.as_micros()), out);
        for span in [self.births, self.others] {
            match span {
                Some(Span { least, most }) => {
                    encode_varint(least.saturating_add(1), out);
                    encode_varint(most.saturating_sub(least), out);
                }
                None => out.push(0),
            }
        }
        encode_varint(self.acked.raw(), out);
    }

    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (&format, rest) = bytes.split_first()?;
        *bytes = rest;
        if format != FORMAT {
            return None;
        }
        let oldest = number(bytes)?;
        let newest = oldest.checked_add(number(bytes)?)?;
        let mut span = || -> Option<Option<Span>> {
            let Some(least) = number(bytes)?.checked_sub(1) else { return Some(None) };
            Some(Some(Span { least, most: least.checked_add(number(bytes)?)? }))
        };
        let (births, others) = (span()?, span()?);
        Some(Self {
            oldest: Timestamp::from_micros_clamped(oldest),
            newest: Timestamp::from_micros_clamped(newest),
            births,
            others,
            acked: Position::from_raw(number(bytes)?),
        })
    }
}

/// One receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Number of who received.
    pub party: u64,
    /// In which way; never [`Way::Acknowledged`].
    pub way: Way,
    /// When.
    pub time: Timestamp,
    /// Number of the record in the audit, if it is known.
    pub audit: Option<u64>,
    /// What.
    pub told: Told,
}

/// One acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Number of who acknowledged.
    pub party: u64,
    /// When.
    pub time: Timestamp,
    /// Up to where.
    pub position: Position,
}

/// Receipts that are written together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Acknowledgements.
    pub acks: Vec<Ack>,
    /// All else, each party's in order.
    pub receipts: Vec<Receipt>,
}

impl Block {
    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.receipts.is_empty()
    }

    /// How many entries are in it.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.acks.len() + self.receipts.iter().map(|receipt| 1 + receipt.told.weight()).sum::<usize>()
    }

    /// What is in it; `None`: nothing.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let times = || self.acks.iter().map(|ack| ack.time).chain(self.receipts.iter().map(|r| r.time));
        let (mut births, mut others) = (None, None);
        for told in self.receipts.iter().map(|receipt| &receipt.told) {
            for run in told.births() {
                let first = run.first.raw();
                Span::join(&mut births, first, first.saturating_add(run.count.saturating_sub(1)));
            }
            for other in told.others() {
                Span::join(&mut others, other.handle.raw(), other.handle.raw());
            }
        }
        Some(Head {
            oldest: times().min()?,
            newest: times().max()?,
            births,
            others,
            acked: self.acks.iter().map(|ack| ack.position).max().unwrap_or_default(),
        })
    }

    /// Encodes the block.
    #[must_use]
    pub fn encode(&self, head: &Head) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 12 * self.weight());
        head.write(&mut out);
        let since = |time: Timestamp| time.as_micros().saturating_sub(head.oldest.as_micros());
        encode_varint(self.acks.len() as u64, &mut out);
        for Ack { party, time, position } in &self.acks {
            encode_varint(*party, &mut out);
            encode_varint(since(*time), &mut out);
            encode_varint(position.raw(), &mut out);
        }
        encode_varint(self.receipts.len() as u64, &mut out);
        for Receipt { party, way, time, audit, told } in &self.receipts {
            encode_varint(*party, &mut out);
            out.push(way.number());
            encode_varint(since(*time), &mut out);
            encode_varint(audit.map_or(0, |audit| audit.saturating_add(1)), &mut out);
            write_told(told, &mut out);
        }
        out
    }

    /// Decodes a block; `None` if it is damaged.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let head = Head::take(bytes)?;
        let time = |since| Some(Timestamp::from_micros_clamped(head.oldest.as_micros().checked_add(since)?));
        let mut block = Self::default();
        for _ in 0..number(bytes)? {
            let (party, since) = (number(bytes)?, number(bytes)?);
            block.acks.push(Ack { party, time: time(since)?, position: Position::from_raw(number(bytes)?) });
        }
        for _ in 0..number(bytes)? {
            let party = number(bytes)?;
            let way = Way::from_number(byte(bytes)?)?;
            let since = number(bytes)?;
            let audit = number(bytes)?.checked_sub(1);
            block.receipts.push(Receipt { party, way, time: time(since)?, audit, told: read_told(bytes)? });
        }
        bytes.is_empty().then_some(block)
    }
}

fn write_told(told: &Told, out: &mut Vec<u8>) {
    encode_varint(told.births().len() as u64, out);
    let mut end = 0;
    for Run { first, count } in told.births() {
        encode_varint(zigzag(first.raw().wrapping_sub(end)), out);
        encode_varint(*count, out);
        end = first.raw().wrapping_add(*count);
    }
    encode_varint(told.others().len() as u64, out);
    let mut before = 0;
    for Other { handle, position, kind, reach } in told.others() {
        encode_varint(zigzag(handle.raw().wrapping_sub(before)), out);
        encode_varint(zigzag(position.raw().wrapping_sub(handle.raw())), out);
        let further = reach != position;
        out.push(kind.map_or(0, EventKind::number) | if further { REACHES } else { 0 });
        if further {
            encode_varint(zigzag(reach.raw().wrapping_sub(position.raw())), out);
        }
        before = handle.raw();
    }
}

fn read_told(bytes: &mut &[u8]) -> Option<Told> {
    let (mut births, mut end) = (Vec::new(), 0_u64);
    for _ in 0..number(bytes)? {
        let first = end.wrapping_add(unzigzag(number(bytes)?));
        let count = number(bytes)?;
        births.push(Run { first: Position::from_raw(first), count });
        end = first.wrapping_add(count);
    }
    let (mut others, mut before) = (Vec::new(), 0_u64);
    for _ in 0..number(bytes)? {
        before = before.wrapping_add(unzigzag(number(bytes)?));
        let position = Position::from_raw(before.wrapping_add(unzigzag(number(bytes)?)));
        let coded = byte(bytes)?;
        let kind = match coded & !REACHES {
            0 => None,
            kind => Some(EventKind::from_number(kind)?),
        };
        let reach = match coded & REACHES {
            0 => position,
            _ => Position::from_raw(position.raw().wrapping_add(unzigzag(number(bytes)?))),
        };
        others.push(Other { handle: Position::from_raw(before), position, kind, reach });
    }
    Some(Told::of(births, others))
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    decode_varint(bytes).ok()
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// A difference of either sign, short where it is near 0.
const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (0_u64.wrapping_sub(difference >> 63))
}

const fn unzigzag(coded: u64) -> u64 {
    (coded >> 1) ^ (0_u64.wrapping_sub(coded & 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        (0..1_u64 << 60).prop_map(Position::from_raw)
    }

    fn told() -> impl Strategy<Value = Told> {
        let run = (position(), 1..5_000_u64).prop_map(|(first, count)| Run { first, count });
        let kind = (0..9_u8).prop_map(EventKind::from_number);
        let other = (position(), position(), kind, prop::option::of(position()));
        let other = other.prop_map(|(handle, position, kind, reach)| Other {
            handle,
            position,
            kind,
            reach: reach.unwrap_or(position),
        });
        (prop::collection::vec(run, 0..6), prop::collection::vec(other, 0..6))
            .prop_map(|(births, others)| Told::of(births, others))
    }

    fn block() -> impl Strategy<Value = Block> {
        let time = || (0..4_000_000_000_000_000_u64).prop_map(Timestamp::from_micros_clamped);
        let ack = (any::<u64>(), time(), position());
        let ack = ack.prop_map(|(party, time, position)| Ack { party, time, position });
        let way = prop::sample::select(vec![Way::Delivered, Way::Recalled, Way::Read, Way::Exported]);
        let receipt = (any::<u64>(), way, time(), prop::option::of(0..1_u64 << 60), told());
        let receipt =
            receipt.prop_map(|(party, way, time, audit, told)| Receipt { party, way, time, audit, told });
        (prop::collection::vec(ack, 0..4), prop::collection::vec(receipt, 0..5))
            .prop_map(|(acks, receipts)| Block { acks, receipts })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_block_decodes_to_what_was_encoded_and_its_head_passes_over_nothing(block in block()) {
            let Some(head) = block.head() else { return Ok(()) };
            let encoded = block.encode(&head);
            prop_assert_eq!(Head::take(&mut encoded.as_slice()), Some(head));
            let decoded = Block::decode(&encoded);
            prop_assert_eq!(decoded.as_ref(), Some(&block));
            for told in block.receipts.iter().map(|receipt| &receipt.told) {
                prop_assert!(told.births().iter().all(|run| head.may_hold(run.first)));
                let last = |run: &Run| Position::from_raw(run.first.raw() + run.count - 1);
                prop_assert!(told.births().iter().all(|run| head.may_hold(last(run))));
                prop_assert!(told.others().iter().all(|other| head.may_hold(other.handle)));
            }
            prop_assert!(block.acks.iter().all(|ack| ack.position <= head.acked));
        }

        #[test]
        fn damage_is_told_and_never_more_than_that(block in block(), at in any::<prop::sample::Index>(), cut in any::<bool>()) {
            let Some(head) = block.head() else { return Ok(()) };
            let mut encoded = block.encode(&head);
            if cut {
                encoded.truncate(at.index(encoded.len()));
                prop_assert_eq!(Block::decode(&encoded), None);
            } else {
                let place = at.index(encoded.len());
                encoded[place] ^= 0x41;
                let _ = Block::decode(&encoded);
            }
        }
    }

    #[test]
    fn a_thousand_events_of_whole_chunks_take_a_few_bytes() {
        let mut told = Told::default();
        (0..1_000).for_each(|ordinal| told.born(Position::from_raw((77 << 10) + ordinal), 1));
        let time = Timestamp::from_micros_clamped(1_700_000_000_000_000);
        let receipt = Receipt { party: 3, way: Way::Delivered, time, audit: None, told };
        let block = Block { acks: Vec::new(), receipts: vec![receipt; 64] };
        let bytes = block.encode(&block.head().unwrap()).len();
        assert!(bytes < 64 * 16, "{bytes} bytes for 64,000 deliveries");
    }
}
