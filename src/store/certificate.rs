//! Decides how certificates are stored: in the entries that change them, and
//! as they stand.
//!
//! ```text
//! 51 'c' issuer 32 bytes | serial     IssuedCertificate
//! 51 'v' issuer 32 bytes | serial     RevokedCertificate
//! 51 'b'                              when the newest whole backup was begun, u64
//! 51 's' position u64                 SeveredConnections
//! 51 't' position u64                 EnrolmentToken
//! 51 'n' issuer 32 bytes              last number of its revocation list, u64
//! 51 'p' issuer 32 bytes | identity   empty: its trust was proved
//! 51 'j'                              how far the signer's journal was read, u64, and the position
//!                                     of the entry that says so, u64
//! 51 'r' hierarchy u32                AuthorityRotation
//! ```

use std::sync::Arc;

use prost::Message as _;
use rustls::pki_types::CertificateDer;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::certificate::{
    Certificate, CertificateChange, CertificateEntry, CertificateId, Hierarchy, IssuerDigest, Origin, Peers,
    Revoked, Severance, Token, TokenState,
};
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::pki::authority::{Generation, Phase, Rotation};
use crate::pki::ledger::Ledger;

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{Family, KeyKind};
use super::proto::{
    self, certificate_change::Change as Stored, issued_certificate::Origin as StoredOrigin,
    severed_connections::Peers as StoredPeers,
};
use super::roster::message;

const ISSUED: u8 = b'c';
const REVOKED: u8 = b'v';
const BACKED_UP: u8 = b'b';
const SEVERED: u8 = b's';
const TOKEN: u8 = b't';
const NUMBER: u8 = b'n';
const PROOF: u8 = b'p';
const JOURNAL: u8 = b'j';
const ROTATION: u8 = b'r';

fn damaged(what: impl std::fmt::Debug) -> Error {
    Error::corrupt("certificate", what)
}

fn bytes_32(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| damaged(bytes.len()))
}

fn issuer(bytes: &[u8]) -> Result<IssuerDigest, Error> {
    bytes_32(bytes).map(IssuerDigest::from_bytes)
}

fn holder(text: &str) -> Result<SpiffeId, Error> {
    SpiffeId::parse(text).map_err(|_| damaged(text))
}

fn moment(micros: u64) -> Timestamp {
    Timestamp::from_micros_clamped(micros)
}

fn optional(micros: u64) -> Option<Timestamp> {
    (micros != 0).then(|| moment(micros))
}

fn micros(time: Option<Timestamp>) -> u64 {
    time.map_or(0, Timestamp::as_micros)
}

fn encode_id(id: &CertificateId) -> proto::CertificateId {
    proto::CertificateId { issuer: id.issuer.as_bytes().to_vec().into(), serial: id.serial.clone() }
}

fn decode_id(stored: Option<&proto::CertificateId>) -> Result<CertificateId, Error> {
    let stored = stored.ok_or_else(|| damaged("id"))?;
    Ok(CertificateId { issuer: issuer(&stored.issuer)?, serial: stored.serial.clone() })
}

fn encode_certificate(certificate: &Certificate) -> proto::IssuedCertificate {
    proto::IssuedCertificate {
        id: Some(encode_id(&certificate.id)),
        der: certificate.der.clone().into(),
        holder: certificate.holder.to_string(),
        key: certificate.key.to_vec().into(),
        not_before: certificate.not_before.as_micros(),
        not_after: certificate.not_after.as_micros(),
        issued: certificate.issued.as_micros(),
        origin: match &certificate.origin {
            Origin::Token(digest) => Some(StoredOrigin::Token(digest.to_vec().into())),
            Origin::Renewal(before) => Some(StoredOrigin::Renewal(encode_id(before))),
            Origin::Recovered => None,
        },
        first_used: micros(certificate.first_used),
        superseded: micros(certificate.superseded),
        doubtful: certificate.doubtful,
        unconfirmed: certificate.unconfirmed,
    }
}

fn decode_certificate(stored: &proto::IssuedCertificate) -> Result<Certificate, Error> {
    Ok(Certificate {
        id: decode_id(stored.id.as_ref())?,
        der: stored.der.to_vec(),
        holder: holder(&stored.holder)?,
        key: bytes_32(&stored.key)?,
        not_before: moment(stored.not_before),
        not_after: moment(stored.not_after),
        issued: moment(stored.issued),
        origin: match &stored.origin {
            Some(StoredOrigin::Token(digest)) => Origin::Token(bytes_32(digest)?),
            Some(StoredOrigin::Renewal(before)) => Origin::Renewal(decode_id(Some(before))?),
            None => Origin::Recovered,
        },
        first_used: optional(stored.first_used),
        superseded: optional(stored.superseded),
        doubtful: stored.doubtful,
        unconfirmed: stored.unconfirmed,
    })
}

fn encode_token(token: &Token) -> proto::EnrolmentToken {
    proto::EnrolmentToken {
        digest: token.digest.to_vec().into(),
        holder: token.holder.to_string(),
        expires: token.expires.as_micros(),
        note: token.note.clone(),
        at: token.at.raw(),
        author: token.author.clone(),
        made: token.made.as_micros(),
        state: match token.state {
            TokenState::Pending => 0,
            TokenState::Ready => 1,
            TokenState::Used(_) => 2,
        },
        used_for: match &token.state {
            TokenState::Used(id) => Some(encode_id(id)),
            _ => None,
        },
    }
}

fn decode_token(stored: &proto::EnrolmentToken) -> Result<Token, Error> {
    Ok(Token {
        digest: bytes_32(&stored.digest)?,
        at: Position::from_raw(stored.at),
        holder: holder(&stored.holder)?,
        author: stored.author.clone(),
        made: moment(stored.made),
        expires: moment(stored.expires),
        note: stored.note.clone(),
        state: match stored.state {
            0 => TokenState::Pending,
            1 => TokenState::Ready,
            2 => TokenState::Used(decode_id(stored.used_for.as_ref())?),
            other => return Err(damaged(other)),
        },
    })
}

fn encode_peers(peers: &Peers, reason: &str) -> proto::SeveredConnections {
    let peers = match peers {
        Peers::Certificate(id) => StoredPeers::Certificate(encode_id(id)),
        Peers::Identity(holder) => StoredPeers::Holder(holder.to_string()),
        Peers::Organisation(slug) => StoredPeers::Organisation(slug.to_string()),
    };
    proto::SeveredConnections { peers: Some(peers), reason: reason.to_owned(), ..Default::default() }
}

fn decode_peers(stored: &proto::SeveredConnections) -> Result<Peers, Error> {
    Ok(match stored.peers.as_ref().ok_or_else(|| damaged("peers"))? {
        StoredPeers::Certificate(id) => Peers::Certificate(decode_id(Some(id))?),
        StoredPeers::Holder(identity) => Peers::Identity(holder(identity)?),
        StoredPeers::Organisation(slug) => {
            Peers::Organisation(OrgSlug::parse(slug).map_err(|_| damaged(slug))?)
        }
    })
}

/// A change among certificates for an entry of the log.
#[must_use]
pub fn encode_change(entry: &CertificateEntry) -> proto::CertificateChange {
    let change = match &entry.change {
        CertificateChange::Make { digest, holder, expires, note } => Stored::Make(proto::EnrolmentToken {
            digest: digest.to_vec().into(),
            holder: holder.to_string(),
            expires: expires.as_micros(),
            note: note.clone(),
            ..Default::default()
        }),
        CertificateChange::Approve(at) => Stored::Approve(at.raw()),
        CertificateChange::Cancel(at) => Stored::Cancel(at.raw()),
        CertificateChange::Issue(certificate) => Stored::Issue(encode_certificate(certificate)),
        CertificateChange::Revoke { id, reason, descendants } => Stored::Revoke(proto::RevokedCertificate {
            id: Some(encode_id(id)),
            reason: reason.clone(),
            descendants: *descendants,
            ..Default::default()
        }),
        CertificateChange::Confirm(ids) => {
            Stored::Confirm(proto::ConfirmedCertificates { ids: ids.iter().map(encode_id).collect() })
        }
        CertificateChange::Sever { peers, reason } => Stored::Sever(encode_peers(peers, reason)),
        CertificateChange::Use(id) => Stored::Use(encode_id(id)),
        CertificateChange::Draw(issuer) => Stored::Draw(issuer.as_bytes().to_vec().into()),
        CertificateChange::Prove { holder, issuer } => Stored::Prove(proto::TrustProof {
            holder: holder.to_string(),
            issuer: issuer.as_bytes().to_vec().into(),
        }),
        CertificateChange::Read(number) => Stored::Read(*number),
        CertificateChange::BackUp(begun) => Stored::BackUp(begun.as_micros()),
        CertificateChange::Skip { issuer, number } => {
            Stored::Skip(proto::ListNumber { issuer: issuer.as_bytes().to_vec().into(), number: *number })
        }
    };
    proto::CertificateChange { time: entry.time.as_micros(), change: Some(change) }
}

/// A change among certificates from an entry of the log.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_change(stored: &proto::CertificateChange) -> Result<CertificateEntry, Error> {
    let change = match stored.change.as_ref().ok_or_else(|| damaged("change"))? {
        Stored::Make(token) => CertificateChange::Make {
            digest: bytes_32(&token.digest)?,
            holder: holder(&token.holder)?,
            expires: moment(token.expires),
            note: token.note.clone(),
        },
        Stored::Approve(at) => CertificateChange::Approve(Position::from_raw(*at)),
        Stored::Cancel(at) => CertificateChange::Cancel(Position::from_raw(*at)),
        Stored::Issue(certificate) => CertificateChange::Issue(Arc::new(decode_certificate(certificate)?)),
        Stored::Revoke(revoked) => CertificateChange::Revoke {
            id: decode_id(revoked.id.as_ref())?,
            reason: revoked.reason.clone(),
            descendants: revoked.descendants,
        },
        Stored::Confirm(confirmed) => {
            let ids = confirmed.ids.iter().map(|id| decode_id(Some(id)));
            CertificateChange::Confirm(ids.collect::<Result<_, _>>()?)
        }
        Stored::Sever(severed) => {
            CertificateChange::Sever { peers: decode_peers(severed)?, reason: severed.reason.clone() }
        }
        Stored::Use(id) => CertificateChange::Use(decode_id(Some(id))?),
        Stored::Draw(digest) => CertificateChange::Draw(issuer(digest)?),
        Stored::Prove(proof) => {
            CertificateChange::Prove { holder: holder(&proof.holder)?, issuer: issuer(&proof.issuer)? }
        }
        Stored::Read(number) => CertificateChange::Read(*number),
        Stored::BackUp(begun) => CertificateChange::BackUp(moment(*begun)),
        Stored::Skip(list) => CertificateChange::Skip { issuer: issuer(&list.issuer)?, number: list.number },
        Stored::Rotate(_) => return Err(damaged("rotation")),
    };
    Ok(CertificateEntry { time: moment(stored.time), change })
}

/// A step of a rotation for an entry of the log.
#[must_use]
pub fn encode_rotation(time: Timestamp, rotation: &Rotation) -> proto::CertificateChange {
    let change = Some(Stored::Rotate(encode_rotation_record(rotation)));
    proto::CertificateChange { time: time.as_micros(), change }
}

fn encode_rotation_record(rotation: &Rotation) -> proto::AuthorityRotation {
    let generation = |generation: &Generation| proto::AuthorityGeneration {
        number: generation.number,
        certificate: generation.certificate.to_vec().into(),
    };
    proto::AuthorityRotation {
        hierarchy: hierarchy_number(rotation.hierarchy),
        phase: u32::from(rotation.phase.code()),
        current: Some(generation(&rotation.current)),
        next: rotation.next.as_ref().map(generation),
        since: rotation.since.as_micros(),
        version: rotation.version,
        retired: rotation
            .retired
            .iter()
            .map(|(issuer, key)| proto::RetiredAuthority {
                issuer: issuer.as_bytes().to_vec().into(),
                key: key.to_vec().into(),
            })
            .collect(),
    }
}

/// A rotation from an entry of the log, or as it stands.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_rotation(stored: &proto::AuthorityRotation) -> Result<Rotation, Error> {
    let generation = |stored: &proto::AuthorityGeneration| {
        Generation::from_der(stored.number, CertificateDer::from(stored.certificate.to_vec()))
            .map_err(|error| damaged(error.to_string()))
    };
    Ok(Rotation {
        hierarchy: match stored.hierarchy {
            1 => Hierarchy::Server,
            2 => Hierarchy::Client,
            other => return Err(damaged(other)),
        },
        phase: u8::try_from(stored.phase)
            .ok()
            .and_then(Phase::from_code)
            .ok_or_else(|| damaged(stored.phase))?,
        current: generation(stored.current.as_ref().ok_or_else(|| damaged("current"))?)?,
        next: stored.next.as_ref().map(generation).transpose()?,
        since: moment(stored.since),
        version: stored.version,
        retired: stored
            .retired
            .iter()
            .map(|retired| Ok((issuer(&retired.issuer)?, bytes_32(&retired.key)?)))
            .collect::<Result<_, Error>>()?,
    })
}

const fn hierarchy_number(hierarchy: Hierarchy) -> u32 {
    match hierarchy {
        Hierarchy::Server => 1,
        Hierarchy::Client => 2,
    }
}

fn key(noun: u8, parts: &[&[u8]]) -> Vec<u8> {
    [[KeyKind::Certificate.byte(), noun].as_slice(), &parts.concat()].concat()
}

fn id_key(noun: u8, id: &CertificateId) -> Vec<u8> {
    key(noun, &[id.issuer.as_bytes(), id.serial.as_bytes()])
}

impl Batch<'_> {
    /// What differs between two states of the ledger, of which the second was
    /// made from the first.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn ledger(&mut self, before: &Ledger, after: &Ledger) -> Result<(), Error> {
        for (id, certificate) in after.certificates.changed_since(&before.certificates, Arc::ptr_eq) {
            self.small(&id_key(ISSUED, id), &encode_certificate(certificate).encode_to_vec())?;
        }
        for (id, revoked) in after.revoked.changed_since(&before.revoked, |_, _| true) {
            let record = proto::RevokedCertificate {
                id: Some(encode_id(id)),
                reason: revoked.reason.clone(),
                time: revoked.time.as_micros(),
                by: revoked.by.clone(),
                descendants: false,
            };
            self.small(&id_key(REVOKED, id), &record.encode_to_vec())?;
        }
        for (at, severed) in after.severances.iter().filter(|(at, _)| !before.severances.contains_key(at)) {
            let record = proto::SeveredConnections {
                time: severed.time.as_micros(),
                by: severed.by.clone(),
                ..encode_peers(&severed.peers, &severed.reason)
            };
            self.small(&key(SEVERED, &[&at.raw().to_be_bytes()]), &record.encode_to_vec())?;
        }
        for at in before.severances.keys().filter(|at| !after.severances.contains_key(at)) {
            self.no_small(&key(SEVERED, &[&at.raw().to_be_bytes()]))?;
        }
        for (at, token) in &after.tokens {
            if before.tokens.get(at).is_none_or(|known| !Arc::ptr_eq(known, token)) {
                let key = key(TOKEN, &[&at.raw().to_be_bytes()]);
                self.small(&key, &encode_token(token).encode_to_vec())?;
            }
        }
        for at in before.tokens.keys().filter(|at| !after.tokens.contains_key(at)) {
            self.no_small(&key(TOKEN, &[&at.raw().to_be_bytes()]))?;
        }
        for (issuer, number) in &after.numbers {
            if before.numbers.get(issuer) != Some(number) {
                self.small(&key(NUMBER, &[issuer.as_bytes()]), &number.to_be_bytes())?;
            }
        }
        for ((issuer, holder), ()) in after.proofs.changed_since(&before.proofs, |(), ()| true) {
            self.small(&key(PROOF, &[issuer.as_bytes(), holder.as_str().as_bytes()]), &[])?;
        }
        for ((issuer, holder), ()) in before.proofs.changed_since(&after.proofs, |(), ()| true) {
            self.no_small(&key(PROOF, &[issuer.as_bytes(), holder.as_str().as_bytes()]))?;
        }
        for (hierarchy, rotation) in &after.rotations {
            if before.rotations.get(hierarchy).is_none_or(|known| !Arc::ptr_eq(known, rotation)) {
                let noun = hierarchy_number(*hierarchy).to_be_bytes();
                self.small(&key(ROTATION, &[&noun]), &encode_rotation_record(rotation).encode_to_vec())?;
            }
        }
        if before.backed_up != after.backed_up {
            self.small(&key(BACKED_UP, &[]), &micros(after.backed_up).to_be_bytes())?;
        }
        if before.read != after.read {
            let (number, at) = after.read;
            let record = [number.to_be_bytes(), at.raw().to_be_bytes()].concat();
            self.small(&key(JOURNAL, &[]), &record)?;
        }
        Ok(())
    }
}

impl Store {
    /// The ledger as it stands.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn ledger(&self) -> Result<Ledger, Error> {
        let mut ledger = Ledger::default();
        let mut records = self.records(Family::Meta, &[KeyKind::Certificate.byte()])?;
        while let Some((key, value)) = records.next_record()? {
            let (noun, rest) = key.get(1..).and_then(<[u8]>::split_first).ok_or_else(|| damaged(&key))?;
            match *noun {
                ISSUED => ledger.insert(Arc::new(decode_certificate(&message(&key, &value)?)?)),
                REVOKED => {
                    let stored: proto::RevokedCertificate = message(&key, &value)?;
                    let revoked = Revoked { time: moment(stored.time), reason: stored.reason, by: stored.by };
                    ledger.revoked.insert(decode_id(stored.id.as_ref())?, Arc::new(revoked));
                }
                BACKED_UP => ledger.backed_up = optional(number(&key, &value)?),
                SEVERED => {
                    let stored: proto::SeveredConnections = message(&key, &value)?;
                    let peers = decode_peers(&stored)?;
                    let (time, reason, by) = (moment(stored.time), stored.reason, stored.by);
                    let severed = Severance { peers, time, reason, by };
                    ledger.severances.insert(Position::from_raw(number(&key, rest)?), Arc::new(severed));
                }
                TOKEN => {
                    let token = decode_token(&message(&key, &value)?)?;
                    ledger.tokens.insert(token.at, Arc::new(token));
                }
                NUMBER => {
                    ledger.numbers.insert(issuer(rest)?, number(&key, &value)?);
                }
                PROOF => {
                    let (digest, identity) = rest.split_first_chunk::<32>().ok_or_else(|| damaged(&key))?;
                    let identity = std::str::from_utf8(identity).map_err(|_| damaged(&key))?;
                    ledger.proofs.insert((IssuerDigest::from_bytes(*digest), holder(identity)?), ());
                }
                ROTATION => {
                    let rotation = decode_rotation(&message(&key, &value)?)?;
                    ledger.rotations.insert(rotation.hierarchy, Arc::new(rotation));
                }
                JOURNAL => {
                    let (read, at) = value.split_at_checked(8).ok_or_else(|| damaged(&key))?;
                    ledger.read = (number(&key, read)?, Position::from_raw(number(&key, at)?));
                }
                _ => return Err(damaged(digest::hex(&key))),
            }
        }
        Ok(ledger)
    }
}

fn number(key: &[u8], value: &[u8]) -> Result<u64, Error> {
    Ok(u64::from_be_bytes(value.try_into().map_err(|_| damaged(key))?))
}

#[cfg(test)]
mod tests;
