//! Decides how a connection ends that the hub ends: every call on it gets one
//! last status, whatever its handler is doing.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::base::clock;
use crate::hub::error::Reason;
use crate::pki::tls::Standing;
use crate::rpc::status::DOMAIN;

mod body;
mod stream;
mod telling;

use body::SeverableBody;
pub(super) use stream::Severable;
pub(super) use telling::tell;

/// Groups in which the calls of a connection are told of its end.
const BELLS: usize = 32;

/// Why the hub ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its certificate was revoked, or the authority behind it dropped.
    Revoked,
    /// Its certificate expired.
    Expired,
    /// Its holder has a newer certificate, and the time of this one is over.
    Superseded,
    /// No authority of this hub has issued it, whatever its signature says.
    NotIssued,
    /// Its holder's organisation takes no part any more.
    Inactive,
    /// An operator ended it; the client may come back.
    Severed,
    /// It reached its greatest age; the client comes back.
    Aged,
    /// The hub goes down and waited long enough.
    Draining,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::Revoked,
        Self::Expired,
        Self::Superseded,
        Self::NotIssued,
        Self::Inactive,
        Self::Severed,
        Self::Aged,
        Self::Draining,
    ];

    /// What ends a connection whose certificate stands so.
    #[must_use]
    pub const fn of(standing: Standing) -> Option<Self> {
        match standing {
            Standing::Good => None,
            Standing::Revoked => Some(Self::Revoked),
            Standing::Expired => Some(Self::Expired),
            Standing::Superseded => Some(Self::Superseded),
            Standing::NotIssued => Some(Self::NotIssued),
            Standing::Inactive => Some(Self::Inactive),
        }
    }

    /// The cause in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::NotIssued => "not_issued",
            Self::Inactive => "inactive",
            Self::Severed => "severed",
            Self::Aged => "aged",
            Self::Draining => "draining",
        }
    }

    /// Whether the holder of the certificate lost the right to be served.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Revoked | Self::Expired | Self::Superseded | Self::NotIssued | Self::Inactive => true,
            Self::Severed | Self::Aged | Self::Draining => false,
        }
    }

    /// What every open call receives.
    #[must_use]
    pub fn status(self) -> Status {
        let (code, reason, text) = match self {
            Self::Revoked => (
                Code::Unauthenticated,
                Reason::CertificateRevoked,
                "the certificate was revoked; ask the hub's operator for a new one",
            ),
            Self::Expired => (
                Code::Unauthenticated,
                Reason::CertificateExpired,
                "the certificate expired; connect with a renewed one",
            ),
            Self::Superseded => (
                Code::Unauthenticated,
                Reason::CertificateSuperseded,
                "a newer certificate has taken the place of this one; connect with the newer one",
            ),
            Self::NotIssued => (
                Code::Unauthenticated,
                Reason::CertificateRevoked,
                "the hub knows of no such certificate; ask the hub's operator",
            ),
            Self::Inactive => (
                Code::Unauthenticated,
                Reason::OrganisationInactive,
                "your organisation is suspended or takes no part any more; ask the hub's operator",
            ),
            Self::Severed => (
                Code::Unavailable,
                Reason::Draining,
                "the hub's operator ended the connection; connect again and resume with the last token",
            ),
            Self::Aged => (
                Code::Unavailable,
                Reason::Draining,
                "the connection reached its greatest age; connect again and resume with the last token",
            ),
            Self::Draining => (
                Code::Unavailable,
                Reason::Draining,
                "the hub is going down; connect again and resume with the last token",
            ),
        };
        Status::with_error_details(code, text, ErrorDetails::with_error_info(reason.as_str(), DOMAIN, []))
    }
}

/// The end of one connection: happens at most once, and says why.
///
/// It comes in two steps. The cut is at once and wakes nobody: from then on
/// nothing passes any more if the certificate is no longer good. The telling
/// wakes whoever waits, call by call, and may take its time.
#[derive(Clone, Default)]
pub struct End(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cut: OnceLock<Cut>,
    severed: CancellationToken,
    told: CancellationToken,
    bells: Mutex<Bells>,
}

#[derive(Clone, Copy)]
struct Cut {
    cause: Cause,
    at: Instant,
}

/// Where the calls of a connection wait for its end; as many as are needed, and
/// [`BELLS`] at most.
#[derive(Default)]
struct Bells {
    calls: usize,
    all: Vec<CancellationToken>,
}

impl End {
    /// Ends the connection, and tells nobody yet; only the first cause counts.
    /// Returns whether this was the first.
    pub(super) fn cut(&self, cause: Cause) -> bool {
        let first = {
            // No bell is handed out from here on.
            let _bells = self.0.bells.lock();
            self.0.cut.set(Cut { cause, at: clock::monotonic() }).is_ok()
        };
        if first && cause.is_final() {
            self.0.severed.cancel();
        }
        first
    }

    /// What tells of the end: the calls group by group, then the connection.
    fn bells(&self) -> Vec<CancellationToken> {
        let mut bells = self.0.bells.lock().all.clone();
        bells.push(self.0.told.clone());
        bells
    }

    /// What will tell one more call; none once the connection was cut.
    fn bell(&self) -> Option<CancellationToken> {
        let mut bells = self.0.bells.lock();
        if self.0.cut.get().is_some() {
            return None;
        }
        let number = bells.calls % BELLS;
        bells.calls = bells.calls.wrapping_add(1);
        if let Some(bell) = bells.all.get(number) {
            return Some(bell.clone());
        }
        let bell = CancellationToken::new();
        bells.all.push(bell.clone());
        Some(bell)
    }

    /// Why the connection ended, if it did.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.0.cut.get().map(|cut| cut.cause)
    }

    /// Since when nothing passes any more, for the certificate is no longer
    /// good.
    #[must_use]
    pub fn severed_at(&self) -> Option<Instant> {
        self.0.cut.get().filter(|cut| cut.cause.is_final()).map(|cut| cut.at)
    }

    /// Cancelled once the certificate is revoked or expired; not when the
    /// connection ends for another cause.
    #[must_use]
    pub fn severed(&self) -> CancellationToken {
        self.0.severed.clone()
    }

    /// Resolves once the connection is told of its end.
    pub async fn ended(&self) {
        self.0.told.cancelled().await;
    }

    fn status(&self) -> Status {
        // The cause is set before anyone is told.
        self.cause().unwrap_or(Cause::Draining).status()
    }

    /// The answer of `call`, or the last status if the connection ends first;
    /// a body that is still flowing then ends with it.
    pub async fn guard<F>(self, call: F) -> http::Response<tonic::body::Body>
    where
        F: Future<Output = http::Response<tonic::body::Body>>,
    {
        let Some(bell) = self.bell() else { return self.status().into_http() };
        let response = tokio::select! {
            biased;
            () = bell.cancelled() => return self.status().into_http(),
            response = call => response,
        };
        if self.severed_at().is_some() {
            return self.status().into_http();
        }
        response.map(|body| tonic::body::Body::new(SeverableBody::new(body, bell, self)))
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("End").field(&self.cause()).finish()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn the_first_cause_stands() {
        let end = End::default();
        assert!(end.cut(Cause::Expired));
        assert!(!end.cut(Cause::Aged));
        assert_eq!(end.cause(), Some(Cause::Expired));
    }

    #[test]
    fn only_a_lost_certificate_severs_the_peer() {
        for cause in Cause::ALL {
            let end = End::default();
            end.cut(cause);
            assert_eq!(end.severed().is_cancelled(), cause.is_final(), "{cause:?}");
        }
    }

    #[test]
    fn a_connection_has_a_bounded_number_of_bells() {
        let end = End::default();
        for _ in 0..BELLS * 5 {
            assert!(end.bell().is_some());
        }
        assert_eq!(end.bells().len(), BELLS + 1);
        end.cut(Cause::Severed);
        assert!(end.bell().is_none(), "nobody waits for a bell that may have rung");
    }

    /// An answer that is there at once, and the connection on which it goes.
    async fn answer(cut: impl FnOnce(&End)) -> http::Response<tonic::body::Body> {
        let end = End::default();
        let call = async {
            cut(&end);
            http::Response::new(tonic::body::Body::new("late".to_owned()))
        };
        end.clone().guard(call).await
    }

    #[tokio::test]
    async fn an_answer_that_is_ready_after_the_cut_does_not_leave() {
        let told = answer(|end| assert!(end.cut(Cause::Revoked))).await;
        assert_eq!(told.headers()["grpc-status"], "16");
        let kept = answer(|end| assert!(end.cut(Cause::Draining))).await;
        assert!(!kept.headers().contains_key("grpc-status"), "its client did nothing wrong");
    }

    #[tokio::test]
    async fn a_call_that_comes_after_the_cut_is_told_at_once() {
        let end = End::default();
        end.cut(Cause::Severed);
        let told = end.guard(std::future::pending()).await;
        assert_eq!(told.headers()["grpc-status"], "14");
    }

    #[tokio::test]
    async fn what_flows_ends_at_the_cut_though_nobody_was_told() {
        let end = End::default();
        let flowing = async { http::Response::new(tonic::body::Body::new("data".to_owned())) };
        let mut body = end.clone().guard(flowing).await.into_body();
        end.cut(Cause::Revoked);
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "16");
        assert!(body.frame().await.is_none());
    }
}
