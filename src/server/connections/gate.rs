//! Decides who shakes hands when not all can at once: nobody makes way within
//! his grace, and after it those of the busiest source do first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::networks::Network;

/// Those who have said hello: some shake hands, the others wait their turn.
#[derive(Debug)]
pub(super) struct Gate {
    places: usize,
    grace: Duration,
    /// Grows with everyone who comes and with every turn.
    tickets: u64,
    guests: HashMap<u64, Guest>,
    sources: HashMap<Network, Source>,
    /// Who shakes hands, the longest first.
    shaking: BTreeMap<u64, u64>,
    /// Sources that shake hands; last the busiest with its oldest handshake.
    busiest: BTreeSet<Rank>,
    /// Sources that wait; first the one that shakes the fewest hands, with its
    /// newest guest, who has the most of his patience left.
    quietest: BTreeSet<Rank>,
    /// Sources that wait; last the one with the most guests, with its oldest.
    crowding: BTreeSet<Rank>,
}

/// A source: how many guests count, and the ticket of one of them.
type Rank = (usize, Reverse<u64>, Network);

/// One who has said hello.
#[derive(Debug)]
struct Guest {
    source: Network,
    ticket: u64,
    /// Since when he shakes hands, if he does.
    since: Option<Instant>,
}

/// Guests of one source, by their tickets.
#[derive(Debug, Default)]
struct Source {
    shaking: BTreeMap<u64, u64>,
    waiting: BTreeMap<u64, u64>,
}

impl Source {
    /// Its ranks in `busiest`, `quietest` and `crowding`.
    fn ranks(&self, network: Network) -> [Option<Rank>; 3] {
        let (shaking, guests) = (self.shaking.len(), self.shaking.len() + self.waiting.len());
        let rank = |count: usize, ticket: Option<(&u64, &u64)>| {
            ticket.map(|(ticket, _)| (count, Reverse(*ticket), network))
        };
        [
            rank(shaking, self.shaking.first_key_value()),
            rank(shaking, self.waiting.last_key_value()),
            rank(guests, self.waiting.first_key_value()),
        ]
    }
}

/// What a guest is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is his turn.
    Turn(u64),
    /// He has to make way.
    Gone(u64),
}

impl Gate {
    /// A gate for so many handshakes at once, each undisturbed for `grace`.
    pub(super) fn new(places: usize, grace: Duration) -> Self {
        Self {
            places,
            grace,
            tickets: 0,
            guests: HashMap::new(),
            sources: HashMap::new(),
            shaking: BTreeMap::new(),
            busiest: BTreeSet::new(),
            quietest: BTreeSet::new(),
            crowding: BTreeSet::new(),
        }
    }

    /// `guest` has said hello and waits his turn.
    pub(super) fn arrive(&mut self, guest: u64, source: Network) {
        let ticket = self.ticket();
        self.guests.insert(guest, Guest { source, ticket, since: None });
        self.change(source, |source| {
            source.waiting.insert(ticket, guest);
        });
    }

    /// The hub has done its part of the handshake of `guest`: from now on it is
    /// his time that passes.
    pub(super) fn answered(&mut self, guest: u64, now: Instant) {
        if self.guests.get(&guest).is_some_and(|guest| guest.since.is_some()) {
            self.begin(guest, now);
        }
    }

    /// `guest` is done, one way or the other.
    pub(super) fn leave(&mut self, guest: u64) {
        let Some(Guest { source, ticket, .. }) = self.guests.remove(&guest) else { return };
        self.shaking.remove(&ticket);
        self.change(source, |source| {
            source.shaking.remove(&ticket);
            source.waiting.remove(&ticket);
        });
    }

    /// Gives out what places there are, or can be had; to be called after
    /// every change, and at [`Self::due`].
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some(guest) = self.next() {
            if self.shaking.len() >= self.places {
                let Some(stalled) = self.stalled(now, self.source_of(guest)) else { break };
                self.leave(stalled);
                words.push(Word::Gone(stalled));
            }
            self.begin(guest, now);
            words.push(Word::Turn(guest));
        }
        words
    }

    /// When the next handshake is to make way, if nothing changes before;
    /// never while nobody waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = self.source_of(self.next()?);
        let begun = self.in_the_way(waits).filter_map(|guest| self.guests.get(&guest)?.since);
        begun.min()?.checked_add(self.grace)
    }

    /// Whose place a newcomer from `source` takes where there is none left to
    /// wait in; of a source that has fewer guests than his nobody's.
    pub(super) fn last(&self, now: Instant, source: Network) -> Option<u64> {
        let guests = self.sources.get(&source).map_or(0, |own| own.shaking.len() + own.waiting.len());
        let waits = self.crowding.last().and_then(|(crowd, Reverse(ticket), network)| {
            self.sources.get(network).filter(|_| *crowd >= guests)?.waiting.get(ticket).copied()
        });
        waits.or_else(|| self.stalled(now, Some(source)))
    }

    /// Who is next: of the quietest source, so that whoever has many places
    /// waits for himself; the newest, for he is the likeliest to be there still.
    fn next(&self) -> Option<u64> {
        let (_, Reverse(ticket), network) = self.quietest.first()?;
        self.sources.get(network)?.waiting.get(ticket).copied()
    }

    /// Who has to make way for one from `source`; nobody within his grace.
    fn stalled(&self, now: Instant, source: Option<Network>) -> Option<u64> {
        self.in_the_way(source).find(|guest| {
            let since = self.guests.get(guest).and_then(|guest| guest.since);
            since.is_some_and(|since| now.saturating_duration_since(since) >= self.grace)
        })
    }

    /// Who may have to make way for one from `source`: a handshake of the
    /// busiest source or else the oldest of all, if their sources shake more
    /// hands than his, for who has many places would take the others', too; or
    /// else the oldest of his own.
    fn in_the_way(&self, source: Option<Network>) -> impl Iterator<Item = u64> {
        let own = source.and_then(|source| self.sources.get(&source));
        let own_hands = own.map_or(0, |own| own.shaking.len());
        let busiest = self.busiest.last().and_then(|(_, Reverse(ticket), _)| self.shaking.get(ticket));
        let oldest = self.shaking.first_key_value().map(|(_, guest)| guest);
        let others = busiest.into_iter().chain(oldest).copied();
        let hands = |guest| self.sources.get(&self.source_of(guest)?).map(|source| source.shaking.len());
        let others = others.filter(move |guest| hands(*guest).is_some_and(|hands| hands > own_hands));
        others.chain(own.and_then(|own| own.shaking.first_key_value()).map(|(_, guest)| *guest))
    }

    fn source_of(&self, guest: u64) -> Option<Network> {
        self.guests.get(&guest).map(|guest| guest.source)
    }

    fn begin(&mut self, guest: u64, now: Instant) {
        let begun = self.ticket();
        let Some(Guest { source, ticket, since }) = self.guests.get_mut(&guest) else { return };
        let (source, before) = (*source, std::mem::replace(ticket, begun));
        *since = Some(now);
        self.shaking.remove(&before);
        self.shaking.insert(begun, guest);
        self.change(source, |source| {
            source.waiting.remove(&before);
            source.shaking.remove(&before);
            source.shaking.insert(begun, guest);
        });
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Changes the guests of one source, and its ranks with them.
    fn change(&mut self, network: Network, change: impl FnOnce(&mut Source)) {
        let source = self.sources.entry(network).or_default();
        let before = source.ranks(network);
        change(source);
        let after = source.ranks(network);
        if source.shaking.is_empty() && source.waiting.is_empty() {
            self.sources.remove(&network);
        }
        let ranks = [&mut self.busiest, &mut self.quietest, &mut self.crowding];
        for (rank, (before, after)) in ranks.into_iter().zip(before.into_iter().zip(after)) {
            if let Some(before) = before {
                rank.remove(&before);
            }
            rank.extend(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    fn source(last: u8) -> Network {
        (IpAddr::from([192, 0, 2, last]), 32)
    }

    /// A gate with these guests, each of the source of this number.
    fn gate(places: usize, guests: &[(u64, u8)], now: Instant) -> Gate {
        let mut gate = Gate::new(places, GRACE);
        for &(guest, of) in guests {
            gate.arrive(guest, source(of));
            gate.settle(now);
        }
        gate
    }

    fn now() -> Instant {
        crate::base::clock::monotonic()
    }

    #[test]
    fn whoever_comes_while_there_is_room_has_his_turn_at_once() {
        let mut gate = Gate::new(2, GRACE);
        for guest in 1..=2 {
            gate.arrive(guest, source(1));
            assert_eq!(gate.settle(now()), [Word::Turn(guest)]);
        }
        gate.arrive(3, source(2));
        assert_eq!(gate.settle(now()), []);
        gate.leave(1);
        assert_eq!(gate.settle(now()), [Word::Turn(3)]);
        assert_eq!(gate.due(), None);
    }

    #[test]
    fn nobody_makes_way_within_his_grace() {
        let start = now();
        let mut gate = gate(1, &[(1, 1), (2, 2)], start);
        assert_eq!(gate.due(), Some(start + GRACE));
        assert_eq!(gate.settle(start + GRACE - Duration::from_millis(1)), []);
        assert_eq!(gate.settle(start + GRACE), [Word::Gone(1), Word::Turn(2)]);
    }

    #[test]
    fn the_grace_begins_when_the_hub_has_answered() {
        let start = now();
        let mut gate = gate(1, &[(1, 1), (2, 2)], start);
        gate.answered(1, start + GRACE);
        gate.answered(2, start + GRACE);
        assert_eq!(gate.settle(start + GRACE), []);
        assert_eq!(gate.due(), Some(start + GRACE * 2));
        assert_eq!(gate.settle(start + GRACE * 2), [Word::Gone(1), Word::Turn(2)]);
    }

    #[test]
    fn the_oldest_of_the_busiest_source_makes_way_first() {
        let start = now();
        let mut gate = gate(4, &[(1, 1), (2, 2), (3, 2), (4, 3)], start);
        gate.arrive(5, source(4));
        assert_eq!(gate.settle(start + GRACE), [Word::Gone(2), Word::Turn(5)]);
        gate.arrive(6, source(4));
        assert_eq!(gate.settle(start + GRACE), [], "every source has one now");
        gate.arrive(7, source(5));
        assert_eq!(gate.settle(start + GRACE), [Word::Gone(1), Word::Turn(7)], "his has none");
    }

    #[test]
    fn the_newest_guest_of_the_quietest_source_is_next() {
        let start = now();
        let mut gate = gate(2, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 1)], start);
        let turn = |gate: &mut Gate, gone, guest| {
            gate.leave(gone);
            assert_eq!(gate.settle(start), [Word::Turn(guest)]);
        };
        // The newest has a namesake who shakes hands.
        turn(&mut gate, 2, 4);
        turn(&mut gate, 4, 3);
        turn(&mut gate, 3, 5);
    }

    #[test]
    fn the_last_in_the_line_is_the_oldest_of_the_busiest_source() {
        let start = now();
        let mut gate = gate(1, &[(1, 1), (2, 2), (3, 3), (4, 3)], start);
        for guest in [3, 2, 4] {
            assert_eq!(gate.last(start, source(9)), Some(guest));
            gate.leave(guest);
        }
        assert_eq!(gate.last(start, source(9)), None, "who shakes hands is in his grace");
        assert_eq!(gate.last(start + GRACE, source(9)), Some(1));
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_left() {
        let start = now();
        let mut gate = gate(2, &[(1, 1), (2, 1), (3, 1), (4, 2)], start);
        (0..9).for_each(|guest| gate.leave(guest));
        assert!(gate.guests.is_empty() && gate.sources.is_empty() && gate.shaking.is_empty());
        assert!(gate.busiest.is_empty() && gate.quietest.is_empty() && gate.crowding.is_empty());
    }

    #[test]
    fn whoever_has_many_places_takes_none_from_one_who_has_few() {
        let start = now();
        // The honest one is slow, and the others go before their grace is over.
        let mut gate = gate(3, &[(1, 1), (2, 2)], start);
        gate.arrive(3, source(2));
        let later = start + GRACE - Duration::from_millis(1);
        gate.settle(later);
        gate.leave(2);
        gate.arrive(4, source(2));
        gate.settle(later);
        gate.arrive(5, source(2));
        let over = start + GRACE;
        assert_eq!(gate.settle(over), [], "the honest one stays");
        assert_eq!(gate.last(over, source(2)), Some(5), "who waits of the same source goes first");
        assert_eq!(gate.due(), Some(later + GRACE), "the next to go is their own");
        gate.arrive(6, source(3));
        let told = [Word::Gone(3), Word::Turn(6), Word::Gone(4), Word::Turn(5)];
        assert_eq!(gate.settle(later + GRACE), told, "of their own who wait longest");
    }
}
