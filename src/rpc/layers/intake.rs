//! Decides how much the systems of one organisation may have under way to the
//! hub at once, and how long a begun message may take: what is held for the
//! rest of a message is bounded in bytes and in time.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tonic::Status;
use tonic::body::Body;

use crate::hub::Account;
use crate::hub::error::{Error, Reason};
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::policy::limits::Rate;
use crate::rpc::status::status;

/// Bytes before each message of gRPC: a flag, and the message's length.
const HEADER_BYTES: usize = 5;
/// When to try again: much may have arrived by then.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What may be under way; public in `docs/configuration.md`.
#[derive(Debug, Clone)]
pub(in crate::rpc) struct Limits {
    /// Most KiB of messages under way of one organisation.
    pub(in crate::rpc) room_kib: usize,
    /// Longest wait of a message for room.
    pub(in crate::rpc) room_within: Duration,
    /// Longest time from the first byte of a message, or from when there is
    /// room for it, to its last.
    pub(in crate::rpc) message_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room_kib: 64 * 1024,
            room_within: Duration::from_secs(10),
            message_within: Duration::from_secs(30),
        }
    }
}

/// The room of each organisation that has called; the roster bounds them.
#[derive(Debug, Clone)]
pub(in crate::rpc) struct Intake {
    limits: Limits,
    rooms: Rooms<OrgSlug>,
    /// Of each system and person, half of its organisation's: who reads no
    /// answers, and so holds what it sent, leaves the other half to the others.
    halves: Rooms<SpiffeId>,
}

type Rooms<K> = Arc<Mutex<HashMap<K, Arc<Semaphore>>>>;

impl Intake {
    pub(in crate::rpc) fn new(limits: Limits) -> Self {
        Self { limits, rooms: Arc::default(), halves: Arc::default() }
    }

    /// The body of a request whose messages are at most `longest` bytes long,
    /// read no faster than there is room, and than `account` may send.
    pub(in crate::rpc) fn meter(&self, account: Account, longest: usize, inner: Body) -> Body {
        let metered = self.metered(account.organisation(), Some(account.identity()), longest, inner);
        Body::new(Metered { account: Some(account), ..metered })
    }

    fn metered(
        &self,
        organisation: &OrgSlug,
        identity: Option<&SpiffeId>,
        longest: usize,
        inner: Body,
    ) -> Metered {
        let half = identity.map(|identity| room(&self.halves, identity, self.limits.room_kib / 2));
        let whole = room(&self.rooms, organisation, self.limits.room_kib);
        Metered {
            inner,
            account: None,
            longest,
            rooms: half.into_iter().chain([whole]).collect(),
            limits: self.limits.clone(),
            rest: Bytes::new(),
            place: Place::default(),
            waiting: None,
            held: Vec::new(),
            time: None,
        }
    }
}

fn room<K: Clone + Eq + Hash>(rooms: &Rooms<K>, whose: &K, kib: usize) -> Arc<Semaphore> {
    let mut rooms = rooms.lock();
    if let Some(room) = rooms.get(whose) {
        return Arc::clone(room);
    }
    let room = Arc::new(Semaphore::new(kib));
    rooms.insert(whose.clone(), Arc::clone(&room));
    room
}

/// Places, one in each room.
type Places = Vec<OwnedSemaphorePermit>;
/// The same, or `None` if none became free in time.
type Waiting = Pin<Box<dyn Future<Output = Option<Places>> + Send>>;

/// A body that is handed on message by message, never two at once. Who asks
/// for more has decoded what he got: then its place is free.
struct Metered {
    inner: Body,
    /// Who pays for the bytes, if anyone does.
    account: Option<Account>,
    longest: usize,
    /// The smaller first, so that nobody waits in it with a place in the other.
    rooms: Vec<Arc<Semaphore>>,
    limits: Limits,
    /// What arrived and is not handed on.
    rest: Bytes,
    place: Place,
    waiting: Option<Waiting>,
    held: Places,
    /// Runs only while the client is waited for within a message.
    time: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    /// Hands on what `rest` holds of one message, once there is room for it.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        if self.place.left == 0
            && let Some(length) = self.place.read(&self.rest)
        {
            // One that is too long is refused by its length, and never held.
            if length <= self.longest {
                let wait = self.pay(length).map_err(status)?;
                self.take_room(length, wait);
            }
        }
        if let Some(waiting) = &mut self.waiting {
            let found = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            self.held = found.ok_or_else(|| status(self.crowded()))?;
            self.time = None;
        }
        let next = self.rest.len().min(self.place.left);
        self.place.left -= next;
        Poll::Ready(Ok(self.rest.split_to(next)))
    }

    /// Charges a message before it is read; how long it is to wait for that.
    fn pay(&self, length: usize) -> Result<Duration, Error> {
        let bytes = u64::try_from(length + HEADER_BYTES).unwrap_or(u64::MAX);
        let account = self.account.as_ref();
        account
            .map_or(Ok(Duration::ZERO), |account| account.charge(Rate::Bytes, bytes, self.limits.room_within))
    }

    fn take_room(&mut self, length: usize, wait: Duration) {
        let kib = u32::try_from(length / 1024 + 1).unwrap_or(u32::MAX);
        let rooms = self.rooms.clone();
        if wait.is_zero() {
            let at_once = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(kib).ok();
            if let Some(held) = rooms.iter().map(at_once).collect() {
                self.held = held;
                return;
            }
        }
        let within = self.limits.room_within;
        self.waiting = Some(Box::pin(async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            let all = async move {
                let mut held = Places::new();
                for room in rooms {
                    held.push(room.acquire_many_owned(kib).await.ok()?);
                }
                Some(held)
            };
            timeout(within, all).await.ok()?
        }));
    }

    /// Waits for the client, within a message only so long.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if self.place.is_between() {
            return Poll::Pending;
        }
        let within = self.limits.message_within;
        ready!(self.time.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(cx));
        Poll::Ready(status(Error::new(
            Reason::DeadlineExceeded,
            format!(
                "a message took longer than {} seconds to arrive; send each without a pause, and small ones over a slow line",
                within.as_secs()
            ),
        )))
    }

    fn crowded(&self) -> Error {
        Error {
            retry_after: Some(RETRY_AFTER),
            ..Error::new(
                Reason::RateLimited,
                format!(
                    "your organisation has {} MiB of messages under way, which is the most; send fewer at once, or wait",
                    self.limits.room_kib / 1024
                ),
            )
        }
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.place.is_between() {
            this.held.clear();
            this.time = None;
        }
        while this.rest.is_empty() {
            let Poll::Ready(arrived) = Pin::new(&mut this.inner).poll_frame(cx) else {
                return this.poll_time(cx).map(|late| Some(Err(late)));
            };
            let Some(frame) = arrived.transpose()? else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        this.poll_rest(cx).map(|next| Some(next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }
}

/// How far a body has come.
#[derive(Debug, Default)]
struct Place {
    header: [u8; HEADER_BYTES],
    /// How much of the next message's header was read.
    read: usize,
    /// Bytes of known messages that are not handed on.
    left: usize,
}

impl Place {
    /// Whether no message is begun.
    const fn is_between(&self) -> bool {
        self.read == 0 && self.left == 0
    }

    /// Reads a header's next bytes off `rest`; at its last, tells the length of
    /// the message behind it.
    fn read(&mut self, rest: &[u8]) -> Option<usize> {
        let mut seen = 0;
        for (slot, byte) in self.header.iter_mut().skip(self.read).zip(rest) {
            *slot = *byte;
            seen += 1;
        }
        self.read += seen;
        self.left = seen;
        if self.read < HEADER_BYTES {
            return None;
        }
        self.read = 0;
        let [_, length @ ..] = self.header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.left = self.left.saturating_add(length);
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;
    use std::convert::Infallible;
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt as _;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);
    const MAX: usize = 4 * 1024;

    /// Room for one message of the longest, and one more of the smallest.
    fn intake(room_within: Duration, message_within: Duration) -> Intake {
        Intake::new(Limits { room_kib: 6, room_within, message_within })
    }

    fn slug(text: &str) -> OrgSlug {
        OrgSlug::parse(text).unwrap()
    }

    fn message(length: usize) -> Bytes {
        let header = u32::try_from(length).unwrap().to_be_bytes();
        [&[0][..], &header, &vec![7; length]].concat().into()
    }

    /// A request of `organisation`, and where its client writes.
    fn open(intake: &Intake, organisation: &str) -> (mpsc::Sender<Bytes>, Metered) {
        let (client, arriving) = mpsc::channel(8);
        let frames = ReceiverStream::new(arriving).map(|data| Ok::<_, Infallible>(Frame::data(data)));
        (client, intake.metered(&slug(organisation), None, MAX, Body::new(StreamBody::new(frames))))
    }

    /// The same of one system of the organisation.
    fn open_by(intake: &Intake, organisation: &str, system: &str) -> (mpsc::Sender<Bytes>, Metered) {
        let (client, body) = open(intake, organisation);
        let id =
            SpiffeId::parse(&format!("spiffe://hub.example/org/{organisation}/system/{system}")).unwrap();
        let metered = intake.metered(&slug(organisation), Some(&id), MAX, body.inner);
        (client, metered)
    }

    async fn next(body: &mut Metered) -> Result<Bytes, Status> {
        body.frame().await.unwrap().map(|frame| frame.into_data().unwrap())
    }

    fn waits(body: &mut Metered) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        http_body::Body::poll_frame(Pin::new(body), &mut cx).is_pending()
    }

    #[tokio::test]
    async fn half_a_message_ends_in_time_and_a_stream_between_two_does_not() {
        let intake = intake(LONG, Duration::ZERO);
        let (quiet, mut between) = open(&intake, "a");
        quiet.send(message(9)).await.unwrap();
        assert_eq!(next(&mut between).await.unwrap(), message(9));
        assert!(waits(&mut between) && between.time.is_none());
        for half in [3, 9] {
            let (client, mut begun) = open(&intake, "a");
            client.send(message(9).slice(..half)).await.unwrap();
            assert_eq!(next(&mut begun).await.unwrap().len(), half);
            let late = next(&mut begun).await.unwrap_err();
            assert_eq!(late.code(), Code::DeadlineExceeded);
            assert_eq!(late.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
        }
        // The same time has passed here as well.
        assert!(waits(&mut between));
        quiet.send(message(9)).await.unwrap();
        assert_eq!(next(&mut between).await.unwrap(), message(9));
    }

    #[tokio::test]
    async fn what_finds_no_room_waits_until_another_message_was_decoded() {
        let intake = intake(LONG, LONG);
        let (first, mut early) = open(&intake, "a");
        let (second, mut late) = open(&intake, "a");
        first.send(message(MAX)).await.unwrap();
        second.send(message(MAX)).await.unwrap();
        assert_eq!(next(&mut early).await.unwrap(), message(MAX));
        assert!(waits(&mut late));
        let (third, mut other) = open(&intake, "b");
        third.send(message(MAX)).await.unwrap();
        assert_eq!(next(&mut other).await.unwrap(), message(MAX), "the room of another organisation");

        assert!(waits(&mut early), "it asks for the next message");
        assert_eq!(next(&mut late).await.unwrap(), message(MAX));
        drop(late);
        assert_eq!(room(&intake.rooms, &slug("a"), 6).available_permits(), 6);
    }

    #[tokio::test]
    async fn one_system_takes_no_more_than_half_of_its_organisations_room() {
        let limits = Limits { room_kib: 12, room_within: LONG, message_within: LONG };
        let intake = Intake::new(limits);
        let (first, mut early) = open_by(&intake, "a", "one");
        let (second, mut late) = open_by(&intake, "a", "one");
        let (third, mut other) = open_by(&intake, "a", "two");
        for client in [first, second, third] {
            client.send(message(MAX)).await.unwrap();
        }
        assert_eq!(next(&mut early).await.unwrap(), message(MAX));
        assert!(waits(&mut late), "its own half is full");
        assert_eq!(next(&mut other).await.unwrap(), message(MAX), "and another's is not");
        drop(early);
        assert_eq!(next(&mut late).await.unwrap(), message(MAX));
    }

    #[tokio::test]
    async fn who_waits_too_long_for_room_is_told_to_come_again() {
        let intake = intake(Duration::ZERO, LONG);
        let (first, mut early) = open(&intake, "a");
        let (second, mut late) = open(&intake, "a");
        first.send(message(MAX)).await.unwrap();
        second.send(message(MAX)).await.unwrap();
        next(&mut early).await.unwrap();
        let refused = next(&mut late).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.get_details_retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_handed_on_to_be_refused_at_once() {
        let intake = intake(LONG, LONG);
        let _all = room(&intake.rooms, &slug("a"), 6).acquire_many_owned(6).await.unwrap();
        let (client, mut body) = open(&intake, "a");
        client.send(message(MAX + 1).slice(..HEADER_BYTES)).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap().len(), HEADER_BYTES);
    }

    proptest! {
        #[test]
        fn every_byte_is_handed_on_message_by_message_however_it_arrives(
            lengths in proptest::collection::vec(0..MAX, 0..6),
            mut cuts in proptest::collection::vec(0..6 * MAX, 0..12),
        ) {
            let messages: Vec<_> = lengths.into_iter().map(message).collect();
            let mut sent = Bytes::from(messages.concat());
            let intake = intake(Duration::ZERO, Duration::ZERO);
            cuts.sort_unstable();
            let mut frames = Vec::new();
            for cut in cuts.into_iter().rev() {
                frames.push(Ok::<_, Infallible>(Frame::data(sent.split_off(cut.min(sent.len())))));
            }
            frames.push(Ok(Frame::data(sent)));
            frames.reverse();
            let inner = Body::new(StreamBody::new(tokio_stream::iter(frames)));
            let mut body = intake.metered(&slug("a"), None, MAX, inner);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for message in messages {
                    let mut got = Vec::new();
                    while got.len() < message.len() {
                        got.extend_from_slice(&next(&mut body).await.unwrap());
                    }
                    prop_assert_eq!(got, message);
                }
                prop_assert!(body.frame().await.is_none());
                prop_assert_eq!(room(&intake.rooms, &slug("a"), 6).available_permits(), 6);
                Ok(())
            })?;
        }
    }
}
