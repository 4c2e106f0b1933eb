//! Decides how an answer is gone through: candidates in their order, each held
//! against what stands, what may be seen, and what was asked, the cheapest
//! first; a chunk of the log is read for those only that stand and, as far as
//! is known without it, may be seen.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::base::clock;
use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::model::query::{Order, Question};
use crate::policy::visibility::Purpose;
use crate::store::chunk::{Chunk, ItemHeader, ItemView};
use crate::wire::facts;

use super::super::caller::Caller;
use super::super::error::Error;
use super::super::fetch::damaged;
use super::super::shared::Shared;
use super::super::store_error;
use super::among::{self, Among};
use super::check::{self, Conditions};
use super::chunks::Chunks;
use super::later::{self, Later};
use super::lists::List;
use super::order::{self, Rank};
use super::plan::{self, Found, Plan, Tally};
use super::said::Said;
use super::sight::Sight;
use super::sighted::{self, Kept, Sighted};
use super::source::{Candidate, More, Source, Wanted};
use super::standing::Origin;

/// Most candidates that are looked at together.
const TOGETHER: usize = 128;
/// Fewest.
const FEW: usize = 16;
/// The part of the time of a page that may be spent before its first row.
const PLANNED: u32 = 4;

/// Where a walk begins or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What stands here is walked through.
    pub origin: Position,
    /// Past what it goes on; `None`: it begins.
    pub past: Option<Past>,
}

/// A place in the order of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Position that the order tells.
    pub position: Position,
    /// Bucket of the order.
    pub bucket: u32,
}

/// One version that stands, matches and may be seen.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it stands.
    pub position: Position,
    /// Its header.
    pub header: ItemHeader,
    /// Its body, as it is stored.
    pub body: Bytes,
    /// Class of its record today.
    pub class_now: ClassNo,
    rank: Rank,
}

/// A walk through the standing versions that answer a question.
pub struct Walk<'a> {
    pub(super) shared: &'a Shared,
    pub(super) sight: Sight<'a>,
    pub(super) order: Order,
    pub(super) origin: Origin,
    pub(super) asked: Conditions,
    except: Vec<Conditions>,
    /// Whether what is said by then is indexed.
    pub(super) indexed: bool,
    chunks: Chunks<'a>,
    sightings: RefCell<Kept<'a>>,
    source: Option<Source<'a>>,
    /// The records that alone may be asked for, where that is known.
    pub(super) among: Option<Among>,
    /// A range of terms in which everything lies, beside the lists that are
    /// walked.
    pub(super) beside: Option<List>,
    /// What is gathered if little is met without it, and the place for that.
    pub(super) later: Option<Later>,
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// Beyond this rank nothing is asked for.
    last: Option<Rank>,
    /// Candidates of which it is not known yet whether they stand, and how far
    /// they were taken.
    waiting: VecDeque<Candidate>,
    taken: Option<Rank>,
    of_records: bool,
    /// Candidates that stand.
    ready: VecDeque<Candidate>,
    together: usize,
    reached: Option<Rank>,
    /// How far candidates were taken.
    pulled: Option<Rank>,
    until: Option<Instant>,
    /// When the first row is to be looked for, be it another way.
    pub(super) planned_by: Option<Instant>,
    cut: Option<Past>,
    plan: Plan,
    tally: Tally,
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Walk({:?})", self.plan)
    }
}

impl<'a> Walk<'a> {
    /// A walk of one caller; it is over, or cut, after `time`, if that is
    /// given.
    ///
    /// # Errors
    /// `INDEX_BEHIND` where the order is that of an index which is not there
    /// yet, or a failure of the store.
    pub fn new(
        shared: &'a Shared,
        caller: &'a Caller,
        question: &Question,
        purpose: Purpose,
        place: Place,
        time: Option<Duration>,
    ) -> Result<Self, Error> {
        let sight = Sight::new(shared, caller, purpose, question.as_of.map(|_| place.origin));
        Self::of(shared, sight, question, place, time)
    }

    /// The same, of what the caller might see at the origin and may see today,
    /// whatever moment was asked about.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn as_stood(
        shared: &'a Shared,
        caller: &'a Caller,
        question: &Question,
        purpose: Purpose,
        place: Place,
        time: Option<Duration>,
    ) -> Result<Self, Error> {
        let at = place.origin;
        let sight = match question.as_of {
            Some(_) => Sight::new(shared, caller, purpose, Some(at)),
            None => Sight::going_on(shared, caller, purpose, at),
        };
        Self::of(shared, sight, question, place, time)
    }

    fn of(
        shared: &'a Shared,
        sight: Sight<'a>,
        question: &Question,
        place: Place,
        time: Option<Duration>,
    ) -> Result<Self, Error> {
        let wanted = check::with_states(&question.filter);
        // A walk that goes on holds against what it began with; one that asks
        // about a moment asks for what is the asker's own as he asks.
        let own_at = if question.as_of.is_none() { place.origin } else { shared.tail.committed() };
        let (directory, asker) = (sight.directory(), sight.viewer.org);
        let resolve = |filter| Conditions::resolve(shared, filter, directory, asker, own_at);
        let asked = resolve(&wanted)?;
        let except = question.filter.except.as_deref().map(check::apart).unwrap_or_default();
        let except = except.iter().map(resolve).collect::<Result<_, _>>()?;
        let order = question.order;
        let begun = clock::monotonic();
        let after = |part: u32| time.and_then(|time| begun.checked_add(time / part));
        let past = place.past.map(|past| Rank::from_parts(order, past.position, past.bucket));
        let mut walk = Self {
            shared,
            order,
            origin: Origin::new(shared, place.origin),
            asked,
            except,
            indexed: shared.index.upto() >= place.origin,
            chunks: Chunks::of(shared),
            sightings: RefCell::default(),
            source: None,
            among: None,
            beside: None,
            later: None,
            place: None,
            last: None,
            waiting: VecDeque::new(),
            taken: None,
            of_records: false,
            ready: VecDeque::new(),
            together: FEW,
            reached: None,
            pulled: None,
            until: after(1),
            planned_by: after(PLANNED),
            cut: None,
            plan: Plan::default(),
            tally: Tally::default(),
            sight,
        };
        let (source, plan) = plan::choose(&mut walk, past)?;
        walk.last = plan::last(&walk);
        (walk.source, walk.plan) = (Some(source), plan);
        Ok(walk)
    }

    /// The next row; `None` at the end, or where the time is up.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        loop {
            while let Some(candidate) = self.ready.pop_front() {
                self.reached = Some(candidate.rank);
                if let Some(row) = self.judge(candidate)? {
                    self.tally.rows += 1;
                    return Ok(Some(row));
                }
                if self.is_over() {
                    return Ok(None);
                }
            }
            // Whatever was pulled was looked at.
            self.reached = self.pulled.take().max(self.reached);
            let ended = self.source.is_none() && self.waiting.is_empty();
            if ended || self.is_over() {
                return Ok(None);
            }
            self.refill()?;
        }
    }

    /// Where the walk was cut because its time was up; `None`: it was not.
    #[must_use]
    pub const fn cut(&self) -> Option<Past> {
        self.cut
    }

    /// Where a walk goes on behind `row`.
    #[must_use]
    pub const fn behind(&self, row: &Row) -> Past {
        let (position, bucket) = row.rank.parts(self.order);
        Past { position, bucket }
    }

    /// How the rows were found.
    #[must_use]
    pub fn told(&self) -> Vec<plan::Step> {
        self.plan.told(&self.asked, !self.except.is_empty(), self.tally)
    }

    /// What stands here is walked through.
    #[must_use]
    pub const fn origin(&self) -> Position {
        self.origin.at
    }

    /// Goes over to the roster of today. To be done after a class was read.
    pub fn renew(&mut self) {
        self.sight.renew(self.shared);
    }

    /// Whether a version of `class` may be seen.
    #[must_use]
    pub fn sees(&self, class: ClassNo) -> bool {
        self.sight.sees(class)
    }

    /// Whether a record that is of `class` today may be seen.
    #[must_use]
    pub fn sees_now(&self, class: ClassNo) -> bool {
        self.sight.sees_now(class)
    }

    /// Whether the time is up, and something was looked at: the next page
    /// begins farther on.
    fn is_over(&mut self) -> bool {
        let over = self.until.is_some_and(|until| clock::monotonic() > until);
        if over {
            self.cut = self.reached.map(|rank| {
                let (position, bucket) = rank.parts(self.order);
                Past { position, bucket }
            });
        }
        over && self.cut.is_some()
    }

    /// Looks at some more candidates.
    fn refill(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty()
            && let Some(mut source) = self.source.take()
        {
            if let Some(sooner) = self.sooner()? {
                source = sooner;
            }
            let more = self.pull(&mut source)?;
            self.of_records = source.of_records();
            if source.settled() {
                self.ready.extend(self.waiting.drain(..));
                self.pulled = self.taken;
            }
            self.source = more.then_some(source);
        }
        if !self.waiting.is_empty() {
            return self.settle();
        }
        self.pulled = self.taken;
        Ok(())
    }

    /// Another way to what is left, once it is likely to be the shorter one.
    fn sooner(&mut self) -> Result<Option<Source<'a>>, Error> {
        match among::sorted(self, self.taken)? {
            None => later::gathered(self, self.taken),
            sorted => Ok(sorted),
        }
    }

    /// Takes some more candidates; whether there may be more.
    fn pull(&mut self, source: &mut Source<'a>) -> Result<bool, Error> {
        let (order, mut found) = (self.order, Vec::new());
        let known = |handle: Position| self.among.as_ref().is_none_or(|among| among.holds(handle));
        let version = |item: &ItemView<'_>| {
            // Of an index, the log tells only what is not in it.
            let unsaid = || facts::numbers(item.body).is_none_or(|said| order::is_unsaid(order, &said));
            known(item.header.handle)
                && self.sight.sees(item.header.class)
                && self.asked.header(item, || true)
                && (order::dimension(order).is_none() || unsaid())
        };
        let wanted = Wanted { record: &known, version: &version };
        let more = source.pull(order, self.together, wanted, &mut found)?;
        self.together = (self.together * 2).min(TOGETHER);
        let beyond = |rank: Rank| self.last.is_some_and(|last| rank > last);
        found.retain(|candidate| known(candidate.posting.handle) && !beyond(candidate.rank));
        self.waiting = found.into();
        Ok(match more {
            More::End => false,
            More::Past(rank) => {
                self.taken = Some(rank);
                !beyond(rank)
            }
        })
    }

    /// Keeps what stands at the origin, of what may be seen today: of as many
    /// of those that wait as there is time for.
    fn settle(&mut self) -> Result<(), Error> {
        let versions: Vec<_> = self.waiting.iter().map(|candidate| candidate.posting).collect();
        let standing = self.origin.of(self.shared, (&versions, self.of_records), self.until)?;
        self.sight.renew(self.shared);
        let settled = standing.len();
        for (mut candidate, standing) in self.waiting.drain(..settled).zip(standing) {
            self.pulled = Some(candidate.rank);
            let Some(at) = standing.at else { continue };
            if at != candidate.posting.position {
                if !self.of_records {
                    continue;
                }
                candidate.posting.position = at;
                candidate.chunk = None;
            }
            if standing.class_now.is_none_or(|class| self.sight.sees_now(class)) {
                candidate.class_now = standing.class_now;
                self.ready.push_back(candidate);
            }
        }
        if self.waiting.is_empty() {
            self.pulled = self.taken.max(self.pulled);
        }
        Ok(())
    }

    fn judge(&mut self, candidate: Candidate) -> Result<Option<Row>, Error> {
        let Candidate { rank, posting, chunk, class_now } = candidate;
        let at = posting.position;
        let chunk = match chunk {
            Some(chunk) => chunk,
            None => {
                let next = self.ready.iter().filter(|next| next.chunk.is_none());
                match self.chunks.at(at, next.map(|next| next.posting.position))? {
                    Some(chunk) => chunk,
                    None => return Ok(None),
                }
            }
        };
        let view = chunk.view().ok_or_else(|| damaged(at))?;
        let Some(item) = view.item(at) else {
            self.shared.store.gone(at).map_err(store_error)?;
            return Ok(None);
        };
        let class_now = class_now.unwrap_or(item.header.class);
        let mut tally = self.tally;
        let answers = self.holds(&item, class_now, rank.is_unsaid(), &mut tally)?;
        self.tally = tally;
        let row = || Row {
            position: at,
            header: item.header,
            body: chunk.bytes.slice_ref(item.body),
            class_now,
            rank,
        };
        Ok(answers.then(row))
    }

    /// Whether what stands somewhere, of a record that is of `class_now`
    /// today, may be seen and is asked for.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn answers(&self, item: &ItemView<'_>, class_now: ClassNo) -> Result<bool, Error> {
        self.holds(item, class_now, false, &mut Tally::default())
    }

    /// `unsaid`: it is to say nothing of what the order goes by.
    fn holds(
        &self,
        item: &ItemView<'_>,
        class_now: ClassNo,
        unsaid: bool,
        tally: &mut Tally,
    ) -> Result<bool, Error> {
        let (header, at) = (item.header, item.position);
        if !header.op.is_version() || !self.sight.sees(header.class) || !self.sight.sees_now(class_now) {
            return Ok(false);
        }
        let told = || self.sight.told(header.class, class_now);
        if !self.asked.header(item, told) {
            return Ok(false);
        }
        let said = Said::new(item.body, at);
        if unsaid && !order::is_unsaid(self.order, said.numbers()?) {
            return Ok(false);
        }
        let record = Sighted { handle: header.handle, class_now, origin: self.origin.at };
        let found = self.plan.found;
        tally.header += u64::from(found == Found::Headed);
        if !self.says(&self.asked, &said)? {
            return Ok(false);
        }
        tally.header += u64::from(found == Found::Said);
        tally.body += u64::from(found != Found::Sighted);
        if !self.was_sighted(&self.asked, record)? {
            return Ok(false);
        }
        if found == Found::Sighted {
            tally.header += 1;
            tally.body += 1;
        }
        tally.sighted += 1;
        for field in &self.except {
            if field.header(item, told) && self.says(field, &said)? && self.was_sighted(field, record)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn says(&self, conditions: &Conditions, said: &Said<'_>) -> Result<bool, Error> {
        if !conditions.ask_body() {
            return Ok(true);
        }
        conditions.body(said)
    }

    fn was_sighted(&self, conditions: &Conditions, record: Sighted) -> Result<bool, Error> {
        match &conditions.sightings {
            None => Ok(true),
            Some(wanted) => {
                sighted::is(self.shared, &self.sight, record, wanted, &mut self.sightings.borrow_mut())
            }
        }
    }

    /// The chunk that holds the version at a position; `None`: that was cut out.
    pub(super) fn chunk_at(&mut self, at: Position) -> Result<Option<Chunk>, Error> {
        self.chunks.at(at, std::iter::empty())
    }
}
