//! Decides how long a stream has its place: until its body ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;

use crate::hub::OpenStream;

/// Keeps a place until the body of `response` ends or is dropped.
pub(in crate::rpc) fn hold(place: OpenStream, response: http::Response<Body>) -> http::Response<Body> {
    response.map(|inner| Body::new(Placed { inner, place: Some(place) }))
}

/// The body of a stream that holds a place.
struct Placed {
    inner: Body,
    place: Option<OpenStream>,
}

impl http_body::Body for Placed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if !matches!(&polled, Some(Ok(frame)) if frame.is_data()) {
            // Before the client can know of the end, so that it may go on at once.
            self.place = None;
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
