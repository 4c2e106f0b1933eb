//! Decides the order of everything: one writer drains what waits into a commit
//! group, applies it, commits with one fsync, and only then answers. The first
//! failure latches it read-only for good.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prost::Message as _;
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::base::{clock, random, tasks};
use crate::model::position::Seq;
use crate::model::principal::SpiffeId;
use crate::store::requests::{self, RequestKey};
use crate::store::{Batch, db, proto};

use super::answered;
use super::apply::Entry;
use super::audit::laying::Laying;
use super::beside::Beside;
use super::caller::Caller;
use super::certificates;
use super::directory::Directory;
use super::error::{Error, Reason};
use super::expire::expiry_fence;
use super::group::{Group, Values};
use super::lanes::{Exit, Lanes, Probe, Taken};
use super::merger::Offer;
use super::owed::{Owed, Published};
use super::proposal::{Answered, Change, Decision, Proposal};
use super::receipts::book::Book;
use super::shared::Shared;
use super::stored;
use super::work::{DeadMan, Start, read_only};

/// A commit group is closed once it weighs this much; it holds one request at
/// least.
const GROUP_BYTES: usize = 4 << 20;
/// Most requests in a commit group.
const GROUP_REQUESTS: usize = 4_096;
/// How long a cursor waits for company.
const CURSOR_DELAY: Duration = Duration::from_millis(100);
/// Up to so many answers the writer sends by itself.
const ANSWERS_AT_ONCE: usize = 4;
/// So many steps more than requests are answered, old ones are forgotten with
/// one commit.
const FORGET_PER_GROUP: usize = 8;

/// The writer's own state.
pub struct Writer {
    shared: Arc<Shared>,
    lanes: Exit,
    requests: requests::Index,
    next: Seq,
    last_version: u64,
    /// What owners are to be told.
    owed: Owed,
    /// When that is to be written, if anything is.
    due: Option<Instant>,
    /// Merges of postings: one waits at most, and goes with the next commit.
    offers: mpsc::Receiver<Offer>,
    offer: Option<Offer>,
    /// Where they are offered, until the writer runs.
    offered: Option<mpsc::Sender<Offer>>,
    /// Key of the first value that is not known in memory yet, if any.
    unread: Option<Vec<u8>>,
    /// The hour before which everything that had to has expired.
    fence: u64,
    /// The runtime that the callers wait on, where there is one.
    callers: Option<Handle>,
    /// The audit, as far as it is laid down.
    laying: Laying,
    /// Receipts, as far as they are laid down.
    book: Book,
    /// Whether nothing but the audit and receipts is written.
    quiet: bool,
    /// The group of answered requests that was last asked for.
    replayed: Option<(u64, proto::RequestGroup)>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer(next {:?})", self.next)
    }
}

/// A request of a group: answered with its decisions once all is durable.
struct Answer {
    reply: oneshot::Sender<Result<Answered, Error>>,
    result: Result<Answered, Error>,
}

/// What a group wrote that owners may have to be told of.
struct Wrote {
    values: Values,
    authors: Vec<(Seq, SpiffeId)>,
    directory: Arc<Directory>,
}

impl Writer {
    /// A writer that goes on after what is stored.
    #[must_use]
    pub fn new(shared: Arc<Shared>, lanes: Arc<Lanes>, requests: requests::Index, start: Start) -> Self {
        let (offered, offers) = mpsc::channel(1);
        Self {
            offered: Some(offered),
            offers,
            offer: None,
            shared,
            lanes: Exit(lanes),
            requests,
            next: start.next,
            last_version: start.last_version,
            fence: start.fence,
            unread: start.unread,
            owed: start.owed,
            laying: start.laying,
            book: start.book,
            quiet: false,
            due: None,
            callers: Handle::try_current().ok(),
            replayed: None,
        }
    }

    /// Works until told to stop, or until nobody can ask any more. Whoever
    /// said stop hears of it once the writer holds the store no longer.
    pub async fn run(mut self) {
        let watch = DeadMan::new(Arc::clone(&self.shared));
        let beside =
            self.offered.take().map(|offered| Beside::start(&self.shared, offered, self.unread.take()));
        let stop = self.work().await;
        self.shared.shut();
        if let Some(beside) = beside {
            beside.end().await;
        }
        watch.stand_down();
        // Whoever is told may end the process at once, and the engine under
        // the store aborts if it is still being closed by then.
        drop(self);
        if let Some(stop) = stop {
            // Nobody may wait for the answer any more.
            let _ = stop.send(());
        }
    }

    async fn work(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                // Before the work: under load there is always some.
                () = tokio::time::sleep_until(due.unwrap_or_else(clock::monotonic).into()), if due.is_some() => {
                    self.commit_alone();
                    self.due = self.owed.more().then(|| clock::monotonic() + self.owed.delay() / 10);
                }
                more = self.lanes.0.ready() => {
                    if !more {
                        self.shared.receipts.hurry();
                        self.commit_quietly();
                        return None;
                    }
                    if let Some(stop) = self.group() {
                        return Some(stop);
                    }
                },
                () = self.shared.cursors.changed() => {
                    // Company may come: a commit group that is under way
                    // takes the cursors along.
                    let company = tokio::select! {
                        biased;
                        more = self.lanes.0.ready() => more,
                        // An answer waits for its record.
                        () = self.shared.audit.journal.urgent() => { self.commit_quietly(); continue }
                        () = tokio::time::sleep(CURSOR_DELAY) => false,
                    };
                    if !company {
                        self.commit_alone();
                    } else if let Some(stop) = self.group() {
                        return Some(stop);
                    }
                }
                () = self.shared.audit.journal.due() => {
                    if !self.shared.audit.journal.is_empty() {
                        self.commit_quietly();
                    }
                }
                () = self.shared.receipts.due() => self.commit_quietly(),
                Some(offer) = self.offers.recv() => {
                    self.offer = Some(offer);
                    self.commit_alone();
                }
            }
            // The merger runs on this thread too, and would hardly be heard
            // while there is always work.
            tokio::task::yield_now().await;
        }
    }

    /// Commits what belongs to no request: cursors, a merge, notices.
    fn commit_alone(&mut self) {
        self.work_off(Vec::new(), Vec::new());
        // The merger hears that it was not taken.
        self.offer = None;
    }

    /// Commits what waits of the audit and of receipts, and nothing that would
    /// tell those who wait for it of what others are owed.
    fn commit_quietly(&mut self) {
        self.quiet = true;
        self.commit_alone();
        self.quiet = false;
    }

    /// When notices, or word that there are none, are to be written.
    fn due(&mut self) -> Option<Instant> {
        if self.owed.waits() && self.shared.latch.reason().is_none() {
            self.due.get_or_insert_with(|| clock::monotonic() + self.owed.delay());
        } else {
            self.due = None;
        }
        self.due
    }

    /// Drains what waits into a group and commits it.
    fn group(&mut self) -> Option<oneshot::Sender<()>> {
        let Taken { proposals, passes, probes, stop } = self.lanes.0.take(GROUP_BYTES, GROUP_REQUESTS);
        if stop.is_some() {
            self.shared.receipts.hurry();
        }
        self.work_off(proposals, probes);
        drop(passes);
        stop
    }

    fn work_off(&mut self, proposals: Vec<Proposal>, probes: Vec<Probe>) {
        if let Some(reason) = self.shared.latch.reason() {
            self.shared.shut();
            // A caller that went away needs no answer.
            for proposal in proposals {
                let _ = proposal.reply.send(Err(read_only(&reason)));
            }
            for probe in probes {
                let _ = probe.send(Err(read_only(&reason)));
            }
            return;
        }
        let mut answers = Vec::with_capacity(proposals.len());
        let result = self.try_group(proposals, &mut answers);
        if let Err(error) = &result {
            self.shared.latch.set(error);
            self.shared.shut();
        }
        let failed = result.is_err().then(|| self.shared.latch.reason().unwrap_or_default());
        if let Some(reason) = &failed {
            for answer in &mut answers {
                answer.result = Err(read_only(reason));
            }
        }
        self.answer(answers);
        for probe in probes {
            let _ = probe.send(failed.as_ref().map_or(Ok(()), |reason| Err(read_only(reason))));
        }
        if let Ok(wrote) = result {
            self.owed.look(&Published {
                values: &wrote.values,
                authors: &wrote.authors,
                directory: &wrote.directory,
                next: self.next,
            });
        }
    }

    /// Answers a group. Each answer wakes a task on another thread, which
    /// costs a system call; many are handed over with one.
    fn answer(&self, answers: Vec<Answer>) {
        let send_all = |answers: Vec<Answer>| {
            for answer in answers {
                // A caller that went away needs no answer.
                let _ = answer.reply.send(answer.result);
            }
        };
        match &self.callers {
            Some(callers) if answers.len() > ANSWERS_AT_ONCE => {
                tasks::spawn_on(callers, "answers", async move { send_all(answers) });
            }
            _ => send_all(answers),
        }
    }

    fn try_group(&mut self, proposals: Vec<Proposal>, answers: &mut Vec<Answer>) -> Result<Wrote, db::Error> {
        let shared = Arc::clone(&self.shared);
        let directory = shared.directory.load_full();
        let mut group = Group::new(&shared.store, &shared.sealer, Arc::clone(&directory), self.last_version)
            .with_ledger(shared.ledger.load_full());
        // Nobody's request waits for what others are owed: it would tell.
        let notified = if proposals.is_empty() && !self.quiet { self.notify(&mut group) } else { Ok(()) };
        let prefetched =
            notified.and_then(|()| group.prefetch(proposals.iter().map(|proposal| &proposal.change)));
        let mut authors = Vec::new();
        let mut answered = proto::RequestGroup::default();
        // Where in `answered` a request of this group stands.
        let mut in_group: FxHashMap<RequestKey, usize> = FxHashMap::default();
        let mut failed = prefetched.err();
        for proposal in proposals {
            let entry = self.next;
            let result = match &failed {
                // The whole group fails; the answer is made by the caller.
                Some(_) => Ok(Answered::Decided(Vec::new())),
                None => match self.decide(&proposal, &mut group, &answered, &in_group) {
                    Ok((result, record)) => {
                        self.laying.decided(&proposal, &result, shared.clock.now());
                        // What wrote nothing shares its number with the next.
                        let wrote = proposal.publisher().filter(|_| self.next != entry);
                        authors.extend(wrote.map(|author| (entry, author)));
                        if let Some((key, record)) = proposal.request.zip(record) {
                            in_group.insert(key, answered.requests.len());
                            answered.requests.push(record);
                        }
                        result
                    }
                    Err(error) => {
                        failed = Some(error);
                        Ok(Answered::Decided(Vec::new()))
                    }
                },
            };
            answers.push(Answer { reply: proposal.reply, result });
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(known) = group.classes_ahead() {
            shared.directory.store(known);
        }
        // Before it can be read.
        shared.membership.add_all(group.changed_values());
        self.commit(&group, &answered)?;
        self.last_version = group.last_version;
        let wrote = Wrote { values: group.take_values(), authors, directory: Arc::clone(&group.directory) };
        self.shared.show(group, &directory);
        Ok(wrote)
    }

    /// Fills a group with what owners are owed.
    fn notify(&mut self, group: &mut Group<'_>) -> Result<(), db::Error> {
        self.owed.catch_up(&self.shared.store, &group.directory)?;
        let Some(change) = self.owed.take() else { return Ok(()) };
        let entry = Entry {
            seq: self.next,
            time: self.shared.clock.now(),
            author: "",
            seed: random::u64(),
            salt: &random::bytes::<16>(),
            change: &change,
        };
        group.apply(&entry)?;
        if !group.chunks.is_empty() {
            self.next = self.next.next();
            self.owed.told(self.next);
        }
        Ok(())
    }

    /// Decides one request: the answer, and what to remember of it.
    fn decide(
        &mut self,
        proposal: &Proposal,
        group: &mut Group<'_>,
        so_far: &proto::RequestGroup,
        in_group: &FxHashMap<RequestKey, usize>,
    ) -> Result<(Result<Answered, Error>, Option<proto::Request>), db::Error> {
        if proposal.caller.as_ref().is_some_and(Caller::is_severed) {
            let error = Error::new(Reason::CertificateRevoked, "your certificate is no longer accepted");
            return Ok((Err(error), None));
        }
        // Against the ledger of the group: what stands behind a revocation in
        // the log is not taken, whenever its connection is ended.
        let now = self.shared.machine.now();
        let refused =
            proposal.caller.as_ref().and_then(|c| certificates::refuses(&group.ledger, c.certificate(), now));
        if let Some(error) = refused {
            return Ok((Err(error), None));
        }
        if let Some(known) = self.remembered(proposal.request.as_ref(), so_far, in_group)? {
            if known.content.as_ref() != proposal.content.as_slice() {
                let error = Error::new(
                    Reason::DuplicateRequestId,
                    "this request_id was used with other content; choose a new UUID for a new request",
                );
                return Ok((Err(error), None));
            }
            let decisions = answered::replay(&known, &proposal.change, group)?;
            return Ok((Ok(Answered::Repeated(decisions, known.verdicts)), None));
        }
        let within = stored::within(&self.shared, &group.directory, &proposal.change)?;
        let change = within.as_ref().unwrap_or(&proposal.change);
        let now = self.shared.clock.now();
        let entry = Entry {
            seq: self.next,
            time: now,
            author: proposal.caller.as_ref().map_or("", |caller| caller.identity().as_str()),
            seed: random::u64(),
            salt: &proposal.salt,
            change,
        };
        let chunks_before = group.chunks.len();
        let decisions = group.apply(&entry)?;
        if group.chunks.len() > chunks_before {
            self.next = self.next.next();
        }
        if let Change::Expire(due) = &proposal.change {
            let ended = due.iter().zip(&decisions).filter(|(_, d)| matches!(d, Decision::Written { .. }));
            group.expired.get_or_insert_default().extend(ended.map(|(due, _)| *due));
            // The hub does not repeat itself: what is left is still due.
            return Ok((Ok(Answered::Decided(decisions)), None));
        }
        let record = answered::record(proposal, &decisions, now);
        Ok((Ok(Answered::Decided(decisions)), record))
    }

    fn remembered(
        &mut self,
        key: Option<&RequestKey>,
        answered: &proto::RequestGroup,
        in_group: &FxHashMap<RequestKey, usize>,
    ) -> Result<Option<proto::Request>, db::Error> {
        let Some(key) = key else { return Ok(None) };
        if let Some(place) = in_group.get(key) {
            return Ok(answered.requests.get(*place).cloned());
        }
        let Some(group) = self.requests.group(key) else { return Ok(None) };
        // Retries come together, as what they repeat did.
        if self.replayed.as_ref().is_none_or(|(known, _)| *known != group) {
            self.replayed = self.shared.store.requests(group)?.map(|packed| (group, packed));
        }
        let packed = self.replayed.as_ref().map(|(_, packed)| packed);
        Ok(packed
            .and_then(|packed| packed.requests.iter().find(|r| r.key.as_ref() == key.as_slice()).cloned()))
    }

    fn commit(&mut self, group: &Group<'_>, answered: &proto::RequestGroup) -> Result<(), db::Error> {
        let shared = Arc::clone(&self.shared);
        let mut batch = Batch::new(&shared.store);
        group.write_to(&mut batch)?;
        shared.history.announce(group);
        // Always, so that no batch is empty and even a probe proves the disk.
        if !self.quiet {
            self.owed.write_to(&mut batch)?;
        }
        let fence = expiry_fence(&shared, self.fence, group);
        if fence != self.fence {
            batch.expiry_fence(fence)?;
        }
        let number = self.requests.next_group();
        if !answered.requests.is_empty() {
            batch.requests(number, &answered.encode_to_vec())?;
            // As many as are added, and some more.
            let steps = FORGET_PER_GROUP + answered.requests.len();
            self.requests.forget(shared.clock.now(), steps);
            for _ in 0..steps {
                let Some(old) = self.requests.next_spent() else { break };
                batch.forget_requests(old)?;
            }
        }
        let cursors = shared.cursors.take();
        for (key, record) in &cursors.changes {
            batch.cursor(key, record.as_deref())?;
        }
        let offer = self.offer.take().or_else(|| self.offers.try_recv().ok());
        if let Some(offer) = &offer {
            batch.merge(&offer.merge)?;
        }
        // After the cursors and before the audit, which numbers what it says of them.
        let receipts = shared.receipts.take(!cursors.changes.is_empty());
        let audited = self.laying.lay(&shared, &mut batch)?;
        self.book.lay(&shared, &mut batch, &receipts)?;
        let started = clock::monotonic();
        shared.store.commit(batch)?;
        self.laying.committed(&shared, &audited);
        shared.receipts.committed(&receipts, self.book.laid());
        shared.counters.commits.fetch_add(1, Ordering::Relaxed);
        let spent = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.counters.commit_micros.fetch_add(spent, Ordering::Relaxed);
        shared.cursors.committed(&cursors);
        if let Some(Offer { merge, done }) = offer {
            shared.counters.merged_blocks.fetch_add(merge.replaced() as u64, Ordering::Relaxed);
            // A merger that was stopped needs no answer.
            let _ = done.send(());
        }
        self.fence = fence;
        if !answered.requests.is_empty() {
            self.requests.add(number, answered);
        }
        Ok(())
    }
}
