//! Decides what goes out as a file: in constant memory, the same bytes for the
//! same reader, filter, format and position, whatever happens meanwhile.
//!
//! An export goes over the indicators twice. The first time it finds out what
//! is to be said at the head, the narrowest label within, and, where the reader
//! has a file already, whether it would get the same; the second time it
//! writes. Nothing is kept in between, and no snapshot is pinned: every version
//! is stored, so what stood at a position can be told at any time.
//!
//! What the reader may not see shows nowhere: the content is made of what he
//! sees, pieces are cut by its length, the etag is a digest of it, and the
//! position leaves the hub sealed.

mod pass;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::digest;
use crate::interop::export::{Head, serial_at};
use crate::model::export::{Format, Omitted};
use crate::model::marking::Tlp;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::query::{IndicatorFilter, Question};
use crate::wire::convert::filter;
use crate::wire::token::{Place, Use};

use super::budget::Account;
use super::caller::Caller;
use super::engine::{Hub, draining};
use super::error::{Error, Reason};
use super::query;
use super::shared::Shared;
use pass::Pass;
use walk::Walk;

/// Bytes of a piece of the content.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Indicators found between two words of progress.
const PROGRESS: u64 = 50_000;
const METHOD: &str = "ExportIndicators";

/// What is to be exported.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which indicators.
    pub filter: IndicatorFilter,
    /// As what.
    pub format: Format,
    /// The etag of the file that the reader has.
    pub if_none_match: Option<[u8; 32]>,
    /// Of which position; empty: of now.
    pub position_token: String,
    /// Bytes of the content that the reader has.
    pub offset: u64,
}

/// What the content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// In which format.
    pub format: Format,
    /// The narrowest label within; none: nothing is.
    pub tlp: Option<Tlp>,
    /// Stands for the position.
    pub position_token: String,
}

/// What the content was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// SHA-256 over all of it.
    pub sha256: [u8; 32],
    /// The same, but for the number of the state.
    pub etag: [u8; 32],
    /// Indicators or values within.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// What is not within.
    pub omitted: Omitted,
    /// Cells that were kept from reading as formulas.
    pub defused: u64,
}

/// A piece of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// Indicators found so far, before the opening.
    Progress(u64),
    /// The reader's file is as it would be.
    Unchanged,
    /// What follows.
    Opening(Opening),
    /// A piece of the content.
    Chunk(Bytes),
    /// What it was.
    Closing(Closing),
}

impl Hub {
    /// Begins an export.
    ///
    /// # Errors
    /// `FIELD_INVALID` for what no file of the format holds,
    /// `PAGE_TOKEN_INVALID`.
    pub fn export(&self, caller: &Caller, wanted: Wanted) -> Result<Export, Error> {
        let Wanted { filter, format, if_none_match, position_token, offset } = wanted;
        format.check(&filter)?;
        let asked = filter::digest(&Question::new(filter.clone()));
        let arguments = digest::sha256(&[asked.as_slice(), &[format.number()]].concat());
        let purpose = Use::Page { method: METHOD, arguments: &arguments };
        let tokens = &self.shared.tokens;
        let (origin, serial) = if position_token.is_empty() {
            (self.shared.tail.committed(), serial_at(self.now()))
        } else {
            let place = tokens.open_text(caller.identity(), purpose, &position_token).map_err(|_| {
                Error::new(
                    Reason::PageTokenInvalid,
                    "the position_token is not of an export of this same filter and format; start again without one",
                )
            })?;
            (place.origin, place.class)
        };
        // The number of the state stands where other walks have their class.
        let place = Place { origin, class: serial, ..Place::default() };
        let position_token = tokens.seal_text(caller.identity(), purpose, place).map_err(Error::internal)?;
        let walk = Walk::new(caller, &filter, origin);
        let asks_index = walk.asks_index();
        let pass = Pass::new(walk, format, &filter);
        let survey = Stage::Survey(if_none_match);
        let plan = Plan { filter, format, origin, serial, position_token, offset };
        Ok(Export {
            shared: Arc::clone(&self.shared),
            organisation: caller.org(),
            account: self.account(caller),
            plan,
            asks_index,
            pass: Some(pass),
            stage: survey,
            ready: VecDeque::new(),
            told: 0,
        })
    }
}

/// What an export follows.
#[derive(Debug)]
struct Plan {
    filter: IndicatorFilter,
    format: Format,
    origin: Position,
    serial: u32,
    position_token: String,
    offset: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It finds out what is to be said; the reader may have this content.
    Survey(Option<[u8; 32]>),
    /// It writes.
    Write,
    /// It is over.
    Over,
}

/// An export on its way: it goes on as its pieces are asked for.
#[derive(Debug)]
pub struct Export {
    shared: Arc<Shared>,
    organisation: OrgNo,
    account: Account,
    plan: Plan,
    /// Whether it has yet to wait for the index.
    asks_index: bool,
    pass: Option<Pass>,
    stage: Stage,
    ready: VecDeque<Exported>,
    told: u64,
}

impl Export {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// A failure of the store, or the hub is going down.
    pub async fn next(&mut self) -> Result<Option<Exported>, Error> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.stage == Stage::Over {
                return Ok(None);
            }
            self.step().await?;
        }
    }

    /// One stride, on a thread for such work.
    async fn step(&mut self) -> Result<(), Error> {
        self.shared.receipts.room().await;
        let turn = self.turn().await?;
        let Some(mut pass) = self.pass.take() else { return Ok(()) };
        // What nobody compares need not be written.
        let writes = self.stage != Stage::Survey(None);
        let stride = move |shared: &Arc<Shared>| {
            let _turn = turn;
            let over = pass.stride(shared, writes)?;
            Ok((pass, over))
        };
        let (pass, over) = match self.shared.read(stride).await {
            Ok(done) => done,
            Err(error) => {
                self.stage = Stage::Over;
                return Err(error);
            }
        };
        self.pass = Some(pass);
        match self.stage {
            Stage::Survey(has) => {
                self.surveyed(has, over);
                Ok(())
            }
            Stage::Write => self.written(over),
            Stage::Over => Ok(()),
        }
    }

    /// Waits for a place of its organisation: every stride takes one, so that
    /// however many exports there are, others find places to read. The first
    /// one waits for the index as well, if it is asked: what that does not hold
    /// by then is found in the log.
    async fn turn(&mut self) -> Result<query::Turn, Error> {
        let shared = Arc::clone(&self.shared);
        let turn = async {
            if self.asks_index {
                shared.index.reached(self.plan.origin).await;
                self.asks_index = false;
            }
            shared.turn(self.organisation, &self.account).await
        };
        shared.draining.run_until_cancelled(turn).await.ok_or_else(draining)?
    }

    fn surveyed(&mut self, has: Option<[u8; 32]>, over: bool) {
        let Some(pass) = &mut self.pass else { return };
        if !over {
            if pass.found / PROGRESS > self.told {
                self.told = pass.found / PROGRESS;
                self.ready.push_back(Exported::Progress(self.told * PROGRESS));
            }
            return;
        }
        let Plan { filter, format, serial, position_token, offset, .. } = &self.plan;
        let head = Head { tlp: pass.tlp, serial: *serial };
        if has.is_some() && has == Some(pass.etag(head)) {
            self.stage = Stage::Over;
            self.ready.push_back(Exported::Unchanged);
            return;
        }
        let opening = Opening { format: *format, tlp: head.tlp, position_token: position_token.clone() };
        self.ready.push_back(Exported::Opening(opening));
        let mut write = Pass::new(pass.walk.again(), *format, filter);
        write.begin(head, *offset);
        self.pass = Some(write);
        self.stage = Stage::Write;
    }

    fn written(&mut self, over: bool) -> Result<(), Error> {
        let Some(pass) = &mut self.pass else { return Ok(()) };
        // A portion of what the file holds; its opening is on record.
        self.shared.note_told(pass.walk.trail(), None);
        // Full pieces only, whatever a stride brought: how far it came tells of
        // what it passed over.
        self.ready.extend(pass.pieces(over).map(Exported::Chunk));
        if over && let Some(pass) = self.pass.take() {
            self.stage = Stage::Over;
            self.ready.push_back(Exported::Closing(pass.close()?));
        }
        Ok(())
    }
}
