//! The attackers of `docs/threat-model.md`, each in a file of its own, written
//! as the attacker: against the real hub, over real TLS, with what he has.
//! [`described`] is about what an indicator says of an attack. [`holding`],
//! [`owning`] and [`receiving`] are the low-privilege member at one service each.

use bytes::Bytes;
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{Peer, TestHub, Witness, amber, batch, draft};

mod agency;
mod described;
mod disk;
mod holding;
mod member;
mod model;
mod operator;
mod outsider;
mod owning;
mod publisher;
mod receiving;

/// What the attacker must not learn: it is in a record that is hidden from him.
const SECRET: &str = "secret-c2.example";
/// Every role that an agency's systems have.
const READER: [Role; 3] = [Role::Publisher, Role::Subscriber, Role::Analyst];

/// Somebody's record that only organisations `a` and `c` may read; its name.
async fn hide(hub: &TestHub) -> String {
    let victim = Witness::new(&hub.peer("a", "system/feed"));
    let secret = v1::IndicatorDraft { description: "hidden-words".to_owned(), ..draft(SECRET) };
    victim.publish(amber(secret, &["c"])).await
}

/// Code and reason of a refusal.
fn reason(status: &Status) -> (Code, String) {
    let reason = status.get_details_error_info().map(|info| info.reason);
    (status.code(), reason.unwrap_or_default())
}

/// All that a refusal tells, but for the number of the call: code, reason, text,
/// and how long its details are.
fn refused(status: &Status) -> (Code, String, String, usize) {
    let (code, reason) = reason(status);
    (code, reason, status.message().to_owned(), status.details().len())
}

/// Publishes plain values; how that went.
async fn publish(peer: &Peer, values: impl Iterator<Item = String>) -> Result<(), Status> {
    let drafts = values.map(|value| draft(&value)).collect();
    peer.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.map(drop)
}

/// The hub still answers whoever means well.
async fn serves(hub: &TestHub, organisation: &str) {
    let peer = hub.peer(organisation, "system/feed");
    publish(&peer, std::iter::once(format!("{organisation}-is-well.example"))).await.unwrap();
}

/// Bytes that look like what a method expects, and are not what it expects.
fn pathological() -> Vec<Bytes> {
    let nested = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut outer = vec![0x0a];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    });
    vec![
        Bytes::new(),
        Bytes::from_static(&[0xff; 4]),
        // A length of two gigabytes and nothing behind it.
        Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]),
        // A group that never ends, and field number zero.
        Bytes::from_static(&[0x0b, 0x0b, 0x0b]),
        Bytes::from_static(&[0x00, 0x01]),
        // Text that is no UTF-8.
        Bytes::from_static(&[0x0a, 0x02, 0xc3, 0x28]),
        nested.into(),
        vec![0x0a; 60 * 1024].into(),
    ]
}
