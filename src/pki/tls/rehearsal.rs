//! Decides whether a snapshot does what it is for before it is put in force:
//! handshakes in memory, of clients that it must take and must refuse.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerified;
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::chains::{By, Rules};
use super::{ALPN, ClockTime, Error, Snapshot, provider, shake_hands};
use crate::base::clock::{Clock, Timestamp};
use crate::base::secret::Secret;
use crate::model::principal::SpiffeId;
use crate::pki::issue::{self, Authority, DAY, Hierarchy, Leaf};

/// A client certificate whose verdict is known, with its key.
#[derive(Debug)]
pub struct Monitor {
    /// The certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Secret<PrivateKeyDer<'static>>,
}

/// Two clients that are tried on every candidate, where somebody can sign for
/// them.
#[derive(Debug)]
pub struct Trial {
    /// Must be taken.
    pub good: Monitor,
    /// Must be refused as revoked.
    pub revoked: Monitor,
}

/// Stands where it was set.
#[derive(Debug)]
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Tries `snapshot` on clients in memory, each in a whole handshake: nobody
/// and a stranger are refused, and where there is a `trial`, its good client
/// is taken and its revoked one refused. On the way the hub's certificates
/// must chain to the last one of their own chain, and their keys must sign.
///
/// # Errors
/// [`Error::Rehearsal`] says which verdict was wrong.
pub fn rehearse(snapshot: &Snapshot, trial: Option<Trial>, clock: &Arc<dyn Clock>) -> Result<(), Error> {
    // A hub whose own certificate has run out still has clients to refuse.
    let end = snapshot.own().not_after.saturating_sub(Duration::from_secs(1));
    let stranger = stranger(snapshot.trust_domain(), clock).map_err(|error| failed("a stranger", error))?;
    let clock: &Arc<dyn Clock> = &(Arc::new(Stopped(clock.now().min(end))) as _);
    let refused = |error: CertificateError| rustls::Error::InvalidCertificate(error);
    let usual = || ServerName::try_from("rehearsal.invalid").map_err(|error| failed("the hub", error));
    expect("a client without a certificate", rustls::Error::NoCertificatesPresented, || {
        shake_hands(snapshot, client(None, clock)?, usual()?)
    })?;
    if let Some(name) = snapshot.canary_name() {
        let name: DnsName<'static> = name.clone();
        expect("a client of the canary", rustls::Error::NoCertificatesPresented, || {
            shake_hands(snapshot, client(None, clock)?, ServerName::DnsName(name))
        })?;
    }
    expect("a stranger", refused(CertificateError::UnknownIssuer), || {
        shake_hands(snapshot, client(Some(stranger), clock)?, usual()?)
    })?;
    let Some(Trial { good, revoked }) = trial else { return Ok(()) };
    shake_hands(snapshot, client(Some(good), clock)?, usual()?)
        .map_err(|error| failed("the good monitor", error))?;
    expect("the revoked monitor", refused(CertificateError::Revoked), || {
        shake_hands(snapshot, client(Some(revoked), clock)?, usual()?)
    })
}

fn failed(who: &str, error: impl std::fmt::Display) -> Error {
    Error::Rehearsal { problem: format!("{who}: {error}") }
}

fn expect(
    who: &str,
    verdict: rustls::Error,
    handshake: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    match handshake() {
        Err(Error::Tls(error)) if error == verdict => Ok(()),
        Err(error) => Err(failed(who, error)),
        Ok(()) => Err(failed(who, "it was taken, and must be refused")),
    }
}

/// A client that nobody here can know.
fn stranger(trust_domain: &str, clock: &Arc<dyn Clock>) -> Result<Monitor, issue::Error> {
    let now = clock.now();
    let identity = SpiffeId::parse(&format!("spiffe://{trust_domain}/org/rehearsal/system/stranger"))
        .map_err(|_| issue::Error::Authority(crate::pki::identity::Error::IdentityMissing))?;
    let root = Authority::root(Hierarchy::Client, "rehearsal", now, DAY * 2)?;
    let issuing = root.issuing(Hierarchy::Client, "rehearsal", 1, now, DAY * 2)?;
    let leaf = issuing.issue(&Leaf::Client(identity), now, DAY)?;
    Ok(Monitor { chain: vec![leaf.certificate], key: leaf.key.to_der() })
}

fn client(shown: Option<Monitor>, clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider()?;
    let time = Arc::new(ClockTime(Arc::clone(clock)));
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(By { rules: Presented, provider }));
    let mut config = match shown {
        // The library wipes the copy that it is given once it has read it.
        Some(Monitor { chain, key }) => builder.with_client_auth_cert(chain, key.expose().clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes the last certificate of the presented chain for the root, for the hub
/// does not hold the root itself. A leaf that comes alone chains to nothing
/// that is known here; then only its key is tried.
#[derive(Debug)]
struct Presented;

impl Rules for Presented {
    fn judge(
        &self,
        provider: &Arc<CryptoProvider>,
        (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        _: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        if let Some((root, between)) = intermediates.split_last() {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone().into_owned())?;
            let algorithms = provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&leaf, &roots, between, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}
