//! Decides who gets a certificate: the holder of a one-time token, and the
//! holder of a good certificate in time. The ledger has it before he does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::base::clock::{self, Timestamp};
use crate::base::{digest, random, tasks};
use crate::model::Invalid;
use crate::model::audit::{Purpose, Record, record};
use crate::model::certificate::{
    Certificate, CertificateChange, CertificateId, Hierarchy, IssuerDigest, Origin, TokenState,
};
use crate::model::principal::SpiffeId;
use crate::pki::identity;
use crate::pki::issue::{self, BACKDATE};
use crate::pki::ledger::Ledger;
use crate::pki::request::{self, PublicKeyRequest};
use crate::pki::signing::{self, Holder, LeafOrder};
use crate::pki::token::EnrolmentToken;
use crate::pki::{authority::Generation, schedule};

use super::caller::{Caller, PeerCertificate};
use super::certificates::{Operator, refuses};
use super::engine::Hub;
use super::error::{Error, Reason};

/// A certificate as its holder gets it.
#[derive(Debug, Clone)]
pub struct Issued {
    /// What was issued.
    pub certificate: Arc<Certificate>,
    /// What to trust: the roots of the server hierarchy.
    pub roots: Arc<[CertificateDer<'static>]>,
    /// When to renew it.
    pub renew: Timestamp,
}

/// When the certificate of a connection is to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// When.
    pub at: Timestamp,
    /// Now, for its authority is on its way out.
    pub now: bool,
    /// Days left, where they are few; 0: they are not.
    pub warning_days: u32,
}

/// Most renewals that are signed for one holder within [`SIGNING_WINDOW`]. Two
/// persons stand behind every enrolment; nobody does behind a renewal.
const MAX_SIGNINGS: usize = 10;
/// An hour.
const SIGNING_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Why a token is not taken; none of it says whether there is such a token.
const NO_SUCH_TOKEN: &str = "the hub does not take this enrolment token: it was used, has ended, or never was; ask the operator for a new one";

impl Hub {
    /// Trades a one-time token for a certificate. The same token with the same
    /// key gets the same certificate for some minutes, for an answer that was
    /// lost. Few wrong tokens are looked up for one `source`, which stands for
    /// all addresses that one host may have. `admitted` hears of a token that
    /// is taken, before anything is signed.
    ///
    /// # Errors
    /// `ENROLMENT_TOKEN_INVALID`, `FIELD_INVALID`, `ORGANISATION_INACTIVE`,
    /// `KEY_REUSED`, `RATE_LIMITED`, `SIGNER_UNAVAILABLE`; as every write.
    pub async fn enrol(
        &self,
        source: IpAddr,
        token: &EnrolmentToken,
        request: &[u8],
        admitted: impl FnOnce() + Send,
    ) -> Result<Issued, Error> {
        let (ledger, now) = (self.ledger(), self.machine_now());
        let invalid = |problem: &str| Error::new(Reason::EnrolmentTokenInvalid, problem);
        let known = ledger.token(&token.digest()).filter(|token| now < token.expires);
        self.attempted(source, known.is_some())?;
        let known = known.ok_or_else(|| {
            self.refused_token(source, "", "no token of the hub's");
            invalid(NO_SUCH_TOKEN)
        })?;
        let holder = &known.holder;
        let asked = read(request, holder).inspect_err(|_| {
            self.refused_token(source, holder.as_str(), "its certificate request is not taken");
        })?;
        match &known.state {
            TokenState::Ready => {}
            TokenState::Pending => {
                return Err(invalid(
                    "this enrolment token waits for a second person's approval; try again then",
                ));
            }
            TokenState::Used(_) => {
                let again = ledger.repeat(holder, &asked.fingerprint, now);
                if let Some(certificate) = again {
                    return self.issued(certificate);
                }
                self.refused_token(source, holder.as_str(), "it was used with another key");
                self.attempted(source, false)?;
                return Err(invalid(NO_SUCH_TOKEN));
            }
        }
        self.shared.admit(holder)?;
        admitted();
        let origin = Origin::Token(token.digest());
        match self.issue(holder, asked, origin, now).await {
            // Another was faster with the same token.
            Err(error) if error.reason == Reason::NotFound => Err(invalid(NO_SUCH_TOKEN)),
            other => other,
        }
    }

    /// Counts a token that was shown.
    /// Puts on record that an enrolment token was shown and not taken: from
    /// where, and whose it would have been. No more than [`Self::attempted`]
    /// lets come.
    fn refused_token(&self, source: IpAddr, holder: &str, why: &str) {
        tracing::warn!(target: "luytre::audit", %source, holder, why, "enrolment token refused");
        let record = Record {
            purpose: Purpose::Administer,
            refused: 1,
            outcome: Reason::EnrolmentTokenInvalid.as_str().into(),
            about: if holder.is_empty() {
                format!("from {source}: {why}")
            } else {
                format!("for {holder} from {source}: {why}")
            },
            ..Record::note(record::ENROLMENT_REFUSED, self.shared.clock.now())
        };
        self.shared.audit.journal.note(&record);
    }

    fn attempted(&self, source: IpAddr, right: bool) -> Result<(), Error> {
        self.shared.attempts.note(source, right, clock::monotonic()).map_err(|wait| Error {
            retry_after: Some(wait),
            ..Error::new(
                Reason::RateLimited,
                "too many enrolment tokens from your address were not taken; check the token with the operator, and try again later",
            )
        })
    }

    /// Trades the caller's certificate for a new one with a new key. The old
    /// one is taken until the new one was used, and some time beyond.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `CERTIFICATE_FOREIGN`, `RENEWAL_TOO_EARLY`,
    /// `KEY_REUSED`, `CERTIFICATE_REVOKED`, `CERTIFICATE_SUPERSEDED`,
    /// `SIGNER_UNAVAILABLE`; as every write.
    pub async fn renew(&self, caller: &Caller, request: &[u8]) -> Result<Issued, Error> {
        let (ledger, now) = (self.ledger(), self.machine_now());
        let holder = caller.identity();
        let asked = read(request, holder)?;
        let known = ledger.certificates.get(caller.certificate()).ok_or_else(|| {
            Error::new(
                Reason::CertificateForeign,
                "the hub's own authorities did not issue this certificate; enrol with a token from the operator",
            )
        })?;
        // Let in while it was good, perhaps; nothing is signed for it now.
        if let Some(refused) = refuses(&ledger, &known.id, now) {
            return Err(refused);
        }
        if let Some(again) = ledger.repeat(holder, &asked.fingerprint, now).filter(|c| c.id != known.id) {
            return self.issued(again);
        }
        check_pace(&ledger, known, now)?;
        let origin = Origin::Renewal(known.id.clone());
        self.issue(holder, asked, origin, now).await
    }

    /// When the certificate of a connection is to be renewed.
    #[must_use]
    pub fn renewal(&self, peer: &PeerCertificate) -> Renewal {
        let (from, to) = (peer.not_before, peer.not_after);
        Renewal {
            at: whole_second(schedule::renew_at(from, to, chance(&peer.fingerprint))),
            now: self.renews_now(&peer.certificate.issuer),
            warning_days: schedule::warning(from, to, self.machine_now()).unwrap_or(0),
        }
    }

    /// Whether certificates of `issuer` are to be renewed now, whatever their
    /// age.
    #[must_use]
    pub fn renews_now(&self, issuer: &IssuerDigest) -> bool {
        self.shared.ledger.load().is_tainted(issuer)
    }

    /// What the holder of a certificate gets of it.
    ///
    /// # Errors
    /// `SIGNER_UNAVAILABLE`.
    fn issued(&self, certificate: &Arc<Certificate>) -> Result<Issued, Error> {
        let roots = Arc::clone(&self.issuance()?.roots);
        let chance = chance(&certificate.fingerprint());
        let renew = whole_second(schedule::renew_at(certificate.not_before, certificate.not_after, chance));
        Ok(Issued { certificate: Arc::clone(certificate), roots, renew })
    }

    async fn issue(
        &self,
        holder: &SpiffeId,
        asked: PublicKeyRequest,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let issuance = self.issuance()?;
        let slot = self.shared.signings.of(holder);
        let mut signed = slot.lock().await;
        // Whoever was here first may have got what is asked for.
        let ledger = self.ledger();
        if let Some(again) = ledger.repeat(holder, &asked.fingerprint, now) {
            return self.issued(again);
        }
        if let Origin::Token(digest) = &origin {
            let ready = ledger.token(digest).is_some_and(|token| token.state == TokenState::Ready);
            if !ready {
                return Err(Error::absent());
            }
        }
        signed.retain(|at| at.elapsed() < SIGNING_WINDOW);
        let renews = matches!(origin, Origin::Renewal(_));
        if renews && signed.len() >= MAX_SIGNINGS {
            return Err(Error {
                retry_after: Some(SIGNING_WINDOW),
                ..Error::new(
                    Reason::RenewalTooEarly,
                    "so many renewals were signed for this holder within the hour; use the certificate of one of those",
                )
            });
        }
        if ledger.knows_key(&asked.fingerprint) {
            return Err(Error::new(
                Reason::KeyReused,
                "the hub has certified this key before; make a new key for every certificate",
            ));
        }
        let rotation = ledger.rotations.get(&Hierarchy::Client).ok_or_else(no_authority)?;
        let order = order(rotation.signing(), holder, asked.public_key, now, issuance.lifetime)?;
        let id = CertificateId {
            issuer: order.authority,
            serial: identity::serial_hex(&order.serial).ok_or_else(no_authority)?,
        };
        let (not_before, not_after) = (order.not_before, order.not_after);
        let signer = Arc::clone(&issuance.signer);
        // Before it is asked: a caller that goes away does not stop the signer.
        if renews {
            signed.push_back(clock::monotonic());
        }
        let der = tasks::spawn_blocking(move || signer.sign_leaf(&order)).await.map_err(Error::internal)?;
        if renews && der.is_err() {
            signed.pop_back();
        }
        let der = der.map_err(unsigned)?;
        let certificate = Arc::new(Certificate {
            id,
            der: der.to_vec(),
            holder: holder.clone(),
            key: asked.fingerprint,
            not_before,
            not_after,
            issued: now,
            origin,
            first_used: None,
            superseded: None,
            doubtful: self.shared.machine.is_doubted(),
            unconfirmed: false,
        });
        // The ledger first: what is not in it is not taken, so a certificate
        // whose entry failed is worth nothing.
        let change = CertificateChange::Issue(Arc::clone(&certificate));
        if let Err(error) = self.certify(Operator::Machine, None, random::bytes(), change).await {
            // The same request, twice at once: both get what the faster got.
            let ledger = self.ledger();
            if let Some(again) = ledger.repeat(holder, &certificate.key, now) {
                return self.issued(again);
            }
            return Err(match error.reason {
                Reason::EtagMismatch => Error::new(
                    Reason::SignerUnavailable,
                    "the authority that signs has just changed; try again",
                ),
                _ => error,
            });
        }
        tracing::info!(
            target: "luytre::audit",
            %holder, issuer = %certificate.id.issuer.short(), serial = certificate.id.serial, %not_after,
            "certificate issued"
        );
        self.issued(&certificate)
    }
}

/// Nothing is due to the microsecond.
fn whole_second(at: Timestamp) -> Timestamp {
    at.saturating_sub(Duration::from_micros(u64::from(at.subsec_micros())))
}

/// One who renews all the time gets no certificate each time.
fn check_pace(ledger: &Ledger, known: &Certificate, now: Timestamp) -> Result<(), Error> {
    let early = |at: Timestamp, problem: String| Error {
        retry_after: Some(at.since(now)),
        ..Error::new(Reason::RenewalTooEarly, problem)
    };
    let opens = schedule::renewal_opens(known.not_before, known.not_after);
    if now < opens && !ledger.is_tainted(&known.id.issuer) {
        return Err(early(opens, format!("this certificate can be renewed from {opens} on")));
    }
    match ledger.renewed_lately(known, now) {
        None => Ok(()),
        Some((issued, again)) => Err(early(
            again,
            format!("it was renewed at {issued}; use the certificate of then, or try again at {again}"),
        )),
    }
}

/// A number that is the same for one certificate whenever it is asked for, and
/// as good as random among all.
fn chance(fingerprint: &[u8; 32]) -> u64 {
    fingerprint.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// What is to be signed for `holder` now.
fn order(
    authority: &Generation,
    holder: &SpiffeId,
    public_key: Vec<u8>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<LeafOrder, Error> {
    let not_after = schedule::leaf_end(now, lifetime, authority.not_after).ok_or_else(|| {
        Error::new(
            Reason::SignerUnavailable,
            "the authority that signs has run out of life; rotate it (luytre ca)",
        )
    })?;
    Ok(LeafOrder {
        authority: authority.issuer,
        public_key,
        serial: issue::random_serial().to_vec(),
        holder: Holder::Client(holder.clone()),
        not_before: now.saturating_sub(BACKDATE),
        not_after,
    })
}

fn read(request: &[u8], holder: &SpiffeId) -> Result<PublicKeyRequest, Error> {
    request::read(request, holder).map_err(|error| {
        let digest = digest::hex(&digest::sha256(request));
        tracing::warn!(target: "luytre::audit", %holder, %error, request = digest, "certificate request refused");
        Invalid::new("certificate_request", error.to_string()).into()
    })
}

fn no_authority() -> Error {
    Error::new(
        Reason::SignerUnavailable,
        "the hub has no authority that signs yet; ask its operator whether the signer runs",
    )
}

/// Why nothing was signed.
pub(super) fn unsigned(error: signing::Error) -> Error {
    match &error {
        signing::Error::Unavailable { .. } => Error {
            retry_after: Some(Duration::from_secs(5)),
            ..Error::new(
                Reason::SignerUnavailable,
                "the signer does not answer at present; try again in a moment",
            )
            .with_source(error)
        },
        signing::Error::Limited { .. } => Error {
            retry_after: Some(Duration::from_secs(600)),
            ..Error::new(
                Reason::RateLimited,
                "the signer has signed as much as it may within the hour; try again later",
            )
            .with_source(error)
        },
        signing::Error::Refused { .. } => Error::internal(error),
    }
}

#[cfg(test)]
mod tests;
