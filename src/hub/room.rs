//! Decides how many bytes may wait for the writer: whoever comes beyond that
//! waits at the door, in the order of coming, and keeps what he brings.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one place is for, in bytes.
const PLACE_BYTES: usize = 1_024;

/// The room before the writer.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    all: u32,
}

impl Room {
    /// A room for so many bytes, and for one KiB at least.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let places = (bytes / PLACE_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let all = u32::try_from(places).unwrap_or(u32::MAX);
        Self { places: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until there is room for so many bytes, and takes it until what
    /// is returned is dropped. What is larger than the whole room takes all
    /// of it. `None` is never returned while the room is there.
    pub async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_many_owned(self.places_of(bytes)).await.ok()
    }

    /// The same at once, or not at all.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_many_owned(self.places_of(bytes)).ok()
    }

    fn places_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(PLACE_BYTES)).unwrap_or(u32::MAX).clamp(1, self.all)
    }

    /// Bytes that are taken, to the KiB.
    #[must_use]
    pub fn taken(&self) -> usize {
        (self.all as usize).saturating_sub(self.places.available_permits()) * PLACE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_in_turn_and_the_largest_is_let_in_too() {
        let room = Room::new(4 * PLACE_BYTES);
        let first = room.take(2 * PLACE_BYTES + 1).await.unwrap();
        assert_eq!(room.taken(), 3 * PLACE_BYTES);
        let (mut large, mut small) = (Box::pin(room.take(1 << 40)), Box::pin(room.take(1)));
        assert!(poll!(&mut large).is_pending());
        // There would be room for it, but the other came before.
        assert!(poll!(&mut small).is_pending());
        drop(first);
        let whole = large.await.unwrap();
        assert_eq!(room.taken(), 4 * PLACE_BYTES);
        assert!(poll!(&mut small).is_pending());
        drop(whole);
        drop(small.await.unwrap());
        assert_eq!(room.taken(), 0);
    }
}
