//! Decides how many streams the systems of one organisation may have open at
//! once, so that none takes the hub from the others.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tonic::body::Body;

use crate::hub::error::{Error, Reason};
use crate::model::org::OrgSlug;

/// Most streams of one organisation; public in `docs/configuration.md`.
pub(in crate::rpc) const MAX_STREAMS: usize = 512;
/// When to try again: some stream may have ended by then.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The streams that are open, by organisation; none is kept at zero.
#[derive(Debug, Clone, Default)]
pub(in crate::rpc) struct Streams(Arc<Mutex<HashMap<OrgSlug, usize>>>);

impl Streams {
    /// Takes a place for a stream of `organisation`.
    pub(in crate::rpc) fn open(&self, organisation: &OrgSlug) -> Result<Place, Error> {
        let mut open = self.0.lock();
        let count = open.entry(organisation.clone()).or_default();
        if *count >= MAX_STREAMS {
            return Err(Error {
                retry_after: Some(RETRY_AFTER),
                ..Error::new(
                    Reason::RateLimited,
                    format!(
                        "your organisation has {MAX_STREAMS} streams open, which is the most; end one, or wait"
                    ),
                )
            });
        }
        *count += 1;
        Ok(Place { streams: self.clone(), organisation: organisation.clone() })
    }
}

/// The place of one open stream, given back when dropped.
#[derive(Debug)]
pub(in crate::rpc) struct Place {
    streams: Streams,
    organisation: OrgSlug,
}

impl Place {
    /// Keeps the place until the body of `response` ends or is dropped.
    pub(in crate::rpc) fn hold(self, response: http::Response<Body>) -> http::Response<Body> {
        response.map(|inner| Body::new(Placed { inner, place: Some(self) }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock();
        if let Some(count) = open.get_mut(&self.organisation) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.organisation);
            }
        }
    }
}

/// The body of a stream that holds a place.
struct Placed {
    inner: Body,
    place: Option<Place>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_without_streams_leaves_nothing_behind() {
        let streams = Streams::default();
        let slug = OrgSlug::parse("a").unwrap();
        let places = [streams.open(&slug).unwrap(), streams.open(&slug).unwrap()];
        assert_eq!(streams.0.lock().get(&slug), Some(&2));
        drop(places);
        assert!(streams.0.lock().is_empty());
    }

    #[test]
    fn one_organisation_does_not_take_the_places_of_another() {
        let streams = Streams::default();
        let slug = |text| OrgSlug::parse(text).unwrap();
        let places: Vec<_> = (0..MAX_STREAMS).map(|_| streams.open(&slug("a")).unwrap()).collect();
        assert_eq!(streams.open(&slug("a")).unwrap_err().reason, Reason::RateLimited);
        assert!(streams.open(&slug("b")).is_ok());
        drop(places);
        assert!(streams.open(&slug("a")).is_ok());
    }
}
