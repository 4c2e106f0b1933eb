//! Decides how audit records and proofs are spelt in the public contract.

use bytes::Bytes;

use crate::model::audit::Record;
use crate::model::audit::tree::Hash;

use super::super::proto::v1;
use super::time;

/// A record, with its number and its canonical encoding.
#[must_use]
pub fn record(index: u64, encoded: Vec<u8>, record: Record) -> v1::AuditRecord {
    let Record {
        phase,
        purpose,
        tlp,
        time: began,
        micros,
        call,
        certificate,
        asked,
        given,
        refused,
        method,
        outcome,
        principal,
        about,
        digest,
    } = record;
    v1::AuditRecord {
        index,
        encoded: encoded.into(),
        time: Some(time::write(began)),
        duration_micros: micros,
        phase: phase.as_str().to_owned(),
        purpose: purpose.as_str().to_owned(),
        method: method.into_owned(),
        outcome: outcome.into_owned(),
        principal,
        certificate: Bytes::copy_from_slice(&certificate),
        call_id: Bytes::copy_from_slice(&call),
        asked_count: asked,
        given_count: given,
        refused_count: refused,
        tlp: tlp.into(),
        about,
        digest: digest.map(|digest| Bytes::copy_from_slice(&digest)).unwrap_or_default(),
    }
}

/// The hashes of a proof.
#[must_use]
pub fn hashes(path: &[Hash]) -> Vec<Bytes> {
    path.iter().map(|hash| Bytes::copy_from_slice(hash)).collect()
}

/// Reads the hashes of a proof; `None` if one is none.
#[must_use]
pub fn read_hashes(path: &[Bytes]) -> Option<Vec<Hash>> {
    path.iter().map(|hash| hash.as_ref().try_into().ok()).collect()
}
