//! Decides how an answer ends that is still flowing when its connection ends.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use super::End;

/// A response body that ends with the last status when the connection does.
pub(super) struct SeverableBody {
    /// Gone once it has ended, so that a handler's stream is dropped at once.
    inner: Option<tonic::body::Body>,
    bell: Pin<Box<WaitForCancellationFutureOwned>>,
    end: End,
}

impl SeverableBody {
    /// `inner` until `bell` rings, or the certificate behind `end` is no longer
    /// good.
    pub(super) fn new(inner: tonic::body::Body, bell: CancellationToken, end: End) -> Self {
        Self { inner: Some(inner), bell: Box::pin(bell.cancelled_owned()), end }
    }
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
        // Whoever is woken before it is told sends nothing more either.
        if this.end.severed_at().is_some() || this.bell.as_mut().poll(cx).is_ready() {
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
