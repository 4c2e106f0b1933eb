//! Decides when it is put on record what a stream delivered: in portions, so
//! that it costs little, and within moments of the delivery.

use std::time::{Duration, Instant};

use crate::base::clock;

use super::super::shared::Shared;
use super::trail::Trail;

/// A portion is closed with so many events.
const EVENTS: usize = 1_000;
/// Or once it is so old.
const AGE: Duration = Duration::from_secs(1);

/// What was delivered and is not on record yet.
#[derive(Debug)]
pub struct Delivered {
    stream: Trail,
    events: usize,
    since: Instant,
}

impl Delivered {
    /// Nothing yet, of the stream of this trail.
    #[must_use]
    pub fn new(stream: Trail) -> Self {
        Self { stream, events: 0, since: clock::monotonic() }
    }

    /// So many more events go out.
    pub fn add(&mut self, shared: &Shared, events: usize) {
        self.events += events;
        self.stream.gave(events);
        if self.events >= EVENTS || self.since.elapsed() >= AGE {
            self.flush(shared);
        }
    }

    /// Puts on record what is not yet.
    pub fn flush(&mut self, shared: &Shared) {
        let events = std::mem::take(&mut self.events);
        if events > 0 {
            let portion = self.stream.portion(shared.clock.now());
            portion.given(events, 0);
            // Nobody waits: the stream itself is on record.
            let _ = shared.note_call(&portion, false, "OK");
        }
        self.since = clock::monotonic();
    }
}
