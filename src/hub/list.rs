//! Decides how a page of indicators is found: the newest version first, every
//! record that stood when the walk began, once, as it stood then.

use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::base::{clock, digest};
use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::model::query::IndicatorFilter;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::Chunk;
use crate::store::keys::Dimension;
use crate::store::log::PostingBlocks;
use crate::store::postings::Posting;
use crate::wire::token::{Place, Use};
use crate::wire::{disclosure, event};

use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::fetch::damaged;
use super::select::Terms;
use super::shared::Shared;
use super::source;
use super::store_error;

/// Largest page.
pub const MAX_PAGE: usize = 1_000;
/// How long one page is looked for; a page that is cut short by it has a token
/// and goes on where it stopped.
const PAGE_TIME: Duration = Duration::from_secs(1);
/// Bytes of a page after which it is closed.
const PAGE_BYTES: usize = 3 << 20;
const METHOD: &str = "ListIndicators";

/// A page of indicators, encoded `luytre.v1.Indicator` messages.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Newest version first.
    pub indicators: Vec<Bytes>,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
}

impl Hub {
    /// A page of the indicators that match and that the caller may see.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`, or a failure of the store.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: IndicatorFilter,
        page_size: usize,
        page_token: &str,
    ) -> Result<Page, Error> {
        let arguments = digest::sha256(format!("{filter:?}").as_bytes());
        let purpose = Use::Page { method: METHOD, arguments: &arguments };
        let to = caller.identity();
        let committed = self.shared.tail.committed();
        let place = if page_token.is_empty() {
            Place { position: committed.next(), origin: committed, ..Place::default() }
        } else {
            self.shared.tokens.open_text(to, purpose, page_token).map_err(|_| {
                Error::new(
                    Reason::PageTokenInvalid,
                    "the page_token is not from the page before of this same query; start again without one",
                )
            })?
        };
        let viewer = caller.clone();
        let size = page_size.clamp(1, MAX_PAGE);
        let (indicators, next) =
            self.blocking(move |shared| Walk::new(shared, &viewer, &filter, place)?.page(size)).await?;
        let next_page_token = match next {
            Some(position) => {
                let place = Place { position, ..place };
                self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?
            }
            None => String::new(),
        };
        Ok(Page { indicators, next_page_token })
    }
}

/// A walk back through the versions that might be on the page.
struct Walk<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    directory: std::sync::Arc<Directory>,
    terms: Terms,
    added_from: u64,
    origin: Position,
    source: Source<'a>,
    chunk: Option<Chunk>,
    stood: FxHashMap<Position, Position>,
}

/// Where candidates come from, newest first.
enum Source<'a> {
    Log { scan: crate::store::log::Scan<'a>, queue: Vec<Posting>, before: Position },
    Postings(Vec<Stream<'a>>),
}

/// The postings of one term, newest first.
struct Stream<'a> {
    blocks: PostingBlocks<'a>,
    block: Vec<Posting>,
}

impl Stream<'_> {
    fn peek(&mut self) -> Result<Option<Posting>, Error> {
        while self.block.is_empty() {
            match self.blocks.next_block().map_err(store_error)? {
                Some(block) => self.block = block,
                None => return Ok(None),
            }
        }
        Ok(self.block.last().copied())
    }
}

impl<'a> Walk<'a> {
    fn new(
        shared: &'a Shared,
        caller: &'a Caller,
        filter: &IndicatorFilter,
        place: Place,
    ) -> Result<Self, Error> {
        let directory = shared.directory.load_full();
        let mut wanted = filter.clone();
        if wanted.states.is_empty() {
            wanted.states.push(crate::model::indicator::State::Active);
        }
        let terms = Terms::resolve(&wanted, &directory);
        let before = match filter.added_to {
            Some(to) => {
                let end = shared.store.position_before_time(to.as_micros()).map_err(store_error)?.next();
                end.min(place.position)
            }
            None => place.position,
        };
        Ok(Self {
            source: Source::choose(shared, &terms, before)?,
            shared,
            caller,
            directory,
            terms,
            added_from: filter.added_from.map_or(0, clock::Timestamp::as_micros),
            origin: place.origin,
            chunk: None,
            stood: FxHashMap::default(),
        })
    }

    /// The page, and the position before which the next one begins. A token
    /// is given only where something that the caller may see follows, or
    /// where time is up: otherwise it would tell of what is hidden.
    fn page(mut self, size: usize) -> Result<(Vec<Bytes>, Option<Position>), Error> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        let begun = clock::monotonic();
        loop {
            let Some(candidate) = self.source.next()? else { return Ok((page, None)) };
            let next = Some(candidate.position.next());
            if begun.elapsed() > PAGE_TIME {
                return Ok((page, next));
            }
            match self.judge(candidate)? {
                Verdict::Past => return Ok((page, None)),
                Verdict::No => {}
                Verdict::Yes(_) if page.len() == size || bytes > PAGE_BYTES => return Ok((page, next)),
                Verdict::Yes(indicator) => {
                    bytes += indicator.len();
                    page.push(indicator);
                }
            }
        }
    }

    const fn viewer(&self) -> Viewer<'a> {
        Viewer { org: self.caller.org(), principal: self.caller.identity() }
    }

    /// Whether records of `class` are found. Who asks for owners finds none
    /// whose owner he is not told.
    fn sees(&self, class: ClassNo) -> bool {
        if self.terms.owners().is_some() {
            self.directory.discloses(self.viewer(), class, Purpose::Search)
        } else {
            self.directory.visible(self.viewer(), class, Purpose::Search)
        }
    }

    fn judge(&mut self, candidate: Posting) -> Result<Verdict, Error> {
        let at = candidate.position;
        let chunk = self.chunk_at(at)?;
        let view = chunk.view().ok_or_else(|| damaged(at))?;
        let item = view.items().flatten().find(|i| i.position == at).ok_or_else(|| damaged(at))?;
        if item.header.version < self.added_from {
            return Ok(Verdict::Past);
        }
        if !item.header.op.is_version() || !self.sees(item.header.class) || !self.terms.matches(&item) {
            return Ok(Verdict::No);
        }
        let latest = self.shared.store.latest(&[item.header.handle]).map_err(store_error)?.pop().flatten();
        self.shared.renew(&mut self.directory);
        let stood = match latest {
            None => true,
            Some(latest) if latest.newest == at => true,
            // Changed since the walk began: the version that stood then is
            // the newest one at or before its origin.
            Some(latest) if latest.newest > self.origin && self.sees(latest.class) => {
                self.stood_at_origin(item.header.handle, latest.newest)? == at
            }
            Some(_) => false,
        };
        if !stood {
            return Ok(Verdict::No);
        }
        let class = item.header.class;
        let class_now = latest.map_or(class, |latest| latest.class);
        let viewer = self.viewer();
        let source = source::Source::of(&self.directory, viewer, class, class_now, Purpose::Search);
        let indicator = event::subject(item.body).ok_or_else(|| damaged(at))?;
        let shown = source.show_indicator(chunk.bytes.slice_ref(indicator)).ok_or_else(|| damaged(at))?;
        let reclassed = self.shared.reclassed.read();
        let original = source::original(&self.directory, &reclassed, viewer, &item.header, Purpose::Search);
        Ok(Verdict::Yes(match original {
            Some(original) => disclosure::tell_original(&shown, self.shared.sealer.id(original)),
            None => shown,
        }))
    }

    /// The version of a record that stood when the walk began; found once per
    /// page, however many of its versions are candidates.
    fn stood_at_origin(&mut self, handle: Position, newest: Position) -> Result<Position, Error> {
        if let Some(known) = self.stood.get(&handle) {
            return Ok(*known);
        }
        let mut at = newest;
        while at > self.origin {
            let (header, _) = super::fetch::item(self.shared, at)?.ok_or_else(|| damaged(at))?;
            at = header.previous;
        }
        self.stood.insert(handle, at);
        Ok(at)
    }

    fn chunk_at(&mut self, at: Position) -> Result<Chunk, Error> {
        let holds =
            |chunk: &&Chunk| chunk.first <= at && chunk.view().is_some_and(|view| view.last_position() >= at);
        if let Some(chunk) = self.chunk.as_ref().filter(holds) {
            return Ok(chunk.clone());
        }
        let chunk = self.shared.store.chunk_at(at).map_err(store_error)?.ok_or_else(|| damaged(at))?;
        self.chunk = Some(chunk.clone());
        Ok(chunk)
    }
}

enum Verdict {
    Yes(Bytes),
    No,
    Past,
}

impl<'a> Source<'a> {
    /// The narrowest index that the filter allows: campaigns, families, labels,
    /// owners, kinds, roles, else the log itself.
    fn choose(shared: &'a Shared, terms: &Terms, before: Position) -> Result<Self, Error> {
        let chosen: Option<(Dimension, Vec<u64>)> = if let Some(rare) = terms.rare() {
            Some((Dimension::Label, rare.to_vec()))
        } else if let Some(owners) = terms.owners() {
            Some((Dimension::Owner, owners.iter().map(|owner| u64::from(owner.0)).collect()))
        } else if let Some(kinds) = terms.kinds() {
            Some((Dimension::Kind, kinds.into_iter().map(u64::from).collect()))
        } else {
            terms.roles().map(|roles| (Dimension::Label, roles.to_vec()))
        };
        let Some((dimension, all)) = chosen else {
            let from = Position::from_raw(before.raw().saturating_sub(1));
            let scan = shared.store.scan_back(from).map_err(store_error)?;
            return Ok(Self::Log { scan, queue: Vec::new(), before });
        };
        let open = |term| -> Result<Stream<'a>, Error> {
            let blocks = shared.store.postings_back(dimension, term, before).map_err(store_error)?;
            Ok(Stream { blocks, block: Vec::new() })
        };
        Ok(Self::Postings(all.into_iter().map(open).collect::<Result<_, _>>()?))
    }

    fn next(&mut self) -> Result<Option<Posting>, Error> {
        match self {
            Self::Log { scan, queue, before } => loop {
                if let Some(posting) = queue.pop() {
                    return Ok(Some(posting));
                }
                let Some(chunk) = scan.next_chunk().map_err(store_error)? else { return Ok(None) };
                let view = chunk.view().ok_or_else(|| damaged(chunk.first))?;
                for item in view.items() {
                    let item = item.ok_or_else(|| damaged(chunk.first))?;
                    if item.position < *before {
                        queue.push(Posting { position: item.position, handle: item.header.handle });
                    }
                }
            },
            Self::Postings(streams) => {
                let mut newest: Option<Posting> = None;
                for stream in streams.iter_mut() {
                    newest = newest.max(stream.peek()?);
                }
                // Several terms of one dimension may name the same version.
                for stream in streams.iter_mut() {
                    if newest.is_some() && stream.peek()? == newest {
                        stream.block.pop();
                    }
                }
                Ok(newest)
            }
        }
    }
}
