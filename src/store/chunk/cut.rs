//! Decides what is left of a chunk once items are cut out of it. Positions
//! stay, so that whatever names another item of it still finds that.

use std::collections::BTreeMap;

use crate::model::audience::ClassNo;
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::{Chunk, FLAG_ENTRY, FLAG_LAST, FORMAT, HEAD_BYTES, Item, ItemHeader, Op};
use super::{len_u32, write_item};

/// What is left of an item that is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// Where a record was born, if it was: for those that look for births.
    Birth,
    /// Nothing.
    Nothing,
}

/// What is left of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// All: it had none of the items.
    Whole,
    /// This.
    Rest(Chunk),
    /// Nothing that anybody reads.
    Nothing,
}

impl Chunk {
    /// The chunk without the items at these positions; `None` if it is damaged.
    #[must_use]
    pub fn without(&self, gone: &BTreeMap<Position, Rest>) -> Option<Cut> {
        let view = self.view()?;
        let (mut items, mut bodies) = (Vec::new(), Vec::new());
        let (mut cut, mut left) = (false, false);
        let mut at = view.first;
        let mut kept = view.items().peekable();
        for _ in 0..view.count {
            let item = match kept.peek() {
                Some(None) => return None,
                Some(Some(item)) if item.position == at => kept.next().flatten(),
                _ => None,
            };
            let born = |version| ItemHeader { handle: at, version, op: Op::Born, ..nothing() };
            let header = match (item, gone.get(&at)) {
                (None, _) => Some(nothing()),
                (Some(item), None) => {
                    left = true;
                    items.extend_from_slice(item.raw);
                    bodies.extend_from_slice(item.body);
                    None
                }
                (Some(item), Some(Rest::Birth)) if item.header.op == Op::Born => {
                    left = true;
                    Some(item.header)
                }
                (Some(item), Some(Rest::Birth)) if item.header.op == Op::Create => {
                    (cut, left) = (true, true);
                    Some(born(item.header.version))
                }
                (Some(_), Some(_)) => {
                    cut = true;
                    Some(nothing())
                }
            };
            if let Some(header) = header {
                let none = Item { header, terms: Vec::new(), previous_terms: Vec::new(), body: Vec::new() };
                write_item(&none, &mut items);
            }
            at = at.next();
        }
        if !cut {
            return Some(Cut::Whole);
        }
        if !left {
            return Some(Cut::Nothing);
        }
        let entry = view.entry_header.unwrap_or_default();
        let flags = (u8::from(view.entry_header.is_some()) * FLAG_ENTRY) | (u8::from(view.last) * FLAG_LAST);
        let mut out = Vec::with_capacity(HEAD_BYTES + entry.len() + items.len() + bodies.len());
        out.extend_from_slice(&[FORMAT, flags, u8::try_from(view.count).ok()?, 0]);
        out.extend_from_slice(&len_u32(entry.len()).to_be_bytes());
        out.extend_from_slice(&len_u32(items.len()).to_be_bytes());
        // No class is that of all, and not all is new.
        out.extend_from_slice(&0_u32.to_be_bytes());
        out.extend_from_slice(&view.first_version.to_be_bytes());
        out.extend_from_slice(entry);
        out.extend_from_slice(&items);
        out.extend_from_slice(&bodies);
        Some(Cut::Rest(Self { first: self.first, bytes: out.into() }))
    }
}

/// The header in place of what is gone.
const fn nothing() -> ItemHeader {
    ItemHeader {
        handle: Position::ZERO,
        previous: Position::ZERO,
        version: 0,
        digest: 0,
        salted: [0; 16],
        class: ClassNo(0),
        previous_class: ClassNo(0),
        owner: OrgNo(0),
        body_len: 0,
        tail_len: 0,
        kind: 0,
        previous_kind: 0,
        op: Op::Gone,
        state: State::Active,
        tlp: 0,
        previous_tlp: 0,
        aliases: false,
        terms: 0,
        previous_terms: 0,
        relabelled: false,
        lapsed: false,
        original: None,
    }
}
