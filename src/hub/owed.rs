//! Decides which owners are still to be told that another published a value
//! which they hold hidden from it.
//!
//! The publisher must learn nothing. So its request is applied, committed and
//! answered before anyone looks for collisions; the look is at what the group
//! has in hand already and reads nothing; and the notices are an entry of the
//! hub's own in a later commit, which no request shares: whoever published next
//! would be answered later. What is owed survives a crash because it
//! follows from the log: each commit, whether anybody is owed anything or not,
//! writes from which entry on notices are owed, and a hub that starts looks
//! at the log from there. A record of the very collisions in the publisher's
//! own batch would have been shorter, and would have made that batch larger
//! where something hidden was hit. For the same reason a commit follows every
//! publication after a while, with or without a notice in it.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message as _;

use crate::model::audience::ClassNo;
use crate::model::indicator::State;
use crate::model::marking::Tlp;
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::model::principal::SpiffeId;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::{Op, View};
use crate::store::proto::entry_header::Change as Stored;
use crate::store::record::Assertion;
use crate::store::{Batch, Store, db, proto};

use super::apply::value_keys;
use super::directory::Directory;
use super::group::Values;
use super::proposal::{Change, Collision};

/// Most collisions that wait in memory; what is past them is looked for in
/// the log again.
const MAX_WAITING: usize = 65_536;
/// Most notices in one commit: whoever publishes next waits for it. As many as
/// a request has items, so that guesses in one request cost one commit, however
/// many of them hit.
const MAX_AT_ONCE: usize = 1_000;
/// Most items of the log that are looked at before the writer goes on.
const MAX_LOOKED: usize = 1_000;
/// Name of the meta record that says from which entry on notices are owed.
const RECORD: &str = "notices";

/// What owners are owed.
#[derive(Debug)]
pub struct Owed {
    /// Collisions, and the entries that made them, in the log's order.
    waiting: VecDeque<(Seq, Collision)>,
    /// The first entry that has not been looked at.
    next: Seq,
    /// Whether entries must be looked at in the log: after a start, and once
    /// more waited than may.
    behind: bool,
    /// From which entry on notices are owed, as it is stored.
    stored: Option<Seq>,
    /// How long after a publication its notices are written.
    delay: Duration,
}

/// What a commit group published, once it is answered.
#[derive(Debug)]
pub struct Published<'a> {
    /// The values that the group looked at; changed ones are marked.
    pub values: &'a Values,
    /// Who published, by entry, in order.
    pub authors: &'a [(Seq, SpiffeId)],
    /// Who is who after the group.
    pub directory: &'a Directory,
    /// The first entry after the group.
    pub next: Seq,
}

impl Owed {
    /// What is owed according to the log, as far as it may wait in memory.
    ///
    /// # Errors
    /// If the log is damaged, or the store fails.
    pub fn load(store: &Store, directory: &Directory, delay: Duration) -> Result<Self, db::Error> {
        let stored = match store.meta(RECORD)?.as_deref().map(<[u8; 8]>::try_from) {
            None => None,
            Some(Ok(raw)) => Some(Seq::from_raw(u64::from_be_bytes(raw))),
            Some(Err(_)) => return Err(db::Error::corrupt("meta", RECORD)),
        };
        let next = stored.unwrap_or_default();
        let mut owed = Self { waiting: VecDeque::new(), next, behind: true, stored, delay };
        while owed.behind && owed.has_room() {
            owed.catch_up(store, directory)?;
        }
        Ok(owed)
    }

    /// How long after a publication its notices are written.
    #[must_use]
    pub const fn delay(&self) -> Duration {
        self.delay
    }

    /// Whether anything is to be written.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.behind || !self.waiting.is_empty() || self.stored != Some(self.from())
    }

    /// Whether more is owed than the last commit told of.
    #[must_use]
    pub fn more(&self) -> bool {
        self.behind || !self.waiting.is_empty()
    }

    /// The first entry from which on notices are owed.
    fn from(&self) -> Seq {
        self.waiting.front().map_or(self.next, |(entry, _)| *entry)
    }

    /// What is to be told next.
    pub fn take(&mut self) -> Option<Change> {
        let some = self.waiting.len().min(MAX_AT_ONCE);
        let collisions: Vec<_> = self.waiting.drain(..some).map(|(_, collision)| collision).collect();
        (!collisions.is_empty()).then_some(Change::Notice(collisions))
    }

    /// Writes from which entry on notices are owed.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn write_to(&mut self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        let from = self.from();
        self.stored = Some(from);
        batch.meta(RECORD, &from.raw().to_be_bytes())
    }

    /// Looks for collisions in what a group published.
    pub fn look(&mut self, published: &Published<'_>) {
        if self.behind {
            return;
        }
        let author = |entry: Seq| {
            let place = published.authors.binary_search_by_key(&entry, |(entry, _)| *entry).ok()?;
            published.authors.get(place).map(|(_, author)| author)
        };
        let mut found: Vec<(Seq, Collision)> = Vec::new();
        for (all, changed) in published.values.values() {
            if !changed || all.len() < 2 {
                continue;
            }
            for assertion in all.iter().filter(|assertion| assertion.state == State::Active) {
                let entry = assertion.newest.seq();
                let Some(author) = author(entry) else { continue };
                let publication = Publication {
                    author,
                    owner: assertion.owner,
                    handle: assertion.handle,
                    at: assertion.newest,
                    class: assertion.class,
                };
                found.extend(
                    publication.collisions(all, published.directory).map(|collision| (entry, collision)),
                );
            }
        }
        if self.waiting.len() + found.len() > MAX_WAITING {
            self.behind = true;
            return;
        }
        // The map has no order, and the first waiting one says what is owed.
        found.sort_unstable();
        self.waiting.extend(found);
        self.next = published.next;
    }

    /// Notes that the entry before `next` is the hub's own and tells of what
    /// was owed: there is nothing in it to look at.
    pub const fn told(&mut self, next: Seq) {
        if !self.behind {
            self.next = next;
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING / 2
    }

    /// Looks at entries in the log, some at a time, where it must.
    ///
    /// # Errors
    /// If the log is damaged, or the store fails.
    pub fn catch_up(&mut self, store: &Store, directory: &Directory) -> Result<(), db::Error> {
        if !self.behind || !self.has_room() {
            return Ok(());
        }
        let mut scan = store.scan(Position::from_raw(self.next.at(0).raw().saturating_sub(1)))?;
        let (mut author, mut looked) = (None, 0);
        while let Some(chunk) = scan.next_chunk()? {
            if chunk.first.seq() < self.next {
                continue;
            }
            let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", chunk.first))?;
            if let Some(header) = view.entry_header {
                if looked >= MAX_LOOKED {
                    self.next = chunk.first.seq();
                    return Ok(());
                }
                author = publisher(header).ok_or_else(|| db::Error::corrupt("entry", chunk.first))?;
            }
            if let Some(author) = &author {
                self.look_at(&view, author, store, directory)?;
            }
            looked += usize::from(view.count).max(1);
            if view.last {
                self.next = chunk.first.seq().next();
            }
        }
        self.behind = false;
        Ok(())
    }

    fn look_at(
        &mut self,
        view: &View<'_>,
        author: &SpiffeId,
        store: &Store,
        directory: &Directory,
    ) -> Result<(), db::Error> {
        for item in view.items() {
            let item = item.ok_or_else(|| db::Error::corrupt("item", view.first))?;
            let published = matches!(item.header.op, Op::Create | Op::Update | Op::Reinstate);
            if !published || item.header.state != State::Active {
                continue;
            }
            let publication = Publication {
                author,
                owner: item.header.owner,
                handle: item.header.handle,
                at: item.position,
                class: item.header.class,
            };
            for all in store.assertions(&value_keys(item.body)?)? {
                let found = publication.collisions(&all, directory);
                self.waiting.extend(found.map(|collision| (item.position.seq(), collision)));
            }
        }
        Ok(())
    }
}

/// Who published by the entry of this header; `None` within: nobody.
fn publisher(header: &[u8]) -> Option<Option<SpiffeId>> {
    let header = proto::EntryHeader::decode(header).ok()?;
    Some(match header.change? {
        Stored::Publish(_) => Some(SpiffeId::parse(&header.author).ok()?),
        _ => None,
    })
}

/// A version that was published.
#[derive(Debug, Clone, Copy)]
struct Publication<'a> {
    author: &'a SpiffeId,
    owner: OrgNo,
    handle: Position,
    at: Position,
    class: ClassNo,
}

impl<'a> Publication<'a> {
    /// The records among `all` of its value that stood before it, of other
    /// owners, and that its author may neither find nor get. Of a TLP:RED
    /// record nobody is told: that it exists is for its named persons, and
    /// whoever guesses values would hear when one of them is hit.
    fn collisions<'b>(
        self,
        all: &'b [Assertion],
        directory: &'b Directory,
    ) -> impl Iterator<Item = Collision> + use<'a, 'b> {
        let viewer = Viewer { org: self.owner, principal: self.author };
        let hidden = move |class| {
            let sees = |purpose| directory.visible(viewer, class, purpose);
            !sees(Purpose::Search) && !sees(Purpose::Get)
        };
        let silent = directory.tlp(self.class) == Tlp::Red;
        all.iter()
            .filter(move |held| !silent && held.owner != self.owner && held.state == State::Active)
            .filter(move |held| held.handle < self.at && hidden(held.class))
            .map(move |held| Collision { record: held.handle, other: self.handle })
    }
}
