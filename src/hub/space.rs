//! Decides whether the disk has room for more: below a floor nothing new is
//! taken, so that the engine can still flush and compact what it holds, and
//! above it again all goes on by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::volume::Volume;

use super::engine::Hub;
use super::error::{Error, Reason};

/// When a publisher may try again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Never measured.
const UNKNOWN: u64 = u64::MAX;

/// What is known of the room on the disk.
#[derive(Debug)]
pub struct Space {
    volume: Arc<dyn Volume>,
    floor: u64,
    free: AtomicU64,
    low: AtomicBool,
}

impl Space {
    /// Not measured yet, and so not low.
    #[must_use]
    pub fn new(volume: Arc<dyn Volume>, floor: u64) -> Self {
        Self { volume, floor, free: AtomicU64::new(UNKNOWN), low: AtomicBool::new(false) }
    }

    /// Bytes that were free when it was last measured; `None`: never.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed)).filter(|&free| free != UNKNOWN)
    }

    /// Whether nothing new may be written.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Measures the file system of `path`. A measure that fails changes
    /// nothing: writing will show what is wrong.
    fn measure(&self, path: &Path) {
        let free = match self.volume.free_bytes(path) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "cannot measure the free space of the store's disk");
                return;
            }
        };
        self.free.store(free, Ordering::Relaxed);
        // An eighth above the floor, so that it does not come and go with
        // every table file.
        let bound = if self.is_low() { self.floor.saturating_add(self.floor / 8) } else { self.floor };
        let low = free < bound;
        match (self.low.swap(low, Ordering::Relaxed), low) {
            (false, true) => tracing::error!(
                free,
                floor = self.floor,
                "the store's disk is nearly full; nothing is published until there is room on it"
            ),
            (true, false) => tracing::info!(free, "the store's disk has room again; publishing goes on"),
            _ => {}
        }
    }

    /// The answer to whoever would write while there is no room.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`.
    pub fn check(&self) -> Result<(), Error> {
        if !self.is_low() {
            return Ok(());
        }
        Err(Error {
            retry_after: Some(RETRY_AFTER),
            ..Error::new(
                Reason::StoreReadOnly,
                "the hub's disk is nearly full; keep what you would publish and repeat it with the same request_id once its operator has made room",
            )
        })
    }
}

impl Hub {
    /// Looks how much room the store's disk has: about once a second is
    /// enough. Below the floor, requests that write are refused from now on;
    /// above it, they are taken again. Blocking.
    pub fn measure_space(&self) {
        self.shared.space.measure(self.shared.store.path());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A disk that has so much, or fails.
    #[derive(Debug)]
    struct Told(AtomicU64);

    impl Volume for Told {
        fn free_bytes(&self, _: &Path) -> io::Result<u64> {
            match self.0.load(Ordering::SeqCst) {
                UNKNOWN => Err(io::ErrorKind::NotConnected.into()),
                free => Ok(free),
            }
        }
    }

    #[test]
    fn it_is_low_below_the_floor_until_an_eighth_above_it_is_free() {
        let told = Arc::new(Told(AtomicU64::new(0)));
        let space = Space::new(Arc::clone(&told) as Arc<dyn Volume>, 800);
        assert!(!space.is_low() && space.free().is_none());
        let seen = [800, 799, 800, 899, UNKNOWN, 900, 850, UNKNOWN, 0].map(|free| {
            told.0.store(free, Ordering::SeqCst);
            space.measure(Path::new("."));
            (space.is_low(), space.check().is_err(), space.free().unwrap_or_default())
        });
        let expected = [
            (false, 800),
            (true, 799),
            (true, 800),
            (true, 899),
            (true, 899),
            (false, 900),
            (false, 850),
            (false, 850),
            (true, 0),
        ];
        assert_eq!(seen, expected.map(|(low, free)| (low, low, free)));
    }
}
