//! Decides when it is put on record what a stream delivered. Which events those
//! were goes to the receipts at once, which write it within moments; how many,
//! to the audit, in portions, so that it costs little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::model::reached::{Reached, Stage};
use crate::model::receipt::Way;
use crate::store::receipts::Party;
use crate::wire::frame::Batch;

use super::super::caller::Caller;
use super::super::receipts::stream::Stream;
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
    receipts: Arc<Stream>,
    events: usize,
    since: Instant,
}

impl Delivered {
    /// Nothing yet, of a stream of this caller's, of this name or of none.
    #[must_use]
    pub fn new(caller: &Caller, subscription: &str) -> Self {
        let party = Party {
            principal: caller.identity().clone(),
            serial: caller.certificate().serial.clone(),
            streams: true,
            subscription: subscription.to_owned(),
            audit: caller.trail().audited(),
        };
        let stream = caller.trail().clone();
        Self { stream, receipts: Stream::new(party), events: 0, since: clock::monotonic() }
    }

    /// These events go out.
    pub fn add(&mut self, shared: &Shared, batch: &mut Batch) {
        self.hand_over(shared, Way::Delivered, batch);
        let events = batch.count();
        if self.events == 0 {
            self.since = clock::monotonic();
        }
        self.events += events;
        self.stream.gave(events);
        if self.events >= EVENTS || self.since.elapsed() >= AGE {
            self.flush(shared);
        }
    }

    /// These recalls go out.
    pub fn recalled(&self, shared: &Shared, batch: &mut Batch) {
        self.hand_over(shared, Way::Recalled, batch);
    }

    fn hand_over(&self, shared: &Shared, way: Way, batch: &mut Batch) {
        let told = std::mem::take(&mut batch.told);
        shared.receipts.deliver(&self.receipts, way, told, shared.clock.now());
    }

    /// The client acknowledges up to here. Of a state that is not complete it
    /// has a part, which no position says; of what a change of the roster brings
    /// or takes too, but all of the log before it.
    pub fn acknowledged(&self, shared: &Shared, reached: Reached) {
        let position = match reached.stage {
            Stage::State(_) => None,
            Stage::Changed(..) => Some(reached.position.just_before()),
            Stage::Log => Some(reached.position),
        };
        shared.receipts.acknowledge(&self.receipts, position, shared.clock.now());
    }

    /// When what is not on record yet is to be put there, if anything is.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (self.events > 0).then(|| self.since + AGE)
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
    }
}
