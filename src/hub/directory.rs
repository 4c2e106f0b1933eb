//! Decides who is who at one moment of the log: organisations and their
//! numbers, principals and their roles, audience classes and whom they reach.
//! Immutable once made; a change makes a new one.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::marking::Tlp;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::roster::Roster;
use crate::policy::visibility::{self, Audience, Purpose, Viewer};
use crate::store::roster::StoredDirectory;
use crate::store::{Batch, db};

/// An audience class and whom it reaches.
#[derive(Debug)]
pub struct Class {
    /// What the number stands for.
    pub definition: ClassDefinition,
    audience: Audience,
}

/// Who is who at one moment of the log.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    roster: Arc<Roster>,
    numbers: Arc<HashMap<OrgSlug, OrgNo>>,
    slugs: Arc<Vec<OrgSlug>>,
    classes: Vec<Arc<Class>>,
    by_definition: FxHashMap<ClassDefinition, ClassNo>,
    class_counts: FxHashMap<OrgSlug, u32>,
}

impl Directory {
    /// From what is stored.
    #[must_use]
    pub fn from_stored(stored: StoredDirectory) -> Self {
        let mut numbers = stored.numbers;
        numbers.sort_unstable();
        let mut directory = Self {
            roster: Arc::new(stored.roster),
            slugs: Arc::new(numbers.iter().map(|(_, slug)| slug.clone()).collect()),
            numbers: Arc::new(numbers.into_iter().map(|(number, slug)| (slug, number)).collect()),
            ..Self::default()
        };
        for (_, definition) in stored.classes {
            directory.intern(&definition);
        }
        directory
    }

    /// A roster at the beginning of a log: numbers follow the order of slugs.
    #[must_use]
    pub fn from_roster(roster: Roster) -> Self {
        let numbers = roster
            .organisations
            .keys()
            .zip(1..)
            .map(|(slug, number)| (OrgNo(number), slug.clone()))
            .collect();
        Self::from_stored(StoredDirectory { roster, numbers, classes: Vec::new() })
    }

    /// Who takes part.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Number of an organisation.
    #[must_use]
    pub fn number(&self, slug: &OrgSlug) -> Option<OrgNo> {
        self.numbers.get(slug).copied()
    }

    /// Slug of an organisation.
    #[must_use]
    pub fn slug(&self, number: OrgNo) -> Option<&OrgSlug> {
        self.slugs.get((number.0 as usize).checked_sub(1)?)
    }

    /// Number of an audience class, if it is interned.
    #[must_use]
    pub fn class_number(&self, definition: &ClassDefinition) -> Option<ClassNo> {
        self.by_definition.get(definition).copied()
    }

    /// Number of an audience class, interned now if it was not.
    pub fn intern(&mut self, definition: &ClassDefinition) -> ClassNo {
        if let Some(number) = self.class_number(definition) {
            return number;
        }
        let number = ClassNo(u32::try_from(self.classes.len() + 1).unwrap_or(u32::MAX));
        // An owner without a number owns nothing that anyone could see.
        let owner = self.number(&definition.owner).unwrap_or(OrgNo(0));
        let audience = Audience::resolve(definition, owner, |slug| self.number(slug));
        self.classes.push(Arc::new(Class { definition: definition.clone(), audience }));
        self.by_definition.insert(definition.clone(), number);
        *self.class_counts.entry(definition.owner.clone()).or_default() += 1;
        number
    }

    /// An audience class.
    #[must_use]
    pub fn class(&self, number: ClassNo) -> Option<&Arc<Class>> {
        self.classes.get((number.0 as usize).checked_sub(1)?)
    }

    /// Number of audience classes of one owner.
    #[must_use]
    pub fn class_count_of(&self, owner: &OrgSlug) -> u32 {
        self.class_counts.get(owner).copied().unwrap_or_default()
    }

    /// Number of audience classes.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The label of an audience class; RED where it is unknown.
    #[must_use]
    pub fn tlp(&self, class: ClassNo) -> Tlp {
        self.class(class).map_or(Tlp::Red, |class| class.definition.marking.tlp)
    }

    /// Whether `viewer` may see records of `class`; an unknown class is seen
    /// by nobody.
    #[must_use]
    pub fn visible(&self, viewer: Viewer<'_>, class: ClassNo, purpose: Purpose) -> bool {
        self.class(class).is_some_and(|class| visibility::visible(viewer, &class.audience, purpose))
    }

    /// Writes organisations, principals and duties into `batch`.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn write_to(&self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        for (slug, org) in &self.roster.organisations {
            if let Some(number) = self.number(slug) {
                batch.organisation(number, org)?;
            }
        }
        for (id, grant) in &self.roster.principals {
            batch.principal(id, grant)?;
        }
        for (duty, place) in self.roster.duties.iter().zip(0..) {
            batch.duty(place, duty)?;
        }
        Ok(())
    }
}
