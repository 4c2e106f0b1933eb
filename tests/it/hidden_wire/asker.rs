//! Decides what is compared of a call: everything that came back, to the
//! length of each header, and what it asked of the store.

use std::collections::BTreeSet;

use bytes::Bytes;
use luytre::store::Calls;
use luytre::wire::proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;
use v1::subscribe_response::Message as Heed;

use super::mask::{self, Ids, Read};
use crate::harness::patience::{eventually, patiently};
use crate::harness::raw::{self, Answer};
use crate::harness::{Faced, Peer};

/// What a call may tell by what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// It asks the same of the store as where nothing is hidden.
    Nothing,
    /// It passes over what is hidden on its way, through the log or over the
    /// sightings of a record: it asks the same whatever that is of.
    Passing,
    /// Not compared: an id that names nothing cannot be made, for ids are
    /// sealed, and a stream asks of its own accord.
    Open,
}

/// What one call told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// What was asked.
    pub(super) what: String,
    /// All that came back.
    pub(super) answer: Vec<String>,
    pub(super) cost: Cost,
    pub(super) calls: Calls,
}

/// Whoever asks, and what it was told so far.
pub(super) struct Asker<'a> {
    hub: &'a Faced,
    channel: Channel,
    pub(super) ids: Ids,
    pub(super) told: Vec<Told>,
    /// The paths of all methods that were asked.
    pub(super) asked: BTreeSet<&'static str>,
    /// Streams that are open.
    open: u64,
}

/// A message to send.
pub(super) fn said(message: &impl prost::Message) -> Bytes {
    message.encode_to_vec().into()
}

impl<'a> Asker<'a> {
    pub(super) fn new(hub: &'a Faced, peer: &Peer) -> Self {
        let channel = peer.channel();
        Self { hub, channel, ids: Ids::default(), told: Vec::new(), asked: BTreeSet::new(), open: 0 }
    }

    /// Lets a second pass, so that no two versions are of one moment.
    pub(super) fn tick(&self) {
        self.hub.clock.advance(1_000_000);
    }

    /// Calls a method that answers and ends.
    pub(super) async fn ask(
        &mut self,
        what: &str,
        cost: Cost,
        method: &'static str,
        read: Read,
        said: Vec<Bytes>,
    ) -> Vec<Bytes> {
        self.tick();
        let before = self.hub.engine.store_calls();
        let answer = patiently(what, raw::call(&self.channel, method, said)).await;
        let calls = self.hub.engine.store_calls().since(&before);
        let told = self.shown(&answer, read);
        self.note(format!("{method} {what}"), told, cost, calls);
        self.asked.insert(method);
        answer.messages
    }

    fn note(&mut self, what: String, answer: Vec<String>, cost: Cost, calls: Calls) {
        self.told.push(Told { what, answer, cost, calls });
    }

    fn shown(&mut self, answer: &Answer, read: Read) -> Vec<String> {
        let Answer { headers, messages, trailers, status } = answer;
        let mut shown = vec![lengths(headers)];
        for message in messages {
            shown.push(format!("{} bytes: {}", message.len(), self.ids.mask(&read(message))));
        }
        shown.push(lengths(trailers));
        shown.extend(status.as_ref().map(|status| self.refused(status)));
        shown
    }

    fn refused(&mut self, status: &Status) -> String {
        let details = status.get_error_details_vec();
        let text = format!(
            "{:?} {} {} bytes: {details:?}, {}",
            status.code(),
            status.message(),
            status.details().len(),
            lengths(status.metadata())
        );
        self.ids.mask(&text)
    }

    /// Opens a stream that stays open.
    pub(super) async fn open(&mut self, what: &str, method: &'static str, first: Bytes) -> Stream {
        self.tick();
        self.asked.insert(method);
        let (say, said) = mpsc::channel(16);
        say.send(first).await.unwrap();
        let opening = raw::open(&self.channel, method, ReceiverStream::new(said));
        let response = patiently(what, opening).await.unwrap();
        self.open += 1;
        let told = vec![lengths(response.metadata())];
        Stream {
            what: format!("{method} {what}"),
            say,
            frames: response.into_inner(),
            told,
            token: Bytes::new(),
        }
    }

    /// Takes frames up to the one that `last` knows, and goes away.
    pub(super) async fn take(&mut self, stream: &mut Stream, mut last: impl FnMut(&Heed) -> bool) {
        loop {
            let bytes = patiently(&stream.what, stream.frames.message()).await.unwrap().unwrap();
            let heed = v1::SubscribeResponse::decode(bytes.clone()).unwrap().message.unwrap();
            if matches!(heed, Heed::Checkpoint(_)) {
                // It counts the calls of all, as docs/audit.md says.
                continue;
            }
            stream.told.push(format!("{} bytes: {}", bytes.len(), self.ids.mask(&mask::frame(&bytes))));
            if let Heed::Batch(v1::EventBatch { resume_token, .. }) = &heed {
                stream.token = resume_token.clone();
            }
            if last(&heed) {
                return;
            }
        }
    }

    /// Takes so many events.
    pub(super) async fn take_events(&mut self, stream: &mut Stream, mut events: u32) {
        let all = |heed: &Heed| {
            if let Heed::Batch(batch) = heed {
                events -= u32::try_from(batch.events.len()).unwrap();
            }
            events == 0
        };
        self.take(stream, all).await;
    }

    /// Leaves a stream, and returns once the hub asks nothing for it any more.
    pub(super) async fn close(&mut self, stream: Stream) {
        let Stream { what, say, frames, told, .. } = stream;
        drop((say, frames));
        self.open -= 1;
        let gone = async || (self.hub.engine.statistics().subscribers == self.open).then_some(());
        eventually("the stream ends", gone).await;
        self.note(what, told, Cost::Open, Calls::default());
    }

    /// Says one thing, and takes one message of an answer that never ends.
    pub(super) async fn first(&mut self, what: &str, method: &'static str, read: Read, said: Bytes) {
        self.asked.insert(method);
        let opening = raw::open(&self.channel, method, tokio_stream::once(said));
        let response = patiently(what, opening).await.unwrap();
        let headers = lengths(response.metadata());
        let message = patiently(what, response.into_inner().message()).await.unwrap().unwrap();
        let told = vec![headers, format!("{} bytes: {}", message.len(), read(&message))];
        self.note(format!("{method} {what}"), told, Cost::Open, Calls::default());
    }
}

/// A stream that is open.
pub(super) struct Stream {
    what: String,
    pub(super) say: mpsc::Sender<Bytes>,
    frames: Streaming<Bytes>,
    told: Vec<String>,
    /// Of the last batch.
    pub(super) token: Bytes,
}

/// Each header with the length of its value.
fn lengths(headers: &MetadataMap) -> String {
    let mut all: Vec<_> = headers
        .iter()
        .map(|entry| match entry {
            KeyAndValueRef::Ascii(key, value) => format!("{key}: {}", value.as_encoded_bytes().len()),
            KeyAndValueRef::Binary(key, value) => format!("{key}: {}", value.as_encoded_bytes().len()),
        })
        .collect();
    all.sort();
    all.join(", ")
}
