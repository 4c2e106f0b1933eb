//! Decides when a call has ended, and how: with the status in its headers, in
//! its trailers, or by its client going away.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tracing::Span;
use uuid::Uuid;

use crate::base::clock;
use crate::hub::Hub;
use crate::hub::audit::Closing;
use crate::model::certificate::IssuerDigest;

use super::metrics::Metrics;
use super::repair::{self, Outcome};

/// A call from its beginning to its end; counted and logged once.
#[derive(Debug)]
pub(in crate::rpc) struct Record {
    call: Uuid,
    method: &'static str,
    metrics: Metrics,
    begun: Instant,
    span: Span,
    renewal: Option<Renewal>,
    closing: Option<Arc<Closing>>,
    ended: bool,
}

/// Metadata of answers to whoever should renew his certificate now.
pub(in crate::rpc) const RENEW_NOW: &str = "luytre-renew-now";

/// Under whose certificate a call came, to say at its end whether that is to
/// be renewed.
#[derive(Debug)]
pub(in crate::rpc) struct Renewal {
    pub(in crate::rpc) hub: Arc<Hub>,
    pub(in crate::rpc) issuer: IssuerDigest,
}

impl Renewal {
    fn note(&self, trailers: &mut HeaderMap) {
        if self.hub.renews_now(&self.issuer) {
            trailers.insert(RENEW_NOW, HeaderValue::from_static("1"));
        }
    }
}

impl Record {
    pub(in crate::rpc) fn begin(
        call: Uuid,
        method: &'static str,
        metrics: Metrics,
        span: Span,
        renewal: Option<Renewal>,
        closing: Option<Arc<Closing>>,
    ) -> Self {
        metrics.begin();
        Self { call, method, metrics, begun: clock::monotonic(), span, renewal, closing, ended: false }
    }

    /// Completes a response, now or when its body ends.
    pub(in crate::rpc) fn finish(mut self, response: http::Response<Body>) -> http::Response<Body> {
        let (mut parts, body) = response.into_parts();
        // tonic leaves the whole status here beside the headers.
        parts.extensions.remove::<tonic::Status>();
        if let Some(outcome) = repair::finish(&mut parts.headers, self.call) {
            self.renewal.iter().for_each(|renewal| renewal.note(&mut parts.headers));
            self.end(outcome);
            return http::Response::from_parts(parts, body);
        }
        http::Response::from_parts(parts, Body::new(Watched { inner: body, record: self }))
    }

    fn end(&mut self, outcome: Outcome) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.closing.iter().for_each(|closing| closing.end(outcome));
        self.metrics.end(self.method, outcome);
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.span.in_scope(|| {
            if outcome == repair::OK {
                tracing::debug!(outcome, micros, "call ended");
            } else {
                tracing::info!(outcome, micros, "call ended");
            }
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(repair::ABANDONED);
    }
}

/// A response's body that is watched for its end.
struct Watched {
    inner: Body,
    record: Record,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.record.ended {
            // A status is the last that a call says, whatever its handler has left.
            return Poll::Ready(None);
        }
        let polled = {
            let _entered = this.record.span.enter();
            ready!(Pin::new(&mut this.inner).poll_frame(cx))
        };
        Poll::Ready(polled.map(|frame| {
            frame.map(|mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    let outcome = repair::finish(trailers, this.record.call);
                    this.record.renewal.iter().for_each(|renewal| renewal.note(trailers));
                    this.record.end(outcome.unwrap_or(repair::OK));
                }
                frame
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.record.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
