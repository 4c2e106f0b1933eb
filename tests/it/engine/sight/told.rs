//! What a sighting and a notice tell a viewer today, and to whom no marking may
//! be addressed.

use super::model::{Model, Told, Version, What};
use super::rules::{For, Mark, Person};
use super::world::slug;

/// How much of the other record of a collision is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Nothing,
    Unnamed,
    All,
}

impl Level {
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Unnamed, Self::All];
}

impl Model {
    /// Whether a marking names an organisation that ended for good.
    pub(super) fn addresses_none(&self, mark: &Mark) -> bool {
        mark.organisations.iter().any(|&org| !self.rules.lives_on(org, &mut Vec::new()))
    }

    /// Whether who stands behind what was told is hidden from a person today:
    /// it was told masked, or what was sighted has been masked since.
    pub(super) fn hides(&self, person: Person, told: &Told, now: &Version, purpose: For) -> bool {
        if told.mark.masked {
            return !self.rules.told(person, told.owner, &told.mark, purpose);
        }
        let What::Sighting { reporter, .. } = told.what else { return false };
        let since = !told.masked && now.mark.masked;
        since && reporter != person.0 && !self.rules.told(person, now.owner, &now.mark, purpose)
    }

    /// How much of the other record, which is `other` now, a person is told.
    pub(super) fn level(&self, person: Person, told: &Told, other: &Version, purpose: For) -> Level {
        if !self.rules.visible(person, other.owner, &other.mark, purpose) {
            return Level::Nothing;
        }
        let since = !told.masked && other.mark.masked;
        if since && !self.rules.told(person, other.owner, &other.mark, purpose) {
            Level::Unnamed
        } else {
            Level::All
        }
    }

    /// Whether a viewer was to be told so much of the other record lately.
    pub(super) fn may_be_told(&self, viewer: usize, number: usize, level: Level) -> bool {
        self.told[number].levels[viewer][level as usize]
    }

    /// The other record and its owner as a notice names them at a level.
    pub(super) fn names(&self, number: usize, level: Level) -> (String, String) {
        let What::Notice { other, seen, named } = self.told[number].what else { panic!("a notice") };
        let record = &self.records[other];
        let other =
            if seen && level != Level::Nothing { format!("indicators/{}", record.id) } else { String::new() };
        let owner = if named && level == Level::All {
            format!("organisations/{}", slug(record.owner))
        } else {
            String::new()
        };
        (other, owner)
    }
}
