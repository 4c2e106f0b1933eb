//! Decides who is who in one roster generation: organisations and their
//! numbers, principals and their roles, audience classes and whom they reach.
//! Immutable once made; a change makes a new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;
use time::Date;

use crate::model::amendment::PendingChange;
use crate::model::asset::Matcher;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::held::Deciders;
use crate::model::indicator::wider::PrefixLengths;
use crate::model::marking::{Recipient, Tlp};
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::roster::{Patch, Roster};
use crate::policy::visibility::{self, Audience, Purpose, Viewer};
use crate::store::roster::StoredDirectory;
use crate::store::{Batch, db};

use super::seen::{Classes, Sets};

/// An audience class and, once somebody asked, whom it reaches.
#[derive(Debug)]
pub struct Class {
    /// What the number stands for.
    pub definition: Arc<ClassDefinition>,
    audience: OnceLock<Audience>,
}

/// Who is who in one roster generation.
#[derive(Debug, Clone)]
pub struct Directory {
    generation: Position,
    date: Date,
    roster: Arc<Roster>,
    numbers: Arc<HashMap<OrgSlug, OrgNo>>,
    slugs: Arc<Vec<OrgSlug>>,
    classes: Vec<Arc<Class>>,
    by_definition: FxHashMap<Arc<ClassDefinition>, ClassNo>,
    by_owner: FxHashMap<OrgSlug, Vec<ClassNo>>,
    pending: Arc<BTreeMap<Position, Arc<PendingChange>>>,
    lengths: Arc<BTreeMap<ClassNo, PrefixLengths>>,
    /// What the roster protects, made once somebody publishes.
    protected: Arc<OnceLock<Matcher>>,
    /// Which classes whoever asked sees.
    sets: Sets,
}

impl Directory {
    /// From what is stored; the generation that stands is the last one, or
    /// `genesis` and its day.
    #[must_use]
    pub fn from_stored(stored: StoredDirectory, genesis: (Position, Date)) -> Self {
        let mut numbers = stored.numbers;
        numbers.sort_unstable();
        let (generation, date) = stored.generations.last().copied().unwrap_or(genesis);
        let mut directory = Self {
            generation,
            date,
            roster: Arc::new(stored.roster),
            slugs: Arc::new(numbers.iter().map(|(_, slug)| slug.clone()).collect()),
            numbers: Arc::new(numbers.into_iter().map(|(number, slug)| (slug, number)).collect()),
            classes: Vec::new(),
            by_definition: FxHashMap::default(),
            by_owner: FxHashMap::default(),
            sets: Sets::default(),
            pending: Arc::new(stored.pending),
            lengths: Arc::new(stored.lengths),
            protected: Arc::default(),
        };
        for (_, definition) in stored.classes {
            directory.intern(&definition);
        }
        directory
    }

    /// A roster at the beginning of a log: numbers follow the order of slugs.
    #[must_use]
    pub fn from_roster(roster: Roster, genesis: (Position, Date)) -> Self {
        let numbers = roster
            .organisations
            .keys()
            .zip(1..)
            .map(|(slug, number)| (OrgNo(number), slug.clone()))
            .collect();
        Self::from_stored(StoredDirectory { roster, numbers, ..StoredDirectory::default() }, genesis)
    }

    /// The generation that `patch` begins at `generation`: new organisations
    /// get the next numbers, in order of their slugs.
    #[must_use]
    pub fn changed(&self, patch: Patch, generation: Position, date: Date) -> Self {
        let mut roster = Roster::clone(&self.roster);
        roster.apply(patch);
        let (mut numbers, mut slugs) = (Arc::clone(&self.numbers), Arc::clone(&self.slugs));
        for slug in roster.organisations.keys() {
            if !numbers.contains_key(slug) {
                let slugs = Arc::make_mut(&mut slugs);
                slugs.push(slug.clone());
                let number = OrgNo(u32::try_from(slugs.len()).unwrap_or(u32::MAX));
                Arc::make_mut(&mut numbers).insert(slug.clone(), number);
            }
        }
        Self { numbers, slugs, ..self.under(Arc::new(roster), generation, date) }
    }

    /// The same organisations' numbers and classes under another roster.
    #[must_use]
    pub fn under(&self, roster: Arc<Roster>, generation: Position, date: Date) -> Self {
        let classes = self.classes.iter().map(|class| {
            Arc::new(Class { definition: Arc::clone(&class.definition), audience: OnceLock::new() })
        });
        let (classes, protected) = (classes.collect(), Arc::default());
        Self { generation, date, roster, classes, protected, ..self.clone() }
    }

    /// The names and networks that members call theirs in the roster, as long
    /// as each, or one that follows it, takes part.
    #[must_use]
    pub fn protected(&self) -> &Matcher {
        self.protected.get_or_init(|| {
            let (roster, date) = (&self.roster, self.date);
            let lasts = |slug| roster.is_active(slug, date) || !roster.heirs(slug, date).is_empty();
            let organisations = roster.organisations.values().filter(|org| !org.protected.is_empty());
            Matcher::new(organisations.filter(|org| lasts(&org.slug)).flat_map(|org| &org.protected))
        })
    }

    /// Position of the entry that began this generation.
    #[must_use]
    pub const fn generation(&self) -> Position {
        self.generation
    }

    /// The day for which rights are resolved.
    #[must_use]
    pub const fn date(&self) -> Date {
        self.date
    }

    /// Who takes part.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
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

    /// Whether the roster knows whom a marking names. What has ended is known
    /// still: its successors have its rights.
    #[must_use]
    pub fn knows(&self, recipient: Recipient<'_>) -> bool {
        match recipient {
            Recipient::Organisation(slug) => {
                self.numbers.contains_key(slug) && self.roster.lives_on(slug, self.date)
            }
            Recipient::Group(slug) => self.roster.groups.contains_key(slug),
            Recipient::Principal(id) => self.roster.principals.contains_key(id),
        }
    }

    /// Whether `provider` acts for `unit`.
    #[must_use]
    pub fn acts_for(&self, provider: OrgNo, unit: OrgNo) -> bool {
        let (Some(provider), Some(unit)) = (self.slug(provider), self.slug(unit)) else { return false };
        self.roster.acts_for(provider, unit, self.date)
    }

    /// Who decides about records of `owner` of this class: itself, or those who
    /// follow it once it has ended; about TLP:RED, which passes to nobody, they
    /// never do.
    #[must_use]
    pub fn deciders(&self, owner: OrgNo, class: ClassNo) -> Vec<&OrgSlug> {
        let Some(owner) = self.slug(owner) else { return Vec::new() };
        let mut heirs = self.roster.heirs(owner, self.date);
        if self.tlp(class) == Tlp::Red {
            heirs.retain(|heir| *heir == owner);
        }
        heirs
    }

    /// Whether `org` is one of those.
    #[must_use]
    pub fn decides(&self, org: OrgNo, owner: OrgNo, class: ClassNo) -> bool {
        self.slug(org).is_some_and(|org| self.deciders(owner, class).contains(&org))
    }

    /// Those that have ended and whom `org` follows, in order of their numbers.
    #[must_use]
    pub fn followed_by(&self, org: OrgNo) -> Vec<OrgNo> {
        let Some(heir) = self.slug(org) else { return Vec::new() };
        let follows = |slug: &&OrgSlug| *slug != heir && self.roster.heirs(slug, self.date).contains(&heir);
        let mut followed: Vec<_> =
            self.roster.organisations.keys().filter(follows).filter_map(|slug| self.number(slug)).collect();
        followed.sort_unstable();
        followed
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
        let shared = Arc::new(definition.clone());
        self.classes.push(Arc::new(Class { definition: Arc::clone(&shared), audience: OnceLock::new() }));
        self.by_definition.insert(shared, number);
        self.by_owner.entry(definition.owner.clone()).or_default().push(number);
        self.sets = Sets::default();
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
        u32::try_from(self.classes_of(owner).len()).unwrap_or(u32::MAX)
    }

    /// Audience classes of one owner, in order.
    #[must_use]
    pub fn classes_of(&self, owner: &OrgSlug) -> &[ClassNo] {
        self.by_owner.get(owner).map_or(&[], Vec::as_slice)
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
        self.audience(class).is_some_and(|audience| visibility::visible(viewer, audience, purpose))
    }

    /// Whether `viewer` is told whose the records of `class` are; of an
    /// unknown class nobody is.
    #[must_use]
    pub fn discloses(&self, viewer: Viewer<'_>, class: ClassNo, purpose: Purpose) -> bool {
        self.audience(class).is_some_and(|audience| visibility::discloses(viewer, audience, purpose))
    }

    /// All classes whose records `viewer` may see.
    pub(super) fn seen(&self, viewer: Viewer<'_>, purpose: Purpose) -> Arc<Classes> {
        let seen = |class| self.visible(viewer, class, purpose);
        self.sets.of(viewer, purpose, self.classes.len(), seen)
    }

    /// Whether everyone in `org` may get records of `class`.
    #[must_use]
    pub fn reaches(&self, org: OrgNo, class: ClassNo) -> bool {
        self.audience(class).is_some_and(|audience| audience.reaches(org))
    }

    /// Persons of `org` whom the class names.
    #[must_use]
    pub fn named(&self, org: OrgNo, class: ClassNo) -> Vec<SpiffeId> {
        let Some(slug) = self.slug(org) else { return Vec::new() };
        let class = self.class(class);
        let named = class.iter().flat_map(|class| &class.definition.marking.recipients.principals);
        named.filter(|person| person.org() == slug).cloned().collect()
    }

    /// Whether anybody in `org` may get records of `class`.
    #[must_use]
    pub fn reaches_any(&self, org: OrgNo, class: ClassNo) -> bool {
        self.reaches(org, class) || !self.named(org, class).is_empty()
    }

    /// Who leads today.
    #[must_use]
    pub fn leads(&self) -> Vec<&OrgSlug> {
        let leads = self.roster.lead_units(self.date).filter(|lead| self.roster.is_active(lead, self.date));
        leads.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Who answers what is held of a record of `owner` of this class: who leads
    /// and may see it, else the owner. Leading gives no right to read, and who
    /// leads nothing today decides nothing for who should.
    #[must_use]
    pub fn second_persons(&self, owner: OrgNo, class: ClassNo) -> Deciders<&OrgSlug> {
        let leads = self.leads();
        if leads.is_empty() && matches!(self.tlp(class), Tlp::Clear | Tlp::Green) {
            return Deciders::Nobody;
        }
        let within = |lead: &&OrgSlug| self.number(lead).is_some_and(|lead| self.reaches_any(lead, class));
        let leads: Vec<_> = leads.into_iter().filter(within).collect();
        if leads.is_empty() { Deciders::Own(self.deciders(owner, class)) } else { Deciders::Lead(leads) }
    }

    /// Whether `viewer` may answer what is held of such a record: he may see it,
    /// and is of those who do.
    #[must_use]
    pub fn answers(&self, viewer: Viewer<'_>, owner: OrgNo, class: ClassNo) -> bool {
        let org = self.slug(viewer.org);
        self.visible(viewer, class, Purpose::Get)
            && self.second_persons(owner, class).into_all().into_iter().any(|slug| Some(slug) == org)
    }

    fn audience(&self, class: ClassNo) -> Option<&Audience> {
        let class = self.class(class)?;
        let resolve =
            || Audience::resolve(&class.definition, &self.roster, self.date, |slug| self.number(slug));
        Some(class.audience.get_or_init(resolve))
    }

    /// Lengths of prefix that networks which `viewer` may see have had: what
    /// he may not see adds none, so that nobody can tell by what a look-up
    /// costs whether it is there.
    #[must_use]
    pub fn prefix_lengths(&self, viewer: Viewer<'_>, purpose: Purpose) -> PrefixLengths {
        let seen = self.lengths.iter().filter(|(class, _)| self.visible(viewer, **class, purpose));
        seen.fold(PrefixLengths::default(), |all, (_, lengths)| all.union(*lengths))
    }

    /// Those of one class.
    #[must_use]
    pub fn lengths_of(&self, class: ClassNo) -> PrefixLengths {
        self.lengths.get(&class).copied().unwrap_or_default()
    }

    /// Sets those of one class.
    pub fn set_lengths(&mut self, class: ClassNo, lengths: PrefixLengths) {
        Arc::make_mut(&mut self.lengths).insert(class, lengths);
    }

    /// Changes of the roster that wait for a second person, or did until they
    /// expired, by the position of their proposals.
    #[must_use]
    pub fn pending(&self) -> &BTreeMap<Position, Arc<PendingChange>> {
        &self.pending
    }

    /// Whether the same changes wait as in `other`.
    #[must_use]
    pub fn waits_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pending, &other.pending)
    }

    /// Lets a change wait; those that expired are forgotten.
    pub fn wait(&mut self, at: Position, pending: PendingChange) {
        let all = Arc::make_mut(&mut self.pending);
        all.retain(|_, older| older.stands(pending.time));
        all.insert(at, Arc::new(pending));
    }

    /// Lets a change wait no longer.
    pub fn settle(&mut self, proposal: Position) {
        Arc::make_mut(&mut self.pending).remove(&proposal);
    }

    /// Writes into `batch` which changes wait, as far as it differs from
    /// `before`.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn write_pending_to(&self, before: &Self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        if self.waits_as(before) {
            return Ok(());
        }
        for (at, pending) in self.pending.iter().filter(|(at, _)| !before.pending.contains_key(at)) {
            batch.pending_change(*at, Some(pending))?;
        }
        for at in before.pending.keys().filter(|at| !self.pending.contains_key(at)) {
            batch.pending_change(*at, None)?;
        }
        Ok(())
    }

    /// Writes into `batch` what differs from `before`.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn write_to(&self, before: &Roster, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        batch.roster(&self.roster, before, |slug| self.number(slug))
    }
}
