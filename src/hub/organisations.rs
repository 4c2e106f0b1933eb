//! Decides what is told of who takes part: as it stands on the hub's date.

use time::Date;

use crate::model::org::{OrgSlug, Organisation, Standing};
use crate::model::roster::Roster;

use super::engine::Hub;

/// An organisation as it stands on the hub's date.
#[derive(Debug, Clone)]
pub struct OrganisationView {
    /// The organisation.
    pub organisation: Organisation,
    /// Where it stands.
    pub standing: Standing,
    /// Duties it holds.
    pub duties: Vec<String>,
    /// The hub's date.
    pub date: Date,
}

impl Hub {
    /// An organisation as it stands on the hub's date.
    #[must_use]
    pub fn organisation(&self, slug: &OrgSlug) -> Option<OrganisationView> {
        let directory = self.shared.directory.load();
        let organisation = directory.roster().organisations.get(slug)?;
        Some(view(organisation, directory.roster(), self.now().day()))
    }

    /// All organisations, by slug.
    #[must_use]
    pub fn organisations(&self) -> Vec<OrganisationView> {
        let (directory, today) = (self.shared.directory.load(), self.now().day());
        let roster = directory.roster();
        roster.organisations.values().map(|org| view(org, roster, today)).collect()
    }
}

fn view(organisation: &Organisation, roster: &Roster, date: Date) -> OrganisationView {
    OrganisationView {
        organisation: organisation.clone(),
        standing: organisation.standing(date),
        duties: roster.duties_of(&organisation.slug, date).map(|d| d.duty.clone()).collect(),
        date,
    }
}
