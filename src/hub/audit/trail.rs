//! Decides what a call's audit record says: what the layers know of it, and
//! what the engine notes on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::base::clock::{self, Timestamp};
use crate::model::audit::{Hash, Phase, Purpose, Record};
use crate::model::marking::Tlp;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::receipt::{Told, Way};
use crate::policy::access::Method;
use crate::policy::audit;
use crate::store::receipts::Party;

use super::super::caller::PeerCertificate;

/// What is known of a call under way. Clones share it; the default is of
/// nobody's call and keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct Trail(Option<Arc<Run>>);

#[derive(Debug)]
struct Run {
    call: Uuid,
    method: Option<Method>,
    principal: SpiffeId,
    certificate: [u8; 32],
    /// Serial number of the certificate.
    serial: String,
    /// Whether it is of one message of a stream.
    portion: bool,
    begun: Timestamp,
    started: Instant,
    facts: Mutex<Facts>,
    /// Whether the writer has laid its record down.
    written: AtomicBool,
    /// Number of its record in the audit, and 1; 0: it is not known.
    audited: AtomicU64,
}

/// What the engine noted.
#[derive(Debug, Default)]
struct Facts {
    asked: u32,
    given: u32,
    refused: u32,
    /// Narrowest label of what the answer holds, 0 for nothing; `None`: it was
    /// not looked at.
    tlp: Option<u8>,
    about: String,
    digest: Option<Hash>,
    /// Versions that the answer holds.
    told: Told,
}

impl Trail {
    /// The trail of a call that begins.
    pub fn begin(call: Uuid, method: Option<Method>, peer: &PeerCertificate, now: Timestamp) -> Self {
        Self(Some(Arc::new(Run {
            call,
            method,
            principal: peer.identity.clone(),
            certificate: peer.fingerprint,
            serial: peer.certificate.serial.clone(),
            portion: false,
            begun: now,
            started: clock::monotonic(),
            facts: Mutex::default(),
            written: AtomicBool::new(false),
            audited: AtomicU64::new(0),
        })))
    }

    /// The trail of one message of the same call.
    #[must_use]
    pub fn portion(&self, now: Timestamp) -> Self {
        Self(self.0.as_ref().map(|run| {
            Arc::new(Run {
                call: run.call,
                method: run.method,
                principal: run.principal.clone(),
                certificate: run.certificate,
                serial: run.serial.clone(),
                portion: true,
                begun: now,
                started: clock::monotonic(),
                facts: Mutex::default(),
                written: AtomicBool::new(false),
                audited: AtomicU64::new(0),
            })
        }))
    }

    fn facts(&self, note: impl FnOnce(&mut Facts)) {
        if let Some(run) = &self.0 {
            note(&mut run.facts.lock());
        }
    }

    /// So many items were asked about, or sent.
    pub fn asked(&self, items: usize) {
        self.facts(|facts| facts.asked = count(items));
    }

    /// So many were given or taken, and so many refused.
    pub fn given(&self, given: usize, refused: usize) {
        self.facts(|facts| (facts.given, facts.refused) = (count(given), count(refused)));
    }

    /// So many more were given.
    pub fn gave(&self, more: usize) {
        self.facts(|facts| facts.given = facts.given.saturating_add(count(more)));
    }

    /// The answer holds something with this label.
    pub fn saw(&self, tlp: Tlp) {
        self.facts(|facts| facts.tlp = facts.tlp.max(Some(tlp.number())));
    }

    /// The answer was looked at as to what it holds; nothing so far.
    pub fn looks(&self) {
        self.facts(|facts| facts.tlp = facts.tlp.max(Some(0)));
    }

    /// The answer holds this version of a record.
    pub fn told(&self, handle: Position, position: Position) {
        self.facts(|facts| facts.told.read(handle, position));
    }

    /// What the answer holds, for its receipt: who asked, in which way, and
    /// what, which is taken; `None`: nothing.
    #[must_use]
    pub fn receipt(&self) -> Option<(Party, Way, Told)> {
        let run = self.0.as_ref()?;
        let mut told = std::mem::take(&mut run.facts.lock().told);
        if told.is_empty() {
            return None;
        }
        told.settle();
        let way = match run.method {
            Some(Method::ExportIndicators) => Way::Exported,
            Some(Method::LookupObservables) => Way::LookedUp,
            _ => Way::Read,
        };
        let (principal, serial) = (run.principal.clone(), run.serial.clone());
        let (subscription, audit) = (String::new(), self.audited());
        let party = Party { principal, serial, streams: false, subscription, audit };
        Some((party, way, told))
    }

    /// Its record is the one of this number in the audit.
    pub fn noted(&self, index: Option<u64>) {
        if let Some((run, index)) = self.0.as_ref().zip(index) {
            run.audited.store(index.saturating_add(1), Ordering::Release);
        }
    }

    /// Number of its record in the audit, if it is known.
    #[must_use]
    pub fn audited(&self) -> Option<u64> {
        self.0.as_ref().and_then(|run| run.audited.load(Ordering::Acquire).checked_sub(1))
    }

    /// What was asked: a name or a filter.
    pub fn about(&self, text: impl FnOnce() -> String) {
        self.facts(|facts| facts.about = text());
    }

    /// A digest of what was asked and is not told.
    pub fn digest(&self, digest: Hash) {
        self.facts(|facts| facts.digest = Some(digest));
    }

    /// Number of the call; zeroes where there is none.
    #[must_use]
    pub fn call(&self) -> [u8; 16] {
        self.0.as_ref().map(|run| run.call.into_bytes()).unwrap_or_default()
    }

    /// Notes that the writer has laid the record down.
    pub fn wrote(&self) {
        if let Some(run) = &self.0 {
            run.written.store(true, Ordering::Release);
        }
    }

    /// Whether it has.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.0.as_ref().is_some_and(|run| run.written.load(Ordering::Acquire))
    }

    /// Whether the answer may hold what must not leave before the record is
    /// durable.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        let Some(run) = &self.0 else { return false };
        let narrow = run.facts.lock().tlp.is_none_or(|tlp| tlp >= Tlp::Amber.number());
        narrow && run.method.is_some_and(audit::carries_content)
    }

    /// Whether the call is a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.0.as_ref().is_some_and(|run| run.method.is_some_and(|method| !method.is_unary()))
    }

    /// The record of the call as it stands; `None`: there is no call.
    #[must_use]
    pub fn record(&self, opened: bool, outcome: &'static str) -> Option<Record> {
        let run = self.0.as_ref()?;
        let phase = match (run.portion, self.is_stream(), opened) {
            (true, _, _) => Phase::Portion,
            (false, true, true) => Phase::Opened,
            (false, true, false) => Phase::Ended,
            (false, false, _) => Phase::Whole,
        };
        let facts = run.facts.lock();
        let method = run.method.map_or("unknown", Method::name);
        Some(Record {
            phase,
            purpose: run.method.map_or(Purpose::Platform, audit::purpose),
            tlp: facts.tlp.unwrap_or_default(),
            micros: u32::try_from(run.started.elapsed().as_micros()).unwrap_or(u32::MAX),
            call: run.call.into_bytes(),
            certificate: run.certificate,
            asked: facts.asked,
            given: facts.given,
            refused: facts.refused,
            outcome: outcome.into(),
            principal: run.principal.as_str().to_owned(),
            about: facts.about.clone(),
            digest: facts.digest,
            ..Record::note(method, run.begun)
        })
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
