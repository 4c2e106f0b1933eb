//! Decides how the items of a chunk are read: one after the other, or one alone.

use crate::model::audience::ClassNo;
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::{BODY_LEN_AT, FLAG_ORIGINAL, ITEM_BYTES, ItemHeader, OP_AT, ORIGINAL_BYTES, Op, Original, View};

impl<'a> View<'a> {
    /// The item at a position; `None`: it is not here, was cut out, or is
    /// damaged.
    #[must_use]
    pub fn item(&self, at: Position) -> Option<ItemView<'a>> {
        let place = at.raw().checked_sub(self.first.raw())?;
        let mut items = self.items();
        for _ in 0..u16::try_from(place).ok().filter(|place| *place < self.count)? {
            items.pass()?;
        }
        items.next().flatten().filter(|item| item.position == at)
    }

    /// The items in order; `None` in place of one that is damaged, which ends
    /// the walk.
    #[must_use]
    pub const fn items(&self) -> Items<'a> {
        self.items_of(|_| true)
    }

    /// The same, of those alone that did something that is `wanted`: of the
    /// others no more is read than that.
    #[must_use]
    pub const fn items_of(&self, wanted: fn(Op) -> bool) -> Items<'a> {
        let (at, left, headers, bodies) = (self.first, self.count, self.items, self.bodies);
        Items { at, left, headers, bodies, offset: 0, wanted }
    }
}

/// An item being read.
#[derive(Debug, Clone, Copy)]
pub struct ItemView<'a> {
    /// Where it stands.
    pub position: Position,
    /// Its header.
    pub header: ItemHeader,
    terms: &'a [u8],
    previous_terms: &'a [u8],
    /// Its header as it is stored.
    pub(super) raw: &'a [u8],
    /// Its body as it travels.
    pub body: &'a [u8],
    /// Where the body begins among the bodies of its chunk.
    pub offset: usize,
}

impl ItemView<'_> {
    /// Bytes that it takes, header and body.
    #[must_use]
    pub const fn size(&self) -> u64 {
        (self.raw.len() + self.body.len()) as u64
    }

    /// Label terms from here on.
    pub fn terms(&self) -> impl Iterator<Item = u64> + '_ {
        read_terms(self.terms)
    }

    /// Label terms before; the same as [`Self::terms`] where they did not
    /// change.
    pub fn previous_terms(&self) -> impl Iterator<Item = u64> + '_ {
        read_terms(if self.header.relabelled { self.previous_terms } else { self.terms })
    }
}

fn read_terms(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).filter_map(|term| term.try_into().ok().map(u64::from_be_bytes))
}

/// The items of a chunk.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    at: Position,
    left: u16,
    headers: &'a [u8],
    bodies: &'a [u8],
    offset: usize,
    wanted: fn(Op) -> bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Option<ItemView<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            // What was cut out is not there for anybody.
            let is_wanted = |op| op != Op::Gone && (self.wanted)(op);
            let read = self.op().is_none_or(is_wanted);
            let item = if read { self.read() } else { None };
            if read || self.pass().is_none() {
                self.left = if item.is_some() { self.left - 1 } else { 0 };
                return Some(item);
            }
        }
        None
    }
}

impl<'a> Items<'a> {
    /// What the next item did; `None`: it is damaged.
    fn op(&self) -> Option<Op> {
        self.headers.get(OP_AT).and_then(|op| Op::from_number(*op))
    }

    /// Passes over an item of which no more is read than how long it is.
    fn pass(&mut self) -> Option<()> {
        let fixed = self.headers.first_chunk::<ITEM_BYTES>()?;
        let [.., terms, previous_terms, _, flags] = *fixed;
        let body_len = u32::from_be_bytes(*fixed.get(BODY_LEN_AT..)?.first_chunk()?);
        let body_len = usize::try_from(body_len).ok()?;
        let terms = (usize::from(terms) + usize::from(previous_terms)) * 8;
        let original = if flags & FLAG_ORIGINAL != 0 { ORIGINAL_BYTES } else { 0 };
        self.headers = self.headers.get(ITEM_BYTES + terms + original..)?;
        self.bodies = self.bodies.get(body_len..)?;
        self.offset += body_len;
        (self.at, self.left) = (self.at.next(), self.left - 1);
        Some(())
    }

    fn read(&mut self) -> Option<ItemView<'a>> {
        let (fixed, rest) = self.headers.split_first_chunk::<ITEM_BYTES>()?;
        let mut header = read_header(fixed)?;
        let (terms, rest) = rest.split_at_checked(usize::from(header.terms) * 8)?;
        let (previous_terms, rest) = rest.split_at_checked(usize::from(header.previous_terms) * 8)?;
        let rest = if let Some(original) = &mut header.original {
            let (handle, rest) = rest.split_first_chunk::<8>()?;
            let (class, rest) = rest.split_first_chunk::<4>()?;
            original.handle = Position::from_raw(u64::from_be_bytes(*handle));
            original.class = ClassNo(u32::from_be_bytes(*class));
            rest
        } else {
            rest
        };
        let (body, bodies) = self.bodies.split_at_checked(usize::try_from(header.body_len).ok()?)?;
        let raw = self.headers.get(..self.headers.len() - rest.len())?;
        let (position, offset) = (self.at, self.offset);
        let view = ItemView { position, header, terms, previous_terms, raw, body, offset };
        self.headers = rest;
        self.bodies = bodies;
        self.offset += body.len();
        self.at = self.at.next();
        Some(view)
    }
}

fn read_header(bytes: &[u8; ITEM_BYTES]) -> Option<ItemHeader> {
    let (handle, rest) = bytes.split_first_chunk::<8>()?;
    let (previous, rest) = rest.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (digest, rest) = rest.split_first_chunk::<8>()?;
    let (salted, rest) = rest.split_first_chunk::<16>()?;
    let (class, rest) = rest.split_first_chunk::<4>()?;
    let (previous_class, rest) = rest.split_first_chunk::<4>()?;
    let (owner, rest) = rest.split_first_chunk::<4>()?;
    let (body_len, rest) = rest.split_first_chunk::<4>()?;
    let (tail_len, rest) = rest.split_first_chunk::<2>()?;
    let [kind, op, state, tlp, previous_tlp, aliases, terms, previous_terms, previous_kind, flags] =
        *rest.first_chunk::<10>()?;
    Some(ItemHeader {
        handle: Position::from_raw(u64::from_be_bytes(*handle)),
        previous: Position::from_raw(u64::from_be_bytes(*previous)),
        version: u64::from_be_bytes(*version),
        digest: u64::from_be_bytes(*digest),
        salted: *salted,
        class: ClassNo(u32::from_be_bytes(*class)),
        previous_class: ClassNo(u32::from_be_bytes(*previous_class)),
        owner: OrgNo(u32::from_be_bytes(*owner)),
        body_len: u32::from_be_bytes(*body_len),
        tail_len: u16::from_be_bytes(*tail_len),
        kind,
        op: Op::from_number(op)?,
        state: State::from_number(state)?,
        tlp,
        previous_tlp,
        aliases: aliases != 0,
        terms,
        previous_terms,
        previous_kind,
        relabelled: flags & 1 != 0,
        lapsed: flags & 2 != 0,
        // Read behind the terms.
        original: (flags & FLAG_ORIGINAL != 0)
            .then_some(Original { handle: Position::ZERO, class: ClassNo(0) }),
    })
}
