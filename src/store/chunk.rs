//! Decides how the log's values are laid out: a head, the entry's header
//! block, the item headers, then the bodies back to back exactly as they
//! travel (`repeated Event events = 1`, tags and lengths included). Replay
//! filters by headers without decoding and sends bodies without encoding.
//!
//! ```text
//! head     format u8 | flags u8 | items u8 | 0 | entry header u32 | item headers u32
//!          | class u32 (0: mixed) | version of the first item u64
//! entry    luytre.storage.v1.EntryHeader, in the first chunk of an entry only
//! items    per item 76 bytes, then 8 bytes per filter term, then 12 for a republication
//! bodies
//! ```

use bytes::Bytes;

use crate::model::audience::ClassNo;
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::Position;

mod cut;
mod items;
mod op;

pub use cut::{Cut, Rest};
pub use items::{ItemView, Items};
pub use op::Op;

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 24;
const ITEM_BYTES: usize = 76;
const _: () = assert!(HEAD_BYTES == 4 + 4 + 4 + 4 + 8);
/// Where in an item's header the length of its body stands.
const BODY_LEN_AT: usize = 8 + 8 + 8 + 8 + 16 + 4 + 4 + 4;
/// Where there what it did stands.
const OP_AT: usize = BODY_LEN_AT + 4 + 2 + 1;
/// What it is a republication of.
const ORIGINAL_BYTES: usize = 8 + 4;
const FLAG_ORIGINAL: u8 = 1 << 2;

/// Most items in one chunk.
pub const MAX_CHUNK_ITEMS: usize = 16;
/// A chunk is closed once its bodies reach this many bytes.
pub const CHUNK_BYTES: usize = 8 * 1024;
/// Most filter terms of one item.
pub const MAX_TERMS: usize = 255;

const FLAG_ENTRY: u8 = 1;
const FLAG_LAST: u8 = 1 << 1;
const FLAG_ALL_NEW: u8 = 1 << 2;

/// What a version is a republication of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// Handle of the indicator.
    pub handle: Position,
    /// Its audience class when the version first said so; it holds unless it
    /// is known to have changed.
    pub class: ClassNo,
}

/// The fixed part of an item's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemHeader {
    /// Where the record was born; for what is told of one, its own position.
    pub handle: Position,
    /// Position of the previous version; [`Position::ZERO`]: none. For what is
    /// told of an indicator the handle of that.
    pub previous: Position,
    /// Version: microseconds, strictly increasing over the hub.
    pub version: u64,
    /// Digest of all that the publisher supplied. For a notice the handle of
    /// the other's record.
    pub digest: u64,
    /// Salted digest of the same; it survives a purge of the body.
    pub salted: [u8; 16],
    /// Audience class from here on.
    pub class: ClassNo,
    /// Audience class before; equal to `class` at birth. For a sighting that of
    /// its indicator, for a notice that of the other record, as it was recorded.
    pub previous_class: ClassNo,
    /// Owner.
    pub owner: OrgNo,
    /// Length of the body, tag and length included.
    pub body_len: u32,
    /// Bytes at the end of the body that the hub, not the publisher, supplied.
    pub tail_len: u16,
    /// Number of the observable's kind from here on; of a sighting that of its
    /// outcome, 0 where an earlier release wrote it; 0 for a notice.
    pub kind: u8,
    /// Number of the observable's kind before: a file may gain or lose its
    /// strongest hash.
    pub previous_kind: u8,
    /// What the item did.
    pub op: Op,
    /// Where the record stands after it.
    pub state: State,
    /// Number of the TLP label from here on.
    pub tlp: u8,
    /// Number of the TLP label before.
    pub previous_tlp: u8,
    /// Whether aliases of the value exist.
    pub aliases: bool,
    /// Filter terms from here on: how many of the terms that follow.
    pub terms: u8,
    /// Filter terms before: how many of the terms after those.
    pub previous_terms: u8,
    /// Whether the terms changed; if not, those before are not repeated.
    pub relabelled: bool,
    /// Whether the version before had expired: nobody holds it.
    pub lapsed: bool,
    /// What it is a republication of; not every reader is told.
    pub original: Option<Original>,
}

/// An item ready to be laid into a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its header; `body_len`, `terms` and `previous_terms` are set by
    /// [`Builder::push`].
    pub header: ItemHeader,
    /// Label terms from here on.
    pub terms: Vec<u64>,
    /// Label terms before; empty unless the header says that they changed.
    pub previous_terms: Vec<u64>,
    /// The body as it travels.
    pub body: Vec<u8>,
}

/// Lays items into the chunks of one entry.
#[derive(Debug)]
pub struct Builder {
    first: Position,
    next: Position,
    entry_header: Vec<u8>,
    has_entry: bool,
    items: Vec<u8>,
    bodies: Vec<u8>,
    count: u8,
    class: Option<ClassNo>,
    uniform: bool,
    all_new: bool,
    first_version: u64,
    done: Vec<Chunk>,
}

impl Builder {
    /// Starts an entry whose first item stands at `first`. `version` stands
    /// for the entry where it has no items.
    #[must_use]
    pub fn new(first: Position, entry_header: Vec<u8>, version: u64) -> Self {
        Self {
            first,
            next: first,
            entry_header,
            has_entry: true,
            items: Vec::new(),
            bodies: Vec::new(),
            count: 0,
            class: None,
            uniform: true,
            all_new: true,
            first_version: version,
            done: Vec::new(),
        }
    }

    /// Adds an item and returns its position.
    pub fn push(&mut self, item: &Item) -> Position {
        if usize::from(self.count) == MAX_CHUNK_ITEMS
            || (self.count > 0 && self.bodies.len() + item.body.len() > CHUNK_BYTES)
        {
            self.close(false);
        }
        let at = self.next;
        if self.count == 0 {
            self.first = at;
            self.first_version = item.header.version;
        }
        self.uniform &= self.class.is_none_or(|class| class == item.header.class);
        self.class = Some(item.header.class);
        self.all_new &= item.header.op == Op::Create
            && item.header.state == State::Active
            && item.header.original.is_none();
        write_item(item, &mut self.items);
        self.bodies.extend_from_slice(&item.body);
        self.count += 1;
        self.next = at.next();
        at
    }

    fn close(&mut self, last: bool) {
        let entry_header = std::mem::take(&mut self.entry_header);
        let flags = (u8::from(self.has_entry) * FLAG_ENTRY)
            | (u8::from(last) * FLAG_LAST)
            | (u8::from(self.all_new && self.count > 0) * FLAG_ALL_NEW);
        let class = self.class.filter(|_| self.uniform).map_or(0, |class| class.0);
        let mut out =
            Vec::with_capacity(HEAD_BYTES + entry_header.len() + self.items.len() + self.bodies.len());
        out.extend_from_slice(&[FORMAT, flags, self.count, 0]);
        out.extend_from_slice(&len_u32(entry_header.len()).to_be_bytes());
        out.extend_from_slice(&len_u32(self.items.len()).to_be_bytes());
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&self.first_version.to_be_bytes());
        out.extend_from_slice(&entry_header);
        out.extend_from_slice(&self.items);
        out.extend_from_slice(&self.bodies);
        self.done.push(Chunk { first: self.first, bytes: out.into() });
        self.items.clear();
        self.bodies.clear();
        self.has_entry = false;
        self.count = 0;
        self.class = None;
        self.uniform = true;
        self.all_new = true;
        self.first = self.next;
    }

    /// The chunks of the entry, at least one.
    #[must_use]
    pub fn finish(mut self) -> Vec<Chunk> {
        self.close(true);
        self.done
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn write_item(item: &Item, out: &mut Vec<u8>) {
    let h = &item.header;
    let count = |terms: &[u64]| u8::try_from(terms.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&h.handle.raw().to_be_bytes());
    out.extend_from_slice(&h.previous.raw().to_be_bytes());
    out.extend_from_slice(&h.version.to_be_bytes());
    out.extend_from_slice(&h.digest.to_be_bytes());
    out.extend_from_slice(&h.salted);
    out.extend_from_slice(&h.class.0.to_be_bytes());
    out.extend_from_slice(&h.previous_class.0.to_be_bytes());
    out.extend_from_slice(&h.owner.0.to_be_bytes());
    out.extend_from_slice(&len_u32(item.body.len()).to_be_bytes());
    out.extend_from_slice(&h.tail_len.to_be_bytes());
    out.extend_from_slice(&[
        h.kind,
        h.op as u8,
        h.state.number(),
        h.tlp,
        h.previous_tlp,
        u8::from(h.aliases),
        count(&item.terms),
        count(&item.previous_terms),
        h.previous_kind,
        u8::from(h.relabelled) | u8::from(h.lapsed) << 1 | (u8::from(h.original.is_some()) * FLAG_ORIGINAL),
    ]);
    for term in item.terms.iter().take(MAX_TERMS).chain(item.previous_terms.iter().take(MAX_TERMS)) {
        out.extend_from_slice(&term.to_be_bytes());
    }
    if let Some(Original { handle, class }) = h.original {
        out.extend_from_slice(&handle.raw().to_be_bytes());
        out.extend_from_slice(&class.0.to_be_bytes());
    }
}

/// A chunk of the log: shared bytes, and where its first item stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Position of the first item; of the entry, where it has no items.
    pub first: Position,
    /// The bytes on disk.
    pub bytes: Bytes,
}

impl Chunk {
    /// Reads the head; `None` if the bytes are damaged.
    #[must_use]
    pub fn view(&self) -> Option<View<'_>> {
        View::parse(self.first, &self.bytes)
    }
}

/// A chunk being read. Nothing in it is decoded beyond what is asked for.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Position of the first item.
    pub first: Position,
    /// Number of items.
    pub count: u16,
    /// The one audience class of all items, unless they differ.
    pub class: Option<ClassNo>,
    /// Whether every item is the birth of an indicator that holds, and a
    /// republication of none.
    pub all_new: bool,
    /// Whether this is the last chunk of its entry.
    pub last: bool,
    /// Version of the first item; time of the entry, where it has no items.
    pub first_version: u64,
    /// The entry's header, in its first chunk.
    pub entry_header: Option<&'a [u8]>,
    items: &'a [u8],
    /// The bodies as they travel.
    pub bodies: &'a [u8],
    /// Where the bodies begin in the chunk.
    pub bodies_at: usize,
}

impl<'a> View<'a> {
    /// Reads the head of a chunk; `None` if the bytes are damaged.
    #[must_use]
    pub fn parse(first: Position, bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let ([format, flags, count, _], head) = head.split_first_chunk::<4>()?;
        let (entry_len, head) = head.split_first_chunk::<4>()?;
        let (items_len, head) = head.split_first_chunk::<4>()?;
        let (class, version) = head.split_first_chunk::<4>()?;
        if *format != FORMAT {
            return None;
        }
        let entry_len = usize::try_from(u32::from_be_bytes(*entry_len)).ok()?;
        let items_len = usize::try_from(u32::from_be_bytes(*items_len)).ok()?;
        let (entry, rest) = rest.split_at_checked(entry_len)?;
        let (items, bodies) = rest.split_at_checked(items_len)?;
        let class = u32::from_be_bytes(*class);
        Some(Self {
            first,
            count: u16::from(*count),
            class: (class != 0).then_some(ClassNo(class)),
            all_new: flags & FLAG_ALL_NEW != 0,
            last: flags & FLAG_LAST != 0,
            first_version: u64::from_be_bytes(version.try_into().ok()?),
            entry_header: (flags & FLAG_ENTRY != 0).then_some(entry),
            items,
            bodies,
            bodies_at: HEAD_BYTES + entry_len + items_len,
        })
    }

    /// The last position in the chunk.
    #[must_use]
    pub const fn last_position(&self) -> Position {
        Position::from_raw(self.first.raw() + (self.count.saturating_sub(1)) as u64)
    }
}
