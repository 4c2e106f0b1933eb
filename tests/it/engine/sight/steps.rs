//! What a case of the property does, and who watches: drawn at random.

use luytre::model::marking::Tlp;
use proptest::prelude::*;

use super::rules::{Life, Mark, ORGS, Person, Rules, Sort, Span};

/// The organisations that end, are suspended, or begin anew: nobody of them
/// watches.
pub(super) const MORTAL: std::ops::Range<usize> = 3..5;
/// The organisation that begins only after the test has.
pub(super) const LATE: usize = 5;
/// Its first day.
pub(super) const LATE_FROM: i64 = 3;
/// Who watches.
pub(super) const VIEWERS: [Person; 5] = [(0, 0), (1, 0), (2, 0), (2, 1), (LATE, 0)];
/// Who can be named in person.
const PERSONS: [Person; 6] = [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (LATE, 0)];
const VALUES: usize = 5;
const GROUPS: usize = 2;

/// What one viewer asks for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) owners: Vec<usize>,
    pub(super) labelled: bool,
    pub(super) tlps: Vec<Tlp>,
    pub(super) domains: bool,
    pub(super) sightings: bool,
    pub(super) notices: bool,
    /// Whether his subscription has a name, and the hub keeps its cursor.
    pub(super) named: bool,
    pub(super) credit: u64,
}

/// One item of a publication.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) value: usize,
    pub(super) mark: Mark,
    pub(super) label: bool,
    /// Hours for which it holds.
    pub(super) holds: Option<i64>,
    pub(super) reinstate: bool,
}

/// Where a viewer starts again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// From one of his last tokens, counted back; who has a named
    /// subscription: where the hub says it stands.
    Back(usize),
    Earliest,
    Latest,
    State,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish {
        owner: usize,
        by: Option<usize>,
        items: Vec<Item>,
    },
    /// Publishes a record of before with another marking.
    Remark {
        pick: usize,
        mark: Mark,
    },
    /// Publishes a record just as it is.
    Again {
        pick: usize,
    },
    Revoke {
        pick: usize,
    },
    Sight {
        viewer: usize,
        pick: usize,
        same: bool,
    },
    Members(Vec<(usize, usize, Span)>),
    Relations(Vec<(Sort, usize, usize, Span)>),
    Duties(Vec<(usize, bool, Span)>),
    Live {
        org: usize,
        life: Life,
    },
    /// Time goes by; `tick`: and the hub's own clockwork looks at it.
    Pass {
        hours: i64,
        tick: bool,
    },
    /// A viewer takes some frames.
    Listen {
        viewer: usize,
        frames: usize,
    },
    Ask {
        viewer: usize,
        filtered: bool,
    },
    Leave {
        viewer: usize,
    },
    Return {
        viewer: usize,
        way: Way,
    },
    /// The hub is closed and opened.
    Reopen,
    /// All viewers take what there is.
    Rest,
}

/// A whole case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) wishes: Vec<Wish>,
    pub(super) ways: Vec<Way>,
    pub(super) parents: Vec<Option<usize>>,
    pub(super) ring: usize,
    pub(super) steps: Vec<Step>,
}

fn span() -> impl Strategy<Value = Span> {
    let bound = || prop_oneof![3 => Just(None), 1 => (-3_i64..8).prop_map(Some)];
    (bound(), bound()).prop_map(|(from, to)| match (from, to) {
        (Some(from), Some(to)) if to <= from => (Some(from), None),
        span => span,
    })
}

prop_compose! {
    fn mark()(
        tlp in prop::sample::select(vec![
            Tlp::Clear, Tlp::Green, Tlp::Amber, Tlp::Amber, Tlp::Amber, Tlp::AmberStrict, Tlp::Red, Tlp::Red,
        ]),
        organisations in prop::sample::subsequence((0..ORGS).collect::<Vec<_>>(), 0..3),
        groups in prop_oneof![
            2 => Just(vec![]),
            1 => prop::sample::subsequence((0..GROUPS).collect::<Vec<_>>(), 1..=GROUPS)
        ],
        persons in prop::sample::subsequence(PERSONS.to_vec(), 0..3),
        providers: bool,
        masked in prop::bool::weighted(0.4),
    ) -> Mark {
        let addressed = matches!(tlp, Tlp::Amber | Tlp::AmberStrict);
        Mark {
            tlp,
            organisations: if addressed { organisations } else { vec![] },
            groups: if addressed { groups } else { vec![] },
            persons: if tlp == Tlp::Red { persons } else { vec![] },
            providers,
            masked,
        }
    }
}

prop_compose! {
    fn item()(
        value in 0..VALUES,
        mark in mark(),
        label: bool,
        holds in prop_oneof![3 => Just(None), 1 => (0_i64..100).prop_map(Some)],
        reinstate in prop::bool::weighted(0.5),
    ) -> Item {
        Item { value, mark, label, holds, reinstate }
    }
}

fn publish() -> impl Strategy<Value = Step> {
    let items = (prop::collection::vec(item(), 1..5), any::<bool>()).prop_map(|(mut items, uniform)| {
        // What is all of one class goes out as it lies in the log.
        if let (true, Some(mark)) = (uniform, items.first().map(|item| item.mark.clone())) {
            items.iter_mut().for_each(|item| item.mark = mark.clone());
        }
        items
    });
    (0..ORGS, prop::option::weighted(0.2, 0..ORGS), items).prop_map(|(owner, by, items)| Step::Publish {
        owner,
        by: by.filter(|by| *by != owner),
        items,
    })
}

fn roster() -> impl Strategy<Value = Step> {
    let org = || 0..ORGS;
    let relation = (prop_oneof![Just(Sort::ClientOf), Just(Sort::ActsFor)], org(), org(), span());
    // One that ends or is still to come itself, so that rights go on from it.
    let successors = prop_oneof![
        2 => MORTAL.prop_map(|org| vec![org]),
        1 => Just(vec![LATE]),
        2 => prop::collection::vec(org(), 0..4),
    ];
    let bound = |weight| prop::option::weighted(weight, -1_i64..6);
    let life = (bound(0.2), bound(0.7), bound(0.4), successors);
    prop_oneof![
        2 => prop::collection::vec((0..GROUPS, org(), span()), 0..4).prop_map(Step::Members),
        3 => prop::collection::vec(relation, 0..5).prop_map(|mut relations| {
            relations.retain(|(_, subject, object, _)| subject != object);
            Step::Relations(relations)
        }),
        2 => prop::collection::vec((org(), prop::bool::weighted(0.8), span()), 0..4).prop_map(Step::Duties),
        4 => (MORTAL, life).prop_map(|(org, (from, to, suspended, mut successors))| {
            successors.sort_unstable();
            successors.dedup();
            successors.retain(|successor| *successor != org);
            Step::Live { org, life: Life { from, to, suspended, successors } }
        }),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        3 => (0_usize..6).prop_map(Way::Back),
        1 => Just(Way::Earliest),
        1 => Just(Way::Latest),
        2 => Just(Way::State),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let viewer = || 0..VIEWERS.len();
    prop_oneof![
        8 => publish(),
        3 => (any::<usize>(), mark()).prop_map(|(pick, mark)| Step::Remark { pick, mark }),
        1 => any::<usize>().prop_map(|pick| Step::Again { pick }),
        2 => any::<usize>().prop_map(|pick| Step::Revoke { pick }),
        2 => (viewer(), any::<usize>(), any::<bool>())
            .prop_map(|(viewer, pick, same)| Step::Sight { viewer, pick, same }),
        6 => roster(),
        3 => (1_i64..60, prop::bool::weighted(0.8)).prop_map(|(hours, tick)| Step::Pass { hours, tick }),
        5 => (viewer(), 1_usize..4).prop_map(|(viewer, frames)| Step::Listen { viewer, frames }),
        1 => (viewer(), any::<bool>()).prop_map(|(viewer, filtered)| Step::Ask { viewer, filtered }),
        1 => viewer().prop_map(|viewer| Step::Leave { viewer }),
        4 => (viewer(), way()).prop_map(|(viewer, way)| Step::Return { viewer, way }),
        1 => Just(Step::Reopen),
        6 => Just(Step::Rest),
    ]
}

prop_compose! {
    fn wish()(
        owners in prop_oneof![
            3 => Just(vec![]),
            1 => prop::sample::subsequence((1..ORGS).collect::<Vec<_>>(), 1..4)
        ],
        labelled in prop::bool::weighted(0.25),
        tlps in prop_oneof![
            4 => Just(vec![]),
            1 => prop::sample::subsequence(Tlp::ALL[1..].to_vec(), 1..3)
        ],
        domains in prop::bool::weighted(0.15),
        sightings: bool,
        notices: bool,
        named in prop::bool::weighted(0.3),
        credit in 1_u64..6,
    ) -> Wish {
        // What the signs are of, everyone asks for who asks for anything.
        let with = |mut owners: Vec<usize>| { owners.insert(0, 0); owners };
        Wish {
            owners: if owners.is_empty() { owners } else { with(owners) },
            labelled,
            tlps: if tlps.is_empty() { tlps } else { [vec![Tlp::Clear], tlps].concat() },
            domains, sightings, notices, named, credit,
        }
    }
}

pub(super) fn case(steps: std::ops::Range<usize>) -> impl Strategy<Value = Case> {
    let each = VIEWERS.len();
    let parents = prop::collection::vec(prop::option::of(0..ORGS), ORGS);
    let ring = prop_oneof![Just(1_500_usize), Just(64 << 20)];
    let start = prop_oneof![2 => Just(Way::Earliest), 1 => Just(Way::Latest), 1 => Just(Way::State)];
    (
        prop::collection::vec(wish(), each),
        prop::collection::vec(start, each),
        parents,
        ring,
        prop::collection::vec(step(), steps),
    )
        .prop_map(|(wishes, ways, parents, ring, steps)| Case { wishes, ways, parents, ring, steps })
}

impl Rules {
    /// A span counted from today, counted from the first day.
    pub(super) fn fix(day: i64, (from, to): Span) -> Span {
        (from.map(|days| day + days), to.map(|days| day + days))
    }

    /// At first: one organisation is still to come.
    pub(super) fn new() -> Self {
        let mut rules = Self::default();
        rules.lives[LATE].from = Some(LATE_FROM);
        rules
    }

    /// Takes in what a step says of the roster, on `day`; whether it did.
    pub(super) fn take(&mut self, step: &Step, day: i64) -> bool {
        let fix = |span| Self::fix(day, span);
        match step {
            Step::Members(members) => {
                self.members = members.iter().map(|&(group, org, span)| (group, org, fix(span))).collect();
            }
            Step::Relations(relations) => {
                self.relations =
                    relations.iter().map(|&(sort, a, b, span)| (sort, a, b, fix(span))).collect();
            }
            Step::Duties(duties) => {
                self.duties = duties.iter().map(|&(org, leads, span)| (org, leads, fix(span))).collect();
            }
            Step::Live { org, life } => {
                let (from, to) = fix((life.from, life.to));
                let to = to.filter(|to| from.is_none_or(|from| from < *to));
                let suspended = life.suspended.map(|days| day + days);
                self.lives[*org] = Life { from, to, suspended, successors: life.successors.clone() };
            }
            _ => return false,
        }
        self.day = day;
        true
    }
}
