//! Decides how certificates and the tokens for them are asked for and listed:
//! the ledger in the log decides, and the signer signs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::base::{digest, random};
use crate::model::Invalid;
use crate::model::certificate::{
    Certificate, CertificateChange, CertificateEntry, CertificateId, IssuerDigest, MAX_NOTE_BYTES, Peers,
    Revoked, Severance, Token,
};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::pki::ledger::{self, Ledger};
use crate::pki::schedule;
use crate::pki::signing::Signer;
use crate::pki::token::EnrolmentToken;
use crate::store::requests;

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::proposal::{Change, Decision, Proposal, Refusal};
use super::revoking::Switchboard;
use super::shared::Shared;

/// What the hub issues certificates with.
#[derive(Debug, Clone)]
pub struct Issuance {
    /// Who signs.
    pub signer: Arc<dyn Signer>,
    /// What agencies must trust: the roots of the server hierarchy.
    pub roots: Arc<[CertificateDer<'static>]>,
    /// Name under which the hub shows the certificate of its next authority.
    pub canary: Arc<str>,
    /// How long a client's certificate holds.
    pub lifetime: Duration,
    /// How long the next authority is at least trusted before it signs.
    pub soak: Duration,
}

/// Who asks for something of an operator's.
#[derive(Debug, Clone, Copy)]
pub enum Operator<'a> {
    /// An operator, by his certificate.
    Person(&'a Caller),
    /// The operator of the hub's machine, over the hub's own socket.
    Machine,
}

/// A certificate as operators see it.
#[derive(Debug, Clone)]
pub struct CertificateView {
    /// What was issued.
    pub certificate: Arc<Certificate>,
    /// That it was revoked.
    pub revoked: Option<Arc<Revoked>>,
    /// When its connections were last ended.
    pub severed: Option<Arc<Severance>>,
    /// Connections open under it.
    pub connections: usize,
    /// Whether its holder is asked to renew it now.
    pub renew_now: bool,
}

/// A token as operators see it.
#[derive(Debug, Clone)]
pub struct TokenView {
    /// Its id.
    pub id: Uuid,
    /// What is known of it.
    pub token: Arc<Token>,
}

impl Hub {
    /// The ledger of the moment.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        self.shared.ledger.load_full()
    }

    /// The clock that certificates are held against.
    #[must_use]
    pub fn machine_now(&self) -> Timestamp {
        self.shared.machine.now()
    }

    /// Says who holds the connections. Once; a second time changes nothing.
    pub fn attend(&self, switchboard: Arc<dyn Switchboard>) {
        let _ = self.shared.switchboard.set(switchboard);
    }

    /// Resolves whenever the ledger has changed.
    #[must_use]
    pub fn ledger_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.ledger_changes.subscribe()
    }

    /// What the hub issues with.
    ///
    /// # Errors
    /// `SIGNER_UNAVAILABLE`: this hub has no authorities of its own.
    pub(super) fn issuance(&self) -> Result<&Issuance, Error> {
        self.options.issuance.as_ref().ok_or_else(|| {
            Error::new(
                Reason::SignerUnavailable,
                "this hub issues no certificates: its configuration names no signer; ask its operator for one",
            )
        })
    }

    /// Makes a one-time token for `holder`; a second person approves it. The
    /// token itself is `None` where the same request made it before.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `PRINCIPAL_UNKNOWN`, `ORGANISATION_INACTIVE`,
    /// `SIGNER_UNAVAILABLE`, `RATE_LIMITED`; as every write.
    pub async fn make_token(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        holder: SpiffeId,
        ttl: Duration,
        note: String,
    ) -> Result<(TokenView, Option<EnrolmentToken>), Error> {
        let issuance = self.issuance()?;
        check_note("note", &note, false)?;
        self.guard_text(who(by), "make token", "note", &note)?;
        self.shared.admit(&holder).map_err(|_| {
            Error::from(Invalid::new(
                "spiffe_id",
                format!(
                    "{holder} is of no organisation that takes part; see the roster (luytre roster show)"
                ),
            ))
        })?;
        let ttl = schedule::token_ttl(ttl)?;
        let root =
            issuance.roots.first().ok_or_else(|| Error::internal("no root of the server hierarchy"))?;
        let token = EnrolmentToken::generate(digest::sha256(root));
        let content = [b"make ", holder.as_str().as_bytes(), &ttl.as_secs().to_be_bytes(), note.as_bytes()];
        let content = requests::first_16(&digest::sha256(&content.concat()));
        let change = CertificateChange::Make {
            digest: token.digest(),
            holder,
            expires: self.machine_now().saturating_add(ttl),
            note,
        };
        let at = self.certify(by, Some(request_id), content, change).await?;
        let made = self.ledger().tokens.get(&at).cloned().ok_or_else(Error::absent)?;
        let fresh = made.digest == token.digest();
        tracing::info!(target: "luytre::audit", holder = %made.holder, by = who(by), "enrolment token made");
        Ok((TokenView { id: self.shared.sealer.id(at), token: made }, fresh.then_some(token)))
    }

    /// The tokens that can still be used or approved, oldest first.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenView> {
        let (ledger, now) = (self.ledger(), self.machine_now());
        let standing = ledger.tokens.values().filter(|token| now < token.expires);
        standing
            .map(|token| TokenView { id: self.shared.sealer.id(token.at), token: Arc::clone(token) })
            .collect()
    }

    /// Lets a token be used that another operator made.
    ///
    /// # Errors
    /// `NOT_FOUND`; `SECOND_PERSON_REQUIRED` for its own author; as every write.
    pub async fn approve_token(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        id: Uuid,
    ) -> Result<TokenView, Error> {
        let at = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let content = named(b"approve ", id);
        self.certify(by, Some(request_id), content, CertificateChange::Approve(at)).await?;
        let token = self.ledger().tokens.get(&at).cloned().ok_or_else(Error::absent)?;
        tracing::info!(target: "luytre::audit", holder = %token.holder, by = who(by), "enrolment token approved");
        Ok(TokenView { id, token })
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// `NOT_FOUND`; as every write.
    pub async fn cancel_token(&self, by: Operator<'_>, request_id: Uuid, id: Uuid) -> Result<(), Error> {
        let at = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let content = named(b"cancel ", id);
        self.certify(by, Some(request_id), content, CertificateChange::Cancel(at)).await?;
        tracing::info!(target: "luytre::audit", by = who(by), "enrolment token taken back");
        Ok(())
    }

    /// Every certificate of the ledger, the one that ends first before the
    /// others.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateView> {
        let ledger = self.ledger();
        let mut all: Vec<_> = ledger.certificates.values().map(|c| self.view(&ledger, c)).collect();
        all.sort_by(|a, b| {
            let key = |view: &CertificateView| (view.certificate.not_after, view.certificate.id.clone());
            key(a).cmp(&key(b))
        });
        all
    }

    /// One certificate.
    #[must_use]
    pub fn certificate(&self, id: &CertificateId) -> Option<CertificateView> {
        let ledger = self.ledger();
        ledger.certificates.get(id).map(|certificate| self.view(&ledger, certificate))
    }

    /// The authority that a resource name means, by its first digits.
    #[must_use]
    pub fn issuer(&self, short: &str) -> Option<IssuerDigest> {
        let ledger = self.ledger();
        let anchors = self.shared.anchors.load_full();
        let issued: BTreeSet<_> = ledger.certificates.keys().map(|id| id.issuer).collect();
        issued.into_iter().chain(anchors.iter().copied()).find(|issuer| issuer.short() == short)
    }

    /// Notes which authorities the hub trusts at present.
    pub fn note_anchors(&self, anchors: Vec<IssuerDigest>) {
        self.shared.anchors.store(Arc::new(anchors));
    }

    /// Writes down which certificates are used for the first time, without end.
    pub async fn note_first_uses(&self) {
        loop {
            for id in self.shared.first_uses.take().await {
                let change = CertificateChange::Use(id);
                if let Err(error) = self.certify(Operator::Machine, None, random::bytes(), change).await {
                    tracing::debug!(%error, "the first use of a certificate could not be written down");
                }
            }
        }
    }

    /// Writes down that a system proved its trust in an authority of the
    /// server hierarchy.
    ///
    /// # Errors
    /// As every write.
    pub async fn prove(&self, holder: SpiffeId, issuer: IssuerDigest) -> Result<(), Error> {
        if self.ledger().proofs.contains_key(&(issuer, holder.clone())) {
            return Ok(());
        }
        let change = CertificateChange::Prove { holder, issuer };
        self.certify(Operator::Machine, None, random::bytes(), change).await.map(drop)
    }

    pub(super) fn view(&self, ledger: &Ledger, certificate: &Arc<Certificate>) -> CertificateView {
        let peers = Peers::Certificate(certificate.id.clone());
        CertificateView {
            certificate: Arc::clone(certificate),
            revoked: ledger.revoked.get(&certificate.id).cloned(),
            severed: ledger.last_severed(certificate).cloned(),
            connections: self.shared.switchboard.get().map_or(0, |board| board.count(&peers)),
            renew_now: ledger.is_tainted(&certificate.id.issuer),
        }
    }

    /// Brings a change among certificates to the writer: where its entry
    /// stands.
    pub(super) async fn certify(
        &self,
        by: Operator<'_>,
        request_id: Option<Uuid>,
        content: [u8; 16],
        change: CertificateChange,
    ) -> Result<Position, Error> {
        let entry = CertificateEntry { time: self.machine_now(), change };
        self.write(by, request_id, content, Change::Certificate(Box::new(entry))).await
    }

    pub(super) async fn write(
        &self,
        by: Operator<'_>,
        request_id: Option<Uuid>,
        content: [u8; 16],
        change: Change,
    ) -> Result<Position, Error> {
        let caller = match by {
            Operator::Person(caller) => Some(caller.clone()),
            Operator::Machine => None,
        };
        let author = caller.as_ref().map_or("", |caller| caller.identity().as_str());
        let request = request_id.map(|id| requests::request_key(author, id.as_bytes()));
        let salt = random::bytes();
        let proposal = |reply| Proposal { request, content, salt, caller, change, reply };
        match self.propose(proposal).await?.pop() {
            Some(Decision::Written { position, .. } | Decision::Unchanged { position, .. }) => Ok(position),
            Some(Decision::Refused(Refusal::Ledger(refusal))) => Err(refused(refusal)),
            Some(Decision::Refused(_)) | None => Err(Error::absent()),
        }
    }
}

impl Shared {
    /// How the ledger stands to a certificate that the hub is shown.
    #[must_use]
    pub fn refuses(&self, certificate: &CertificateId) -> Option<Error> {
        let ledger = self.ledger.load();
        refuses(&ledger, certificate, self.machine.now())
    }

    /// Notes that a certificate is in use, if it is the first time.
    pub fn note_use(&self, id: &CertificateId) {
        let ledger = self.ledger.load();
        if ledger.certificates.get(id).is_some_and(|certificate| certificate.first_used.is_none()) {
            self.first_uses.note(id.clone());
        }
    }
}

/// Why a certificate is not taken, if it is not.
pub(super) fn refuses(ledger: &Ledger, id: &CertificateId, now: Timestamp) -> Option<Error> {
    use crate::model::certificate::State;
    if ledger.revoked.contains_key(id) || ledger.is_retired(&id.issuer) {
        return Some(Error::new(
            Reason::CertificateRevoked,
            "the certificate was revoked; ask the hub's operator for a new one",
        ));
    }
    match ledger.certificates.get(id).map(|certificate| certificate.state(now)) {
        Some(State::Superseded) => Some(Error::new(
            Reason::CertificateSuperseded,
            "a newer certificate of this system is in use; connect with that one",
        )),
        Some(State::Unconfirmed) => Some(Error::new(
            Reason::CertificateRevoked,
            "the certificate waits for the word of the hub's operator; ask him to confirm it",
        )),
        _ => None,
    }
}

fn named(what: &[u8], id: Uuid) -> [u8; 16] {
    requests::first_16(&digest::sha256(&[what, id.as_bytes().as_slice()].concat()))
}

pub(super) fn who(by: Operator<'_>) -> &str {
    match by {
        Operator::Person(caller) => caller.identity().as_str(),
        Operator::Machine => "the machine's operator",
    }
}

pub(super) fn check_note(field: &'static str, text: &str, required: bool) -> Result<(), Error> {
    if required && text.trim().is_empty() {
        return Err(Invalid::new(field, "required: say why, for the log").into());
    }
    if text.len() > MAX_NOTE_BYTES || text.chars().any(char::is_control) {
        let problem = format!("at most {MAX_NOTE_BYTES} bytes on one line");
        return Err(Invalid::new(field, problem).into());
    }
    Ok(())
}

/// A refusal of the ledger, told.
pub(super) fn refused(refusal: ledger::Refusal) -> Error {
    use ledger::Refusal as Ledger;
    match refusal {
        Ledger::Absent => Error::absent(),
        Ledger::State => Error::new(Reason::NotFound, "it was used, approved or taken back already"),
        Ledger::Expired => Error::new(Reason::EnrolmentTokenInvalid, "the token has ended; make a new one"),
        Ledger::SecondPerson => Error::new(
            Reason::SecondPersonRequired,
            "you made this token; another operator approves it, or the hub's machine over its socket",
        ),
        Ledger::TooMany => {
            Error::new(Reason::RateLimited, "too many of these stand already; take some back first")
        }
        Ledger::Reused => Error::new(
            Reason::KeyReused,
            "the hub has certified this key before; make a new key for every certificate",
        ),
        Ledger::Stale => Error::new(
            Reason::EtagMismatch,
            "the authorities have moved on since; look at them again (luytre ca status)",
        ),
        Ledger::Early => Error::new(
            Reason::RenewalTooEarly,
            "the certificate was renewed a moment ago; use the one of then",
        ),
    }
}
