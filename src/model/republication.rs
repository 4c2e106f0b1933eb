//! Decides what an owner's leave to republish an indicator is: what was asked,
//! what was given, and when it holds.

use super::marking::Marking;
use super::numbered::numbered;
use super::principal::SpiffeId;
use crate::base::clock::Timestamp;

/// Most requests of one organisation that wait for answers.
pub const MAX_OPEN: u32 = 256;
/// Most of them that one person asks, so that a colleague finds places left.
pub const MAX_OPEN_EACH: u32 = MAX_OPEN / 2;
/// Longest reason of a request, or note of an answer, in bytes.
pub const MAX_TEXT_BYTES: usize = 1_024;

numbered! {
    /// Where a leave stands. Numbers are stored and sent.
    pub enum LeaveState {
        /// Asked for, and not answered.
        Requested = 1 is "requested",
        /// Given.
        Granted = 2 is "granted",
        /// Refused, taken back or given up.
        Withdrawn = 3 is "withdrawn",
    }
}

/// Leave for one organisation to republish one indicator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// Where it stands.
    pub state: LeaveState,
    /// Whether a request waits for the owner's answer.
    pub open: bool,
    /// What was asked last.
    pub wish: Option<Wish>,
    /// What was given last.
    pub terms: Option<Terms>,
    /// What was answered last.
    pub answer: Option<Answer>,
}

/// What an organisation asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How far it would publish.
    pub marking: Marking,
    /// What for.
    pub reason: String,
    /// Who asks.
    pub requester: SpiffeId,
    /// When.
    pub time: Timestamp,
}

/// What an owner gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How far at most.
    pub widest: Marking,
    /// When it ends; `None`: not by itself.
    pub until: Option<Timestamp>,
}

/// Who granted or withdrew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the other side should know; may be empty.
    pub note: String,
    /// Who.
    pub answerer: SpiffeId,
    /// When.
    pub time: Timestamp,
}

impl Leave {
    /// What `wish` makes of what stood: who has leave keeps it meanwhile.
    #[must_use]
    pub fn asked(before: Option<Self>, wish: Wish) -> Self {
        let granted = before.as_ref().is_some_and(|leave| leave.state == LeaveState::Granted);
        let state = if granted { LeaveState::Granted } else { LeaveState::Requested };
        let (terms, answer) = before.map(|leave| (leave.terms, leave.answer)).unwrap_or_default();
        Self { state, open: true, wish: Some(wish), terms, answer }
    }

    /// What a grant makes of what stood.
    #[must_use]
    pub fn granted(before: Option<Self>, terms: Terms, answer: Answer) -> Self {
        let wish = before.and_then(|leave| leave.wish);
        Self { state: LeaveState::Granted, open: false, wish, terms: Some(terms), answer: Some(answer) }
    }

    /// What a withdrawal makes of it.
    #[must_use]
    pub fn withdrawn(self, answer: Answer) -> Self {
        Self { state: LeaveState::Withdrawn, open: false, answer: Some(answer), ..self }
    }

    /// Who waits for an answer.
    #[must_use]
    pub fn waiting(&self) -> Option<&SpiffeId> {
        self.wish.as_ref().filter(|_| self.open).map(|wish| &wish.requester)
    }

    /// Whether there is anything to refuse, to take back or to give up.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.open || self.state == LeaveState::Granted
    }

    /// What holds at `now`; `None`: nothing.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> Option<&Marking> {
        let terms = self.terms.as_ref().filter(|_| self.state == LeaveState::Granted)?;
        terms.until.is_none_or(|until| now < until).then_some(&terms.widest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::marking::Tlp;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros_clamped(micros)
    }

    fn person() -> SpiffeId {
        SpiffeId::parse("spiffe://t.example/org/a/user/an").unwrap()
    }

    fn wish() -> Wish {
        Wish { marking: Marking::open(Tlp::Clear), reason: "r".into(), requester: person(), time: at(1) }
    }

    fn answer() -> Answer {
        Answer { note: String::new(), answerer: person(), time: at(2) }
    }

    fn green(until: Option<Timestamp>) -> Terms {
        Terms { widest: Marking::open(Tlp::Green), until }
    }

    #[test]
    fn leave_holds_from_the_grant_to_its_end_or_its_withdrawal() {
        let asked = Leave::asked(None, wish());
        assert_eq!((asked.state, asked.open, asked.holds(at(3))), (LeaveState::Requested, true, None));
        let granted = Leave::granted(Some(asked), green(Some(at(10))), answer());
        assert_eq!(granted.holds(at(9)), Some(&Marking::open(Tlp::Green)));
        assert_eq!(granted.holds(at(10)), None);
        assert!(granted.wish.is_some() && !granted.open && granted.stands());
        let withdrawn = granted.withdrawn(answer());
        assert_eq!((withdrawn.holds(at(3)), withdrawn.stands()), (None, false));
    }

    #[test]
    fn who_asks_for_more_keeps_what_there_is_until_it_is_answered() {
        let granted = Leave::granted(None, green(None), answer());
        let asked = Leave::asked(Some(granted), wish());
        assert_eq!((asked.state, asked.open), (LeaveState::Granted, true));
        assert!(asked.holds(at(3)).is_some());
        let withdrawn = asked.withdrawn(answer());
        assert_eq!(Leave::asked(Some(withdrawn), wish()).state, LeaveState::Requested);
    }
}
