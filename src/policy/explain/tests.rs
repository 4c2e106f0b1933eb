//! That the explanation and the decision agree, for any roster and marking.
//!
//! Each of these faults in `explain` must turn the property red: heirs left
//! out; clients of AMBER+STRICT let in; providers without the caveat let in;
//! clients of the owner let in; the date of a membership or a relation not
//! looked at; a successor let in to RED; a suspended organisation taken for
//! one that does not exist.

use proptest::prelude::*;
use time::macros::date;

use super::*;
use crate::model::marking::{Marking, Recipients};
use crate::model::org::{self, Happening, OrgNo, Organisation};
use crate::model::roster::{Group, Member, Relation};
use crate::policy::visibility::{Audience, Purpose, Viewer, visible};

const ORGS: u32 = 6;
const TODAY: Date = date!(2026 - 03 - 10);

fn slug(n: u32) -> OrgSlug {
    OrgSlug::parse(&format!("org-{n}")).unwrap()
}

fn number(slug: &OrgSlug) -> Option<OrgNo> {
    slug.as_str().strip_prefix("org-")?.parse().ok().map(|n: u32| OrgNo(n + 1))
}

fn person(n: u32) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://t.example/org/org-{n}/user/u")).unwrap()
}

fn org() -> impl Strategy<Value = u32> {
    0..ORGS
}

/// No bound, or one before, on or after today.
fn bound() -> impl Strategy<Value = Option<Date>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(date!(2026 - 03 - 09))),
        1 => Just(Some(TODAY)),
        1 => Just(Some(date!(2026 - 03 - 11))),
    ]
}

/// Suspended long since.
fn suspension() -> Vec<org::Step> {
    vec![org::Step { what: Happening::Suspended, on: date!(2000 - 01 - 01), legal_basis: "D".into() }]
}

prop_compose! {
    fn organisation(n: u32)(
        valid_from in bound(), valid_to in bound(), suspended in prop::bool::weighted(0.2),
        successors in prop::collection::vec(org(), 0..3),
    ) -> Organisation {
        Organisation {
            valid_from, valid_to,
            lifecycle: if suspended { suspension() } else { Vec::new() },
            successors: successors.into_iter().map(slug).collect(),
            protected: Vec::new(),
            ..Organisation::plain(slug(n))
        }
    }
}

prop_compose! {
    fn roster()(
        organisations in (0..ORGS).map(organisation).collect::<Vec<_>>(),
        members in prop::collection::vec((0_usize..2, org(), bound(), bound()), 0..6),
        relations in prop::collection::vec((any::<bool>(), org(), org(), bound(), bound()), 0..8),
    ) -> Roster {
        let mut groups = ["g", "h"].map(|name| Group {
            slug: OrgSlug::parse(name).unwrap(), vi: name.into(), en: String::new(), members: Vec::new(),
        });
        for (group, organisation, from, to) in members {
            groups[group].members.push(Member { organisation: slug(organisation), from, to });
        }
        Roster {
            organisations: organisations.into_iter().map(|org| (org.slug.clone(), org)).collect(),
            groups: groups.into_iter().map(|group| (group.slug.clone(), group)).collect(),
            relations: relations.into_iter().map(|(client, subject, object, from, to)| Relation {
                kind: if client { RelationKind::ClientOf } else { RelationKind::ActsFor },
                subject: slug(subject), object: slug(object), from, to, legal_basis: String::new(),
            }).collect(),
            ..Roster::default()
        }
    }
}

prop_compose! {
    fn marking()(
        tlp in prop_oneof![
            Just(Tlp::Clear), Just(Tlp::Green), Just(Tlp::Red), Just(Tlp::Amber), Just(Tlp::Amber),
            Just(Tlp::AmberStrict), Just(Tlp::AmberStrict)
        ],
        organisations in prop::collection::vec(org(), 0..3),
        groups in prop::sample::subsequence(vec!["g", "h"], 0..=2),
        persons in prop::collection::vec(org(), 0..3),
        providers in any::<bool>(),
    ) -> Marking {
        Marking {
            tlp,
            recipients: Recipients {
                organisations: organisations.into_iter().map(slug).collect(),
                groups: groups.into_iter().map(|name| OrgSlug::parse(name).unwrap()).collect(),
                principals: persons.into_iter().map(person).collect(),
            },
            caveats: if providers { Caveats::PROVIDERS_MAY_READ } else { Caveats::NONE },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_explanation_agrees_with_the_decision(roster in roster(), marking in marking(), owner in org()) {
        let class = ClassDefinition { owner: slug(owner), marking };
        let audience = Audience::resolve(&class, &roster, TODAY, number);
        for n in 0..ORGS {
            let viewer = Viewer { org: OrgNo(n + 1), principal: &person(n) };
            let told = explain(&class, &roster, TODAY, &slug(n), Some(&person(n)));
            prop_assert_eq!(told.reached, visible(viewer, &audience, Purpose::Get), "org-{} {:?}", n, told);
            prop_assert_eq!(told.visible, told.reached && roster.is_active(&slug(n), TODAY));
            prop_assert!(!told.steps.is_empty());
        }
    }
}

fn simple() -> Roster {
    let organisation = |n| Organisation::plain(slug(n));
    Roster { organisations: (0..ORGS).map(|n| (slug(n), organisation(n))).collect(), ..Roster::default() }
}

#[test]
fn a_way_is_told_step_by_step_in_both_languages() {
    let mut roster = simple();
    let ended = roster.organisations.get_mut(&slug(1)).unwrap();
    ended.valid_to = Some(date!(2026 - 03 - 01));
    ended.successors = vec![slug(2)];
    roster.relations.push(Relation {
        kind: RelationKind::ClientOf,
        subject: slug(3),
        object: slug(2),
        from: None,
        to: None,
        legal_basis: String::new(),
    });
    let recipients = Recipients { organisations: vec![slug(1)], ..Recipients::default() };
    let mut marking = Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE };
    let class = ClassDefinition { owner: slug(0), marking: marking.clone() };
    let told = explain(&class, &roster, TODAY, &slug(3), None);
    assert!(told.visible);
    let words: Vec<_> = told.steps.iter().map(Step::words).collect();
    assert_eq!(
        words.iter().map(|[en, _]| en.as_str()).collect::<Vec<_>>(),
        [
            "the marking names org-1",
            "it succeeds org-1 (since 2026-03-01)",
            "it is a client of one whom the marking reaches"
        ],
        "of whom, is not the owner's to know"
    );
    assert_eq!(words[1][1], "kế thừa org-1 (từ 2026-03-01)");
    marking.tlp = Tlp::AmberStrict;
    let class = ClassDefinition { owner: slug(0), marking };
    let told = explain(&class, &roster, TODAY, &slug(3), None);
    assert_eq!((told.visible, told.steps[0].why), (false, Why::NotNamed));
    let recipients = Recipients { organisations: vec![slug(4)], ..Recipients::default() };
    for (owner, why) in [(2, Why::NotForClients), (0, Why::NotNamed)] {
        let mut organisations = recipients.clone();
        organisations.organisations.push(slug(owner));
        let marking = Marking { tlp: Tlp::AmberStrict, recipients: organisations, caveats: Caveats::NONE };
        let class = ClassDefinition { owner: slug(owner), marking };
        assert_eq!(explain(&class, &roster, TODAY, &slug(3), None).steps[0].why, why, "org-{owner}");
    }
}

#[test]
fn what_is_in_the_way_is_named_with_its_day() {
    let mut roster = simple();
    let group = OrgSlug::parse("g").unwrap();
    let member = |n, from, to| Member { organisation: slug(n), from, to };
    let members = vec![
        member(1, Some(date!(2026 - 04 - 01)), None),
        member(2, None, Some(date!(2026 - 03 - 01))),
        member(3, None, None),
        member(5, None, None),
    ];
    roster
        .groups
        .insert(group.clone(), Group { slug: group.clone(), vi: "G".into(), en: String::new(), members });
    roster.organisations.get_mut(&slug(3)).unwrap().lifecycle = suspension();
    let recipients = Recipients { groups: vec![group], ..Recipients::default() };
    let marking = Marking { tlp: Tlp::AmberStrict, recipients, caveats: Caveats::NONE };
    let class = ClassDefinition { owner: slug(0), marking };
    let by = |owner, n| {
        let class = ClassDefinition { owner: slug(owner), ..class.clone() };
        let told = explain(&class, &roster, TODAY, &slug(n), None);
        (told.visible, told.steps.iter().map(|step| (step.why, step.date)).collect::<Vec<_>>())
    };
    let told = |n| by(5, n);
    assert_eq!(told(5), (true, vec![(Why::Owner, None)]));
    assert_eq!(told(1), (false, vec![(Why::NotYetInGroup, Some(date!(2026 - 04 - 01)))]));
    assert_eq!(told(2), (false, vec![(Why::NoLongerInGroup, Some(date!(2026 - 03 - 01)))]));
    assert_eq!(told(3), (false, vec![(Why::GroupMember, None), (Why::Suspended, None)]));
    assert_eq!(told(4), (false, vec![(Why::NotNamed, None)]));
    // An owner that is not of the group is told the outcome alone.
    for n in [1, 2, 4] {
        assert_eq!(by(0, n), (false, vec![(Why::NotNamed, None)]), "{n}");
    }
    let veiled = explain(&class, &roster, TODAY, &slug(3), None);
    assert_eq!(veiled.steps[0], Step::new(Why::GroupMember));
    assert_eq!(veiled.steps[0].words()[0], "by membership of a group that the marking names");
}
