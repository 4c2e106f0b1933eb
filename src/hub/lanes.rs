//! Decides in which order requests that wait reach the writer: each
//! organisation has a lane of its own, and they are served in turn, so that one
//! that floods delays nobody but itself (deficit round robin, Shreedhar and
//! Varghese 1995). Within a lane the order of coming is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::model::org::OrgNo;

use super::error::Error;
use super::proposal::Proposal;
use super::room::Room;

/// What a lane may bring in one turn, in bytes.
const TURN_BYTES: usize = 64 << 10;
/// Most bytes of one lane in a commit group while others publish too: so long
/// may a newcomer have to wait for a group that was closed before he came.
const SHARED_GROUP_BYTES: usize = 256 << 10;
/// Whoever published so long ago counts among those.
const COMPANY: Duration = Duration::from_secs(1);

/// What the hub itself proposes is nobody's.
const HUB: OrgNo = OrgNo(0);

/// Asked to commit something, and to say whether that went well.
pub type Probe = oneshot::Sender<Result<(), Error>>;

/// All that waits for the writer, bounded in bytes: for one organisation at
/// half of the room, and whoever has nothing inside is let in at once.
#[derive(Debug)]
pub struct Lanes {
    state: Mutex<State>,
    room: Room,
    doors: Mutex<HashMap<OrgNo, Arc<Door>>>,
    door_bytes: usize,
    /// Tells the writer that there is something.
    came: Notify,
    /// Cancelled once nothing is written any more.
    gone: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<OrgNo, Lane>,
    /// The lanes in which something waits, in the order of their turns.
    turns: VecDeque<OrgNo>,
    waiting: usize,
    probes: Vec<Probe>,
    stop: Option<oneshot::Sender<()>>,
    /// Nothing is taken any more.
    shut: bool,
    last: Option<OrgNo>,
    /// Until when several organisations count as publishing.
    company: Option<Instant>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<(Box<Proposal>, Pass)>,
    credit: usize,
}

/// Where the requests of one organisation come in.
#[derive(Debug)]
struct Door {
    room: Room,
    inside: AtomicUsize,
}

/// The room that a request takes until it is answered.
#[derive(Debug)]
pub struct Pass {
    _own: Option<OwnedSemaphorePermit>,
    _room: Option<OwnedSemaphorePermit>,
    _inside: Inside,
}

#[derive(Debug)]
struct Inside(Arc<Door>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the writer does next.
#[derive(Debug, Default)]
pub struct Taken {
    /// Requests, of one commit group.
    pub proposals: Vec<Proposal>,
    /// The room that they take.
    pub passes: Vec<Pass>,
    /// Who waits for a commit, of whatever.
    pub probes: Vec<Probe>,
    /// Who waits for the end. Nothing is left by then.
    pub stop: Option<oneshot::Sender<()>>,
}

impl Lanes {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            room: Room::new(bytes),
            doors: Mutex::default(),
            door_bytes: bytes / 2,
            came: Notify::new(),
            gone: CancellationToken::new(),
        }
    }

    /// Waits until there is room for a request of so many bytes.
    pub async fn enter(&self, organisation: Option<OrgNo>, bytes: usize) -> Pass {
        let door = self.door(organisation.unwrap_or(HUB));
        let own = door.room.take(bytes).await;
        let first = door.inside.fetch_add(1, Ordering::AcqRel) == 0;
        let inside = Inside(door);
        let room = if first { self.room.try_take(bytes) } else { self.room.take(bytes).await };
        Pass { _own: own, _room: room, _inside: inside }
    }

    fn door(&self, organisation: OrgNo) -> Arc<Door> {
        let new = || Arc::new(Door { room: Room::new(self.door_bytes), inside: AtomicUsize::new(0) });
        Arc::clone(self.doors.lock().entry(organisation).or_insert_with(new))
    }

    /// Lets a request wait for its turn; `false`: nothing is taken any more.
    #[must_use]
    pub fn push(&self, proposal: Box<Proposal>, pass: Pass) -> bool {
        let organisation = proposal.caller.as_ref().map_or(HUB, |caller| caller.org());
        let mut state = self.state.lock();
        if state.shut {
            return false;
        }
        if organisation != HUB && state.last.replace(organisation).is_some_and(|last| last != organisation) {
            state.company = Some(clock::monotonic() + COMPANY);
        }
        let lane = state.lanes.entry(organisation).or_default();
        lane.waiting.push_back((proposal, pass));
        if lane.waiting.len() == 1 {
            state.turns.push_back(organisation);
        }
        state.waiting += 1;
        drop(state);
        self.came.notify_one();
        true
    }

    /// Asks for a commit; `false`: nothing is taken any more.
    #[must_use]
    pub fn probe(&self, probe: Probe) -> bool {
        let mut state = self.state.lock();
        if state.shut {
            return false;
        }
        state.probes.push(probe);
        drop(state);
        self.came.notify_one();
        true
    }

    /// Takes nothing more, and has `done` told once what waits is written;
    /// `false`: it is, or is about to be.
    #[must_use]
    pub fn stop(&self, done: Option<oneshot::Sender<()>>) -> bool {
        let mut state = self.state.lock();
        let first = !std::mem::replace(&mut state.shut, true);
        if first {
            state.stop = done;
        }
        drop(state);
        self.came.notify_one();
        first
    }

    /// Resolves once there is something for the writer; `false`: there is
    /// nothing, and nobody can ask any more.
    pub async fn ready(&self) -> bool {
        loop {
            let came = self.came.notified();
            {
                let state = self.state.lock();
                if state.waiting > 0 || !state.probes.is_empty() || state.stop.is_some() {
                    return true;
                }
                if state.shut {
                    return false;
                }
            }
            came.await;
        }
    }

    /// Takes what makes a commit group of about so many bytes and requests, of
    /// each lane in turn.
    #[must_use]
    pub fn take(&self, bytes: usize, requests: usize) -> Taken {
        let mut state = self.state.lock();
        let alone = state.company.is_none_or(|until| clock::monotonic() >= until);
        let share = if alone { bytes } else { SHARED_GROUP_BYTES.min(bytes) };
        let mut taken = Taken { probes: std::mem::take(&mut state.probes), ..Taken::default() };
        let (mut weight, mut brought) = (0, HashMap::<OrgNo, usize>::new());
        let mut had_enough = Vec::new();
        while weight < bytes
            && taken.proposals.len() < requests
            && let Some(organisation) = state.turns.pop_front()
        {
            let Some(lane) = state.lanes.get_mut(&organisation) else { continue };
            let own = brought.entry(organisation).or_default();
            lane.credit += TURN_BYTES;
            while weight < bytes
                && taken.proposals.len() < requests
                && *own < share
                && let Some((proposal, pass)) = lane.next()
            {
                let size = proposal.change.weight();
                lane.credit -= size;
                weight += size;
                *own += size;
                taken.proposals.push(*proposal);
                taken.passes.push(pass);
            }
            if lane.waiting.is_empty() {
                state.lanes.remove(&organisation);
            } else if *own < share {
                state.turns.push_back(organisation);
            } else {
                had_enough.push(organisation);
            }
        }
        state.turns.extend(had_enough);
        state.waiting -= taken.proposals.len();
        if state.waiting == 0 {
            taken.stop = state.stop.take();
        }
        taken
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// About how many bytes these and those being written take.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.room.taken()
    }

    /// Resolves once nothing is written any more.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Nothing is written any more: whoever waits hears of it.
    pub fn close(&self) {
        let left = {
            let mut state = self.state.lock();
            state.shut = true;
            state.waiting = 0;
            state.turns.clear();
            (std::mem::take(&mut state.lanes), std::mem::take(&mut state.probes), state.stop.take())
        };
        self.gone.cancel();
        drop(left);
    }
}

impl Lane {
    /// The next request, if it is within the lane's credit.
    fn next(&mut self) -> Option<(Box<Proposal>, Pass)> {
        let credit = self.credit;
        self.waiting.pop_front_if(|(proposal, _)| proposal.change.weight() <= credit)
    }
}

/// The writer's end; whoever waits hears when it is dropped.
#[derive(Debug)]
pub struct Exit(pub Arc<Lanes>);

impl Drop for Exit {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The engine's end; the writer ends once it is dropped.
#[derive(Debug)]
pub struct Entrance(pub Arc<Lanes>);

impl Drop for Entrance {
    fn drop(&mut self) {
        // Somebody may have said so before.
        let _ = self.0.stop(None);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, poll};

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::hub::proposal::{Change, Due};
    use crate::hub::{Caller, testing};
    use crate::model::position::Position;
    use crate::store::postings::Posting;

    /// A request of about so many KiB, of an organisation of the test's hub.
    fn request(caller: Option<&Caller>, kib: usize, salt: u8) -> Box<Proposal> {
        let version = Posting { position: Position::ZERO, handle: Position::ZERO };
        let due = |_| Due { until: Timestamp::EPOCH, version };
        Box::new(Proposal {
            caller: caller.cloned(),
            request: None,
            content: [0; 16],
            salt: [salt; 16],
            change: Change::Expire((0..kib).map(due).collect()),
            reply: oneshot::channel().0,
        })
    }

    async fn enter(lanes: &Lanes, caller: &Caller, proposal: Box<Proposal>) {
        let pass = lanes.enter(Some(caller.org()), proposal.change.weight()).await;
        assert!(lanes.push(proposal, pass));
    }

    fn salts(taken: &Taken) -> Vec<u8> {
        taken.proposals.iter().map(|proposal| proposal.salt[0]).collect()
    }

    #[tokio::test]
    async fn one_that_floods_delays_nobody_but_itself_and_keeps_its_order() {
        let (_dir, hub, flood) = testing::hub(&["a", "b"]);
        let other = testing::caller(&hub, "spiffe://test.example/org/b/system/feed");
        let lanes = Lanes::new(64 << 20);
        for salt in 0..200 {
            enter(&lanes, &flood, request(Some(&flood), 100, salt)).await;
        }
        enter(&lanes, &other, request(Some(&other), 1, 255)).await;
        let taken = lanes.take(4 << 20, 4_096);
        let order = salts(&taken);
        assert!(order.iter().position(|salt| *salt == 255).unwrap() <= 1, "{order:?}");
        let bytes: usize = taken.proposals.iter().map(|p| p.change.weight()).sum();
        assert!(
            bytes <= SHARED_GROUP_BYTES + (101 << 10),
            "the next newcomer waits no longer than this: {bytes}"
        );
        let mut own: Vec<_> = order.into_iter().filter(|salt| *salt != 255).collect();
        while lanes.waiting() > 0 {
            own.extend(salts(&lanes.take(4 << 20, 4_096)));
        }
        assert_eq!(own, (0..200).collect::<Vec<_>>());
        hub.close().await;
    }

    #[tokio::test]
    async fn whoever_is_alone_fills_whole_groups_and_the_largest_request_has_its_turn() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        let lanes = Lanes::new(64 << 20);
        enter(&lanes, &caller, request(Some(&caller), 5 << 10, 0)).await;
        for salt in 1..100 {
            enter(&lanes, &caller, request(Some(&caller), 100, salt)).await;
        }
        assert_eq!(salts(&lanes.take(4 << 20, 4_096)), [0]);
        assert!(lanes.take(4 << 20, 4_096).proposals.len() > 40);
        assert_eq!(lanes.take(4 << 20, 7).proposals.len(), 7);
        hub.close().await;
    }

    #[tokio::test]
    async fn who_has_nothing_inside_finds_room_however_much_others_brought() {
        let (_dir, hub, one) = testing::hub(&["a", "b", "c"]);
        let named = |name| testing::caller(&hub, &format!("spiffe://test.example/org/{name}/system/feed"));
        let (two, three) = (named("b"), named("c"));
        let lanes = Lanes::new(64 << 10);
        let halves =
            [lanes.enter(Some(one.org()), 32 << 10).await, lanes.enter(Some(two.org()), 32 << 10).await];
        assert_eq!(lanes.taken(), 64 << 10);
        let mut more = Box::pin(lanes.enter(Some(one.org()), 1));
        assert!(poll!(&mut more).is_pending(), "it has its half");
        let first = lanes.enter(Some(three.org()), 9 << 10).now_or_never().expect("it has nothing inside");
        let mut second = Box::pin(lanes.enter(Some(three.org()), 9 << 10));
        assert!(poll!(&mut second).is_pending(), "and then waits like everyone");
        drop((halves, first));
        drop(second.now_or_never().expect("there is room again"));
        drop(more.now_or_never().expect("there is room again"));
        assert_eq!(lanes.taken(), 0);
        hub.close().await;
    }

    #[tokio::test]
    async fn what_waits_is_written_before_the_stop_and_what_comes_later_is_not_taken() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        let lanes = Lanes::new(64 << 20);
        for salt in 0..2 {
            enter(&lanes, &caller, request(Some(&caller), 1, salt)).await;
        }
        let (done, _told) = oneshot::channel();
        assert!(lanes.stop(Some(done)));
        let pass = lanes.enter(Some(caller.org()), 1).await;
        assert!(!lanes.push(request(Some(&caller), 1, 9), pass));
        assert!(lanes.ready().await);
        assert!(lanes.take(4 << 20, 1).stop.is_none());
        let last = lanes.take(4 << 20, 1);
        assert!(last.stop.is_some() && salts(&last) == [1]);
        assert!(!lanes.ready().await && lanes.gone().now_or_never().is_none());
        lanes.close();
        assert!(lanes.gone().now_or_never().is_some());
        hub.close().await;
    }
}
