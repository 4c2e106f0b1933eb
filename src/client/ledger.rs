//! Decides how many events a subscriber may still be sent, and after which
//! token it goes on: the bookkeeping of a subscription, without any I/O.

use std::collections::VecDeque;

use bytes::Bytes;

use super::error::Error;

/// Most deliveries that may wait to be confirmed; heartbeats among them hold
/// no events, so credit does not bound them.
const MAX_UNCONFIRMED: usize = 1_024;

/// Credit, tokens and confirmations of one subscription.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Most events on their way or unconfirmed at once.
    window: u64,
    /// Events that may still be asked for in all; `None`: without end.
    remaining: Option<u64>,
    /// Events that the hub may still send on this stream.
    granted: u64,
    /// Events handed out and not confirmed.
    unconfirmed: u64,
    handed: VecDeque<Handed>,
    /// After this token the next stream goes on.
    resume: Option<Bytes>,
    /// Number of the stream in use.
    stream: u64,
}

#[derive(Debug)]
struct Handed {
    token: Bytes,
    events: u64,
    stream: u64,
}

/// What a confirmation is good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// The hub knows this token on the stream in use: acknowledge it.
    Acknowledge,
    /// It came on an earlier stream; a later acknowledgement covers it.
    Earlier,
}

impl Ledger {
    pub(super) fn new(window: u32, limit: Option<u64>, resume: Option<Bytes>) -> Self {
        Self {
            window: u64::from(window.max(1)),
            remaining: limit,
            granted: 0,
            unconfirmed: 0,
            handed: VecDeque::new(),
            resume,
            stream: 0,
        }
    }

    /// Where a new stream starts; `None`: where the caller said.
    pub(super) const fn resume(&self) -> Option<&Bytes> {
        self.resume.as_ref()
    }

    /// A new stream: what the old one was granted is void. Returns the first
    /// credit.
    pub(super) fn open(&mut self) -> u32 {
        self.stream += 1;
        if let Some(remaining) = &mut self.remaining {
            *remaining += self.granted;
        }
        self.granted = 0;
        u32::try_from(self.grant()).unwrap_or(u32::MAX)
    }

    /// Further credit to send; 0: none yet. Grants come in halves of the
    /// window, so that they are few.
    pub(super) fn replenish(&mut self) -> u64 {
        if self.granted + self.unconfirmed > self.window / 2 { 0 } else { self.grant() }
    }

    fn grant(&mut self) -> u64 {
        let free = self.window.saturating_sub(self.granted + self.unconfirmed);
        let grant = self.remaining.map_or(free, |remaining| remaining.min(free));
        if let Some(remaining) = &mut self.remaining {
            *remaining -= grant;
        }
        self.granted += grant;
        grant
    }

    /// Whether every event that may be asked for was handed out.
    pub(super) fn is_spent(&self) -> bool {
        self.remaining == Some(0) && self.granted == 0
    }

    /// Whether everything that was handed out is confirmed.
    pub(super) fn is_confirmed(&self) -> bool {
        self.handed.is_empty()
    }

    /// Whether the caller may be handed more.
    ///
    /// # Errors
    /// The caller has to confirm first: it would wait for ever.
    pub(super) fn may_hand(&self) -> Result<(), Error> {
        let starved = self.granted == 0 && self.unconfirmed > 0 && self.remaining != Some(0);
        if starved || self.handed.len() >= MAX_UNCONFIRMED {
            Err(Error::Misuse("confirm the deliveries that are stored before asking for more"))
        } else {
            Ok(())
        }
    }

    /// Notes events and their token as handed out. `false`: an empty delivery
    /// that tells nothing new.
    ///
    /// # Errors
    /// The hub sent more than it was granted.
    pub(super) fn hand(&mut self, events: usize, token: &Bytes) -> Result<bool, Error> {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        if events > self.granted {
            return Err(Error::Protocol(format!(
                "{events} events came where {} were asked for",
                self.granted
            )));
        }
        if events == 0 && !token.is_empty() && self.resume.as_ref() == Some(token) {
            return Ok(false);
        }
        self.mark(token)?;
        self.granted -= events;
        self.unconfirmed += events;
        if let Some(handed) = self.handed.back_mut() {
            handed.events = events;
        }
        Ok(true)
    }

    /// Notes a token as handed out that says something by itself.
    ///
    /// # Errors
    /// The hub sent no token.
    pub(super) fn mark(&mut self, token: &Bytes) -> Result<(), Error> {
        if token.is_empty() {
            return Err(Error::Protocol("a resume token is empty".to_owned()));
        }
        self.handed.push_back(Handed { token: token.clone(), events: 0, stream: self.stream });
        self.resume = Some(token.clone());
        Ok(())
    }

    /// Notes that everything up to `token` is the caller's to keep.
    ///
    /// # Errors
    /// The token was not handed out, or was confirmed before.
    pub(super) fn confirm(&mut self, token: &Bytes) -> Result<Confirmed, Error> {
        let Some(at) = self.handed.iter().position(|handed| handed.token == *token) else {
            return Err(Error::Misuse(
                "only a token that was handed out, and was not confirmed yet, can be confirmed",
            ));
        };
        let mut confirmed = Confirmed::Earlier;
        for handed in self.handed.drain(..=at) {
            self.unconfirmed = self.unconfirmed.saturating_sub(handed.events);
            if handed.stream == self.stream {
                confirmed = Confirmed::Acknowledge;
            }
        }
        Ok(confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u8) -> Bytes {
        Bytes::copy_from_slice(&[n; 4])
    }

    #[test]
    fn credit_returns_in_halves_and_only_for_confirmed_events() {
        let mut ledger = Ledger::new(10, None, None);
        assert_eq!(ledger.open(), 10);
        assert!(ledger.hand(6, &token(1)).unwrap());
        assert_eq!(ledger.replenish(), 0, "six are unconfirmed");
        ledger.confirm(&token(1)).unwrap();
        assert_eq!(ledger.replenish(), 6);
        assert_eq!(ledger.replenish(), 0);
    }

    #[test]
    fn more_events_than_granted_break_the_protocol() {
        let mut ledger = Ledger::new(10, None, None);
        ledger.open();
        assert!(matches!(ledger.hand(11, &token(1)), Err(Error::Protocol(_))));
    }

    #[test]
    fn a_new_stream_goes_on_after_the_last_token_handed_out() {
        let mut ledger = Ledger::new(10, None, Some(token(9)));
        ledger.open();
        assert_eq!(ledger.resume(), Some(&token(9)));
        ledger.hand(3, &token(1)).unwrap();
        assert_eq!(ledger.open(), 7, "three are still unconfirmed");
        assert_eq!(ledger.resume(), Some(&token(1)));
    }

    #[test]
    fn a_limit_is_never_exceeded_even_over_streams() {
        let mut ledger = Ledger::new(10, Some(12), None);
        assert_eq!(ledger.open(), 10);
        ledger.hand(4, &token(1)).unwrap();
        ledger.confirm(&token(1)).unwrap();
        assert_eq!(ledger.open(), 8, "twelve less the four received");
        ledger.hand(8, &token(2)).unwrap();
        assert!(ledger.is_spent());
        ledger.may_hand().unwrap();
        ledger.confirm(&token(2)).unwrap();
        assert_eq!(ledger.replenish(), 0);
    }

    #[test]
    fn who_never_confirms_is_told_instead_of_waiting_for_ever() {
        let mut ledger = Ledger::new(2, None, None);
        ledger.open();
        ledger.hand(2, &token(1)).unwrap();
        assert!(matches!(ledger.may_hand(), Err(Error::Misuse(_))));
        ledger.confirm(&token(1)).unwrap();
        ledger.replenish();
        ledger.may_hand().unwrap();
    }

    #[test]
    fn a_token_of_an_earlier_stream_is_confirmed_but_not_acknowledged() {
        let mut ledger = Ledger::new(10, None, None);
        ledger.open();
        ledger.hand(1, &token(1)).unwrap();
        ledger.open();
        ledger.hand(1, &token(2)).unwrap();
        assert_eq!(ledger.confirm(&token(1)).unwrap(), Confirmed::Earlier);
        assert_eq!(ledger.confirm(&token(2)).unwrap(), Confirmed::Acknowledge);
        assert!(matches!(ledger.confirm(&token(2)), Err(Error::Misuse(_))));
    }

    #[test]
    fn a_heartbeat_that_tells_nothing_new_is_not_handed_out() {
        let mut ledger = Ledger::new(10, None, None);
        ledger.open();
        assert!(ledger.hand(0, &token(1)).unwrap());
        assert!(!ledger.hand(0, &token(1)).unwrap());
        assert!(ledger.hand(0, &token(2)).unwrap());
    }
}
