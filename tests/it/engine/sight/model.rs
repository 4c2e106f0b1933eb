//! What the hub holds, as the model knows it: records and their versions,
//! what was told of them, and what each viewer could see of it and when.

use std::collections::{BTreeMap, BTreeSet};

use luytre::model::marking::Tlp;
use uuid::Uuid;

use super::rules::{For, Mark, Person, Rules};
use super::secrets::{self, Secrets};
use super::steps::{VIEWERS, Wish};

pub(super) const ACTIVE: i32 = 1;
pub(super) const REVOKED: i32 = 2;
pub(super) const EXPIRED: i32 = 3;

/// A flag for each viewer.
pub(super) type Each = [bool; VIEWERS.len()];
const NONE: Each = [false; VIEWERS.len()];
/// The value that the signs are of: with one of them, all before it has come.
pub(super) const SIGN: usize = 9_998;

/// A version of a record. Its note names it, together with its state.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) record: usize,
    pub(super) owner: usize,
    pub(super) mark: Mark,
    pub(super) label: bool,
    /// Until which hour it holds.
    pub(super) until: Option<i64>,
    pub(super) state: i32,
    pub(super) note: u32,
    /// Why it was revoked or brought back.
    pub(super) reason: Option<u32>,
    pub(super) by: Option<usize>,
    pub(super) seen: Seen,
}

/// Who could see what, and was shown its source.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Who could see a version under a roster since.
    ever: Each,
    /// Who was to be shown its source at some time since the last rest, and
    /// who was not.
    shown: Each,
    hidden: Each,
}

impl Seen {
    /// Whether the source was to be shown to a viewer lately, where `shown`,
    /// or was not to be.
    pub(super) const fn may_be(&self, shown: bool, viewer: usize) -> bool {
        if shown { self.shown[viewer] } else { self.hidden[viewer] }
    }

    const fn note(&mut self, shown: bool, viewer: usize) {
        self.shown[viewer] |= shown;
        self.hidden[viewer] |= !shown;
    }

    const fn forget(&mut self, viewer: usize) {
        (self.shown[viewer], self.hidden[viewer]) = (false, false);
    }
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) owner: usize,
    pub(super) value: usize,
    pub(super) id: Uuid,
    pub(super) versions: Vec<usize>,
    /// Whether its audience was ever another.
    reclassed: bool,
}

/// A sighting or a notice of a collision.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) record: usize,
    pub(super) owner: usize,
    pub(super) mark: Mark,
    pub(super) what: What,
    /// Who could see it in its place.
    then: Each,
    /// Who could not at some time since.
    lost: Each,
    pub(super) seen: Seen,
    /// Whether the source of what it tells of was masked then: of the
    /// indicator that was sighted, of the record that hit another.
    pub(super) masked: bool,
    /// How much of the other record each viewer was to be told since he was
    /// last at rest.
    pub(super) levels: [[bool; 3]; VIEWERS.len()],
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Sighting { id: Uuid, reporter: usize, note: u32 },
    Notice { other: usize, seen: bool, named: bool },
}

/// What a viewer could see lately.
#[derive(Debug, Clone, Default)]
struct Sight {
    /// Records that he was ever allowed to see.
    once: BTreeSet<usize>,
    /// Those since he was last at rest, or came.
    lately: BTreeSet<usize>,
    /// Those that did not stand for him at some time since he came.
    wavered: BTreeSet<usize>,
    /// For who wants only what comes: what stood when he came, as far as
    /// nothing became of it.
    before: Option<BTreeMap<Uuid, u32>>,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) rules: Rules,
    /// Hours since the test began.
    pub(super) hours: i64,
    pub(super) wishes: Vec<Wish>,
    pub(super) records: Vec<Record>,
    pub(super) versions: Vec<Version>,
    pub(super) told: Vec<Told>,
    /// How much of it is in the log for sure: of collisions the hub tells
    /// before whatever it is asked to write next.
    written: usize,
    sights: Vec<Sight>,
    notes: u32,
}

impl Model {
    pub(super) fn new(wishes: Vec<Wish>) -> Self {
        let sights = vec![Sight::default(); wishes.len()];
        let (records, versions, told) = (Vec::new(), Vec::new(), Vec::new());
        let (rules, hours, written, notes) = (Rules::new(), 0, 0, 0);
        Self { rules, hours, wishes, records, versions, told, written, sights, notes }
    }

    /// The hub's date, in days from the first: it stands seven hours east.
    pub(super) const fn today(&self) -> i64 {
        (self.hours + 7).div_euclid(24)
    }

    pub(super) fn is_here(&self, org: usize) -> bool {
        self.rules.is_active(org, self.today())
    }

    pub(super) const fn note(&mut self) -> u32 {
        self.notes += 1;
        self.notes
    }

    pub(super) fn now(&self, record: usize) -> &Version {
        &self.versions[*self.records[record].versions.last().expect("a record has a version")]
    }

    pub(super) fn find(&self, owner: usize, value: usize) -> Option<usize> {
        self.records.iter().position(|record| (record.owner, record.value) == (owner, value))
    }

    pub(super) fn by_id(&self, id: Uuid) -> usize {
        self.records.iter().position(|record| record.id == id).expect("a record that was published")
    }

    /// A version, new or the next one of its record: in its place, whoever
    /// sees it may be told of it, however soon the next one follows.
    pub(super) fn push(&mut self, mut version: Version) {
        let number = self.versions.len();
        for viewer in 0..VIEWERS.len() {
            if self.sent(viewer, version.owner, &version.mark) {
                version.seen.ever[viewer] = true;
                self.sights[viewer].once.insert(version.record);
            }
        }
        let record = &mut self.records[version.record];
        let last = record.versions.last().map(|last| &self.versions[*last].mark);
        record.reclassed |= last.is_some_and(|last| *last != version.mark);
        record.versions.push(number);
        self.versions.push(version);
    }

    pub(super) fn create(&mut self, owner: usize, value: usize, id: Uuid) -> usize {
        self.records.push(Record { owner, value, id, versions: Vec::new(), reclassed: false });
        self.records.len() - 1
    }

    /// Ends records whose time has come.
    pub(super) fn expire(&mut self) -> usize {
        let due = (0..self.records.len()).filter(|&record| {
            let now = self.now(record);
            now.state == ACTIVE && now.until.is_some_and(|until| until <= self.hours)
        });
        let due: Vec<_> = due.collect();
        for &record in &due {
            let version = self.now(record).clone();
            self.push(Version { state: EXPIRED, reason: None, seen: Seen::default(), ..version });
        }
        due.len()
    }

    pub(super) fn push_sighting(
        &mut self,
        (record, person): (usize, Person),
        given: Option<Mark>,
        id: Uuid,
        note: u32,
    ) {
        let (owner, tlp) = (self.records[record].owner, self.now(record).mark.tlp);
        let (own, red) = (person.0 == owner, tlp == Tlp::Red && person.0 != owner);
        let mut mark = given.unwrap_or_else(|| {
            let organisations = if own || red { vec![] } else { vec![owner] };
            Mark { organisations, ..Mark::open(if red { Tlp::Red } else { Tlp::AmberStrict }) }
        });
        if red && !mark.persons.contains(&person) {
            mark.persons.push(person);
        }
        let owner = if red { owner } else { person.0 };
        self.tell(record, owner, mark, What::Sighting { id, reporter: person.0, note });
    }

    fn tell(&mut self, record: usize, owner: usize, mark: Mark, what: What) {
        let then = VIEWERS.map(|viewer| self.rules.visible(viewer, owner, &mark, For::Sending));
        let subject = if let What::Notice { other, .. } = what { other } else { record };
        let (masked, levels) = (self.now(subject).mark.masked, Default::default());
        self.told.push(Told {
            record,
            owner,
            mark,
            what,
            then,
            lost: NONE,
            seen: Seen::default(),
            masked,
            levels,
        });
    }

    /// Tells whom `author` hit when he published records for `owner`.
    pub(super) fn collide(&mut self, author: Person, owner: usize, published: &BTreeSet<usize>) {
        for &other in published {
            let now = self.now(other);
            if now.state != ACTIVE || now.mark.tlp == Tlp::Red {
                continue;
            }
            let hit = (0..self.records.len()).filter(|&hit| {
                let (record, held) = (&self.records[hit], self.now(hit));
                let sees = |purpose| self.rules.seen_by(owner, author, record.owner, &held.mark, purpose);
                let same = record.value == self.records[other].value && record.owner != owner;
                same && held.state == ACTIVE && !sees(For::Searching) && !sees(For::Getting)
            });
            for hit in hit.collect::<Vec<_>>() {
                self.notify(hit, other);
            }
        }
    }

    /// What it owed the hub has told by now.
    pub(super) const fn settle(&mut self) {
        self.written = self.told.len();
    }

    fn notify(&mut self, record: usize, hit_by: usize) {
        let known = |told: &Told| {
            told.record == record && matches!(told.what, What::Notice { other, .. } if other == hit_by)
        };
        if self.told.iter().any(known) {
            return;
        }
        let (owner, other) = (self.records[record].owner, self.now(hit_by));
        let anyone = (owner, usize::MAX);
        let seen = self.rules.visible(anyone, other.owner, &other.mark, For::Searching);
        let named = seen && !other.mark.masked;
        let red = self.now(record).mark.tlp == Tlp::Red;
        let mark = Mark::open(if red { Tlp::Red } else { Tlp::AmberStrict });
        self.tell(record, owner, mark, What::Notice { other: hit_by, seen, named });
    }

    /// Whether a viewer is sent what `owner` marked so. Who asks for owners is
    /// sent none whose owner he is not told.
    fn sent(&self, viewer: usize, owner: usize, mark: &Mark) -> bool {
        if self.wishes[viewer].owners.is_empty() {
            self.rules.visible(VIEWERS[viewer], owner, mark, For::Sending)
        } else {
            self.rules.told(VIEWERS[viewer], owner, mark, For::Sending)
        }
    }

    /// Whether a viewer is shown who stands behind a version, as he is shown
    /// it today.
    pub(super) fn shows(&self, viewer: usize, version: &Version, purpose: For) -> bool {
        let told = |mark| self.rules.told(VIEWERS[viewer], version.owner, mark, purpose);
        let now = &self.now(version.record).mark;
        if version.mark.masked { told(&version.mark) } else { !now.masked || told(now) }
    }

    /// Whether a version is one that a viewer asks for.
    pub(super) fn wanted(&self, viewer: usize, version: &Version) -> bool {
        let Wish { owners, labelled, tlps, domains, .. } = &self.wishes[viewer];
        (owners.is_empty() || owners.contains(&version.owner))
            && (!labelled || version.label)
            && (tlps.is_empty() || tlps.contains(&version.mark.tlp))
            && (!domains || is_domain(self.records[version.record].value))
    }

    /// What stands for a viewer: what he may see, asked for, and is active.
    fn standing(&self, viewer: usize) -> BTreeMap<Uuid, u32> {
        let all = (0..self.records.len()).map(|record| (record, self.now(record)));
        let his = all.filter(|(_, now)| {
            now.state == ACTIVE && self.sent(viewer, now.owner, &now.mark) && self.wanted(viewer, now)
        });
        his.map(|(record, now)| (self.records[record].id, now.note)).collect()
    }

    /// What a viewer who is at rest has.
    pub(super) fn due(&self, viewer: usize) -> BTreeMap<Uuid, u32> {
        let mut due = self.standing(viewer);
        if let Some(before) = &self.sights[viewer].before {
            due.retain(|id, _| !before.contains_key(id));
        }
        due
    }

    /// A viewer starts anew: with what comes only, or with what stands too.
    pub(super) fn begin(&mut self, viewer: usize, only_what_comes: bool) {
        let before = only_what_comes.then(|| self.standing(viewer));
        let sight = &mut self.sights[viewer];
        sight.wavered.clear();
        sight.before = before;
    }

    /// A viewer comes, or is at rest: what counts as lately begins.
    pub(super) fn rest(&mut self, viewer: usize) {
        self.sights[viewer].lately.clear();
        self.versions.iter_mut().for_each(|version| version.seen.forget(viewer));
        for told in &mut self.told {
            told.seen.forget(viewer);
            told.levels[viewer] = Default::default();
        }
        self.look();
    }

    /// Notes who may see what after a step.
    pub(super) fn look(&mut self) {
        let mut versions = std::mem::take(&mut self.versions);
        let mut told = std::mem::take(&mut self.told);
        for (viewer, person) in VIEWERS.into_iter().enumerate() {
            let newest = |record: usize| *self.records[record].versions.last().expect("a version");
            for number in 0..versions.len() {
                let version = &versions[number];
                let sent = self.sent(viewer, version.owner, &version.mark);
                let masks =
                    |mark: &Mark| mark.masked && !self.rules.told(person, version.owner, mark, For::Sending);
                let hides = masks(&version.mark)
                    || (!version.mark.masked && masks(&versions[newest(version.record)].mark));
                let seen = &mut versions[number].seen;
                seen.ever[viewer] |= sent;
                seen.note(!hides, viewer);
            }
            let sight = &self.sights[viewer];
            let (mut once, mut lately, mut wavered) =
                (sight.once.clone(), sight.lately.clone(), sight.wavered.clone());
            for record in 0..self.records.len() {
                let now = &versions[newest(record)];
                if self.sent(viewer, now.owner, &now.mark) {
                    once.insert(record);
                    lately.insert(record);
                    if now.state == ACTIVE {
                        continue;
                    }
                }
                wavered.insert(record);
            }
            for told in &mut told {
                let now = &versions[newest(told.record)];
                let sees = self.rules.visible(person, told.owner, &told.mark, For::Sending);
                // A sighting goes no further than its indicator does today.
                let narrowed =
                    self.records[told.record].reclassed && matches!(told.what, What::Sighting { .. });
                let out = narrowed && !self.sent(viewer, now.owner, &now.mark);
                told.lost[viewer] |= !sees || out;
                let newest_of = |record: usize| &versions[newest(record)];
                let hides = self.hides(person, told, newest_of(told.record), For::Sending);
                told.seen.note(!hides, viewer);
                if let What::Notice { other, .. } = told.what {
                    let level = self.level(person, told, newest_of(other), For::Sending);
                    told.levels[viewer][level as usize] = true;
                }
            }
            let before = self.sights[viewer].before.clone();
            self.sights[viewer] = Sight { once, lately, wavered, before };
        }
        (self.versions, self.told) = (versions, told);
        for viewer in 0..VIEWERS.len() {
            if let Some(mut before) = self.sights[viewer].before.take() {
                let standing = self.standing(viewer);
                before.retain(|id, note| standing.get(id) == Some(note));
                self.sights[viewer].before = Some(before);
            }
        }
    }

    pub(super) fn was_ever_seen(&self, viewer: usize, record: usize) -> bool {
        self.sights[viewer].once.contains(&record)
    }

    /// Whether a record always stood for a viewer since he came.
    pub(super) fn always_stood(&self, viewer: usize, record: usize) -> bool {
        let sight = &self.sights[viewer];
        sight.before.is_none() && !sight.wavered.contains(&record)
    }

    /// The version of this note and state, if a viewer may be sent it.
    pub(super) fn sendable(&self, viewer: usize, record: usize, note: u32, state: i32) -> Option<&Version> {
        let version = self.version(record, note, state)?;
        let seen = version.seen.ever[viewer] && self.sights[viewer].lately.contains(&record);
        (seen && self.wanted(viewer, version)).then_some(version)
    }

    pub(super) fn version(&self, record: usize, note: u32, state: i32) -> Option<&Version> {
        let mut versions = self.records[record].versions.iter().map(|number| &self.versions[*number]);
        versions.find(|version| (version.note, version.state) == (note, state))
    }

    /// What was told, by number: what a viewer may have heard of that came
    /// after `first`, and what he must have.
    pub(super) fn heard(&self, viewer: usize, first: usize) -> (Vec<usize>, Vec<usize>) {
        let wish = &self.wishes[viewer];
        let may = (first..self.told.len()).filter(|&number| {
            let told = &self.told[number];
            let asked = if matches!(told.what, What::Notice { .. }) { wish.notices } else { wish.sightings };
            asked && told.then[viewer]
        });
        let may: Vec<_> = may.collect();
        let must = may.iter().copied().filter(|number| !self.told[*number].lost[viewer]).collect();
        (may, must)
    }

    /// How much was told by now for sure, and how much at most.
    pub(super) const fn told_by_now(&self) -> (usize, usize) {
        (self.written, self.told.len())
    }

    /// What a version names, of it all or without its source.
    pub(super) fn secrets(&self, version: &Version, source: bool) -> Secrets {
        let record = &self.records[version.record];
        let mut all = Secrets::from([secrets::id(record.id), secrets::value(record.value)]);
        all.insert(secrets::note(version.note));
        all.extend(version.reason.map(secrets::note));
        if source {
            all.insert(secrets::org(version.owner));
            all.extend(version.by.map(secrets::org));
            secrets::recipients(&version.mark, &mut all);
        }
        all
    }
}

impl Version {
    pub(super) fn new(record: usize, owner: usize, mark: Mark, note: u32) -> Self {
        let (label, until, state, reason, by) = (false, None, ACTIVE, None, None);
        Self { record, owner, mark, label, until, state, note, reason, by, seen: Seen::default() }
    }
}

/// Whether a value is a domain; the others are URLs.
pub(super) const fn is_domain(value: usize) -> bool {
    value.is_multiple_of(2)
}
