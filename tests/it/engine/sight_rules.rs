//! Who sees what, as naively as it can be written: no bits, no classes.

use luytre::model::marking::Tlp;
use time::Date;
use time::macros::date;

use super::sight::Mark;

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

/// The roster as the model knows it.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) began: Date,
    pub(super) day: i64,
    pub(super) members: Vec<(usize, Span)>,
    pub(super) relations: Vec<(Sort, usize, usize, Span)>,
    /// When the last organisation ends, and who follows it.
    pub(super) end: Option<(i64, Option<usize>)>,
}

impl Default for Rules {
    fn default() -> Self {
        let began = date!(2026 - 01 - 01);
        Self { began, day: 0, members: Vec::new(), relations: Vec::new(), end: None }
    }
}

/// A rule turned wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mutant {
    OwnerIsNoReader,
    GreenIsForNobody,
    AmberReachesNoClients,
    StrictReachesClients,
    ProvidersAlwaysRead,
    ProvidersNeverRead,
    StrictReachesProviders,
    ClientsUpstream,
    GroupsAreEmpty,
    SpansNeverEnd,
    SpansNeverBegin,
    NobodySucceeds,
    SuccessorsAtOnce,
    SuccessorsReadRed,
    OwnersHaveNoHeirs,
    RedReachesTheOrganisation,
    RedReachesNobody,
    EmptyReachesAll,
}

impl Mutant {
    pub(super) const ALL: [Self; 18] = [
        Self::OwnerIsNoReader,
        Self::GreenIsForNobody,
        Self::AmberReachesNoClients,
        Self::StrictReachesClients,
        Self::ProvidersAlwaysRead,
        Self::ProvidersNeverRead,
        Self::StrictReachesProviders,
        Self::ClientsUpstream,
        Self::GroupsAreEmpty,
        Self::SpansNeverEnd,
        Self::SpansNeverBegin,
        Self::NobodySucceeds,
        Self::SuccessorsAtOnce,
        Self::SuccessorsReadRed,
        Self::OwnersHaveNoHeirs,
        Self::RedReachesTheOrganisation,
        Self::RedReachesNobody,
        Self::EmptyReachesAll,
    ];
}

/// The organisation that can end.
const ENDING: usize = 3;

impl Rules {
    /// A span counted from today, counted from the first day.
    pub(super) fn fix(&self, (from, to): Span) -> Span {
        (from.map(|days| self.day + days), to.map(|days| self.day + days))
    }

    /// Who follows the organisation that has ended by today.
    pub(super) fn ended(&self) -> Option<Option<usize>> {
        self.end.filter(|(day, _)| *day <= self.day).map(|(_, successor)| successor)
    }

    fn holds(&self, (from, to): Span, mutant: Option<Mutant>) -> bool {
        let begun = mutant == Some(Mutant::SpansNeverBegin) || from.is_none_or(|from| from <= self.day);
        let over = mutant != Some(Mutant::SpansNeverEnd) && to.is_some_and(|to| to <= self.day);
        begun && !over
    }

    fn related(&self, sort: Sort, subject: usize, object: usize, mutant: Option<Mutant>) -> bool {
        self.relations.iter().any(|&(kind, a, b, span)| {
            let ends = (a, b) == (subject, object)
                || (mutant == Some(Mutant::ClientsUpstream) && (b, a) == (subject, object));
            kind == sort && ends && self.holds(span, mutant)
        })
    }

    /// Whether `org` has the rights of `named` today.
    fn stands_for(&self, org: usize, named: usize, mutant: Option<Mutant>) -> bool {
        if named != ENDING {
            return org == named;
        }
        let at_once = mutant == Some(Mutant::SuccessorsAtOnce);
        match (self.ended(), self.end) {
            (Some(successor), _) if mutant != Some(Mutant::NobodySucceeds) => successor == Some(org),
            (None, Some((_, successor))) if at_once => successor == Some(org) || org == named,
            (Some(_), _) => false,
            _ => org == named,
        }
    }
}

/// Whether `viewer` is sent what `owner` marked so.
pub(super) fn visible(
    rules: &Rules,
    viewer: Person,
    owner: usize,
    mark: &Mark,
    mutant: Option<Mutant>,
) -> bool {
    let is = |other: Mutant| mutant == Some(other);
    let (org, _) = viewer;
    if org == owner {
        return !is(Mutant::OwnerIsNoReader);
    }
    let heir = rules.stands_for(org, owner, mutant) && !is(Mutant::OwnersHaveNoHeirs);
    match mark.tlp {
        Tlp::Clear => true,
        Tlp::Green => !is(Mutant::GreenIsForNobody),
        Tlp::Red => {
            let named = mark
                .persons
                .iter()
                .any(|&(o, n)| (o, n) == viewer || (is(Mutant::RedReachesTheOrganisation) && o == org));
            (named && !is(Mutant::RedReachesNobody)) || (heir && is(Mutant::SuccessorsReadRed))
        }
        Tlp::Amber | Tlp::AmberStrict => {
            let amber = mark.tlp == Tlp::Amber;
            let members = rules.members.iter().filter(|(_, span)| rules.holds(*span, mutant));
            let members = members.filter(|_| mark.group && !is(Mutant::GroupsAreEmpty)).map(|(org, _)| *org);
            let named: Vec<usize> = mark.organisations.iter().copied().chain(members).collect();
            if named.is_empty() && is(Mutant::EmptyReachesAll) {
                return true;
            }
            let clients = (amber && !is(Mutant::AmberReachesNoClients)) || is(Mutant::StrictReachesClients);
            let providers = ((amber || is(Mutant::StrictReachesProviders))
                && mark.providers
                && !is(Mutant::ProvidersNeverRead))
                || (amber && is(Mutant::ProvidersAlwaysRead));
            let reached = |root: usize, clients: bool| {
                (0..=ENDING).filter(|&stand_in| rules.stands_for(stand_in, root, mutant)).any(|stand_in| {
                    stand_in == org
                        || (clients && rules.related(Sort::ClientOf, org, stand_in, mutant))
                        || (providers && rules.related(Sort::ActsFor, org, stand_in, mutant))
                })
            };
            named.iter().any(|&root| reached(root, clients)) || heir || (providers && reached(owner, false))
        }
    }
}
