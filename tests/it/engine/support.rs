//! A hub without transport: four organisations, a clock that is set by hand,
//! and subscribers that keep count of their credit.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use luytre::base::clock::{Clock, Timestamp};
use luytre::hub::{Caller, Command, Error, Hub, Open, Options, PeerCertificate};
use luytre::model::org::{DatedName, OrgSlug, Organisation};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::roster::{Grant, Roster};
use luytre::pki::identity::{CertificateId, IssuerDigest};
use luytre::wire::frame::Frame;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::subscribe_response::Message;
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::harness::clock::{Hands, noon};
use crate::harness::patience::patiently;
pub(crate) use crate::harness::told::{Event, events};

pub(crate) const ORGS: [&str; 4] = ["alpha", "bravo", "charlie", "delta"];
/// The hub's clock at first: 2026-01-01.
pub(crate) const START: u64 = 1_767_225_600_000_000;

pub(crate) fn slug(org: usize) -> OrgSlug {
    OrgSlug::parse(ORGS[org]).unwrap()
}

pub(crate) fn roster() -> Roster {
    let organisation = |org: usize| Organisation {
        slug: slug(org),
        names: vec![DatedName {
            vi: ORGS[org].into(),
            en: String::new(),
            short: String::new(),
            from: None,
            to: None,
        }],
        kind: "unit".into(),
        parent: None,
        valid_from: None,
        valid_to: None,
        lifecycle: Vec::new(),
        predecessors: Vec::new(),
        successors: Vec::new(),
        protected: Vec::new(),
    };
    let all = 0..ORGS.len();
    Roster {
        organisations: all.clone().map(|org| (slug(org), organisation(org))).collect(),
        principals: all
            .map(|org| (identity(org), Grant { roles: Roles::from_bits(0xff), from: None, to: None }))
            .collect(),
        ..Roster::default()
    }
}

pub(crate) fn identity(org: usize) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://hub.example/org/{}/system/soc", ORGS[org])).unwrap()
}

/// A hub in a directory of its own.
pub(crate) struct Engine {
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<Hands>,
    pub(crate) options: Options,
    pub(crate) dir: Arc<TempDir>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A new hub whose options `change` has set.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::of(roster(), START, change)
    }

    /// A new hub of this roster that begins at `start`.
    pub(crate) fn of(roster: Roster, start: u64, change: impl FnOnce(&mut Options)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(Hands::new(start));
        let data_dir = dir.path().join("hub");
        Hub::init(&data_dir, roster, "hub.example", clock.as_ref()).unwrap();
        let mut options = Options {
            data_dir,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            heartbeat: Duration::from_millis(1),
            block_cache_bytes: 8 << 20,
            ..Options::default()
        };
        change(&mut options);
        Self { hub: Hub::open(options.clone()).unwrap(), clock, options, dir }
    }

    pub(crate) fn caller(&self, org: usize) -> Caller {
        self.caller_named(identity(org))
    }

    /// Somebody whom the roster knows.
    pub(crate) fn caller_named(&self, identity: SpiffeId) -> Caller {
        self.caller_as(identity).unwrap()
    }

    /// Whoever has a certificate of this identity.
    pub(crate) fn caller_as(&self, identity: SpiffeId) -> Result<Caller, Error> {
        let peer = PeerCertificate {
            identity,
            certificate: CertificateId { issuer: IssuerDigest::of(b"authority"), serial: "01".into() },
            fingerprint: [0; 32],
            not_before: Timestamp::EPOCH,
            key_exchange: "X25519MLKEM768",
            not_after: Timestamp::from_micros_clamped(u64::MAX),
            severed: CancellationToken::new(),
        };
        self.hub.authenticate(&peer)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.options.data_dir
    }

    /// Closes the hub, lets `meanwhile` work on its directory, opens it again.
    pub(crate) async fn reopen(self, meanwhile: impl FnOnce(&mut Options)) -> Self {
        let Self { hub, clock, mut options, dir } = self;
        close(hub).await;
        meanwhile(&mut options);
        Self { hub: Hub::open(options.clone()).unwrap(), clock, options, dir }
    }

    /// Closes the hub; its directory stays as long as what is returned.
    pub(crate) async fn close(self) -> Arc<TempDir> {
        close(self.hub).await;
        self.dir
    }

    /// Opens a stream.
    pub(crate) async fn stream(&self, org: usize, open: Open) -> Result<Stream, Error> {
        self.stream_of(&self.caller(org), open).await
    }

    /// Opens somebody's stream.
    pub(crate) async fn stream_of(&self, caller: &Caller, open: Open) -> Result<Stream, Error> {
        let credit = open.credit;
        let (opened, pump) = self.hub.subscribe(caller, open).await?;
        let (commands, receiver) = mpsc::channel(16);
        let (sender, frames) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(pump.frames(ReceiverStream::new(receiver)));
            while let Some(frame) = stream.next().await {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
        });
        let (token, frame, ahead) = (opened.token, Vec::new(), VecDeque::new());
        Ok(Stream { commands, frames, task, credit, token, frame, acked: 0, recalls: Vec::new(), ahead })
    }
}

async fn close(hub: Arc<Hub>) {
    hub.close().await;
    assert_eq!(Arc::strong_count(&hub), 1, "nothing else holds the hub");
}

/// A batch as a subscriber gets it.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    pub(crate) token: Bytes,
}

/// A subscriber's end.
pub(crate) struct Stream {
    pub(crate) commands: mpsc::Sender<Result<Command, Error>>,
    frames: mpsc::Receiver<Result<Frame, Error>>,
    task: tokio::task::JoinHandle<()>,
    credit: u64,
    /// The last token.
    pub(crate) token: Bytes,
    /// The last frame, as it travels.
    pub(crate) frame: Vec<u8>,
    /// Acknowledgements that came back.
    pub(crate) acked: usize,
    /// What was recalled.
    pub(crate) recalls: Vec<Event>,
    /// What came in one batch with what was waited for.
    ahead: VecDeque<Event>,
}

impl Stream {
    pub(crate) async fn grant(&mut self, events: u64) {
        self.credit += events;
        self.commands.send(Ok(Command::Credit(events))).await.unwrap();
    }

    /// Whether nothing more may come.
    pub(crate) const fn spent(&self) -> bool {
        self.credit == 0
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        let frame = match patiently("a frame", self.frames.recv()).await? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        self.frame.clear();
        frame.encode(&mut self.frame);
        let message = v1::SubscribeResponse::decode(self.frame.as_slice()).unwrap().message.unwrap();
        match &message {
            Message::Batch(batch) => {
                assert!(!batch.events.is_empty(), "a batch has events");
                self.credit =
                    self.credit.checked_sub(batch.events.len() as u64).expect("credit is never exceeded");
                self.token = batch.resume_token.clone();
            }
            Message::Heartbeat(heartbeat) => self.token = heartbeat.resume_token.clone(),
            Message::Acked(_) => self.acked += 1,
            Message::StateBegin(begin) => self.token = begin.resume_token.clone(),
            Message::StateEnd(end) => self.token = end.resume_token.clone(),
            Message::Recalls(recalls) => {
                let v1::RecallBatch { events, kinds } = recalls.clone();
                self.recalls.extend(self::events(v1::EventBatch { events, kinds, ..Default::default() }));
            }
            _ => {}
        }
        Some(Ok(message))
    }

    /// Takes all there is, granting `grant` whenever the credit is used up.
    pub(crate) async fn drain(&mut self, grant: u64) -> Vec<Batch> {
        let (mut batches, mut quiet) = (Vec::new(), 0);
        // With credit, the hub looks before each heartbeat. Once it has taken
        // the credit at most two heartbeats may be from before that: one in
        // the channel and one at its door.
        while quiet < 4 {
            if self.credit == 0 {
                self.grant(grant).await;
            }
            match self.next().await.expect("the stream lasts").expect("no error") {
                Message::Batch(batch) => {
                    quiet = 0;
                    batches.push(Batch { token: batch.resume_token.clone(), events: events(batch) });
                }
                Message::Heartbeat(_) if self.commands.capacity() < self.commands.max_capacity() => quiet = 0,
                Message::Heartbeat(_) => quiet += 1,
                Message::Acked(_) | Message::Recalls(_) | Message::Checkpoint(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        batches
    }

    /// Takes what comes up to the event that `last` knows, granting `grant`
    /// whenever the credit is used up.
    pub(crate) async fn take_until(&mut self, grant: u64, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut taken = Vec::new();
        while !taken.last().is_some_and(&last) {
            if self.credit == 0 {
                self.grant(grant).await;
            }
            if let Message::Batch(batch) = self.next().await.expect("the stream lasts").expect("no error") {
                taken.extend(events(batch));
            }
        }
        taken
    }

    /// The next event, of whatever kind.
    pub(crate) async fn any(&mut self) -> Event {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return event;
            }
            if let Message::Batch(batch) = self.next().await.expect("the stream lasts").expect("no error") {
                self.ahead.extend(events(batch));
            }
        }
    }

    /// The next event of this kind; what comes before it is passed over, and
    /// what follows it in its batch is found by the next call.
    pub(crate) async fn until(&mut self, kind: i32) -> Event {
        let waiting = async {
            loop {
                while let Some(event) = self.ahead.pop_front() {
                    if event.kind == kind {
                        return event;
                    }
                }
                if let Message::Batch(batch) = self.next().await.expect("the stream lasts").expect("no error")
                {
                    self.ahead.extend(events(batch));
                }
            }
        };
        patiently("an event of this kind", waiting).await
    }

    /// Takes what comes up to the indicator of this name, however often the
    /// hub pauses on the way.
    pub(crate) async fn up_to(&mut self, name: &str) -> Vec<Event> {
        let mut heard = Vec::new();
        let is_it = |event: &Event| event.indicator.as_ref().is_some_and(|found| found.name == name);
        while !heard.iter().any(is_it) {
            if let Message::Batch(batch) = self.next().await.expect("the stream lasts").expect("no error") {
                heard.extend(events(batch));
            }
        }
        heard
    }

    /// Takes what comes until the credit is used up, or nothing comes.
    pub(crate) async fn spend(&mut self) -> Vec<Batch> {
        let (mut batches, mut quiet) = (Vec::new(), 0);
        while self.credit > 0 && quiet < 4 {
            match self.next().await.expect("the stream lasts").expect("no error") {
                Message::Batch(batch) => {
                    batches.push(Batch { token: batch.resume_token.clone(), events: events(batch) });
                }
                _ => quiet += 1,
            }
        }
        batches
    }

    /// The error that ends the stream.
    pub(crate) async fn error(&mut self) -> Error {
        let waiting = async {
            loop {
                if let Err(error) = self.next().await.expect("an error comes before the end") {
                    return error;
                }
            }
        };
        patiently("the error that ends the stream", waiting).await
    }

    /// Goes away, and waits until the hub has noticed.
    pub(crate) async fn leave(self) {
        let Self { commands, frames, task, .. } = self;
        drop((commands, frames));
        patiently("the pump ends", task).await.unwrap();
    }
}

/// Runs a property's asynchronous body.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
