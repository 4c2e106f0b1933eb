//! Who sees what, as naively as it can be written: no bits, no classes. Of
//! each rule there is a mutant, the same rule turned wrong.

use luytre::model::marking::Tlp;

/// How many organisations there are.
pub(super) const ORGS: usize = 6;
/// An organisation by number, and a person of it.
pub(super) type Person = (usize, usize);
/// First day, and first day after, counted from the first day of the test.
pub(super) type Span = (Option<i64>, Option<i64>);

/// How one organisation works for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    ClientOf,
    ActsFor,
}

/// What somebody wants a record for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Sending,
    Getting,
    Searching,
}

/// A marking, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) tlp: Tlp,
    pub(super) organisations: Vec<usize>,
    pub(super) groups: Vec<usize>,
    pub(super) persons: Vec<Person>,
    pub(super) providers: bool,
    pub(super) masked: bool,
}

impl Mark {
    pub(super) fn open(tlp: Tlp) -> Self {
        let (organisations, groups, persons) = (Vec::new(), Vec::new(), Vec::new());
        Self { tlp, organisations, groups, persons, providers: false, masked: false }
    }
}

/// How long an organisation lasts, and what follows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) suspended: Option<i64>,
    pub(super) successors: Vec<usize>,
}

/// The roster as the model knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// The day for which rights hold.
    pub(super) day: i64,
    pub(super) lives: [Life; ORGS],
    /// Group, member, when.
    pub(super) members: Vec<(usize, usize, Span)>,
    pub(super) relations: Vec<(Sort, usize, usize, Span)>,
    /// Who has a duty, whether it is to lead, and when.
    pub(super) duties: Vec<(usize, bool, Span)>,
    pub(super) mutant: Option<Mutant>,
}

/// A rule turned wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mutant {
    OwnerIsNoReader,
    ClearIsForMembersByName,
    GreenIsForNobody,
    GreenReachesThePlanned,
    AmberReachesNoClients,
    StrictReachesClients,
    ProvidersAlwaysRead,
    ProvidersNeverRead,
    StrictReachesProviders,
    OwnersProvidersNeverRead,
    OwnersClientsRead,
    ClientsUpstream,
    ClientsOfClientsRead,
    ActingMakesAClient,
    GroupsAreEmpty,
    GroupsAreOne,
    SpansNeverEnd,
    SpansNeverBegin,
    NobodySucceeds,
    SuccessorsAtOnce,
    SuccessionStopsAtOne,
    PlannedSucceed,
    TheEndedReadOn,
    SuspendedLoseTheirClients,
    SuccessorsReadRed,
    OwnersHaveNoHeirs,
    RedReachesTheOrganisation,
    RedReachesNobody,
    RedIsSearched,
    RedIsNotGot,
    RedIsNotSent,
    EmptyReachesAll,
    LeadersReadAll,
    MaskHidesNothing,
    MaskHidesFromItsOwner,
    MaskHidesFromLeaders,
    EveryDutyLeads,
    LeadersAreToldWhatIsHidden,
}

impl Mutant {
    pub(super) const ALL: [Self; 38] = [
        Self::OwnerIsNoReader,
        Self::ClearIsForMembersByName,
        Self::GreenIsForNobody,
        Self::GreenReachesThePlanned,
        Self::AmberReachesNoClients,
        Self::StrictReachesClients,
        Self::ProvidersAlwaysRead,
        Self::ProvidersNeverRead,
        Self::StrictReachesProviders,
        Self::OwnersProvidersNeverRead,
        Self::OwnersClientsRead,
        Self::ClientsUpstream,
        Self::ClientsOfClientsRead,
        Self::ActingMakesAClient,
        Self::GroupsAreEmpty,
        Self::GroupsAreOne,
        Self::SpansNeverEnd,
        Self::SpansNeverBegin,
        Self::NobodySucceeds,
        Self::SuccessorsAtOnce,
        Self::SuccessionStopsAtOne,
        Self::PlannedSucceed,
        Self::TheEndedReadOn,
        Self::SuspendedLoseTheirClients,
        Self::SuccessorsReadRed,
        Self::OwnersHaveNoHeirs,
        Self::RedReachesTheOrganisation,
        Self::RedReachesNobody,
        Self::RedIsSearched,
        Self::RedIsNotGot,
        Self::RedIsNotSent,
        Self::EmptyReachesAll,
        Self::LeadersReadAll,
        Self::MaskHidesNothing,
        Self::MaskHidesFromItsOwner,
        Self::MaskHidesFromLeaders,
        Self::EveryDutyLeads,
        Self::LeadersAreToldWhatIsHidden,
    ];
}

impl Rules {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn holds(&self, (from, to): Span) -> bool {
        let begun = self.is(Mutant::SpansNeverBegin) || from.is_none_or(|from| from <= self.day);
        let over = !self.is(Mutant::SpansNeverEnd) && to.is_some_and(|to| to <= self.day);
        begun && !over
    }

    /// Whether an organisation takes part on a day.
    pub(super) fn is_active(&self, org: usize, day: i64) -> bool {
        let Life { from, to, suspended, .. } = &self.lives[org];
        from.is_none_or(|from| from <= day)
            && to.is_none_or(|to| day < to)
            && suspended.is_none_or(|from| day < from)
    }

    pub(super) fn leads(&self, org: usize) -> bool {
        self.duties.iter().any(|&(holder, leads, span)| {
            holder == org && (leads || self.is(Mutant::EveryDutyLeads)) && self.holds(span)
        })
    }

    /// Whether `subject` stands in a relation to `object` today.
    pub(super) fn related(&self, sort: Sort, subject: usize, object: usize) -> bool {
        self.relations.iter().any(|&(kind, a, b, span)| {
            let upstream = self.is(Mutant::ClientsUpstream) && kind == Sort::ClientOf;
            let ends = (a, b) == (subject, object) || (upstream && (b, a) == (subject, object));
            let kind = kind == sort || (self.is(Mutant::ActingMakesAClient) && sort == Sort::ClientOf);
            kind && ends && self.holds(span)
        })
    }

    fn is_client(&self, org: usize, provider: usize) -> bool {
        self.related(Sort::ClientOf, org, provider)
            || self.is(Mutant::ClientsOfClientsRead)
                && (0..ORGS).any(|between| {
                    self.related(Sort::ClientOf, org, between)
                        && self.related(Sort::ClientOf, between, provider)
                })
    }

    /// Who has the rights of `org` today.
    fn heirs(&self, org: usize, seen: &mut Vec<usize>) -> Vec<usize> {
        if seen.contains(&org) {
            return Vec::new();
        }
        seen.push(org);
        let life = &self.lives[org];
        let over = life.to.is_some_and(|to| to <= self.day);
        let stops =
            self.is(Mutant::NobodySucceeds) || (self.is(Mutant::SuccessionStopsAtOne) && seen.len() > 1);
        let mut heirs = Vec::new();
        if (over && !stops) || (life.to.is_some() && self.is(Mutant::SuccessorsAtOnce)) {
            for &next in &life.successors {
                heirs.extend(self.heirs(next, seen));
            }
        }
        let begun = life.from.is_none_or(|from| from <= self.day);
        let succeeds = begun || (seen.len() > 1 && self.is(Mutant::PlannedSucceed));
        if (!over || self.is(Mutant::TheEndedReadOn)) && succeeds {
            heirs.push(org);
        }
        heirs
    }

    /// Whether anybody has the rights of `org`, or will have.
    pub(super) fn lives_on(&self, org: usize, seen: &mut Vec<usize>) -> bool {
        let life = &self.lives[org];
        if seen.contains(&org) {
            return false;
        }
        seen.push(org);
        life.to.is_none_or(|to| self.day < to)
            || life.successors.iter().any(|&next| self.lives_on(next, seen))
    }

    /// Whether `org` has the rights of `named`, or works for one who has.
    fn reaches(&self, org: usize, named: usize, clients: bool, providers: bool) -> bool {
        self.heirs(named, &mut Vec::new()).into_iter().any(|heir| {
            let suspended = self.lives[heir].suspended.is_some_and(|from| from <= self.day);
            heir == org
                || (clients
                    && self.is_client(org, heir)
                    && !(suspended && self.is(Mutant::SuspendedLoseTheirClients)))
                || (providers && self.related(Sort::ActsFor, org, heir))
        })
    }

    /// Whether `viewer` sees what `owner` marked so.
    pub(super) fn visible(&self, viewer: Person, owner: usize, mark: &Mark, purpose: For) -> bool {
        self.seen_by(viewer.0, viewer, owner, mark, purpose)
    }

    /// The same of a `person` who writes on behalf of `org`.
    pub(super) fn seen_by(
        &self,
        org: usize,
        person: Person,
        owner: usize,
        mark: &Mark,
        purpose: For,
    ) -> bool {
        if org == owner {
            return !self.is(Mutant::OwnerIsNoReader);
        }
        if self.is(Mutant::LeadersReadAll) && self.leads(org) {
            return true;
        }
        match mark.tlp {
            Tlp::Clear => !self.is(Mutant::ClearIsForMembersByName) || mark.organisations.contains(&org),
            Tlp::Green => {
                let Life { from, to, .. } = &self.lives[org];
                let begun = from.is_none_or(|from| from <= self.day);
                let begun = begun || self.is(Mutant::GreenReachesThePlanned);
                !self.is(Mutant::GreenIsForNobody) && begun && to.is_none_or(|to| self.day < to)
            }
            Tlp::Red => self.red((org, person), owner, mark, purpose),
            Tlp::Amber | Tlp::AmberStrict => self.amber(org, owner, mark),
        }
    }

    fn red(&self, (org, person): (usize, Person), owner: usize, mark: &Mark, purpose: For) -> bool {
        let colleague = |of: usize| of == org && self.is(Mutant::RedReachesTheOrganisation);
        let named = mark.persons.iter().any(|named| *named == person || colleague(named.0));
        let wanted = match purpose {
            For::Sending => !self.is(Mutant::RedIsNotSent),
            For::Getting => !self.is(Mutant::RedIsNotGot),
            For::Searching => self.is(Mutant::RedIsSearched),
        };
        (named && wanted && !self.is(Mutant::RedReachesNobody))
            || (self.is(Mutant::SuccessorsReadRed) && self.reaches(org, owner, false, false))
    }

    fn amber(&self, org: usize, owner: usize, mark: &Mark) -> bool {
        let amber = mark.tlp == Tlp::Amber;
        let of = |group: &usize| mark.groups.contains(group) || self.is(Mutant::GroupsAreOne);
        let members = self.members.iter().filter(|(group, _, span)| of(group) && self.holds(*span));
        let grouped = !mark.groups.is_empty() && !self.is(Mutant::GroupsAreEmpty);
        let members = members.filter(|_| grouped).map(|(_, org, _)| *org);
        let named: Vec<usize> = mark.organisations.iter().copied().chain(members).collect();
        if named.is_empty() && self.is(Mutant::EmptyReachesAll) {
            return true;
        }
        let clients =
            (amber && !self.is(Mutant::AmberReachesNoClients)) || self.is(Mutant::StrictReachesClients);
        let ticked = mark.providers && !self.is(Mutant::ProvidersNeverRead);
        let providers = (ticked && (amber || self.is(Mutant::StrictReachesProviders)))
            || (amber && self.is(Mutant::ProvidersAlwaysRead));
        let owns = !self.is(Mutant::OwnersHaveNoHeirs) && self.reaches(org, owner, false, false);
        let works = providers && !self.is(Mutant::OwnersProvidersNeverRead);
        named.iter().any(|&named| self.reaches(org, named, clients, providers))
            || owns
            || (works && self.reaches(org, owner, false, true))
            || (amber && self.is(Mutant::OwnersClientsRead) && self.reaches(org, owner, true, false))
    }

    /// Whether `viewer` is told whose it is and whom it is for.
    pub(super) fn told(&self, viewer: Person, owner: usize, mark: &Mark, purpose: For) -> bool {
        let open = !mark.masked || self.is(Mutant::MaskHidesNothing);
        let own = viewer.0 == owner && !self.is(Mutant::MaskHidesFromItsOwner);
        let leads = self.leads(viewer.0) && !self.is(Mutant::MaskHidesFromLeaders);
        let sees = self.visible(viewer, owner, mark, purpose);
        (sees && (open || own || leads)) || (leads && self.is(Mutant::LeadersAreToldWhatIsHidden))
    }
}
