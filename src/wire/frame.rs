//! Decides how a response of Subscribe is laid into the transport's buffer:
//! stored bodies are sliced or copied once, never encoded again.

use bytes::{BufMut, Bytes};
use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::model::event::EventKind;
use crate::model::receipt::Told;

use super::proto::v1;

const BATCH: u8 = 0x12;
const HEARTBEAT: u8 = 0x1a;
const ACKED: u8 = 0x22;
const DRAINING: u8 = 0x2a;
const STATE_BEGIN: u8 = 0x32;
const STATE_END: u8 = 0x3a;
const RECALLS: u8 = 0x42;
const TOKEN: u8 = 0x0a;
/// `Heartbeat.caught_up`, set.
const CAUGHT_UP: [u8; 2] = [0x10, 1];
const BATCH_KINDS: u8 = 0x12;
const BATCH_TOKEN: u8 = 0x1a;
const BATCH_DISCLOSURE: u8 = 0x22;
const DISCLOSURE_INDEX: u8 = 0x08;

/// A response of Subscribe, past `Opened`.
#[derive(Debug, Clone)]
pub enum Frame {
    /// Encoded message of any other kind, such as `Opened`.
    Message(Bytes),
    /// Events.
    Batch(Batch),
    /// Progress without events, and whether there is no more for now.
    Heartbeat(Bytes, bool),
    /// Acknowledgements up to here are durable.
    Acked(Bytes),
    /// The hub is going; resume from here.
    Draining(Bytes),
    /// The current state begins.
    StateBegin(Bytes),
    /// The current state is complete.
    StateEnd(Bytes),
    /// What ended while the subscriber was away; without a token.
    Recalls(Batch),
}

/// Events in order, as slices of the log.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bodies: Vec<Bytes>,
    bodies_len: usize,
    kinds: Vec<EventKind>,
    all_new: bool,
    count: usize,
    token: Bytes,
    disclosures: Vec<(u64, Bytes)>,
    disclosures_len: usize,
    /// What receipts say of it, for whoever fills it; it is not sent.
    pub told: Told,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { all_new: true, ..Self::default() }
    }

    /// Adds `count` NEW events whose bodies lie back to back in `bodies`.
    pub fn push_new(&mut self, count: usize, bodies: Bytes) {
        self.bodies_len += bodies.len();
        self.bodies.push(bodies);
        self.note_new(count);
    }

    fn note_new(&mut self, count: usize) {
        if !self.all_new {
            self.kinds.extend(std::iter::repeat_n(EventKind::New, count));
        }
        self.count += count;
    }

    /// Adds one event.
    pub fn push(&mut self, kind: EventKind, body: Bytes) {
        if kind != EventKind::New && self.all_new {
            self.all_new = false;
            self.kinds = vec![EventKind::New; self.count];
        }
        self.push_new(0, body);
        self.count += 1;
        if !self.all_new {
            self.kinds.push(kind);
        }
    }

    /// Adds to the last `count` events what is disclosed of each: an encoded
    /// `Disclosure` but for its index.
    pub fn disclose(&mut self, count: usize, disclosure: &Bytes) {
        for index in self.count.saturating_sub(count)..self.count {
            let index = index as u64;
            self.disclosures_len += field_len(disclosure_len(index, disclosure));
            self.disclosures.push((index, disclosure.clone()));
        }
    }

    /// Sets the token that resumes after the last event.
    pub fn set_token(&mut self, token: Bytes) {
        self.token = token;
    }

    /// Number of events.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the bodies, and of what is disclosed of them.
    #[must_use]
    pub const fn bodies_len(&self) -> usize {
        self.bodies_len + self.disclosures_len
    }

    fn content_len(&self) -> usize {
        let kinds = if self.all_new { 0 } else { field_len(self.kinds.len()) };
        let token = if self.token.is_empty() { 0 } else { field_len(self.token.len()) };
        self.bodies_len + kinds + token + self.disclosures_len
    }

    fn encode(&self, tag: u8, out: &mut impl BufMut) {
        out.put_u8(tag);
        encode_varint(self.content_len() as u64, out);
        for bodies in &self.bodies {
            out.put_slice(bodies);
        }
        if !self.all_new {
            out.put_u8(BATCH_KINDS);
            encode_varint(self.kinds.len() as u64, out);
            for kind in &self.kinds {
                out.put_u8(kind.number());
            }
        }
        if !self.token.is_empty() {
            field(BATCH_TOKEN, &self.token, out);
        }
        for (index, disclosure) in &self.disclosures {
            out.put_u8(BATCH_DISCLOSURE);
            encode_varint(disclosure_len(*index, disclosure) as u64, out);
            out.put_u8(DISCLOSURE_INDEX);
            encode_varint(*index, out);
            out.put_slice(disclosure);
        }
    }
}

/// Length of an encoded `Disclosure`. Its index is written even if it is 0.
fn disclosure_len(index: u64, disclosure: &Bytes) -> usize {
    1 + encoded_len_varint(index) + disclosure.len()
}

/// Length of a length-delimited field with a one-byte tag.
const fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

impl Frame {
    /// What the hub signs of its audit.
    #[must_use]
    pub fn checkpoint(checkpoint: String) -> Self {
        let message = v1::subscribe_response::Message::Checkpoint(v1::AuditCheckpoint { checkpoint });
        Self::Message(v1::SubscribeResponse { message: Some(message) }.encode_to_vec().into())
    }

    /// Length of the encoded `SubscribeResponse`, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Batch(batch) | Self::Recalls(batch) => field_len(batch.content_len()),
            Self::Heartbeat(token, caught_up) => {
                field_len(field_len(token.len()) + if *caught_up { CAUGHT_UP.len() } else { 0 })
            }
            Self::Acked(token) | Self::Draining(token) | Self::StateBegin(token) | Self::StateEnd(token) => {
                field_len(field_len(token.len()))
            }
        }
    }

    /// Appends the encoded `SubscribeResponse`.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Message(message) => out.put_slice(message),
            Self::Batch(batch) => batch.encode(BATCH, out),
            Self::Recalls(batch) => batch.encode(RECALLS, out),
            Self::Heartbeat(token, false) => nested(HEARTBEAT, token, out),
            Self::Heartbeat(token, true) => {
                out.put_u8(HEARTBEAT);
                encode_varint((field_len(token.len()) + CAUGHT_UP.len()) as u64, out);
                field(TOKEN, token, out);
                out.put_slice(&CAUGHT_UP);
            }
            Self::Acked(token) => nested(ACKED, token, out),
            Self::Draining(token) => nested(DRAINING, token, out),
            Self::StateBegin(token) => nested(STATE_BEGIN, token, out),
            Self::StateEnd(token) => nested(STATE_END, token, out),
        }
    }
}

fn field(tag: u8, content: &[u8], out: &mut impl BufMut) {
    out.put_u8(tag);
    encode_varint(content.len() as u64, out);
    out.put_slice(content);
}

fn nested(tag: u8, token: &[u8], out: &mut impl BufMut) {
    out.put_u8(tag);
    encode_varint(field_len(token.len()) as u64, out);
    field(TOKEN, token, out);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::wire::proto::v1;

    fn decode(frame: &Frame) -> v1::subscribe_response::Message {
        let mut out = Vec::new();
        frame.encode(&mut out);
        assert_eq!(out.len(), frame.encoded_len());
        v1::SubscribeResponse::decode(out.as_slice()).unwrap().message.unwrap()
    }

    fn body(id: u8) -> Bytes {
        let event = v1::Event { event_id: vec![id; 16].into(), subject: None };
        v1::EventBatch { events: vec![event], ..Default::default() }.encode_to_vec().into()
    }

    #[test]
    fn a_batch_of_new_events_carries_no_kinds() {
        let mut batch = Batch::new();
        batch.push_new(2, [body(1), body(2)].concat().into());
        batch.set_token(Bytes::from_static(b"token"));
        let v1::subscribe_response::Message::Batch(read) = decode(&Frame::Batch(batch)) else { panic!() };
        assert_eq!(read.events.iter().map(|e| e.event_id[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((read.kinds, read.resume_token.as_ref()), (vec![], b"token".as_slice()));
    }

    #[test]
    fn a_batch_of_mixed_kinds_carries_one_kind_per_event() {
        let mut batch = Batch::new();
        batch.push_new(2, [body(1), body(2)].concat().into());
        batch.push(EventKind::Revoked, body(3));
        batch.push(EventKind::New, body(4));
        batch.push_new(1, body(5));
        batch.push_new(1, body(6));
        assert_eq!(batch.count(), 6);
        let v1::subscribe_response::Message::Batch(read) = decode(&Frame::Batch(batch)) else { panic!() };
        assert_eq!(read.events.iter().map(|e| e.event_id[0]).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(read.kinds, [1, 1, 4, 1, 1, 1]);
    }

    #[test]
    fn what_is_disclosed_names_its_event() {
        let disclosure = |owner: &str| v1::Disclosure {
            owner: owner.to_owned(),
            organisations: vec!["organisations/x".to_owned()],
            ..Default::default()
        };
        let encoded = |owner| Bytes::from(disclosure(owner).encode_to_vec());
        let mut batch = Batch::new();
        batch.push_new(2, [body(1), body(2)].concat().into());
        batch.disclose(2, &encoded("a"));
        batch.push(EventKind::Revoked, body(3));
        (4..=200).for_each(|id| batch.push(EventKind::New, body(id)));
        batch.disclose(1, &encoded("b"));
        let v1::subscribe_response::Message::Batch(read) = decode(&Frame::Batch(batch)) else { panic!() };
        let expected = [(0, "a"), (1, "a"), (199, "b")]
            .map(|(index, owner)| v1::Disclosure { index, ..disclosure(owner) });
        assert_eq!(read.disclosures, expected);
        assert_eq!(read.events.len(), 200);
    }

    #[test]
    fn tokens_travel_in_heartbeats_acks_and_draining() {
        use v1::subscribe_response::Message;
        let token = Bytes::from(vec![7; 300]);
        assert!(
            matches!(decode(&Frame::Heartbeat(token.clone(), false)), Message::Heartbeat(m) if m.resume_token == token && !m.caught_up)
        );
        assert!(
            matches!(decode(&Frame::Heartbeat(token.clone(), true)), Message::Heartbeat(m) if m.resume_token == token && m.caught_up)
        );
        assert!(matches!(decode(&Frame::Acked(token.clone())), Message::Acked(m) if m.resume_token == token));
        assert!(
            matches!(decode(&Frame::Draining(token.clone())), Message::Draining(m) if m.resume_token == token)
        );
        let begin = decode(&Frame::StateBegin(token.clone()));
        assert!(matches!(begin, Message::StateBegin(m) if m.resume_token == token));
        let end = decode(&Frame::StateEnd(token.clone()));
        assert!(matches!(end, Message::StateEnd(m) if m.resume_token == token));
    }

    #[test]
    fn recalls_carry_kinds_and_no_token() {
        let mut batch = Batch::new();
        batch.push(EventKind::Revoked, body(1));
        batch.push(EventKind::Expired, body(2));
        let v1::subscribe_response::Message::Recalls(read) = decode(&Frame::Recalls(batch)) else { panic!() };
        assert_eq!(read.events.iter().map(|e| e.event_id[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(read.kinds, [4, 5]);
    }
}
