//! Decides which roster holds at a position of the log: each generation from
//! its own entry on.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use time::Date;

use crate::model::amendment::RosterChange;
use crate::model::audience::ClassNo;
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::roster::Roster;
use crate::policy::visibility::{self, Audience, Purpose, Viewer};
use crate::store::proto::entry_header::Change;
use crate::store::{Store, db, proto, roster_change};

use super::directory::Directory;

/// Past generations that are kept resolved: whoever replays goes through them
/// in order, and few replay at once.
const RESOLVED: usize = 16;

/// One roster generation.
#[derive(Debug, Clone)]
struct Generation {
    began: Position,
    date: Date,
    roster: Arc<Roster>,
}

/// Every roster generation of the log.
#[derive(Debug)]
pub struct Rosters {
    generations: RwLock<Vec<Generation>>,
    resolved: Mutex<VecDeque<Arc<Directory>>>,
}

impl Rosters {
    /// Reads every generation from the log.
    ///
    /// # Errors
    /// If an entry is missing or damaged, or the store fails.
    pub fn load(
        store: &Store,
        genesis: (Position, Date),
        roster: Roster,
        generations: &[(Position, Date)],
    ) -> Result<Self, db::Error> {
        let mut roster = Arc::new(roster);
        let mut all = vec![Generation { began: genesis.0, date: genesis.1, roster: Arc::clone(&roster) }];
        for &(began, _) in generations {
            let damaged = || db::Error::corrupt("roster generation", began);
            let chunk = store.chunk_at(began)?.ok_or_else(damaged)?;
            let change = change(chunk.view().and_then(|view| view.entry_header)).ok_or_else(damaged)?;
            let RosterChange { patch, date, .. } = roster_change::decode_change(&change)?;
            if !patch.is_empty() {
                Arc::make_mut(&mut roster).apply(patch);
            }
            all.push(Generation { began, date, roster: Arc::clone(&roster) });
        }
        Ok(Self { generations: RwLock::new(all), resolved: Mutex::default() })
    }

    /// Notes that `directory` began a generation.
    pub fn push(&self, directory: &Directory) {
        let mut generations = self.generations.write();
        let (began, date) = (directory.generation(), directory.date());
        let roster = match generations.last() {
            // A mere turn of the day: the roster is the same.
            Some(last) if *last.roster == *directory.roster() => Arc::clone(&last.roster),
            _ => Arc::new(directory.roster().clone()),
        };
        generations.push(Generation { began, date, roster });
    }

    /// The directory as it was at `position`; `now` is that of today.
    #[must_use]
    pub fn at(&self, position: Position, now: &Arc<Directory>) -> Arc<Directory> {
        if position >= now.generation() {
            return Arc::clone(now);
        }
        let generation = {
            let generations = self.generations.read();
            let after = generations.partition_point(|generation| generation.began <= position);
            let Some(generation) = generations.get(after.saturating_sub(1)) else { return Arc::clone(now) };
            generation.clone()
        };
        if generation.began == now.generation() {
            // Before the beginning. What is kept below must know every class of
            // its generation, and this one still gets new ones.
            return Arc::clone(now);
        }
        let known = |resolved: &VecDeque<Arc<Directory>>| {
            resolved.iter().find(|known| known.generation() == generation.began).cloned()
        };
        if let Some(known) = known(&self.resolved.lock()) {
            return known;
        }
        // Made without the lock, for others wait behind it.
        let made = Arc::new(now.under(Arc::clone(&generation.roster), generation.began, generation.date));
        let mut resolved = self.resolved.lock();
        if let Some(known) = known(&resolved) {
            return known;
        }
        resolved.truncate(RESOLVED - 1);
        resolved.push_front(Arc::clone(&made));
        made
    }

    /// Whether `viewer` might see what was of `class` while it stood, at any of
    /// these positions: [`saw_then`] of each generation of that time. `now` is
    /// the directory of today. For a look at few classes of many generations,
    /// which need not be resolved in full.
    #[must_use]
    pub fn saw_while(
        &self,
        stood: RangeInclusive<Position>,
        now: &Directory,
        viewer: Viewer<'_>,
        class: ClassNo,
        purpose: Purpose,
    ) -> bool {
        let generations: Vec<_> = {
            let all = self.generations.read();
            let at = |position: Position| all.partition_point(|generation| generation.began <= position);
            let first = at(*stood.start()).saturating_sub(1);
            all.get(first..at(*stood.end())).unwrap_or_default().to_vec()
        };
        let number = |slug: &OrgSlug| now.number(slug);
        generations.iter().rev().any(|Generation { began, date, roster }| {
            if *began == now.generation() {
                return saw_then(now, viewer, class, purpose);
            }
            took_part(roster, *date, viewer)
                && now.class(class).is_some_and(|class| {
                    let audience = Audience::resolve(&class.definition, roster, *date, number);
                    visibility::visible(viewer, &audience, purpose)
                })
        })
    }

    /// Where the generation after the one at `position` begins.
    #[must_use]
    pub fn next(&self, position: Position) -> Option<Position> {
        let generations = self.generations.read();
        let after = generations.partition_point(|generation| generation.began <= position);
        generations.get(after).map(|generation| generation.began)
    }
}

/// Whether `viewer` might see, under the roster of a past moment, what was of
/// `class` then. This is the one rule of history, in lists, versions, dossiers
/// and exports: a version is shown to whom the roster and the class of then, and
/// the roster of today and the class of its record today, let see it. To who did
/// not take part yet, nothing was shown then, not even what was for everyone.
#[must_use]
pub fn saw_then(then: &Directory, viewer: Viewer<'_>, class: ClassNo, purpose: Purpose) -> bool {
    took_part(then.roster(), then.date(), viewer) && then.visible(viewer, class, purpose)
}

fn took_part(roster: &Roster, date: Date, viewer: Viewer<'_>) -> bool {
    roster.exists(viewer.principal.org(), date)
}

/// The change of the roster that an entry header tells of.
fn change(header: Option<&[u8]>) -> Option<proto::RosterChange> {
    match proto::EntryHeader::decode(header?).ok()?.change? {
        Change::Roster(change) => Some(change),
        _ => None,
    }
}
