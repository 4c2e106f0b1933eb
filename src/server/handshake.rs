//! Decides whether a TCP connection becomes a served one: the handshake, the
//! policy after it, and the one reason by which a failure is counted.

use std::error::Error as _;
use std::fmt;
use std::io;

use arc_swap::ArcSwap;
use rustls::server::Acceptor;
use rustls::{CertificateError, HandshakeKind, ProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::base::clock::Timestamp;
use crate::pki::identity::{self, Identity, IssuerDigest};
use crate::pki::tls::{ALPN, Refusal, Snapshot};

/// Why a connection was refused, as counted and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The client showed no certificate.
    NoCertificate,
    /// The certificate expired, or the authority that signed it.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// No trusted authority signed it.
    UnknownIssuer,
    /// It is not for client authentication.
    Purpose,
    /// It was revoked.
    Revoked,
    /// Its authority's revocation list ran out.
    RevocationStale,
    /// Its authority has no revocation list.
    RevocationUnknown,
    /// The ledger of its authority does not know it.
    NotIssued,
    /// The organisation of its holder takes no part now.
    Inactive,
    /// It says nothing usable about who holds it.
    Identity,
    /// It breaks another rule of X.509.
    Certificate,
    /// The client speaks no TLS 1.3.
    TlsVersion,
    /// The client does not speak HTTP/2.
    Alpn,
    /// What was sent is not TLS, or too large.
    Malformed,
    /// The client refused the hub.
    PeerAlert,
    /// The client went away.
    Disconnected,
    /// The handshake took too long.
    Timeout,
    /// The client said nothing, or did not go on, while others came.
    Displaced,
    /// Too many handshakes at once.
    HandshakesSaturated,
    /// Too many connections.
    ConnectionsSaturated,
    /// Too many connections from there.
    SourceSaturated,
    /// Anything else.
    Other,
}

impl Refused {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 23] = [
        Self::NoCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::Purpose,
        Self::Revoked,
        Self::RevocationStale,
        Self::RevocationUnknown,
        Self::NotIssued,
        Self::Inactive,
        Self::Identity,
        Self::Certificate,
        Self::TlsVersion,
        Self::Alpn,
        Self::Malformed,
        Self::PeerAlert,
        Self::Disconnected,
        Self::Timeout,
        Self::Displaced,
        Self::HandshakesSaturated,
        Self::ConnectionsSaturated,
        Self::SourceSaturated,
        Self::Other,
    ];

    /// The reason in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Purpose => "purpose",
            Self::Revoked => "revoked",
            Self::RevocationStale => "revocation_stale",
            Self::RevocationUnknown => "revocation_unknown",
            Self::NotIssued => "not_issued",
            Self::Inactive => "inactive",
            Self::Identity => "identity",
            Self::Certificate => "certificate",
            Self::TlsVersion => "tls_version",
            Self::Alpn => "alpn",
            Self::Malformed => "malformed",
            Self::PeerAlert => "peer_alert",
            Self::Disconnected => "disconnected",
            Self::Timeout => "timeout",
            Self::Displaced => "displaced",
            Self::HandshakesSaturated => "handshakes_saturated",
            Self::ConnectionsSaturated => "connections_saturated",
            Self::SourceSaturated => "source_saturated",
            Self::Other => "other",
        }
    }
}

/// A refused connection, with what the log may hold of it.
#[derive(Debug)]
pub(super) struct Failure {
    /// The reason.
    pub(super) refused: Refused,
    /// What happened in particular.
    pub(super) detail: String,
    /// How many seconds the certificate is past its end, or before its start.
    pub(super) skew_seconds: Option<u64>,
}

impl Failure {
    fn new(refused: Refused, detail: impl fmt::Display) -> Self {
        // Parts of it are the peer's words; a log line stays a line.
        let detail =
            detail.to_string().chars().take(256).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { refused, detail, skew_seconds: None }
    }

    /// The handshake's deadline passed.
    pub(super) fn timeout() -> Self {
        Self::new(Refused::Timeout, "the handshake took too long")
    }

    /// No hello came in time.
    pub(super) fn silent() -> Self {
        Self::new(Refused::Timeout, "no hello came in time")
    }

    /// The place was given to a newcomer.
    pub(super) fn displaced() -> Self {
        Self::new(Refused::Displaced, "others came while it said nothing, or waited for its turn")
    }

    /// The handshake was not over in its grace, and its turn is another's.
    pub(super) fn stalled() -> Self {
        Self::new(Refused::Displaced, "its handshake did not go on while others waited")
    }

    /// No more than this may be served.
    pub(super) fn refused(refused: Refused) -> Self {
        Self::new(refused, "after the handshake")
    }

    /// No handshake could be begun for the others under way.
    pub(super) fn saturated() -> Self {
        Self::new(Refused::HandshakesSaturated, "too many handshakes are under way")
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::Error as Tls;
        let skewed = |refused, seconds| Self { skew_seconds: Some(seconds), ..Self::new(refused, error) };
        if let Some(refusal) = Refusal::of(error) {
            let refused = match refusal {
                Refusal::Identity(_) => Refused::Identity,
                Refusal::Issuer => Refused::UnknownIssuer,
                Refusal::AuthorityExpired => Refused::Expired,
                Refusal::NotIssued { .. } => Refused::NotIssued,
            };
            return Self::new(refused, refusal);
        }
        let refused = match error {
            Tls::NoCertificatesPresented => Refused::NoCertificate,
            Tls::InvalidCertificate(certificate) => match certificate {
                CertificateError::ExpiredContext { time, not_after } => {
                    return skewed(Refused::Expired, time.as_secs().saturating_sub(not_after.as_secs()));
                }
                CertificateError::NotValidYetContext { time, not_before } => {
                    return skewed(Refused::NotYetValid, not_before.as_secs().saturating_sub(time.as_secs()));
                }
                CertificateError::Expired => Refused::Expired,
                CertificateError::NotValidYet => Refused::NotYetValid,
                CertificateError::UnknownIssuer => Refused::UnknownIssuer,
                CertificateError::Revoked => Refused::Revoked,
                CertificateError::ApplicationVerificationFailure => Refused::Inactive,
                CertificateError::UnknownRevocationStatus => Refused::RevocationUnknown,
                CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. } => Refused::RevocationStale,
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    Refused::Purpose
                }
                _ => Refused::Certificate,
            },
            Tls::PeerIncompatible(_) => Refused::TlsVersion,
            Tls::NoApplicationProtocol => Refused::Alpn,
            Tls::InvalidMessage(_)
            | Tls::InappropriateMessage { .. }
            | Tls::InappropriateHandshakeMessage { .. }
            | Tls::DecryptError
            | Tls::PeerSentOversizedRecord
            | Tls::PeerMisbehaved(_) => Refused::Malformed,
            Tls::AlertReceived(_) => Refused::PeerAlert,
            _ => Refused::Other,
        };
        Self::new(refused, error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(tls) => Self::of_tls(tls),
            None if error.source().is_some() => Self::new(Refused::Other, error),
            None => Self::new(Refused::Disconnected, error),
        }
    }
}

/// A connection that may be served.
pub(super) struct Shaken {
    /// The connection.
    pub(super) stream: TlsStream<TcpStream>,
    /// Who is at the other end.
    pub(super) identity: Identity,
    /// The last second of the right to be served.
    pub(super) ends: Timestamp,
    /// The key exchange that was negotiated.
    pub(super) key_exchange: &'static str,
    /// The authority that the client has proved to trust, if the canary was
    /// shown.
    pub(super) proof: Option<IssuerDigest>,
}

/// Awaits the client's hello, which costs the hub no cryptography.
pub(super) async fn hello(tcp: TcpStream) -> Result<StartHandshake<TcpStream>, Failure> {
    tcp.set_nodelay(true)?;
    Ok(LazyConfigAcceptor::new(Acceptor::default(), tcp).await?)
}

/// Runs the handshake under the snapshot that is in force now that the client
/// has said hello, then the policy that the TLS library does not know.
pub(super) async fn shake_hands(
    hello: StartHandshake<TcpStream>,
    snapshot: &ArcSwap<Snapshot>,
) -> Result<Shaken, Failure> {
    let snapshot = snapshot.load_full();
    let stream = hello.into_stream(snapshot.server().clone()).await?;
    let (_, session) = stream.get_ref();
    // A client that offers no protocol at all is let through by the library.
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Failure::new(Refused::Alpn, "the client does not offer h2"));
    }
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3)
        || !matches!(
            session.handshake_kind(),
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        )
    {
        return Err(Failure::new(Refused::TlsVersion, "not a full handshake of TLS 1.3"));
    }
    let leaf = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or_else(|| Failure::new(Refused::NoCertificate, "no certificate after the handshake"))?;
    let identity = identity::read(leaf, snapshot.trust_domain())
        .map_err(|error| Failure::new(Refused::Identity, error))?;
    let ends = snapshot.ends(&identity);
    let key_exchange =
        session.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).unwrap_or("other");
    let proof = snapshot.proof(session.server_name());
    Ok(Shaken { stream, identity, ends, key_exchange, proof })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
    }

    #[test]
    fn a_log_line_stays_a_line_whatever_the_peer_sent() {
        let failure = Failure::new(Refused::Other, "a\nb\u{1b}[31m".to_owned() + &"x".repeat(1000));
        assert!(!failure.detail.contains(['\n', '\u{1b}']));
        assert!(failure.detail.len() <= 256);
    }
}
