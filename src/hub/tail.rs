//! Decides how what was just committed reaches those who follow: a bounded
//! ring of shared chunks, and a watch that says how far the log goes. Who
//! falls off the ring goes on from the log itself, so nothing is ever dropped.
//! Whoever asks what is known finds the newest of it here, too: most questions
//! ask for that first.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::tasks;
use crate::model::position::Position;
use crate::store::chunk::Chunk;
use crate::store::db;

use super::shared::Shared;

/// The end of the log, in memory.
#[derive(Debug)]
pub struct Tail {
    ring: RwLock<Ring>,
    committed: watch::Sender<Position>,
    capacity_bytes: usize,
}

#[derive(Debug)]
struct Ring {
    /// Everything after this position is in the ring.
    floor: Position,
    chunks: VecDeque<(Position, Chunk)>,
    bytes: usize,
}

/// What the ring has for a reader.
#[derive(Debug)]
pub enum Read {
    /// Chunks after the reader's position, oldest first; empty: nothing yet.
    Chunks(Vec<Chunk>),
    /// The reader is behind the ring: read the log.
    Behind,
}

impl Tail {
    /// An empty ring over a log that ends at `committed`.
    #[must_use]
    pub fn new(committed: Position, capacity_bytes: usize) -> Self {
        let ring = Ring { floor: committed, chunks: VecDeque::new(), bytes: 0 };
        Self { ring: RwLock::new(ring), committed: watch::Sender::new(committed), capacity_bytes }
    }

    /// Takes in the chunks of a commit group, which is durable, and tells
    /// everyone who waits.
    pub fn push(&self, chunks: Vec<Chunk>) {
        let mut end = None;
        {
            let mut ring = self.ring.write();
            for chunk in chunks {
                let Some(last) = chunk.view().map(|view| view.last_position()) else { continue };
                ring.bytes += chunk.bytes.len();
                ring.chunks.push_back((last, chunk));
                end = Some(last);
            }
            while ring.bytes > self.capacity_bytes {
                let Some((last, chunk)) = ring.chunks.pop_front() else { break };
                ring.bytes -= chunk.bytes.len();
                ring.floor = last;
            }
        }
        if let Some(end) = end {
            self.committed.send_replace(end);
        }
    }

    /// Chunks that hold positions after `after`, up to about `max_bytes`.
    #[must_use]
    pub fn read(&self, after: Position, max_bytes: usize) -> Read {
        let ring = self.ring.read();
        if after < ring.floor {
            return Read::Behind;
        }
        let from = ring.chunks.partition_point(|(last, _)| *last <= after);
        let mut bytes = 0;
        let chunks = ring
            .chunks
            .range(from..)
            .take_while(|(_, chunk)| {
                let fits = bytes < max_bytes;
                bytes += chunk.bytes.len();
                fits
            })
            .map(|(_, chunk)| chunk.clone())
            .collect();
        Read::Chunks(chunks)
    }

    /// The chunk that holds a position, if it is in the ring. Below the base of
    /// the log it may hold what was cut out there.
    #[must_use]
    pub fn chunk_at(&self, at: Position) -> Option<Chunk> {
        self.newest(at).filter(|(last, _)| *last >= at).map(|(_, chunk)| chunk)
    }

    /// The last chunk that begins at or before a position, if it is in the ring;
    /// likewise.
    #[must_use]
    pub fn chunk_upto(&self, at: Position) -> Option<Chunk> {
        self.newest(at).map(|(_, chunk)| chunk)
    }

    fn newest(&self, at: Position) -> Option<(Position, Chunk)> {
        let ring = self.ring.read();
        let place = ring.chunks.partition_point(|(_, chunk)| chunk.first <= at);
        ring.chunks.get(place.checked_sub(1)?).cloned()
    }

    /// Puts the chunk before all others, if there is room and the ring still
    /// begins at `floor`; where it begins then.
    fn put_before(&self, floor: Position, chunk: Chunk) -> Option<Position> {
        let last = chunk.view()?.last_position();
        let mut ring = self.ring.write();
        if ring.floor != floor || last > floor || ring.bytes + chunk.bytes.len() > self.capacity_bytes {
            return None;
        }
        ring.floor = Position::from_raw(chunk.first.raw().saturating_sub(1));
        ring.bytes += chunk.bytes.len();
        ring.chunks.push_front((last, chunk));
        Some(ring.floor)
    }

    /// All that was committed after this is in the ring.
    #[must_use]
    pub fn floor(&self) -> Position {
        self.ring.read().floor
    }

    /// Position of the last committed item.
    #[must_use]
    pub fn committed(&self) -> Position {
        *self.committed.borrow()
    }

    /// A watch on the position of the last committed item.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.committed.subscribe()
    }

    /// Bytes held in the ring.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ring.read().bytes
    }
}

/// Takes in beside the hub what was committed before it started, the newest of
/// it, as far as there is room and the log is whole, until `stop`.
pub fn go_on(shared: &Arc<Shared>, stop: CancellationToken) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tasks::spawn_blocking(move || {
        if let Err(error) = take_in(&shared, &stop) {
            // Reading tells of it where it matters.
            tracing::error!(%error, "the end of the log is not in memory");
        }
    })
}

fn take_in(shared: &Shared, stop: &CancellationToken) -> Result<(), db::Error> {
    let mut floor = shared.tail.floor();
    let mut log = shared.store.follow_back(floor)?;
    while !stop.is_cancelled()
        && let Some(chunk) = log.next_chunk()?
        && chunk.first > shared.history.base().position
    {
        let Some(before) = shared.tail.put_before(floor, chunk) else { break };
        floor = before;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::Seq;
    use crate::store::chunk::Builder;

    fn chunk(counter: u64) -> Chunk {
        Builder::new(Seq::new(0, counter).at(0), vec![0; 100], counter).finish().remove(0)
    }

    fn read(tail: &Tail, after: Position) -> Option<Vec<u64>> {
        match tail.read(after, usize::MAX) {
            Read::Chunks(chunks) => Some(chunks.iter().map(|c| c.first.seq().counter()).collect()),
            Read::Behind => None,
        }
    }

    #[test]
    fn a_reader_on_the_ring_gets_all_that_follows_and_one_behind_it_is_told() {
        let size = chunk(1).bytes.len();
        let tail = Tail::new(Seq::new(0, 9).at(0), 3 * size);
        tail.push((10..15).map(chunk).collect());
        assert_eq!(tail.committed(), Seq::new(0, 14).at(0));
        assert_eq!(read(&tail, Seq::new(0, 11).at(0)), Some(vec![12, 13, 14]));
        assert_eq!(read(&tail, Seq::new(0, 13).at(0)), Some(vec![14]));
        assert_eq!(read(&tail, Seq::new(0, 14).at(0)), Some(vec![]));
        assert_eq!(read(&tail, Seq::new(0, 10).at(0)), None);
        assert!(tail.bytes() <= 3 * size);
    }

    #[test]
    fn what_was_committed_before_is_put_before_the_rest_as_long_as_there_is_room() {
        let size = chunk(1).bytes.len();
        let at = |counter| Seq::new(0, counter).at(0);
        let tail = Tail::new(at(9), 4 * size);
        tail.push(vec![chunk(10)]);
        let floor = tail.put_before(at(9), chunk(9)).unwrap();
        assert_eq!(tail.put_before(at(9), chunk(8)), None, "it begins elsewhere by now");
        let floor = tail.put_before(floor, chunk(7)).unwrap();
        assert_eq!(read(&tail, at(8)), Some(vec![9, 10]));
        assert_eq!(read(&tail, Position::from_raw(at(7).raw() - 1)), Some(vec![7, 9, 10]));
        assert_eq!(read(&tail, at(6)), None);
        let held = |position| tail.chunk_at(position).map(|chunk| chunk.first.seq().counter());
        assert_eq!(
            [at(6), at(7), at(8), at(9), at(10), at(11)].map(held),
            [None, Some(7), None, Some(9), Some(10), None]
        );
        tail.push(vec![chunk(11)]);
        assert_eq!(tail.put_before(floor, chunk(6)), None, "it is full");
        tail.push(vec![chunk(12)]);
        assert_eq!((held(at(7)), held(at(9))), (None, Some(9)));
        assert!(tail.bytes() <= 4 * size);
    }

    #[test]
    fn an_empty_ring_sends_an_old_reader_to_the_log() {
        let tail = Tail::new(Seq::new(0, 9).at(3), 1_000);
        assert_eq!(read(&tail, Seq::new(0, 9).at(3)), Some(vec![]));
        assert_eq!(read(&tail, Seq::new(0, 9).at(2)), None);
    }
}
