//! Decides who takes part: organisations, dated role assignments, principals.

use std::collections::BTreeMap;

use time::Date;

use super::org::{OrgSlug, Organisation, Standing};
use super::principal::{Roles, SpiffeId};

/// Everyone who takes part, at one moment of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// Organisations by slug.
    pub organisations: BTreeMap<OrgSlug, Organisation>,
    /// Duties by date: who leads, who coordinates.
    pub duties: Vec<Duty>,
    /// Principals with a role.
    pub principals: BTreeMap<SpiffeId, Grant>,
}

/// A dated duty of an organisation, such as `lead_unit_infosec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// Which duty.
    pub duty: String,
    /// Within what.
    pub scope: String,
    /// Who holds it.
    pub holder: OrgSlug,
    /// First day; `None`: no known bound.
    pub from: Option<Date>,
    /// First day on which it no longer holds.
    pub to: Option<Date>,
    /// Where it is laid down.
    pub legal_basis: String,
}

/// The roles of a principal over a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The roles.
    pub roles: Roles,
    /// First day; `None`: from the beginning.
    pub from: Option<Date>,
    /// First day on which they no longer hold.
    pub to: Option<Date>,
}

impl Roster {
    /// Roles of `principal` on `date`: none unless the roster names it and its
    /// organisation is active.
    #[must_use]
    pub fn roles(&self, principal: &SpiffeId, date: Date) -> Roles {
        let active = self.is_active(principal.org(), date);
        match self.principals.get(principal) {
            Some(grant)
                if active
                    && grant.from.is_none_or(|from| from <= date)
                    && grant.to.is_none_or(|to| date < to) =>
            {
                grant.roles
            }
            _ => Roles::NONE,
        }
    }

    /// Whether `org` takes part on `date`.
    #[must_use]
    pub fn is_active(&self, org: &OrgSlug, date: Date) -> bool {
        self.organisations.get(org).is_some_and(|o| o.standing(date) == Standing::Active)
    }

    /// Duties of `org` on `date`.
    pub fn duties_of<'a>(&'a self, org: &'a OrgSlug, date: Date) -> impl Iterator<Item = &'a Duty> {
        self.duties.iter().filter(move |d| {
            d.holder == *org && d.from.is_none_or(|from| from <= date) && d.to.is_none_or(|to| date < to)
        })
    }
}
