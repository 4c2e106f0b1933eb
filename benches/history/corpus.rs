//! Decides what is published: a seeded mix of indicators, each told by its
//! number, and by whom and for whom.

use luytre::wire::proto::v1;
use prost_types::Timestamp;

use super::roster;
use super::seeded::Dice;
use super::values::Values;
use super::words::Words;

/// Items of a request.
pub const BATCH: u64 = 512;
const DAY: i64 = 86_400;
/// One indicator in so many is about a value that another is about.
const CORROBORATED: u64 = 12;

/// All that can be published.
#[derive(Debug)]
pub struct Corpus {
    pub seed: u64,
    pub rows: u64,
    /// Seconds since the epoch that nothing was seen after.
    pub until: i64,
    pub words: Words,
    pub values: Values,
}

impl Corpus {
    pub fn new(seed: u64, rows: u64, until: i64) -> Self {
        Self { seed, rows, until, words: Words::new(seed), values: Values::new(seed, rows) }
    }

    pub const fn dice(&self, salt: u64, number: u64) -> Dice {
        Dice::of(self.seed, salt, number)
    }

    /// Who publishes this list, by its place in the roster.
    pub fn owner(&self, batch: u64) -> usize {
        self.dice(0x0e, batch).zipf(roster::ORGANISATIONS)
    }

    /// The number whose value this one is about.
    pub fn value_number(&self, number: u64) -> u64 {
        let mut dice = self.dice(0xc0, number);
        if number >= BATCH && dice.below(CORROBORATED) == 0 { dice.below(number) } else { number }
    }

    /// The value of an indicator and its canonical text.
    pub fn value(&self, number: u64) -> (String, v1::observable::Value) {
        self.values.of(&self.words, self.value_number(number))
    }

    /// Whether every member may see it.
    pub fn is_open(&self, number: u64) -> bool {
        matches!(self.reach(number), Reach::Clear | Reach::Green)
    }

    /// Whether [`roster::ANALYST`] may not see it.
    pub fn is_hidden(&self, number: u64) -> bool {
        matches!(self.reach(number), Reach::Others)
    }

    /// Of eight lists one is TLP:CLEAR, four TLP:GREEN, two TLP:AMBER, and one
    /// mixes item by item.
    fn reach(&self, number: u64) -> Reach {
        match (number / BATCH) % 8 {
            0 => Reach::Clear,
            5 => Reach::Analyst,
            6 => Reach::Others,
            7 if number.is_multiple_of(3) => Reach::Others,
            7 if number.is_multiple_of(2) => Reach::Analyst,
            _ => Reach::Green,
        }
    }

    fn marking(&self, number: u64) -> v1::Marking {
        let mut dice = self.dice(0x3a, number / BATCH);
        let tlp = |tlp: v1::Tlp| v1::Marking { tlp: tlp.into(), ..Default::default() };
        let mut named: Vec<_> =
            (0..=dice.below(3)).map(|_| roster::slug(dice.zipf(roster::ORGANISATIONS))).collect();
        let reach = self.reach(number);
        match reach {
            Reach::Clear => return tlp(v1::Tlp::Clear),
            Reach::Green => return tlp(v1::Tlp::Green),
            Reach::Analyst => named.push(roster::ANALYST.to_owned()),
            Reach::Others => {}
        }
        named.sort();
        named.dedup();
        let organisations = named.iter().map(|slug| roster::name(slug)).collect();
        v1::Marking { organisations, ..tlp(v1::Tlp::Amber) }
    }

    /// What is said of it, the `version`th time.
    pub fn draft(&self, number: u64, version: u64) -> v1::IndicatorDraft {
        let mut dice = self.dice(0x11, number);
        let (_, value) = self.value(number);
        let mut draft = v1::IndicatorDraft {
            observable: Some(v1::Observable { value: Some(value) }),
            marking: Some(self.marking(number)),
            ..Default::default()
        };
        let labels = 1 + dice.below(3);
        draft.labels = (0..labels).map(|_| dice.first_of(&self.words.labels).clone()).collect();
        if dice.chance(70) {
            let confidence = [10, 20, 30, 40, 50, 50, 60, 70, 75, 80, 85, 90, 100][dice.below(13) as usize];
            draft.confidence = Some(((confidence + version * 7) % 101) as u32);
        }
        if dice.chance(80) {
            draft.description = self.words.description(&mut dice);
        }
        if dice.chance(75) {
            let first = self.until - dice.below(2 * 365 * DAY as u64) as i64;
            draft.first_seen = moment(first);
            let later = dice.below((self.until - first).max(1) as u64) as i64;
            draft.last_seen = moment(first + (later + version as i64 * DAY).min(self.until - first));
        }
        if dice.chance(15) {
            let until =
                if dice.chance(25) { -1 - dice.below(100) as i64 } else { 30 + dice.below(400) as i64 };
            draft.valid_until = moment(self.until + until * DAY);
        }
        self.telling(&mut dice, &mut draft);
        draft
    }

    /// What not every producer tells.
    fn telling(&self, dice: &mut Dice, draft: &mut v1::IndicatorDraft) {
        use v1::{IndicatorRole as Role, RecommendedAction as Action};
        if dice.chance(40) {
            let role = [Role::Infrastructure, Role::Tool, Role::Sink, Role::Victim][dice.zipf(4)];
            draft.role = role.into();
        }
        if dice.chance(60) && draft.role() != Role::Victim {
            let action = [Action::Block, Action::Monitor, Action::Hunt, Action::Isolate][dice.zipf(4)];
            draft.recommended_action = action.into();
        }
        if dice.chance(35) {
            draft.family = dice.first_of(&self.words.families).clone();
        }
        if dice.chance(20) {
            draft.campaign = dice.first_of(&self.words.campaigns).clone();
        }
        if dice.chance(30) {
            let techniques = 1 + dice.below(3);
            draft.attack_techniques =
                (0..techniques).map(|_| dice.first_of(&self.words.techniques).clone()).collect();
        }
    }
}

/// Who may see an indicator.
#[derive(Debug, Clone, Copy)]
enum Reach {
    Clear,
    Green,
    /// Some, and the analyst among them.
    Analyst,
    /// Some, and the analyst not among them.
    Others,
}

/// A moment in seconds since the epoch.
pub const fn moment(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}
