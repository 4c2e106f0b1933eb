//! Decides how the state below a base is made again from what is left there:
//! what a version that stands says, whatever led to it. Of entries that change
//! no indicators all is left, and they are applied as ever.

use crate::model::indicator::State;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::store::chunk::{Chunk, ItemView, Op};
use crate::store::keys::Dimension;
use crate::store::leave::LeaveKey;
use crate::store::postings::Posting;
use crate::store::record::{Assertion, Latest};
use crate::store::sightings::Sighting;
use crate::store::{Store, db};
use crate::wire::{event, facts};

use super::super::apply::{Entry, value_keys};
use super::super::group::Group;
use super::super::proposal::ProposedLeave;
use super::sweep::tells_of_dropped;

impl Group<'_> {
    /// Takes an entry as it stands in `store`, whatever it was made of; `None`:
    /// its beginning was cut out, which says whose it is.
    pub(in super::super) fn reload(
        &mut self,
        store: &Store,
        chunks: &[Chunk],
        author: Option<&str>,
    ) -> Result<(), db::Error> {
        for chunk in chunks {
            let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", chunk.first))?;
            for item in view.items() {
                let item = item.ok_or_else(|| db::Error::corrupt("item", chunk.first))?;
                self.last_version = self.last_version.max(item.header.version);
                match item.header.op {
                    op if op.is_version() => self.reload_version(store, &item)?,
                    _ if tells_of_dropped(store, &item)? => {}
                    Op::Sight => {
                        let outcome = facts::outcome(item.body);
                        let outcome = outcome.ok_or_else(|| db::Error::corrupt("item", item.position))?;
                        self.post_sighting(&Sighting::of(&item.header, item.position, outcome, item.body));
                    }
                    Op::Notice => {
                        let other = Position::from_raw(item.header.digest);
                        let posting = Posting { position: item.position, handle: other };
                        self.postings.add(Dimension::Collision, item.header.previous.raw(), posting);
                    }
                    Op::Held => self.reload_held(&item, author)?,
                    Op::Contain => self.reload_containment(&item, author)?,
                    _ => {}
                }
            }
            self.chunks.push(chunk.clone());
        }
        Ok(())
    }

    fn reload_version(&mut self, store: &Store, item: &ItemView<'_>) -> Result<(), db::Error> {
        let (header, at) = (item.header, item.position);
        self.set_held_aside(&header)?;
        self.settle_containment(header.handle, header.op)?;
        let before = version_at(store, header.previous)?;
        for key in before.map(|body| value_keys(&body)).transpose()?.unwrap_or_default() {
            self.edit(&key, |all| all.retain(|known| known.handle != header.handle))?;
        }
        for (place, key) in value_keys(item.body)?.iter().enumerate() {
            let (owner, handle, class) = (header.owner, header.handle, header.class);
            let (alias, state, digest) = (place > 0, header.state, header.digest);
            let said = Assertion { owner, handle, newest: at, class, state, alias, digest };
            self.edit(key, |all| {
                all.retain(|known| known.handle != handle);
                all.push(said);
                all.sort_unstable_by_key(|known| (known.owner, known.handle));
            })?;
        }
        if at != header.handle {
            let stored = store.latest(&[header.handle])?.pop().flatten();
            // Whether it ever changed is nowhere else.
            let reclassed = stored.is_some_and(|latest| latest.reclassed);
            let latest = Latest { newest: at, class: header.class, state: header.state, reclassed };
            self.know(header.handle, latest);
        }
        self.post(&header, at, &item.terms().collect::<Vec<_>>());
        let posting = Posting { position: at, handle: header.handle };
        let until = event::valid_until(item.body).ok_or_else(|| db::Error::corrupt("body", at))?;
        let published = matches!(header.op, Op::Create | Op::Update | Op::Reinstate);
        let late = header.op == Op::Update && header.state == State::Expired && !header.lapsed;
        match until {
            Some(until) if published && header.state == State::Active => self.hold(header.handle, at, until),
            _ if late || !published => {
                self.postings.add(Dimension::Terminal, u64::from(header.state.number()), posting);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes leave as it was said, which was judged by records that are gone.
    pub(in super::super) fn reload_leave(
        &mut self,
        store: &Store,
        asked: &ProposedLeave,
        entry: &Entry<'_>,
    ) -> Result<(), db::Error> {
        let newest = store.latest(&[asked.indicator])?.pop().flatten();
        let newest = newest.map_or(asked.indicator, |latest| latest.newest);
        let chunk = store.chunk_at(newest)?.ok_or_else(|| db::Error::corrupt("item", newest))?;
        let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", newest))?;
        let item = view.item(newest);
        let owner = item.ok_or_else(|| db::Error::corrupt("item", newest))?.header.owner;
        let author = SpiffeId::parse(entry.author).map_err(|_| db::Error::corrupt("author", entry.seq))?;
        let key = LeaveKey { owner, indicator: asked.indicator, organisation: asked.organisation };
        self.settle_leave(key, asked, &author, entry.time).map(drop)
    }
}

/// The body of the version at a position, if it is left.
fn version_at(store: &Store, at: Position) -> Result<Option<Vec<u8>>, db::Error> {
    if at == Position::ZERO {
        return Ok(None);
    }
    let Some(chunk) = store.chunk_at(at)? else { return Ok(None) };
    let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", at))?;
    let item = view.item(at).filter(|item| item.header.op.is_version());
    Ok(item.map(|item| item.body.to_vec()))
}
