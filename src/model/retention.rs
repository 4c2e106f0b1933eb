//! Decides what is kept, and for how long: all of the past for a while, then
//! what stood by then; and of what has ended as much as rules say.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::indicator::{Kind, State};
use super::marking::Tlp;

/// Most rules of a policy.
pub const MAX_RULES: usize = 64;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// How long everything is kept: versions that were replaced, what
    /// subscribers can go on from, and moments of which can be asked.
    pub history: Duration,
    /// How long what is planned waits before it is done.
    pub grace: Duration,
    /// What is kept of records that have ended; the first rule that fits. One
    /// that no rule fits is kept.
    pub rules: Vec<Rule>,
}

/// How long records are kept once they have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of these kinds; empty: of all.
    pub kinds: Vec<Kind>,
    /// With these labels; empty: with all.
    pub tlps: Vec<Tlp>,
    /// That ended so; empty: however.
    pub states: Vec<State>,
    /// For how long; `None`: for ever.
    pub keep: Option<Duration>,
}

impl Rule {
    fn fits(&self, kind: u8, tlp: u8, state: State) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|known| known.number() == kind))
            && (self.tlps.is_empty() || self.tlps.iter().any(|known| known.number() == tlp))
            && (self.states.is_empty() || self.states.contains(&state))
    }
}

impl Retention {
    /// How long a record of a kind (by number) with a label (likewise) is kept
    /// once it is in `state`; `None`: for ever, as all that holds.
    #[must_use]
    pub fn keep(&self, kind: u8, tlp: u8, state: State) -> Option<Duration> {
        if state == State::Active {
            return None;
        }
        self.rules.iter().find(|rule| rule.fits(kind, tlp, state))?.keep
    }

    /// The different spans for which something is kept.
    #[must_use]
    pub fn spans(&self) -> BTreeSet<Duration> {
        self.rules.iter().filter_map(|rule| rule.keep).collect()
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "history {}s", self.history.as_secs())?;
        for Rule { kinds, tlps, states, keep } in &self.rules {
            write!(f, "; keep ")?;
            match keep {
                Some(keep) => write!(f, "{}s", keep.as_secs())?,
                None => write!(f, "forever")?,
            }
            kinds.iter().try_for_each(|kind| write!(f, " {}", kind.as_str()))?;
            tlps.iter().try_for_each(|tlp| write!(f, " {}", tlp.as_str()))?;
            states.iter().try_for_each(|state| write!(f, " {}", state.as_str()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_first_rule_that_fits_decides_and_what_holds_is_kept() {
        let rule = |kinds: &[Kind], tlps: &[Tlp], states: &[State], keep| Rule {
            kinds: kinds.to_vec(),
            tlps: tlps.to_vec(),
            states: states.to_vec(),
            keep,
        };
        let policy = Retention {
            history: DAY,
            grace: DAY,
            rules: vec![
                rule(&[Kind::Domain], &[], &[State::Expired], Some(DAY)),
                rule(&[], &[Tlp::Red], &[], None),
                rule(&[], &[], &[State::Revoked], Some(DAY * 2)),
            ],
        };
        let keep = |kind: Kind, tlp: Tlp, state| policy.keep(kind.number(), tlp.number(), state);
        assert_eq!(keep(Kind::Domain, Tlp::Red, State::Expired), Some(DAY));
        assert_eq!(keep(Kind::Domain, Tlp::Red, State::Revoked), None);
        assert_eq!(keep(Kind::Url, Tlp::Green, State::Revoked), Some(DAY * 2));
        assert_eq!(keep(Kind::Url, Tlp::Green, State::Expired), None);
        assert_eq!(keep(Kind::Domain, Tlp::Green, State::Active), None);
        assert_eq!(policy.spans(), [DAY, DAY * 2].into());
        assert_eq!(
            policy.to_string(),
            "history 86400s; keep 86400s domain expired; keep forever TLP:RED; keep 172800s revoked"
        );
    }
}
