//! Chunks of the log read as they were laid, and damaged ones are refused.

use luytre::model::audience::ClassNo;
use luytre::model::indicator::State;
use luytre::model::org::OrgNo;
use luytre::model::position::{Position, Seq};
use luytre::store::chunk::{Builder, Item, ItemHeader, ItemView, MAX_CHUNK_ITEMS, Op, Original, View};
use proptest::prelude::*;

const OPS: [Op; 8] =
    [Op::Create, Op::Update, Op::Revoke, Op::Expire, Op::Reinstate, Op::Sight, Op::Notice, Op::Leave];
const STATES: [State; 3] = [State::Active, State::Revoked, State::Expired];

prop_compose! {
    fn item()(
        numbers: [u64; 4], salted: [u8; 16], class in 1_u32..4, previous_class: u32, owner: u32, tail_len: u16,
        bytes: [u8; 4], op in 0..OPS.len(), state in 0..STATES.len(), flags: [bool; 3],
        original in proptest::option::weighted(0.2, any::<(u64, u32)>()),
        terms in prop::collection::vec(any::<u64>(), 0..5), before in prop::collection::vec(any::<u64>(), 0..5),
        body in prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..60), 1 => prop::collection::vec(any::<u8>(), 9_000)],
    ) -> Item {
        let header = ItemHeader {
            handle: Position::from_raw(numbers[0]),
            previous: Position::from_raw(numbers[1]),
            version: numbers[2],
            digest: numbers[3],
            salted,
            class: ClassNo(class),
            previous_class: ClassNo(previous_class),
            owner: OrgNo(owner),
            body_len: u32::try_from(body.len()).unwrap(),
            tail_len,
            kind: bytes[0],
            previous_kind: bytes[1],
            op: OPS[op],
            state: STATES[state],
            tlp: bytes[2],
            previous_tlp: bytes[3],
            aliases: flags[0],
            terms: u8::try_from(terms.len()).unwrap(),
            previous_terms: if flags[1] { u8::try_from(before.len()).unwrap() } else { 0 },
            relabelled: flags[1],
            lapsed: flags[2],
            original: original
                .map(|(handle, class)| Original { handle: Position::from_raw(handle), class: ClassNo(class) }),
        };
        Item { header, terms, previous_terms: if flags[1] { before } else { Vec::new() }, body }
    }
}

fn lay(items: &[Item], entry: &[u8]) -> Vec<luytre::store::chunk::Chunk> {
    let mut builder = Builder::new(Seq::new(2, 9).at(0), entry.to_vec(), 77);
    for (place, item) in items.iter().enumerate() {
        assert_eq!(builder.push(item), Seq::new(2, 9).at(u16::try_from(place).unwrap()));
    }
    builder.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_entrys_chunks_read_as_they_were_laid(
        items in prop::collection::vec(item(), 0..41), entry in prop::collection::vec(any::<u8>(), 0..40)
    ) {
        let chunks = lay(&items, &entry);
        let mut left = items.as_slice();
        for (place, chunk) in chunks.iter().enumerate() {
            let view = chunk.view().unwrap();
            let (here, rest) = left.split_at(usize::from(view.count));
            prop_assert!(here.len() <= MAX_CHUNK_ITEMS);
            prop_assert_eq!(view.entry_header, (place == 0).then_some(entry.as_slice()));
            prop_assert_eq!(view.last, place + 1 == chunks.len());
            prop_assert_eq!(view.first_version, here.first().map_or(77, |item| item.header.version));
            let holds = |header: &ItemHeader| {
                (header.op, header.state, header.original) == (Op::Create, State::Active, None)
            };
            let all_new = !here.is_empty() && here.iter().all(|item| holds(&item.header));
            prop_assert_eq!(view.all_new, all_new);
            let one_class = here.first().map(|item| item.header.class);
            let uniform = here.iter().all(|item| Some(item.header.class) == one_class);
            prop_assert_eq!(view.class, one_class.filter(|_| uniform));
            let place = |item: Option<ItemView<'_>>| item.map(|item| (item.position, item.offset));
            let versions = view.items().filter(|item| item.is_some_and(|item| item.header.op.is_version()));
            prop_assert!(view.items_of(Op::is_version).map(place).eq(versions.map(place)));
            let mut at = chunk.first;
            for (item, read) in here.iter().zip(view.items()) {
                let read = read.unwrap();
                prop_assert_eq!((read.position, read.header, read.body), (at, item.header, item.body.as_slice()));
                let alone = view.item(at).unwrap();
                prop_assert_eq!((alone.position, alone.header, alone.body), (at, item.header, read.body));
                prop_assert_eq!((alone.offset, alone.size()), (read.offset, read.size()));
                prop_assert_eq!(&read.terms().collect::<Vec<_>>(), &item.terms);
                let before = if item.header.relabelled { &item.previous_terms } else { &item.terms };
                prop_assert_eq!(&read.previous_terms().collect::<Vec<_>>(), before);
                let from = view.bodies_at + read.offset;
                prop_assert_eq!(&chunk.bytes[from..from + read.body.len()], item.body.as_slice());
                prop_assert_eq!(view.last_position() >= at, true);
                at = at.next();
            }
            prop_assert_eq!(view.items().count(), here.len());
            left = rest;
        }
        prop_assert!(left.is_empty());
    }

    #[test]
    fn a_damaged_chunk_is_refused_or_read_but_never_panics(
        items in prop::collection::vec(item(), 0..20), cut: prop::sample::Index,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..6),
    ) {
        for chunk in lay(&items, b"entry") {
            let mut bytes = chunk.bytes.to_vec();
            for (at, flip) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            let whole = bytes.len();
            for bytes in [&bytes[..], &bytes[..cut.index(whole)]] {
                let Some(view) = View::parse(chunk.first, bytes) else { continue };
                let _ = view.last_position();
                for item in view.items().flatten() {
                    let _ = (item.terms().count(), item.previous_terms().count());
                    prop_assert!(view.bodies_at + item.offset + item.body.len() <= bytes.len());
                    let _ = luytre::wire::event::publisher_fields(item.body, item.header.tail_len);
                    let _ = luytre::wire::event::decode_indicator(item.body);
                }
            }
        }
    }
}
