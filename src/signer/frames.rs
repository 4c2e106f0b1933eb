//! Decides what goes over the signer's socket and into its journal: frames of
//! JSON, a length before each, and nothing in them longer than its bound.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;
use crate::pki::identity::IssuerDigest;
use crate::pki::issue::Hierarchy;
use crate::pki::signing::{Held, Holder, LeafOrder, ListOrder, Record, Signed};

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Longest request for a revocation list, and longest answer: room for 100,000
/// revoked certificates.
pub(super) const MAX_LIST_BYTES: usize = 16 << 20;
/// Bytes before a request: its length, then its [`Call`].
pub(super) const HEAD_BYTES: usize = 5;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Authorities,
    SignLeaf,
    SignList,
    Journal,
}

impl Call {
    const ALL: [Self; 4] = [Self::Authorities, Self::SignLeaf, Self::SignList, Self::Journal];

    const fn code(self) -> u8 {
        match self {
            Self::Authorities => 1,
            Self::SignLeaf => 2,
            Self::SignList => 3,
            Self::Journal => 4,
        }
    }

    const fn max_bytes(self) -> usize {
        match self {
            Self::SignList => MAX_LIST_BYTES,
            Self::Authorities | Self::SignLeaf | Self::Journal => MAX_REQUEST_BYTES,
        }
    }

    /// Reads the head of a request: what it asks for, and how long it is.
    pub(super) fn from_head(head: [u8; HEAD_BYTES]) -> Option<(Self, usize)> {
        let [a, b, c, d, code] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let call = Self::ALL.into_iter().find(|call| call.code() == code)?;
        (length <= call.max_bytes()).then_some((call, length))
    }

    /// The request with this body, whole; `None` if it is too long.
    pub(super) fn request(self, body: &[u8]) -> Option<Vec<u8>> {
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= self.max_bytes())?;
        let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
        frame.extend(length.to_be_bytes());
        frame.push(self.code());
        frame.extend(body);
        Some(frame)
    }
}

/// Bytes, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).map(Self)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes.0)
    }
}

/// [`LeafOrder`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeafFrame {
    authority: Bytes,
    public_key: Bytes,
    serial: Bytes,
    holder: HolderFrame,
    not_before: u64,
    not_after: u64,
}

/// [`Holder`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum HolderFrame {
    Client(String),
    Server { dns: Vec<String>, ip: Vec<IpAddr> },
}

/// [`ListOrder`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListFrame {
    authority: Bytes,
    number: u64,
    this_update: u64,
    next_update: u64,
    revoked: Vec<(String, u64)>,
}

/// Which records are wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalFrame {
    pub(super) after: u64,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Authorities(Vec<HeldFrame>),
    Signed(Bytes),
    Journal(Vec<RecordFrame>),
    Refused(String),
    Limited(String),
    Unavailable(String),
}

/// [`Held`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeldFrame {
    hierarchy: HierarchyFrame,
    certificate: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HierarchyFrame {
    Client,
    Server,
}

/// [`Record`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordFrame {
    number: u64,
    time: u64,
    signed: SignedFrame,
}

/// [`Signed`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum SignedFrame {
    Leaf { certificate: Bytes },
    List { authority: Bytes, number: u64, added: Vec<(String, u64)> },
}

/// The frame does not say what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is not well-formed; let the hub and the signer be of one version")]
pub(super) struct Malformed;

fn digest(bytes: Bytes) -> Result<IssuerDigest, Malformed> {
    bytes.0.try_into().map(IssuerDigest::from_bytes).map_err(|_| Malformed)
}

fn moment(micros: u64) -> Result<Timestamp, Malformed> {
    Timestamp::from_micros(micros).ok_or(Malformed)
}

fn dated(frames: Vec<(String, u64)>) -> Result<Vec<(String, Timestamp)>, Malformed> {
    frames.into_iter().map(|(serial, at)| Ok((serial, moment(at)?))).collect()
}

fn to_dated(revoked: &[(String, Timestamp)]) -> Vec<(String, u64)> {
    revoked.iter().map(|(serial, at)| (serial.clone(), at.as_micros())).collect()
}

impl From<&LeafOrder> for LeafFrame {
    fn from(order: &LeafOrder) -> Self {
        Self {
            authority: Bytes(order.authority.as_bytes().to_vec()),
            public_key: Bytes(order.public_key.clone()),
            serial: Bytes(order.serial.clone()),
            holder: match &order.holder {
                Holder::Client(id) => HolderFrame::Client(id.to_string()),
                Holder::Server { dns, ip } => HolderFrame::Server { dns: dns.clone(), ip: ip.clone() },
            },
            not_before: order.not_before.as_micros(),
            not_after: order.not_after.as_micros(),
        }
    }
}

impl TryFrom<LeafFrame> for LeafOrder {
    type Error = Malformed;

    fn try_from(frame: LeafFrame) -> Result<Self, Malformed> {
        Ok(Self {
            authority: digest(frame.authority)?,
            public_key: frame.public_key.0,
            serial: frame.serial.0,
            holder: match frame.holder {
                HolderFrame::Client(id) => Holder::Client(SpiffeId::parse(&id).map_err(|_| Malformed)?),
                HolderFrame::Server { dns, ip } => Holder::Server { dns, ip },
            },
            not_before: moment(frame.not_before)?,
            not_after: moment(frame.not_after)?,
        })
    }
}

impl From<&ListOrder> for ListFrame {
    fn from(order: &ListOrder) -> Self {
        Self {
            authority: Bytes(order.authority.as_bytes().to_vec()),
            number: order.number,
            this_update: order.this_update.as_micros(),
            next_update: order.next_update.as_micros(),
            revoked: to_dated(&order.revoked),
        }
    }
}

impl TryFrom<ListFrame> for ListOrder {
    type Error = Malformed;

    fn try_from(frame: ListFrame) -> Result<Self, Malformed> {
        Ok(Self {
            authority: digest(frame.authority)?,
            number: frame.number,
            this_update: moment(frame.this_update)?,
            next_update: moment(frame.next_update)?,
            revoked: dated(frame.revoked)?,
        })
    }
}

impl From<&Held> for HeldFrame {
    fn from(held: &Held) -> Self {
        Self {
            hierarchy: match held.hierarchy {
                Hierarchy::Client => HierarchyFrame::Client,
                Hierarchy::Server => HierarchyFrame::Server,
            },
            certificate: Bytes(held.certificate.to_vec()),
        }
    }
}

impl From<HeldFrame> for Held {
    fn from(frame: HeldFrame) -> Self {
        Self {
            hierarchy: match frame.hierarchy {
                HierarchyFrame::Client => Hierarchy::Client,
                HierarchyFrame::Server => Hierarchy::Server,
            },
            certificate: CertificateDer::from(frame.certificate.0),
        }
    }
}

impl From<&Record> for RecordFrame {
    fn from(record: &Record) -> Self {
        Self {
            number: record.number,
            time: record.time.as_micros(),
            signed: match &record.signed {
                Signed::Leaf { certificate } => {
                    SignedFrame::Leaf { certificate: Bytes(certificate.to_vec()) }
                }
                Signed::List { authority, number, added } => SignedFrame::List {
                    authority: Bytes(authority.as_bytes().to_vec()),
                    number: *number,
                    added: to_dated(added),
                },
            },
        }
    }
}

impl TryFrom<RecordFrame> for Record {
    type Error = Malformed;

    fn try_from(frame: RecordFrame) -> Result<Self, Malformed> {
        Ok(Self {
            number: frame.number,
            time: moment(frame.time)?,
            signed: match frame.signed {
                SignedFrame::Leaf { certificate } => {
                    Signed::Leaf { certificate: CertificateDer::from(certificate.0) }
                }
                SignedFrame::List { authority, number, added } => {
                    Signed::List { authority: digest(authority)?, number, added: dated(added)? }
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_bounded_by_what_it_asks_for() {
        let head = |length: usize, call: Call| {
            let [a, b, c, d] = u32::try_from(length).unwrap().to_be_bytes();
            Call::from_head([a, b, c, d, call.code()])
        };
        for call in Call::ALL {
            let longest = call.max_bytes();
            assert_eq!(head(longest, call), Some((call, longest)));
            assert_eq!(head(longest + 1, call), None, "{call:?}");
        }
        assert_eq!(Call::from_head([0, 0, 0, 1, 0]), None);
        assert_eq!(Call::from_head([0, 0, 0, 1, 5]), None);
    }

    #[test]
    fn a_list_of_a_hundred_thousand_fits() {
        let serial = "5f".repeat(20);
        let order = ListOrder {
            authority: IssuerDigest::of(b"a"),
            number: u64::MAX,
            this_update: Timestamp::EPOCH,
            next_update: Timestamp::EPOCH,
            revoked: vec![(serial, Timestamp::from_micros_clamped(u64::MAX)); 100_000],
        };
        let body = serde_json::to_vec(&ListFrame::from(&order)).unwrap();
        assert!(Call::SignList.request(&body).is_some());
        assert!(Call::SignLeaf.request(&body).is_none());
        let read: ListFrame = serde_json::from_slice(&body).unwrap();
        assert_eq!(ListOrder::try_from(read), Ok(order));
    }
}
