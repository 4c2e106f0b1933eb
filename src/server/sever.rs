//! Decides how a connection ends that the hub ends: every call on it gets one
//! last status, whatever its handler is doing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::hub::error::Reason;
use crate::pki::tls::Standing;
use crate::rpc::status::DOMAIN;

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
#[derive(Clone, Default)]
pub struct End(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cause: OnceLock<Cause>,
    ended: CancellationToken,
    severed: CancellationToken,
}

impl End {
    /// Ends the connection; only the first cause counts. Returns whether this
    /// was the first.
    pub fn end(&self, cause: Cause) -> bool {
        let first = self.0.cause.set(cause).is_ok();
        if first {
            if cause.is_final() {
                self.0.severed.cancel();
            }
            self.0.ended.cancel();
        }
        first
    }

    /// Why the connection ended, if it did.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.0.cause.get().copied()
    }

    /// Cancelled once the certificate is revoked or expired; not when the
    /// connection ends for another cause.
    #[must_use]
    pub fn severed(&self) -> CancellationToken {
        self.0.severed.clone()
    }

    /// Resolves once the connection ended.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    fn status(&self) -> Status {
        // The cause is set before the token is cancelled.
        self.cause().unwrap_or(Cause::Draining).status()
    }

    /// The answer of `call`, or the last status if the connection ends first;
    /// a body that is still flowing then ends with it.
    pub async fn guard<F>(self, call: F) -> http::Response<tonic::body::Body>
    where
        F: Future<Output = http::Response<tonic::body::Body>>,
    {
        tokio::select! {
            biased;
            () = self.0.ended.cancelled() => self.status().into_http(),
            response = call => response.map(|body| tonic::body::Body::new(SeverableBody {
                inner: Some(body),
                ended: Box::pin(self.0.ended.clone().cancelled_owned()),
                end: self,
            })),
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("End").field(&self.cause()).finish()
    }
}

/// A response body that ends with the last status when the connection does.
struct SeverableBody {
    /// Gone once it has ended, so that a handler's stream is dropped at once.
    inner: Option<tonic::body::Body>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    end: End,
}

impl Body for SeverableBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        if this.ended.as_mut().poll(cx).is_ready() {
            this.inner = None;
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(match this.end.status().add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status),
            }));
        }
        Pin::new(inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stands() {
        let end = End::default();
        assert!(end.end(Cause::Expired));
        assert!(!end.end(Cause::Aged));
        assert_eq!(end.cause(), Some(Cause::Expired));
    }

    #[test]
    fn only_a_lost_certificate_severs_the_peer() {
        for cause in Cause::ALL {
            let end = End::default();
            end.end(cause);
            assert_eq!(end.severed().is_cancelled(), cause.is_final(), "{cause:?}");
        }
    }
}
