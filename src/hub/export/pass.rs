//! Decides what one pass over the indicators of an export makes of each: a row,
//! or a reason why it is none.
//!
//! A value is in a file for blocking if an indicator that was asked for
//! recommends it, and no indicator that its reader may see, asked for or not,
//! says that it is a victim's or watched. The oldest version that recommends it
//! stands for all of them.

use bytes::Bytes;

use crate::base::digest::{self, Sha256};
use crate::hub::error::Error;
use crate::hub::shared::Shared;
use crate::interop::export::{Head, List, Writer};
use crate::model::Invalid;
use crate::model::export::{Format, Omission, Omitted};
use crate::model::indicator::everyones::is_everyones;
use crate::model::indicator::{RecommendedAction, Shown};
use crate::model::marking::Tlp;
use crate::model::position::Position;
use crate::model::query::IndicatorFilter;
use crate::store::keys;

use super::walk::{Found, Walk};
use super::{CHUNK_BYTES, Closing};

/// Bytes after which a stride ends.
const STRIDE_BYTES: usize = 1 << 20;

/// One pass.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) walk: Walk,
    format: Format,
    book: Book,
    /// Digest of the head but for the number of the state.
    head: [u8; 32],
    /// Of all of the content.
    content: Sha256,
    /// Of what follows the head.
    rows: Sha256,
    bytes: u64,
    /// Whether the content goes out.
    writes: bool,
    /// Bytes that the reader has.
    skip: u64,
    /// What is not cut into pieces yet.
    ready: Vec<u8>,
    /// Indicators found.
    pub(super) found: u64,
    /// The narrowest label within.
    pub(super) tlp: Option<Tlp>,
}

/// What is written in a stride, and counted.
#[derive(Debug)]
struct Book {
    writer: Writer,
    out: Vec<u8>,
    rows: u64,
    omitted: Omitted,
    /// Of the rows of this stride, for their receipt.
    told: Vec<(Position, Position)>,
}

impl Pass {
    /// A pass along `walk`.
    pub(super) fn new(walk: Walk, format: Format, filter: &IndicatorFilter) -> Self {
        let writer = Writer::of(format, &filter.kinds);
        Self {
            walk,
            format,
            book: Book { writer, out: Vec::new(), rows: 0, omitted: Omitted::default(), told: Vec::new() },
            head: [0; 32],
            content: Sha256::default(),
            rows: Sha256::default(),
            bytes: 0,
            writes: false,
            skip: 0,
            ready: Vec::new(),
            found: 0,
            tlp: None,
        }
    }

    /// Writes the head of a content of which the reader has `skip` bytes.
    pub(super) fn begin(&mut self, head: Head, skip: u64) {
        (self.writes, self.skip) = (true, skip);
        self.head = self.head_digest(head);
        let mut out = Vec::new();
        self.book.writer.head(head, &mut out);
        self.content.update(&out);
        self.pass_on(&out);
    }

    fn head_digest(&self, head: Head) -> [u8; 32] {
        let mut out = Vec::new();
        self.book.writer.head(Head { serial: 0, ..head }, &mut out);
        digest::sha256(&out)
    }

    /// Goes on for a while; whether it is over. Tables are written only where
    /// somebody wants the bytes.
    pub(super) fn stride(&mut self, shared: &Shared, writes: bool) -> Result<bool, Error> {
        let Self { walk, format, book, found: count, tlp, .. } = self;
        let over = walk.stride(shared, &mut |found| {
            *count += 1;
            if book.take(found, *format, writes)? {
                *tlp = (*tlp).max(Some(found.tlp()));
            }
            Ok(book.out.len() < STRIDE_BYTES)
        })?;
        let told = std::mem::take(&mut self.book.told);
        if self.writes {
            let trail = self.walk.trail();
            told.into_iter().for_each(|(handle, position)| trail.told(handle, position));
        }
        let out = std::mem::take(&mut self.book.out);
        self.content.update(&out);
        self.rows.update(&out);
        if self.writes {
            self.pass_on(&out);
        }
        Ok(over)
    }

    /// Adds to what goes out, past what the reader has.
    fn pass_on(&mut self, out: &[u8]) {
        self.bytes += out.len() as u64;
        let skipped = self.skip.min(out.len() as u64);
        self.skip -= skipped;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.ready.extend_from_slice(out.get(skipped..).unwrap_or_default());
    }

    /// What is ready, in full pieces; at the end all of it.
    pub(super) fn pieces(&mut self, all: bool) -> impl Iterator<Item = Bytes> + use<> {
        let full = if all { self.ready.len() } else { self.ready.len() / CHUNK_BYTES * CHUNK_BYTES };
        let left = self.ready.split_off(full);
        let mut cut = Bytes::from(std::mem::replace(&mut self.ready, left));
        std::iter::from_fn(move || {
            let piece = cut.split_to(cut.len().min(CHUNK_BYTES));
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// What stands for the content under this head.
    pub(super) fn etag(&self, head: Head) -> [u8; 32] {
        etag(self.head_digest(head), self.rows.clone().finish())
    }

    /// What the content was.
    ///
    /// # Errors
    /// The reader has more than there is.
    pub(super) fn close(self) -> Result<Closing, Error> {
        if self.skip > 0 {
            return Err(Invalid::new("offset", "the content is not as long").into());
        }
        let Book { writer, rows, omitted, .. } = self.book;
        Ok(Closing {
            sha256: self.content.finish(),
            etag: etag(self.head, self.rows.finish()),
            rows,
            bytes: self.bytes,
            omitted,
            defused: writer.defused(),
        })
    }
}

fn etag(head: [u8; 32], rows: [u8; 32]) -> [u8; 32] {
    digest::sha256(&[head, rows].concat())
}

impl Book {
    /// Takes one indicator; whether the content's marking covers it.
    fn take(&mut self, found: &mut Found<'_, '_>, format: Format, writes: bool) -> Result<bool, Error> {
        if found.tlp() == Tlp::Red {
            self.omitted.note(Omission::Red);
            return Ok(false);
        }
        let list = match &mut self.writer {
            Writer::Table(table) => {
                if writes {
                    table.row(found.shown()?, &mut self.out);
                }
                self.row(found);
                return Ok(true);
            }
            Writer::List(list) => list,
        };
        match listed(list, found, format, &mut self.out)? {
            Ok(()) => {
                self.row(found);
                Ok(true)
            }
            Err(why) => {
                self.omitted.note(why);
                Ok(why == Omission::Repeated)
            }
        }
    }
}

impl Book {
    /// One more row is of this indicator.
    fn row(&mut self, found: &Found<'_, '_>) {
        self.rows += 1;
        self.told.push((found.handle(), found.position()));
    }
}

/// Writes the value of an indicator if it belongs there and is not there yet.
fn listed(
    list: &mut List,
    found: &mut Found<'_, '_>,
    format: Format,
    out: &mut Vec<u8>,
) -> Result<Result<(), Omission>, Error> {
    let shown = found.shown()?;
    if shown.objects() {
        return Ok(Err(Omission::Objected));
    }
    if shown.action != Some(RecommendedAction::Block) {
        return Ok(Err(Omission::NotRecommended));
    }
    let Some(value) = shown.observable() else { return Ok(Err(Omission::Spelling)) };
    if !format.takes(value.kind()) {
        return Ok(Err(Omission::Kind));
    }
    if is_everyones(&value) {
        return Ok(Err(Omission::Everyones));
    }
    let (mut objected, mut repeated) = (false, false);
    let same = |other: &Shown| other.kind == shown.kind && other.value == shown.value;
    let position = found.position();
    found.others(&keys::value(&value), |other| {
        if same(&other.shown) {
            objected |= other.shown.objects();
            repeated |= other.asked && other.shown.blocks() && other.position < position;
        }
    })?;
    Ok(match (objected, repeated) {
        (true, _) => Err(Omission::Objected),
        (false, true) => Err(Omission::Repeated),
        (false, false) => list.value(&value, out),
    })
}
